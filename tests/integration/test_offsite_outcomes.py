# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""What goes wrong around a run: a clear outcome, nothing lost, and the next run completes."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.offsite.installation import (
    KEY,
    KNOWN_HOSTS,
    STATE,
    Installation,
    Ran,
    installed,
    job_document,
)
from tests.integration.offsite.source_tree import assert_equal
from tests.lab.guest import Guest
from tests.lab.nas import SHARE, Nas
from tests.lab.settings import load

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("pristine")]

INCOMPLETE, GUARD, SOURCE, DESTINATION, TRANSPORT, CONFIG = 10, 11, 13, 14, 15, 16
INDEX = f"{STATE}/state/offsite/main/index.sqlite"
FIRST = """
set -e
zfs create main/o; zfs create main/o/child
cd /mnt/main/o; mkdir -p d/e; for n in $(seq 30); do echo $n >d/$n; done
echo x >d/e/x; ln d/1 one; echo c >child/c; echo l >noise.log
"""


@pytest.fixture(scope="module")
def shared(guest: Guest, nas: Nas, pristine: float) -> Installation:
    """One job with its base made."""
    made = installed(guest, nas, [job_document("main", "main")])
    guest.run(FIRST)
    assert_equal(made, made.ok().kept)
    return made


@pytest.fixture
def made(shared: Installation) -> Iterator[Installation]:
    """The job; after each test a run has to complete, and nothing may differ then."""
    jobs = shared.jobs
    yield shared
    shared.jobs = jobs
    shared.configure()
    assert_equal(shared, shared.ok().kept)


@pytest.fixture
def tree(nas: Nas) -> Path:
    """The remote tree on this machine."""
    return nas.share / "main"


def digest_of_tree(*tops: Path) -> str:
    """One sum over names, times and content."""
    total = hashlib.sha256()
    for top in tops:
        for directory, names, files in os.walk(top):
            names.sort()
            for name in sorted(files):
                path = Path(directory, name)
                total.update(os.fsencode(path) + b"%d" % path.stat().st_mtime_ns)
                total.update(path.read_bytes())
    return total.hexdigest()


def versions(nas: Nas) -> set[str]:
    """What is in versions: ``reason/path`` of every file."""
    top = nas.share / "main.homelab-backup" / "versions"
    return {
        str(Path(directory, name).relative_to(top)).partition("/")[2]
        for directory, dummy, files in os.walk(top)
        for name in files
    }


def write(made: Installation, text: str) -> None:
    made.guest.run(f"echo '{text}' >/mnt/main/o/d/e/x")


def test_the_zipapp_itself(made: Installation) -> None:
    write(made, "by the file that is shipped")
    made.shipped = True
    try:
        ran = made.ok()
    finally:
        made.shipped = False
    assert_equal(made, ran.kept)


def test_nas_is_off(made: Installation) -> None:
    write(made, "off")
    made.nas.stop()
    try:
        ran = made.run()
    finally:
        made.nas.restart()
    assert ran.rc == TRANSPORT, ran.said
    assert ran.kept["verdict"] == "failed"
    assert "192.168.1.13" in ran.said


def test_link_lost_while_sending(made: Installation) -> None:
    made.guest.run("head -c 150000000 /dev/urandom >/mnt/main/o/big")
    with Guest(load()) as other:
        running = Installation(other, made.nas, made.jobs)
        outcome: list[Ran] = []
        thread = threading.Thread(target=lambda: outcome.append(running.run()))
        thread.start()
        incoming = made.nas.share / "main.homelab-backup" / "incoming"
        deadline = time.monotonic() + 120
        while not any(incoming.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        made.nas.cut()
        try:
            thread.join(10)
        finally:
            # The server goes, and with it the session, when the packets are back.
            made.nas.stop()
            made.nas.mend()
            made.nas.restart()
        thread.join(200)
    assert outcome, "the run never ended"
    assert outcome[0].rc == TRANSPORT, outcome[0].said
    after = made.ok()
    assert after.kept["findings"]["named"] == []
    made.guest.run("rm /mnt/main/o/big")


def test_nas_is_full_before_anything_is_sent(made: Installation) -> None:
    made.guest.run("head -c 40000000 /dev/urandom >/mnt/main/o/big")
    made.nas.resize(used_mib(made.nas) + 10)
    try:
        ran = made.run()
    finally:
        made.nas.resize(4096)
    assert ran.rc == DESTINATION, ran.said
    assert "free" in ran.said
    made.guest.run("rm /mnt/main/o/big")


def test_nas_gets_full_while_sending(made: Installation) -> None:
    """Many tiny files need more room than their bytes."""
    made.guest.run(
        "mkdir /mnt/main/o/many; cd /mnt/main/o/many; for n in $(seq 1500); do echo >$n; done"
    )
    made.nas.resize(used_mib(made.nas) + 2)
    try:
        ran = made.run()
    finally:
        made.nas.resize(4096)
    assert ran.rc == DESTINATION, ran.said
    assert_equal(made, made.ok().kept)
    made.guest.run("rm -r /mnt/main/o/many")


def used_mib(nas: Nas) -> int:
    usage = os.statvfs(nas.volume)
    return (usage.f_blocks - usage.f_bfree) * usage.f_frsize // (1 << 20) + 1


def test_another_host_key(made: Installation) -> None:
    write(made, "host key")
    other = made.nas.known_hosts.split()
    key = made.guest.run(
        "rm -f /root/k; ssh-keygen -q -t ed25519 -N '' -f /root/k; cat /root/k.pub"
    )
    made.guest.put(f"{other[0]} {key.stdout}", KNOWN_HOSTS, 0o600)
    ran = made.run()
    made.guest.put(made.nas.known_hosts, KNOWN_HOSTS, 0o600)
    assert ran.rc == TRANSPORT, ran.said
    assert "host key" in ran.said


def test_key_is_refused(made: Installation) -> None:
    write(made, "key")
    made.guest.run(f"rm -f /root/k; ssh-keygen -q -t ed25519 -N '' -f /root/k; cp /root/k {KEY}")
    ran = made.run()
    made.guest.put(made.nas.key("offsite"), KEY, 0o600)
    assert ran.rc == TRANSPORT, ran.said
    assert "key" in ran.said


def test_rclone_is_missing(made: Installation) -> None:
    write(made, "rclone")
    made.changed(bulk={"program": "rclone", "rclone": "/nowhere/rclone"})
    ran = made.run()
    assert ran.rc == TRANSPORT, ran.said
    assert "/nowhere/rclone" in ran.said


def test_base_destroyed_by_hand(made: Installation) -> None:
    write(made, "base gone")
    made.guest.run(
        "for s in $(zfs list -H -o name -t snapshot -r main | grep cloudsync);"
        " do zfs release homelab.backup:offsite $s; zfs destroy $s; done"
    )
    ran = made.ok()
    assert set(ran.strategies.values()) == {"walk"}
    assert ran.kept["counts"]["sent"] == 1
    assert ran.kept["findings"]["named"] == []
    assert_equal(made, ran.kept)


def test_pool_exported(made: Installation) -> None:
    made.jobs = [*made.jobs, job_document("second", "ssd")]
    made.configure()
    made.guest.run("echo s >/mnt/ssd/s")
    assert_equal(made, made.ok(job="second").kept, job=made.jobs[1])
    made.guest.run("echo t >/mnt/ssd/t; zpool export ssd")
    ran = made.run(job="second")
    made.guest.run("zpool import -d /dev ssd || zpool import ssd")
    assert ran.rc == SOURCE, ran.said
    assert "ssd" in ran.said
    assert_equal(made, made.ok(job="second").kept, job=made.jobs[1])


def test_dataset_not_mounted(made: Installation) -> None:
    made.guest.run("echo 2 >>/mnt/main/o/child/c; zfs unmount main/o/child")
    ran = made.ok()
    made.guest.run("zfs mount main/o/child")
    assert_equal(made, ran.kept)


def test_key_of_a_dataset_not_loaded(made: Installation, tree: Path) -> None:
    made.guest.run(
        ["zfs", "create", "-o", "encryption=on", "-o", "keyformat=passphrase", "main/o/locked"],
        stdin="passphrase\npassphrase\n",
    )
    made.guest.run("echo secret >/mnt/main/o/locked/f")
    made.ok()
    made.guest.run("zfs unmount main/o/locked; zfs unload-key main/o/locked")
    write(made, "while one is locked")
    ran = made.run()
    assert ran.rc == INCOMPLETE, ran.said
    assert "main/o/locked: its key is not loaded" in ran.notes
    assert (tree / "o/locked/f").read_text() == "secret\n"
    assert (tree / "o/d/e/x").read_text() == "while one is locked\n"
    made.guest.run(["zfs", "load-key", "main/o/locked"], stdin="passphrase\n")
    made.guest.run("zfs mount main/o/locked")


def test_clock_turned_back(made: Installation) -> None:
    write(made, "two days ago")
    made.guest.set_clock(time.time() - 2 * 86_400)
    try:
        assert_equal(made, made.ok().kept)
        write(made, "still two days ago")
        assert_equal(made, made.ok().kept)
    finally:
        made.guest.set_clock()


def test_destination_is_not_empty(made: Installation) -> None:
    target = made.nas.share / "taken"
    shutil.copytree(made.nas.share / "main" / "o" / "d", target / "d")
    (target / "stray").write_text("not ours")
    (target / "d" / "2").write_text("other")
    for path in (target, *target.rglob("*")):
        os.chown(path, 1026, 100)
    job = job_document("taken", "main/o", destination={"directory": f"{SHARE}/taken"})
    made.jobs = [*made.jobs, job]
    made.configure()
    ran = made.run(job="taken")
    assert ran.rc == DESTINATION, ran.said
    assert "adopt" in ran.said
    assert (target / "stray").read_text() == "not ours"
    made.jobs = [made.jobs[0], {**job, "adopt": True}]
    made.configure()
    ran = made.ok(job="taken")
    assert_equal(made, ran.kept, job=job)
    top = made.nas.share / "taken.homelab-backup" / "versions"
    assert {"stray", "2"} <= {path.name for path in top.rglob("*")}


def test_destination_of_another_pool(made: Installation) -> None:
    made.jobs = [job_document("main", "ssd")]
    made.configure()
    ran = made.run()
    assert ran.rc == DESTINATION, ran.said
    assert "it holds the copy of" in ran.said
    assert "ssd" in ran.said


def test_index_lost(made: Installation) -> None:
    write(made, "index lost")
    made.guest.run(f"rm {INDEX}*")
    ran = made.ok()
    assert "rebuilt" in ran.notes
    assert ran.kept["counts"]["sent"] == 1, ran.kept["counts"]
    assert_equal(made, ran.kept)


def test_index_damaged(made: Installation) -> None:
    made.guest.run(f"rm -f {INDEX}-wal {INDEX}-shm; head -c 8192 /dev/urandom >{INDEX}")
    ran = made.run()
    assert ran.rc == CONFIG, ran.said
    assert "index.sqlite" in ran.said
    assert "move the file away" in ran.said
    made.guest.run(f"mv {INDEX} /root/damaged")
    assert_equal(made, made.ok().kept)


def test_path_longer_than_the_nas_can_hold(made: Installation) -> None:
    made.guest.python(
        "import os\nos.chdir('/mnt/main/o')\nos.mkdir('long'); os.chdir('long')\n"
        "for n in range(16):\n    os.mkdir('n' * 250); os.chdir('n' * 250)\n"
        "open('f', 'w').write('deep')\n"
    )
    write(made, "beside a path that is too long")
    ran = made.run()
    made.guest.run("rm -rf /mnt/main/o/long")
    assert ran.rc == INCOMPLETE, ran.said
    assert "o/long/nnn" in ran.notes
    assert (made.nas.share / "main/o/d/e/x").read_text() == "beside a path that is too long\n"


def test_too_many_deletions_stop_a_run(made: Installation, tree: Path) -> None:
    made.changed(limits={"max_changed_share": 0.3, "min_guard_files": 10})
    made.guest.run("cp -a /mnt/main/o/d /root/kept; rm -r /mnt/main/o/d")
    before = digest_of_tree(tree)
    ran = made.run()
    assert ran.rc == GUARD, ran.said
    assert digest_of_tree(tree) == before
    run = ran.kept["run"]
    assert f"--accept {run}" in ran.said
    made.guest.run("mkdir /mnt/main/o/later")
    accepted = made.ok("--accept", run)
    assert not (tree / "o/d").exists()
    assert "deleted/o/d/e/x" in versions(made.nas)
    assert_equal(made, accepted.kept)
    made.guest.run("cp -a /root/kept /mnt/main/o/d")


def test_a_flipped_byte_is_found_and_repaired(made: Installation, tree: Path) -> None:
    path = tree / "o/child/c"
    good, before = path.read_bytes(), path.stat()
    path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    for attempt in range(6):
        made.guest.set_clock(made.guest.clock() + 40 * 86_400)
        ran = made.ok()
        if "damaged at the destination, sent again: o/child/c" in ran.notes:
            print(f"found by run {attempt + 1}")
            break
    made.guest.set_clock()
    assert path.read_bytes() == good, ran.notes


def test_reconcile_finds_strays_and_what_is_missing(made: Installation, tree: Path) -> None:
    (tree / "o/stray").write_text("stray")
    (tree / "o/straydir").mkdir()
    (tree / "o/straydir/f").write_text("stray in a directory")
    (tree / "o/d/@eaDir").mkdir()
    (tree / "o/d/@eaDir/thumb").write_text("the NAS' own")
    (tree / "#recycle").mkdir()
    (tree / "o/d/5").unlink()
    (tree / "o/d/6").write_text("changed, other size")
    for path in (tree / "o/stray", *(tree / "o/straydir").rglob("*"), tree / "o/straydir"):
        os.chown(path, 1026, 100)
    ran = made.ok("--reconcile")
    for sentence in (
        "unexpected at the destination, set aside: o/stray",
        "unexpected at the destination, set aside: o/straydir",
        "missing at the destination: o/d/5",
        "changed at the destination, sent again: o/d/6",
    ):
        assert sentence in ran.notes
    assert {"stray/o/stray", "stray/o/straydir/f"} <= versions(made.nas)
    assert (tree / "o/d/@eaDir/thumb").read_text() == "the NAS' own"
    assert (tree / "#recycle").is_dir()
    again = made.ok("--reconcile")
    assert again.kept["findings"]["named"] == []
    shutil.rmtree(tree / "o/d/@eaDir")
    (tree / "#recycle").rmdir()


def test_excludes_changed(made: Installation, tree: Path) -> None:
    made.changed(excludes=[{"pattern": "*.log", "reason": "noise"}])
    ran = made.ok()
    assert_equal(made, ran.kept, ["*.log"])
    assert not (tree / "o/noise.log").exists()
    assert "deleted/o/noise.log" in versions(made.nas)


def test_plan_names_everything_and_changes_nothing(made: Installation, nas: Nas) -> None:
    made.guest.run(
        "cd /mnt/main/o; echo new >new; mv d/e d/renamed; rm one; echo changed >d/3;"
        " zfs snapshot -r main@planned"
    )
    before = digest_of_tree(nas.share), made.guest.get(INDEX)
    plan = made.plan()
    assert (digest_of_tree(nas.share), made.guest.get(INDEX)) == before
    made.guest.run("zfs destroy -r main@planned")
    acts = {(item["act"], item["path"], item.get("from")) for item in plan["changes"]}
    assert acts == {
        ("copy", "o/new", None),
        ("copy", "o/d/3", None),
        ("delete", "o/one", None),
        ("move", "o/d/renamed/", "o/d/e/"),
    }
    made.guest.run("cd /mnt/main/o; mv d/renamed d/e; ln d/1 one")
