# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting old versions: the only thing here that removes anything at a destination.

It needs a login that may remove (the run's own key need not), and nothing but
the store and the layout, so that it works from the storage host, the
controller or the NAS itself.

What may go: directories below ``versions`` whose name is a run's id, and files
that a killed run left in ``incoming`` and a later run has not touched. What
may not: anything else; the newest runs' versions, whatever their age; and
anything while no run ends: age is counted up to the last run's record, so a
source that is gone, or a clock that is ahead, makes nothing older.

Killed at any point, the next call goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import utc_stamp
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    ConfigError,
    DestinationError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.destination import (
    read_marker,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import depth, join
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._offsite.marker import (
    Marker,
    run_time,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    LISTED_PATH_LIMIT,
    Kind,
    Outcome,
)

DAY = 86_400
BATCH = 2000
NAMED = 1000
RECORD_SUFFIX = b".json"
# Each round brings what lies too deep within reach. A moved directory may hold
# paths of any length, and each round takes at least 1000 bytes off them.
ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What would be deleted.

    Args:
        runs: ids of the runs whose versions are older than the limit, the oldest first.
        kept: how many runs' versions stay.
        leftovers: names of files in ``incoming`` that nobody will use any more.
        reference: up to when age was counted, seconds since the epoch; None when
            there is nothing to count from.
        before: what is older than this goes.
        notes: what is there and was left alone, and why.
    """

    runs: tuple[bytes, ...]
    kept: int
    leftovers: tuple[bytes, ...]
    reference: float | None
    before: float
    notes: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.runs or self.leftovers)

    def lines(self) -> list[str]:
        """The plan for a person."""
        found = [
            f"delete the versions of run {printable(run)}, older than {utc_stamp(self.before)}"
            for run in self.runs
        ]
        found += [f"delete the leftover incoming/{printable(name)}" for name in self.leftovers]
        return found + [f"note: {note}" for note in self.notes]


@dataclass(slots=True)
class Pruned:
    """What was deleted; ``size`` counts a file with more names once for each."""

    runs: int = 0
    files: int = 0
    directories: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    def problem(self, text: str) -> None:
        """Note what could not be deleted; the first ``NAMED`` in words."""
        self.problem_count += 1
        if self.problem_count <= NAMED:
            self.problems.append(text)


def require_ours(
    store: RemoteStore, layout: Layout, job: str, pool_guid: str | None = None
) -> Marker:
    """The destination's marker, if it is of ``job`` (and of that pool, where it is known).

    Raises:
        DestinationError: there is none, it is another's, or ``versions`` is no directory.
    """
    marker = read_marker(store, layout)
    if marker is None or not marker.belongs_to(job, pool_guid):
        raise DestinationError(
            "prune the versions",
            on=printable(layout.control),
            found="it has no marker of ours" if marker is None else f"it belongs to {marker}",
            remedy=f"name the control directory of job {job!r}; nothing was deleted",
        )
    for outcome in store.stat_many([layout.versions]):
        if outcome.error is not None:
            raise outcome.error
        if outcome.attributes is None or not outcome.attributes.is_directory:
            raise DestinationError(
                "prune the versions",
                on=printable(layout.versions),
                found="it is no directory",
                remedy="a run makes it; nothing was deleted",
            )
    return marker


def plan_prune(
    store: RemoteStore, layout: Layout, *, days: int, now: float, keep_runs: int = 1
) -> PrunePlan:
    """What is older than ``days``.

    Args:
        store: the destination.
        layout: of the job; its run is not used.
        days: how long versions are kept.
        now: seconds since the epoch.
        keep_runs: so many of the newest runs' versions stay whatever their age.

    Raises:
        ConfigError: ``days`` is less than one.
        DestinationError: a directory can't be read.
    """
    if days < 1:
        raise ConfigError(
            "prune the versions",
            on=f"{days} days",
            found="versions are kept for at least one day",
            remedy="correct versions_days",
        )
    notes: list[str] = []
    runs: list[tuple[int, bytes]] = []
    for entry in store.list_dir(layout.versions):
        started = run_time(entry.path)
        if started is None or not entry.attributes.is_directory:
            notes.append(f"versions/{printable(entry.path)} is not of a run and was left")
            continue
        runs.append((started, entry.path))
    runs.sort()
    ended = _last_record(store, layout)
    evidence = max(filter(None, (ended, runs[-1][0] if runs else None)), default=None)
    reference = None if evidence is None else min(now, float(evidence))
    before = (now if reference is None else reference) - days * DAY
    if reference is not None and now - reference > days * DAY:
        notes.append(f"no run has ended since {utc_stamp(reference)}: age is counted up to then")
    candidates = runs[: max(len(runs) - max(keep_runs, 0), 0)]
    old = tuple(name for started, name in candidates if started < before)
    leftovers = _leftovers(store, layout, ended, before, notes)
    return PrunePlan(old, len(runs) - len(old), leftovers, reference, before, tuple(notes))


def _last_record(store: RemoteStore, layout: Layout) -> int | None:
    """When the last run with a record began."""
    times = (
        run_time(entry.path.removesuffix(RECORD_SUFFIX))
        for entry in store.list_dir(layout.records)
        if entry.path.endswith(RECORD_SUFFIX)
    )
    return max((found for found in times if found is not None), default=None)


def _leftovers(
    store: RemoteStore, layout: Layout, ended: int | None, before: float, notes: list[str]
) -> tuple[bytes, ...]:
    """Files of killed runs. Every run moves them into its versions, so a later run's are garbage.

    A directory among them may be one that was being moved: it is left to the runs.
    """
    found = []
    for entry in store.list_dir(layout.incoming):
        started = run_time(entry.path.rpartition(b".")[0])
        if started is None or entry.attributes.kind is not Kind.FILE:
            notes.append(f"incoming/{printable(entry.path)} was left for the next run")
        elif started < before and ended is not None and ended > started:
            found.append(entry.path)
    return tuple(sorted(found))


def apply_prune(
    store: RemoteStore,
    layout: Layout,
    plan: PrunePlan,
    progress: Callable[[Pruned], None] = lambda dummy: None,
) -> Pruned:
    """Delete what ``plan`` names.

    Args:
        store: the destination, with a login that may remove.
        layout: as for the plan.
        plan: from :func:`plan_prune`.
        progress: told now and then how far it is.

    Raises:
        TransportError: the connection broke; call it again.
    """
    result = Pruned()
    for name in plan.runs:
        if run_time(name) is None:
            raise ValueError(name)
        removal = _Removal(store, join(layout.versions, name), result, progress)
        if removal.remove():
            result.runs += 1
    paths = [join(layout.incoming, name) for name in plan.leftovers]
    result.files += _count(store.remove_many(paths), result)
    return result


def _count(outcomes: Iterable[Outcome], result: Pruned) -> int:
    """How many were done; a refusal is noted, what is gone already is not."""
    done = 0
    for outcome in outcomes:
        if outcome.error is None:
            done += 1
        elif not _is_missing(outcome.error):
            result.problem(str(outcome.error))
    return done


def _is_missing(error: BackupError) -> bool:
    return isinstance(error, RemoteError) and error.reason is Reason.MISSING


def _is_forbidden(error: BackupError) -> bool:
    return isinstance(error, RemoteError) and error.reason in (
        Reason.PERMISSION,
        Reason.UNSUPPORTED,
    )


class _Removal:
    """Removes one directory with all that is in it.

    A run that moves a directory into versions may give what lies in it a longer
    path than the server can open (PATH_MAX), or lists (LISTED_PATH_LIMIT). A
    directory that can't be removed is therefore renamed to a short path at the
    top, where its entries are within reach.
    """

    def __init__(
        self, store: RemoteStore, base: bytes, result: Pruned, progress: Callable[[Pruned], None]
    ) -> None:
        self._store = store
        self._base = base
        self._result = result
        self._progress = progress
        self._next = 1

    def remove(self) -> bool:
        """True when it is gone; what is in the way is among the problems."""
        for dummy in range(ROUNDS):
            problems = self._result.problem_count
            refused = self._round()
            if not refused:
                return True
            if self._result.problem_count > problems:
                return False
            if not self._hoist(refused):
                break
        self._result.problem(
            f"{printable(self._base)} can't be emptied: something in it is not listed"
        )
        return False

    def _round(self) -> list[Outcome]:
        """Remove what is listed; the directories that could not be removed."""
        directories = [self._base]
        files: list[bytes] = []

        def unreadable(error: RemoteError) -> None:
            if not _is_missing(error) and len(error.path) <= LISTED_PATH_LIMIT:
                self._result.problem(str(error))

        try:
            for entry in self._store.list_tree(self._base, on_error=unreadable):
                path = join(self._base, entry.path)
                if entry.attributes.is_directory:
                    directories.append(path)
                    continue
                files.append(path)
                self._result.size += entry.attributes.size or 0
                if len(files) >= BATCH:
                    self._remove_files(files)
                    files = []
        except RemoteError as error:
            if _is_missing(error):
                return []
            self._result.problem(str(error))
            return [Outcome(self._base, error)]
        self._remove_files(files)
        return self._remove_directories(directories)

    def _remove_files(self, paths: Sequence[bytes]) -> None:
        outcomes = self._store.remove_many(paths)
        within_reach = (item for item in outcomes if item.ok or len(item.path) <= LISTED_PATH_LIMIT)
        self._result.files += _count(within_reach, self._result)
        self._progress(self._result)

    def _remove_directories(self, paths: list[bytes]) -> list[Outcome]:
        refused: list[Outcome] = []
        by_depth: dict[int, list[bytes]] = {}
        for path in paths:
            by_depth.setdefault(depth(path), []).append(path)
        for level in sorted(by_depth, reverse=True):
            for outcome in self._store.rmdir_many(by_depth[level]):
                if outcome.error is None:
                    self._result.directories += 1
                elif not _is_missing(outcome.error):
                    refused.append(outcome)
                    if _is_forbidden(outcome.error):
                        self._result.problem(str(outcome.error))
        return refused

    def _hoist(self, refused: Sequence[Outcome]) -> bool:
        """Rename the deepest of the refused directories to the top; False when there is none."""
        paths = {outcome.path for outcome in refused}
        above = {path.rpartition(b"/")[0] for path in paths}
        deepest = [path for path in paths if path not in above and path != self._base]
        if not deepest:
            return False
        taken = {entry.path for entry in self._store.list_dir(self._base)}
        pairs = []
        for path in deepest:
            while b"%d" % self._next in taken:
                self._next += 1
            pairs.append((path, join(self._base, b"%d" % self._next)))
            self._next += 1
        outcomes = self._store.rename_many(pairs, overwrite=False)
        return _count(outcomes, self._result) > 0
