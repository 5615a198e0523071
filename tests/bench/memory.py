# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""The most memory that a run's process has, with a million entries.

Files are empty: what grows with entries is the same, and a million files with
content would measure the disk. A destination that keeps nothing takes the first
million; a tenth of it goes through the real client into a local sftp-server.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from tests.bench.context import SFTP_SERVER, Context, touch_spread, write_tree
from tests.bench.report import Row

LIMIT_MIB = 150
EACH = 100


def memory(context: Context) -> None:
    """First run, walk, stream with a million touched objects, everything deleted."""
    entries = context.count(1_000_000, 1000)
    _runs(context, entries, sink=True)
    _runs(context, max(1000, entries // 10), sink=False)


def _runs(context: Context, entries: int, *, sink: bool) -> None:
    source, state = context.work / "many", context.work / "many-state"
    for place in (source, state):
        shutil.rmtree(place, ignore_errors=True)
    directories = max(1, entries // (EACH + 1))
    context.say(f"a tree of {entries} entries")
    names = write_tree(source, directories * EACH, directories, 0)
    argv = [] if sink else [SFTP_SERVER]
    there = context.work / "many-copy"
    there.mkdir(exist_ok=True)

    def once(what: str, changed: list[str] | None) -> None:
        started = time.monotonic()
        answer = context.offsite(source, state, argv, str(there / "tree"), changed)
        _note(context, f"{what}, {entries} entries", answer, sink=sink)
        context.say(f"  {what}: {time.monotonic() - started:.0f} s {answer['steps']}")

    once("first run", None)
    _age()
    once("walk without a change", None)
    touched = touch_spread(source, names, max(10, len(names) // 32), 10)
    once(f"stream, {len(touched)} changed files", touched)
    (source / "group-0").rename(source / "group-x")
    once("a tenth in a renamed directory", ["", "group-x"])
    _move_files(source / "group-1", source / "moved")
    once("a tenth of the files moved, one by one", None)
    shutil.rmtree(source / "group-2")
    shutil.rmtree(source / "group-3")
    (source / "group-2").mkdir()
    once("two tenths deleted", None)
    shutil.rmtree(source)


def _age() -> None:
    """Files that were written in the last two seconds are looked at once more."""
    time.sleep(2.5)


def _move_files(old: Path, new: Path) -> None:
    """Every file below ``old`` into other directories."""
    for directory in sorted(old.iterdir()):
        place = new / directory.name
        place.mkdir(parents=True)
        for file in directory.iterdir():
            file.rename(place / file.name)


def _note(context: Context, case: str, answer: dict[str, Any], *, sink: bool) -> None:
    peak = answer["peak_kib"] / 1024
    context.report.rows.append(
        Row(
            "memory",
            case + ("" if sink else ", real client"),
            "peak",
            peak,
            "the goal",
            LIMIT_MIB,
            unit="MiB",
            goal=f"at most {LIMIT_MIB} MiB",
            met=peak <= LIMIT_MIB,
        )
    )
