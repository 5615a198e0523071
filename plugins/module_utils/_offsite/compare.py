# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the index and a snapshot: one comparison for every way of detection.

A detection strategy only says which objects may have changed: all of them (a
walk), or those that the send stream names. This comparison then finds out what
became of them, with the index as the other side, and writes three tables:

    came     a name in the snapshot that the index lacks, or has for another node
    gone     a name in the index that the snapshot lacks, or has for another node
    changed  a node whose attributes or content differ, with its new attributes

A directory that moved is one ``gone`` and one ``came`` with the same node id;
what lies below it is neither.

Why names are complete when only touched objects are looked at: making, removing
or renaming an entry writes the directory that holds it, so every directory with
other entries than before is among the touched ones, and every node that is new
is found in one of them.
"""

from __future__ import annotations

import enum
import os
import stat
import time
from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import SourceError
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    DIRECTORY,
    FILE,
    KIND_BY_FORMAT,
    OBJECT_MASK,
    ROOT_NUMBER,
    join,
    node_id,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import (
    Index,
    attribute_values,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.tree import SnapshotTree
from ansible_collections.homelab.backup.plugins.module_utils._zfs.sendstream import stamp

# A file whose ctime is this close to a snapshot's creation (whole seconds) may
# have been written again, in the same tick of the kernel's clock, just after it.
RACY_NS = 2_000_000_000

SAME, SUSPECT, NEW = 0, 1, 2


class Excluder(Protocol):
    """The part of the exclude patterns that the comparison asks."""

    @property
    def path_sensitive(self) -> bool:
        """True when moving a directory may change what is excluded below it."""

    def excludes_file(self, path: bytes) -> str | None:
        """The pattern that excludes the file ``path``, or None."""

    def prunes_directory(self, path: bytes) -> str | None:
        """The pattern that excludes the directory ``path`` with all below, or None."""


class Touched(Protocol):
    """Which objects of a dataset may have changed between two snapshots."""

    @property
    def objects(self) -> Set[int]:
        """Object numbers; every object that changed is among them."""

    @property
    def changed_directories(self) -> Set[int]:
        """Directories whose entries may have changed; every one that did is among them."""

    def content_may_differ(self, number: int, size: int) -> bool:
        """False only when the content of a file of ``size`` bytes is certainly the same."""

    def is_unchanged(self, number: int, known: int, size: int) -> bool:
        """True only when an object is certainly as it was.

        Args:
            number: the object.
            known: what :func:`sendstream.stamp` gives for what is known of it.
            size: of a regular file, else 0.
        """


@dataclass(frozen=True, slots=True)
class View:
    """A dataset's snapshot as a part of the remote tree.

    Args:
        dataset: its number in the index.
        prefix: its path in the remote tree, ``b""`` for the job's root.
        tree: the mounted snapshot.
        creation: when the snapshot was made, seconds since the epoch.
        grafts: child datasets by name: the node of their root. They stand in
            for whatever the parent's own directory holds under that name.
        hidden: names of child datasets that take no part now (excluded, locked);
            what the index has for them stays as it is unless it is excluded.
        touched: which objects may have changed; None for all of them.
    """

    dataset: int
    prefix: bytes
    tree: SnapshotTree
    creation: int
    grafts: Mapping[bytes, int] = field(default_factory=dict)
    hidden: frozenset[bytes] = frozenset()
    touched: Touched | None = None


# The nodes that the strategy names, those of them that may have changed, and their names.
ROUTES = """
CREATE TEMP TABLE IF NOT EXISTS named(id INTEGER PRIMARY KEY);
CREATE TEMP TABLE IF NOT EXISTS touched(id INTEGER PRIMARY KEY);
CREATE TEMP TABLE IF NOT EXISTS target(
  parent INTEGER NOT NULL, name BLOB NOT NULL, id INTEGER NOT NULL,
  PRIMARY KEY(parent, name)) WITHOUT ROWID;
DELETE FROM temp.named;
DELETE FROM temp.touched;
DELETE FROM temp.target;
"""
NAMED = """
SELECT NULL, object.id, kind, size, mtime_ns, ctime_ns, mode, uid, gid, racy
FROM temp.named JOIN object USING (id)"""
TARGETS = """
SELECT target.name, target.id, object.kind, object.size, mtime_ns, ctime_ns, mode, uid, gid, racy
FROM temp.target LEFT JOIN object ON object.id = target.id WHERE target.parent = ?"""

# name, id, kind, size, mtime_ns, ctime_ns, mode, uid, gid, racy
Known = tuple[Any, ...]


FORMAT_BY_KIND = {kind: bits for bits, kind in KIND_BY_FORMAT.items()}

# Linux' limit of a path argument, with the final NUL.
PATH_MAX = 4096


@dataclass(frozen=True, slots=True)
class Longest:
    """What names the destination can hold, in bytes.

    ``name`` is the longest name, ``outside`` how much longer than its path in
    the tree the longest path is under which a file will ever be there.
    """

    name: int = 255
    outside: int = 0


class Mode(enum.IntEnum):
    """How a directory is looked at."""

    TOUCHED = 0
    NAMES = 1
    ALL = 2


@dataclass(slots=True)
class Tally:
    """What a comparison looked at, for the run record.

    ``noting`` is how many seconds of it went into what differs: the same
    whichever strategy found it.
    """

    directories: int = 0
    examined: int = 0
    noting: float = 0.0


class Comparison:
    """Compares one view with the index and writes the three tables.

    Args:
        index: the index; only its temporary tables are written.
        view: the snapshot.
        excludes: what takes no part.
        longest: which names the destination can hold.

    Raises (from :meth:`run`):
        SourceError: the snapshot contradicts what the strategy said; a walk
            of the same snapshot will not.
    """

    def __init__(
        self, index: Index, view: View, excludes: Excluder, longest: Longest = Longest()
    ) -> None:
        self._longest = longest
        self._db = index.db
        self._view = view
        self._tree = view.tree
        self._excludes = excludes
        self._pending = self._pending_numbers()
        self._steps: defaultdict[int, dict[int, bytes]] = defaultdict(dict)
        self._holders: set[int] = set()
        self._listed = view.touched.changed_directories if view.touched is not None else set()
        self._came: list[tuple[object, ...]] = []
        self._gone: list[tuple[object, ...]] = []
        self._changed: list[tuple[object, ...]] = []
        self.tally = Tally()

    def run(self) -> Tally:
        """Look, and fill the tables."""
        root = node_id(self._view.dataset, ROOT_NUMBER)
        touched = self._view.touched
        mode = Mode.ALL if touched is None else Mode.TOUCHED
        if touched is not None:
            self._route(touched, root)
        self._db.execute("BEGIN")
        try:
            self._examine(root, b"", self._tree.lstat(b""), self._object(root))
            stack = [(root, b"", mode)]
            while stack:
                node, path, mode = stack.pop()
                stack.extend(self._directory(node, path, mode, is_root=node == root))
            self._flush(0)
        except (FileNotFoundError, NotADirectoryError) as exc:
            self._db.execute("ROLLBACK")
            raise SourceError(
                "compare the snapshot with the index",
                on=printable(self._tree.root),
                found=f"{exc.filename!r} is not there",
                remedy="the dataset is compared by a walk instead",
            ) from exc
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        return self.tally

    def _node(self, number: int) -> int:
        return node_id(self._view.dataset, number)

    def _pending_numbers(self) -> set[int]:
        """Files with a name whose content an earlier run could not store."""
        rows = self._db.execute("SELECT id FROM link WHERE version IS NULL")
        return {row[0] & OBJECT_MASK for row in rows if row[0] >> 48 == self._view.dataset}

    def _route(self, touched: Touched, root: int) -> None:
        """From the root, the ways to every touched node that the index knows.

        With each changed file a stream names up to 31 neighbours, so these may be
        as many as the dataset has: they stay in the database. Most neighbours
        show in the stream that nothing about them is new.
        """
        self._db.executescript(ROUTES)
        first = self._node(0)
        self._db.executemany(
            "INSERT OR IGNORE INTO temp.named VALUES (?)",
            ((first | number,) for number in touched.objects),
        )
        self._db.executemany(
            "INSERT INTO temp.touched VALUES (?)",
            (
                (row[1],)
                for row in self._db.execute(NAMED)
                if not _is_cleared(touched, row[1] & OBJECT_MASK, row)
            ),
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO temp.touched VALUES (?)",
            ((self._node(number),) for number in self._pending),
        )
        self._db.execute(
            """
            INSERT INTO temp.target
            SELECT link.parent, link.name, link.id FROM temp.touched JOIN link USING (id)"""
        )
        rows = self._db.execute("SELECT DISTINCT parent FROM temp.target")
        self._holders = {row[0] for row in rows}
        for directory in self._holders:
            node = directory
            while node != root:
                row = self._db.execute(
                    "SELECT parent, name FROM link WHERE id = ?", (node,)
                ).fetchone()
                if row is None or node in self._steps[row[0]]:
                    break
                self._steps[row[0]][node] = row[1]
                node = row[0]

    def _directory(
        self, node: int, path: bytes, mode: Mode, *, is_root: bool
    ) -> list[tuple[int, bytes, Mode]]:
        """Look at one directory; returns the directories below that are to be looked at."""
        touched = self._view.touched
        if (
            mode is Mode.TOUCHED
            and touched is not None
            and not is_root
            and (node & OBJECT_MASK) not in self._listed
        ):
            return self._pass_through(node, path)
        self.tally.directories += 1
        known = {
            row[0]: row
            for row in self._db.execute(
                """
                SELECT link.name, link.id, object.kind, size, mtime_ns, ctime_ns, mode, uid, gid,
                  racy
                FROM (SELECT name, id FROM link WHERE parent = ?) AS link
                LEFT JOIN object ON object.id = link.id""",
                (node,),
            )
        }
        below: list[tuple[int, bytes, Mode]] = []
        skipped = self._view.hidden | self._view.grafts.keys() if is_root else frozenset()
        for name, number in self._tree.entries(path):
            if name in skipped:
                continue
            found = self._entry(node, join(path, name), name, number, known.pop(name, None), mode)
            if found is not None:
                below.append(found)
        if is_root:
            self._grafts(node, known)
        for name, row in known.items():
            self._gone.append((node, name, row[1], row[2] or FILE))
        self._flush(4096)
        return below

    def _entry(
        self,
        parent: int,
        path: bytes,
        name: bytes,
        number: int,
        row: Known | None,
        mode: Mode,
    ) -> tuple[int, bytes, Mode] | None:
        """One name of a listed directory; returns it when it is a directory to look into."""
        node = self._node(number)
        touched = self._view.touched
        same = row is not None and row[1] == node
        look = (
            mode is Mode.ALL
            or not same
            or touched is None
            or number in self._pending
            or row is None
            or not _is_cleared(touched, number, row)
        )
        if not look and row is not None and mode is Mode.TOUCHED:
            if row[2] == DIRECTORY and (node in self._holders or node in self._steps):
                return node, path, Mode.TOUCHED
            return None
        found = self._tree.lstat(path) if look else None
        kind = KIND_BY_FORMAT[stat.S_IFMT(found.st_mode)] if found else str(row[2] if row else FILE)
        if self._excluded(path, kind) or self._refused(parent, path, name, kind):
            if row is not None:
                self._gone.append((parent, name, row[1], row[2] or FILE))
            return None
        # An object number that was freed can be given to another kind of thing.
        same = same and (row is None or (row[2] or FILE) == kind)
        moved_here = False
        if not same:
            if row is not None:
                self._gone.append((parent, name, row[1], row[2] or FILE))
            self._came.append((parent, name, node, kind))
        if found is not None:
            known = row if same else self._object(node)
            moved_here = not same and known is not None and known[2] == DIRECTORY
            self._examine(node, path, found, known)
        if kind != DIRECTORY:
            return None
        return node, path, self._mode_below(mode, same=same, moved_here=moved_here)

    def _mode_below(self, mode: Mode, *, same: bool, moved_here: bool) -> Mode:
        if self._view.touched is None:
            return Mode.ALL
        if moved_here:
            return Mode.NAMES if self._excludes.path_sensitive else Mode.TOUCHED
        # In a new directory all is new, but for what was moved into it.
        return mode if same else Mode.ALL

    def _excluded(self, path: bytes, kind: str) -> bool:
        full = join(self._view.prefix, path) if path else self._view.prefix
        if kind == DIRECTORY:
            return self._excludes.prunes_directory(full) is not None
        return self._excludes.excludes_file(full) is not None

    def _refused(self, parent: int, path: bytes, name: bytes, kind: str) -> bool:
        """True for a name that the destination can't hold; it is noted."""
        if kind not in (FILE, DIRECTORY):
            return False
        whole = self._longest.outside + len(self._view.prefix) + len(path)
        if len(name) <= self._longest.name and whole < PATH_MAX:
            return False
        reason = (
            f"its name has {len(name)} bytes, the destination holds {self._longest.name}"
            if len(name) > self._longest.name
            else f"its path has {whole} bytes there, the longest possible is {PATH_MAX - 1}"
        )
        self._db.execute(
            "INSERT OR REPLACE INTO temp.refused VALUES (?, ?, ?)", (parent, name, reason)
        )
        return True

    def _grafts(self, root: int, known: dict[bytes, Known]) -> None:
        for name in self._view.hidden:
            row = known.pop(name, None)
            if row is not None and self._excluded(name, DIRECTORY):
                self._gone.append((root, name, row[1], DIRECTORY))
        for name, child in self._view.grafts.items():
            row = known.pop(name, None)
            if row is None or row[1] != child:
                if row is not None:
                    self._gone.append((root, name, row[1], row[2] or FILE))
                self._came.append((root, name, child, DIRECTORY))

    def _pass_through(self, node: int, path: bytes) -> list[tuple[int, bytes, Mode]]:
        """An unchanged directory: only the touched nodes in it, and the ways further down."""
        below = {child: join(path, name) for child, name in self._steps.get(node, {}).items()}
        rows = self._db.execute(TARGETS, (node,)) if node in self._holders else ()
        for row in rows:
            child = row[1]
            here = join(path, row[0])
            found = self._tree.lstat(here)
            if self._node(found.st_ino) != child:
                raise SourceError(
                    "compare the snapshot with the index",
                    on=printable(here),
                    found="it is another object than in the index, in a directory without changes",
                    remedy="the dataset is compared by a walk instead",
                )
            self._examine(child, here, found, row)
            if stat.S_ISDIR(found.st_mode):
                below[child] = here
        self._flush(4096)
        return [(child, here, Mode.TOUCHED) for child, here in below.items()]

    def _object(self, node: int) -> Known | None:
        row: Known | None = self._db.execute(
            """
            SELECT NULL, id, kind, size, mtime_ns, ctime_ns, mode, uid, gid, racy
            FROM object WHERE id = ?""",
            (node,),
        ).fetchone()
        return row

    def _examine(self, node: int, path: bytes, found: os.stat_result, known: Known | None) -> None:
        """Compare a node's lstat with the index; note it when it differs."""
        self.tally.examined += 1
        kind = KIND_BY_FORMAT[stat.S_IFMT(found.st_mode)]
        if known is not None and known[2] is None:
            known = None
        number = node & OBJECT_MASK
        suspect = number in self._pending or self._content_suspect(number, found, known)
        if (
            known is not None
            and not suspect
            and (known[2], known[4], known[5]) == (kind, found.st_mtime_ns, found.st_ctime_ns)
        ):
            return
        if kind != FILE:
            content = SAME
        elif known is None or known[2] != FILE:
            content = NEW
        else:
            content = SUSPECT if suspect else SAME
        started = time.perf_counter()
        racy = found.st_ctime_ns >= self._view.creation * 1_000_000_000 - RACY_NS
        attributes = self._tree.attributes(path, found)
        self._changed.append((node, *attribute_values(attributes), racy, content))
        self.tally.noting += time.perf_counter() - started

    def _content_suspect(self, number: int, found: os.stat_result, known: Known | None) -> bool:
        """True unless a known file's content is certainly what it was."""
        if known is None or not stat.S_ISREG(found.st_mode):
            return False
        if (known[3], known[4]) != (found.st_size, found.st_mtime_ns):
            return True
        if self._view.touched is None:
            return known[5] != found.st_ctime_ns or bool(known[9])
        return self._view.touched.content_may_differ(number, found.st_size)

    def _flush(self, above: int) -> None:
        """Write what was noted, when there is more of it than ``above``."""
        if len(self._came) + len(self._gone) + len(self._changed) <= above:
            return
        started = time.perf_counter()
        self._db.executemany("INSERT OR REPLACE INTO temp.came VALUES (?,?,?,?)", self._came)
        self._db.executemany("INSERT OR REPLACE INTO temp.gone VALUES (?,?,?,?)", self._gone)
        marks = ",".join("?" * 13)
        self._db.executemany(f"INSERT OR REPLACE INTO temp.changed VALUES ({marks})", self._changed)
        self._came.clear()
        self._gone.clear()
        self._changed.clear()
        self.tally.noting += time.perf_counter() - started


def _is_cleared(touched: Touched, number: int, known: Known) -> bool:
    """True when an object is certainly as the index knows it, without a look at it."""
    dummy_name, dummy_id, kind, size, mtime_ns, ctime_ns, mode, uid, gid, dummy_racy = known
    if kind is None:
        return False
    whole = FORMAT_BY_KIND[kind] | mode
    return touched.is_unchanged(number, stamp(whole, uid, gid, size, mtime_ns, ctime_ns), size)
