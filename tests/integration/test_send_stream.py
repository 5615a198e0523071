# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""What an incremental send stream names, held to the truth on real pools.

Every kind of change (``send_stream/content.py``, ``send_stream/names.py``) is
made in datasets of several kinds. A miss fails; so does a case that changed
nothing, and a suspicion where nothing changed.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from tests.integration.core_in_guest import CoreError, run_code, run_module, ship
from tests.integration.send_stream.cases import CASES, MAY_SAY_MORE
from tests.lab.guest import Guest

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("pristine")]

KEY = "/root/passphrase"
ENCRYPTION = ("encryption=on", "keyformat=passphrase", f"keylocation=file://{KEY}")


class Kind(NamedTuple):
    """A kind of dataset: its properties, and whether all options of zfs send are tried."""

    properties: tuple[str, ...]
    compare: bool = False
    key: str = ""


KINDS = {
    "default": Kind(("xattr=sa",), compare=True),
    "xattr-directories": Kind(("xattr=dir",)),
    "large-dnodes": Kind(("xattr=sa", "dnodesize=auto", "compression=off")),
    "encrypted": Kind(("xattr=sa", *ENCRYPTION), compare=True, key=KEY),
    "large-records": Kind(("xattr=sa", "recordsize=1M", "compression=zstd")),
    "small-records": Kind(("xattr=sa", "recordsize=4K", "casesensitivity=insensitive")),
}


@pytest.fixture(scope="module")
def storage(guest: Guest, pristine: float) -> Guest:
    """The guest with the core in it."""
    ship(guest, "send_stream")
    guest.put("a passphrase", KEY)
    return guest


class Examined(NamedTuple):
    """What was found for one kind of dataset."""

    kind: str
    facts: dict[str, Any]


@pytest.fixture(scope="module", params=KINDS)
def examined(request: pytest.FixtureRequest, storage: Guest) -> Examined:
    """All cases made in a dataset of one kind, and judged."""
    kind = KINDS[request.param]
    options = [word for text in kind.properties for word in ("-o", text)]
    facts = run_module(
        storage,
        "tests.integration.send_stream.examine",
        dataset=f"main/{request.param}",
        options=options,
        key=kind.key,
        compare=kind.compare,
    )
    return Examined(request.param, facts)


def test_nothing_is_missed(examined: Examined) -> None:
    missed = {name: said["missed"] for name, said in examined.facts["cases"].items()}
    assert {name: what for name, what in missed.items() if what} == {}


def test_each_case_changed_something(examined: Examined) -> None:
    """A case without any change would prove nothing."""
    cases = examined.facts["cases"]
    kinds = ("content", "entries", "metadata", "new")
    idle = [name for name in cases if name and not any(cases[name][kind] for kind in kinds)]
    assert idle == []
    assert len(cases) == len(CASES) + 1
    assert cases["cut_and_grown_again"]["content"] == 5
    assert cases["hard_link_with_orphaned_parent"]["content"] == 1
    assert cases["numbers_reused"]["reused"] > 10
    assert cases["numbers_reused"]["content"] > 10
    assert cases["numbers_cross_kinds"]["reused"] > 10
    assert examined.facts["spill"] > 0


def test_content_is_suspected_only_where_it_changed(examined: Examined) -> None:
    suspected = {
        name
        for name, said in examined.facts["cases"].items()
        if said["superset"] and name not in MAY_SAY_MORE
    }
    assert suspected == set()


def test_untouched_objects_are_mostly_left_out(
    examined: Examined, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = examined.facts
    assert facts["changed"] <= facts["touched"] < facts["objects"] * 2 / 3
    with capsys.disabled():
        print(
            f"\n  {examined.kind}: {facts['changed']} of {facts['objects']} objects changed, "
            f"{facts['touched']} sent; {facts['length'] / 1e6:.1f} MB, {facts['records']} records "
            f"in {facts['seconds']:.1f} s"
        )


def test_neighbours_are_cleared_by_their_own_attributes(examined: Examined) -> None:
    """Nearly all need no lstat; a few have their attributes across two pieces of the stream."""
    cases = examined.facts["cases"].values()
    cleared, unclear = (sum(said[key] for said in cases) for key in ("cleared", "unclear"))
    assert cleared > 500
    assert unclear < cleared / 10


def test_the_estimate_is_near(examined: Examined) -> None:
    facts = examined.facts
    assert 0.7 < facts["estimate"] / facts["length"] < 1.4


def test_options_of_zfs_send_make_no_difference(storage: Guest, examined: Examined) -> None:
    """Plain, large-block, embedded, compressed and raw streams name the same objects.

    Each is also read by zstream(8), whose OBJECT, WRITE and SPILL records must be the same.
    """
    options = examined.facts["options"]
    if not KINDS[examined.kind].compare:
        assert options is None
        return
    assert options["differing"] == []
    lengths = options["lengths"]
    assert lengths["-L -e -c"] == min(lengths.values())
    assert lengths["-L -e -c"] == examined.facts["length"]


CHANGES = """
from {M}._zfs.send import SendLimits, SendStreams
found = SendStreams(SubprocessCommands()).changes(
    sys.argv[1], sys.argv[2], SendLimits(**json.loads(sys.argv[3]))
)
facts = {name: getattr(found, name) for name in ("limit", "length", "changed", "data", "to_guid")
         if hasattr(found, name)}
print(json.dumps(facts, default=sorted))
"""


def changes(storage: Guest, base: str, new: str, **limits: float) -> Any:
    """What SendStreams says in the guest."""
    return run_code(storage, CHANGES, base, new, json.dumps(limits))


@pytest.fixture(scope="module")
def pair(storage: Guest) -> str:
    """A dataset with snapshots ``a`` and ``b``, 20 MB of new files between them."""
    storage.zfs("create", "main/pair")
    storage.run("mkdir /mnt/main/pair/d; sync; zfs snapshot main/pair@a")
    storage.run(
        "cd /mnt/main/pair/d; for i in $(seq 1 200); do head -c 100000 /dev/urandom >f$i; done;"
        "zfs snapshot main/pair@b; zfs bookmark main/pair@a '#a'"
    )
    return "main/pair"


def numbers(storage: Guest, command: str) -> list[int]:
    """Object numbers that a shell line prints."""
    return sorted(int(line) for line in storage.run(command).lines)


def test_a_bookmark_will_do_as_base(storage: Guest, pair: str) -> None:
    inodes = numbers(storage, "stat -c %i /mnt/main/pair/d /mnt/main/pair/d/f*")
    assert changes(storage, f"{pair}@a", f"{pair}@b")["data"] == inodes
    assert changes(storage, f"{pair}#a", f"{pair}@b")["data"] == inodes


def test_no_change_is_an_empty_stream(storage: Guest, pair: str) -> None:
    storage.run(f"zfs snapshot {pair}@c; zfs snapshot {pair}@d")
    found = changes(storage, f"{pair}@c", f"{pair}@d")
    assert found["data"] == []
    assert found["length"] < 2000


@pytest.mark.parametrize(
    ("limits", "name"),
    [({"length": 1_000_000}, "length"), ({"changed": 20}, "changed"), ({"seconds": 0}, "seconds")],
)
def test_a_limit_ends_zfs_send(
    storage: Guest, pair: str, limits: dict[str, float], name: str
) -> None:
    found = changes(storage, f"{pair}@a", f"{pair}@b", **limits)
    assert found["limit"] == name
    assert found["length"] < 3_000_000
    assert storage.run("pgrep -x zfs", check=False).rc == 1, "zfs send is gone"
    storage.zfs("destroy", f"{pair}@b", "-n")


@pytest.mark.parametrize(
    ("base", "new", "found", "remedy"),
    [
        ("main/pair@gone", "main/pair@b", "dataset does not exist", "zfs list -t all"),
        ("main/pair@a", "main/pair@gone", "dataset does not exist", "zfs list -t all"),
        ("main/pair@b", "main/pair@a", "not an earlier snapshot", "compare everything"),
        ("main/pair@b", "main/pair@b", "not an earlier snapshot", "compare everything"),
        ("nopool/pair@a", "nopool/pair@b", "dataset does not exist", "zfs list -t all"),
    ],
)
def test_what_zfs_refuses(
    storage: Guest, pair: str, base: str, new: str, found: str, remedy: str
) -> None:
    with pytest.raises(CoreError) as caught:
        changes(storage, base, new)
    assert found in caught.value.facts["found"]
    assert remedy in caught.value.facts["remedy"]
    assert caught.value.facts["on"] == f"{base} to {new}"


def test_a_key_that_is_not_loaded(storage: Guest) -> None:
    options = [word for text in ENCRYPTION for word in ("-o", text)]
    storage.zfs("create", *options, "main/locked")
    storage.run(
        "zfs snapshot main/locked@a; echo x >/mnt/main/locked/f; zfs snapshot main/locked@b;"
        "zfs unmount main/locked && zfs unload-key main/locked"
    )
    with pytest.raises(CoreError) as caught:
        changes(storage, "main/locked@a", "main/locked@b")
    assert "key must be loaded" in caught.value.facts["found"]
    assert "zfs load-key main/locked" in caught.value.facts["remedy"]
