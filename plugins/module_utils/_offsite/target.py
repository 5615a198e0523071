# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory that files are restored into.

Root restores into directories that other users may write to. So every
component of a path is opened by itself and no symlink is ever followed
(O_NOFOLLOW, open(2)), and whatever is made gets its content and attributes under
a name of ours before it takes its own: what is there is whole, or not there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    LockedError,
    SourceError,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    SYMLINK,
    Attributes,
    join,
    unpack_xattrs,
)

PREFIX = b".homelab-backup-fetch"
JOURNAL = PREFIX + b".directories"
OPEN_DIRECTORIES = 64
READ_SIZE = 1 << 20
SET_ID_BITS = stat.S_ISUID | stat.S_ISGID
DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# link(2) where the file system has no hard links.
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def waiting_name(name: bytes) -> bytes:
    """Under which name something is made; always the same, so that a killed run leaves one file."""
    return PREFIX + b"." + hashlib.sha256(name).hexdigest()[:24].encode("ascii")


class TargetTree:
    """A directory, made if it is missing, and everything beneath it by relative path.

    Holds a lock, so that no two restores work in one directory, and a journal of
    the directories that were made and still lack their own attributes: a restore
    that follows a killed one finishes them.

    Raises:
        SourceError: the directory can't be made or opened.
        LockedError: another restore works in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self.created = not root.exists()
            root.mkdir(mode=0o700, exist_ok=True)
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise SourceError(
                "open the directory to restore into",
                on=str(root),
                found=exc.strerror or str(exc),
                remedy="name a directory whose parent exists and that you may write to",
            ) from exc
        self.owners = os.geteuid() == 0
        """Whether files get their own owner; only root can give files away (chown(2))."""
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self._journal = self._open_journal()
        if self.created:
            os.write(self._journal, b"\0")
        self._times: tuple[int, int] | None = None
        self.made = self._unfinished()
        """Directories without their own attributes yet, those of a killed restore included."""

    def _open_journal(self) -> int:
        try:
            descriptor = os.open(
                JOURNAL,
                os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
                dir_fd=self._root,
            )
        except OSError as exc:
            os.close(self._root)
            raise SourceError(
                "write into the directory to restore into",
                on=str(self.root),
                found=exc.strerror or str(exc),
            ) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(descriptor)
            os.close(self._root)
            raise LockedError(
                "restore into the directory",
                on=str(self.root),
                found="another restore works in it",
                remedy="wait for it to end, or name another directory",
            ) from exc
        return descriptor

    def close(self, *, finished: bool) -> None:
        """Close it; ``finished``: every directory that was made has its attributes."""
        if finished:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(JOURNAL, dir_fd=self._root)
            if self._times is not None:
                os.utime(self._root, ns=self._times)
        for descriptor in (*self._open.values(), self._journal, self._root):
            os.close(descriptor)

    def _unfinished(self) -> set[bytes]:
        with os.fdopen(os.dup(self._journal), "rb") as handle:
            handle.seek(0)
            # A path ends with NUL; what a kill cut off has none.
            return set(handle.read().split(b"\0")[:-1])

    @contextlib.contextmanager
    def _above(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """A descriptor of the directory that holds ``path``, and the last name."""
        above, dummy, name = path.rpartition(b"/")
        yield self._directory(above), name

    def _directory(self, path: bytes) -> int:
        known = path
        while known and known not in self._open:
            known = known.rpartition(b"/")[0]
        at = self._root
        if known:
            self._open.move_to_end(known)
            at = self._open[known]
        for name in path[len(known) :].split(b"/"):
            if not name:
                continue
            at = os.open(name, DIRECTORY_FLAGS, dir_fd=at)
            known = join(known, name)
            self._open[known] = at
            if len(self._open) > OPEN_DIRECTORIES:
                dummy, oldest = self._open.popitem(last=False)
                os.close(oldest)
        return at

    def lstat(self, path: bytes) -> os.stat_result | None:
        """lstat(2); None when there is no such name."""
        with self._above(path) as (at, name):
            try:
                return os.stat(name or b".", dir_fd=at, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def read_link(self, path: bytes) -> bytes:
        """readlink(2)."""
        with self._above(path) as (at, name):
            return os.readlink(name, dir_fd=at)

    def sha256(self, path: bytes) -> bytes:
        """The digest of a file's content."""
        digest = hashlib.sha256()
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._above(path) as (at, name):
            descriptor = os.open(name, flags, dir_fd=at)
        with os.fdopen(descriptor, "rb", buffering=0) as handle:
            while chunk := handle.read(READ_SIZE):
                digest.update(chunk)
        return digest.digest()

    def make_directory(self, path: bytes) -> bool:
        """Make a directory that only its owner may enter yet; False when it is there already.

        Raises:
            OSError: something else is there, or it can't be made.
        """
        found = self.lstat(path)
        if found is not None:
            if not stat.S_ISDIR(found.st_mode):
                raise FileExistsError(errno.EEXIST, "something else than a directory is there")
            return False
        os.write(self._journal, path + b"\0")
        with self._above(path) as (at, name):
            os.mkdir(name, 0o700, dir_fd=at)
        self.made.add(path)
        return True

    def create(self, path: bytes) -> int:
        """A new empty file beside ``path``; its descriptor. :meth:`commit` gives it its name."""
        with self._above(path) as (at, name):
            waiting = waiting_name(name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(waiting, dir_fd=at)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(waiting, flags, 0o600, dir_fd=at)

    def create_other(self, path: bytes, attributes: Attributes) -> None:
        """A new symlink, device or FIFO beside ``path``."""
        with self._above(path) as (at, name):
            waiting = waiting_name(name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(waiting, dir_fd=at)
            if attributes.kind == SYMLINK:
                os.symlink(attributes.target or b"", waiting, dir_fd=at)
            else:
                kind = {"b": stat.S_IFBLK, "c": stat.S_IFCHR, "p": stat.S_IFIFO}[attributes.kind]
                os.mknod(waiting, kind | 0o600, attributes.rdev, dir_fd=at)

    def create_link(self, path: bytes, existing: bytes) -> None:
        """A further name beside ``path`` of the file ``existing``."""
        # A copy: looking up the second directory may close the first one's descriptor.
        source = os.dup(self._directory(existing.rpartition(b"/")[0]))
        try:
            with self._above(path) as (at, name):
                waiting = waiting_name(name)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(waiting, dir_fd=at)
                os.link(
                    existing.rpartition(b"/")[2],
                    waiting,
                    src_dir_fd=source,
                    dst_dir_fd=at,
                    follow_symlinks=False,
                )
        finally:
            os.close(source)

    def commit(self, path: bytes, *, overwrite: bool) -> None:
        """Give what was made beside ``path`` its name.

        Raises:
            FileExistsError: the name is taken and ``overwrite`` is False.
            OSError: a directory is there, or the file system refused it.
        """
        with self._above(path) as (at, name):
            waiting = waiting_name(name)
            if not overwrite:
                # rename(2) would replace; link(2) never does.
                try:
                    os.link(waiting, name, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False)
                except OSError as exc:
                    if exc.errno not in NO_LINKS or self.lstat(path) is not None:
                        raise
                else:
                    os.unlink(waiting, dir_fd=at)
                    return
            os.replace(waiting, name, src_dir_fd=at, dst_dir_fd=at)
            # Two names of one file: rename(2) then does nothing at all.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(waiting, dir_fd=at)

    def discard(self, path: bytes) -> None:
        """Remove what was made beside ``path``."""
        with self._above(path) as (at, name), contextlib.suppress(FileNotFoundError):
            os.unlink(waiting_name(name), dir_fd=at)

    def set_waiting_attributes(self, path: bytes, attributes: Attributes) -> list[str]:
        """Give what waits beside ``path`` its owner, mode, xattrs and times.

        Returns:
            what could not be set, in words.
        """
        above = path.rpartition(b"/")[0]
        return self.set_attributes(join(above, waiting_name(path.rpartition(b"/")[2])), attributes)

    def set_attributes(self, path: bytes, attributes: Attributes) -> list[str]:
        """Owner, mode, xattrs (ACLs are among them) and times of ``path``, in this order.

        Changing the owner clears the set-id bits and capabilities (chown(2)), so
        it comes first; an ACL comes after the mode that it refines (acl(5)).

        Returns:
            what could not be set, in words.
        """
        if not path:
            # The journal still lies in it; its time is set again when that has gone.
            self._times = (attributes.mtime_ns, attributes.mtime_ns)
            return _set_all(self._root, b".", attributes, owners=self.owners)
        with self._above(path) as (at, name):
            return _set_all(at, name, attributes, owners=self.owners)


def _set_all(at: int, name: bytes, attributes: Attributes, *, owners: bool) -> list[str]:
    complaints: list[str] = []
    mode = attributes.mode
    xattrs = unpack_xattrs(attributes.xattrs)
    times = (attributes.mtime_ns, attributes.mtime_ns)
    owner = (attributes.uid, attributes.gid)
    owned = f"owner {attributes.uid}:{attributes.gid}"
    if attributes.kind == SYMLINK:
        place = b"/proc/self/fd/%d/%s" % (at, name)
        if owners:
            _try(
                complaints, owned, lambda: os.chown(name, *owner, dir_fd=at, follow_symlinks=False)
            )
        for key, value in xattrs.items():
            _try(complaints, f"attribute {key!r}", _setter(place, key, value, follow=False))
        _try(complaints, "time", lambda: os.utime(name, ns=times, dir_fd=at, follow_symlinks=False))
        return complaints
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        # An O_PATH descriptor has no fchmod (open(2)); /proc leads to the same inode.
        inode = b"/proc/self/fd/%d" % descriptor
        if not owners or not _try(complaints, owned, lambda: os.chown(inode, *owner)):
            # With another owner these bits would lend that one's rights.
            mode &= ~SET_ID_BITS
        _try(complaints, f"mode {mode:04o}", lambda: os.chmod(inode, mode))
        for key, value in xattrs.items():
            _try(complaints, f"attribute {key!r}", _setter(inode, key, value, follow=True))
        _try(complaints, "time", lambda: os.utime(inode, ns=times))
    finally:
        os.close(descriptor)
    return complaints


def _setter(place: bytes, key: str, value: bytes, *, follow: bool) -> Callable[[], None]:
    return lambda: os.setxattr(place, key, value, follow_symlinks=follow)


def _try(complaints: list[str], what: str, action: Callable[[], None]) -> bool:
    try:
        action()
    except OSError as exc:
        complaints.append(f"{what} could not be set: {exc.strerror}")
        return False
    return True
