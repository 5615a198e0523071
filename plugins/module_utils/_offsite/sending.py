# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sending the content of files, in batches that a kill can't spoil.

A file is written into a waiting place, and only when it is whole renamed to
its name; a file that was there is first given a second name in versions, so
that at no moment there is neither. After a batch the index records it. Killed
in between, the next run sends that batch again: nothing else follows.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import BackupError
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.bookkeeping import (
    store_object,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    Attributes,
    join,
    node_dataset,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import (
    ATTRIBUTE_COLUMNS,
    Index,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import (
    REPLACED,
    Layout,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.pieces import (
    emit,
    put_record,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.structure import (
    NewPaths,
    Reshaping,
    make_parents,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.tree import SnapshotTree
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import (
    BulkUpload,
    RemoteStore,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Attributes as RemoteAttributes,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Kind,
    UploadItem,
    UploadOutcome,
    storable_mtime,
)

BATCH_FILES = 1000
BATCH_BYTES = 1 << 30
READ_SIZE = 1 << 20


class Sources(Protocol):
    """The snapshots of this run, mounted when they are asked for."""

    def tree(self, dataset: int) -> SnapshotTree:
        """The snapshot of dataset number ``dataset``.

        Raises:
            SourceError: it can't be mounted.
        """

    def root(self, dataset: int) -> int:
        """The node of the root directory of dataset number ``dataset``."""


@dataclass(slots=True)
class Sent:
    """What was done, for the run record.

    ``homeless`` names files whose directory is not at the destination.
    """

    files: int = 0
    sent_bytes: int = 0
    linked: int = 0
    unchanged: int = 0
    problems: list[tuple[bytes, str]] = field(default_factory=list)
    homeless: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Name:
    """A file's name that still needs its content: a row of the index with its paths."""

    parent: int
    name: bytes
    node: int
    sha256: bytes | None
    size: int | None
    path: bytes


@dataclass(frozen=True, slots=True)
class Ready:
    """A waiting file that is whole: it may take its name."""

    name: Name
    attributes: Attributes
    waiting: bytes
    sha256: bytes


class Sending:
    """Sends what the index marks as pending.

    Args:
        index: the index; ``temp.changed`` holds the new attributes.
        store: the destination.
        bulk: sends the big files; may be the store itself.
        layout: remote paths of this run.
        sources: the snapshots.
        threshold: files of so many bytes or more are for ``bulk``.
        reshaping: sets aside what stands in the way.
        progress: called with (files, bytes) sent so far.
        first_waiting: number of the first waiting place.
    """

    def __init__(
        self,
        index: Index,
        store: RemoteStore,
        bulk: BulkUpload,
        layout: Layout,
        sources: Sources,
        *,
        threshold: int,
        reshaping: Reshaping,
        progress: Callable[[int, int], None],
        first_waiting: int,
    ) -> None:
        self._index = index
        self._db = index.db
        self._store = store
        self._bulk = bulk
        self._layout = layout
        self._sources = sources
        self._threshold = threshold
        self._reshaping = reshaping
        self._progress = progress
        self._prefixes: dict[int, bytes] = {}
        self._made: set[bytes] = set()
        self._waiting = first_waiting
        self._links = True
        self._adopting = index.get("adopting") is not None
        self.sent = Sent()

    @property
    def waiting(self) -> int:
        """The number of the last waiting place."""
        return self._waiting

    def settle_movers(self) -> None:
        """Find out which files under a new name still hold what is stored.

        A rename changes a file's ctime, so after a walk such a file may have
        changed. Reading it here is cheaper than sending it.
        """
        rows = self._db.execute(
            """
            SELECT changed.id, changed.size, link.sha256, came.parent, came.name
            FROM temp.changed JOIN temp.came USING (id) JOIN link USING (id)
            WHERE changed.content = 1 AND changed.kind = 'f'
              AND link.size = changed.size AND link.sha256 IS NOT NULL
            GROUP BY changed.id"""
        ).fetchall()
        paths = NewPaths(self._index)
        for node, dummy_size, sha256, parent, name in rows:
            path = join(paths.of(parent), name)
            if self._hash_at(node, path, self._prefix_of_new(node, paths)) == sha256:
                self._db.execute("UPDATE temp.changed SET content = 0 WHERE id = ?", (node,))

    def _prefix_of_new(self, node: int, paths: NewPaths) -> bytes:
        root = self._sources.root(node_dataset(node))
        return paths.of(root)

    def send_all(self) -> Sent:
        """Send every pending file once.

        Raises:
            DestinationError: the destination is full.
            TransportError: the connection broke.
        """
        last = -1
        while True:
            nodes = [
                row[0]
                for row in self._db.execute(
                    """
                    SELECT DISTINCT id FROM link WHERE version IS NULL AND id > ?
                    ORDER BY id LIMIT ?""",
                    (last, BATCH_FILES),
                )
            ]
            if not nodes:
                return self.sent
            for batch in self._batches(nodes):
                self._batch(batch)
            last = nodes[-1]

    def _batches(self, nodes: Sequence[int]) -> Iterator[list[tuple[Attributes, list[Name]]]]:
        """Files with their pending names, as much as belongs into one batch."""
        batch: list[tuple[Attributes, list[Name]]] = []
        size = 0
        for node in nodes:
            names = [
                Name(parent, name, node, sha256, length, join(self._index.path_of(parent), name))
                for parent, name, sha256, length in self._db.execute(
                    """
                    SELECT parent, name, sha256, size FROM link
                    WHERE id = ? AND version IS NULL ORDER BY parent, name""",
                    (node,),
                ).fetchall()
            ]
            attributes = self._attributes(node, names[0])
            if attributes is None:
                continue
            batch.append((attributes, names))
            size += attributes.size
            if size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _attributes(self, node: int, name: Name) -> Attributes | None:
        row = self._db.execute(
            f"SELECT {ATTRIBUTE_COLUMNS} FROM temp.changed WHERE id = ?", (node,)
        ).fetchone()
        if row is not None:
            return Attributes(*row)
        try:
            tree, path = self._source(node, name.path)
            return tree.attributes(path, tree.lstat(path))
        except (BackupError, OSError) as exc:
            self._problem(name.path, exc)
            return None

    def _problem(self, path: bytes, error: BaseException) -> None:
        if isinstance(error, RemoteError) and error.reason is Reason.FULL:
            raise error
        self.sent.problems.append((path, str(error)))

    def _source(self, node: int, path: bytes) -> tuple[SnapshotTree, bytes]:
        dataset = node_dataset(node)
        if dataset not in self._prefixes:
            self._prefixes[dataset] = self._index.path_of(self._sources.root(dataset))
        prefix = self._prefixes[dataset]
        return self._sources.tree(dataset), path[len(prefix) + 1 :] if prefix else path

    def _batch(self, batch: list[tuple[Attributes, list[Name]]]) -> None:
        uploads: list[tuple[Attributes, Name]] = []
        links: list[tuple[Attributes, Name, Name | None]] = []
        for attributes, rest in self._accept_unchanged(batch):
            stored = self._stored_name(rest[0].node) if self._links else None
            if stored is None:
                uploads.append((attributes, rest[0]))
                rest = rest[1:]
            if self._links:
                links.extend((attributes, name, stored) for name in rest)
            else:
                uploads.extend((attributes, name) for name in rest)
        self._record(self._place(self._upload(uploads)))
        if links:
            ready, refused = self._link(links)
            self._record(self._place(ready))
            self._record(self._place(self._upload(refused)))

    def _accept_unchanged(
        self, batch: list[tuple[Attributes, list[Name]]]
    ) -> list[tuple[Attributes, list[Name]]]:
        """Names whose stored content is what the file still holds need no sending; the others."""
        there = self._already_there(batch)
        same: list[Ready] = []
        taken_over: list[Ready] = []
        left: list[tuple[Attributes, list[Name]]] = []
        for attributes, names in batch:
            candidates = [name for name in names if name.sha256 and name.size == attributes.size]
            found = [name for name in names if name in there]
            if not candidates and not found:
                left.append((attributes, names))
                continue
            digest = self._hash((candidates or found)[0])
            if digest is None:
                continue
            kept = [name for name in candidates if name.sha256 == digest]
            same += [Ready(name, attributes, b"", digest) for name in kept]
            taken_over += [Ready(name, attributes, b"", digest) for name in found]
            rest = [name for name in names if name not in kept and name not in found]
            if rest:
                left.append((attributes, rest))
        self._store.setstat_many(
            (
                self._layout.path(item.name.path),
                RemoteAttributes(mtime=storable_mtime(item.attributes.mtime_ns / 1e9)),
            )
            for item in same
        )
        self.sent.unchanged += len(same) + len(taken_over)
        self._record(same, sent=False)
        # What was taken over counts as never read back: its content was not seen yet.
        self._record(taken_over)
        return left

    def _already_there(self, batch: list[tuple[Attributes, list[Name]]]) -> set[Name]:
        """While a destination is taken over: names that stand there with their size and time."""
        if not self._adopting:
            return set()
        asked = [
            (name, attributes.size, storable_mtime(attributes.mtime_ns / 1e9))
            for attributes, names in batch
            for name in names
            if name.sha256 is None
        ]
        outcomes = self._store.stat_many(self._layout.path(name.path) for name, *dummy in asked)
        return {
            name
            for (name, *wanted), outcome in zip(asked, outcomes, strict=True)
            if outcome.attributes is not None
            and outcome.attributes.kind is Kind.FILE
            and [outcome.attributes.size, outcome.attributes.mtime] == wanted
        }

    def _hash(self, name: Name) -> bytes | None:
        try:
            tree, path = self._source(name.node, name.path)
            return _hash_file(tree, path)
        except (BackupError, OSError) as exc:
            self._problem(name.path, exc)
            return None

    def _hash_at(self, node: int, path: bytes, prefix: bytes) -> bytes | None:
        tree = self._sources.tree(node_dataset(node))
        return _hash_file(tree, path[len(prefix) + 1 :] if prefix else path)

    def _stored_name(self, node: int) -> Name | None:
        """A name under which the destination holds this file's content already."""
        row = self._db.execute(
            """
            SELECT link.parent, link.name, link.sha256, link.size FROM link
            WHERE link.id = ? AND link.version IS NOT NULL AND link.sha256 IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM temp.changed AS new WHERE new.id = link.id
                              AND new.content > 0 AND new.ctime_ns != link.version)
            LIMIT 1""",
            (node,),
        ).fetchone()
        if row is None:
            return None
        parent, name, sha256, size = row
        return Name(parent, name, node, sha256, size, join(self._index.path_of(parent), name))

    def _upload(self, files: Sequence[tuple[Attributes, Name]]) -> list[Ready]:
        ready: list[Ready] = []

        def done(outcome: UploadOutcome) -> None:
            tag = outcome.item.tag
            if not isinstance(tag, tuple):
                raise TypeError(tag)
            attributes, name = tag
            if outcome.error is not None:
                self._problem(name.path, outcome.error)
                return
            self.sent.files += 1
            self.sent.sent_bytes += outcome.size
            self._progress(self.sent.files, self.sent.sent_bytes)
            ready.append(
                Ready(name, attributes, outcome.item.target, bytes.fromhex(outcome.sha256))
            )

        small = [pair for pair in files if pair[0].size < self._threshold]
        big = [pair for pair in files if pair[0].size >= self._threshold]
        if small:
            self._store.upload_many(map(self._item, small), done)
        if big:
            already = len(ready)
            self._bulk.upload_many(map(self._item, big), done)
            ready[already:] = self._finish_big(ready[already:])
        return ready

    def _finish_big(self, ready: list[Ready]) -> list[Ready]:
        """Set the times of big files, which not every program does, and ask for their sizes."""
        times = [
            (item.waiting, RemoteAttributes(mtime=storable_mtime(item.attributes.mtime_ns / 1e9)))
            for item in ready
        ]
        for item, outcome in zip(ready, self._store.setstat_many(times), strict=True):
            if outcome.error is not None:
                self._problem(item.name.path, outcome.error)
        whole = []
        stats = self._store.stat_many(item.waiting for item in ready)
        for item, found in zip(ready, stats, strict=True):
            size = None if found.attributes is None else found.attributes.size
            if size == item.attributes.size:
                whole.append(item)
            else:
                why = f"{size} of {item.attributes.size} bytes arrived; the next run sends it again"
                self.sent.problems.append((item.name.path, why))
        return whole

    def _item(self, file: tuple[Attributes, Name]) -> UploadItem:
        attributes, name = file
        tree, path = self._source(name.node, name.path)
        self._waiting += 1
        return UploadItem(
            source=lambda: tree.open(path),
            target=self._layout.staged(self._waiting),
            size=attributes.size,
            mtime=storable_mtime(attributes.mtime_ns / 1e9),
            tag=file,
        )

    def _link(
        self, links: list[tuple[Attributes, Name, Name | None]]
    ) -> tuple[list[Ready], list[tuple[Attributes, Name]]]:
        """Give files their further names at the destination, without sending them again."""
        pairs: list[tuple[bytes, bytes]] = []
        made: list[tuple[Attributes, Name, Name]] = []
        refused: list[tuple[Attributes, Name]] = []
        for attributes, name, known in links:
            stored = known or self._stored_name(name.node)
            if stored is None or stored.sha256 is None:
                # Its first name could not be sent; that is among the problems.
                continue
            self._waiting += 1
            pairs.append((self._layout.path(stored.path), self._layout.staged(self._waiting)))
            made.append((attributes, name, stored))
        ready: list[Ready] = []
        for (attributes, name, stored), (dummy, waiting), outcome in zip(
            made, pairs, self._store.hardlink_many(pairs), strict=True
        ):
            if outcome.ok and stored.sha256 is not None:
                self.sent.linked += 1
                ready.append(Ready(name, attributes, waiting, stored.sha256))
                continue
            if (
                isinstance(outcome.error, RemoteError)
                and outcome.error.reason is Reason.UNSUPPORTED
            ):
                self._links = False
            refused.append((attributes, name))
        return ready, refused

    def _place(self, ready: list[Ready]) -> list[Ready]:
        """Rename whole files to their names; what was there goes into versions first."""
        placed: list[Ready] = []
        replacing = [item for item in ready if item.name.sha256 is not None]
        self._keep_versions(replacing)
        for items, overwrite in (
            (replacing, True),
            ([item for item in ready if item.name.sha256 is None], False),
        ):
            pairs = [(item.waiting, self._layout.path(item.name.path)) for item in items]
            outcomes = self._store.rename_many(pairs, overwrite=overwrite)
            for item, pair, outcome in zip(items, pairs, outcomes, strict=True):
                error = outcome.error
                if isinstance(error, RemoteError) and error.reason is Reason.EXISTS:
                    self._reshaping.make_way(item.name.path)
                    error = self._store.rename_many([pair], overwrite=True)[0].error
                if isinstance(error, RemoteError) and error.reason is Reason.MISSING:
                    self.sent.homeless.append(item.name.path)
                elif error is not None:
                    self._problem(item.name.path, error)
                else:
                    placed.append(item)
        return placed

    def _keep_versions(self, items: list[Ready]) -> None:
        """Keep what is about to be replaced: by a second name if the server has links."""
        if not items:
            return
        pairs = [
            (
                self._layout.path(item.name.path),
                self._layout.version(REPLACED, item.name.path),
            )
            for item in items
        ]
        make_parents(self._store, self._layout, (new for dummy, new in pairs), self._made)
        outcomes = self._store.hardlink_many(pairs)
        unlinked = []
        for pair, outcome in zip(pairs, outcomes, strict=True):
            error = outcome.error
            if error is None or (isinstance(error, RemoteError) and error.reason is Reason.EXISTS):
                continue
            unlinked.append(pair)
        for pair, outcome in zip(
            unlinked, self._store.rename_many(unlinked, overwrite=True), strict=True
        ):
            error = outcome.error
            if isinstance(error, RemoteError) and error.reason is Reason.MISSING:
                self._reshaping.note(f"missing at the destination: {printable(pair[0])}")
            elif error is not None:
                raise error

    def _record(self, items: list[Ready], *, sent: bool = True) -> None:
        """Write into the index what the destination holds now."""
        if not items:
            return
        with self._index.transaction() as db:
            for item in items:
                name, attributes = item.name, item.attributes
                db.execute(
                    """
                    UPDATE link SET sha256 = ?, size = ?, version = ?,
                      read_at = CASE WHEN ? THEN 0 ELSE read_at END
                    WHERE parent = ? AND name = ? AND id = ?""",
                    (
                        item.sha256,
                        attributes.size,
                        attributes.ctime_ns,
                        sent,
                        name.parent,
                        name.name,
                        name.node,
                    ),
                )
                racy = db.execute(
                    "SELECT racy FROM temp.changed WHERE id = ?", (name.node,)
                ).fetchone()
                flag = bool(racy[0]) if racy else True
                waiting = db.execute(
                    "SELECT 1 FROM link WHERE id = ? AND version IS NULL", (name.node,)
                ).fetchone()
                if waiting is None:
                    store_object(db, name.node, attributes, flag)
                emit(
                    self._index,
                    put_record(name.path, name.node, attributes, flag, item.sha256),
                )


def _hash_file(tree: SnapshotTree, path: bytes) -> bytes:
    digest = hashlib.sha256()
    with os.fdopen(tree.open(path), "rb", buffering=0) as handle:
        while chunk := handle.read(READ_SIZE):
            digest.update(chunk)
    return digest.digest()
