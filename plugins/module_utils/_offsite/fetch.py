# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring files from the destination, with everything that the index knows of them.

Files are read many at a time and checked against the sha256 that was sent.
One file's failure stops no other. Nothing that is there is overwritten unless
that was asked for, and nothing newer than the copy even then. Killed at any
point, the same restore run again completes it: what is there already and equal
is not read again.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence

from ansible_collections.homelab.backup.plugins.module_utils._offsite.download import (
    Download,
    Downloads,
    Fetched,
    Progress,
    There,
    words,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    DIRECTORY,
    FILE,
    SPECIAL_WORDS,
    SYMLINK,
    Attributes,
    depth,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index_walk import (
    Listed,
    find,
    walk,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._offsite.target import TargetTree
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore

SOCKET = "s"


class Fetch:
    """Restores what the index names, with its metadata.

    Args:
        store: the destination.
        layout: of the job.
        index: the job's.
        target: where the tree's paths begin.
        overwrite: replace what is there, unless it is newer; existing directories get
            their attributes, too.
        progress: called with (files, bytes) so far.
    """

    def __init__(
        self,
        store: RemoteStore,
        layout: Layout,
        index: Index,
        target: TargetTree,
        *,
        overwrite: bool,
        progress: Progress,
    ) -> None:
        self._layout = layout
        self._index = index
        self._target = target
        self._overwrite = overwrite
        self._downloads = Downloads(store, target, overwrite=overwrite, progress=progress)
        self._result = self._downloads.result
        self._groups: set[int] = set()
        self._further: list[Listed] = []
        self._sockets = 0
        self._copied = 0

    def run(self, paths: Sequence[bytes]) -> Fetched:
        """Restore each path with all beneath it; ``b""`` is the whole tree.

        Raises:
            SourceError: the target is full or read-only.
            TransportError: the connection broke.
        """
        starts = []
        for path in paths:
            found = find(self._index, path)
            if found is None:
                self._result.problem(path, "the copy has no such name")
            else:
                starts.append(found)
        self._downloads.read(self._descend(starts))
        while self._further:
            further, self._further = self._further, []
            self._downloads.read(self._further_names(further))
        self._finish_directories()
        os.sync()
        self._result.notes.extend(self._notes())
        return self._result

    def _notes(self) -> Iterator[str]:
        if not self._target.owners:
            yield "not run as root: owners are this user's, set-id bits were left out"
        if self._result.older:
            yield (
                f"{self._result.older} files have an older content: the newer one had not reached "
                "the destination"
            )
        if self._sockets:
            yield f"{self._sockets} sockets were left out: their services make them anew"
        if self._copied:
            yield f"{self._copied} hard links became files of their own: the target can't link them"

    def _descend(self, starts: Iterable[Listed]) -> Iterator[Download]:
        """Make everything but files; gives the files to be read."""
        for start in starts:
            blocked: bytes | None = None
            if not self._make_parents(start.path):
                continue
            for listed in walk(self._index, start):
                if blocked is not None and listed.path.startswith(blocked):
                    continue
                try:
                    download = self._one(listed)
                except OSError as exc:
                    self._result.problem(listed.path, words(exc))
                    if listed.is_directory and listed.path:
                        blocked = listed.path + b"/"
                    continue
                if download is not None:
                    yield download

    def _make_parents(self, path: bytes) -> bool:
        parts = path.split(b"/")[:-1]
        for count in range(1, len(parts) + 1):
            above = b"/".join(parts[:count])
            try:
                self._target.make_directory(above)
            except OSError as exc:
                self._result.problem(path, f"{os.fsdecode(above)}: {words(exc)}")
                return False
        return True

    def _one(self, listed: Listed) -> Download | None:
        """Make one thing; returns it when it is a file that has to be read."""
        attributes = listed.attributes
        if attributes is None:
            self._result.problem(listed.path, "the index knows nothing about it yet")
            return None
        if attributes.kind == DIRECTORY:
            self._directory(listed.path)
            return None
        stored = listed.stored
        if attributes.kind == FILE and stored is None:
            self._result.problem(listed.path, "its content has not reached the destination yet")
            return None
        if stored is not None and stored.size != attributes.size:
            attributes = dataclasses.replace(attributes, size=stored.size)
        sha256 = stored.sha256 if stored is not None else None
        there = self._downloads.look(listed.path, attributes, sha256)
        if there is There.EQUAL and attributes.kind == FILE:
            self._downloads.whole.setdefault(listed.node, (listed.path, sha256))
        if there is not There.FREE:
            return None
        if attributes.kind != FILE:
            self._other(listed.path, attributes)
            return None
        if self._has_more_names(listed.node):
            if listed.node in self._groups:
                self._further.append(listed)
                return None
            self._groups.add(listed.node)
        return self._download(listed)

    def _directory(self, path: bytes) -> None:
        if self._target.make_directory(path) if path else self._target.created:
            self._result.directories += 1
        elif self._overwrite:
            self._target.made.add(path)

    def _other(self, path: bytes, attributes: Attributes) -> None:
        if attributes.kind == SOCKET:
            self._sockets += 1
            return
        try:
            self._target.create_other(path, attributes)
            complaints = self._target.set_waiting_attributes(path, attributes)
            self._target.commit(path, overwrite=self._overwrite)
        except OSError as exc:
            self._target.discard(path)
            what = SPECIAL_WORDS.get(attributes.kind, "symlink")
            self._result.problem(path, f"the {what} could not be made: {words(exc)}")
            return
        if attributes.kind == SYMLINK:
            self._result.symlinks += 1
        else:
            self._result.special += 1
        self._downloads.complain(path, complaints)

    def _has_more_names(self, node: int) -> bool:
        rows = self._index.db.execute("SELECT 1 FROM link WHERE id = ? LIMIT 2", (node,)).fetchall()
        return len(rows) > 1

    def _download(self, listed: Listed) -> Download:
        stored, attributes = listed.stored, listed.attributes
        if stored is None or attributes is None:
            raise TypeError(listed)
        if stored.version is None:
            self._result.older += 1
        return Download(
            listed.path,
            self._layout.path(listed.path),
            stored.size,
            stored.sha256,
            attributes,
            listed.node,
        )

    def _further_names(self, names: Sequence[Listed]) -> Iterator[Download]:
        """Link further names of restored files; gives those that have to be read after all."""
        tried: set[int] = set()
        for listed in names:
            first = self._downloads.whole.get(listed.node)
            if first is None:
                # The name that was tried before could not be restored.
                if listed.node in tried:
                    self._further.append(listed)
                    continue
                tried.add(listed.node)
                yield self._download(listed)
            elif not self._link(listed, *first):
                yield self._download(listed)

    def _link(self, listed: Listed, existing: bytes, sha256: bytes | None) -> bool:
        """Make a hard link; False when the content is another, or the file system won't."""
        if listed.stored is None or listed.stored.sha256 != sha256:
            return False
        try:
            self._target.create_link(listed.path, existing)
            self._target.commit(listed.path, overwrite=self._overwrite)
        except OSError:
            # Another file system, or none with links: a copy is as good a restore as there is.
            self._target.discard(listed.path)
            self._copied += 1
            return False
        self._result.linked += 1
        return True

    def _finish_directories(self) -> None:
        """Owner, mode and times of directories, after all that is in them, the deepest first."""
        for path in sorted(self._target.made, key=depth, reverse=True):
            listed = find(self._index, path)
            if listed is None or listed.attributes is None or not listed.is_directory:
                continue
            try:
                complaints = self._target.set_attributes(path, listed.attributes)
            except OSError as exc:
                self._result.problem(path, words(exc))
                continue
            self._downloads.complain(path, complaints)
