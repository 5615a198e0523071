# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Mounts of snapshots on the real guest: of every kind of dataset, and after a kill."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.core_in_guest import ROOT, CoreError, M, run_code, ship
from tests.lab.guest import Guest

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("pristine")]

BASE = "/run/snapshot-mounts"
KINDS = {
    "usual": "",
    "legacy": "-o mountpoint=legacy",
    "none": "-o mountpoint=none",
    "noauto": "-o canmount=noauto",
    "hidden": "-o snapdir=hidden",
    "disabled": "-o snapdir=disabled",
    "with blank": "",
    "encrypted": "-o encryption=on -o keyformat=passphrase -o keylocation=file:///root/passphrase",
}

MOUNT = """
import os
from pathlib import Path
from {M}._zfs.mounts import SnapshotMounts
with SnapshotMounts(SubprocessCommands(), Path(sys.argv[1])) as mounts:
    found = {}
    for name in sys.argv[2:]:
        point = mounts.mount(name)
        options = [line.split()[5] for line in Path("/proc/self/mountinfo").read_text().splitlines()
                   if line.split()[4] == str(point)]
        found[name] = [sorted(os.listdir(point)), options]
print(json.dumps(found))
"""

# Holds two mounts in a namespace of its own until it is killed; its child lives on when told so.
HOLDER = f"""
import os, subprocess, sys, time
sys.path.insert(0, {ROOT!r})
from pathlib import Path
from {M}._core.process import SubprocessCommands
from {M}._zfs.mounts import SnapshotMounts, enter_mount_namespace
if "private" in sys.argv:
    enter_mount_namespace()
with SnapshotMounts(SubprocessCommands(), Path({BASE!r})) as mounts:
    point = mounts.mount(sys.argv[1])
    child = subprocess.Popen(["sleep", "300"]) if "child" in sys.argv else None
    Path("/run/holder.pids").write_text(f"{{os.getpid()}} {{child.pid if child else 0}}")
    time.sleep(300)
"""


@pytest.fixture(scope="module")
def storage(guest: Guest, pristine: float) -> Guest:
    """The guest with the core, and one dataset of each kind with a snapshot ``s``."""
    ship(guest)
    guest.put("a passphrase", "/root/passphrase")
    for name, options in KINDS.items():
        dataset = shlex.quote(f"main/{name}")
        guest.run(
            f"zfs create {options} {dataset}; mkdir /tmp/m;"
            f"mount -t zfs -o zfsutil {dataset} /tmp/m || mount -t zfs {dataset} /tmp/m;"
            f"echo {shlex.quote(name)} >/tmp/m/content; umount /tmp/m; rmdir /tmp/m;"
            f"zfs snapshot {dataset}@s; zfs mount {dataset} || true"
        )
    return guest


def mount(storage: Guest, *names: str) -> Any:
    """Mount snapshots in one context: what is in each, and the mount's options."""
    return run_code(storage, MOUNT, BASE, *names)


def mounted_below(storage: Guest, process: int | str = "self") -> list[str]:
    """Mount points below the base, as a process sees them."""
    lines = storage.run(f"cat /proc/{process}/mountinfo").lines
    return [line.split()[4] for line in lines if line.split()[4].startswith(BASE)]


def test_every_kind_of_dataset_at_once(storage: Guest) -> None:
    names = [f"main/{name}@s" for name in KINDS]
    found = mount(storage, *names)
    assert found == {name: [["content"], ["ro,nosuid,nodev,noexec,relatime"]] for name in names}
    assert mounted_below(storage) == []
    assert storage.run(["ls", BASE]).lines == []


def test_beside_the_automount(storage: Guest) -> None:
    listed = storage.run("ls /mnt/main/usual/.zfs/snapshot/s").lines
    assert mount(storage, "main/usual@s")["main/usual@s"][0] == listed == ["content"]
    assert storage.run("ls /mnt/main/usual/.zfs/snapshot/s").lines == listed


def test_a_snapshot_that_is_gone(storage: Guest) -> None:
    for name in ("main/usual@gone", "main/gone@s", "gone/x@s"):
        with pytest.raises(CoreError) as caught:
            mount(storage, name)
        assert caught.value.facts["on"] == name
        assert "unable to open the dataset" in caught.value.facts["found"]
        assert "zfs list -t all" in caught.value.facts["remedy"]
    assert storage.run(["ls", BASE]).lines == []


def test_a_pool_that_is_exported(storage: Guest) -> None:
    storage.run("zfs snapshot ssd@s && zpool export ssd")
    try:
        with pytest.raises(CoreError) as caught:
            mount(storage, "ssd@s")
        assert "pool exported" in caught.value.facts["remedy"].replace("its pool was", "pool")
    finally:
        storage.run("zpool import -d /dev ssd")
    assert mount(storage, "ssd@s")["ssd@s"][0] == []


def test_a_key_that_is_not_loaded(storage: Guest) -> None:
    storage.run("zfs unmount main/encrypted && zfs unload-key main/encrypted")
    try:
        with pytest.raises(CoreError) as caught:
            mount(storage, "main/usual@s", "main/encrypted@s")
    finally:
        storage.run("zfs load-key main/encrypted && zfs mount main/encrypted")
    assert "key not loaded" in caught.value.facts["found"]
    assert "zfs load-key main/encrypted" in caught.value.facts["remedy"]
    assert mounted_below(storage) == [], "the one that was mounted before is undone"


def test_one_that_is_being_read_is_detached(storage: Guest) -> None:
    """A reader that stays behind keeps its open file, and the run still ends."""
    found = run_code(
        storage,
        """
from pathlib import Path
from {M}._zfs.mounts import SnapshotMounts
with SnapshotMounts(SubprocessCommands(), Path(sys.argv[1])) as mounts:
    handle = open(mounts.mount("main/usual@s") / "content")
print(json.dumps([handle.read(), "snapshot-mounts" in Path("/proc/self/mountinfo").read_text()]))
""",
        BASE,
    )
    assert found == ["usual\n", False]


def destroy(storage: Guest, name: str) -> str:
    """What zfs says when a snapshot is to be destroyed; empty when it is gone."""
    return storage.run(["zfs", "destroy", name], check=False).stderr


@pytest.fixture
def held(storage: Guest) -> Iterator[str]:
    """A snapshot for one test."""
    storage.zfs("snapshot", "main/usual@held")
    yield "main/usual@held"
    storage.run("test ! -e /run/holder.pids || xargs kill -9 </run/holder.pids", check=False)
    storage.run("zfs destroy main/usual@held", check=False)


def start_holder(storage: Guest, *words: str) -> tuple[int, int]:
    """The process ids of a run that holds mounts, and of its child."""
    storage.put(HOLDER, "/root/holder.py")
    storage.run(
        f"rm -f /run/holder.pids; setsid python3 /root/holder.py {' '.join(words)} "
        ">/root/holder.log 2>&1 </dev/null & "
        "for i in $(seq 300); do test -s /run/holder.pids && exit 0; sleep 0.1; done;"
        "cat /root/holder.log >&2; exit 1"
    )
    run, child = storage.get("/run/holder.pids").split()
    return int(run), int(child)


def wait_gone(storage: Guest, process: int) -> None:
    """Kill a process and wait until it is reaped."""
    storage.run(f"kill -9 {process}; while test -e /proc/{process}; do sleep 0.05; done")


def test_in_a_private_namespace_a_kill_leaves_nothing(storage: Guest, held: str) -> None:
    run, dummy = start_holder(storage, held, "private")
    assert mounted_below(storage) == [], "the host doesn't see it"
    assert mounted_below(storage, run) == [f"{BASE}/0001"]
    assert "dataset is busy" in destroy(storage, held)
    wait_gone(storage, run)
    assert destroy(storage, held) == ""
    assert mount(storage, "main/usual@s"), "the empty directory that was left is no obstacle"


def test_a_child_keeps_the_mounts_until_it_ends(storage: Guest, held: str) -> None:
    """A transfer that outlives its killed run reads on from the same snapshot."""
    run, child = start_holder(storage, held, "private", "child")
    wait_gone(storage, run)
    assert mounted_below(storage, child) == [f"{BASE}/0001"]
    assert "dataset is busy" in destroy(storage, held)
    wait_gone(storage, child)
    assert destroy(storage, held) == ""


def test_the_host_works_on_as_if_nobody_was_there(storage: Guest, held: str) -> None:
    """Unmounts and exports reach the private namespace; its copies keep nothing busy."""
    run, dummy = start_holder(storage, held, "private")
    storage.run(
        "zfs unmount main/hidden && zfs mount main/hidden && zfs create main/passing &&"
        "touch /mnt/main/passing/f && zfs destroy main/passing &&"
        "zpool export ssd && zpool import -d /dev ssd"
    )
    seen = storage.run(f"cat /proc/{run}/mountinfo").stdout
    assert "/mnt/main/hidden" in seen
    assert "/mnt/ssd" in seen
    assert "passing" not in seen
    refused = storage.run("zpool export main", check=False)
    assert "pool is busy" in refused.stderr, "a pool that is being read can't be exported"
    storage.run("zfs mount -a")


def test_without_a_namespace_the_next_run_clears_up(storage: Guest, held: str) -> None:
    run, dummy = start_holder(storage, held)
    wait_gone(storage, run)
    assert mounted_below(storage) == [f"{BASE}/0001"], "this is what a kill leaves"
    assert "dataset is busy" in destroy(storage, held)
    assert json.dumps(mount(storage, "main/usual@s"))
    assert mounted_below(storage) == []
    assert destroy(storage, held) == ""
