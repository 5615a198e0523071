# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playing the records back: they make the index again."""

from __future__ import annotations

import sqlite3

from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    DIRECTORY,
    FILE,
    Attributes,
    join,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import (
    Index,
    attribute_values,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.pieces import (
    DatasetRecord,
    DropRecord,
    NodeRecord,
    Place,
    PutRecord,
    Record,
    RenameRecord,
)

# No node has these ids. What waits below the first is outside the tree; the
# second stands for the tree's root until a record says which node that is.
WAITING = -1
UNNAMED_ROOT = -2
MOST_KNOWN = 20_000


class Replay:
    """Applies records to an index, in order.

    Args:
        index: to be changed; the caller holds the transaction.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._db = index.db
        self._root = int(index.get("root") or UNNAMED_ROOT)
        self._known: dict[bytes, int] = {}

    def apply(self, record: Record) -> None:
        """Apply one record.

        Raises:
            ValueError: it contradicts what came before it; the text says how.
        """
        try:
            match record:
                case PutRecord():
                    self._put(record)
                case NodeRecord(node, attributes, racy):
                    self._store(node, attributes, racy)
                case RenameRecord(old, new):
                    self._rename(old, new)
                case DropRecord(path):
                    self._drop(path)
                case DatasetRecord():
                    self._dataset(record)
        except (sqlite3.IntegrityError, OverflowError) as exc:
            raise ValueError(f"the index refuses it: {exc}") from exc

    def finish(self) -> None:
        """Forget what is not in the tree, and mark names whose content is out of date.

        A file's names are sent one after the other. Where the records end in
        between, a name still holds older content than another one of the same node.
        """
        self._forget_unreachable()
        self._forget_datasets()
        self._db.execute(
            """
            UPDATE link SET version = NULL WHERE sha256 IS NOT NULL AND EXISTS (
              SELECT 1 FROM link AS newer WHERE newer.id = link.id
                AND newer.version > link.version AND newer.sha256 != link.sha256)"""
        )
        self._db.execute(
            """
            DELETE FROM object WHERE id != ?
              AND NOT EXISTS (SELECT 1 FROM link WHERE link.id = object.id)
              AND id NOT IN (SELECT root FROM dataset WHERE root IS NOT NULL)""",
            (self._root,),
        )

    def _forget_datasets(self) -> None:
        """Datasets that are no longer in the tree."""
        self._db.execute(
            """
            DELETE FROM dataset WHERE root IS NOT NULL AND root != ?
              AND NOT EXISTS (SELECT 1 FROM link WHERE link.id = dataset.root)""",
            (self._root,),
        )

    def _forget_unreachable(self) -> None:
        self._db.execute("CREATE TEMP TABLE IF NOT EXISTS in_tree(id INTEGER PRIMARY KEY)")
        self._db.execute("DELETE FROM temp.in_tree")
        self._db.execute(
            """
            INSERT INTO temp.in_tree
            WITH RECURSIVE tree(id) AS (
              VALUES(?)
              UNION
              SELECT link.id FROM tree JOIN link ON link.parent = tree.id
                JOIN object ON object.id = link.id AND object.kind = 'd')
            SELECT id FROM tree""",
            (self._root,),
        )
        self._db.execute("DELETE FROM link WHERE parent NOT IN (SELECT id FROM temp.in_tree)")
        self._db.execute("DELETE FROM temp.in_tree")

    def _put(self, record: PutRecord) -> None:
        node, attributes = record.node, record.attributes
        if not record.path:
            self._put_root(node, attributes)
        else:
            parent, name = self._place(record.path)
            known = self._named(parent, name)
            if known is not None and known != node:
                self._remove(parent, name, known)
            if attributes.kind == DIRECTORY and known != node:
                # A directory has one name only.
                self._db.execute("DELETE FROM link WHERE id = ?", (node,))
                self._known.clear()
            self._db.execute(
                "INSERT OR REPLACE INTO link VALUES (?, ?, ?, ?, ?, ?, ?)",
                (parent, name, node, *_content(record)),
            )
        self._store(node, attributes, record.racy)

    def _put_root(self, node: int, attributes: Attributes) -> None:
        if attributes.kind != DIRECTORY:
            raise ValueError("the root of the tree is no directory")
        if self._root != node:
            # Directories may be recorded before the root above them is.
            self._db.execute("UPDATE link SET parent = ? WHERE parent = ?", (node, self._root))
            self._known.clear()
        self._root = node
        self._index.put("root", str(node))

    def _store(self, node: int, attributes: Attributes, racy: bool) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (node, *attribute_values(attributes), int(racy)),
        )

    def _rename(self, old: Place, new: Place) -> None:
        old_parent, old_name = self._place(old)
        node = self._named(old_parent, old_name)
        if node is None:
            raise ValueError(f"{_words(old)} is renamed but not there")
        parent, name = self._place(new)
        if (parent, name) == (old_parent, old_name):
            return
        replaced = self._named(parent, name)
        if replaced is not None:
            self._remove(parent, name, replaced)
        self._db.execute(
            "UPDATE link SET parent = ?, name = ? WHERE parent = ? AND name = ?",
            (parent, name, old_parent, old_name),
        )
        if self._index.is_directory(node):
            self._known.clear()

    def _drop(self, path: Place) -> None:
        """Names that never got so far as to be put are dropped, too: that is no contradiction."""
        parent, name = self._place(path)
        node = self._named(parent, name)
        if node is not None:
            self._remove(parent, name, node)

    def _remove(self, parent: int, name: bytes, node: int) -> None:
        self._db.execute("DELETE FROM link WHERE parent = ? AND name = ?", (parent, name))
        if self._index.is_directory(node):
            self._index.drop_subtree(node)
            self._known.clear()
            return
        self._db.execute(
            """
            DELETE FROM object WHERE id = ?
              AND NOT EXISTS (SELECT 1 FROM link WHERE link.id = object.id)""",
            (node,),
        )

    def _dataset(self, record: DatasetRecord) -> None:
        self._db.execute(
            "DELETE FROM dataset WHERE guid = ? AND id != ?", (record.guid, record.number)
        )
        self._db.execute(
            """
            INSERT INTO dataset(id, guid, name, root) VALUES (?, ?, ?, ?)
            ON CONFLICT(id) DO UPDATE SET guid = excluded.guid, name = excluded.name,
              root = coalesce(excluded.root, root)""",
            (record.number, record.guid, record.name, record.root),
        )

    def _named(self, parent: int, name: bytes) -> int | None:
        row = self._db.execute(
            "SELECT id FROM link WHERE parent = ? AND name = ?", (parent, name)
        ).fetchone()
        return None if row is None else int(row[0])

    def _place(self, place: Place) -> tuple[int, bytes]:
        if isinstance(place, int):
            return WAITING, b"%d" % place
        if not place:
            raise ValueError("the root of the tree can be neither renamed nor dropped")
        above, slash, name = place.rpartition(b"/")
        if not name or b"\0" in place or (slash and not above):
            raise ValueError(f"not a path in the tree: {printable(place)}")
        return self._directory(above), name

    def _directory(self, path: bytes) -> int:
        known = path
        while known and known not in self._known:
            known = known.rpartition(b"/")[0]
        node = self._known[known] if known else self._root
        for name in path[len(known) :].split(b"/"):
            if not name:
                continue
            known = join(known, name)
            child = self._named(node, name)
            if child is None:
                raise ValueError(f"the directory {printable(known)} is not there")
            node = child
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[known] = node
        return node


def _content(record: PutRecord) -> tuple[bytes | None, int | None, int | None, int | None]:
    """The columns sha256, size, version and read_at of a link."""
    if record.attributes.kind != FILE:
        return None, None, 0, None
    if record.stored is None:
        return None, None, None, None
    return record.stored.sha256, record.stored.size, record.stored.version, 0


def _words(place: Place) -> str:
    return f"waiting place {place}" if isinstance(place, int) else printable(place)
