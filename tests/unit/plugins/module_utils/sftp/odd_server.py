# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""An SFTP server that is allowed, but unlike OpenSSH's; or that misbehaves.

    python odd_server.py ODDITY ...

It shares no code with the client. Oddities that the protocol allows: ``shuffle``
(answers in another order than asked), ``short`` (READ gives half of what was
asked), ``few`` (READDIR gives three entries at a time), ``bare`` (no
extensions), ``slow`` (50 ms before each answer). Misbehaviour: ``banner`` (text
first), ``huge`` (a packet length of 1 GiB), ``mute`` (no answer, ever), ``old``
(version 2), ``stranger`` (a reply nobody asked for), ``garbage`` (every reply is
cut after its id), ``slash`` (a name with a slash in a listing), ``die=N`` (gone
after N requests), ``hang=N``.
"""

from __future__ import annotations

import os
import random
import select
import struct
import sys
import time

Entries = list[os.DirEntry[bytes]]
OK, EOF, MISSING, DENIED, FAILURE = range(5)
EXTENSIONS = (
    (b"posix-rename@openssh.com", b"1"),
    (b"hardlink@openssh.com", b"1"),
    (b"fsync@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
)


class Body:
    """A request's body, read from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def number(self, size: int = 4) -> int:
        value = int.from_bytes(self.data[:size], "big")
        self.data = self.data[size:]
        return value

    def text(self) -> bytes:
        size = self.number()
        value, self.data = self.data[:size], self.data[size:]
        return value

    def attributes(self) -> dict[str, int]:
        flags = self.number()
        found = {}
        if flags & 1:
            found["size"] = self.number(8)
        if flags & 4:
            found["mode"] = self.number()
        if flags & 8:
            found["atime"], found["mtime"] = self.number(), self.number()
        return found


def text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def packed(found: os.stat_result) -> bytes:
    return struct.pack(
        ">IQIIIII",
        15,
        found.st_size,
        found.st_uid,
        found.st_gid,
        found.st_mode,
        int(found.st_atime),
        int(found.st_mtime),
    )


def status(code: int) -> tuple[int, bytes]:
    return 101, struct.pack(">I", code) + text(b"odd") + text(b"")


class Server:
    def __init__(self, oddities: dict[str, int]) -> None:
        self.oddities = oddities
        self.handles: dict[bytes, int | Entries] = {}
        self.next = 0
        self.count = 0

    def handle(self, value: int | Entries) -> tuple[int, bytes]:
        self.next += 1
        name = b"h%d" % self.next
        self.handles[name] = value
        return 102, text(name)

    def reply(self, kind: int, body: Body) -> tuple[int, bytes]:
        try:
            return self.perform(kind, body)
        except FileNotFoundError:
            return status(MISSING)
        except PermissionError:
            return status(DENIED)
        except OSError:
            return status(FAILURE)

    def perform(self, kind: int, body: Body) -> tuple[int, bytes]:
        first = body.text()
        by_name = {7: self.look, 9: self.set, 11: self.list, 18: self.rename, 200: self.extended}
        by_handle = {5: self.read, 6: self.write, 8: self.measure, 10: self.set_open}
        by_handle |= {4: self.close, 12: self.names}
        plain = {13: os.unlink, 14: os.mkdir, 15: os.rmdir}
        if kind == 3:
            return self.open(first, body)
        if kind in plain:
            plain[kind](first)
            return status(OK)
        return (by_name | by_handle)[kind](first, body)

    def open(self, path: bytes, body: Body) -> tuple[int, bytes]:
        flags = body.number()
        mode = os.O_WRONLY if flags & 2 else os.O_RDONLY
        mode |= (os.O_CREAT if flags & 8 else 0) | (os.O_TRUNC if flags & 16 else 0)
        return self.handle(os.open(path, mode, body.attributes().get("mode", 0o644)))

    def close(self, handle: bytes, dummy_body: Body) -> tuple[int, bytes]:
        value = self.handles.pop(handle)
        if isinstance(value, int):
            os.close(value)
        return status(OK)

    def read(self, handle: bytes, body: Body) -> tuple[int, bytes]:
        offset, length = body.number(8), body.number()
        if "short" in self.oddities and length > 1:
            length //= 2
        data = os.pread(self.file(handle), length, offset)
        return (103, text(data)) if data else status(EOF)

    def write(self, handle: bytes, body: Body) -> tuple[int, bytes]:
        offset = body.number(8)
        os.pwrite(self.file(handle), body.text(), offset)
        return status(OK)

    def look(self, path: bytes, dummy_body: Body) -> tuple[int, bytes]:
        return 105, packed(os.lstat(path))

    def measure(self, handle: bytes, dummy_body: Body) -> tuple[int, bytes]:
        return 105, packed(os.fstat(self.file(handle)))

    def set_open(self, handle: bytes, body: Body) -> tuple[int, bytes]:
        return self.set(self.file(handle), body)

    def set(self, target: bytes | int, body: Body) -> tuple[int, bytes]:
        wanted = body.attributes()
        if "size" in wanted:
            os.truncate(target, wanted["size"])
        if "mode" in wanted:
            os.chmod(target, wanted["mode"])
        if "mtime" in wanted:
            os.utime(target, (wanted["atime"], wanted["mtime"]))
        return status(OK)

    def list(self, path: bytes, dummy_body: Body) -> tuple[int, bytes]:
        return self.handle([*os.scandir(path)])

    def rename(self, old: bytes, body: Body) -> tuple[int, bytes]:
        new = body.text()
        if os.path.lexists(new):
            return status(FAILURE)
        os.rename(old, new)
        return status(OK)

    def file(self, handle: bytes) -> int:
        value = self.handles[handle]
        if not isinstance(value, int):
            raise IsADirectoryError
        return value

    def names(self, handle: bytes, dummy_body: Body) -> tuple[int, bytes]:
        entries = self.handles[handle]
        if isinstance(entries, int):
            raise NotADirectoryError
        batch = entries[: 3 if "few" in self.oddities else 100]
        del entries[: len(batch)]
        if not batch:
            return status(EOF)
        reply = struct.pack(">I", len(batch))
        for entry in batch:
            name = b"../" + entry.name if "slash" in self.oddities else entry.name
            reply += text(name) + text(b"-rw-") + packed(entry.stat(follow_symlinks=False))
        return 104, reply

    def extended(self, name: bytes, body: Body) -> tuple[int, bytes]:
        if "bare" in self.oddities:
            return status(8)
        if name.startswith(b"posix-rename"):
            os.rename(body.text(), body.text())
        elif name.startswith(b"hardlink"):
            os.link(body.text(), body.text())
        elif name.startswith(b"fsync"):
            os.fsync(self.file(body.text()))
        elif name.startswith(b"statvfs"):
            return 201, struct.pack(">11Q", 4096, 4096, 1000, 500, 400, 9, 8, 7, 0, 0, 143)
        else:
            return status(8)
        return status(OK)


def send(kind: int, content: bytes) -> None:
    data = struct.pack(">IB", len(content) + 1, kind) + content
    while data:
        data = data[os.write(1, data) :]


def exactly(count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            raise SystemExit(0)
        data += more
    return data


def greet(oddities: dict[str, int]) -> None:
    exactly(struct.unpack(">I", exactly(4))[0])
    if "banner" in oddities:
        os.write(1, b"Welcome to the NAS!\nLast login: yesterday\n")
    if "mute" in oddities:
        time.sleep(3600)
    if "huge" in oddities:
        os.write(1, struct.pack(">IB", 1 << 30, 2) + bytes(100000))
    offered = () if "bare" in oddities else EXTENSIONS
    version = struct.pack(">I", 2 if "old" in oddities else 3)
    send(2, version + b"".join(text(name) + text(data) for name, data in offered))


def serve(oddities: dict[str, int]) -> None:
    server = Server(oddities)
    choose = random.Random(oddities.get("shuffle", 0))
    replies: list[tuple[int, bytes]] = []
    while True:
        if not replies or (len(replies) < 64 and select.select([0], [], [], 0.002)[0]):
            length, kind, request = struct.unpack(">IBI", exactly(9))
            body = Body(exactly(length - 5))
            server.count += 1
            if server.count > oddities.get("die", 1 << 60):
                os.write(2, b"the odd server dies\n")
                os._exit(7)
            if server.count > oddities.get("hang", 1 << 60):
                time.sleep(3600)
            answer, content = server.reply(kind, body)
            if "garbage" in oddities:
                content = content[: choose.randrange(3)]
            if "stranger" in oddities:
                request += 77777
            replies.append((answer, struct.pack(">I", request) + content))
            if "shuffle" in oddities:
                continue
        if "slow" in oddities:
            time.sleep(0.05)
        choose.shuffle(replies)
        # One answer waits for the next requests, or until there are none.
        kept = replies[:1] if len(replies) > 1 else []
        for answer, content in replies[len(kept) :]:
            send(answer, content)
        replies = kept


if __name__ == "__main__":
    chosen = {}
    for argument in sys.argv[1:]:
        name, dummy, value = argument.partition("=")
        chosen[name] = int(value or 1)
    greet(chosen)
    serve(chosen)
