# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots over a year, with exact counts, in zones whose clocks change in different ways."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._schedule.cron import parse
from ansible_collections.homelab.backup.plugins.module_utils._schedule.slots import (
    local_time,
    next_slot,
    previous_slot,
    slots_between,
)
from ansible_collections.homelab.backup.plugins.module_utils._schedule.zones import (
    host_zone,
    load_zone,
    same_clock,
)

ZONES = (
    "UTC",
    "Europe/Vienna",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "America/Havana",  # changes at midnight
    "Africa/Cairo",  # skips 00:00
    "America/St_Johns",  # changed at 00:01 until 2011
    "Pacific/Apia",  # skipped 2011-12-30
    "Asia/Kathmandu",  # +05:45, no change
)
LINES = ("0 */12 * * *", "0 0 * * *", "30 * * * *", "*/20 * * * *", "30 2 * * *", "0 2,3 * * *")


def epoch(text: str, zone: str = "UTC", fold: int = 0) -> int:
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=load_zone(zone), fold=fold)
    return int(moment.timestamp())


def year(line: str, zone: str, number: int) -> tuple[int, ...]:
    start, end = epoch(f"{number}-01-01", zone), epoch(f"{number + 1}-01-01", zone)
    return slots_between(parse(line), start - 1, end - 1, load_zone(zone))


def shown(slots: tuple[int, ...], zone: str) -> list[str]:
    return [local_time(slot, load_zone(zone)).strftime("%m-%d %H:%M%z") for slot in slots]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Vienna", "America/New_York"])
@pytest.mark.parametrize(("number", "days"), [(2027, 365), (2028, 366)])
def test_a_year_has_exactly_its_slots(zone: str, number: int, days: int) -> None:
    assert len(year("0 */12 * * *", zone, number)) == 2 * days
    assert len(year("0 0 * * *", zone, number)) == days
    assert len(year("30 2 * * *", zone, number)) == days
    # 23 hours in spring, 25 in autumn.
    assert len(year("30 * * * *", zone, number)) == 24 * days
    assert len(year("*/15 * * * *", zone, number)) == 96 * days


def test_half_an_hour_of_change() -> None:
    zone = "Australia/Lord_Howe"
    assert len(year("0 */12 * * *", zone, 2027)) == 730
    # 01:30 comes twice in April; 02:00 is skipped in October, 02:30 is not.
    assert len(year("30 * * * *", zone, 2027)) == 8761
    assert len(year("0 * * * *", zone, 2027)) == 8759


def test_spring_loses_no_fixed_hour() -> None:
    line, zone = "30 1,2,3 * * *", "Europe/Vienna"
    slots = slots_between(
        parse(line),
        epoch("2027-03-28T00:00", zone),
        epoch("2027-03-28T12:00", zone),
        load_zone(zone),
    )
    assert shown(slots, zone) == ["03-28 01:30+0100", "03-28 03:00+0200", "03-28 03:30+0200"]


def test_autumn_repeats_no_fixed_hour() -> None:
    line, zone = "30 1,2,3 * * *", "Europe/Vienna"
    slots = slots_between(
        parse(line),
        epoch("2027-10-31T00:00", zone),
        epoch("2027-10-31T12:00", zone),
        load_zone(zone),
    )
    assert shown(slots, zone) == ["10-31 01:30+0200", "10-31 02:30+0200", "10-31 03:30+0100"]


def test_each_hour_means_each_hour_of_the_clock() -> None:
    line, zone = "30 * * * *", "Europe/Vienna"
    spring = slots_between(
        parse(line),
        epoch("2027-03-28T01:00", zone),
        epoch("2027-03-28T04:00", zone),
        load_zone(zone),
    )
    autumn = slots_between(
        parse(line),
        epoch("2027-10-31T02:00", zone),
        epoch("2027-10-31T04:00", zone),
        load_zone(zone),
    )
    assert shown(spring, zone) == ["03-28 01:30+0100", "03-28 03:30+0200"]
    assert shown(autumn, zone) == ["10-31 02:30+0200", "10-31 02:30+0100", "10-31 03:30+0100"]


def test_a_midnight_that_spring_skips_is_at_one_o_clock() -> None:
    zone = "Africa/Cairo"
    slots = slots_between(
        parse("0 0 * * *"),
        epoch("2027-04-29T12:00", zone),
        epoch("2027-04-30T12:00", zone),
        load_zone(zone),
    )
    assert shown(slots, zone) == ["04-30 01:00+0300"]


def test_a_day_that_never_was() -> None:
    """Samoa went from 29 to 31 December 2011: the slot of the 30th is the 31st's."""
    assert len(year("0 0 * * *", "Pacific/Apia", 2011)) == 364


def test_leap_day() -> None:
    zone = load_zone("Europe/Vienna")
    schedule = parse("0 0 29 2 *")
    found = next_slot(schedule, epoch("2025-01-01"), zone)
    assert local_time(found, zone).isoformat() == "2028-02-29T00:00:00+01:00"
    assert previous_slot(schedule, epoch("2032-02-28"), zone) == found
    # 2100 is no leap year.
    assert local_time(next_slot(schedule, epoch("2096-03-01"), zone), zone).year == 2104


@given(
    st.sampled_from(ZONES),
    st.sampled_from(LINES),
    st.integers(epoch("2009-01-01"), epoch("2036-01-01")),
)
@settings(max_examples=300, deadline=None)
def test_previous_next_and_between_agree(zone_name: str, line: str, moment: int) -> None:
    zone, schedule = load_zone(zone_name), parse(line)
    before = previous_slot(schedule, moment, zone)
    after = next_slot(schedule, moment, zone)
    assert before <= moment < after
    assert slots_between(schedule, before - 1, after, zone) == (before, after)
    assert previous_slot(schedule, after, zone) == after
    assert previous_slot(schedule, after - 1, zone) == before
    assert next_slot(schedule, before - 1, zone) == before


@given(st.sampled_from(ZONES), st.integers(epoch("2009-01-01"), epoch("2036-01-01")))
@settings(max_examples=100, deadline=None)
def test_fixed_hours_never_come_twice_on_a_date(zone_name: str, moment: int) -> None:
    zone = load_zone(zone_name)
    slots = slots_between(parse("15 0,1,2,23 * * *"), moment, moment + 3 * 86400, zone)
    walls = [local_time(slot, zone).replace(tzinfo=None) for slot in slots]
    assert len(set(walls)) == len(walls)


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(ConfigError, match="Mars/Olympus") as caught:
        load_zone("Mars/Olympus")
    assert "Europe/Vienna" in caught.value.remedy


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/localtime", ""])
def test_a_path_is_no_zone(name: str) -> None:
    with pytest.raises(ConfigError):
        load_zone(name)


def test_aliases_have_the_same_clock() -> None:
    now = epoch("2026-11-23")
    assert same_clock("UTC", "Etc/UTC", now)
    assert same_clock("Europe/Vienna", "Europe/Berlin", now)
    assert not same_clock("Europe/Vienna", "Europe/London", now)
    # The same offset in winter, not in summer.
    assert not same_clock("Europe/London", "UTC", now)


def test_the_hosts_zone(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("etc")
    link, text = directory / "localtime", directory / "timezone"
    assert host_zone(link, text) == "UTC"
    text.write_text("America/New_York\n")
    assert host_zone(link, text) == "America/New_York"
    link.symlink_to("../usr/share/zoneinfo/Europe/Vienna")
    assert host_zone(link, text) == "Europe/Vienna"
