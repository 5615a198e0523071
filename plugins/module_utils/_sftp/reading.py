# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Reading remote files back: several at a time, each with many READs in flight."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ansible_collections.homelab.backup.plugins.module_utils._sftp.batch import must_refuse
from ansible_collections.homelab.backup.plugins.module_utils._sftp.connection import (
    Connection,
    Handler,
    Request,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    ProtocolError,
    Reason,
    RemoteError,
    Status,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.listing import ignore
from ansible_collections.homelab.backup.plugins.module_utils._sftp.protocol import (
    DEFAULT_BLOCK,
    OpenFlag,
    Packet,
    decode_attributes,
    decode_data,
    decode_handle,
    open_body,
    read_body,
    string,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Attributes,
    ReadItem,
    ReadOutcome,
)

MOST_BLOCK: Final = 255 * 1024
ANY_SIZE: Final = -1
"""As an item's size: read the file whatever its size."""

Sink = Callable[[memoryview], object]


def block_size(connection: Connection) -> int:
    """Bytes of one READ on this connection."""
    told = connection.limits.read
    limit = min(told, MOST_BLOCK) if told else DEFAULT_BLOCK
    return min(connection.tuning.block or limit, MOST_BLOCK)


class Read:
    """One remote file being read. Its replies only note what came, and hash it.

    Args:
        connection: from where.
        item: which file; its content is read only if it has that size.
        block: bytes of one READ.
        finished: gets this once there is an outcome.
    """

    def __init__(
        self,
        connection: Connection,
        item: ReadItem,
        block: int,
        finished: deque[Read],
    ) -> None:
        self.item = item
        self._connection = connection
        self._block = block
        self._finished = finished
        self._chunks: deque[bytes] = deque()
        """Content that the item's sink still has to get."""
        self._digest = hashlib.sha256()
        self._attributes: Attributes | None = None
        self._error: RemoteError | None = None
        self._handle: bytes | None = None
        self._outstanding = 0
        self._asked = 0
        """Offset up to which content was asked for."""
        self._hashed = 0
        self._wanted = False
        self._end = 0
        """Offset up to which content is wanted."""
        self._early: dict[int, bytes] = {}
        """What arrived before its turn, by offset."""
        self._missing: deque[tuple[int, int]] = deque()
        """Offset and length of what a short reply left out."""
        self._send(Packet.OPEN, open_body(item.path, OpenFlag.READ), self._opened)

    def outcome(self) -> ReadOutcome:
        """What was found."""
        complete = self._wanted and self._error is None and self._hashed == self._end
        sha256 = self._digest.hexdigest() if complete else None
        return ReadOutcome(self.item, self._attributes, sha256, self._error)

    def deliver(self) -> None:
        """Give what came to the item's sink; not from a reply's handler, sinks may ask more."""
        while self._chunks and self.item.sink is not None:
            self.item.sink(memoryview(self._chunks.popleft()))

    def push(self) -> bool:
        """Ask for the next block; False when there is nothing to ask for now."""
        if self._handle is None or self._error is not None:
            return False
        if self._missing:
            offset, length = self._missing.popleft()
        elif self._asked < self._end:
            offset, length = self._asked, min(self._block, self._end - self._asked)
            self._asked += length
        else:
            return False
        body = read_body(self._handle, offset, length)
        self._send(Packet.READ, body, _Expected(self, offset, length), length)
        return True

    def abandon(self) -> None:
        """Give it up: close the handle once its replies have come."""
        self._error = self._error or RemoteError(
            "read the file", self.item.path, Reason.OTHER, found="it was given up"
        )
        if self._connection.usable:
            self._settle()

    def _send(self, kind: Packet, body: bytes, handler: Handler, weight: int = 0) -> None:
        self._outstanding += 1
        request = Request(kind, body, "read the file", self.item.path, weight=weight)
        self._connection.send(request, handler)

    def _refused(self, kind: Packet, reply: int, body: memoryview) -> RemoteError:
        return must_refuse(Request(kind, b"", "read the file", self.item.path), reply, body)

    # --- replies ------------------------------------------------------------------------

    def _opened(self, kind: int, body: memoryview) -> None:
        self._outstanding -= 1
        if kind == Packet.HANDLE:
            self._handle = decode_handle(body)
            self._send(Packet.FSTAT, string(self._handle), self._measured)
            return
        error = self._refused(Packet.OPEN, kind, body)
        if error.reason is not Reason.MISSING:
            self._error = error
        self._finished.append(self)

    def _measured(self, kind: int, body: memoryview) -> None:
        self._outstanding -= 1
        if kind == Packet.ATTRS:
            self._attributes = decode_attributes(body)
            if self.item.size in (self._attributes.size, ANY_SIZE):
                self._wanted = True
                self._end = self._attributes.size or 0
        else:
            self._error = self._error or self._refused(Packet.FSTAT, kind, body)
        self._settle()

    def arrived(self, offset: int, length: int, kind: int, body: memoryview) -> None:
        """Reply to the READ of ``length`` bytes at ``offset``."""
        self._outstanding -= 1
        if kind == Packet.DATA:
            data = decode_data(body)
            if not 0 < len(data) <= length:
                raise ProtocolError(
                    "read the file", found=f"{len(data)} bytes came where {length} were asked for"
                )
            if len(data) < length:
                self._missing.append((offset + len(data), length - len(data)))
            self._take(offset, data)
        else:
            self._ended(offset, self._refused(Packet.READ, kind, body))
        self._settle()

    def _ended(self, offset: int, error: RemoteError) -> None:
        if error.status == Status.EOF:
            error = RemoteError(
                "read the file",
                self.item.path,
                Reason.DIFFERS,
                found=f"it ended at {offset} of {self._end} bytes: it was changed meanwhile",
            )
        self._error = self._error or error

    def _take(self, offset: int, data: memoryview) -> None:
        if offset != self._hashed:
            self._early[offset] = bytes(data)
            return
        self._consume(data)
        while self._hashed in self._early:
            self._consume(memoryview(self._early.pop(self._hashed)))

    def _consume(self, data: memoryview) -> None:
        self._digest.update(data)
        if self.item.sink is not None:
            self._chunks.append(bytes(data))
        self._hashed += len(data)

    def _settle(self) -> None:
        if self._outstanding or self._handle is None:
            return
        if self._error is None and self._hashed < self._end:
            return
        self._connection.send(
            Request(Packet.CLOSE, string(self._handle), "close the file", self.item.path), ignore
        )
        self._finished.append(self)


class _Expected:
    """Which part of a file a reply belongs to."""

    __slots__ = ("_length", "_offset", "_read")

    def __init__(self, read: Read, offset: int, length: int) -> None:
        self._read = read
        self._offset = offset
        self._length = length

    def __call__(self, kind: int, body: memoryview) -> None:
        self._read.arrived(self._offset, self._length, kind, body)


class Reader:
    """Keeps several reads under way."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._block = block_size(connection)
        self._most = connection.open_files
        self._active: list[Read] = []
        self._finished: deque[Read] = deque()

    def outcomes(self, items: Iterable[ReadItem]) -> Iterator[ReadOutcome]:
        """Read ``items`` back; outcomes in the order of completion.

        Raises:
            TransportError: the connection failed.
        """
        source = iter(items)
        more = True
        try:
            while more or self._active:
                while more and len(self._active) < self._most and self._connection.room():
                    item = next(source, None)
                    if item is None:
                        more = False
                        break
                    self._active.append(Read(self._connection, item, self._block, self._finished))
                self._push()
                if not self._finished and (self._active or not self._connection.room()):
                    self._connection.pump()
                for read in self._active:
                    read.deliver()
                while self._finished:
                    read = self._finished.popleft()
                    self._active.remove(read)
                    yield read.outcome()
        finally:
            self._abandon()

    def download(self, path: bytes, sink: Sink) -> ReadOutcome:
        """Read one file of any size, giving its content to ``sink`` as it comes."""
        item = ReadItem(path, ANY_SIZE, sink=sink)
        read = Read(self._connection, item, self._block, self._finished)
        self._active.append(read)
        try:
            while not self._finished:
                self._push()
                self._connection.pump()
                read.deliver()
        except BaseException:
            self._abandon()
            raise
        return read.outcome()

    def _push(self) -> None:
        """Ask for content, the oldest file's first, as far as the window allows."""
        for read in self._active:
            while self._connection.room(self._block):
                if not read.push():
                    break

    def _abandon(self) -> None:
        for read in self._active:
            read.abandon()
        self._active.clear()
