# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""SFTP version 3 on the wire: bodies of requests and replies, as pure functions.

Sources: draft-ietf-secsh-filexfer-02 and, for the extensions, the file PROTOCOL
of OpenSSH (sections "sftp: Extension request ..."). A body is what follows the
request id. Every decoder raises ProtocolError for a body that is not what it
should be and never allocates more than the body's own size.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import ProtocolError
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Attributes,
    Entry,
    Space,
)

Buffer: TypeAlias = "bytes | memoryview"

VERSION: Final = 3
DEFAULT_BLOCK: Final = 32768
"""Bytes of data that every server takes in one request (draft section 3)."""


class Packet(enum.IntEnum):
    """SSH_FXP_ packet types."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    RENAME = 18
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class OpenFlag(enum.IntFlag):
    """SSH_FXF_ flags of an open request."""

    READ = 0x01
    WRITE = 0x02
    CREATE = 0x08
    TRUNCATE = 0x10
    EXCLUSIVE = 0x20


class Extension(bytes, enum.Enum):
    """OpenSSH's extensions that are used here, with the version that is understood."""

    version: bytes

    def __new__(cls, name: bytes, version: bytes) -> Extension:
        member = bytes.__new__(cls, name)
        member._value_ = name
        member.version = version
        return member

    POSIX_RENAME = (b"posix-rename@openssh.com", b"1")
    HARDLINK = (b"hardlink@openssh.com", b"1")
    STATVFS = (b"statvfs@openssh.com", b"2")
    FSYNC = (b"fsync@openssh.com", b"1")
    LIMITS = (b"limits@openssh.com", b"1")


SIZE_FLAG: Final = 0x00000001
OWNER_FLAG: Final = 0x00000002
PERMISSIONS_FLAG: Final = 0x00000004
TIMES_FLAG: Final = 0x00000008
EXTENDED_FLAG: Final = 0x80000000
ALL_FLAGS: Final = SIZE_FLAG | OWNER_FLAG | PERMISSIONS_FLAG | TIMES_FLAG

U32: Final = struct.Struct(">I")
U64: Final = struct.Struct(">Q")
PAIR: Final = struct.Struct(">II")
FULL_ATTRIBUTES: Final = struct.Struct(">QIIIII")
STATVFS_REPLY: Final = struct.Struct(">11Q")
LIMITS_REPLY: Final = struct.Struct(">4Q")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes (limits@openssh.com), in bytes and handles; 0 means not told."""

    packet: int = 0
    read: int = 0
    write: int = 0
    handles: int = 0


def malformed(what: str, body: Buffer) -> NoReturn:
    """Raise the error for a body that can't be what it claims to be."""
    raise ProtocolError(
        f"read the server's {what}",
        found=f"malformed: {printable(bytes(body[:40]))} ({len(body)} bytes)",
        remedy="look whether something between prints into the connection; update the server",
    )


# --- requests ---------------------------------------------------------------------------


def string(value: bytes) -> bytes:
    """A string: its length in four bytes, then its bytes."""
    return U32.pack(len(value)) + value


def attributes_body(attributes: Attributes) -> bytes:
    """Attributes to set; what is None is left as it is. Owners are never set.

    The protocol sets both times or none: atime becomes mtime when it is None.
    """
    flags = 0
    parts = []
    if attributes.size is not None:
        flags |= SIZE_FLAG
        parts.append(U64.pack(attributes.size))
    if attributes.permissions is not None:
        flags |= PERMISSIONS_FLAG
        parts.append(U32.pack(attributes.permissions & 0o7777))
    if attributes.mtime is not None:
        flags |= TIMES_FLAG
        atime = attributes.mtime if attributes.atime is None else attributes.atime
        parts.append(PAIR.pack(atime, attributes.mtime))
    return U32.pack(flags) + b"".join(parts)


NO_ATTRIBUTES: Final = attributes_body(Attributes())


def open_body(path: bytes, flags: OpenFlag, attributes: Attributes | None = None) -> bytes:
    """OPEN; ``attributes`` may give the permissions of a new file."""
    wanted = attributes_body(attributes) if attributes else NO_ATTRIBUTES
    return string(path) + U32.pack(int(flags)) + wanted


def read_body(handle: bytes, offset: int, length: int) -> bytes:
    """READ ``length`` bytes at ``offset``; the server may give fewer."""
    return string(handle) + U64.pack(offset) + U32.pack(length)


def write_head(handle: bytes, offset: int, length: int) -> bytes:
    """WRITE up to the data, which follows it as it is."""
    return string(handle) + U64.pack(offset) + U32.pack(length)


def extended_body(extension: Extension, *values: bytes) -> bytes:
    """EXTENDED request with string arguments."""
    return string(bytes(extension)) + b"".join(string(value) for value in values)


# --- replies ----------------------------------------------------------------------------


def take_string(body: Buffer, offset: int, what: str) -> tuple[bytes, int]:
    """The string at ``offset`` and where it ends."""
    if offset + 4 > len(body):
        malformed(what, body)
    (length,) = U32.unpack_from(body, offset)
    end = offset + 4 + length
    if end > len(body):
        malformed(what, body)
    return bytes(body[offset + 4 : end]), end


def decode_version(body: Buffer) -> tuple[int, dict[bytes, bytes]]:
    """VERSION: the server's version and its extensions (name to data)."""
    if len(body) < 4:
        malformed("version", body)
    (version,) = U32.unpack_from(body, 0)
    offset = 4
    extensions = {}
    while offset < len(body):
        name, offset = take_string(body, offset, "extensions")
        data, offset = take_string(body, offset, "extensions")
        extensions[name] = data
    return version, extensions


def understood(extensions: Mapping[bytes, bytes]) -> frozenset[Extension]:
    """The server's extensions that are known here, in a version that is known."""
    return frozenset(wanted for wanted in Extension if extensions.get(wanted) == wanted.version)


def decode_status(body: Buffer) -> tuple[int, str]:
    """STATUS: code and the server's words (servers of version 2 send none)."""
    if len(body) < 4:
        malformed("status", body)
    (code,) = U32.unpack_from(body, 0)
    if len(body) == 4:
        return code, ""
    message, _end = take_string(body, 4, "status")
    return code, printable(message)


def decode_handle(body: Buffer) -> bytes:
    """HANDLE: at most 256 opaque bytes."""
    handle, end = take_string(body, 0, "handle")
    if end != len(body) or not handle or len(handle) > 256:
        malformed("handle", body)
    return handle


def decode_data(body: Buffer) -> memoryview:
    """DATA: a view into ``body``."""
    if len(body) < 5 or U32.unpack_from(body, 0)[0] != len(body) - 4:
        malformed("data", body)
    return memoryview(body)[4:]


def take_attributes(body: Buffer, offset: int) -> tuple[Attributes, int]:
    """The attributes at ``offset`` and where they end."""
    try:
        (flags,) = U32.unpack_from(body, offset)
        offset += 4
        if flags == ALL_FLAGS:
            size, uid, gid, permissions, atime, mtime = FULL_ATTRIBUTES.unpack_from(body, offset)
            return Attributes(size, uid, gid, permissions, atime, mtime), offset + 28
        return take_partial_attributes(body, offset, flags)
    except struct.error:
        malformed("attributes", body)


def take_partial_attributes(body: Buffer, offset: int, flags: int) -> tuple[Attributes, int]:
    """Attributes of which only those in ``flags`` were sent.

    Raises:
        struct.error: the body ends before them.
    """
    found: dict[str, int] = {}
    if flags & SIZE_FLAG:
        (found["size"],) = U64.unpack_from(body, offset)
        offset += 8
    if flags & OWNER_FLAG:
        found["uid"], found["gid"] = PAIR.unpack_from(body, offset)
        offset += 8
    if flags & PERMISSIONS_FLAG:
        (found["permissions"],) = U32.unpack_from(body, offset)
        offset += 4
    if flags & TIMES_FLAG:
        found["atime"], found["mtime"] = PAIR.unpack_from(body, offset)
        offset += 8
    if flags & EXTENDED_FLAG:
        (count,) = U32.unpack_from(body, offset)
        offset += 4
        if count * 8 > len(body) - offset:
            malformed("attributes", body)
        for dummy in range(count * 2):
            offset = take_string(body, offset, "attributes")[1]
    return Attributes(**found), offset


def decode_attributes(body: Buffer) -> Attributes:
    """ATTRS."""
    return take_attributes(body, 0)[0]


def decode_names(body: Buffer, prefix: bytes = b"") -> list[Entry]:
    """NAME: entries with ``prefix`` put before each name, without ``.`` and ``..``.

    A name that is empty or holds a slash or NUL would lead out of its directory
    and is refused.
    """
    if len(body) < 4:
        malformed("names", body)
    (count,) = U32.unpack_from(body, 0)
    if count * 12 > len(body):
        malformed("names", body)
    offset = 4
    entries = []
    for dummy in range(count):
        name, offset = take_string(body, offset, "names")
        if not name or b"/" in name or b"\0" in name:
            malformed("names", body)
        if offset + 4 > len(body):
            malformed("names", body)
        offset += 4 + U32.unpack_from(body, offset)[0]
        attributes, offset = take_attributes(body, offset)
        if name not in (b".", b".."):
            entries.append(Entry(prefix + name, attributes))
    return entries


def decode_statvfs(body: Buffer) -> Space:
    """EXTENDED_REPLY to statvfs@openssh.com: eleven 64-bit numbers as in statvfs(3)."""
    if len(body) < STATVFS_REPLY.size:
        malformed("free space", body)
    dummy, unit, blocks, free, available, dummy, dummy, files, dummy, dummy, name_limit = (
        STATVFS_REPLY.unpack_from(body, 0)
    )
    return Space(unit * blocks, unit * free, unit * available, files, name_limit)


def decode_limits(body: Buffer) -> Limits:
    """EXTENDED_REPLY to limits@openssh.com."""
    if len(body) < LIMITS_REPLY.size:
        malformed("limits", body)
    return Limits(*LIMITS_REPLY.unpack_from(body, 0))
