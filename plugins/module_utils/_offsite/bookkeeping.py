# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing the index up to what was done at the destination.

``finish_structure`` needs nothing but the steps that were written down, so it
also serves the run that finds a killed one's steps. ``take_names`` then takes
over what needs no step: new names of files (their content is to be sent),
symlinks and special files (which live in the index only) and attributes.

Every change goes into the outbox, too: the copy of the index offsite is made
of these records.
"""

from __future__ import annotations

import sqlite3

from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    DIRECTORY,
    FILE,
    OBJECT_MASK,
    Attributes,
    join,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import (
    ATTRIBUTE_COLUMNS,
    Index,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.pieces import (
    drop_record,
    emit,
    put_record,
    rename_record,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.structure import (
    DONE,
    EMPTYING,
    FILLING,
    LOST,
)

# A directory of which nothing more is known yet; the comparison of the run
# that resumes finds out and puts it right.
UNKNOWN_DIRECTORY = Attributes(DIRECTORY, 0o755, 0, 0, 0, 0, 0)

# The rows of moved names while their old places are cleared.
ARRIVING = """
CREATE TEMP TABLE IF NOT EXISTS arriving(
  parent INTEGER, name BLOB, id INTEGER, sha256 BLOB, size INTEGER, version INTEGER,
  read_at INTEGER)"""
# Waiting places in the order in which the records number them.
STAGE = """
CREATE TEMP TABLE IF NOT EXISTS stage(place BLOB PRIMARY KEY, number INTEGER NOT NULL)
  WITHOUT ROWID"""


def finish_structure(index: Index) -> int:
    """Record the steps as made and forget them; returns how many were lost.

    A step is lost when what it should have moved was not at the destination.
    """
    with index.transaction() as db:
        lost = int(
            db.execute(
                "SELECT count(*) FROM step WHERE state = ? AND phase = ?", (LOST, EMPTYING)
            ).fetchone()[0]
        )
        _emit_steps(index)
        # In the database, not in memory: there may be as many moves as files.
        db.execute(ARRIVING)
        db.execute("DELETE FROM temp.arriving")
        db.execute(
            """
            INSERT INTO temp.arriving
            SELECT place.parent, place.name, link.id, link.sha256, link.size, link.version,
              link.read_at
            FROM step AS place
            JOIN step AS take ON take.act = 'take' AND take.target = place.source
            JOIN link ON link.parent = take.parent AND link.name = take.name
            WHERE place.act = 'place' AND place.state = ?""",
            (DONE,),
        )
        # The deepest first: what moved out of a deleted directory must not go with it.
        leaving = db.execute(
            "SELECT parent, name, id, act FROM step WHERE phase = ? ORDER BY depth DESC",
            (EMPTYING,),
        )
        for parent, name, node, act in leaving:
            db.execute(
                "DELETE FROM link WHERE parent = ? AND name = ? AND id = ?", (parent, name, node)
            )
            if act == "retire" and index.is_directory(node):
                index.drop_subtree(node)
        db.execute("INSERT OR REPLACE INTO link SELECT * FROM temp.arriving")
        # Attributes of what has no name at the destination any more.
        db.execute(
            """
            DELETE FROM object WHERE id IN (SELECT id FROM step WHERE phase = ?)
              AND NOT EXISTS (SELECT 1 FROM link WHERE link.id = object.id)""",
            (EMPTYING,),
        )
        _make_directories(index)
        _forget_unreachable(db, lost)
        db.execute("DELETE FROM step")
        index.put("structure_run", None)
        index.put("structure_phase", None)
    return lost


def _make_directories(index: Index) -> None:
    """Directories that were made, as directories: a run that resumes has to know that much."""
    made = index.db.execute("SELECT parent, name, id FROM step WHERE act = 'mkdir'").fetchall()
    for parent, name, node in made:
        if not index.is_directory(node):
            _free_number(index, node)
            store_object(index.db, node, _changed(index, node) or UNKNOWN_DIRECTORY, False)
        index.db.execute(
            "INSERT OR REPLACE INTO link(parent, name, id, version) VALUES (?, ?, ?, 0)",
            (parent, name, node),
        )


def _free_number(index: Index, node: int) -> None:
    """Part names from a node whose object number a directory has been given.

    A name with content keeps it under a node of its own (no dataset has the
    number 0), until a file takes its place; of other names nothing is stored.
    """
    db = index.db
    db.execute(
        "UPDATE link SET id = ? WHERE id = ? AND sha256 IS NOT NULL", (node & OBJECT_MASK, node)
    )
    for parent, name in db.execute(
        "SELECT parent, name FROM link WHERE id = ?", (node,)
    ).fetchall():
        emit(index, drop_record(join(index.path_of(parent), name)))
        db.execute("DELETE FROM link WHERE parent = ? AND name = ?", (parent, name))


def _forget_unreachable(db: sqlite3.Connection, lost: int) -> None:
    """Below a directory that was lost nothing is stored any more."""
    if not lost:
        return
    roots = "SELECT root FROM dataset WHERE root IS NOT NULL"
    db.execute("CREATE TEMP TABLE IF NOT EXISTS reachable(id INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM temp.reachable")
    db.execute(
        f"""
        INSERT OR IGNORE INTO temp.reachable
        WITH RECURSIVE tree(id) AS (
          {roots} UNION SELECT link.id FROM link JOIN tree ON link.parent = tree.id)
        SELECT id FROM tree"""
    )
    db.execute("DELETE FROM link WHERE parent NOT IN (SELECT id FROM temp.reachable)")
    db.execute("DELETE FROM object WHERE id NOT IN (SELECT id FROM temp.reachable)")


def _emit_steps(index: Index) -> None:
    """The steps as records, in the order in which they were made."""
    index.db.execute(STAGE)
    index.db.execute("DELETE FROM temp.stage")
    index.db.execute(
        """
        INSERT INTO temp.stage
        SELECT target, row_number() OVER (ORDER BY phase, depth DESC, seq) - 1
        FROM step WHERE act = 'take'"""
    )
    rows = index.db.execute(
        """
        SELECT act, source, target, id, state, number FROM step LEFT JOIN temp.stage
          ON place = CASE act WHEN 'take' THEN target WHEN 'place' THEN source END
        ORDER BY phase, depth DESC, seq"""
    )
    for act, source, target, node, state, number in rows:
        if act == "retire" or (act == "take" and state == LOST):
            emit(index, drop_record(source))
        elif act == "take":
            emit(index, rename_record(source, number))
        elif act == "place" and state == DONE:
            emit(index, rename_record(number, target))
        elif act == "mkdir":
            emit(
                index,
                put_record(target, node, _changed(index, node) or UNKNOWN_DIRECTORY, False, None),
            )


def _changed(index: Index, node: int) -> Attributes | None:
    row = index.db.execute(
        f"SELECT {ATTRIBUTE_COLUMNS} FROM temp.changed WHERE id = ?", (node,)
    ).fetchone()
    return Attributes(*row) if row else None


def take_names(index: Index) -> list[tuple[bytes, int]]:
    """Take over the comparison's tables after the structure was finished.

    Returns:
        (path in the tree, mtime in ns) of stored files whose content is what
        it was but whose mtime changed.
    """
    with index.transaction() as db:
        _drop_names(index)
        # What another name may share at the destination (a hard link of the file that
        # was here) can't stay, even with the right content: a new time would show
        # under both names. Without a size it is sent anew.
        db.execute(
            """
            UPDATE link SET size = NULL FROM temp.came
            WHERE came.parent = link.parent AND came.name = link.name AND came.id != link.id
              AND came.kind = 'f' AND EXISTS (
                SELECT 1 FROM link AS other WHERE other.id = link.id AND other.sha256 IS NOT NULL
                  AND (other.parent != link.parent OR other.name != link.name))"""
        )
        db.execute(
            """
            UPDATE link SET id = came.id, version = NULL FROM temp.came
            WHERE came.parent = link.parent AND came.name = link.name AND came.id != link.id
              AND came.kind = 'f'"""
        )
        db.execute(
            """
            INSERT OR IGNORE INTO link(parent, name, id, version)
            SELECT parent, name, id, CASE kind WHEN 'f' THEN NULL ELSE 0 END
            FROM temp.came"""
        )
        # Content to be sent anew. A name that a killed run has sent already,
        # with the same ctime, is left out; a racy file's ctime says nothing.
        db.execute(
            """
            UPDATE link SET version = NULL FROM temp.changed
            LEFT JOIN object ON object.id = changed.id
            WHERE link.id = changed.id AND changed.content > 0 AND changed.kind = 'f'
              AND link.version IS NOT NULL
              AND (link.version != changed.ctime_ns OR object.ctime_ns = changed.ctime_ns)"""
        )
        touched = _take_attributes(index)
        db.execute(
            """
            DELETE FROM object WHERE id IN (SELECT id FROM temp.gone)
              AND NOT EXISTS (SELECT 1 FROM link WHERE link.id = object.id)
              AND id NOT IN (SELECT root FROM dataset WHERE root IS NOT NULL)"""
        )
    return touched


def _drop_names(index: Index) -> None:
    """Names that went without a step: symlinks, special files, and files replaced by those."""
    rows = index.db.execute(
        """
        SELECT link.parent, link.name, gone.kind = 'f' AND came.kind = 'f'
        FROM temp.gone JOIN link
          ON link.parent = gone.parent AND link.name = gone.name AND link.id = gone.id
        LEFT JOIN temp.came ON came.parent = gone.parent AND came.name = gone.name
        WHERE link.parent NOT IN (SELECT id FROM temp.gone_below)"""
    ).fetchall()
    for parent, name, replaced in rows:
        if replaced:
            continue
        emit(index, drop_record(join(index.path_of(parent), name)))
        index.db.execute("DELETE FROM link WHERE parent = ? AND name = ?", (parent, name))


def _take_attributes(index: Index) -> list[tuple[bytes, int]]:
    """Store the attributes of what needs no sending; tells which stored mtimes changed."""
    db = index.db
    columns = ", ".join(f"changed.{name}" for name in ATTRIBUTE_COLUMNS.split(", "))
    rows = db.execute(
        f"""
        SELECT changed.id, changed.racy, object.mtime_ns, {columns} FROM temp.changed
        LEFT JOIN object ON object.id = changed.id
        WHERE changed.kind != 'f' OR changed.content = 0"""
    )
    touched = []
    for node, racy, old_mtime, *values in rows:
        attributes = Attributes(*values)
        store_object(db, node, attributes, bool(racy))
        for path, sha256 in paths_of(index, node, attributes.kind):
            if attributes.kind == FILE and sha256 is None:
                continue
            emit(index, put_record(path, node, attributes, bool(racy), sha256))
            if attributes.kind == FILE and old_mtime != attributes.mtime_ns:
                touched.append((path, attributes.mtime_ns))
    return touched


def paths_of(index: Index, node: int, kind: str) -> list[tuple[bytes, bytes | None]]:
    """(path, sha256) of every name of a node; the root of the tree has the name ``b""``."""
    if kind == DIRECTORY:
        try:
            return [(index.path_of(node), None)]
        except KeyError:
            return []
    found = []
    rows = index.db.execute(
        "SELECT parent, name, sha256 FROM link WHERE id = ?", (node,)
    ).fetchall()
    for parent, name, sha256 in rows:
        found.append((join(index.path_of(parent), name), sha256))
    return found


def store_object(db: sqlite3.Connection, node: int, attributes: Attributes, racy: bool) -> None:
    """Set a node's attributes in the index."""
    db.execute(
        "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            node,
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
            int(racy),
        ),
    )


def structure_is_open(index: Index) -> bool:
    """True when a run was killed between planning its steps and recording them."""
    return index.get("structure_phase") in (str(EMPTYING), str(FILLING))
