# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Runs in the storage guest: all cases in one dataset, then what the stream says of them.

Between the cases lie files that nobody touches, more than the 32 of a dnode
block, so that no object gets into the stream only as a neighbour of another case's.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.mounts import SnapshotMounts
from ansible_collections.homelab.backup.plugins.module_utils._zfs.send import SendStreams
from ansible_collections.homelab.backup.plugins.module_utils._zfs.sendstream import (
    StreamChanges,
    StreamParser,
)
from tests.integration.send_stream.cases import CASES, MAY_SAY_MORE
from tests.integration.send_stream.truth import judge, walk

FILLERS = 33
OPTION_SETS = ([], ["-L"], ["-e"], ["-c"], ["-L", "-e", "-c"], ["-w"])
STORED = "/root/stream"


def run(*argv: str) -> bytes:
    """A command that must succeed."""
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout


def advance(steps: list[Generator[None, None, None]]) -> None:
    """Each case to its next ``yield`` or its end."""
    for step in steps:
        next(step, None)


def fill(directory: Path) -> None:
    """Files that nobody touches, more than a dnode block of them."""
    directory.mkdir(parents=True)
    for number in range(FILLERS):
        os.close(os.open(directory / f"{number}", os.O_CREAT | os.O_WRONLY))


def make_history(dataset: str, key: Path | None) -> None:
    """All cases in one dataset between its snapshots ``base`` and ``new``."""
    top = Path(run("zfs", "get", "-Ho", "value", "mountpoint", dataset).decode().strip())
    os.sched_setaffinity(0, {0})  # object numbers are given out per processor
    steps = []
    for number, case in enumerate(CASES):
        fill(top / "fillers" / f"{number}")
        directory = top / "cases" / case.__name__
        directory.mkdir(parents=True)
        steps.append(case(directory))
        next(steps[-1])
    run("zfs", "snapshot", f"{dataset}@base")
    time.sleep(0.05)  # more than the clock tick that ctime is in
    advance(steps)
    run("zfs", "unmount", dataset)
    if key is not None:
        run("zfs", "unload-key", dataset)
        run("zfs", "load-key", dataset)
    run("zfs", "mount", dataset)
    advance(steps)
    run("zfs", "snapshot", f"{dataset}@new")
    advance(steps)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))


def parse_file(path: str) -> StreamChanges:
    """A stream that was stored."""
    parser = StreamParser(path)
    with open(path, "rb") as handle:
        while chunk := handle.read(100_003):
            parser.feed(chunk)
    return parser.finish()


def by_zstream(path: str) -> tuple[set[int], set[int], set[int]]:
    """OBJECT, content and spill records as OpenZFS' own zstream(8) prints them."""
    found: dict[str, set[int]] = {"OBJECT": set(), "WRITE": set(), "SPILL": set()}
    for line in run("zstream", "dump", "-v", path).decode().splitlines():
        named = re.match(r"(OBJECT|WRITE|WRITE_EMBEDDED|SPILL)(?: block for)? object = (\d+)", line)
        if named:
            kind = named[1].removesuffix("_EMBEDDED")
            offset = re.search(r" offset = (\d+)", line)
            if offset and int(offset[1]) >= 1 << 63:
                kind = "SPILL"
            if kind != "SPILL" or " flags = 4 " not in line:
                found[kind].add(int(named[2]))
    return found["OBJECT"], found["WRITE"], found["SPILL"]


def compare_options(dataset: str, told: StreamChanges) -> dict[str, object]:
    """The same increment with other options of zfs send, and as zstream(8) reads it."""
    lengths: dict[str, int] = {}
    differing: list[str] = []
    for options in OPTION_SETS:
        with open(STORED, "wb") as handle:
            argv = ["zfs", "send", *options, "-i", f"{dataset}@base", f"{dataset}@new"]
            subprocess.run(argv, stdout=handle, check=True)
        found = parse_file(STORED)
        name = " ".join(options)
        lengths[name] = found.length
        same_but_length = dataclasses.replace(told, records=found.records, length=found.length)
        if found != same_but_length:
            differing.append(name)
        if by_zstream(STORED) != (set(found.objects), found.data, found.spill):
            differing.append(f"{name} (zstream)")
    os.unlink(STORED)
    return {"lengths": lengths, "differing": differing}


def examine(
    dataset: str, options: list[str], key: Path | None, *, compare: bool
) -> dict[str, object]:
    """Make the dataset and its history; what the stream says of it.

    Args:
        dataset: to be created with ``options`` of zfs-create(8).
        options: see there.
        key: the file with the passphrase when it is encrypted.
        compare: also read the streams that other options of zfs-send(8) give.
    """
    run("zfs", "create", *options, dataset)
    make_history(dataset, key)
    commands = SubprocessCommands()
    sends = SendStreams(commands)
    base, new = f"{dataset}@base", f"{dataset}@new"
    guids = [int(run("zfs", "get", "-Hpo", "value", "guid", name)) for name in (base, new)]
    started = time.monotonic()
    stream = sends.changes(base, new, from_guid=guids[0], to_guid=guids[1])
    seconds = time.monotonic() - started
    if not isinstance(stream, StreamChanges):
        raise TypeError(f"{stream}")
    with SnapshotMounts(commands, Path("/run/stream-test")) as mounts:
        before, after = walk(mounts.mount(base)), walk(mounts.mount(new))
    verdicts = judge(stream, before, after, [case.__name__ for case in CASES])
    return {
        "cases": {name: dataclasses.asdict(verdict) for name, verdict in verdicts.items()},
        "may_say_more": sorted(MAY_SAY_MORE),
        "objects": len(after),
        "touched": len(stream.objects),
        "changed": sum(before.get(number) != thing for number, thing in after.items()),
        "spill": len(stream.spill),
        "records": stream.records,
        "length": stream.length,
        "estimate": sends.estimate(base, new),
        "seconds": seconds,
        "options": compare_options(dataset, stream) if compare else None,
    }


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    key_file = Path(asked["key"]) if asked["key"] else None
    found = examine(asked["dataset"], asked["options"], key_file, compare=asked["compare"])
    print(json.dumps(found))
