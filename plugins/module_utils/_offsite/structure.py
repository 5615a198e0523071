# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deletions, moves and new directories: the steps that reshape the remote tree.

Every step is one rename or mkdir with a name on one side that only this run
uses, so that after a kill it can be told whether it was done:

    take    old path -> incoming/RUN.n          done when incoming/RUN.n is there
    retire  old path -> versions/RUN/deleted/…  done when that is there
    mkdir   new path                            done when it is there
    place   incoming/RUN.n -> new path          done when incoming/RUN.n is gone

First the tree is emptied of what leaves its place, deepest names first (each
old path is still valid when its turn comes); then it is filled, highest names
first. That makes swaps, cycles and files that become directories ordinary.
Nothing is removed: a deletion is a rename.

The steps are written down before the first is made and ticked off in batches.
A run that finds steps of a killed one finishes them first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator

from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    FILE,
    depth,
    join,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import (
    DELETED,
    EMPTIED,
    STRAY,
    Layout,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import Outcome

EMPTYING, FILLING = 0, 1
OPEN, DONE, LOST = 0, 1, 2
CHUNK = 2000

# A node that is in another place than before, and still the same kind of thing.
# A file counts only when its content is certainly the same.
MOVED = """
INSERT OR IGNORE INTO temp.moved
  SELECT came.id FROM temp.came JOIN object ON object.id = came.id AND object.kind = came.kind
  LEFT JOIN temp.changed ON changed.id = came.id
  WHERE came.kind = 'd' OR (came.kind = 'f' AND coalesce(changed.content, 0) = 0);
"""
# Directories that go for good, with all directories below but those that moved out.
DEAD = """
INSERT OR IGNORE INTO temp.gone_below
  WITH RECURSIVE dead(id) AS (
    SELECT gone.id FROM temp.gone
      WHERE gone.kind = 'd' AND gone.id NOT IN (SELECT id FROM temp.moved)
    UNION
    SELECT link.id FROM dead JOIN link ON link.parent = dead.id
      JOIN object ON object.id = link.id AND object.kind = 'd'
      WHERE link.id NOT IN (SELECT id FROM temp.moved))
  SELECT id FROM dead;
"""
# What moved out of them has an old name to be taken from.
MOVED_OUT = """
INSERT OR IGNORE INTO temp.gone
  SELECT link.parent, link.name, link.id, object.kind
  FROM temp.moved JOIN link USING (id) JOIN object USING (id)
  WHERE link.parent IN (SELECT id FROM temp.gone_below);
"""

# Names that files move to.
PLACED = """
CREATE TEMP TABLE IF NOT EXISTS placed(
  parent INTEGER NOT NULL, name BLOB NOT NULL, PRIMARY KEY(parent, name)) WITHOUT ROWID"""


def settle(index: Index) -> None:
    """Complete the comparison's tables: what moved, and what lies below a deleted directory."""
    index.db.execute("DELETE FROM temp.moved")
    index.db.execute(MOVED)
    index.db.execute(DEAD)
    index.db.execute(MOVED_OUT)


class NewPaths:
    """Paths in the tree as it will be: names that came count before those of the index."""

    def __init__(self, index: Index) -> None:
        self._db = index.db
        self._root = int(index.get("root") or 0)
        self._known: dict[int, bytes] = {self._root: b""}

    def of(self, directory: int) -> bytes:
        """The new path of a directory.

        Raises:
            KeyError: it is in neither tree.
        """
        chain: list[tuple[int, bytes]] = []
        node = directory
        while node not in self._known:
            row = (
                self._db.execute(
                    "SELECT parent, name FROM temp.came WHERE id = ? AND kind = 'd'", (node,)
                ).fetchone()
                or self._db.execute(
                    "SELECT parent, name FROM link WHERE id = ? LIMIT 1", (node,)
                ).fetchone()
            )
            if row is None:
                raise KeyError(directory)
            chain.append((node, row[1]))
            node = row[0]
        path = self._known[node]
        if len(self._known) > 50_000:
            self._known = {self._root: b""}
        for child, name in reversed(chain):
            path = join(path, name)
            self._known[child] = path
        return path


def _pairs(
    db: sqlite3.Connection,
) -> Iterator[tuple[tuple[int, bytes], tuple[int, bytes], int, str]]:
    """(old name, new name, node, kind) of every move; a file with more names moves name by name."""
    nodes = db.execute("SELECT DISTINCT gone.id FROM temp.gone JOIN temp.moved USING (id)")
    for (node,) in nodes:
        old = db.execute(
            """
            SELECT gone.parent, gone.name, gone.kind FROM temp.gone
            JOIN link ON link.parent = gone.parent AND link.name = gone.name
            WHERE gone.id = ? AND (gone.kind = 'd' OR link.sha256 IS NOT NULL)
            ORDER BY gone.parent, gone.name""",
            (node,),
        )
        new = db.execute(
            "SELECT parent, name FROM temp.came WHERE id = ? ORDER BY parent, name", (node,)
        )
        for (old_parent, old_name, kind), (parent, name) in zip(old.fetchall(), new, strict=False):
            yield (old_parent, old_name), (parent, name), node, kind


def plan_steps(index: Index, layout: Layout) -> int:
    """Write the steps down, in one transaction; returns how many there are."""
    with index.transaction() as db:
        db.execute("DELETE FROM temp.taken")
        db.execute(PLACED)
        db.execute("DELETE FROM temp.placed")
        db.execute("DELETE FROM step")
        paths = NewPaths(index)
        for number, (old, new, node, kind) in enumerate(_pairs(db)):
            waiting = layout.staged(number)
            old_path = join(index.path_of(old[0]), old[1])
            new_path = join(paths.of(new[0]), new[1])
            _add(db, EMPTYING, "take", old_path, waiting, old, node)
            _add(db, FILLING, "place", waiting, new_path, new, node)
            db.execute("INSERT INTO temp.taken VALUES (?, ?)", old)
            if kind == FILE:
                db.execute("INSERT OR IGNORE INTO temp.placed VALUES (?, ?)", new)
        _plan_retirements(db, index, layout)
        for parent, name, node in db.execute(
            """
            SELECT parent, name, id FROM temp.came
            WHERE kind = 'd' AND id NOT IN (SELECT id FROM temp.moved)"""
        ):
            _add(db, FILLING, "mkdir", b"", join(paths.of(parent), name), (parent, name), node)
        index.put("structure_run", layout.run)
        index.put("structure_phase", str(EMPTYING))
        return int(db.execute("SELECT count(*) FROM step").fetchone()[0])


def _plan_retirements(db: sqlite3.Connection, index: Index, layout: Layout) -> None:
    """What leaves for good, but for files that a new file replaces under the same name.

    Those keep their old content until the new one is whole; sending then
    renames it over the old one.
    """
    rows = db.execute(
        """
        SELECT gone.parent, gone.name, gone.id
        FROM temp.gone LEFT JOIN temp.came USING (parent, name)
        LEFT JOIN temp.placed ON placed.parent = gone.parent AND placed.name = gone.name
        WHERE (gone.kind != 'f' OR coalesce(came.kind, '') != 'f' OR placed.name IS NOT NULL)
          AND gone.kind IN ('f', 'd') AND gone.parent NOT IN (SELECT id FROM temp.gone_below)
          AND NOT EXISTS (SELECT 1 FROM temp.taken
                          WHERE taken.parent = gone.parent AND taken.name = gone.name)"""
    )
    for parent, name, node in rows:
        path = join(index.path_of(parent), name)
        _add(db, EMPTYING, "retire", path, layout.version(DELETED, path), (parent, name), node)


def _add(
    db: sqlite3.Connection,
    phase: int,
    act: str,
    source: bytes,
    target: bytes,
    name: tuple[int, bytes],
    node: int,
) -> None:
    """One step. Tree paths are stored relative; ``_ends`` makes them whole."""
    level = depth(source) if phase == EMPTYING else -depth(target)
    db.execute(
        "INSERT INTO step VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (phase, level, act, source, target, *name, node, OPEN),
    )


class Reshaping:
    """Makes the steps that are written down.

    Args:
        index: holds the steps.
        store: the destination.
        layout: of the run that planned the steps (not of the one that resumes them).
        report: told of each finding, a sentence.
        leftover: told instead of ``report`` of what stands where a new name belongs.

    ``incomplete`` is True when a directory of the tree was missing and made again:
    what was in it is not there.
    """

    def __init__(
        self,
        index: Index,
        store: RemoteStore,
        layout: Layout,
        report: Callable[[str], None],
        leftover: Callable[[str], None] | None = None,
    ) -> None:
        self._index = index
        self._db = index.db
        self._store = store
        self._layout = layout
        self._report = report
        self._leftover = leftover or report
        self._made: set[bytes] = set()
        self.incomplete = False

    def make(self) -> None:
        """Make all open steps.

        Raises:
            DestinationError: the server refused a step for a reason that needs a person.
            TransportError: the connection broke; the next run goes on from here.
        """
        if self._index.get("structure_phase") == str(EMPTYING):
            self._phase(EMPTYING)
            with self._index.transaction():
                self._index.put("structure_phase", str(FILLING))
        self._phase(FILLING)

    def _phase(self, phase: int) -> None:
        levels = self._db.execute(
            "SELECT DISTINCT depth FROM step WHERE phase = ? AND state = ? ORDER BY depth DESC",
            (phase, OPEN),
        ).fetchall()
        for (level,) in levels:
            while True:
                rows = self._db.execute(
                    """
                    SELECT seq, act, source, target FROM step
                    WHERE phase = ? AND depth = ? AND state = ? LIMIT ?""",
                    (phase, level, OPEN, CHUNK),
                ).fetchall()
                if not rows:
                    break
                self._chunk(rows)

    def _chunk(self, rows: list[tuple[int, str, bytes, bytes]]) -> None:
        states: dict[int, int] = {}
        mkdirs = [row for row in rows if row[1] == "mkdir"]
        if mkdirs:
            paths = [self._layout.path(row[3]) for row in mkdirs]
            for row, outcome in zip(
                mkdirs, self._store.mkdir_many(paths, exist_ok=True), strict=True
            ):
                states[row[0]] = DONE if outcome.ok else self._mkdir_refused(outcome)
        leaving = [row for row in rows if row[1] in ("take", "retire")]
        if leaving:
            self._make_parents(row[3] for row in leaving if row[1] == "retire")
            pairs = [(self._layout.path(row[2]), row[3]) for row in leaving]
            # The target's name is this run's own, so nothing can be overwritten, and
            # posix-rename is one rename(2) where SFTP's own RENAME is link and unlink.
            outcomes = self._store.rename_many(pairs, overwrite=True)
            for row, outcome in zip(leaving, outcomes, strict=True):
                states[row[0]] = DONE if outcome.ok else self._leave_refused(row, outcome)
        placing = [row for row in rows if row[1] == "place"]
        if placing:
            pairs = [(row[2], self._layout.path(row[3])) for row in placing]
            outcomes = self._store.rename_many(pairs, overwrite=False)
            for row, outcome in zip(placing, outcomes, strict=True):
                states[row[0]] = DONE if outcome.ok else self._place_refused(row, outcome)
        with self._index.transaction() as db:
            db.executemany(
                "UPDATE step SET state = ? WHERE seq = ?",
                [(state, seq) for seq, state in states.items()],
            )

    def _make_parents(self, targets: Iterable[bytes]) -> None:
        make_parents(self._store, self._layout, targets, self._made)

    def _there(self, path: bytes) -> bool:
        for outcome in self._store.stat_many([path]):
            if outcome.error is not None:
                raise outcome.error
            return outcome.attributes is not None
        return False

    def _leave_refused(self, row: tuple[int, str, bytes, bytes], outcome: Outcome) -> int:
        """A take or retire that was refused: done before the kill, or nothing was there."""
        error = outcome.error
        if isinstance(error, RemoteError) and error.reason is Reason.EXISTS and row[1] == "retire":
            self._merge(self._layout.path(row[2]), row[3], b"%d" % row[0])
            return DONE
        if not isinstance(error, RemoteError) or error.reason is not Reason.MISSING:
            raise error or RuntimeError(row)
        if self._there(row[3]):
            return DONE
        pending = self._db.execute(
            """
            SELECT link.sha256 IS NULL AND link.version IS NULL FROM step
            JOIN link ON link.parent = step.parent AND link.name = step.name
            WHERE step.seq = ?""",
            (row[0],),
        ).fetchone()
        if pending is None or not pending[0]:
            self._report(f"missing at the destination: {printable(row[2])}")
        # Nothing has to leave for good any more; but what should move on has to be sent anew.
        return DONE if row[1] == "retire" else LOST

    def _merge(self, source: bytes, target: bytes, number: bytes) -> None:
        """Move what a directory holds to where a part of it has gone before.

        A file is deleted from ``a/b``, ``a/b`` moves away, ``a`` is deleted: then
        versions has ``a/b`` with the file when ``a`` comes. The directory that is
        empty in the end can't be removed, so it is put among the emptied ones.
        """
        for count, entry in enumerate(self._store.list_dir(source)):
            pair = source + b"/" + entry.path, target + b"/" + entry.path
            error = self._store.rename_many([pair], overwrite=True)[0].error
            if error is None:
                continue
            if not isinstance(error, RemoteError) or error.reason is not Reason.EXISTS:
                raise error
            self._merge(*pair, b"%s.%d" % (number, count))
        aside = self._layout.version(EMPTIED, number)
        self._make_parents([aside])
        emptied = self._store.rename_many([(source, aside)], overwrite=True)[0]
        if emptied.error is not None:
            raise emptied.error

    def _place_refused(self, row: tuple[int, str, bytes, bytes], outcome: Outcome) -> int:
        error = outcome.error
        if not isinstance(error, RemoteError):
            raise error or RuntimeError(row)
        target = self._layout.path(row[3])
        if not self._there(row[2]):
            return DONE if self._there(target) else LOST
        if self._there(target):
            self.set_aside(row[3])
        elif error.reason is Reason.MISSING:
            self._make_above(row[3])
        else:
            raise error
        retried = self._store.rename_many([(row[2], target)], overwrite=False)[0]
        if retried.error is not None:
            raise retried.error
        return DONE

    def _mkdir_refused(self, outcome: Outcome) -> int:
        """Something that is no directory stands where one has to be, or one above is gone."""
        error = outcome.error
        path = outcome.path[len(self._layout.tree) + 1 :]
        if isinstance(error, RemoteError) and error.reason is Reason.EXISTS:
            self.set_aside(path)
        elif isinstance(error, RemoteError) and error.reason is Reason.MISSING:
            self._make_above(path)
        else:
            raise error or RuntimeError(outcome.path)
        retried = self._store.mkdir_many([outcome.path], exist_ok=True)[0]
        if retried.error is not None:
            raise retried.error
        return DONE

    def _make_above(self, path: bytes) -> None:
        """Make the directories above ``path`` that someone removed from the tree."""
        self.incomplete = True
        above = [path[:at] for at, byte in enumerate(path) if byte == ord("/")]
        for directory in above:
            remote = self._layout.path(directory)
            made = self._store.mkdir_many([remote], exist_ok=False)[0].error
            if made is None:
                self._report(f"missing at the destination: {printable(directory)}")
            elif not isinstance(made, RemoteError) or made.reason is not Reason.EXISTS:
                raise made

    def note(self, finding: str) -> None:
        """Report a finding."""
        self._report(finding)

    def make_way(self, path: bytes) -> None:
        """Move what stands where a new file belongs into versions.

        A killed run may have given the file its name and not recorded it.
        """
        self._move_away(path)
        self._leftover(f"unexpected at the destination, set aside: {printable(path)}")

    def set_aside(self, path: bytes) -> None:
        """Move what is at ``path`` in the tree, and should not be, into versions."""
        self._move_away(path)
        self._report(f"unexpected at the destination, set aside: {printable(path)}")

    def _move_away(self, path: bytes) -> None:
        aside, again = self._layout.version(STRAY, path), 1
        while self._there(aside):
            again += 1
            aside = self._layout.version(STRAY + b".%d" % again, path)
        self._make_parents([aside])
        moved = self._store.rename_many([(self._layout.path(path), aside)], overwrite=True)[0]
        if moved.error is not None:
            raise moved.error


def make_parents(
    store: RemoteStore, layout: Layout, targets: Iterable[bytes], made: set[bytes]
) -> None:
    """Make the directories above ``targets`` (in versions), those not in ``made`` yet.

    Raises:
        DestinationError: one could not be made.
    """
    wanted: set[bytes] = set()
    for target in targets:
        above = target.rpartition(b"/")[0]
        while len(above) > len(layout.versions) and above not in made and above not in wanted:
            wanted.add(above)
            above = above.rpartition(b"/")[0]
    for level in sorted({depth(path) for path in wanted}):
        batch = [path for path in wanted if depth(path) == level]
        for outcome in store.mkdir_many(batch, exist_ok=True):
            if outcome.error is not None:
                raise outcome.error
    made |= wanted
