# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""The runner killed at its external steps, interrupted, started twice: the next run completes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.integration.offsite.installation import STATE, Installation, Ran, installed, job_document
from tests.integration.offsite.source_tree import assert_equal
from tests.lab.guest import Guest
from tests.lab.nas import Nas
from tests.lab.settings import load

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("pristine")]

LOG = "/root/steps"
REMOTE_RECORD = "main.homelab-backup/records/last.json"
LOCKED, INTERRUPTED = 12, 18
# One change of every sort, the same in each round; $1 is the round.
CHANGES = r"""
set -e
cd /mnt/main/k
echo "$1" >new-"$1"; echo "changed $1" >changed; echo "in child $1" >child/f
mv dir-* dir-"$1"; mv moved-* dir-"$1"/tmp; mv dir-"$1"/tmp moved-"$1"
echo "replacement $1" >.n; mv .n replaced; ln -f changed link-"$1"; ln -sfn "$1" symlink
rm -f victim; rm -rf turn
if [ $(($1 % 2)) = 0 ]; then mkdir turn; echo "$1" >turn/x; else echo "$1" >turn; fi
echo "victim $1" >victim; rm -rf gone; mkdir gone; echo "gone $1" >gone/f
head -c 200000 /dev/urandom >big
"""
FIRST = """
set -e
zfs create main/k; zfs create main/k/child; cd /mnt/main/k
mkdir dir-0 gone; for n in 1 2 3; do echo $n >dir-0/$n; done; echo m >moved-0
"""


@pytest.fixture(scope="module")
def made(guest: Guest, nas: Nas, pristine: float) -> Installation:
    """One job, its base made, of files that every round changes."""
    made = installed(guest, nas, [job_document("main", "main")])
    guest.run(FIRST)
    change(made, 1)
    assert_equal(made, made.ok().kept)
    return made


def change(made: Installation, number: int) -> None:
    made.guest.run(["bash", "-c", CHANGES, "-", str(number)])


def killed(made: Installation, at: int, number: int = signal.SIGKILL) -> Ran:
    """A run that gets the signal at its external step ``at``."""
    env = {"KILL_AT": str(at), "KILL_LOG": LOG, "KILL_SIGNAL": str(int(number))}
    return made.run(env=env)


def bases(made: Installation) -> str:
    code = (
        "import sqlite3; print(sqlite3.connect("
        f"'{STATE}/state/offsite/main/index.sqlite').execute("
        "'SELECT name, base_guid FROM dataset ORDER BY name').fetchall())"
    )
    return made.guest.python(code).stdout


def stored(made: Installation) -> set[str]:
    """sha256 of every file in the tree and in versions, read on this machine."""
    found = set()
    share = made.nas.share
    for top in (share / "main", share / "main.homelab-backup" / "versions"):
        for directory, dummy, names in os.walk(top):
            for name in names:
                found.add(hashlib.sha256(Path(directory, name).read_bytes()).hexdigest())
    return found


def interesting(lines: list[str]) -> list[int]:
    """The first and the last step of every sort; programs each time."""
    by_label: dict[str, list[int]] = {}
    for line in lines:
        number, dummy, label = line.partition("\t")
        by_label.setdefault(label, []).append(int(number))
    chosen: set[int] = set()
    for label, numbers in by_label.items():
        chosen.update(
            {numbers[0], numbers[-1]}
            if " sftp " in label
            else numbers[:: max(1, len(numbers) // 3)]
        )
    return sorted(chosen)


def test_killed_at_every_sort_of_step(made: Installation) -> None:
    change(made, 2)
    counted = killed(made, 0)
    assert counted.rc == 0, counted.said
    assert_equal(made, counted.kept)
    lines = made.guest.get(LOG).decode().splitlines()
    points = interesting(lines)
    seed = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 20)
    wanted = min(int(os.environ.get("KILL_POINTS", "16")), len(points))
    points = sorted(random.Random(seed).sample(points, wanted))
    print(f"KILL_SEED={seed}: of {len(lines)} steps killed at {points}", flush=True)
    dead = 0
    for round_number, at in enumerate(points, start=3):
        before, base = stored(made), bases(made)
        change(made, round_number)
        ran = killed(made, at)
        label = made.guest.get(LOG).decode().splitlines()[-1]
        dead += ran.rc == 128 + signal.SIGKILL
        if bases(made) != base:
            # Only a copy that was complete may have become the base.
            remote = json.loads((made.nas.share / REMOTE_RECORD).read_text())
            assert remote["verdict"] == "ok", label
            assert_equal(made, remote)
        after = made.ok()
        assert after.kept["findings"]["named"] == [], label
        assert_equal(made, after.kept)
        assert before <= stored(made), f"killed at {label}: content was lost"
        print(f"killed at {label}: {after.result.seconds:.0f} s to put right", flush=True)
    assert dead >= len(points) * 0.8


def test_sigterm_ends_a_run_in_order(made: Installation) -> None:
    change(made, 1001)
    ran = killed(made, 60, signal.SIGTERM)
    assert ran.rc == INTERRUPTED, ran.said
    assert ran.kept["verdict"] == "failed"
    assert "interrupted" in ran.said
    assert_equal(made, made.ok().kept)


def test_two_at_once(made: Installation) -> None:
    change(made, 1002)
    with Guest(load()) as other:
        first = Installation(other, made.nas, made.jobs)
        outcome: list[Ran] = []
        thread = threading.Thread(target=lambda: outcome.append(killed(first, 40, signal.SIGSTOP)))
        thread.start()
        deadline = time.monotonic() + 120
        stopped = ""
        while not stopped and time.monotonic() < deadline:
            time.sleep(0.5)
            states = made.guest.run("ps -eo stat,pid,sid | awk '$1 ~ /^T/ && $2 == $3 {print $2}'")
            stopped = states.stdout.strip()
        second = made.run()
        made.guest.run(["kill", "-CONT", stopped])
        thread.join()
    assert second.rc == LOCKED, second.said
    assert "running already" in second.said
    assert second.record is None
    assert outcome[0].rc == 0, outcome[0].said
    assert_equal(made, outcome[0].kept)


def test_a_child_that_outlives_its_killed_run_keeps_the_lock(made: Installation) -> None:
    change(made, 1003)
    slow = '#!/bin/sh\n[ "$1" != snapshot ] || sleep 12\nexec /usr/sbin/zfs "$@"\n'
    made.guest.run("mkdir -p /root/slow")
    made.guest.put(slow, "/root/slow/zfs", 0o755)
    counted = killed(made, 0)
    assert counted.rc == 0
    lines = made.guest.get(LOG).decode().splitlines()
    at = next(int(line.split("\t")[0]) for line in lines if line.endswith("\tstarted zfs snapshot"))
    env = {
        "KILL_AT": str(at),
        "KILL_LOG": LOG,
        "PATH": "/root/slow:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    assert made.run(env=env).rc == 128 + signal.SIGKILL
    assert made.run().rc == LOCKED
    time.sleep(13)
    assert_equal(made, made.ok().kept)
