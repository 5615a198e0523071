# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron lines as values.

The syntax is that of crontab(5) of Debian's cron: five fields with numbers, names,
ranges, lists and steps, or ``@hourly``, ``@daily``, ``@midnight``, ``@weekly``,
``@monthly``, ``@yearly``, ``@annually``. What this accepts, that cron accepts.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
EXAMPLE = "write five fields, 'minute hour day-of-month month day-of-week', such as '0 */6 * * *'"


@dataclass(frozen=True, slots=True)
class Field:
    """One of the five fields: its name, its bounds and the words that stand for numbers."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    first_word: int = 0


FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day-of-month", 1, 31),
    Field("month", 1, 12, MONTHS, 1),
    Field("day-of-week", 0, 7, WEEKDAYS, 0),
)


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """A parsed cron line.

    Attributes:
        text: the line as given, with single spaces.
        minutes, hours, days, months: the numbers that match, sorted.
        weekdays: 0 is Sunday, 6 Saturday; 7 was folded into 0.
        both_days: both day fields must match, because one of them begins with
            ``*``. Otherwise one of them is enough (crontab(5): "If both fields
            are restricted (i.e., do not contain the "*" character), the
            command will be run when either field matches").
    """

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    both_days: bool

    @property
    def every_hour(self) -> bool:
        """True when every hour matches, so that the line means "each hour at …"."""
        return len(self.hours) == 24

    def matches_date(self, day: datetime.date) -> bool:
        """True when the schedule has slots on ``day``."""
        if day.month not in self.months:
            return False
        by_day = day.day in self.days
        by_weekday = day.isoweekday() % 7 in self.weekdays
        return (by_day and by_weekday) if self.both_days else (by_day or by_weekday)

    def times(self) -> Iterator[tuple[int, int]]:
        """The hours and minutes of a day that match, in order."""
        for hour in self.hours:
            for minute in self.minutes:
                yield hour, minute


def parse(text: str) -> CronSchedule:
    """The schedule that ``text`` stands for.

    Raises:
        ConfigError: names each wrong field, what is wrong, and the remedy.
    """
    line = " ".join(text.split())
    words = MACROS.get(line.lower(), line).split(" ")
    if line.startswith("@") and line.lower() not in MACROS:
        known = ", ".join(sorted(MACROS))
        raise _error(text, f"{line!r} is not a schedule", f"use one of {known}, or five fields")
    if len(words) != len(FIELDS):
        found = f"it has {len(words) if line else 0} fields instead of 5"
        raise _error(text, found, EXAMPLE)
    values: list[tuple[int, ...]] = []
    wrong: list[str] = []
    for field, word in zip(FIELDS, words, strict=True):
        try:
            values.append(_parse_field(field, word))
        except ValueError as exc:
            wrong.append(f"{field.name} {word!r}: {exc}")
    if wrong:
        raise _error(text, "; ".join(wrong), "correct these fields")
    minutes, hours, days, months, weekdays = values
    schedule = CronSchedule(
        text=line,
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=tuple(sorted({day % 7 for day in weekdays})),
        both_days=words[2].startswith("*") or words[4].startswith("*"),
    )
    if not _ever(schedule):
        found = f"day-of-month {words[2]!r} with month {words[3]!r} never comes"
        raise _error(text, found, "use a day that one of these months has")
    return schedule


def _error(text: str, found: str, remedy: str) -> ConfigError:
    return ConfigError("understand the cron line", on=repr(text), found=found, remedy=remedy)


def _ever(schedule: CronSchedule) -> bool:
    """False for a date that no year has, such as 31 February."""
    if not schedule.both_days:
        return True
    return any(schedule.days[0] <= LONGEST_MONTH[month - 1] for month in schedule.months)


def _parse_field(field: Field, text: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        found.update(_parse_part(field, part))
    return tuple(sorted(found))


def _parse_part(field: Field, part: str) -> range:
    span, slash, step_text = part.partition("/")
    if span == "*":
        low, high, is_range = field.low, min(field.high, _last(field)), True
    else:
        low_text, dash, high_text = span.partition("-")
        low = _number(field, low_text)
        high = _number(field, high_text) if dash else low
        is_range = bool(dash)
    if low > high:
        hint = ", write Sunday as 7" if high == 0 and field.high == 7 else ""
        raise ValueError(f"the range {span!r} runs backwards{hint}")
    if not slash:
        return range(low, high + 1)
    if not is_range:
        raise ValueError(f"a step needs a range, write '{low}-{_last(field)}/{step_text}'")
    if not (step_text.isascii() and step_text.isdigit()) or not 1 <= int(step_text) <= field.high:
        raise ValueError(f"the step {step_text!r} must be 1 to {field.high}")
    return range(low, high + 1, int(step_text))


def _last(field: Field) -> int:
    """The last number of ``*``: Saturday for the day of week, whose 7 is its 0 again."""
    return 6 if field.high == 7 else field.high


def _number(field: Field, text: str) -> int:
    if text.lower() in field.words:
        return field.words.index(text.lower()) + field.first_word
    if text.isascii() and text.isdigit() and field.low <= int(text) <= field.high:
        return int(text)
    words = f" or {field.words[0]} to {field.words[-1]}" if field.words else ""
    raise ValueError(f"{text!r} is not {field.low} to {field.high}{words}")
