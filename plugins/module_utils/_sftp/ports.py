# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""The remote store as the offsite run sees it, whatever the transport.

Rules that hold for every method:

- Paths are absolute raw bytes. Items of one call are independent of each other
  and may be done in any order; a caller that needs an order makes two calls.
- One item's failure is in its outcome and stops no other. A lost connection,
  a stuck server or a violation of the protocol raises TransportError
  (ConnectionLostError names what was in flight).
- Iterables are read as room comes free, so they may be longer than memory and
  may stop early (a byte or time budget is the caller's generator).
- What the server can't do at all (links, overwriting renames) is an item error
  with Reason.UNSUPPORTED.
- Nothing is ever removed but by ``remove_many`` and ``rmdir_many``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import RemoteError
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Attributes,
    Entry,
    Outcome,
    ReadItem,
    ReadOutcome,
    Space,
    StatOutcome,
    UploadItem,
    UploadOutcome,
)

OnDone = Callable[[Outcome], None]
Skip = Callable[[bytes, Attributes], bool]


class BulkUpload(Protocol):
    """Writes files' contents to staging paths."""

    def upload_many(
        self, items: Iterable[UploadItem], on_done: Callable[[UploadOutcome], None]
    ) -> None:
        """Upload all items, many at a time.

        Each source is read once and hashed on the way. Shorter or longer than
        its ``size`` is an item error, as is anything but a regular file. A
        failed item may leave a partial file at its target.

        Args:
            items: read as room comes free.
            on_done: called once for each item, in the order of completion.

        Raises:
            TransportError: the connection or the transport's program failed;
                items without an outcome are unknown or not begun.
        """


class RemoteStore(BulkUpload, Protocol):
    """A tree of files on another machine."""

    def stat_many(self, paths: Iterable[bytes]) -> Iterator[StatOutcome]:
        """The attributes of each path, in the order given; symlinks are not followed."""

    def list_dir(self, path: bytes) -> list[Entry]:
        """The entries of one directory, without ``.`` and ``..``, unordered.

        Raises:
            RemoteError: it is missing, no directory, or can't be read.
        """

    def list_tree(
        self,
        root: bytes,
        *,
        skip: Skip | None = None,
        on_error: Callable[[RemoteError], None] | None = None,
    ) -> Iterator[Entry]:
        """Everything beneath ``root``, unordered but each directory before its entries.

        Args:
            root: the directory; not itself among the entries.
            skip: entries for which it is true are left out and not descended into.
            on_error: told of each directory beneath ``root`` that can't be read;
                without it, the first one is raised. ``root`` itself is always raised.

        Entries whose absolute path is longer than LISTED_PATH_LIMIT do not
        appear, and can't be asked for either (a limit of OpenSSH's server).
        """

    def rename_many(
        self,
        pairs: Iterable[tuple[bytes, bytes]],
        *,
        overwrite: bool,
        on_done: OnDone | None = None,
    ) -> list[Outcome]:
        """Rename each (old, new); outcomes in the order given.

        With ``overwrite`` an existing file is replaced atomically; without, an
        existing name is an error (Reason.EXISTS) and left as it is.
        """

    def mkdir_many(
        self, paths: Iterable[bytes], *, exist_ok: bool, on_done: OnDone | None = None
    ) -> list[Outcome]:
        """Make directories; their parents must exist. ``exist_ok`` accepts a directory there."""

    def remove_many(
        self, paths: Iterable[bytes], *, on_done: OnDone | None = None
    ) -> list[Outcome]:
        """Remove files."""

    def rmdir_many(self, paths: Iterable[bytes], *, on_done: OnDone | None = None) -> list[Outcome]:
        """Remove empty directories."""

    def hardlink_many(
        self, pairs: Iterable[tuple[bytes, bytes]], *, on_done: OnDone | None = None
    ) -> list[Outcome]:
        """Give each (existing, new) file a further name."""

    def setstat_many(
        self,
        items: Iterable[tuple[bytes, Attributes]],
        *,
        on_done: OnDone | None = None,
    ) -> list[Outcome]:
        """Set what is not None of ``mtime``, ``permissions`` and ``size`` (truncates)."""

    def read_many(self, items: Iterable[ReadItem]) -> Iterator[ReadOutcome]:
        """Read files back and hash them; outcomes in the order of completion."""

    def download(self, path: bytes, sink: Callable[[memoryview], object]) -> tuple[Attributes, str]:
        """Read one whole file; gives its attributes and the sha256 of what was read.

        Args:
            path: the remote file.
            sink: gets the content in order; must not keep the memoryview.

        Raises:
            RemoteError: missing, unreadable, or its size changed meanwhile.
        """

    def read_file(self, path: bytes, limit: int) -> bytes:
        """The content of one small file.

        Raises:
            RemoteError: missing, unreadable, or more than ``limit`` bytes.
        """

    def write_file(self, path: bytes, content: bytes, mode: int = 0o600) -> None:
        """Replace one small file atomically: written beside it, fsynced, renamed.

        Raises:
            RemoteError: the server refused one of the steps.
        """

    def statvfs(self, path: bytes) -> Space | None:
        """Free space where ``path`` is; None when the server can't tell."""

    def close(self) -> None:
        """End the connection; later calls raise TransportError."""
