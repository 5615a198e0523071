# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""A whole offsite run over a plain directory of this machine, in a process of its own.

    python -m tests.bench.plain FILE

Everything is the real code but for ZFS: the directory stands for each snapshot
that the run takes, and with ``changed`` a made-up stream names the objects behind
those paths with their neighbours, as a real one does (32 objects share a block).
FILE holds the arguments of :func:`run` as JSON. It answers with the run's record,
its seconds and its peak of memory.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import SystemClock
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
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import (
    BulkUpload,
    RemoteStore,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.ports import Zfs
from ansible_collections.homelab.backup.plugins.module_utils._zfs.send import NO_LIMITS, SendLimits
from ansible_collections.homelab.backup.plugins.module_utils._zfs.sendstream import (
    Objects,
    StreamChanges,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import (
    Dataset,
    Destroyed,
    Snapshot,
)
from tests.bench.sink import Sink

NAME = "plain"
DNODES = 32
OBJECT_END = (1 << 64) - 1


class PlainZfs:
    """One dataset that is a directory; its snapshots are kept in a JSON file."""

    def __init__(self, source: Path, kept: Path) -> None:
        self._source = source
        self._kept = kept

    def datasets(self, *roots: str, recursive: bool = True) -> tuple[Dataset, ...]:
        """The one."""
        place = str(self._source)
        return (Dataset(NAME, 7, "filesystem", place, True, "on", "-", 1 << 30, 1 << 30),)

    def snapshots(
        self,
        roots: Sequence[str],
        *,
        recursive: bool = True,
        user_properties: Sequence[str] = (),
    ) -> tuple[Snapshot, ...]:
        """Those that were taken."""
        if not self._kept.exists():
            return ()
        rows: list[dict[str, Any]] = json.loads(self._kept.read_text())
        return tuple(Snapshot(**row) for row in rows)

    def snapshot(self, names: Sequence[str], properties: Mapping[str, str]) -> None:
        """Note one."""
        there = self.snapshots([])
        number = max((item.guid for item in there), default=0) + 1
        now = int(time.time())
        new = Snapshot(names[0], number, number, now, 0, 1 << 20, 1, (), dict(properties))
        self._write((*there, new))

    def hold(self, tag: str, names: Sequence[str]) -> None:
        """Nothing destroys them."""

    def release(self, tag: str, names: Sequence[str]) -> None:
        """Nothing holds them."""

    def destroy_snapshots(self, dataset: str, shorts: Sequence[str]) -> Destroyed:
        """Forget them."""
        self._write([item for item in self.snapshots([]) if item.short not in shorts])
        return Destroyed(tuple(f"{dataset}@{short}" for short in shorts))

    def pool_guid(self, pool: str) -> int:
        """The same each time."""
        return 7

    def _write(self, snapshots: Sequence[Snapshot]) -> None:
        self._kept.write_text(json.dumps([asdict(item) for item in snapshots]))


class PlainStreams:
    """A stream that names the objects behind these paths, and their neighbours."""

    def __init__(self, source: Path, changed: Sequence[str]) -> None:
        self._source = source
        self._changed = changed

    def changes(
        self,
        base: str,
        new: str,
        limits: SendLimits = NO_LIMITS,
        *,
        from_guid: int | None = None,
        to_guid: int | None = None,
    ) -> StreamChanges:
        """See the class."""
        content: set[int] = set()
        directories: set[int] = set()
        for name in self._changed:
            found = (self._source / name).stat()
            content.add(found.st_ino)
            if os.path.isdir(self._source / name):
                directories.add(found.st_ino)
        objects = Objects()
        blocks = {each - each % DNODES for each in content}
        for number in sorted(block + slot for block in blocks for slot in range(DNODES)):
            objects.add(number, OBJECT_END)
        counts = (len(objects), 1 << 20)
        return StreamChanges(
            objects, content, set(), set(), directories, [], from_guid or 0, 0, new, *counts
        )


class PlainMounts:
    """The directory itself in place of each snapshot."""

    def __init__(self, source: Path) -> None:
        self._source = source

    def __enter__(self) -> PlainMounts:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is mounted."""

    def mount(self, snapshot: str) -> Path:
        """The directory."""
        return self._source


class PlainPorts:
    """What a run needs, over a plain directory; an empty ``argv`` is a sink."""

    def __init__(self, source: Path, state: Path, argv: list[str], changed: list[str]) -> None:
        # A run asks for no more of ZFS than PlainZfs has.
        self.zfs = cast(Zfs, PlainZfs(source, state / "snapshots.json"))
        self.streams = PlainStreams(source, changed)
        self.mounts = PlainMounts(source)
        self.clock = SystemClock()
        self._argv = argv
        self._sink = state / "sink.json"

    def connect(self, job: Job) -> RemoteStore:
        """See :class:`run.Ports`."""
        return SftpClient.connect(self._argv) if self._argv else Sink(self._sink)

    def bulk(self, job: Job, store: RemoteStore) -> tuple[BulkUpload, dict[str, object]]:
        """See :class:`run.Ports`."""
        return store, {}


class Steps:
    """When each step began, in seconds, and the peak of memory until then, in MiB."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.seen: list[tuple[str, float, int]] = []

    def step(self, text: str) -> None:
        """See :class:`run.Progress`."""
        elapsed = round(time.monotonic() - self._started, 3)
        self.seen.append((text, elapsed, peak_kib() >> 10))

    def sent(self, files: int, size: int) -> None:
        """See :class:`run.Progress`."""


def peak_kib() -> int:
    """VmHWM of this process: the most memory that it ever had (proc(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise ValueError("no VmHWM in /proc/self/status")


def run(
    source: str, state: str, argv: list[str], directory: str, changed: list[str] | None
) -> dict[str, object]:
    """One run; ``changed`` None walks, else the made-up stream names these paths."""
    begun = peak_kib()
    target = Destination("-", 22, "-", "-", "-", directory, directory + ".homelab-backup")
    limits = Limits(max_changed_share=1.0, free_space_reserve_bytes=0)
    job = Job(NAME, NAME, target, limits=limits, bulk=Bulk(program="sftp"))
    place = Path(state)
    place.mkdir(parents=True, exist_ok=True)
    policy = OffsitePolicy("bench", place, place / "log", (job,))
    ports = PlainPorts(Path(source), place, argv, changed or [])
    steps = Steps()
    started = time.monotonic()
    options = Options(strategy="walk" if changed is None else "stream", read_back=False)
    record = OffsiteRun(policy, job, ports, options, steps).run()
    return {
        "seconds": time.monotonic() - started,
        "steps": steps.seen,
        "begun_kib": begun,
        "peak_kib": peak_kib(),
        "verdict": record.verdict,
        "counts": record.counts,
        "detection": record.detection,
        "problems": record.problems[:5],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
