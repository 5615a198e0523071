# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress lines with the seconds since the start, and the summary at the end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HEARTBEAT_S = 20.0


class Progress:
    """Writes lines such as ``[ 75 s] ZFS modules: still building (60 s)`` to standard error."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._done: list[tuple[str, float]] = []

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._start:4.0f} s] {text}", file=sys.stderr, flush=True)

    @contextmanager
    def step(self, name: str, usual_s: int, log: Path | None = None) -> Iterator[None]:
        """Announce a step, say every 20 s that it is alive, remember how long it took."""
        self.say(f"{name}: started (usually about {usual_s} s on two cores)")
        start = time.monotonic()
        finished = threading.Event()

        def beat() -> None:
            while not finished.wait(_HEARTBEAT_S):
                self.say(f"{name}: at work for {time.monotonic() - start:.0f} s{_last_line(log)}")

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
        took = time.monotonic() - start
        self._done.append((name, took))
        self.say(f"{name}: done in {took:.1f} s")

    def summary(self) -> None:
        """Say what this call built and how long each part took."""
        if not self._done:
            return
        total = time.monotonic() - self._start
        parts = ", ".join(f"{name} {took:.0f} s" for name, took in self._done)
        self.say(f"built in {total:.0f} s: {parts}")


def _last_line(log: Path | None) -> str:
    if log is None or not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 2000))
        lines = stream.read().decode(errors="replace").replace("\r", "\n").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last[:100]}" if last else ""
