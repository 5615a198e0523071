# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a schedule comes: the gaps between its times, and a word for it.

Reckoned on the calendar without a time zone, over eight years: the one or two
nights a year in which a clock changes are no reason to call a daily backup
late or its objective missed.
"""

from __future__ import annotations

import datetime
import functools
import itertools
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.values import Duration
from ansible_collections.homelab.backup.plugins.module_utils._schedule.cron import CronSchedule

FIRST_DAY = datetime.date(2024, 1, 1)
DAYS = 8 * 366
MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Cadence:
    """The shortest and the longest time between two runs."""

    shortest: Duration
    longest: Duration

    @property
    def word(self) -> str:
        """In a table: "6h", "daily", "weekly", "monthly", or "every <longest>"."""
        low, high = self.shortest.seconds, self.longest.seconds
        if low == high and high < DAY:
            return f"{high // HOUR}h" if high % HOUR == 0 else f"{high // MINUTE}min"
        if low == high == DAY:
            return "daily"
        if low == high == 7 * DAY:
            return "weekly"
        if low >= 28 * DAY and high <= 35 * DAY:
            return "monthly"
        return f"every {self.longest}"


@functools.lru_cache(maxsize=256)
def cadence(schedule: CronSchedule, days_of_month: tuple[int, ...] = ()) -> Cadence:
    """The cadence of ``schedule``, only on ``days_of_month`` when given.

    Raises:
        ValueError: less than two runs in eight years.
    """
    times = [hour * HOUR + minute * MINUTE for hour, minute in schedule.times()]
    days = [
        offset
        for offset in range(DAYS)
        if _runs_on(FIRST_DAY + datetime.timedelta(days=offset), schedule, days_of_month)
    ]
    if len(days) < 2:
        raise ValueError(f"{schedule.text!r} hardly ever comes")
    within = [later - sooner for sooner, later in itertools.pairwise(times)]
    night = times[0] - times[-1]
    between = [(later - sooner) * DAY + night for sooner, later in itertools.pairwise(days)]
    gaps = within + between
    return Cadence(Duration(min(gaps)), Duration(max(gaps)))


def _runs_on(day: datetime.date, schedule: CronSchedule, days_of_month: tuple[int, ...]) -> bool:
    return schedule.matches_date(day) and (not days_of_month or day.day in days_of_month)
