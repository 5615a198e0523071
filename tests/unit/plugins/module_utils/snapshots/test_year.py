# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A year of both schedules in seconds, with exact counts: clock changes, leap day, downtime."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ExitCode
from ansible_collections.homelab.backup.plugins.module_utils._schedule.slots import (
    slots_between,
)
from ansible_collections.homelab.backup.plugins.module_utils._schedule.zones import load_zone
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.record import RunRecord
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.run import run
from tests.unit.plugins.module_utils.snapshots.fakes import (
    NAMES,
    FakeClock,
    FakeMemory,
    FakeZfs,
    specified,
)

ZONES = ("UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe")
DAY = 86400


def epoch(text: str, zone: str = "UTC") -> int:
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=load_zone(zone))
    return int(moment.timestamp())


class Host:
    """A host with its timer: each schedule's own line, and one each hour for what was missed."""

    def __init__(self, policy: Policy, names: Iterable[str] = NAMES) -> None:
        self.policy = policy
        self.clock = FakeClock()
        self.zfs = FakeZfs(self.clock, tuple(names))
        self.memory = FakeMemory()

    def run(self, now: float, *only: str, accept_clock: bool = False) -> RunRecord:
        self.clock.time = now
        return run(
            self.zfs, self.memory, self.clock, self.policy, only=only, accept_clock=accept_clock
        )

    def twin(self) -> Host:
        """Another host in the same state."""
        other = Host(self.policy, self.zfs.sets)
        other.clock.time = self.clock.time
        other.zfs.shots = dict(self.zfs.shots)
        other.zfs.txg = self.zfs.txg
        other.memory.memory = self.memory.memory
        return other

    def wakes(self, after: int, until: int) -> Iterator[tuple[int, tuple[str, ...]]]:
        """What cron starts in that time: seconds and the schedules named."""
        found: list[tuple[int, tuple[str, ...]]] = [
            (slot + 1, (one.id,))
            for one in self.policy.schedules
            if one.enabled
            for slot in slots_between(one.cron, after, until, one.zone)
        ]
        first = after - after % 3600 + 420
        found += [(wake, ()) for wake in range(first, until, 3600) if wake > after]
        yield from sorted(found)

    def live(self, after: int, until: int, offset: int = 0) -> list[RunRecord]:
        """Let that time pass; the host's clock is wrong by ``offset``."""
        return [
            record
            for wake, only in self.wakes(after + offset, until + offset)
            if (record := self.run(wake, *only)).eventful
        ]


def taken(records: Iterable[RunRecord], schedule: str) -> list[str]:
    return [
        take.short
        for record in records
        for take, dummy in record.taken
        if take.schedule == schedule and take.pool == "main"
    ]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("year", "days"), [(2027, 365), (2028, 366)])
def test_a_year(zone: str, year: int, days: int) -> None:
    host = Host(specified(zone))
    start, end = epoch(f"{year}-01-01", zone), epoch(f"{year + 1}-01-01", zone)
    records = []
    for wake, only in host.wakes(start - 1, end - 1):
        record = host.run(wake, *only)
        if not record.eventful:
            continue
        records.append(record)
        assert record.exit_code is ExitCode.OK
        twelve, daily = taken(records[-45:], "12h"), taken(records[-80:], "daily")
        for name in NAMES:
            assert host.zfs.of(name, "auto-12h-") == twelve[-2:]
            assert host.zfs.of(name, f"auto-{year}") == daily[-21:]
    twelve, daily = taken(records, "12h"), taken(records, "daily")
    assert len(twelve) == len(set(twelve)) == 2 * days
    assert len(daily) == len(set(daily)) == days
    assert daily == [
        f"auto-{datetime.date(year, 1, 1) + datetime.timedelta(day)}_00-00" for day in range(days)
    ]
    assert (f"auto-{year}-02-29_00-00" in daily) == (days == 366)
    pruned = sum(len(record.pruned) for record in records)
    assert pruned == len(NAMES) * (2 * days - 2 + days - 21)


def test_a_quiet_hour_asks_zfs_nothing() -> None:
    host = Host(specified())
    host.run(epoch("2027-05-05T12:00:01", "Europe/Vienna"))
    host.zfs.calls.clear()
    record = host.run(epoch("2027-05-05T13:07", "Europe/Vienna"))
    assert not record.eventful
    assert host.zfs.calls == []


def test_a_run_needs_few_calls() -> None:
    names = ["main", *(f"main/d{number}" for number in range(300))]
    host = Host(specified("UTC", datasets=["main"]), [*names, "ssd"])
    host.run(epoch("2027-05-05T12:00:01"), "12h")
    assert host.zfs.calls == ["datasets", "snapshots", "pool_guids", "snapshot -r", "snapshots"]


@pytest.mark.parametrize("zone", ZONES)
def test_a_month_without_power(zone: str) -> None:
    host = Host(specified(zone))
    before = epoch("2027-03-01T13:00", zone)
    host.live(epoch("2027-01-01", zone) - 1, before)
    back = epoch("2027-04-01T09:13", zone)
    record = host.run(back)
    assert [take.short for take, dummy in record.taken] == [
        "auto-12h-2027-04-01_09-13",
        "auto-12h-2027-04-01_09-13",
        "auto-2027-04-01_09-13",
        "auto-2027-04-01_09-13",
    ]
    assert "61 slots were missed" in record.taken[0][0].reason
    # One came, one went: the history is not emptied at once.
    assert len(record.pruned) == 2 * len(NAMES)
    for name in NAMES:
        assert host.zfs.of(name, "auto-12h-") == [
            "auto-12h-2027-03-01_12-00",
            "auto-12h-2027-04-01_09-13",
        ]
        assert len(host.zfs.of(name, "auto-2027")) == 21
    host.live(back, epoch("2027-04-23T13:00", zone))
    for name in NAMES:
        assert len(host.zfs.of(name, "auto-12h-")) == 2
        assert host.zfs.of(name, "auto-2027")[0] == "auto-2027-04-03_00-00"
        assert len(host.zfs.of(name, "auto-2027")) == 21


def test_a_clock_that_jumps_a_year_ahead_and_back() -> None:
    zone = "Europe/Vienna"
    host = Host(specified(zone))
    jump = epoch("2027-06-01T13:00", zone)
    host.live(epoch("2027-04-01", zone) - 1, jump)
    daily = host.zfs.of("main", "auto-2027")
    assert len(daily) == 21
    # Two days with a clock that is 365 days ahead: three daily ones come, three go.
    records = host.live(jump, jump + 2 * DAY, offset=365 * DAY)
    assert len(taken(records, "daily")) == 3
    assert host.zfs.of("main", "auto-2027") == daily[3:]
    assert len(host.zfs.of("main", "auto-12h-")) == 2
    # The clock is set right: snapshots are taken, nothing is pruned, and it is said.
    records = host.live(jump + 2 * DAY, jump + 4 * DAY)
    assert len(taken(records, "daily")) == 3
    assert len(taken(records, "12h")) == 5
    assert {record.exit_code for record in records} == {ExitCode.CLOCK}
    assert not any(record.pruned for record in records)
    assert "in the future" in records[-1].doubts["main"]
    assert host.zfs.of("main", "auto-2027")[:18] == daily[3:]
    # The operator says that it is right now: pruning goes on.
    now = jump + 4 * DAY + 60
    assert host.run(now, accept_clock=True).exit_code is ExitCode.OK
    assert host.run(now + 3600).exit_code is ExitCode.OK
    # 18 old ones, of which one was over, three of the future, three new ones.
    assert len(host.zfs.of("main", "auto-2")) == 23
    records = host.live(now, now + 30 * DAY)
    assert {record.exit_code for record in records} == {ExitCode.OK}
    assert len(taken(records, "daily")) == 30
    assert len(host.zfs.of("main", "auto-2027")) == 21
    assert len(host.zfs.of("main", "auto-2028")) == 3


def test_a_clock_that_goes_back_two_days() -> None:
    zone = "Europe/Vienna"
    host = Host(specified(zone))
    there = epoch("2027-06-10T13:00", zone)
    host.live(epoch("2027-05-01", zone) - 1, there)
    records = host.live(there, there + 2 * DAY, offset=-2 * DAY)
    # What is due at once, then each slot of the two days again, under a name of its own.
    assert taken(records, "12h") == [
        "auto-12h-2027-06-08_13-07",
        "auto-12h-2027-06-09_00-00",
        "auto-12h-2027-06-09_12-00",
        "auto-12h-2027-06-10_00-00b",
        "auto-12h-2027-06-10_12-00b",
    ]
    # With the last of them time has caught up, and all is as before.
    assert not any(record.pruned for record in records[:-1])
    assert {record.exit_code for record in records[:-1]} == {ExitCode.CLOCK}
    assert records[-1].exit_code is ExitCode.OK
    host.live(there, there + 30 * DAY)
    assert len(host.zfs.of("main", "auto-12h-")) == 2
    assert len(host.zfs.of("main", "auto-2027")) == 21


def test_an_hourly_schedule_over_the_change_of_the_clock() -> None:
    zone = "Europe/Vienna"
    policy = specified(zone, cron="0 * * * *", naming="h-%Y-%m-%d_%H-%M")
    host = Host(policy)
    records = host.live(epoch("2027-10-29T00:30", zone), epoch("2027-11-01T00:30", zone))
    names = taken(records, "12h")
    assert len(names) == len(set(names)) == 73
    night = names.index("h-2027-10-31_01-00")
    assert names[night : night + 4] == [
        "h-2027-10-31_01-00",
        "h-2027-10-31_02-00",
        "h-2027-10-31_02-00b",
        "h-2027-10-31_03-00",
    ]
    assert len(host.zfs.of("main", "h-")) == 25
    records = host.live(epoch("2027-11-01T00:30", zone), epoch("2027-11-02T00:30", zone))
    assert len(host.zfs.of("main", "h-")) == 24


def test_a_disabled_schedule_lives_out_its_lifetime() -> None:
    host = Host(specified("UTC"))
    start = epoch("2027-06-01T13:00")
    host.live(start - 30 * DAY, start)
    host.policy = specified("UTC", enabled=False)
    records = host.live(start, start + 3 * DAY)
    assert taken(records, "12h") == []
    assert len(taken(records, "daily")) == 3
    assert host.zfs.of("main", "auto-12h-") == ["auto-12h-2027-06-01_12-00"]


def test_a_spring_night_loses_nothing() -> None:
    zone = "Europe/Vienna"
    host = Host(specified(zone, cron="30 2 * * *", lifetime="2d"))
    records = host.live(epoch("2027-03-26T02:29", zone), epoch("2027-03-30T00:30", zone))
    assert taken(records, "12h") == [
        "auto-12h-2027-03-26_02-30",
        "auto-12h-2027-03-27_02-30",
        "auto-12h-2027-03-28_03-00",
        "auto-12h-2027-03-29_02-30",
    ]
