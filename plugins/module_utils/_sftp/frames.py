# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Cutting a byte stream into SFTP packets, without copying their content."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import ProtocolError

PACKET_LIMIT: Final = 256 * 1024
"""Longest packet that OpenSSH sends or takes (SFTP_MAX_MSG_LENGTH, sftp.h)."""

CAPACITY: Final = 1024 * 1024
LENGTH: Final = struct.Struct(">I")
HEAD: Final = struct.Struct(">IBI")


def frame(kind: int, request_id: int, body: bytes, more: int = 0) -> bytes:
    """A packet: length, type, request id, body. ``more`` bytes of data follow it."""
    return HEAD.pack(5 + len(body) + more, kind, request_id) + body


class FrameBuffer:
    """A receive buffer of fixed size.

    Read into :meth:`room`, say how much with :meth:`filled`, then take the whole
    packets that have arrived from :meth:`packets`.
    """

    def __init__(self) -> None:
        self._view = memoryview(bytearray(CAPACITY))
        self._start = 0
        self._end = 0

    def room(self) -> memoryview:
        """Where the next bytes go; always big enough for the rest of a packet."""
        if self._start == self._end:
            self._start = self._end = 0
        elif CAPACITY - self._end < PACKET_LIMIT + 4:
            rest = bytes(self._view[self._start : self._end])
            self._view[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        return self._view[self._end :]

    def filled(self, count: int) -> None:
        """``count`` bytes were put into :meth:`room`."""
        self._end += count

    def packets(self) -> Iterator[tuple[int, memoryview]]:
        """Type and content of each whole packet; the view holds until the next one.

        Raises:
            ProtocolError: a length that no packet of SFTP can have.
        """
        while self._end - self._start >= 4:
            (length,) = LENGTH.unpack_from(self._view, self._start)
            if not 1 <= length <= PACKET_LIMIT:
                self._refuse()
            begin = self._start + 4
            if self._end - begin < length:
                return
            self._start = begin + length
            yield self._view[begin], self._view[begin + 1 : begin + length]

    def _refuse(self) -> None:
        shown = bytes(self._view[self._start : min(self._end, self._start + 80)])
        raise ProtocolError(
            "understand the server",
            found=f"it sent no SFTP packet but: {printable(shown)}",
            remedy=(
                "if that is text, remove its source (shell start-up files, a forced command, "
                "a banner) for the backup user, or use 'ForceCommand internal-sftp'"
            ),
        )
