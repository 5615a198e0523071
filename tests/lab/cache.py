# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build steps whose results are kept under a key made of everything they depend on.

A result is built in a directory of its own and renamed when it is whole, under a lock for each
key: a killed build leaves rubbish that the next one removes, and two processes build once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .progress import Progress

_KEPT_DAYS = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """One cached result.

    :ivar parts: texts and file contents that decide the result.
    :ivar needs: steps whose results are input.
    :ivar build: makes the result in the (existing, empty) directory; gets it and the log's path.
    """

    name: str
    usual_s: int
    parts: tuple[bytes, ...]
    needs: tuple[Step, ...]
    build: Callable[[Path, Path], None]

    @property
    def key(self) -> str:
        digest = hashlib.sha256(self.name.encode())
        for part in (*self.parts, *(need.key.encode() for need in self.needs)):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()[:12]

    def path(self, cache: Path) -> Path:
        return cache / f"{self.name}-{self.key}"


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold an exclusive lock; call ``waiting`` once if another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def ensure(step: Step, cache: Path, progress: Progress, before: Callable[[], None]) -> Path:
    """The step's result, built now if it isn't there; ``before`` runs ahead of a build."""
    result = step.path(cache)
    if not result.exists():
        lock = cache / "locks" / result.name
        with locked(lock, lambda: progress.say(f"{step.name}: another process builds it, waiting")):
            if not result.exists():
                for need in step.needs:
                    ensure(need, cache, progress, before)
                before()
                _build(step, cache, result, progress)
    os.utime(result)
    return result


def _build(step: Step, cache: Path, result: Path, progress: Progress) -> None:
    unfinished = cache / "tmp" / result.name
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    log = cache / "logs" / f"{result.name}.log"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    with progress.step(step.name, step.usual_s, log):
        step.build(unfinished, log)
    unfinished.rename(result)


def prune(
    steps: tuple[Step, ...], cache: Path, in_use: frozenset[Path], progress: Progress
) -> None:
    """Remove results of older recipes that nobody used for a day, and unfinished builds."""
    names = {step.name for step in steps}
    current = {step.path(cache) for step in steps}
    for path in sorted(cache.iterdir()):
        old = time.time() - path.stat().st_mtime > _KEPT_DAYS * 86400
        superseded = path.name.rpartition("-")[0] in names and path not in current | in_use
        if superseded and old:
            progress.say(f"removing {path.name}: made by an older recipe")
            shutil.rmtree(path)


def disk_use(path: Path) -> int:
    """Bytes really allocated below a path, links not followed, hard links counted once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for root, names, files in os.walk(path):
        for name in (*names, *files):
            stat = os.lstat(os.path.join(root, name))
            if (stat.st_dev, stat.st_ino) not in seen:
                seen.add((stat.st_dev, stat.st_ino))
                total += stat.st_blocks * 512
    return total
