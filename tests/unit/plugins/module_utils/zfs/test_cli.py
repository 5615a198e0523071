# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The zfs adapter against outputs and complaints recorded from OpenZFS 2.3.9."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    SourceError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.ports import Completed
from ansible_collections.homelab.backup.plugins.module_utils._zfs.cli import ZfsCli
from ansible_collections.homelab.backup.plugins.module_utils._zfs.errors import (
    DatasetMissingError,
    PoolUnavailableError,
    SnapshotBusyError,
    SnapshotExistsError,
    from_complaint,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Destroyed, Refusal

HELD = "cannot destroy snapshot main/a@2: it's being held. Run 'zfs holds -r main/a@2' to see"
CLONED = "cannot destroy 'main/a@3': snapshot has dependent clones\nuse '-R' to destroy the"
NONE_LEFT = "could not find any snapshots to destroy; check snapshot names."


class Script:
    """Commands that answer from a table; what isn't in it succeeds without output."""

    def __init__(self, answers: Mapping[str, tuple[int, str, str]] | None = None) -> None:
        self.answers = answers or {}
        self.calls: list[str] = []

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float | None = None
    ) -> Completed:
        line = " ".join(argv)
        self.calls.append(line)
        status, stdout, stderr = self.answers.get(line, (0, "", ""))
        out = stdout.encode("utf-8", "surrogateescape")
        return Completed(tuple(argv), status, out, stderr.encode())


DATASETS = (
    "zfs list -Hp -t filesystem,volume -o "
    "name,guid,type,mounted,canmount,keystatus,used,referenced,mountpoint"
)


def test_datasets_of_all_kinds() -> None:
    output = (
        "main\t15\tfilesystem\tyes\ton\t-\t950272\t106496\t/mnt/main\n"
        "main/sp ace\t16\tfilesystem\tno\tnoauto\tunavailable\t98304\t98304\t/mnt/t\tab\udcff\n"
        "main/vol\t17\tvolume\t-\t-\tavailable\t57344\t57344\t-\n"
    )
    script = Script({f"{DATASETS} -r main": (0, output, "")})
    root, space, volume = ZfsCli(script).datasets("main")
    assert (root.name, root.guid, root.kind, root.mounted) == ("main", 15, "filesystem", True)
    assert (root.used, root.referenced, root.mountpoint) == (950272, 106496, "/mnt/main")
    assert (space.mountpoint, space.keystatus) == ("/mnt/t\tab\udcff", "unavailable")
    assert (volume.kind, volume.mounted, volume.mountpoint) == ("volume", False, "-")
    assert (volume.canmount, volume.pool) == ("-", "main")


def test_datasets_of_overlapping_roots_come_once() -> None:
    row = "main/a\t1\tfilesystem\tyes\ton\t-\t1\t1\t/a\n"
    script = Script({f"{DATASETS} -r main/a main/a": (0, row * 2, "")})
    assert len(ZfsCli(script).datasets("main/a", "main/a")) == 1


def test_all_pools_and_without_recursion() -> None:
    script = Script()
    ZfsCli(script).datasets()
    ZfsCli(script).datasets("main", recursive=False)
    assert script.calls == [DATASETS, f"{DATASETS} main"]


def test_snapshots_in_the_order_of_their_creation() -> None:
    line = (
        "zfs list -Hp -t snapshot -o "
        "name,guid,createtxg,creation,used,written,userrefs,clones,homelab.backup:slot -r main ssd"
    )
    output = (
        "main/a@z\t7\t30\t1795400600\t4096\t98304\t0\t-\t-\n"
        "main/a@a\t8\t40\t1795400000\t0\t0\t2\tmain/c,ssd/d\t1795400000\n"
        "main@x\t9\t50\t1795400000\t0\t0\t0\t\t5\n"
    )
    script = Script({line: (0, output, "")})
    found = ZfsCli(script).snapshots(["main", "ssd"], user_properties=["homelab.backup:slot"])
    assert [shot.name for shot in found] == ["main@x", "main/a@z", "main/a@a"]
    assert found[1].properties == {}
    assert found[2].properties == {"homelab.backup:slot": "1795400000"}
    assert (found[2].clones, found[2].userrefs) == (("main/c", "ssd/d"), 2)
    assert (found[2].dataset, found[2].short, found[2].pool) == ("main/a", "a", "main")
    assert found[0].clones == ()


def test_a_row_of_another_shape_is_an_error() -> None:
    script = Script({f"{DATASETS} -r main": (0, "main\t15\n", "")})
    with pytest.raises(SourceError, match="2 columns where 9"):
        ZfsCli(script).datasets("main")


def test_all_names_go_in_one_call() -> None:
    script = Script()
    zfs = ZfsCli(script)
    zfs.snapshot(["main/a@x", "main/sp ace@x"], {"homelab.backup:slot": "1", "a:b": "c d"})
    zfs.snapshot_recursive("main", "y", {"a:b": "c"})
    zfs.snapshot([], {})
    assert script.calls == [
        "zfs snapshot -o a:b=c d -o homelab.backup:slot=1 main/a@x main/sp ace@x",
        "zfs snapshot -r -o a:b=c main@y",
    ]


def test_too_many_names_for_one_call() -> None:
    names = [f"main/{'x' * 200}{number}@{'y' * 20}" for number in range(10000)]
    with pytest.raises(SourceError, match="more than one command can take"):
        ZfsCli(Script()).snapshot(names, {})


def test_destroying_takes_the_refused_ones_out() -> None:
    script = Script(
        {
            "zfs destroy main/a@1,2,3,4": (1, "", CLONED),
            "zfs destroy main/a@3": (1, "", CLONED),
            "zfs destroy main/a@1,2,4": (1, "", HELD),
            "zfs destroy main/a@2": (1, "", HELD),
        }
    )
    outcome = ZfsCli(script).destroy_snapshots("main/a", ["1", "2", "3", "4"])
    assert sorted(outcome.gone) == ["main/a@1", "main/a@4"]
    assert outcome.kept == (
        Refusal("main/a@3", " ".join(CLONED.split())),
        Refusal("main/a@2", " ".join(HELD.split())),
    )
    assert not any("-r" in call.split() or "-R" in call.split() for call in script.calls)


def test_destroying_goes_in_batches() -> None:
    script = Script()
    shorts = [str(number) for number in range(250)]
    outcome = ZfsCli(script).destroy_snapshots("main/a", shorts)
    assert len(outcome.gone) == 250
    assert [call.count(",") + 1 for call in script.calls] == [100, 100, 50]
    assert ZfsCli(script).destroy_snapshots("main/a", []) == Destroyed()


def test_destroying_what_is_gone_already() -> None:
    script = Script({"zfs destroy main/a@1,2": (1, "", NONE_LEFT)})
    outcome = ZfsCli(script).destroy_snapshots("main/a", ["1", "2"])
    assert sorted(outcome.gone) == ["main/a@1", "main/a@2"]


def test_a_refusal_that_names_nothing_is_looked_at_one_by_one() -> None:
    said = "cannot destroy snapshots: permission denied"
    script = Script(
        {"zfs destroy main/a@1,2": (1, "", said), "zfs destroy main/a@2": (1, "", said)}
    )
    outcome = ZfsCli(script).destroy_snapshots("main/a", ["1", "2"])
    assert outcome == Destroyed(("main/a@1",), (Refusal("main/a@2", said),))


def test_hold_and_release_are_idempotent() -> None:
    held = "main/a@1\tkeep\tMon Nov 23 02:24 2026\nmain/a@1\tother tag\tMon Nov 23 02:24 2026\n"
    script = Script({"zfs holds -H main/a@1 main/b@1": (0, held, "")})
    zfs = ZfsCli(script)
    assert zfs.holds(["main/a@1", "main/b@1"]) == {
        "main/a@1": ("keep", "other tag"),
        "main/b@1": (),
    }
    script.calls.clear()
    zfs.hold("keep", ["main/a@1", "main/b@1"])
    zfs.release("keep", ["main/a@1", "main/b@1"])
    zfs.hold("keep", [])
    assert script.calls == [
        "zfs holds -H main/a@1 main/b@1",
        "zfs hold keep main/b@1",
        "zfs holds -H main/a@1 main/b@1",
        "zfs release keep main/a@1",
    ]


def test_releasing_one_that_is_gone() -> None:
    gone = "cannot open 'main/b@1': dataset does not exist"
    script = Script(
        {
            "zfs holds -H main/a@1 main/b@1": (1, "main/a@1\tkeep\tMon\n", gone),
            "zfs holds -H main/a@1": (0, "main/a@1\tkeep\tMon\n", ""),
            "zfs holds -H main/b@1": (1, "", gone),
        }
    )
    ZfsCli(script).release("keep", ["main/a@1", "main/b@1"])
    assert script.calls[-1] == "zfs release keep main/a@1"


def test_written_since_asks_once_for_each_base() -> None:
    script = Script(
        {
            "zfs get -Hp -o name,property,value written@p main/a main/b main/c": (
                0,
                "main/a\twritten@p\t0\nmain/b\twritten@p\t4096\nmain/c\twritten@p\t-\n",
                "",
            ),
            "zfs get -Hp -o name,property,value written@q main/d": (
                0,
                "main/d\twritten@q\t8\n",
                "",
            ),
        }
    )
    zfs = ZfsCli(script)
    bases = {"main/a": "p", "main/b": "p", "main/c": "p", "main/d": "q"}
    assert zfs.written_since_each(bases) == {"main/a": 0, "main/b": 4096, "main/d": 8}
    assert len(script.calls) == 2
    assert zfs.written_since("main/d", "q") == 8
    with pytest.raises(DatasetMissingError, match="written@gone"):
        zfs.written_since("main/d", "gone")


def test_properties_and_pools() -> None:
    script = Script(
        {
            "zfs get -Hp -o name,property,value a:b,used main@1": (
                0,
                "main@1\ta:b\tx\ty\nmain@1\tused\t5\n",
                "",
            ),
            "zpool get -Hp -o value guid main": (0, "8263949225574393552\n", ""),
            "zpool get -Hp -o value health main": (0, "DEGRADED\n", ""),
            "zpool get -Hp -o name,value guid main ssd": (0, "main\t8\nssd\t9\n", ""),
        }
    )
    zfs = ZfsCli(script)
    assert zfs.get(["main@1"], ["a:b", "used"]) == {"main@1": {"a:b": "x\ty", "used": "5"}}
    assert zfs.pool_guid("main") == 8263949225574393552
    assert zfs.pool_state("main") == "DEGRADED"
    assert zfs.pool_guids(["main", "ssd"]) == {"main": 8, "ssd": 9}
    zfs.set_properties(["main@1"], {"a:b": "c"})
    zfs.rename_snapshot("main/a@new", "prev")
    assert script.calls[-2:] == ["zfs set a:b=c main@1", "zfs rename main/a@new main/a@prev"]


@pytest.mark.parametrize(
    ("said", "kind", "remedy"),
    [
        ("cannot open 'main/x': dataset does not exist", DatasetMissingError, "correct the name"),
        ("cannot open 'ssd': no such pool", PoolUnavailableError, "import"),
        ("Cannot get properties of x: no such pool available.", PoolUnavailableError, "import"),
        (
            "cannot create snapshot 'main@1': dataset already exists no snapshots were created",
            SnapshotExistsError,
            "same minute",
        ),
        (" ".join(HELD.split()), SnapshotBusyError, "zfs holds"),
        ("cannot destroy snapshot main/a@4: dataset is busy", SnapshotBusyError, "clones"),
        ("cannot create snapshots : permission denied", SourceError, "root"),
        (
            "cannot iterate filesystems: pool I/O is currently suspended",
            PoolUnavailableError,
            "clear",
        ),
        ("cannot create snapshot 'main@1': out of space", SourceError, "free space"),
        ("The ZFS modules cannot be auto-loaded.", SourceError, "modprobe"),
        ("something new", SourceError, "by hand"),
    ],
)
def test_complaints_become_errors_with_a_remedy(
    said: str, kind: type[SourceError], remedy: str
) -> None:
    error = from_complaint("do it", "main", said)
    assert error.__class__ is kind
    assert error.found == said
    assert remedy in error.remedy


def test_help_texts_are_left_out() -> None:
    said = "cannot open 'main/nope': dataset does not exist usage: snapshot [-r] [-o property"
    assert from_complaint("x", "", said).found == "cannot open 'main/nope': dataset does not exist"


def test_a_missing_program_is_the_sources_error() -> None:
    class Absent(Script):
        def run(
            self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float | None = None
        ) -> Completed:
            raise TransportError("run zfs", found="No such file or directory", remedy="install zfs")

    with pytest.raises(SourceError, match="install zfs"):
        ZfsCli(Absent()).datasets("main")
