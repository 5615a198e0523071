# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Changes of a real index as a run makes them: the rows and the record in one transaction."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    DIRECTORY,
    FILE,
    Attributes,
    join,
    node_id,
    pack_xattrs,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import (
    ATTRIBUTE_COLUMNS,
    Index,
    attribute_values,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.pieces import (
    dataset_record,
    drop_record,
    emit,
    node_record,
    put_record,
    rename_record,
)

NAMES = (b"a", b"b", b"c", "ä".encode(), b"\xff\n", b"d" * 200)


class IndexModel:
    """An index that is changed at random.

    Args:
        path: of the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self.index = Index(path)
        self._clock = 1_700_000_000_000_000_000
        self._number = 34
        self._datasets = 0
        root = self.new_dataset("main")
        with self.index.transaction():
            self.index.put("root", str(root))
            self._store(root, DIRECTORY)
            emit(self.index, put_record(b"", root, self.attributes(root), False))

    def new_dataset(self, name: str) -> int:
        """A further dataset; returns its root's node."""
        self._datasets += 1
        number = self._datasets
        root = node_id(number, 34)
        with self.index.transaction() as db:
            guid = str(7_000_000_000_000_000_000 + number)
            db.execute(
                "INSERT INTO dataset(id, guid, name, root) VALUES (?, ?, ?, ?)",
                (number, guid, name, root),
            )
            emit(self.index, dataset_record(number, guid, name, root))
        return root

    def tick(self) -> int:
        """A new time, in ns."""
        self._clock += 1_000_000_007
        return self._clock

    def links(self, kind: str = "") -> list[tuple[int, bytes, int]]:
        """(parent, name, node) of every name, of one kind."""
        return self.index.db.execute(
            """
            SELECT parent, name, link.id FROM link JOIN object ON object.id = link.id
            WHERE ? IN ('', object.kind) ORDER BY parent, name""",
            (kind,),
        ).fetchall()

    def directories(self) -> list[int]:
        """Nodes of all directories, the root's first."""
        root = int(self.index.get("root") or 0)
        return [root, *(node for dummy, dummy_name, node in self.links(DIRECTORY))]

    def path(self, parent: int, name: bytes) -> bytes:
        """The path of a name."""
        return join(self.index.path_of(parent), name)

    def attributes(self, node: int) -> Attributes:
        """What the index has for ``node``."""
        row = self.index.db.execute(
            f"SELECT {ATTRIBUTE_COLUMNS} FROM object WHERE id = ?", (node,)
        ).fetchone()
        return Attributes(*row)

    def _store(self, node: int, kind: str, size: int = 0, *, racy: bool = False) -> Attributes:
        now = self.tick()
        attributes = Attributes(
            kind,
            0o600 + now % 0o177,
            now % 70000,
            now % 300,
            size if kind == FILE else 0,
            now - 5,
            now,
            rdev=0x0801 if kind in "bc" else 0,
            target=b"../x\xfe" if kind == "l" else None,
            xattrs=pack_xattrs({"user.n": b"%d" % now}) if now % 3 == 0 else None,
        )
        self.index.db.execute(
            "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (node, *attribute_values(attributes), int(racy)),
        )
        return attributes

    def add(self, directory: int, name: bytes, kind: str, dataset_root: int | None = None) -> None:
        """A new name for a new node."""
        if self._taken(directory, name):
            return
        self._number += 1
        node = dataset_root or node_id(directory >> 48, self._number)
        with self.index.transaction() as db:
            attributes = self._store(node, kind, self._number, racy=self._number % 5 == 0)
            path = self.path(directory, name)
            racy = self._number % 5 == 0
            if kind != FILE:
                db.execute(
                    "INSERT INTO link VALUES (?, ?, ?, NULL, NULL, 0, NULL)",
                    (directory, name, node),
                )
                emit(self.index, put_record(path, node, attributes, racy))
                return
            sha256 = hashlib.sha256(b"%d" % self._number).digest()
            db.execute(
                "INSERT INTO link VALUES (?, ?, ?, ?, ?, ?, 0)",
                (directory, name, node, sha256, attributes.size, attributes.ctime_ns),
            )
            emit(self.index, put_record(path, node, attributes, racy, sha256))

    def hard_link(self, directory: int, name: bytes, old: tuple[int, bytes, int]) -> None:
        """A further name for a file."""
        if self._taken(directory, name) or directory >> 48 != old[2] >> 48:
            return
        with self.index.transaction() as db:
            row = db.execute(
                "SELECT sha256, size, version FROM link WHERE parent = ? AND name = ?", old[:2]
            ).fetchone()
            db.execute(
                "INSERT INTO link VALUES (?, ?, ?, ?, ?, ?, 0)", (directory, name, old[2], *row)
            )
            sha256, size, version = row
            record = put_record(
                self.path(directory, name),
                old[2],
                self.attributes(old[2]),
                self._racy(old[2]),
                sha256,
                stored_size=size,
                version=version,
            )
            emit(self.index, record)

    def rewrite(self, node: int) -> None:
        """New content under all names of a file."""
        with self.index.transaction() as db:
            now = self.tick()
            attributes = self._store(node, FILE, now % 1000)
            sha256 = hashlib.sha256(b"%d" % now).digest()
            db.execute(
                "UPDATE link SET sha256 = ?, size = ?, version = ? WHERE id = ?",
                (sha256, attributes.size, attributes.ctime_ns, node),
            )
            for parent, name in db.execute(
                "SELECT parent, name FROM link WHERE id = ?", (node,)
            ).fetchall():
                emit(
                    self.index,
                    put_record(self.path(parent, name), node, attributes, False, sha256),
                )

    def touch(self, node: int) -> None:
        """New attributes of a node."""
        with self.index.transaction():
            old = self.attributes(node)
            attributes = self._store(node, old.kind, old.size, racy=self._racy(node))
            emit(self.index, node_record(node, attributes, self._racy(node)))

    def swap(self, one: tuple[int, bytes, int], other: tuple[int, bytes, int]) -> None:
        """Exchange two names with all beneath, by way of two waiting places."""
        if one == other or any(self._inside(*pair) for pair in ((one, other), (other, one))):
            return
        places = [self.path(*one[:2]), self.path(*other[:2])]
        with self.index.transaction() as db:
            for number, path in enumerate(places):
                emit(self.index, rename_record(path, number))
            for number, path in enumerate(reversed(places)):
                emit(self.index, rename_record(number, path))
            rows = [
                db.execute("SELECT * FROM link WHERE parent = ? AND name = ?", at[:2]).fetchone()
                for at in (one, other)
            ]
            for at in (one, other):
                db.execute("DELETE FROM link WHERE parent = ? AND name = ?", at[:2])
            for row, at in zip(rows, (other, one), strict=True):
                db.execute("INSERT INTO link VALUES (?, ?, ?, ?, ?, ?, ?)", (*at[:2], *row[2:]))

    def move(self, old: tuple[int, bytes, int], directory: int, name: bytes) -> None:
        """Rename a name with all beneath."""
        if self._taken(directory, name) or self._is_below(directory, old[2]):
            return
        with self.index.transaction() as db:
            emit(self.index, rename_record(self.path(*old[:2]), self.path(directory, name)))
            db.execute(
                "UPDATE link SET parent = ?, name = ? WHERE parent = ? AND name = ?",
                (directory, name, *old[:2]),
            )

    def drop(self, old: tuple[int, bytes, int]) -> None:
        """Delete a name with all beneath."""
        with self.index.transaction() as db:
            emit(self.index, drop_record(self.path(*old[:2])))
            db.execute("DELETE FROM link WHERE parent = ? AND name = ?", old[:2])
            if self.index.is_directory(old[2]):
                self.index.drop_subtree(old[2])
            db.execute(
                """
                DELETE FROM object WHERE id NOT IN (SELECT id FROM link)
                  AND id NOT IN (SELECT root FROM dataset)"""
            )

    def replace(self, old: tuple[int, bytes, int]) -> None:
        """A new file takes the name of another one, without a drop before it."""
        with self.index.transaction() as db:
            self._number += 1
            node = node_id(old[0] >> 48, self._number)
            attributes = self._store(node, FILE, 9)
            sha256 = hashlib.sha256(b"new %d" % self._number).digest()
            db.execute(
                "UPDATE link SET id = ?, sha256 = ?, size = ?, version = ?, read_at = 0 "
                "WHERE parent = ? AND name = ?",
                (node, sha256, attributes.size, attributes.ctime_ns, *old[:2]),
            )
            emit(self.index, put_record(self.path(*old[:2]), node, attributes, False, sha256))
            db.execute("DELETE FROM object WHERE id NOT IN (SELECT id FROM link) AND kind = 'f'")

    def _taken(self, directory: int, name: bytes) -> bool:
        row = self.index.db.execute(
            "SELECT 1 FROM link WHERE parent = ? AND name = ?", (directory, name)
        ).fetchone()
        return row is not None

    def _racy(self, node: int) -> bool:
        row = self.index.db.execute("SELECT racy FROM object WHERE id = ?", (node,)).fetchone()
        return bool(row[0])

    def _inside(self, one: tuple[int, bytes, int], other: tuple[int, bytes, int]) -> bool:
        return self._is_below(one[0], other[2])

    def _is_below(self, directory: int, node: int) -> bool:
        """True when ``directory`` is ``node`` or lies somewhere beneath it."""
        path = self.index.path_of(directory) + b"/"
        rows = self.index.db.execute("SELECT parent, name FROM link WHERE id = ?", (node,))
        return any(path.startswith(self.path(*row) + b"/") for row in rows.fetchall())


def content(index: Index) -> dict[str, Any]:
    """Everything of an index that its copy has to bring back, in a fixed order.

    Left out: when content was last read back, base snapshots, datasets that are no
    longer in the tree, and the bookkeeping of the copy itself.
    """
    tables = {
        "root": "SELECT value FROM meta WHERE key = 'root'",
        "dataset": """
            SELECT id, guid, name, root FROM dataset
            WHERE id = 1 OR root IN (SELECT id FROM link) ORDER BY id""",
        "object": "SELECT * FROM object ORDER BY id",
        "link": """
            SELECT parent, name, id, sha256, size, version, read_at IS NULL FROM link
            ORDER BY parent, name""",
    }
    return {name: index.db.execute(query).fetchall() for name, query in tables.items()}
