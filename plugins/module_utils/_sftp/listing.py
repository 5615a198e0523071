# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Listing directories: many at a time, and large ones with many READDIRs at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from ansible_collections.homelab.backup.plugins.module_utils._sftp.batch import (
    must_refuse,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.connection import (
    Connection,
    Request,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    RemoteError,
    Status,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import Skip
from ansible_collections.homelab.backup.plugins.module_utils._sftp.protocol import (
    Packet,
    decode_handle,
    decode_names,
    string,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import Entry

FIRST_READS: Final = 2
"""READDIRs sent at once: entries and end of a directory of up to 100 entries."""

FULL_REPLY: Final = 100
"""Entries in one reply of OpenSSH's server; fewer in the first one are most likely all."""

MOST_READS: Final = 32
"""READDIRs in flight for one large directory."""

FRONTIER: Final = 16384
"""Directories known but not begun, above which no more of them are looked for."""


class Directory:
    """One directory being read. Its replies only note what came."""

    __slots__ = (
        "_abandoned",
        "_arrived",
        "_connection",
        "_handle",
        "_outstanding",
        "_reads",
        "_replies",
        "ended",
        "error",
        "path",
        "prefix",
    )

    def __init__(
        self, connection: Connection, path: bytes, prefix: bytes, arrived: deque[Entry]
    ) -> None:
        self.path = path
        self.prefix = prefix
        self.ended = False
        """No more entries are to be asked for."""
        self.error: RemoteError | None = None
        self._connection = connection
        self._arrived = arrived
        self._handle: bytes | None = None
        self._outstanding = 1
        self._reads = FIRST_READS
        self._replies = 0
        self._abandoned = False
        connection.send(self._request(Packet.OPENDIR, string(path)), self._opened)

    @property
    def finished(self) -> bool:
        """True when all entries have arrived, or it failed."""
        return self.ended and not self._outstanding

    def read_on(self, crowded: bool) -> None:
        """Ask for more entries; when ``crowded`` only if nothing else is under way."""
        connection = self._connection
        if self._handle is None:
            return
        while not self.ended and self._outstanding < self._reads:
            if (crowded or not connection.room()) and connection.in_flight:
                return
            self._outstanding += 1
            connection.send(self._request(Packet.READDIR, string(self._handle)), self._read)

    def close(self) -> None:
        """Give the handle back, once the replies that are under way have come."""
        self.ended = True
        self._abandoned = True
        self._settle()

    def _settle(self) -> None:
        if self._abandoned and not self._outstanding and self._handle is not None:
            handle, self._handle = self._handle, None
            self._connection.send(self._request(Packet.CLOSE, string(handle)), ignore)

    def _request(self, kind: Packet, body: bytes) -> Request:
        return Request(kind, body, "list the directory", self.path)

    def _opened(self, kind: int, body: memoryview) -> None:
        self._outstanding -= 1
        if kind == Packet.HANDLE:
            self._handle = decode_handle(body)
        else:
            self.error = must_refuse(self._request(Packet.OPENDIR, b""), kind, body)
            self.ended = True
        self._settle()

    def _read(self, kind: int, body: memoryview) -> None:
        self._outstanding -= 1
        if kind == Packet.NAME:
            entries = decode_names(body, self.prefix)
            if not self._abandoned:
                self._arrived.extend(entries)
            self._replies += 1
            if self._replies == 1 and len(entries) < FULL_REPLY:
                self._reads = 1
            else:
                self._reads = min(self._reads * 2, MOST_READS)
        else:
            self.ended = True
            error = must_refuse(self._request(Packet.READDIR, b""), kind, body)
            if error.status != Status.EOF:
                self.error = error
        self._settle()


def ignore(dummy_kind: int, dummy_body: memoryview) -> None:
    """The reply to a CLOSE: a directory that was read needs no more."""


class TreeReader:
    """Reads directories beneath ``root`` until there are none left.

    Args:
        connection: where.
        root: absolute path.
        recurse: whether to go into subdirectories.
        skip: see RemoteStore.list_tree.
        on_error: see RemoteStore.list_tree.
    """

    def __init__(
        self,
        connection: Connection,
        root: bytes,
        *,
        recurse: bool,
        skip: Skip | None,
        on_error: Callable[[RemoteError], None] | None,
    ) -> None:
        self._connection = connection
        self._root = root.rstrip(b"/") or b"/"
        self._recurse = recurse
        self._skip = skip
        self._on_error = on_error
        self._frontier: list[bytes] = [b""]
        self._open: list[Directory] = []
        self._arrived: deque[Entry] = deque()
        self._most = min(connection.tuning.directories, connection.open_files)

    def entries(self) -> Iterator[Entry]:
        """The entries as they arrive.

        Raises:
            RemoteError: a directory can't be read (see ``on_error``).
            TransportError: the connection failed.
        """
        try:
            while self._frontier or self._open or self._arrived:
                yield from self._take()
                # While the caller had the entries, an operation of its own may have
                # brought in our replies: look at them before waiting for more.
                self._retire()
                self._ask()
                if not self._arrived and self._open:
                    self._connection.pump()
        finally:
            self._abandon()

    def _take(self) -> Iterator[Entry]:
        while self._arrived:
            entry = self._arrived.popleft()
            if self._skip is not None and self._skip(entry.path, entry.attributes):
                continue
            if self._recurse and entry.attributes.is_directory:
                self._frontier.append(entry.path)
            yield entry

    def _ask(self) -> None:
        """Open directories, the newest first, and read on in those that are open."""
        connection = self._connection
        while self._frontier and len(self._open) < self._most and connection.room():
            self._open.append(self._begin(self._frontier.pop()))
        crowded = len(self._frontier) > FRONTIER
        for directory in self._open:
            directory.read_on(crowded)

    def _begin(self, path: bytes) -> Directory:
        if not path:
            return Directory(self._connection, self._root, b"", self._arrived)
        absolute = self._root.rstrip(b"/") + b"/" + path
        return Directory(self._connection, absolute, path + b"/", self._arrived)

    def _retire(self) -> None:
        """Close what was read to its end."""
        finished = [directory for directory in self._open if directory.finished]
        for directory in finished:
            self._open.remove(directory)
            directory.close()
        for directory in finished:
            if directory.error is None:
                continue
            if self._on_error is None or not directory.prefix:
                raise directory.error
            self._on_error(directory.error)

    def _abandon(self) -> None:
        """The caller wants no more: leave no handle open."""
        if self._connection.usable:
            for directory in self._open:
                directory.close()
        self._open.clear()
