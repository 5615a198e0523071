# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a program, as a port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished program: its arguments, exit status and whole output."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        """True when the exit status was 0."""
        return self.status == 0

    @property
    def complaint(self) -> str:
        """What the program said on stderr, on one line; its exit status if it said nothing."""
        said = " ".join(self.stderr.decode("utf-8", errors="replace").split())
        return said or f"exit status {self.status}"


class Commands(Protocol):
    """Runs programs on this host."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float | None = None
    ) -> Completed:
        """Run ``argv`` to its end, whatever its exit status.

        Args:
            argv: the program and its arguments; no shell is involved.
            stdin: what it reads.
            timeout: seconds until it is killed; None waits.

        Raises:
            TransportError: the program is missing, or was killed at the time limit.
        """
