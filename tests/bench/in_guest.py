# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Runs in the storage guest: makes trees on real ZFS, and times the detection of changes.

    python -m tests.bench.in_guest COMMAND JSON

Each command takes one JSON object and writes one. The index of a tree is made by
a whole first run into a destination that keeps nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import SystemClock
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._filter.patterns import (
    compile_patterns,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.bases import Bases
from ansible_collections.homelab.backup.plugins.module_utils._offsite.compare import Longest
from ansible_collections.homelab.backup.plugins.module_utils._offsite.detect import Detector
from ansible_collections.homelab.backup.plugins.module_utils._offsite.extent import measure
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import (
    Bulk,
    Destination,
    Job,
    Limits,
    OffsitePolicy,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.run import (
    OffsiteRun,
    Options,
    index_path,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.scope import members_of
from ansible_collections.homelab.backup.plugins.module_utils._offsite.structure import settle
from ansible_collections.homelab.backup.plugins.module_utils._offsite.survey import Survey
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import (
    BulkUpload,
    RemoteStore,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.cli import ZfsCli
from ansible_collections.homelab.backup.plugins.module_utils._zfs.mounts import SnapshotMounts
from ansible_collections.homelab.backup.plugins.module_utils._zfs.send import SendStreams
from tests.bench.sink import Sink

STATE = Path("/root/bench-state")
ROOT = "main"


class Silent:
    """Progress that nobody reads."""

    def step(self, text: str) -> None:
        """See :class:`run.Progress`."""

    def sent(self, files: int, size: int) -> None:
        """See :class:`run.Progress`."""


class SinkPorts:
    """This host's ZFS with a destination that keeps nothing."""

    def __init__(self) -> None:
        commands = SubprocessCommands()
        self.zfs = ZfsCli(commands)
        self.streams = SendStreams(commands)
        self.mounts = SnapshotMounts(commands, Path("/run/bench-mounts"))
        self.clock = SystemClock()

    def connect(self, job: Job) -> RemoteStore:
        """See :class:`run.Ports`."""
        return Sink()

    def bulk(self, job: Job, store: RemoteStore) -> tuple[BulkUpload, dict[str, object]]:
        """See :class:`run.Ports`."""
        return store, {}


def job_of(name: str) -> tuple[OffsitePolicy, Job]:
    """The policy and job of one tree."""
    target = Destination("nas", 22, "bench", "-", "-", "/bench", "/bench.homelab-backup")
    limits = Limits(max_changed_share=1.0, free_space_reserve_bytes=0)
    job = Job(name, f"{ROOT}/{name}", target, limits=limits, bulk=Bulk(program="sftp"))
    return OffsitePolicy("bench", STATE, STATE / "log", (job,)), job


def run(*argv: str) -> bytes:
    """A command that must succeed."""
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout


def top_of(name: str) -> Path:
    """Where the tree's dataset is mounted."""
    return Path("/mnt") / ROOT / name


def paths_of(name: str, files: int, directories: int) -> list[Path]:
    """The tree's files, directory by directory; without directories all lie in one."""
    top = top_of(name)
    if not directories:
        return [top / f"file-{number:06d}.dat" for number in range(files)]
    each = files // directories
    return [
        top / f"group-{place % 10}" / f"directory-{place:04d}" / f"file-{number:05d}.dat"
        for place in range(directories)
        for number in range(each)
    ]


def make(name: str, files: int, directories: int, size: int, big: int) -> dict[str, object]:
    """A dataset with a tree of files, and the index that a first run leaves."""
    run("zfs", "create", "-o", "atime=off", f"{ROOT}/{name}")
    started = time.monotonic()
    above: set[Path] = set()
    for number, path in enumerate(paths_of(name, files, directories)):
        if path.parent not in above:
            path.parent.mkdir(parents=True, exist_ok=True)
            above.add(path.parent)
        path.write_bytes(os.urandom(size - 8) + number.to_bytes(8, "big"))
    if big:
        write_big(top_of(name) / "big.img", big)
    made = time.monotonic() - started
    # Racy files are looked at once more; these shall be as files of any other day.
    run("sync")
    time.sleep(2.1)
    started = time.monotonic()
    policy, job = job_of(name)
    record = OffsiteRun(policy, job, SinkPorts(), Options(read_back=False), Silent()).run()
    return {
        "made": made,
        "first_run": time.monotonic() - started,
        "counts": record.counts,
        "detection": record.detection,
    }


def write_big(path: Path, size: int) -> None:
    """One file of random bytes, rewritten in place if it is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "wb", buffering=0) as handle:
        for dummy in range(size >> 20):
            handle.write(os.urandom(1 << 20))


def change(
    name: str, files: int, directories: int, size: int, big: int, changes: int, short: str
) -> dict[str, object]:
    """Rewrite so many files, spread over the tree, and take a snapshot."""
    paths = paths_of(name, files, directories)
    for number in range(changes):
        path = paths[number * len(paths) // changes]
        path.write_bytes(os.urandom(size))
    if big:
        write_big(top_of(name) / "big.img", big)
    run("sync")
    run("zfs", "snapshot", f"{ROOT}/{name}@{short}")
    return {}


def base_of(name: str) -> str:
    """The snapshot at which the tree's index is true."""
    index = Index(index_path(*job_of(name)), readonly=True)
    try:
        return str(index.db.execute("SELECT base FROM dataset").fetchone()[0])
    finally:
        index.close()


def detect(name: str, short: str, strategy: str | None) -> dict[str, object]:
    """The detecting part of a run with one strategy (None: let it choose), timed."""
    started = time.monotonic()
    policy, job = job_of(name)
    with ExitStack() as stack:
        ports = SinkPorts()
        index = Index(index_path(policy, job), readonly=True)
        stack.callback(index.close)
        excludes = compile_patterns([])
        scope = members_of(ports.zfs.datasets(job.root), job.root, excludes.prunes_directory)
        snapshots = Bases(ports.zfs, job.name, job.root).all()
        mounts = stack.enter_context(ports.mounts)
        survey = Survey(index, scope, snapshots, short, mounts, forced=strategy)
        stack.callback(survey.close)
        detector = Detector(index, ports.streams, excludes, Longest(), 10**9)
        problems: list[str] = []
        [found] = list(survey.detect(detector, problems.append))
        settle(index)
        seconds = time.monotonic() - started
        extent = measure(index)
    return {
        "seconds": seconds,
        "own": found.seconds,
        "strategy": found.strategy,
        "reason": found.reason,
        "touched": found.touched,
        "listed": found.tally.directories,
        "examined": found.tally.examined,
        "changed": extent.changed,
        "measured": detector.measured,
        "problems": problems,
    }


def outside(argv: Sequence[str]) -> dict[str, object]:
    """Another program's time, its output counted and thrown away."""
    started = time.monotonic()
    lines = 0
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        if process.stdout is not None:
            lines = sum(1 for dummy in process.stdout)
    return {"seconds": time.monotonic() - started, "lines": lines, "status": process.returncode}


def compare(name: str, short: str, way: str, limit: float) -> dict[str, object]:
    """One measurement of one way, with the caches as a busy host would have them."""
    Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")
    dataset = f"{ROOT}/{name}"
    match way:
        case "zfs diff":
            names = f"{dataset}@{base_of(name)}", f"{dataset}@{short}"
            return outside(["timeout", f"{limit:.0f}", "zfs", "diff", "-FH", *names])
        case "find":
            place = Path("/root/bench-find")
            place.mkdir(exist_ok=True)
            started = time.monotonic()
            run("mount", "-t", "zfs", f"{dataset}@{short}", str(place))
            try:
                found = outside(["find", str(place), "-printf", "%p %i %s %T@ %C@\\n"])
            finally:
                run("umount", str(place))
            return {**found, "seconds": time.monotonic() - started}
        case _:
            return detect(name, short, None if way == "auto" else way)


def learn(name: str) -> dict[str, object]:
    """What the index has learnt about this host's speed."""
    index = Index(index_path(*job_of(name)), readonly=True)
    try:
        rows = index.db.execute("SELECT key, value FROM meta").fetchall()
    finally:
        index.close()
    return {key: value for key, value in rows if "seconds" in key}


def main(command: str, argument: str) -> None:
    """Run one command."""
    asked: dict[str, Any] = json.loads(argument)
    commands: dict[str, Callable[..., dict[str, object]]] = {
        "make": make,
        "change": change,
        "compare": compare,
        "learn": learn,
    }
    sys.stdout.write(json.dumps(commands[command](**asked)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
