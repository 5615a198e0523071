# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's datasets in one run: their snapshots, their numbers in the index, their comparison."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    DestinationError,
    SourceError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.compare import View
from ansible_collections.homelab.backup.plugins.module_utils._offsite.detect import (
    NONE,
    Base,
    Choice,
    Detection,
    Detector,
    choose,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    ROOT_NUMBER,
    join,
    node_id,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.pieces import (
    dataset_record,
    emit,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.scope import Member, Scope
from ansible_collections.homelab.backup.plugins.module_utils._offsite.tree import SnapshotTree
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Snapshot

# Dataset numbers have the 15 bits above the object number in SQLite's signed 64.
HIGHEST_NUMBER = (1 << 15) - 1


class Mounts(Protocol):
    """Mounts snapshots read-only; a context manager that unmounts them."""

    def __enter__(self) -> Mounts:
        """Clear away what a killed run left mounted."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Unmount everything."""

    def mount(self, snapshot: str) -> Path:
        """Where ``snapshot`` can be read."""


class Survey:
    """The datasets of one run.

    Args:
        index: the index.
        scope: which datasets take part.
        snapshots: all snapshots at and below the root.
        short: the name of this run's snapshots; "" takes each dataset's newest
            snapshot instead (a plan).
        mounts: mounts them.
        excludes_changed: the patterns are others than in the last run.
        walk_all: every dataset is walked.
        forced: a strategy that was asked for.

    Raises:
        DestinationError: the root is another dataset than the one that was copied.
    """

    def __init__(
        self,
        index: Index,
        scope: Scope,
        snapshots: Sequence[Snapshot],
        short: str,
        mounts: Mounts,
        *,
        excludes_changed: bool = False,
        walk_all: bool = False,
        forced: str | None = None,
    ) -> None:
        self.index = index
        self.walk_all = walk_all
        self._scope = scope
        self._mounts = mounts
        self._excludes_changed = excludes_changed
        self._forced = forced
        self._by_guid = {item.guid: item for item in snapshots}
        self._snapshots = _this_runs(snapshots, short)
        self._numbers: dict[str, int] = {}
        self._new: dict[str, bool] = {}
        self._roots: dict[str, int] = {}
        self._trees: dict[int, SnapshotTree] = {}
        self._names: dict[int, str] = {}
        self._failed: set[str] = set()
        self._number()

    def close(self) -> None:
        """Close the trees, so that the snapshots can be unmounted."""
        for tree in self._trees.values():
            tree.close()
        self._trees.clear()

    def _number(self) -> None:
        """Give every dataset its number; datasets are known by their GUID."""
        rows = self.index.db.execute("SELECT guid, id, root FROM dataset").fetchall()
        known = {row[0]: row for row in rows}
        following = max((row[1] for row in rows), default=0) + 1
        for member in self._scope.members:
            row = known.get(str(member.dataset.guid))
            if row is None:
                number, following = following, following + 1
            else:
                number = row[1]
                if row[2] is not None:
                    self._roots[member.name] = row[2]
            if number > HIGHEST_NUMBER:
                raise SourceError(
                    "number the datasets",
                    on=member.name,
                    found=f"the index has given away all {HIGHEST_NUMBER} numbers",
                    remedy="move the index away; it is rebuilt from its copy offsite",
                )
            self._new[member.name] = row is None
            self._numbers[member.name] = number
            self._names[number] = member.name
        self._check_root()

    def _check_root(self) -> None:
        root = self.index.get("root")
        first = self._scope.members[0] if self._scope.members else None
        if root is not None and first is not None and self._roots.get(first.name) != int(root):
            raise DestinationError(
                "copy offsite",
                on=first.name,
                found="it is another dataset than the one that was copied before (other GUID)",
                remedy="give the job another directory at the destination, or move its index and "
                "the destination's marker aside and set 'adopt: true'",
            )

    def tree(self, dataset: int) -> SnapshotTree:
        """The mounted snapshot of dataset number ``dataset``.

        Raises:
            SourceError: it can't be mounted.
        """
        if dataset not in self._trees:
            name = self._names.get(dataset)
            if name is None or name not in self._snapshots:
                raise SourceError(
                    "read the snapshot", on=f"dataset number {dataset}", found="it is gone"
                )
            path = self._mounts.mount(self._snapshots[name].name)
            self._trees[dataset] = SnapshotTree(os.fsencode(path))
        return self._trees[dataset]

    def root(self, dataset: int) -> int:
        """The node of the root directory of dataset number ``dataset``.

        Raises:
            SourceError: the dataset takes no part in this run.
        """
        name = self._names.get(dataset, "")
        if name not in self._roots:
            raise SourceError(
                "read the snapshot", on=f"dataset number {dataset}", found="it is gone"
            )
        return self._roots[name]

    def detect(self, detector: Detector, problem: Callable[[str], None]) -> Iterator[Detection]:
        """Compare every dataset; one that can't be read is a problem and keeps its base.

        Args:
            detector: compares.
            problem: told of each dataset that could not be read.
        """
        self._find_roots(problem)
        for member in self._scope.members:
            if member.name in self._failed:
                continue
            try:
                yield self._detect_one(member, detector)
            except SourceError as error:
                problem(f"{member.name}: {error}")
                self._failed.add(member.name)

    def _find_roots(self, problem: Callable[[str], None]) -> None:
        """The root nodes of all members; without its root a dataset has no place."""
        for member in self._scope.members:
            parent = member.name.rpartition("/")[0]
            if parent in self._failed and self._new.get(parent, False):
                self._failed.add(member.name)
            elif member.name not in self._snapshots:
                problem(f"{member.name}: it has no snapshot to copy")
                self._failed.add(member.name)
            elif member.name not in self._roots:
                number = self._numbers[member.name]
                try:
                    self.tree(number)
                    self._roots[member.name] = node_id(number, ROOT_NUMBER)
                except SourceError as error:
                    problem(f"{member.name}: {error}")
                    self._failed.add(member.name)

    def _base(self, member: Member) -> Base | None:
        row = self.index.db.execute(
            "SELECT base_guid FROM dataset WHERE guid = ?", (str(member.dataset.guid),)
        ).fetchone()
        if row is None or row[0] is None:
            return None
        found = self._by_guid.get(int(row[0]))
        if found is None or found.dataset != member.name:
            return None
        return Base(found.short, found.guid)

    def _why_walk(self) -> str:
        if self.walk_all:
            return "everything is compared"
        return "the excludes changed" if self._excludes_changed else ""

    def _detect_one(self, member: Member, detector: Detector) -> Detection:
        number = self._numbers[member.name]
        new = self._snapshots[member.name]
        base = self._base(member)
        choice = Choice(NONE, "it is the base itself")
        objects = 0
        if base is None or base.guid != new.guid or self._why_walk():
            written = self._written(member, base, new)
            if written or base is None or self._why_walk():
                usage = os.statvfs(self.tree(number).root)
                objects = max(usage.f_files - usage.f_ffree, 0)
            choice = choose(
                base=base,
                why_walk=self._why_walk(),
                written=written,
                objects=objects,
                rates=detector.rates,
                forced=self._forced,
            )
        grafts = {
            child.component: self._roots[child.name]
            for child in self._scope.children(member.name)
            if child.name not in self._failed
        }
        hidden = self._scope.hidden(member.name) | {
            child.component
            for child in self._scope.children(member.name)
            if child.name in self._failed
        }
        if choice.strategy == NONE and not self._needs_look(number, member, grafts, hidden):
            return Detection(member.name, NONE, choice.reason)
        view = View(
            number, member.prefix, self.tree(number), new.creation, grafts, frozenset(hidden)
        )
        return detector.detect(member.name, view, choice, base, new.name, objects)

    def _written(self, member: Member, base: Base | None, new: Snapshot) -> int:
        """Bytes written between the base and the new snapshot (the sum of ``written``).

        ``written`` of a snapshot counts from the one before it, so the sum over
        those after the base is what ``written@base`` of the snapshot would be.
        """
        if base is None:
            return 0
        low = self._by_guid[base.guid].createtxg
        return sum(
            item.written
            for item in self._by_guid.values()
            if item.dataset == member.name and low < item.createtxg <= new.createtxg
        )

    def _needs_look(
        self,
        number: int,
        member: Member,
        grafts: dict[bytes, int],
        hidden: frozenset[bytes] | set[bytes],
    ) -> bool:
        """True when nothing was written, but children came or went, or files are pending."""
        root = self._roots[member.name]
        rows = self.index.db.execute("SELECT name, id FROM link WHERE parent = ?", (root,))
        stored = {name: node for name, node in rows if node >> 48 != number}
        expected = {**{name: stored[name] for name in hidden if name in stored}, **grafts}
        if stored != expected:
            return True
        pending = self.index.db.execute(
            "SELECT EXISTS (SELECT 1 FROM link WHERE version IS NULL AND id BETWEEN ? AND ?)",
            (node_id(number, 0), node_id(number + 1, 0) - 1),
        ).fetchone()
        return bool(pending[0])

    def register(self) -> None:
        """Write numbers, names and roots of the datasets into the index."""
        with self.index.transaction() as db:
            for member in self._scope.members:
                if member.name not in self._roots:
                    continue
                number, root = self._numbers[member.name], self._roots[member.name]
                guid = str(member.dataset.guid)
                row = db.execute(
                    "SELECT name, root FROM dataset WHERE id = ?", (number,)
                ).fetchone()
                if row == (member.name, root):
                    continue
                db.execute(
                    """
                    INSERT INTO dataset(id, guid, name, root) VALUES (?, ?, ?, ?)
                    ON CONFLICT(id) DO UPDATE SET name = excluded.name, root = excluded.root""",
                    (number, guid, member.name, root),
                )
                emit(self.index, dataset_record(number, guid, member.name, root))
            if self._scope.members and self.index.get("root") is None:
                self.index.put("root", str(self._roots[self._scope.members[0].name]))

    def plan_root(self) -> None:
        """For a plan without an index: say where the tree's root is, in memory only."""
        if self.index.get("root") is None and self._scope.members:
            root = self._roots.get(self._scope.members[0].name)
            if root is not None:
                self.index.put("root", str(root))

    def update_unstorable(self, problem: Callable[[str], None]) -> None:
        """Keep in mind what the destination can't hold for as long as it is there."""
        db = self.index.db
        rows = db.execute("SELECT parent, name FROM unstorable").fetchall()
        gone = [row for row in rows if not self._still_there(row[0], row[1])]
        with self.index.transaction():
            db.executemany("DELETE FROM unstorable WHERE parent = ? AND name = ?", gone)
            db.execute("INSERT OR REPLACE INTO unstorable SELECT * FROM temp.refused")
        for parent, name, reason in db.execute("SELECT * FROM unstorable").fetchall():
            path = join(self.index.path_of(parent), name)
            problem(f"{printable(path)}: {reason}; rename or exclude it")

    def _still_there(self, parent: int, name: bytes) -> bool:
        number = parent >> 48
        try:
            path = join(self.index.path_of(parent), name)
            prefix = self.index.path_of(self._roots[self._names[number]])
            self.tree(number).lstat(path[len(prefix) + 1 :] if prefix else path)
        except (KeyError, FileNotFoundError, NotADirectoryError):
            return False
        return True

    def commit(self) -> None:
        """Make this run's snapshots the bases; inside the caller's transaction."""
        db = self.index.db
        for member in self._scope.members:
            if member.name in self._failed:
                continue
            new = self._snapshots[member.name]
            db.execute(
                "UPDATE dataset SET base = ?, base_guid = ?, base_creation = ? WHERE id = ?",
                (new.short, str(new.guid), new.creation, self._numbers[member.name]),
            )
        db.execute(
            """
            DELETE FROM dataset WHERE root IS NOT NULL
              AND root != (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'root')
              AND NOT EXISTS (SELECT 1 FROM link WHERE link.id = dataset.root)"""
        )

    def as_record(self) -> dict[str, dict[str, object]]:
        """The snapshots of this run, for its record."""
        return {
            name: {"snapshot": item.short, "guid": str(item.guid), "creation": item.creation}
            for name, item in sorted(self._snapshots.items())
            if name in self._numbers and name not in self._failed
        }


def _this_runs(snapshots: Sequence[Snapshot], short: str) -> dict[str, Snapshot]:
    """This run's snapshot of each dataset; the newest one of each when ``short`` is empty."""
    found: dict[str, Snapshot] = {}
    for item in snapshots:
        if short and item.short != short:
            continue
        if item.dataset not in found or found[item.dataset].createtxg < item.createtxg:
            found[item.dataset] = item
    return found
