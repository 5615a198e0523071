# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot policy of one host as a value: schedules, what they cover, how long things live."""

from __future__ import annotations

import datetime
import fnmatch
import re
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._schedule.cron import CronSchedule
from ansible_collections.homelab.backup.plugins.module_utils._schedule.slots import (
    end_of_gap,
    instants_of,
    local_time,
    slots_between,
)
from ansible_collections.homelab.backup.plugins.module_utils._schedule.zones import load_zone
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.naming import Naming
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import is_within, pool_of

UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}
LIFETIME = re.compile(r"([1-9][0-9]{0,5})([hdw])\Z")
# A snapshot taken within this many seconds after its slot counts as taken at the slot.
ON_TIME = 900


def parse_lifetime(text: str) -> int:
    """Seconds of "24h", "21d" or "3w".

    Raises:
        ValueError: another form.
    """
    match = LIFETIME.match(text)
    if match is None:
        raise ValueError("it is not a number with h, d or w")
    return int(match[1]) * UNITS[match[2]]


@dataclass(frozen=True, slots=True)
class Schedule:
    """One line of a policy.

    Attributes:
        id: its name; snapshots carry it in a user property.
        datasets: roots, full dataset names.
        recursive: descendants too, in one transaction.
        exclude: globs on full names, matched level by level; what matches is
            left out with all its descendants.
        cron: when.
        timezone: IANA name; cron line, names and lifetimes are in its local time.
        naming: how snapshots are called.
        lifetime: as written ("3w").
        keep_min: at least this many of the newest stay in each dataset.
        enabled: when False it takes none, and those it made live out their lifetime.
    """

    id: str
    datasets: tuple[str, ...]
    recursive: bool
    exclude: tuple[str, ...]
    cron: CronSchedule
    timezone: str
    naming: Naming
    lifetime: str
    keep_min: int = 1
    enabled: bool = True

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The time zone, ready for arithmetic."""
        return load_zone(self.timezone)

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that the roots lie in, sorted."""
        return tuple(sorted({pool_of(root) for root in self.datasets}))

    def excludes(self, name: str) -> bool:
        """True when ``name`` or an ancestor of it matches an exclude."""
        levels = name.split("/")
        return any(
            matches("/".join(levels[:depth]), pattern)
            for depth in range(1, len(levels) + 1)
            for pattern in self.exclude
        )

    def covers(self, name: str) -> bool:
        """True when the schedule takes snapshots of dataset ``name``."""
        if self.recursive:
            inside = any(is_within(name, root) for root in self.datasets)
        else:
            inside = name in self.datasets
        return inside and not self.excludes(name)

    def overlaps(self, other: Schedule) -> bool:
        """True when a dataset can be covered by both."""
        return any(other.covers(root) for root in self.datasets) or any(
            self.covers(root) for root in other.datasets
        )

    def roots_in(self, pool: str) -> tuple[str, ...]:
        """The roots in ``pool``, without those that lie in another root."""
        roots = sorted({root for root in self.datasets if pool_of(root) == pool})
        if not self.recursive:
            return tuple(roots)
        return tuple(
            root
            for root in roots
            if not any(root != other and is_within(root, other) for other in roots)
        )

    def excludes_in(self, pool: str) -> bool:
        """True when an exclude could match in ``pool``."""
        return any(fnmatch.fnmatchcase(pool, pattern.split("/")[0]) for pattern in self.exclude)

    def expiry(self, reference: int) -> int:
        """When a snapshot of the instant ``reference`` has lived its lifetime.

        Lifetimes are of the wall clock: what was taken at 00:00 with "24h" ends
        at 00:00, on days of 23 and 25 hours too, so that the number of
        snapshots stays the same over a clock change.
        """
        wall = local_time(reference, self.zone).replace(tzinfo=None)
        return self._instant(wall + datetime.timedelta(seconds=parse_lifetime(self.lifetime)))

    def worth(self, now: int) -> int:
        """How many slots there are in the lifetime that ends at ``now``."""
        wall = local_time(now, self.zone).replace(tzinfo=None)
        start = self._instant(wall - datetime.timedelta(seconds=parse_lifetime(self.lifetime)))
        return len(slots_between(self.cron, start, now, self.zone))

    def _instant(self, wall: datetime.datetime) -> int:
        return next(iter(instants_of(wall, self.zone)), None) or end_of_gap(wall, self.zone)


def matches(name: str, pattern: str) -> bool:
    """True when ``name`` matches the glob; ``*`` stays within one level."""
    parts, globs = name.split("/"), pattern.split("/")
    return len(parts) == len(globs) and all(map(fnmatch.fnmatchcase, parts, globs))


def reference_time(slot: int, moment: int) -> int:
    """The instant that a snapshot of ``slot``, taken at ``moment``, is named and aged by.

    The slot itself when it was taken on time, so that seconds of delay don't
    move it over a boundary; the minute of ``moment`` when it was taken late.
    """
    return slot if 0 <= moment - slot < ON_TIME else moment - moment % 60


@dataclass(frozen=True, slots=True)
class Policy:
    """All schedules of one host."""

    schedules: tuple[Schedule, ...]

    def schedule(self, name: str) -> Schedule | None:
        """The schedule of that id."""
        return next((one for one in self.schedules if one.id == name), None)

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools of all schedules, sorted."""
        return tuple(sorted({pool for one in self.schedules for pool in one.pools}))

    def covered(self, names: Iterable[str]) -> frozenset[str]:
        """Those of the dataset names that some enabled schedule covers."""
        active = [one for one in self.schedules if one.enabled]
        return frozenset(name for name in names if any(one.covers(name) for one in active))
