# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rclone may be used: the version is asked of the program itself, never of a package."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import TransportError
from ansible_collections.homelab.backup.plugins.module_utils._core.ports import Commands

OLDEST = (1, 75, 2)
# rclone 1.70.0 to 1.70.2 hang when a directory has more than some hundred listed
# files (rclone issue 8656, fixed in 1.70.3); TrueNAS ships one of them.
HANGING = ((1, 70, 0), (1, 70, 2))
LINE = re.compile(r"^rclone v(\d+)\.(\d+)\.(\d+)(\S*)", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class RcloneVersion:
    """A release; ``suffix`` is what a build adds to it ("-DEV", "-beta.1")."""

    major: int
    minor: int
    patch: int
    suffix: str = ""

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}{self.suffix}"

    @property
    def release(self) -> tuple[int, int, int]:
        """The three numbers."""
        return self.major, self.minor, self.patch


def parse_version(text: str) -> RcloneVersion | None:
    """The version in the output of ``rclone version``, None when there is none."""
    found = LINE.search(text)
    if found is None:
        return None
    return RcloneVersion(int(found[1]), int(found[2]), int(found[3]), found[4])


def check_rclone(commands: Commands, binary: str) -> RcloneVersion:
    """The version of ``binary``, when it may be used.

    Raises:
        TransportError: missing, not rclone, or a version that must not be used.
    """
    done = commands.run([binary, "version"], timeout=60)
    version = parse_version(done.stdout.decode("utf-8", errors="replace"))
    if not done.ok or version is None:
        raise TransportError(
            "use rclone",
            on=binary,
            found=f"'rclone version' says: {done.complaint if not done.ok else 'no version'}",
            remedy="let the role truenas install rclone, or set bulk.program to 'sftp'",
        )
    if HANGING[0] <= version.release <= HANGING[1]:
        why = f"it is {version}, which hangs on directories with many files"
    elif version.release < OLDEST:
        why = f"it is {version}, older than {'.'.join(map(str, OLDEST))}"
    else:
        return version
    raise TransportError(
        "use rclone",
        on=binary,
        found=why,
        remedy="let the role truenas install a newer one onto the pool, or set bulk.program to "
        "'sftp'",
    )
