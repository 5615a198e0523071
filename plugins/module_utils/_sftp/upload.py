# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Uploading: many small files at a time, large ones with many WRITEs in flight.

Each file goes through open, writes, then (when all writes were answered) set
attributes, fsync, stat and close. Waiting for the writes costs a round trip
that other files use, and keeps to servers that work on requests in parallel:
a late write would change the time of modification again.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    SourceError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._sftp.batch import (
    must_refuse,
    status_error,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.connection import (
    Connection,
    Handler,
    Request,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.protocol import (
    DEFAULT_BLOCK,
    Extension,
    OpenFlag,
    Packet,
    attributes_body,
    decode_attributes,
    decode_handle,
    extended_body,
    open_body,
    string,
    write_head,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Attributes,
    UploadItem,
    UploadOutcome,
    storable_mtime,
)

LARGE_BLOCKS: Final = 8
"""A file of more blocks than this is large: few of them are under way at once."""

BACKLOG: Final = 512 * 1024
"""Bytes waiting for the pipe above which no more of a source is read."""

MOST_BLOCK: Final = 255 * 1024
"""Largest block used, whatever a server says: OpenSSH's own limit."""

ZEROS: Final = bytes(MOST_BLOCK)

VERBS: Final = {
    Packet.OPEN: "create the file",
    Packet.WRITE: "write the file",
    Packet.FSETSTAT: "set the time of the file",
    Packet.EXTENDED: "write the file to disk",
    Packet.FSTAT: "look at the file",
    Packet.CLOSE: "close the file",
}


def block_size(connection: Connection) -> int:
    """Bytes of one WRITE on this connection."""
    told = connection.limits.write
    limit = min(told, MOST_BLOCK) if told else DEFAULT_BLOCK
    return min(connection.tuning.block or limit, MOST_BLOCK)


def open_source(item: UploadItem) -> int:
    """The descriptor of an item's source, a regular file of the expected size.

    A FIFO must not hang it (O_NONBLOCK) and a symlink not lead elsewhere.

    Raises:
        SourceError: missing, unreadable, no regular file, or of another size.
    """
    name = printable(item.source) if isinstance(item.source, bytes) else printable(item.target)
    try:
        if isinstance(item.source, bytes):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(item.source, flags)
        else:
            descriptor = item.source()
    except OSError as exc:
        raise SourceError("open the file", on=name, found=str(exc.strerror)) from exc
    found = os.fstat(descriptor)
    problem = ""
    if not stat.S_ISREG(found.st_mode):
        problem = "it is not a regular file"
    elif found.st_size != item.size:
        problem = f"it has {found.st_size} bytes, {item.size} were expected"
    if problem:
        os.close(descriptor)
        raise SourceError(
            "upload the file", on=name, found=problem, remedy="is this the snapshot that was read?"
        )
    return descriptor


class Upload:
    """One file on its way. Its replies only note what came; data is sent by ``push``.

    Args:
        connection: where to.
        item: what.
        block: bytes of one WRITE.
        ready: gets this upload once the server takes its data.
        finished: gets it once there is an outcome.

    Raises:
        SourceError: see :func:`open_source`; nothing was sent then.
    """

    def __init__(
        self,
        connection: Connection,
        item: UploadItem,
        block: int,
        ready: deque[Upload],
        finished: deque[Upload],
    ) -> None:
        self.item = item
        self.error: BackupError | None = None
        self._connection = connection
        self._source = open_source(item)
        self._block = block
        self._ready = ready
        self._finished = finished
        self._digest = hashlib.sha256()
        self._handle: bytes | None = None
        self._offset = 0
        self._outstanding = 0
        self._finishing = False
        self._skipped = False
        self._stored: Attributes | None = None
        flags = OpenFlag.WRITE | OpenFlag.CREATE | OpenFlag.TRUNCATE
        body = open_body(item.target, flags, Attributes(permissions=item.mode))
        self._send(Packet.OPEN, body, self._opened)

    @property
    def all_sent(self) -> bool:
        """True when no more data is to be sent."""
        return self.error is not None or self._offset == self.item.size

    def outcome(self) -> UploadOutcome:
        """What became of it."""
        sha256 = self._digest.hexdigest()
        return UploadOutcome(self.item, sha256, self._offset, self._stored, self.error)

    def push(self) -> None:
        """Read the next block and send it."""
        handle = self._handle
        if handle is None or self._source < 0:
            return
        wanted = min(self._block, self.item.size - self._offset)
        try:
            data = os.read(self._source, wanted)
        except OSError as exc:
            self._source_failed(str(exc.strerror))
            return
        if not data:
            self._source_failed(f"it ended after {self._offset} of {self.item.size} bytes")
            return
        self._digest.update(data)
        offset, length = self._offset, len(data)
        self._offset += length
        # A block of zeros becomes a hole: the target was truncated, so nothing need be sent.
        if length == self._block and data == ZEROS[:length]:
            self._skipped = True
            self._settle()
        else:
            head = write_head(handle, offset, length)
            self._send(Packet.WRITE, head, self._answered, memoryview(data))

    def abandon(self) -> None:
        """Give it up: close the source, and the target once its replies have come."""
        self._close_source()
        self.error = self.error or SourceError("upload the file", found="it was given up")
        if self._connection.usable:
            self._settle()

    def _send(
        self, kind: Packet, body: bytes, handler: Handler, data: memoryview | None = None
    ) -> None:
        self._outstanding += 1
        weight = len(data) if data is not None else 0
        request = Request(kind, body, VERBS[kind], self.item.target, data, weight)
        self._connection.send(request, handler)

    def _source_failed(self, found: str) -> None:
        name = self.item.source if isinstance(self.item.source, bytes) else self.item.target
        self.error = SourceError("read the file", on=printable(name), found=found)
        self._settle()

    def _close_source(self) -> None:
        if self._source >= 0:
            os.close(self._source)
            self._source = -1

    # --- replies ------------------------------------------------------------------------

    def _request(self, kind: Packet) -> Request:
        return Request(kind, b"", VERBS[kind], self.item.target)

    def _opened(self, kind: int, body: memoryview) -> None:
        self._outstanding -= 1
        if kind == Packet.HANDLE:
            self._handle = decode_handle(body)
            if not self.all_sent:
                self._ready.append(self)
        else:
            self.error = must_refuse(self._request(Packet.OPEN), kind, body)
        self._settle()

    def _answered(self, kind: int, body: memoryview) -> None:
        """Reply to anything that only succeeds or fails."""
        self._outstanding -= 1
        if self.error is None:
            self.error = status_error(self._request(Packet.WRITE), kind, body)
        self._settle()

    def _measured(self, kind: int, body: memoryview) -> None:
        """Reply to FSTAT."""
        self._outstanding -= 1
        if kind == Packet.ATTRS:
            self._stored = decode_attributes(body)
            if self._stored.size != self._offset and self.error is None:
                self.error = RemoteError(
                    "upload the file",
                    self.item.target,
                    Reason.DIFFERS,
                    found=f"the server holds {self._stored.size} of {self._offset} bytes",
                )
        else:
            self.error = self.error or must_refuse(self._request(Packet.FSTAT), kind, body)
        self._settle()

    # --- the end ------------------------------------------------------------------------

    def _settle(self) -> None:
        """Go on to the end when all data was sent and every reply has come."""
        if self._outstanding or not self.all_sent:
            return
        if self._handle is None or self._finishing:
            self._close_source()
            self._finished.append(self)
            return
        self._finishing = True
        self._check_end()
        handle = string(self._handle)
        if self.error is None:
            self._set_attributes(handle)
            if self._connection.tuning.fsync and Extension.FSYNC in self._connection.extensions:
                body = extended_body(Extension.FSYNC, self._handle)
                self._send(Packet.EXTENDED, body, self._answered)
            self._send(Packet.FSTAT, handle, self._measured)
        self._send(Packet.CLOSE, handle, self._answered)

    def _check_end(self) -> None:
        """A source that has grown is not the one that was planned."""
        if self.error is not None:
            return
        try:
            more = os.read(self._source, 1)
        except OSError as exc:
            more = b""
            self.error = SourceError("read the file", found=str(exc.strerror))
        if more:
            self.error = SourceError(
                "read the file",
                on=printable(self.item.target),
                found=f"it has more than the expected {self.item.size} bytes",
            )

    def _set_attributes(self, handle: bytes) -> None:
        mtime = self.item.mtime
        wanted = Attributes(
            size=self._offset if self._skipped else None,
            permissions=self.item.mode,
            mtime=None if mtime is None else storable_mtime(mtime),
        )
        if wanted != Attributes():
            self._send(Packet.FSETSTAT, handle + attributes_body(wanted), self._answered)


class Uploader:
    """Keeps as many uploads under way as the connection's tuning allows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._block = block_size(connection)
        self._most = connection.open_files
        self._active: set[Upload] = set()
        self._large = 0
        self._ready: deque[Upload] = deque()
        self._ready_large: deque[Upload] = deque()
        self._finished: deque[Upload] = deque()
        self._next: UploadItem | None = None

    def outcomes(self, items: Iterable[UploadItem]) -> Iterator[UploadOutcome]:
        """Upload ``items``; outcomes in the order of completion.

        Raises:
            TransportError: the connection failed.
        """
        source = iter(items)
        try:
            self._next = next(source, None)
            while self._next is not None or self._active:
                yield from self._start(source)
                self._push()
                if not self._finished and (self._active or not self._connection.room()):
                    self._connection.pump()
                yield from self._take()
        finally:
            for upload in self._active:
                upload.abandon()
            self._active.clear()

    def _start(self, source: Iterator[UploadItem]) -> Iterator[UploadOutcome]:
        connection = self._connection
        while self._next is not None and len(self._active) < self._most and connection.room():
            item = self._next
            large = self._is_large(item)
            if large and self._large >= connection.tuning.large_files:
                return
            self._next = next(source, None)
            ready = self._ready_large if large else self._ready
            try:
                upload = Upload(connection, item, self._block, ready, self._finished)
            except SourceError as exc:
                yield UploadOutcome(item, "", 0, error=exc)
                continue
            self._active.add(upload)
            self._large += large

    def _is_large(self, item: UploadItem) -> bool:
        return item.size > LARGE_BLOCKS * self._block

    def _push(self) -> None:
        """Send data, of small files first, as far as window and pipe allow."""
        connection = self._connection
        for ready in (self._ready, self._ready_large):
            while ready and connection.backlog < BACKLOG and connection.room(self._block):
                if ready[0].all_sent:
                    ready.popleft()
                else:
                    ready[0].push()

    def _take(self) -> Iterator[UploadOutcome]:
        while self._finished:
            upload = self._finished.popleft()
            self._active.discard(upload)
            self._large -= self._is_large(upload.item)
            yield upload.outcome()
