# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domain errors and the exit codes that they map to.

Every error says what was tried, on what, what was found and what to do. They
are raised as deep as the facts are known and mapped once, at an entry point
(a module's ``fail_json`` or the runner's exit code).
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of the runner, documented in docs/exit-codes.md.

    The values above 9 keep clear of the shell's and argparse's (2) own.
    """

    OK = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 10
    GUARD = 11
    LOCKED = 12
    SOURCE = 13
    DESTINATION = 14
    TRANSPORT = 15
    CONFIG = 16
    CLOCK = 17
    INTERRUPTED = 18


class BackupError(Exception):
    """A failure that an operator can act on.

    Args:
        tried: what was attempted, as a verb phrase ("take the snapshots").
        on: the thing it was attempted on (dataset, path, host).
        found: what was there instead, in the words of the program that said it.
        remedy: what to do about it.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, tried: str, *, on: str = "", found: str = "", remedy: str = "") -> None:
        self.tried = tried
        self.on = on
        self.found = found
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"could not {self.tried}"
        if self.on:
            text += f" ({self.on})"
        if self.found:
            text += f": {self.found}"
        if self.remedy:
            text += f" -> {self.remedy}"
        return text

    def facts(self) -> dict[str, str]:
        """The parts by name, for a record or a module's result."""
        parts = {"tried": self.tried, "on": self.on, "found": self.found, "remedy": self.remedy}
        return {key: value for key, value in parts.items() if value}


class ConfigError(BackupError):
    """A file of ours (catalogue, policy, record) is missing, malformed or too new."""

    exit_code = ExitCode.CONFIG


class SourceError(BackupError):
    """The storage host's side: a pool, dataset, snapshot or mount."""

    exit_code = ExitCode.SOURCE


class DestinationError(BackupError):
    """The NAS' side: not ours, full, refused, or not as expected."""

    exit_code = ExitCode.DESTINATION


class TransportError(BackupError):
    """The way between them: unreachable, dropped, a program missing or too old."""

    exit_code = ExitCode.TRANSPORT


class GuardError(BackupError):
    """A limit that protects good data was exceeded; nothing was changed."""

    exit_code = ExitCode.GUARD


class LockedError(BackupError):
    """Another run, or a child of a killed one, still works on the same thing."""

    exit_code = ExitCode.LOCKED


class ClockError(BackupError):
    """The clock contradicts what is already there."""

    exit_code = ExitCode.CLOCK
