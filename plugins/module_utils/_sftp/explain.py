# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Finding out what SSH_FX_FAILURE meant.

Version 3 of the protocol has one code for a full disk, a quota, an existing
name and most other failures, so the cause is asked for afterwards. That costs
requests for failed items only.
"""

from __future__ import annotations

import posixpath
import time
from typing import Final

from ansible_collections.homelab.backup.plugins.module_utils._core.text import human_bytes
from ansible_collections.homelab.backup.plugins.module_utils._sftp.batch import must_refuse
from ansible_collections.homelab.backup.plugins.module_utils._sftp.connection import (
    Connection,
    Request,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    LONG_NAME,
    Reason,
    RemoteError,
    longest_name,
    name_facts,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.protocol import (
    Extension,
    Packet,
    decode_statvfs,
    extended_body,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import Space

NEARLY_FULL: Final = 4 * 1024 * 1024
"""Fewer free bytes than this count as full: file systems keep some for themselves."""

SPACE_AGE: Final = 2.0
"""Seconds for which one answer about free space serves all failed items."""


def ask_space(connection: Connection, path: bytes) -> Space | RemoteError | None:
    """Free space at ``path``; None when the server has no statvfs@openssh.com."""
    if Extension.STATVFS not in connection.extensions:
        return None
    body = extended_body(Extension.STATVFS, path)
    request = Request(Packet.EXTENDED, body, "ask the free space of", path)
    kind, reply = connection.ask(request)
    if kind == Packet.EXTENDED_REPLY:
        return decode_statvfs(reply)
    return must_refuse(request, kind, memoryview(reply))


class Explainer:
    """Replaces an unspecific error by what was the matter."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._space: Space | None = None
        self._asked = -SPACE_AGE

    def explain(self, error: RemoteError, needed: int = 0) -> RemoteError:
        """``error``, or one that names a full disk or an unfit name as the reason.

        Args:
            error: what the server said.
            needed: bytes that the operation was to write.
        """
        if error.reason is not Reason.OTHER:
            return error
        space = self._current_space(posixpath.dirname(error.path) or b"/")
        if space is not None and space.available < max(needed, NEARLY_FULL):
            free = human_bytes(space.available)
            found = f"{error.found}; {free} are free for this user at the destination"
            return self._because(error, Reason.FULL, found)
        limit = space.name_limit if space is not None and space.name_limit else LONG_NAME
        if longest_name(error.path) > limit:
            return self._because(error, Reason.NAME, error.found + name_facts(error.path))
        return error

    def _because(self, error: RemoteError, reason: Reason, found: str) -> RemoteError:
        return RemoteError(error.tried, error.path, reason, found=found, status=error.status)

    def _current_space(self, path: bytes) -> Space | None:
        now = time.monotonic()
        if now - self._asked >= SPACE_AGE:
            answer = ask_space(self._connection, path)
            self._space = answer if isinstance(answer, Space) else None
            self._asked = now
        return self._space
