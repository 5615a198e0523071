# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a cron line's slots are, in a named time zone, over its clock changes.

A slot is an instant, in whole seconds since 1970. The rules are those of
Debian's cron(8) for changes of the clock, made exact:

- A line with fixed hours has one slot for each of its wall-clock times. One that
  falls into the hour that spring skips is at the end of the gap, none is lost;
  one that autumn repeats is at the first of the two, none comes twice.
- A line that matches every hour has a slot whenever the wall clock shows one of
  its minutes: 23 or 25 times an hour's worth on such a day.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from ansible_collections.homelab.backup.plugins.module_utils._schedule.cron import CronSchedule

EPOCH = datetime.datetime(1970, 1, 1)
ONE_DAY = datetime.timedelta(days=1)
# 29 February may be 8 years away (1896 to 1904), and on a given weekday 40.
FURTHEST_DAYS = 41 * 366


def local_time(epoch: int, zone: datetime.tzinfo) -> datetime.datetime:
    """The wall clock of ``zone`` at ``epoch``; ``fold`` is 1 in the second of two equal hours."""
    return datetime.datetime.fromtimestamp(epoch, zone)


def instants_of(wall: datetime.datetime, zone: datetime.tzinfo) -> tuple[int, ...]:
    """The instants at which the clock of ``zone`` shows the naive time ``wall`` (PEP 495).

    One; two, in order, when the clock went back over it; none when it skipped it.
    """
    first, second = _readings(wall, zone)
    if first == second:
        return (first,)
    return (first, second) if first < second else ()


def end_of_gap(wall: datetime.datetime, zone: datetime.tzinfo) -> int:
    """The first instant after the gap that holds the skipped time ``wall``."""
    high, low = _readings(wall, zone)
    before = local_time(low, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if local_time(middle, zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def _readings(wall: datetime.datetime, zone: datetime.tzinfo) -> tuple[int, int]:
    """``wall`` read with the offset before and with the one after a change of the clock."""
    found = []
    for fold in (0, 1):
        offset = wall.replace(tzinfo=zone, fold=fold).utcoffset()
        if offset is None:
            raise ValueError(f"{zone!r} has no offset")
        found.append(round((wall - EPOCH - offset).total_seconds()))
    return found[0], found[1]


def slots_of_date(
    schedule: CronSchedule, day: datetime.date, zone: datetime.tzinfo
) -> Iterator[int]:
    """The slots whose wall-clock time lies on ``day``, in no particular order."""
    if not schedule.matches_date(day):
        return
    for hour, minute in schedule.times():
        wall = datetime.datetime(day.year, day.month, day.day, hour, minute)
        instants = instants_of(wall, zone)
        if schedule.every_hour:
            yield from instants
        else:
            yield instants[0] if instants else end_of_gap(wall, zone)


def slots_between(
    schedule: CronSchedule, after: int, until: int, zone: datetime.tzinfo
) -> tuple[int, ...]:
    """The slots with ``after < slot <= until``, in order, each once."""
    day = local_time(after, zone).date() - ONE_DAY
    last = local_time(until, zone).date() + ONE_DAY
    found: set[int] = set()
    while day <= last:
        found.update(slot for slot in slots_of_date(schedule, day, zone) if after < slot <= until)
        day += ONE_DAY
    return tuple(sorted(found))


def previous_slot(schedule: CronSchedule, epoch: int, zone: datetime.tzinfo) -> int:
    """The newest slot with ``slot <= epoch``."""
    today = local_time(epoch, zone).date()
    for days in range(-1, FURTHEST_DAYS):
        day = today - days * ONE_DAY
        found = [slot for slot in slots_of_date(schedule, day, zone) if slot <= epoch]
        if found:
            # A clock put back over midnight puts slots of the day before after these.
            found += slots_of_date(schedule, day - ONE_DAY, zone)
            return max(slot for slot in found if slot <= epoch)
    raise ValueError(f"no slot of {schedule.text!r} before {epoch}")


def next_slot(schedule: CronSchedule, epoch: int, zone: datetime.tzinfo) -> int:
    """The oldest slot with ``slot > epoch``."""
    today = local_time(epoch, zone).date()
    for days in range(-1, FURTHEST_DAYS):
        day = today + days * ONE_DAY
        found = [slot for slot in slots_of_date(schedule, day, zone) if slot > epoch]
        if found:
            found += slots_of_date(schedule, day + ONE_DAY, zone)
            return min(slot for slot in found if slot > epoch)
    raise ValueError(f"no slot of {schedule.text!r} after {epoch}")
