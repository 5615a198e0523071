# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on their way from the destination into a directory: read, checked, given their names."""

from __future__ import annotations

import enum
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import SourceError
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    FILE,
    SYMLINK,
    Attributes,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.target import TargetTree
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    ReadItem,
    ReadOutcome,
)

NAMED = 1000
"""So many problems are kept by name; all are counted."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
Progress = Callable[[int, int], None]


class There(enum.Enum):
    """What the target has under a name that is to be restored."""

    FREE = "free"
    EQUAL = "equal"
    TAKEN = "taken"


@dataclass(slots=True)
class Fetched:
    """What a restore did.

    ``present`` counts what was there already and equal, ``older`` files whose
    newer content had not reached the destination, ``problems`` are (path, what
    is wrong), the first ``NAMED`` of ``problem_count``.
    """

    files: int = 0
    size: int = 0
    directories: int = 0
    symlinks: int = 0
    special: int = 0
    linked: int = 0
    present: int = 0
    older: int = 0
    problems: list[tuple[bytes, str]] = field(default_factory=list)
    problem_count: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """True when everything that was asked for is there now."""
        return self.problem_count == 0

    def problem(self, path: bytes, text: str) -> None:
        """Note what is wrong with ``path``."""
        self.problem_count += 1
        if len(self.problems) < NAMED:
            self.problems.append((path, text))


class Download:
    """One file on its way into the target.

    Args:
        path: where it goes, relative to the target.
        remote: where it is.
        size: its size in bytes.
        sha256: raw digest of its content, None when it isn't known.
        attributes: that it gets.
        node: of the index, 0 for none.
    """

    __slots__ = ("attributes", "descriptor", "error", "node", "path", "remote", "sha256", "size")

    def __init__(
        self,
        path: bytes,
        remote: bytes,
        size: int,
        sha256: bytes | None,
        attributes: Attributes,
        node: int = 0,
    ) -> None:
        self.path = path
        self.remote = remote
        self.size = size
        self.sha256 = sha256
        self.attributes = attributes
        self.node = node
        self.descriptor = -1
        self.error: OSError | None = None

    def write(self, data: memoryview) -> None:
        """Take a part of the content.

        Raises:
            SourceError: the target is full or read-only, so nothing else can be restored either.
        """
        if self.error is not None:
            return
        try:
            if not bytes(data).strip(b"\0"):
                # Nothing but zeros: a hole, as the sparse file had there.
                os.lseek(self.descriptor, len(data), os.SEEK_CUR)
                return
            while data:
                data = data[os.write(self.descriptor, data) :]
        except OSError as exc:
            if exc.errno in FULL:
                raise SourceError(
                    "write a restored file",
                    on=os.fsdecode(self.path),
                    found=exc.strerror or str(exc),
                    remedy="make room or name another directory, then run the same command again",
                ) from exc
            self.error = exc


class Downloads:
    """Brings files into the target.

    Args:
        store: the destination.
        target: where they go.
        overwrite: replace what is there, unless it is newer.
        progress: called with (files, bytes) so far.
    """

    def __init__(
        self, store: RemoteStore, target: TargetTree, *, overwrite: bool, progress: Progress
    ) -> None:
        self._store = store
        self._target = target
        self._overwrite = overwrite
        self._progress = progress
        self._flying: set[Download] = set()
        self.result = Fetched()
        self.whole: dict[int, tuple[bytes, bytes | None]] = {}
        """By node: path and digest of a name that is restored."""

    def read(self, downloads: Iterable[Download]) -> None:
        """Bring all of them.

        Raises:
            SourceError: the target is full or read-only.
            TransportError: the connection broke.
        """
        try:
            for outcome in self._store.read_many(self._items(downloads)):
                self._landed(outcome)
        finally:
            for download in self._flying:
                os.close(download.descriptor)
                self._target.discard(download.path)
            self._flying.clear()

    def _items(self, downloads: Iterable[Download]) -> Iterator[ReadItem]:
        for download in downloads:
            try:
                download.descriptor = self._target.create(download.path)
            except OSError as exc:
                self.result.problem(download.path, words(exc))
                continue
            self._flying.add(download)
            yield ReadItem(download.remote, download.size, download, download.write)

    def _landed(self, outcome: ReadOutcome) -> None:
        download = outcome.item.tag
        if not isinstance(download, Download):
            raise TypeError(download)
        self._flying.discard(download)
        wrong = _wrong(outcome, download)
        if wrong is None:
            wrong = _complete(download)
        os.close(download.descriptor)
        complaints: list[str] = []
        if wrong is None:
            try:
                complaints = self._target.set_waiting_attributes(download.path, download.attributes)
                self._target.commit(download.path, overwrite=self._overwrite)
            except OSError as exc:
                wrong = words(exc)
        if wrong is not None:
            self._target.discard(download.path)
            self.result.problem(download.path, wrong)
            return
        self.result.files += 1
        self.result.size += download.size
        self._progress(self.result.files, self.result.size)
        self.complain(download.path, complaints)
        if download.node:
            self.whole.setdefault(download.node, (download.path, download.sha256))

    def complain(self, path: bytes, complaints: Sequence[str]) -> None:
        """Note what could not be set of something that is restored."""
        if complaints:
            self.result.problem(path, "restored, but " + "; ".join(complaints))

    def look(self, path: bytes, attributes: Attributes, sha256: bytes | None) -> There:
        """What is at ``path``; FREE also for what may be overwritten. What is in the way is noted.

        Raises:
            OSError: the target can't be read.
        """
        found = self._target.lstat(path)
        if found is None:
            return There.FREE
        if self._is_there(path, found, attributes, sha256):
            self.result.present += 1
            # A restore that was killed while it gave the name left its own behind.
            self._target.discard(path)
            return There.EQUAL
        if not self._overwrite:
            self.result.problem(path, "something else is there and was not overwritten")
        elif stat.S_ISDIR(found.st_mode):
            self.result.problem(path, "a directory is there and was not overwritten")
        elif found.st_mtime_ns > attributes.mtime_ns:
            self.result.problem(path, "what is there is newer than the copy and was kept")
        else:
            return There.FREE
        return There.TAKEN

    def _is_there(
        self, path: bytes, found: os.stat_result, attributes: Attributes, sha256: bytes | None
    ) -> bool:
        if attributes.kind == SYMLINK:
            return stat.S_ISLNK(found.st_mode) and self._target.read_link(path) == attributes.target
        if attributes.kind != FILE:
            kinds = {"b": stat.S_ISBLK, "c": stat.S_ISCHR, "p": stat.S_ISFIFO}
            test = kinds.get(attributes.kind)
            return test is not None and test(found.st_mode) and found.st_rdev == attributes.rdev
        if not stat.S_ISREG(found.st_mode) or found.st_size != attributes.size:
            return False
        if sha256 is None:
            return found.st_mtime_ns // 1_000_000_000 == attributes.mtime_ns // 1_000_000_000
        return self._target.sha256(path) == sha256


def _complete(download: Download) -> str | None:
    """Give a file that ends with a hole its size; what went wrong, or None."""
    try:
        os.ftruncate(download.descriptor, download.size)
    except OSError as exc:
        return words(exc)
    return None


def _wrong(outcome: ReadOutcome, download: Download) -> str | None:
    """What is wrong with a file that was read, or None."""
    if download.error is not None:
        return words(download.error)
    if outcome.error is not None:
        return str(outcome.error)
    if outcome.attributes is None:
        return "the destination has no such file"
    if outcome.sha256 is None:
        return f"the destination has {outcome.attributes.size} bytes, {download.size} were sent"
    if download.sha256 is not None and outcome.sha256 != download.sha256.hex():
        return "the destination's content is damaged: its sha256 is not that of what was sent"
    return None


def words(error: OSError) -> str:
    """An error of the operating system for a person."""
    return error.strerror or str(error)
