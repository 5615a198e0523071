# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Why a remote store refused something, and what to do about it.

Status codes: draft-ietf-secsh-filexfer-02 section 7; which errno becomes which
code: ``errno_to_portable`` of OpenSSH's sftp-server.c.
"""

from __future__ import annotations

import enum

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    DestinationError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable

LONG_NAME = 143
"""The shortest limit of a name in use, in bytes: eCryptfs (Synology encrypted shares)."""


class Status(enum.IntEnum):
    """SSH_FX_ codes of version 3."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8


class Reason(enum.Enum):
    """What a refusal comes down to; callers decide by this, people read the error's text."""

    MISSING = "missing"
    PERMISSION = "permission"
    EXISTS = "exists"
    FULL = "full"
    NAME = "name"
    NOT_EMPTY = "not-empty"
    UNSUPPORTED = "unsupported"
    DIFFERS = "differs"
    OTHER = "other"


REMEDIES = {
    Reason.MISSING: "create its directory first, or find out who removed it",
    Reason.PERMISSION: (
        "give the backup user write access to that directory, and look whether the "
        "server refuses this request to its key (sftp-server -P)"
    ),
    Reason.EXISTS: "look at what is there; nothing was overwritten",
    Reason.FULL: "free space at the destination (old versions, snapshots) or raise the quota",
    Reason.NAME: (
        "shorten or exclude the name; encrypted Synology shares hold 143 bytes, "
        "most other file systems 255"
    ),
    Reason.NOT_EMPTY: "remove what the directory holds first",
    Reason.UNSUPPORTED: "use a server that has it (OpenSSH's internal-sftp does)",
    Reason.DIFFERS: "upload it again; if that helps nothing, check the destination's disks",
    Reason.OTHER: (
        "look at free space, quota and the server's log: version 3 of the protocol "
        "gives one code for a full disk, a quota and most other failures"
    ),
}

BY_STATUS = {
    Status.NO_SUCH_FILE: Reason.MISSING,
    Status.PERMISSION_DENIED: Reason.PERMISSION,
    Status.BAD_MESSAGE: Reason.NAME,
    Status.OP_UNSUPPORTED: Reason.UNSUPPORTED,
}


class RemoteError(DestinationError):
    """The server refused one operation on one path; the connection is fine.

    ``status`` is the server's own code (OK when it was found out otherwise).
    """

    def __init__(
        self,
        tried: str,
        path: bytes,
        reason: Reason,
        *,
        found: str,
        remedy: str = "",
        status: Status = Status.OK,
    ) -> None:
        self.path = path
        self.reason = reason
        self.status = status
        super().__init__(tried, on=printable(path), found=found, remedy=remedy or REMEDIES[reason])


class ProtocolError(TransportError):
    """The other side sent what is not SFTP version 3."""


class ConnectionLostError(TransportError):
    """The connection ended while requests were on their way.

    ``unknown`` lists them as (operation, path): each may or may not have been
    done. What was reported as done before is done.
    """

    def __init__(
        self,
        tried: str,
        *,
        on: str = "",
        found: str = "",
        remedy: str = "",
        unknown: tuple[tuple[str, bytes], ...] = (),
    ) -> None:
        self.unknown = unknown
        super().__init__(tried, on=on, found=found, remedy=remedy)

    def facts(self) -> dict[str, str]:
        """The parts by name; ``unknown`` names up to 20 of the requests."""
        parts = super().facts()
        if self.unknown:
            shown = [f"{verb} {printable(path)}" for verb, path in self.unknown[:20]]
            more = len(self.unknown) - len(shown)
            parts["unknown"] = "; ".join(shown) + (f"; and {more} more" if more else "")
        return parts


def longest_name(path: bytes) -> int:
    """Length in bytes of the longest component of ``path``."""
    return max(len(name) for name in path.split(b"/"))


def name_facts(path: bytes) -> str:
    """The lengths that matter when a server refuses a name."""
    return f" (the longest name has {longest_name(path)} bytes, the path {len(path)})"


def refusal(tried: str, path: bytes, code: int, message: str) -> RemoteError:
    """The error for a status reply.

    Args:
        tried: the operation as a verb phrase.
        path: what it was tried on.
        code: the SSH_FX_ code; codes of later protocol versions count as FAILURE.
        message: the server's own words, possibly empty.
    """
    status = Status(code) if code in Status.__members__.values() else Status.FAILURE
    reason = BY_STATUS.get(status, Reason.OTHER)
    found = message or status.name.lower().replace("_", " ")
    if reason is Reason.NAME:
        found += name_facts(path)
    return RemoteError(tried, path, reason, found=found, status=status)
