# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs have deleted or replaced: which versions there are, and bringing them back.

A version is content only: SFTP keeps a file's time (whole seconds), neither its
owner nor its mode, and the index knows what is in the tree now.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import DestinationError
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.download import (
    Download,
    Downloads,
    Fetched,
    Progress,
    There,
    words,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    FILE,
    Attributes,
    join,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import (
    DAMAGED,
    DELETED,
    PARTIAL,
    REPLACED,
    STRAY,
    Layout,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.marker import run_time
from ansible_collections.homelab.backup.plugins.module_utils._offsite.target import TargetTree
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import RemoteError
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Attributes as RemoteAttributes,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import Kind

REASONS = (DELETED, REPLACED, STRAY, DAMAGED, PARTIAL)
FILE_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Version:
    """Something that the run ``run`` moved out of the tree for ``reason``."""

    run: bytes
    reason: bytes
    is_directory: bool
    size: int
    mtime: int


def list_runs(store: RemoteStore, layout: Layout) -> list[bytes]:
    """The ids of the runs that have versions, the newest first.

    Raises:
        DestinationError: the versions directory can't be read.
    """
    names = (entry.path for entry in store.list_dir(layout.versions))
    return sorted((name for name in names if run_time(name) is not None), reverse=True)


def find_versions(store: RemoteStore, layout: Layout, path: bytes) -> Iterator[Version]:
    """Every version of ``path`` (as it was in the tree), the newest first.

    Raises:
        DestinationError: a directory can't be read.
    """
    places = [(run, reason) for run in list_runs(store, layout) for reason in REASONS]
    paths = [b"/".join((layout.versions, run, reason, path)) for run, reason in places]
    for (run, reason), outcome in zip(places, store.stat_many(paths), strict=True):
        if outcome.error is not None:
            raise outcome.error
        found = outcome.attributes
        if found is not None:
            yield Version(run, reason, found.is_directory, found.size or 0, found.mtime or 0)


class FetchVersion:
    """Brings back what one run moved out of the tree.

    Args:
        store: the destination.
        layout: of the job.
        target: where the tree's paths begin.
        run: the run's id.
        reason: one of ``REASONS``.
        overwrite: replace what is there, unless it is newer.
        progress: called with (files, bytes) so far.
    """

    def __init__(
        self,
        store: RemoteStore,
        layout: Layout,
        target: TargetTree,
        *,
        run: bytes,
        reason: bytes,
        overwrite: bool,
        progress: Progress,
    ) -> None:
        self._store = store
        self._base = b"/".join((layout.versions, run, reason))
        self._target = target
        self._downloads = Downloads(store, target, overwrite=overwrite, progress=progress)
        self._result = self._downloads.result

    def run(self, paths: Sequence[bytes]) -> Fetched:
        """Bring back each path with all beneath it.

        Raises:
            DestinationError: there is no such version.
            SourceError: the target is full or read-only.
            TransportError: the connection broke.
        """
        [there] = self._store.stat_many([self._base])
        if there.attributes is None:
            raise there.error or DestinationError(
                "find the version",
                on=printable(self._base),
                found="there is no such directory",
                remedy="'versions PATH' lists what there is of a path",
            )
        self._downloads.read(self._files(paths))
        os.sync()
        self._result.notes.append(
            "a version has content and time only: owners and modes are this user's"
        )
        return self._result

    def _files(self, paths: Sequence[bytes]) -> Iterator[Download]:
        remote = [join(self._base, path) if path else self._base for path in paths]
        for path, outcome in zip(paths, self._store.stat_many(remote), strict=True):
            if outcome.error is not None:
                self._result.problem(path, str(outcome.error))
            elif outcome.attributes is None:
                self._result.problem(path, "this version has no such name")
            else:
                yield from self._below(path, outcome.path, outcome.attributes)

    def _below(
        self, path: bytes, remote: bytes, attributes: RemoteAttributes
    ) -> Iterator[Download]:
        parts = path.split(b"/")
        for count in range(1, len(parts)):
            if not self._directory(b"/".join(parts[:count])):
                return
        yield from self._one(path, remote, attributes)
        if not attributes.is_directory:
            return

        def unreadable(error: RemoteError) -> None:
            self._result.problem(error.path, str(error))

        for entry in self._store.list_tree(remote, on_error=unreadable):
            below = join(path, entry.path)
            yield from self._one(below, join(remote, entry.path), entry.attributes)

    def _one(self, path: bytes, remote: bytes, found: RemoteAttributes) -> Iterator[Download]:
        if found.is_directory:
            self._directory(path)
            return
        if found.kind is not Kind.FILE or found.size is None:
            self._result.problem(path, "it is no file")
            return
        attributes = Attributes(
            FILE,
            FILE_MODE,
            os.geteuid(),
            os.getegid(),
            found.size,
            (found.mtime or 0) * 1_000_000_000,
            0,
        )
        try:
            free = self._downloads.look(path, attributes, None) is There.FREE
        except OSError as exc:
            self._result.problem(path, words(exc))
            return
        if free:
            yield Download(path, remote, found.size, None, attributes)

    def _directory(self, path: bytes) -> bool:
        if not path:
            return True
        try:
            self._result.directories += self._target.make_directory(path)
        except OSError as exc:
            self._result.problem(path, words(exc))
            return False
        return True
