# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counting what a comparison found, before anything is done about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    SPECIAL_WORDS,
    join,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.guards import Extent
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.structure import NewPaths

# A file with another one under the same name, which did not itself move away.
REPLACED = """
  FROM temp.gone JOIN temp.came USING (parent, name)
  WHERE gone.kind = 'f' AND came.kind = 'f' AND gone.id NOT IN (SELECT id FROM temp.moved)
    AND came.id NOT IN (SELECT id FROM temp.moved)"""
# Existing files whose content differs for certain.
CHANGED = """
  FROM temp.changed JOIN object USING (id)
  WHERE changed.kind = 'f' AND changed.content = 1
    AND (changed.size != object.size OR changed.mtime_ns != object.mtime_ns)"""
DELETED = """
  FROM temp.gone WHERE gone.kind = 'f' AND gone.id NOT IN (SELECT id FROM temp.moved)
    AND gone.parent NOT IN (SELECT id FROM temp.gone_below)
    AND NOT EXISTS (SELECT 1 FROM temp.came WHERE came.parent = gone.parent
                    AND came.name = gone.name AND came.kind = 'f')"""
DELETED_BELOW = """
  FROM temp.gone_below JOIN link ON link.parent = gone_below.id
  WHERE link.read_at IS NOT NULL AND link.id NOT IN (SELECT id FROM temp.moved)"""
NEW = """
  FROM temp.came WHERE came.kind = 'f' AND came.id NOT IN (SELECT id FROM temp.moved)
    AND NOT EXISTS (SELECT 1 FROM temp.gone WHERE gone.parent = came.parent
                    AND gone.name = came.name AND gone.kind = 'f')"""
SEND_BYTES = """
  FROM temp.changed LEFT JOIN object USING (id)
  WHERE changed.kind = 'f' AND (changed.content = 2 OR (changed.content = 1
    AND (object.size IS NULL OR changed.size != object.size
         OR changed.mtime_ns != object.mtime_ns)))"""


def measure(index: Index) -> Extent:
    """The extent of what the (settled) comparison's tables hold."""

    def count(query: str, what: str = "count(*)") -> int:
        return int(index.db.execute(f"SELECT {what} {query}").fetchone()[0] or 0)

    return Extent(
        stored=index.count_files(),
        new=count(NEW),
        changed=count(CHANGED) + count(REPLACED),
        deleted=count(DELETED) + count(DELETED_BELOW),
        moved=count("FROM temp.gone JOIN temp.moved USING (id)"),
        send_bytes=count(SEND_BYTES, "sum(changed.size)"),
    )


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One line of a plan: ``act`` is copy, move, delete or mkdir."""

    act: str
    path: bytes
    old: bytes | None = None
    size: int = 0


def planned_changes(index: Index) -> Iterator[PlannedChange]:
    """Every file and directory that a run would touch, by what would be done to it."""
    db = index.db
    paths = NewPaths(index)
    moved_from: dict[int, bytes] = {}
    for node, parent, name in db.execute(
        "SELECT gone.id, parent, name FROM temp.gone JOIN temp.moved USING (id)"
    ):
        moved_from[node] = join(index.path_of(parent), name)
    for parent, name, kind in db.execute(
        """
        SELECT gone.parent, gone.name, gone.kind FROM temp.gone
        LEFT JOIN temp.came USING (parent, name)
        WHERE gone.kind IN ('f', 'd') AND gone.id NOT IN (SELECT id FROM temp.moved)
          AND gone.parent NOT IN (SELECT id FROM temp.gone_below)
          AND NOT (gone.kind = 'f' AND coalesce(came.kind, '') = 'f')"""
    ):
        path = join(index.path_of(parent), name)
        yield PlannedChange("delete", path + b"/" if kind == "d" else path)
    sent: set[int] = set()
    for parent, name, node, kind in db.execute("SELECT parent, name, id, kind FROM temp.came"):
        path = join(paths.of(parent), name)
        if node in moved_from:
            slash = b"/" if kind == "d" else b""
            yield PlannedChange("move", path + slash, moved_from.pop(node) + slash)
        elif kind == "d":
            yield PlannedChange("mkdir", path + b"/")
        elif kind == "f":
            size = db.execute("SELECT size FROM temp.changed WHERE id = ?", (node,)).fetchone()
            sent.add(node)
            yield PlannedChange("copy", path, size=size[0] if size else 0)
    for parent, name, node, size in db.execute(
        """
        SELECT link.parent, link.name, changed.id, changed.size FROM temp.changed
        JOIN link USING (id) WHERE changed.kind = 'f' AND changed.content > 0"""
    ):
        if node not in sent:
            yield PlannedChange("copy", join(paths.of(parent), name), size=size)


def special_files(index: Index) -> Iterator[tuple[str, bytes]]:
    """(kind in words, path) of everything that can't be stored as a file, from the index."""
    for parent, name, kind in index.db.execute(
        """
        SELECT link.parent, link.name, object.kind FROM object JOIN link USING (id)
        WHERE object.kind IN ('b', 'c', 'p', 's')"""
    ).fetchall():
        yield SPECIAL_WORDS[kind], join(index.path_of(parent), name)
