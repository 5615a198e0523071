# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Which mounts are made and undone, against programs that only note what they were told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    SourceError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.ports import Completed
from ansible_collections.homelab.backup.plugins.module_utils._zfs import mounts
from ansible_collections.homelab.backup.plugins.module_utils._zfs.mounts import (
    SnapshotMounts,
    mount_points_below,
    unescape,
)


class Noted:
    """Notes each call; a call with a word in ``fails`` ends with that complaint."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.fails: dict[str, str] = {}
        self.missing = False

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float | None = None
    ) -> Completed:
        """See Commands."""
        if self.missing:
            raise TransportError(f"run {argv[0]}", found="No such file or directory", remedy="x")
        self.calls.append(tuple(argv))
        for word, complaint in self.fails.items():
            if word in argv and "--lazy" not in argv:
                return Completed(tuple(argv), 1, b"", complaint.encode())
        return Completed(tuple(argv), 0, b"", b"")


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture(autouse=True)
def mountinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mountinfo"
    path.write_bytes(b"22 1 8:1 / / rw - ext4 /dev/vda rw\n")
    monkeypatch.setattr(mounts, "MOUNTINFO", path)
    return path


def test_mounts_and_unmounts_all(tmp_path: Path, noted: Noted) -> None:
    base = tmp_path / "state" / "mnt"
    with SnapshotMounts(noted, base) as mounted:
        first, second = mounted.mount("main/a@x"), mounted.mount("main/b c@x")
        assert mounted.mount("main/a@x") == first
        assert first != second
        assert first.is_dir()
        assert base.stat().st_mode & 0o777 == 0o700
    options = ("-t", "zfs", "-o", "ro,nosuid,nodev,noexec")
    assert noted.calls == [
        ("mount", *options, "main/a@x", str(first)),
        ("mount", *options, "main/b c@x", str(second)),
        ("umount", str(second)),
        ("umount", str(first)),
    ]
    assert list(base.iterdir()) == []


def test_one_early(tmp_path: Path, noted: Noted) -> None:
    with SnapshotMounts(noted, tmp_path / "mnt") as mounted:
        point = mounted.mount("main/a@x")
        mounted.unmount("main/a@x")
        mounted.unmount("main/a@x")
        assert not point.exists()
        assert mounted.mount("main/a@x") != point, "a path never stands for two mounts"
    assert [call[0] for call in noted.calls] == ["mount", "umount", "mount", "umount"]


def test_a_busy_one_is_detached(tmp_path: Path, noted: Noted) -> None:
    with SnapshotMounts(noted, tmp_path / "mnt") as mounted:
        point = mounted.mount("main/a@x")
        noted.fails = {str(point): "umount: target is busy."}
    assert noted.calls[-2:] == [("umount", str(point)), ("umount", "--lazy", str(point))]
    assert not point.exists()


def test_what_a_killed_run_left_is_cleared(tmp_path: Path, noted: Noted, mountinfo: Path) -> None:
    base = tmp_path / "with blank" / "mnt"
    (base / "0001").mkdir(parents=True)
    (base / "0002").mkdir()
    escaped = str(base).replace(" ", "\\040")
    mountinfo.write_text(
        f"22 1 8:1 / / rw - ext4 /dev/vda rw\n"
        f"30 22 0:40 / {escaped}/0001 ro - zfs main/a@x ro\n"
        f"31 30 0:41 / {escaped}/0001/sub ro - zfs main/b@x ro\n"
        f"32 22 0:42 / {escaped}2/0001 ro - zfs main/c@x ro\n"
    )
    with SnapshotMounts(noted, base):
        assert list(base.iterdir()) == []
    assert noted.calls == [
        ("umount", str(base / "0001" / "sub")),
        ("umount", str(base / "0001")),
    ]


def test_a_file_of_someone_else_is_not_removed(tmp_path: Path, noted: Noted) -> None:
    (tmp_path / "mnt").mkdir()
    (tmp_path / "mnt" / "precious").write_text("x")
    with (
        pytest.raises(SourceError, match="precious"),
        SnapshotMounts(noted, tmp_path / "mnt"),
    ):
        pass
    assert (tmp_path / "mnt" / "precious").exists()


@pytest.mark.parametrize(
    ("complaint", "remedy"),
    [
        (
            "filesystem 'main/secret@x' can not be mounted: encryption key not loaded",
            "zfs load-key main/secret",
        ),
        (
            "filesystem 'main/secret@x' cannot be mounted, unable to open the dataset",
            "zfs list -t all",
        ),
        ("mount: something else", "zpool status"),
    ],
)
def test_a_refused_mount_says_what_to_do(
    tmp_path: Path, noted: Noted, complaint: str, remedy: str
) -> None:
    noted.fails = {"main/secret@x": complaint}
    with SnapshotMounts(noted, tmp_path / "mnt") as mounted:
        with pytest.raises(SourceError, match=remedy) as caught:
            mounted.mount("main/secret@x")
        assert caught.value.on == "main/secret@x"
        assert caught.value.found == complaint
        assert list((tmp_path / "mnt").iterdir()) == [], "no empty directory stays behind"
    assert len(noted.calls) == 1


def test_no_mount_program(tmp_path: Path, noted: Noted) -> None:
    noted.missing = True
    with (
        SnapshotMounts(noted, tmp_path / "mnt") as mounted,
        pytest.raises(SourceError, match="No such file"),
    ):
        mounted.mount("main/a@x")


class Stuck(Noted):
    """Nothing can be unmounted, not even lazily."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float | None = None
    ) -> Completed:
        """See Commands."""
        self.calls.append(tuple(argv))
        status = 32 if argv[0] == "umount" else 0
        return Completed(tuple(argv), status, b"", b"umount: no" if status else b"")


def test_all_are_tried_when_one_cannot_be_unmounted(tmp_path: Path) -> None:
    stuck = Stuck()
    with (
        pytest.raises(SourceError, match="umount: no"),
        SnapshotMounts(stuck, tmp_path / "mnt") as mounted,
    ):
        points = [str(mounted.mount(name)) for name in ("main/a@x", "main/b@x")]
    tried = [call[-1] for call in stuck.calls if call[0] == "umount" and "--lazy" in call]
    assert tried == points[::-1]


def fail_with_mounts(base: Path) -> None:
    """A run that fails by itself, and whose mount can't be undone."""
    with SnapshotMounts(Stuck(), base) as mounted:
        mounted.mount("main/a@x")
        raise ZeroDivisionError


def test_the_runs_own_error_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_with_mounts(tmp_path / "mnt")


def test_unescape() -> None:
    assert unescape(rb"/a\040b\011c\012d\134040e") == b"/a b\tc\nd\\040e"


def test_mount_points_below_takes_whole_names() -> None:
    lines = b"".join(
        b"30 22 0:40 / %s ro - zfs x ro\n" % path
        for path in (b"/s/mnt", b"/s/mnt/1", b"/s/mnt2/1", b"/s/mnt/\xff")
    )
    found = mount_points_below(Path("/s/mnt"), lines)
    assert found == [Path("/s/mnt/\udcff"), Path("/s/mnt/1")]
