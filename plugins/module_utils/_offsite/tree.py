# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a mounted snapshot: names as bytes, times in nanoseconds, paths of any length."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import SourceError
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    FILE,
    KIND_BY_FORMAT,
    SYMLINK,
    Attributes,
    pack_xattrs,
)

# Linux refuses a path argument of 4096 bytes or more (PATH_MAX); longer ones
# are walked in pieces.
LONGEST_PIECE = 3500
# TrueNAS' NFSv4 ACL is an xattr that listxattr(2) leaves out.
NFS4_ACL = "system.nfs4_acl_xdr"
NOT_THERE = (errno.ENODATA, errno.ENOTSUP, errno.EINVAL)


class SnapshotTree:
    """One dataset's snapshot, mounted read-only.

    Args:
        root: where it is mounted.

    Raises:
        SourceError: ``root`` can't be opened.
    """

    def __init__(self, root: bytes) -> None:
        self.root = root
        try:
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise SourceError(
                "read the snapshot", on=printable(root), found=str(exc.strerror)
            ) from exc
        self._nfs4_acl = True

    def close(self) -> None:
        """Close the root; the snapshot can be unmounted then."""
        os.close(self._root)

    @contextlib.contextmanager
    def _reach(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """A directory descriptor and a rest of ``path`` that is short enough."""
        if len(path) <= LONGEST_PIECE:
            yield self._root, path or b"."
            return
        opened: list[int] = []
        at = self._root
        try:
            while len(path) > LONGEST_PIECE:
                cut = path.rfind(b"/", 0, LONGEST_PIECE)
                at = os.open(
                    path[:cut],
                    os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                    dir_fd=at,
                )
                opened.append(at)
                path = path[cut + 1 :]
            yield at, path
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def entries(self, path: bytes) -> list[tuple[bytes, int]]:
        """Name and object number of everything in the directory ``path``.

        readdir(3) gives both; no file is touched.
        """
        with self._reach(path) as (at, rest):
            descriptor = os.open(rest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
        try:
            with os.scandir(descriptor) as found:
                return [(os.fsencode(entry.name), entry.inode()) for entry in found]
        finally:
            os.close(descriptor)

    def lstat(self, path: bytes) -> os.stat_result:
        """lstat(2) of ``path``."""
        with self._reach(path) as (at, rest):
            return os.stat(rest, dir_fd=at, follow_symlinks=False)

    def attributes(self, path: bytes, found: os.stat_result) -> Attributes:
        """Everything that the index keeps of ``path``; ``found`` is its lstat."""
        kind = KIND_BY_FORMAT[stat.S_IFMT(found.st_mode)]
        return Attributes(
            kind=kind,
            mode=stat.S_IMODE(found.st_mode),
            uid=found.st_uid,
            gid=found.st_gid,
            size=found.st_size if kind == FILE else 0,
            mtime_ns=found.st_mtime_ns,
            ctime_ns=found.st_ctime_ns,
            rdev=found.st_rdev if kind in "bc" else 0,
            target=self._target(path) if kind == SYMLINK else None,
            xattrs=self._xattrs(path),
        )

    def _target(self, path: bytes) -> bytes:
        with self._reach(path) as (at, rest):
            return os.readlink(rest, dir_fd=at)

    def _xattrs(self, path: bytes) -> bytes | None:
        with self._reach(path) as (at, rest):
            # There is no lgetxattrat(2) before Linux 6.13: name the file through
            # the directory's descriptor. The kernel does not follow a last symlink here.
            name = b"/proc/self/fd/%d/%s" % (at, rest)
            values: dict[str, bytes] = {}
            try:
                names = os.listxattr(name, follow_symlinks=False)
            except OSError as exc:
                if exc.errno not in NOT_THERE:
                    raise
                names = []
            for attribute in names:
                values[attribute] = os.getxattr(name, attribute, follow_symlinks=False)
            if self._nfs4_acl and NFS4_ACL not in values:
                try:
                    values[NFS4_ACL] = os.getxattr(name, NFS4_ACL, follow_symlinks=False)
                except OSError as exc:
                    if exc.errno not in NOT_THERE:
                        raise
                    # Asked once a dataset: acltype is a property of the whole of it.
                    self._nfs4_acl = exc.errno == errno.ENODATA
        return pack_xattrs(values)

    def open(self, path: bytes) -> int:
        """Open a file for reading; never blocks on a FIFO, never follows a symlink."""
        with self._reach(path) as (at, rest):
            return os.open(
                rest, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at
            )
