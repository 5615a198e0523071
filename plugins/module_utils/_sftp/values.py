# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""What is asked of a remote store and what it answers. Paths are raw bytes."""

from __future__ import annotations

import enum
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import BackupError

MTIME_LIMIT = 0xFFFFFFFF
"""SFTP version 3 has unsigned 32-bit seconds (draft-ietf-secsh-filexfer-02, section 5)."""

LISTED_PATH_LIMIT = 4095
"""Longest absolute path, in bytes, that OpenSSH's server takes and lists (PATH_MAX less one).

Longer ones are refused with Reason.NAME. An entry that got there by a rename of
one of its directories is left out of listings without a word.
"""


class Kind(enum.Enum):
    """The types of directory entries that a remote store tells apart."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"
    UNKNOWN = "unknown"


KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    0: Kind.UNKNOWN,
}


class Attributes(NamedTuple):
    """A file's attributes; None where the server did not say."""

    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    permissions: int | None = None
    """Mode with the file type bits (stat(2) ``st_mode``)."""
    atime: int | None = None
    mtime: int | None = None
    """Whole seconds since 1970-01-01T00:00:00Z."""

    @property
    def kind(self) -> Kind:
        """The entry's type; UNKNOWN when the server sent no permissions."""
        return KINDS.get(stat.S_IFMT(self.permissions or 0), Kind.OTHER)

    @property
    def is_directory(self) -> bool:
        """True for a directory itself, not for a symlink to one."""
        return stat.S_ISDIR(self.permissions or 0)


class Entry(NamedTuple):
    """One entry of a listing."""

    path: bytes
    """Relative to what was listed, without a leading slash."""
    attributes: Attributes


class Space(NamedTuple):
    """Free space of a remote file system (statvfs(3)), in bytes and files."""

    total: int
    free: int
    available: int
    """What this user may still write; less than ``free`` by root's reserve or a quota."""
    files_available: int
    name_limit: int
    """Longest name in bytes: 255 on most, 143 in a Synology encrypted share."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item of a batch."""

    path: bytes
    """The path that the item named; of a rename or link, the new one."""
    error: BackupError | None = None
    """None when it was done. A RemoteError says why the server refused it."""

    @property
    def ok(self) -> bool:
        """True when the operation was done."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class StatOutcome:
    """The attributes of one path (lstat: a symlink is not followed)."""

    path: bytes
    attributes: Attributes | None
    """None when there is no such entry, or with an error."""
    error: BackupError | None = None
    """Why it could not be told. "No such file" is an answer, not an error."""


Source: TypeAlias = "bytes | Callable[[], int]"
"""A local path, or a function that opens the file and gives its descriptor.

The descriptor then belongs to the uploader, which closes it.
"""


@dataclass(frozen=True, slots=True)
class UploadItem:
    """One file to upload.

    Args:
        source: where its content is read, once, from the start to the end.
        target: the remote (staging) path; created, or truncated when it exists.
        size: how many bytes there must be; other than that is an error.
        mtime: seconds since 1970 to set, None to leave it.
        mode: permission bits to set, None to leave them to the server.
        tag: whatever the caller wants to find in the outcome again.
    """

    source: Source
    target: bytes
    size: int
    mtime: int | None = None
    mode: int | None = None
    tag: object = None


@dataclass(frozen=True, slots=True)
class UploadOutcome:
    """What became of one upload.

    ``sha256`` is of the bytes as they were sent (hexadecimal), ``size`` their
    count and ``stored`` what the server says it holds now (None if the
    transport can't tell). All three are only meaningful without an error.
    """

    item: UploadItem
    sha256: str
    size: int
    stored: Attributes | None = None
    error: BackupError | None = None

    @property
    def ok(self) -> bool:
        """True when the remote path holds the whole content."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class ReadItem:
    """One remote file to read back; ``size`` is what it should have, in bytes.

    ``sink`` gets the content in order, as far as it could be read, before the
    outcome comes. It must not keep the memoryview; what it raises ends the call.
    """

    path: bytes
    size: int
    tag: object = None
    sink: Callable[[memoryview], object] | None = None


@dataclass(frozen=True, slots=True)
class ReadOutcome:
    """What a remote file holds.

    ``sha256`` is None when the size differs (the content is then not read),
    when the file is missing (``attributes`` is None, too) or with an error.
    """

    item: ReadItem
    attributes: Attributes | None = None
    sha256: str | None = None
    error: BackupError | None = None


def storable_mtime(seconds: float) -> int:
    """``seconds`` since 1970 as an SFTP server keeps it: floored, within 1970 to 2106.

    Compare a remote mtime with this, not with the source's own.
    """
    return min(max(int(seconds // 1), 0), MTIME_LIMIT)
