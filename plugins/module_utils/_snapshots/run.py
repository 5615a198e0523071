# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot run: read, plan, take, verify, prune, record.

Killed at any point, the next run is right: what was taken is seen by its user
property and not taken again, what wasn't pruned is planned again, and the
record and the memory are written last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import Clock
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    SourceError,
)
from ansible_collections.homelab.backup.plugins.module_utils._schedule.slots import previous_slot
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import (
    PROPERTIES,
    ClockEvidence,
    Host,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.plan import (
    Plan,
    Take,
    decide,
    plan,
    select,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ports import Memory
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.record import (
    Failure,
    RunMemory,
    RunRecord,
    digest,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.retention import Decision
from ansible_collections.homelab.backup.plugins.module_utils._zfs.errors import (
    DatasetMissingError,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.ports import Zfs
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import (
    Refusal,
    Snapshot,
    dataset_of,
)

# How often a creation is tried without the datasets that zfs refused.
ROUNDS = 5
QUOTED = re.compile(r"'([^']+)'")


@dataclass(slots=True)
class Outcome:
    """What a run has done so far."""

    taken: list[tuple[Take, tuple[str, ...]]] = field(default_factory=list)
    pruned: list[Decision] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def run(
    zfs: Zfs,
    memory: Memory,
    clock: Clock,
    policy: Policy,
    *,
    only: Sequence[str] = (),
    accept_clock: bool = False,
) -> RunRecord:
    """Take what is due now and prune what is over.

    Args:
        only: ids of the schedules to look at; empty: all.
        accept_clock: the clock is right now, whatever earlier runs and
            snapshots say.

    Raises:
        ConfigError: an unknown id, or a damaged memory.
        OSError: the record could not be written; what was done was done.
    """
    started = int(clock.now())
    chosen = tuple(one.id for one in select(policy, only))
    known = memory.load()
    if accept_clock:
        known = replace(known, clock=ClockEvidence())
    elif nothing_due(policy, chosen, known, started):
        return RunRecord(started, started, chosen)
    outcome = Outcome()
    failures, host = read_host(zfs, policy.pools)
    outcome.failures += failures
    if accept_clock:
        known = replace(known, clock=accepted(host, started))
    planned = plan(host, policy, started, known.clock, only)
    outcome.failures += [
        Failure(_no_such_root(root, schedule), schedule) for root, schedule in planned.missing
    ]
    after = _take_all(zfs, host, planned, outcome)
    _prune_all(zfs, after, policy, planned, outcome, started, chosen)
    record = RunRecord(
        started=started,
        ended=int(clock.now()),
        schedules=chosen,
        taken=tuple(outcome.taken),
        pruned=tuple(outcome.pruned),
        refused=tuple(outcome.refused),
        failures=tuple(outcome.failures),
        doubts=planned.doubts,
    )
    if record.eventful:
        memory.keep(record)
    memory.save(remembered(policy, known, record))
    return record


def nothing_due(policy: Policy, chosen: Iterable[str], known: RunMemory, now: int) -> bool:
    """True when an earlier run completed the present slot of each chosen schedule.

    Disabled ones count too: at their slots, what is left of them is pruned.
    """
    if known.policy != digest(policy) or now < known.clock.latest:
        return False
    return all(
        known.done.get(one.id) == previous_slot(one.cron, now, one.zone)
        for one in select(policy, chosen)
    )


def remembered(policy: Policy, known: RunMemory, record: RunRecord) -> RunMemory:
    """What the next run has to know after ``record``."""
    fingerprint = digest(policy)
    done = dict(known.done) if known.policy == fingerprint else {}
    for one in select(policy, record.schedules):
        done.pop(one.id, None)
        if not (record.failures or record.refused or record.doubts):
            done[one.id] = previous_slot(one.cron, record.started, one.zone)
    latest = max(known.clock.latest, record.started)
    return RunMemory(replace(known.clock, latest=latest), fingerprint, done)


def accepted(host: Host, now: int) -> ClockEvidence:
    """Evidence that begins anew: what is there by now is no sign of a wrong clock."""
    newest: dict[str, int] = {}
    for shot in host.snapshots:
        newest[shot.pool] = max(newest.get(shot.pool, 0), shot.createtxg)
    return ClockEvidence(now, newest)


def read_host(zfs: Zfs, pools: Sequence[str]) -> tuple[list[Failure], Host]:
    """Datasets and snapshots of ``pools``, and a failure for each that can't be read.

    All pools in one go; one by one only when that fails, to find which it is.
    """
    try:
        return [], _read(zfs, pools)
    except SourceError as exc:
        if len(pools) == 1:
            return [Failure(exc, "", pools[0])], Host((), (), {})
    failures: list[Failure] = []
    parts: list[Host] = []
    for pool in pools:
        found, part = read_host(zfs, [pool])
        failures += found
        parts.append(part)
    return failures, Host(
        tuple(dataset for part in parts for dataset in part.datasets),
        tuple(shot for part in parts for shot in part.snapshots),
        {pool: guid for part in parts for pool, guid in part.pool_guids.items()},
    )


def _read(zfs: Zfs, pools: Sequence[str]) -> Host:
    if not pools:
        return Host((), (), {})
    return Host(
        zfs.datasets(*pools),
        zfs.snapshots(pools, user_properties=PROPERTIES),
        zfs.pool_guids(pools),
    )


def _no_such_root(root: str, schedule: str) -> SourceError:
    return DatasetMissingError(
        f"take snapshots for schedule {schedule!r}",
        on=root,
        found="there is no such dataset",
        remedy="create it, or take it out of the policy",
    )


def _take_all(zfs: Zfs, host: Host, planned: Plan, outcome: Outcome) -> Host:
    """Take what is planned; returns the host with what is there afterwards."""
    if not planned.takes:
        return host
    expected = [(take, _take(zfs, take, outcome)) for take in planned.takes]
    pools = sorted(host.pool_guids)
    after = replace(host, snapshots=_reread(zfs, pools, outcome.failures, host))
    there = {shot.name: shot for shot in after.snapshots}
    for take, names in expected:
        found = tuple(name for name in names if _is_the_taken(there.get(name), take))
        if found:
            outcome.taken.append((take, found))
        outcome.failures += [
            Failure(_not_there(name), take.schedule) for name in names if name not in found
        ]
    return after


def _reread(
    zfs: Zfs, pools: Sequence[str], failures: list[Failure], before: Host
) -> tuple[Snapshot, ...]:
    """The snapshots after taking; of a pool that can't be read any more, those of before."""
    found: list[Snapshot] = []
    try:
        return zfs.snapshots(pools, user_properties=PROPERTIES)
    except SourceError:
        for pool in pools:
            try:
                found += zfs.snapshots([pool], user_properties=PROPERTIES)
            except SourceError as exc:
                failures.append(Failure(exc, "", pool))
                found += [shot for shot in before.snapshots if shot.pool == pool]
    return tuple(found)


def _is_the_taken(shot: Snapshot | None, take: Take) -> bool:
    return shot is not None and all(
        shot.properties.get(key) == value for key, value in take.properties.items()
    )


def _not_there(name: str) -> SourceError:
    return SourceError(
        "verify the new snapshot",
        on=name,
        found="it is not listed although zfs reported success",
        remedy="it is tried again with the next run; look at 'zpool history -i'",
    )


def _take(zfs: Zfs, take: Take, outcome: Outcome) -> tuple[str, ...]:
    """Create one take's snapshots in one transaction; returns the names created.

    When zfs refuses some of the datasets and names them, the others are tried
    without them, again in one transaction: one full or odd dataset doesn't
    leave all the others without a snapshot.
    """
    names = take.names
    root = take.root
    for dummy in range(ROUNDS):
        try:
            if root:
                zfs.snapshot_recursive(root, take.short, take.properties)
            else:
                zfs.snapshot(names, take.properties)
            return names
        except DatasetMissingError as exc:
            remaining = _still_there(zfs, take, names, outcome)
            if len(remaining) in (0, len(names)):
                outcome.failures.append(Failure(exc, take.schedule, take.pool))
                return ()
        except SourceError as exc:
            refused = _named(exc, names)
            remaining = tuple(name for name in names if name not in refused)
            if len(remaining) in (0, len(names)):
                outcome.failures.append(Failure(exc, take.schedule, take.pool))
                return ()
            outcome.failures += [
                Failure(_refused(exc, name), take.schedule) for name in names if name in refused
            ]
        names, root = remaining, ""
    outcome.failures.append(Failure(_too_many(take), take.schedule, take.pool))
    return ()


def _still_there(zfs: Zfs, take: Take, names: Sequence[str], outcome: Outcome) -> tuple[str, ...]:
    """Those of ``names`` whose dataset was not destroyed since it was listed."""
    try:
        there = {dataset.name for dataset in zfs.datasets(take.pool)}
    except SourceError as exc:
        outcome.failures.append(Failure(exc, take.schedule, take.pool))
        return ()
    return tuple(name for name in names if dataset_of(name) in there)


def _named(exc: SourceError, names: Sequence[str]) -> frozenset[str]:
    """Those of ``names`` that zfs named in its complaint, by dataset or by snapshot."""
    quoted = {dataset_of(word) for word in QUOTED.findall(exc.found)}
    return frozenset(name for name in names if dataset_of(name) in quoted)


def _refused(exc: SourceError, name: str) -> SourceError:
    return type(exc)(exc.tried, on=name, found=exc.found, remedy=exc.remedy)


def _too_many(take: Take) -> SourceError:
    return SourceError(
        "take the snapshots",
        on=f"schedule {take.schedule}, pool {take.pool}",
        found=f"zfs refused other datasets in each of {ROUNDS} tries",
        remedy="look at the errors named before; it is tried again with the next run",
    )


def _prune_all(
    zfs: Zfs,
    host: Host,
    policy: Policy,
    planned: Plan,
    outcome: Outcome,
    now: int,
    chosen: Sequence[str],
) -> None:
    """Destroy what retention gives up, dataset by dataset."""
    failed = {
        (failure.schedule, failure.pool): f"its new snapshot could not be taken: {failure.error}"
        for failure in outcome.failures
        if failure.schedule and failure.pool
    }
    decisions = decide(host, policy, now, planned.doubts, failed, chosen)
    by_dataset: dict[str, list[Decision]] = {}
    for decision in decisions:
        if decision.prune:
            by_dataset.setdefault(decision.made.snapshot.dataset, []).append(decision)
    for dataset, doomed in by_dataset.items():
        try:
            result = zfs.destroy_snapshots(dataset, [one.made.snapshot.short for one in doomed])
        except BackupError as exc:
            outcome.failures.append(Failure(exc, "", dataset.partition("/")[0]))
            continue
        outcome.pruned += [one for one in doomed if one.made.snapshot.name in result.gone]
        outcome.refused += result.kept
