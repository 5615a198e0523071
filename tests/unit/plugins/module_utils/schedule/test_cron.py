# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron lines: what is read, and what is refused with which words."""

from __future__ import annotations

import datetime

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._schedule.cron import parse


@pytest.mark.parametrize(
    ("line", "minutes", "hours"),
    [
        ("0 */6 * * *", (0,), (0, 6, 12, 18)),
        ("5,35 1-3 * * *", (5, 35), (1, 2, 3)),
        ("10-20/5 0 * * *", (10, 15, 20), (0,)),
        ("*/20 8-18/5 * * *", (0, 20, 40), (8, 13, 18)),
        ("@hourly", (0,), tuple(range(24))),
        ("@midnight", (0,), (0,)),
        ("  0\t12   * * * ", (0,), (12,)),
    ],
)
def test_minutes_and_hours(line: str, minutes: tuple[int, ...], hours: tuple[int, ...]) -> None:
    schedule = parse(line)
    assert (schedule.minutes, schedule.hours) == (minutes, hours)


@pytest.mark.parametrize(
    ("line", "weekdays"),
    [
        ("0 9 * * 0", (0,)),
        ("0 9 * * 7", (0,)),
        ("0 9 * * Sun", (0,)),
        ("0 9 * * mon-FRI", (1, 2, 3, 4, 5)),
        ("0 9 * * 5-7", (0, 5, 6)),
        ("0 9 * * *", (0, 1, 2, 3, 4, 5, 6)),
        ("0 9 * * */2", (0, 2, 4, 6)),
    ],
)
def test_weekdays(line: str, weekdays: tuple[int, ...]) -> None:
    assert parse(line).weekdays == weekdays


def test_month_names() -> None:
    assert parse("0 0 1 jan,Jul-sep *").months == (1, 7, 8, 9)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # 2027: 13 August is a Friday, 13 September a Monday, 17 September a Friday.
        ("0 0 13 * *", {"08-13", "09-13"}),
        ("0 0 * * 5", {"08-13", "09-17"}),
        ("0 0 13 * 5", {"08-13", "09-13", "09-17"}),
        ("0 0 */1 * 5", {"08-13", "09-17"}),
        ("0 0 13 * */1", {"08-13", "09-13"}),
        ("0 0 13 9 5", {"09-13", "09-17"}),
    ],
)
def test_days_are_joined_by_or_unless_one_begins_with_a_star(line: str, expected: set[str]) -> None:
    days = ["08-13", "08-14", "09-13", "09-14", "09-17"]
    schedule = parse(line)
    matching = {
        day for day in days if schedule.matches_date(datetime.date.fromisoformat(f"2027-{day}"))
    }
    assert matching == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ["0 fields instead of 5", "minute hour"]),
        ("0 0 * *", ["4 fields instead of 5"]),
        ("60 * * * *", ["minute '60'", "0 to 59"]),
        ("0 24 * * *", ["hour '24'", "0 to 23"]),
        ("0 0 0 * *", ["day-of-month '0'", "1 to 31"]),
        ("0 0 * 13 *", ["month '13'", "jan to dec"]),
        ("0 0 * * 8", ["day-of-week '8'", "sun to sat"]),
        ("0 0 * * fri-sun", ["runs backwards", "write Sunday as 7"]),
        ("0 18-6 * * *", ["hour '18-6'", "runs backwards"]),
        ("5/10 * * * *", ["a step needs a range", "5-59/10"]),
        ("*/0 * * * *", ["the step '0'"]),
        ("*/x * * * *", ["the step 'x'"]),
        ("1,,2 * * * *", ["minute '1,,2'", "'' is not"]),
        ("\u0661 * * * *", ["is not 0 to 59"]),
        ("0 0 31 2,4,6 *", ["never comes"]),
        ("@reboot", ["not a schedule", "@daily"]),
        ("60 24 * * *", ["minute '60'", "hour '24'"]),
    ],
)
def test_errors_name_the_field_and_the_remedy(line: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(line)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert caught.value.remedy


def test_the_text_is_kept_with_single_spaces() -> None:
    assert parse(" 0   */12 * *\t* ").text == "0 */12 * * *"


def test_a_leap_day_may_come() -> None:
    assert parse("0 0 29 2 *").matches_date(datetime.date(2028, 2, 29))
