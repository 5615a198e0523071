# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index: what the destination holds, name by name, in one SQLite file on the pool.

It is the mirror of the remote tree and not of a snapshot. A run that is killed
leaves it true (each batch is recorded after the server has confirmed it), so
the next run only has to bring the remote tree from what the index says to what
the new snapshot holds.

``link`` rows are names, ``object`` rows are what they name. A file's link
says which content the destination holds under that name: ``sha256`` and
``size`` as sent, ``version`` the ctime of the object when it was sent. NULL in
``version`` marks a name whose content still has to be sent. ``read_at`` is when
that content was last read back (epoch seconds, 0 for never, NULL for what has
no content at the destination). ``unstorable`` names what the destination can't
hold; it is not in ``link``.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._core.formats import Format
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    DIRECTORY,
    Attributes,
    join,
)

FORMAT = Format("offsite-state", 1)

SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE dataset(
  id INTEGER PRIMARY KEY, guid TEXT NOT NULL UNIQUE, name TEXT NOT NULL, root INTEGER,
  base TEXT, base_guid TEXT, base_creation INTEGER);
CREATE TABLE object(
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL,
  gid INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL, rdev INTEGER NOT NULL, target BLOB, xattrs BLOB,
  racy INTEGER NOT NULL);
CREATE TABLE link(
  parent INTEGER NOT NULL, name BLOB NOT NULL, id INTEGER NOT NULL,
  sha256 BLOB, size INTEGER, version INTEGER, read_at INTEGER,
  PRIMARY KEY(parent, name)) WITHOUT ROWID;
CREATE INDEX link_by_id ON link(id);
CREATE INDEX link_by_read ON link(read_at) WHERE read_at IS NOT NULL;
CREATE INDEX link_pending ON link(id) WHERE version IS NULL;
CREATE TABLE step(
  seq INTEGER PRIMARY KEY, phase INTEGER NOT NULL, depth INTEGER NOT NULL, act TEXT NOT NULL,
  source BLOB, target BLOB, parent INTEGER, name BLOB, id INTEGER, state INTEGER NOT NULL);
CREATE INDEX step_by_phase ON step(phase, depth, seq);
CREATE TABLE unstorable(
  parent INTEGER NOT NULL, name BLOB NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY(parent, name)) WITHOUT ROWID;
CREATE TABLE outbox(seq INTEGER PRIMARY KEY, record BLOB NOT NULL);
"""

# The comparison's result. Temporary: it is made anew by every run, and a
# planning run must not write into the index.
SCRATCH = """
PRAGMA temp_store = FILE;
CREATE TEMP TABLE came(
  parent INTEGER NOT NULL, name BLOB NOT NULL, id INTEGER NOT NULL, kind TEXT NOT NULL,
  PRIMARY KEY(parent, name)) WITHOUT ROWID;
CREATE INDEX temp.came_by_id ON came(id);
CREATE TEMP TABLE gone(
  parent INTEGER NOT NULL, name BLOB NOT NULL, id INTEGER NOT NULL, kind TEXT NOT NULL,
  PRIMARY KEY(parent, name)) WITHOUT ROWID;
CREATE INDEX temp.gone_by_id ON gone(id);
CREATE TEMP TABLE changed(
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL,
  gid INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL, rdev INTEGER NOT NULL, target BLOB, xattrs BLOB,
  racy INTEGER NOT NULL, content INTEGER NOT NULL);
CREATE TEMP TABLE refused(
  parent INTEGER NOT NULL, name BLOB NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY(parent, name)) WITHOUT ROWID;
CREATE TEMP TABLE gone_below(id INTEGER PRIMARY KEY);
CREATE TEMP TABLE moved(id INTEGER PRIMARY KEY);
CREATE TEMP TABLE taken(
  parent INTEGER NOT NULL, name BLOB NOT NULL, PRIMARY KEY(parent, name)) WITHOUT ROWID;
"""

ATTRIBUTE_COLUMNS = "kind, mode, uid, gid, size, mtime_ns, ctime_ns, rdev, target, xattrs"


def attribute_values(attributes: Attributes) -> tuple[object, ...]:
    """``attributes`` in the order of ``ATTRIBUTE_COLUMNS``."""
    return (
        attributes.kind,
        attributes.mode,
        attributes.uid,
        attributes.gid,
        attributes.size,
        attributes.mtime_ns,
        attributes.ctime_ns,
        attributes.rdev,
        attributes.target,
        attributes.xattrs,
    )


class Index:
    """One job's index file.

    Args:
        path: the SQLite file; made when it is missing, unless ``readonly``.
        readonly: open it for planning; an absent file reads as an empty index.

    Raises:
        ConfigError: not an index of ours, damaged, or written by a newer major.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path
        self._paths: dict[int, bytes] = {}
        try:
            self.db = self._open(path, readonly)
            # executescript would commit; there is nothing to commit yet.
            self.db.executescript(SCRATCH)
        except sqlite3.DatabaseError as exc:
            raise ConfigError(
                "open the offsite index",
                on=str(path),
                found=str(exc),
                remedy="move the file away; the next run rebuilds it from the copy offsite",
            ) from exc

    @staticmethod
    def _open(path: Path, readonly: bool) -> sqlite3.Connection:
        fresh = not path.exists()
        if fresh and readonly:
            database = sqlite3.connect(":memory:", isolation_level=None)
        elif readonly:
            address = f"{path.absolute().as_uri()}?mode=ro"
            database = sqlite3.connect(address, uri=True, isolation_level=None)
        else:
            database = sqlite3.connect(path, isolation_level=None)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -32768")
        has_schema = database.execute(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'meta'"
        ).fetchone()[0]
        if not has_schema:
            database.executescript(
                f"BEGIN; {SCHEMA} INSERT INTO meta VALUES ('format', '{FORMAT.tag}'); COMMIT;"
            )
        tag = database.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
        FORMAT.read_major({"format": tag[0]} if tag else {}, str(path))
        return database

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what is done inside, or nothing of it."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            self._paths.clear()
            raise
        self.db.execute("COMMIT")
        self._paths.clear()

    def get(self, key: str) -> str | None:
        """A value of the table ``meta``."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def put(self, key: str, value: str | None) -> None:
        """Set or, with None, remove a value of the table ``meta``."""
        if value is None:
            self.db.execute("DELETE FROM meta WHERE key = ?", (key,))
        else:
            self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def forget_comparison(self) -> None:
        """Empty the tables of the last comparison."""
        for table in ("came", "gone", "changed", "gone_below", "refused"):
            self.db.execute(f"DELETE FROM temp.{table}")

    def path_of(self, directory: int) -> bytes:
        """The path of a directory in the remote tree; the root is ``b""``.

        Raises:
            KeyError: the directory isn't in the tree.
        """
        known = self._paths.get(directory)
        if known is not None:
            return known
        chain: list[tuple[int, bytes]] = []
        node = directory
        root = int(self.get("root") or 0)
        while node != root and node not in self._paths:
            row = self.db.execute(
                "SELECT parent, name FROM link WHERE id = ? LIMIT 1", (node,)
            ).fetchone()
            if row is None:
                raise KeyError(directory)
            chain.append((node, row[1]))
            node = row[0]
        path = self._paths.get(node, b"")
        if len(self._paths) > 50_000:
            self._paths.clear()
        for child, name in reversed(chain):
            path = join(path, name)
            self._paths[child] = path
        return path

    def drop_subtree(self, directory: int) -> None:
        """Remove the links below ``directory``, and objects that no link names any more."""
        self.db.execute(
            """
            CREATE TEMP TABLE IF NOT EXISTS below(id INTEGER PRIMARY KEY)"""
        )
        self.db.execute("DELETE FROM temp.below")
        self.db.execute(
            """
            INSERT OR IGNORE INTO temp.below
            WITH RECURSIVE tree(id) AS (
              VALUES(?)
              UNION
              SELECT link.id FROM link JOIN tree ON link.parent = tree.id)
            SELECT id FROM tree""",
            (directory,),
        )
        self.db.execute("DELETE FROM link WHERE parent IN (SELECT id FROM temp.below)")
        self.db.execute(
            """
            DELETE FROM object WHERE id IN (SELECT id FROM temp.below)
              AND NOT EXISTS (SELECT 1 FROM link WHERE link.id = object.id)"""
        )
        self._paths.clear()

    def count_files(self) -> int:
        """How many files the destination holds."""
        return int(
            self.db.execute("SELECT count(*) FROM link WHERE read_at IS NOT NULL").fetchone()[0]
        )

    def is_directory(self, node: int) -> bool:
        """True when the index knows ``node`` as a directory."""
        row = self.db.execute("SELECT kind FROM object WHERE id = ?", (node,)).fetchone()
        return row is not None and row[0] == DIRECTORY
