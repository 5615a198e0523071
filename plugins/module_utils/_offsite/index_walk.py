# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index read as a tree of paths, in memory that does not grow with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    DIRECTORY,
    Attributes,
    join,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import (
    ATTRIBUTE_COLUMNS,
    Index,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.pieces import Stored

LINK_COLUMNS = "link.name, link.id, link.sha256, link.size, link.version, object.racy"
OBJECT_COLUMNS = ", ".join(f"object.{name}" for name in ATTRIBUTE_COLUMNS.split(", "))


@dataclass(frozen=True, slots=True)
class Listed:
    """One name of the index.

    ``attributes`` is None when the index has a name but nothing about the node
    yet; ``stored`` is None when the destination has no content for the name.
    With ``leaving``, it is a directory after all that lies beneath.
    """

    path: bytes
    node: int
    attributes: Attributes | None
    racy: bool
    stored: Stored | None
    leaving: bool = False

    @property
    def is_directory(self) -> bool:
        """True for a directory."""
        return self.attributes is not None and self.attributes.kind == DIRECTORY


def root_of(index: Index) -> int:
    """The node of the tree's root; 0 for an index that is still empty."""
    return int(index.get("root") or 0)


def find(index: Index, path: bytes) -> Listed | None:
    """The name ``path`` (relative to the tree's root, ``b""`` for it), or None."""
    node = root_of(index)
    parent: int | None = None
    name = b""
    if path:
        for component in path.split(b"/"):
            row = index.db.execute(
                "SELECT id FROM link WHERE parent = ? AND name = ?", (node, component)
            ).fetchone()
            if row is None:
                return None
            parent, name, node = node, component, row[0]
    row = index.db.execute(
        f"""
        SELECT {LINK_COLUMNS}, {OBJECT_COLUMNS}
        FROM (SELECT ? AS node, ? AS up, ? AS called) AS asked
        LEFT JOIN link ON link.parent = asked.up AND link.name = asked.called
        LEFT JOIN object ON object.id = asked.node""",
        (node, parent, name),
    ).fetchone()
    return _listed(path, (name, node, *row[2:])) if node else None


def walk(index: Index, start: Listed, *, leave: bool = False) -> Iterator[Listed]:
    """``start`` and all beneath it, each directory before its entries, names in byte order.

    Args:
        index: not to be changed while this runs.
        start: from :func:`find`.
        leave: give each directory once more after all that lies beneath it.
    """
    yield start
    open_directories = [(start, _entries(index, start.node))]
    while open_directories:
        directory, entries = open_directories[-1]
        row = next(entries, None)
        if row is None:
            open_directories.pop()
            if leave and directory.is_directory:
                yield Listed(
                    directory.path, directory.node, directory.attributes, False, None, leaving=True
                )
            continue
        found = _listed(join(directory.path, row[0]), row)
        yield found
        if found.is_directory or found.attributes is None:
            open_directories.append((found, _entries(index, found.node)))


def _entries(index: Index, directory: int) -> sqlite3.Cursor:
    return index.db.execute(
        f"""
        SELECT {LINK_COLUMNS}, {OBJECT_COLUMNS}
        FROM link LEFT JOIN object ON object.id = link.id
        WHERE link.parent = ? ORDER BY link.name""",
        (directory,),
    )


def _listed(path: bytes, row: tuple[object, ...]) -> Listed:
    """A row of LINK_COLUMNS and OBJECT_COLUMNS as a value."""
    dummy_name, node, sha256, size, version, racy, *values = row
    stored = None
    if isinstance(sha256, bytes) and isinstance(size, int):
        stored = Stored(sha256, size, version if isinstance(version, int) else None)
    attributes = None if values[0] is None else _attributes(values)
    return Listed(path, _number(node), attributes, bool(racy), stored)


def _attributes(values: list[object]) -> Attributes:
    kind, mode, uid, gid, size, mtime_ns, ctime_ns, rdev, target, xattrs = values
    return Attributes(
        kind=str(kind),
        mode=_number(mode),
        uid=_number(uid),
        gid=_number(gid),
        size=_number(size),
        mtime_ns=_number(mtime_ns),
        ctime_ns=_number(ctime_ns),
        rdev=_number(rdev),
        target=target if isinstance(target, bytes) else None,
        xattrs=xattrs if isinstance(xattrs, bytes) else None,
    )


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"not a number in the index: {value!r}")
    return value
