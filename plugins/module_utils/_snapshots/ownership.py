# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshots are ours, and what is known of the host and its clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ansible_collections.homelab.backup.plugins.module_utils._core.text import (
    human_seconds,
    utc_stamp,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.naming import Naming
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import (
    Schedule,
    reference_time,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Dataset, Snapshot

SCHEDULE = "homelab.backup:schedule"
SLOT = "homelab.backup:slot"
NAMING = "homelab.backup:naming"
POOL = "homelab.backup:pool"
PROPERTIES = (SCHEDULE, SLOT, NAMING, POOL)
# Steps of the clock up to this many seconds are ordinary (NTP).
CLOCK_TOLERANCE = 300


@dataclass(frozen=True, slots=True)
class Host:
    """What ZFS holds: datasets and snapshots of some pools, and the pools' guids by name."""

    datasets: tuple[Dataset, ...]
    snapshots: tuple[Snapshot, ...]
    pool_guids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Made:
    """A snapshot that this host's runner made.

    Attributes:
        schedule: id of the schedule that it was made for.
        slot: the slot, seconds since 1970.
        reference: what it is named and aged by, seconds since 1970.
    """

    snapshot: Snapshot
    schedule: str
    slot: int
    reference: int


def properties_of(schedule: Schedule, slot: int, pool_guid: int) -> dict[str, str]:
    """The user properties that mark a snapshot as ours, set when it is created."""
    return {
        SCHEDULE: schedule.id,
        SLOT: str(slot),
        NAMING: schedule.naming.pattern,
        POOL: str(pool_guid),
    }


def recognise(snapshot: Snapshot, pool_guids: Mapping[str, int]) -> Made | str:
    """What we made, or the reason why a snapshot isn't ours.

    Ours is what has our properties, was made on this pool (``zfs send -p``
    carries properties to other pools), and still has the name we gave it.
    """
    values = snapshot.properties
    if SCHEDULE not in values:
        return "not made by homelab.backup"
    slot = values.get(SLOT, "")
    if not (slot.isascii() and slot.isdigit()):
        return f"its property {SLOT} is not a time"
    if values.get(POOL) != str(pool_guids.get(snapshot.pool)):
        return "made on another pool and received here"
    if not Naming(values.get(NAMING, "")).fits(snapshot.short):
        return "renamed since it was made"
    reference = reference_time(int(slot), snapshot.creation)
    return Made(snapshot, values[SCHEDULE], int(slot), reference)


def made(host: Host) -> tuple[Made, ...]:
    """All of ours, by createtxg."""
    found = [recognise(snapshot, host.pool_guids) for snapshot in host.snapshots]
    ours = [one for one in found if isinstance(one, Made)]
    return tuple(sorted(ours, key=lambda one: one.snapshot.createtxg))


@dataclass(frozen=True, slots=True)
class ClockEvidence:
    """What earlier runs say of the clock.

    Attributes:
        latest: the latest time that a run saw; 0 when there was none.
        accepted: by pool, the createtxg up to which an operator said that
            snapshots with a time in the future are to be left out of account.
    """

    latest: int = 0
    accepted: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def doubts(self, ours: Iterable[Made], now: int) -> Mapping[str, str]:
        """By pool: why nothing may be pruned at ``now``. Empty when the clock looks right.

        The key ``""`` stands for all pools.
        """
        found: dict[str, str] = {}
        remedy = "set the clock, or run 'snapshots run --accept-clock' once if it is right now"
        if now < self.latest - CLOCK_TOLERANCE:
            found[""] = (
                f"the clock says {utc_stamp(now)}, {human_seconds(self.latest - now)} before the"
                f" last run ({utc_stamp(self.latest)}): {remedy}"
            )
        for one in ours:
            shot = one.snapshot
            ahead = shot.creation - now
            if ahead > CLOCK_TOLERANCE and shot.createtxg > self.accepted.get(shot.pool, 0):
                found[shot.pool] = (
                    f"{shot.name} was made at {utc_stamp(shot.creation)},"
                    f" {human_seconds(ahead)} in the future: {remedy}"
                )
        return found
