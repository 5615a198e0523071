# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The weekly look at everything: the whole remote tree listed and held against the index.

Each repair is a finding, because there should be none: something other than
the runs wrote to the destination, or lost what they wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    DIRECTORY,
    FILE,
    depth,
    join,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import (
    Layout,
    is_foreign,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.structure import Reshaping
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    LISTED_PATH_LIMIT,
    Attributes,
    Entry,
    Kind,
    ReadItem,
    storable_mtime,
)

BATCH = 1000

# node, kind, size, sha256, version, mtime_ns; all but the node may be NULL
Row: TypeAlias = "tuple[int, str | None, int | None, bytes | None, int | None, int | None]"


@dataclass(slots=True)
class Reconciled:
    """What was found, for the run record."""

    listed: int = 0
    strays: list[bytes] = field(default_factory=list)
    missing: list[bytes] = field(default_factory=list)
    different: list[bytes] = field(default_factory=list)
    times: int = 0


class Reconciling:
    """Compares the remote tree with the index and marks what has to be sent again.

    Args:
        index: the index.
        store: the destination.
        layout: remote paths.
        reshaping: sets strays aside.
        report: told of each finding.
    """

    def __init__(
        self,
        index: Index,
        store: RemoteStore,
        layout: Layout,
        reshaping: Reshaping,
        report: Callable[[str], None],
    ) -> None:
        self._index = index
        self._db = index.db
        self._store = store
        self._layout = layout
        self._reshaping = reshaping
        self._report = report
        self._nodes: dict[bytes, int] = {}
        self._result = Reconciled()
        self._seen: list[tuple[int, bytes]] = []
        self._doubtful: list[tuple[int, bytes, bytes, int, bytes, int]] = []
        self._strays: list[bytes] = []

    def run(self) -> Reconciled:
        """List, compare, set strays aside, make missing directories, mark files to be sent."""
        self._db.execute(
            """
            CREATE TEMP TABLE IF NOT EXISTS seen(
              parent INTEGER NOT NULL, name BLOB NOT NULL,
              PRIMARY KEY(parent, name)) WITHOUT ROWID"""
        )
        self._db.execute("DELETE FROM temp.seen")
        self._nodes = {b"": int(self._index.get("root") or 0)}
        for entry in self._store.list_tree(self._layout.tree, skip=self._skip):
            self._result.listed += 1
            self._entry(entry)
            if len(self._seen) >= BATCH:
                self._note_seen()
            if len(self._doubtful) >= BATCH:
                self._settle_doubtful()
        self._note_seen()
        self._settle_doubtful()
        for path in self._strays:
            self._reshaping.set_aside(path)
        self._result.strays = self._strays
        self._restore_missing()
        return self._result

    def _skip(self, path: bytes, attributes: Attributes) -> bool:
        """True for what isn't descended into: the NAS' own, and strays (noted here)."""
        parent, dummy, name = path.rpartition(b"/")
        row = self._row(parent, name)
        # The source may have things of these names, too; those are looked at as any other.
        if row is None and any(map(is_foreign, path.split(b"/"))):
            return True
        if not attributes.is_directory:
            return False
        if row is not None and row[1] == DIRECTORY:
            if len(self._nodes) > 200_000:
                self._nodes = {b"": self._nodes[b""]}
            self._nodes[path] = row[0]
            return False
        self._strays.append(path)
        return True

    def _node(self, path: bytes) -> int | None:
        known = self._nodes.get(path)
        if known is not None or not path:
            return known
        parent, dummy, name = path.rpartition(b"/")
        row = self._row(parent, name)
        return None if row is None or row[1] != DIRECTORY else int(row[0])

    def _row(self, parent: bytes, name: bytes) -> Row | None:
        """(node, kind, size, sha256, version, mtime_ns) of a name in the index."""
        node = self._node(parent)
        if node is None:
            return None
        row: Row | None = self._db.execute(
            """
            SELECT link.id, object.kind, link.size, link.sha256, link.version, object.mtime_ns
            FROM link LEFT JOIN object ON object.id = link.id
            WHERE link.parent = ? AND link.name = ?""",
            (node, name),
        ).fetchone()
        return row

    def _entry(self, entry: Entry) -> None:
        parent, dummy, name = entry.path.rpartition(b"/")
        above = self._node(parent)
        row = self._row(parent, name)
        kind = entry.attributes.kind
        if row is None or above is None or (kind is Kind.DIRECTORY) != (row[1] == DIRECTORY):
            self._strays.append(entry.path)
            return
        dummy_node, indexed, size, sha256, version, mtime_ns = row
        if indexed == DIRECTORY:
            self._seen.append((above, name))
            return
        if sha256 is None or kind is not Kind.FILE or indexed not in (FILE, None):
            self._strays.append(entry.path)
            return
        self._seen.append((above, name))
        attributes = entry.attributes
        if attributes.size != size:
            self._result.different.append(entry.path)
            self._doubt(above, name)
        elif (
            version is not None
            and size is not None
            and mtime_ns is not None
            and attributes.mtime != storable_mtime(mtime_ns / 1e9)
        ):
            self._doubtful.append((above, name, entry.path, size, sha256, mtime_ns))

    def _note_seen(self) -> None:
        self._db.executemany("INSERT OR IGNORE INTO temp.seen VALUES (?, ?)", self._seen)
        self._seen.clear()

    def _doubt(self, parent: int, name: bytes) -> None:
        """Count a name as not stored, so that it is sent again."""
        self._db.execute(
            """
            UPDATE link SET version = NULL, sha256 = NULL, size = NULL, read_at = NULL
            WHERE parent = ? AND name = ?""",
            (parent, name),
        )

    def _settle_doubtful(self) -> None:
        """Same size, other time: the content tells; if that is the same, set the time right."""
        rows = {self._layout.path(row[2]): row for row in self._doubtful}
        good: list[tuple[bytes, Attributes]] = []
        for outcome in self._store.read_many(ReadItem(path, row[3]) for path, row in rows.items()):
            row = rows[outcome.item.path]
            if outcome.error is None and outcome.sha256 == row[4].hex():
                good.append((outcome.item.path, Attributes(mtime=storable_mtime(row[5] / 1e9))))
            else:
                self._result.different.append(row[2])
                self._doubt(row[0], row[1])
        self._store.setstat_many(good)
        self._result.times += len(good)
        self._doubtful.clear()

    def _restore_missing(self) -> None:
        """Directories that are gone are made again, files that are gone marked to be sent."""
        rows = self._db.execute(
            """
            SELECT link.parent, link.name, object.kind FROM link JOIN object ON object.id = link.id
            WHERE (object.kind = 'd' OR link.sha256 IS NOT NULL)
              AND NOT EXISTS (SELECT 1 FROM temp.seen
                              WHERE seen.parent = link.parent AND seen.name = link.name)"""
        ).fetchall()
        found = [(join(self._index.path_of(row[0]), row[1]), row) for row in rows]
        found = self._really_missing(found)
        directories = sorted((path for path, row in found if row[2] == DIRECTORY), key=depth)
        for level in sorted({depth(path) for path in directories}):
            batch = [self._layout.path(path) for path in directories if depth(path) == level]
            for outcome in self._store.mkdir_many(batch, exist_ok=True):
                if outcome.error is not None:
                    raise outcome.error
        with self._index.transaction():
            for path, row in found:
                self._result.missing.append(path)
                if row[2] != DIRECTORY:
                    self._doubt(row[0], row[1])

    def _really_missing(
        self, found: list[tuple[bytes, tuple[int, bytes, str]]]
    ) -> list[tuple[bytes, tuple[int, bytes, str]]]:
        """A listing leaves out very long paths: those are asked for one by one."""
        short: list[tuple[bytes, tuple[int, bytes, str]]] = []
        long: list[tuple[bytes, tuple[int, bytes, str]]] = []
        for item in found:
            listed = len(self._layout.path(item[0])) <= LISTED_PATH_LIMIT
            (short if listed else long).append(item)
        outcomes = self._store.stat_many(self._layout.path(path) for path, dummy in long)
        short.extend(
            item
            for item, outcome in zip(long, outcomes, strict=True)
            if outcome.error is None and outcome.attributes is None
        )
        return short


def describe(result: Reconciled) -> list[str]:
    """Findings of a reconcile, as sentences."""
    found = [f"missing at the destination: {printable(path)}" for path in result.missing]
    found.extend(
        f"changed at the destination, sent again: {printable(path)}" for path in result.different
    )
    if result.times:
        found.append(f"{result.times} files had another time at the destination; it was set right")
    return found
