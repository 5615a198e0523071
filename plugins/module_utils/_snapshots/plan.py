# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a run: which snapshots are taken and which go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._core.text import human_seconds
from ansible_collections.homelab.backup.plugins.module_utils._schedule.slots import (
    previous_slot,
    slots_between,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import (
    ClockEvidence,
    Host,
    Made,
    made,
    properties_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import (
    ON_TIME,
    Policy,
    Schedule,
    reference_time,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.retention import (
    Decision,
    retain,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Snapshot


@dataclass(frozen=True, slots=True)
class Take:
    """One atomic creation: a schedule's datasets in one pool.

    Attributes:
        slot: the slot that it is for, seconds since 1970.
        short: the name behind the ``@``.
        datasets: all that get it.
        root: when set, ``zfs snapshot -r`` on it does the same in one word.
        reason: a sentence for a person.
        properties: the user properties that mark it.
    """

    schedule: str
    pool: str
    slot: int
    short: str
    datasets: tuple[str, ...]
    root: str
    reason: str
    properties: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The full names of the snapshots."""
        return tuple(f"{dataset}@{self.short}" for dataset in self.datasets)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does, in this order. False when there is nothing to do.

    Attributes:
        takes: snapshots to take.
        decisions: on each of our snapshots, those of ``takes`` included.
        doubts: why the clock forbids pruning, by pool (``""``: all).
        missing: roots of the policy that no dataset has, with their schedule's id.
    """

    takes: tuple[Take, ...]
    decisions: tuple[Decision, ...]
    doubts: Mapping[str, str]
    missing: tuple[tuple[str, str], ...]

    @property
    def prunes(self) -> tuple[Decision, ...]:
        """The decisions to destroy."""
        return tuple(decision for decision in self.decisions if decision.prune)

    def __bool__(self) -> bool:
        return bool(self.takes or self.prunes)


def plan(
    host: Host,
    policy: Policy,
    now: int,
    clock: ClockEvidence,
    only: Iterable[str] = (),
) -> Plan:
    """What has to be done at ``now``.

    Args:
        host: the datasets and snapshots of the policy's pools.
        policy: what shall be.
        now: seconds since 1970.
        clock: what earlier runs say of it.
        only: ids of the schedules to look at; empty: all.

    Raises:
        ConfigError: an id that the policy doesn't have.
    """
    only = tuple(only)
    chosen = select(policy, only)
    ours = made(host)
    takes = tuple(take for one in chosen for take in due(host, ours, one, now))
    doubts = clock.doubts(ours, now)
    after = with_taken(host, takes, now)
    decisions = decide(after, policy, now, doubts, {}, only)
    return Plan(takes, decisions, doubts, tuple(missing_roots(host, chosen)))


def select(policy: Policy, only: Iterable[str]) -> tuple[Schedule, ...]:
    """The schedules of these ids; all of them when none is given."""
    wanted = tuple(only)
    unknown = sorted(set(wanted) - {one.id for one in policy.schedules})
    if unknown:
        known = ", ".join(one.id for one in policy.schedules) or "none"
        raise ConfigError(
            "find the schedule",
            on=", ".join(unknown),
            found=f"the policy has: {known}",
            remedy="correct the id",
        )
    return tuple(one for one in policy.schedules if not wanted or one.id in wanted)


def decide(
    host: Host,
    policy: Policy,
    now: int,
    doubts: Mapping[str, str],
    failed: Mapping[tuple[str, str], str],
    only: Iterable[str],
) -> tuple[Decision, ...]:
    """Retention's decisions.

    Args:
        only: ids of the schedules to decide for; empty: all.
        doubts: why the clock forbids pruning, by pool.
        failed: by (schedule, pool): why its new snapshot could not be taken.
    """
    chosen = frozenset(only)
    vetoes = {("", pool): reason for pool, reason in doubts.items()} | dict(failed)
    ours = [one for one in made(host) if not chosen or one.schedule in chosen]
    return retain(ours, policy, now, vetoes)


def missing_roots(host: Host, schedules: Iterable[Schedule]) -> Iterator[tuple[str, str]]:
    """Roots of enabled schedules that are no dataset, in the pools that could be read."""
    there = {dataset.name for dataset in host.datasets}
    for schedule in schedules:
        for root in schedule.datasets:
            if schedule.enabled and root not in there and root.split("/")[0] in host.pool_guids:
                yield root, schedule.id


def due(host: Host, ours: Iterable[Made], schedule: Schedule, now: int) -> Iterator[Take]:
    """What ``schedule`` has to take at ``now``: at most one snapshot for each pool.

    After a downtime of many slots, one is taken. A newest snapshot (by
    createtxg) whose slot lies in the future says that the clock was put back:
    the present slot is taken, although an earlier pass may have taken it too.
    """
    if not schedule.enabled:
        return
    slot = previous_slot(schedule.cron, now, schedule.zone)
    ours = [one for one in ours if one.schedule == schedule.id]
    for pool in schedule.pools:
        covered = tuple(
            dataset.name
            for dataset in host.datasets
            if dataset.pool == pool and schedule.covers(dataset.name)
        )
        last = _last_slot(ours, frozenset(covered))
        if covered and (last is None or last < slot or last > now):
            short = free_name(host, schedule, covered, reference_time(slot, now))
            yield Take(
                schedule=schedule.id,
                pool=pool,
                slot=slot,
                short=short,
                datasets=covered,
                root=_single_root(schedule, pool),
                reason=_why(schedule, slot, last, now),
                properties=properties_of(schedule, slot, host.pool_guids[pool]),
            )


def _last_slot(ours: Iterable[Made], covered: frozenset[str]) -> int | None:
    found = [one for one in ours if one.snapshot.dataset in covered]
    if not found:
        return None
    return max(found, key=lambda one: one.snapshot.createtxg).slot


def _single_root(schedule: Schedule, pool: str) -> str:
    roots = schedule.roots_in(pool)
    simple = schedule.recursive and len(roots) == 1 and not schedule.excludes_in(pool)
    return roots[0] if simple else ""


def _why(schedule: Schedule, slot: int, last: int | None, now: int) -> str:
    if last is None:
        return f"schedule {schedule.id!r} has no snapshot here yet"
    if last > now:
        return "the newest one is of the future: the clock was put back"
    late = now - slot
    if late < ON_TIME:
        return f"schedule {schedule.id!r} is due"
    missed = len(slots_between(schedule.cron, last, slot, schedule.zone))
    return f"{missed} slots were missed, the last one {human_seconds(late)} ago: one catches up"


def free_name(host: Host, schedule: Schedule, covered: tuple[str, ...], moment: int) -> str:
    """The best name for ``moment`` that none of the datasets has.

    Raises:
        ConfigError: all letters are used up.
    """
    datasets = frozenset(covered)
    taken = {shot.short for shot in host.snapshots if shot.dataset in datasets}
    for short in schedule.naming.candidates(moment, schedule.zone):
        if short not in taken:
            return short
    raise ConfigError(
        "name the snapshot",
        on=f"schedule {schedule.id}",
        found="all names of this minute are taken",
        remedy="destroy those that are not needed, and look why the clock goes back",
    )


def with_taken(host: Host, takes: Iterable[Take], now: int) -> Host:
    """The host as it will be after ``takes``."""
    txg = max((shot.createtxg for shot in host.snapshots), default=0)
    new: list[Snapshot] = []
    for take in takes:
        txg += 1
        new += [Snapshot(name, 0, txg, now, 0, 0, 0, (), take.properties) for name in take.names]
    return replace(host, snapshots=(*host.snapshots, *new))


def project(host: Host, planned: Plan, now: int) -> Host:
    """The host after ``planned`` was applied at ``now``."""
    gone = {decision.made.snapshot.name for decision in planned.prunes}
    after = with_taken(host, planned.takes, now)
    return replace(after, snapshots=tuple(s for s in after.snapshots if s.name not in gone))
