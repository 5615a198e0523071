# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans: properties that hold for any history, and runs that are killed or fail in part."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    ExitCode,
)
from ansible_collections.homelab.backup.plugins.module_utils._schedule.slots import previous_slot
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import (
    PROPERTIES,
    SCHEDULE,
    ClockEvidence,
    made,
    properties_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import (
    Host as Seen,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.plan import (
    Plan,
    plan,
    project,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import (
    Policy,
    reference_time,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Snapshot
from tests.unit.plugins.module_utils.snapshots.fakes import NAMES, Killed, dataset, specified
from tests.unit.plugins.module_utils.snapshots.test_year import DAY, Host, epoch

ZONES = ("UTC", "Europe/Vienna", "Australia/Lord_Howe", "America/Havana")
GUIDS = {"main": 1421, "ssd": 345}
START = epoch("2027-03-20")


def policies() -> st.SearchStrategy[Policy]:
    """Policies of the specified shape with other times, lifetimes and excludes."""
    return st.builds(
        specified,
        zone=st.sampled_from(ZONES),
        cron=st.sampled_from(["0 */12 * * *", "*/30 * * * *", "30 2 * * *", "0 4 * * 0"]),
        lifetime=st.sampled_from(["1h", "24h", "3d", "2w"]),
        keep_min=st.integers(1, 4),
        exclude=st.sampled_from([[], ["main/a"], ["main/*/vol"]]),
        enabled=st.booleans(),
    )


@st.composite
def hosts(draw: st.DrawFn, policy: Policy) -> Seen:
    """Hosts with any history: late, held, cloned, foreign, renamed, of the future."""
    shots: dict[str, Snapshot] = {}
    for txg in range(draw(st.integers(0, 14))):
        one = draw(st.sampled_from(policy.schedules))
        creation = START + draw(st.integers(-40 * 48, 60 * 48)) * 1800 + draw(st.integers(0, 900))
        slot = previous_slot(one.cron, creation, one.zone)
        names = one.naming.candidates(reference_time(slot, creation), one.zone)
        short = draw(st.sampled_from([next(names), next(names), "by-hand"]))
        values: dict[str, str] = properties_of(one, slot, draw(st.sampled_from([1421, 9])))
        for name in draw(st.sets(st.sampled_from(NAMES[:3]), min_size=1)):
            full = f"{name}@{short}"
            clones = draw(st.sampled_from([(), (), (), ("main/c",)]))
            held = draw(st.sampled_from([0, 0, 0, 1]))
            shots[full] = Snapshot(full, txg, txg + 1, creation, 0, 0, held, clones, values)
    return Seen(tuple(map(dataset, NAMES)), tuple(shots.values()), GUIDS)


cases = policies().flatmap(lambda policy: st.tuples(st.just(policy), hosts(policy)))
moments = st.integers(START, START + 20 * DAY)


@given(cases, moments, st.integers(START, START + 21 * DAY))
@settings(max_examples=150, deadline=None)
def test_planning_again_after_applying_gives_nothing(
    case: tuple[Policy, Seen], now: int, latest: int
) -> None:
    policy, host = case
    clock = ClockEvidence(latest)
    first = plan(host, policy, now, clock)
    again = plan(project(host, first, now), policy, now, clock)
    assert not again, again


@given(cases, moments)
@settings(max_examples=150, deadline=None)
def test_what_never_goes(case: tuple[Policy, Seen], now: int) -> None:
    policy, host = case
    planned = plan(host, policy, now, ClockEvidence())
    after = project(host, planned, now)
    left = {shot.name for shot in after.snapshots}
    for shot in host.snapshots:
        foreign = shot.properties["homelab.backup:pool"] == "9" or shot.short == "by-hand"
        if foreign or shot.userrefs or shot.clones:
            assert shot.name in left
    for before in made(host):
        same = [
            one
            for one in made(after)
            if (one.schedule, one.snapshot.dataset) == (before.schedule, before.snapshot.dataset)
        ]
        assert same, "a schedule's last snapshot went"
        newest = max(one.snapshot.createtxg for one in same)
        assert newest >= before.snapshot.createtxg
        schedule = policy.schedule(before.schedule)
        assert schedule is not None
        older = [one for one in made(host) if one.schedule == before.schedule]
        assert len(same) >= min(schedule.keep_min, len(older) and 1)
    if planned.doubts:
        assert not [one for one in planned.prunes if one.made.snapshot.pool in planned.doubts]


@given(cases, moments)
@settings(max_examples=100, deadline=None)
def test_new_names_are_free_and_ours(case: tuple[Policy, Seen], now: int) -> None:
    policy, host = case
    there = {shot.name for shot in host.snapshots}
    for take in plan(host, policy, now, ClockEvidence()).takes:
        assert there.isdisjoint(take.names)
        schedule = policy.schedule(take.schedule)
        assert schedule is not None
        assert schedule.enabled
        assert schedule.naming.fits(take.short)
        assert all(map(schedule.covers, take.datasets))
        assert set(take.properties) == set(PROPERTIES)


def due(host: Host, now: int) -> Plan:
    seen = Seen(host.zfs.datasets("main", "ssd"), host.zfs.snapshots(["main", "ssd"]), GUIDS)
    return plan(seen, host.policy, now, ClockEvidence())


NOON = epoch("2027-05-05T12:00:01")


def test_recursion_is_one_word_only_without_excludes() -> None:
    host = Host(specified("UTC"))
    assert [take.root for take in due(host, NOON).takes] == ["main", "ssd"] * 2
    host = Host(specified("UTC", exclude=["main/a"]))
    twelve, ssd, *dummy = due(host, NOON).takes
    assert (twelve.root, twelve.datasets) == ("", ("main",))
    assert ssd.root == "ssd"


def test_excluded_datasets_get_nothing_and_the_others_come_in_one_call() -> None:
    names = ["main", "main/a", "main/a/tmp", "main/a/tmp/x", "main/b", "ssd"]
    host = Host(specified("UTC", exclude=["main/*/tmp"]), names)
    record = host.run(NOON, "12h")
    assert record.exit_code is ExitCode.OK
    assert host.zfs.calls.count("snapshot") == 1
    assert host.zfs.of("main/a/tmp") == host.zfs.of("main/a/tmp/x") == []
    assert len({shot.createtxg for shot in host.zfs.shots.values() if shot.pool == "main"}) == 1
    assert all(host.zfs.of(name) for name in ("main", "main/a", "main/b", "ssd"))


def test_a_name_that_something_else_has_is_avoided() -> None:
    host = Host(specified("UTC"))
    host.zfs.add("main/a@auto-12h-2027-05-05_12-00", 5, NOON - 500)
    host.run(NOON, "12h")
    assert host.zfs.of("main") == ["auto-12h-2027-05-05_12-00b"]
    assert host.zfs.of("ssd") == ["auto-12h-2027-05-05_12-00"]


def test_one_dataset_that_refuses_does_not_stop_the_others() -> None:
    host = Host(specified("UTC"))
    host.zfs.refuse = {"main/a/vol"}
    record = host.run(NOON, "12h")
    assert record.exit_code is ExitCode.INCOMPLETE
    assert [len(names) for dummy, names in record.taken] == [2, 1]
    assert [failure.error.on for failure in record.failures] == [
        "main/a/vol@auto-12h-2027-05-05_12-00"
    ]
    assert "out of space" in str(record.failures[0].error)
    assert host.zfs.of("main/a/vol") == []
    # It isn't done: the next wake looks again, but the slot isn't taken twice.
    host.zfs.calls.clear()
    again = host.run(NOON + 3600, "12h")
    assert again.exit_code is ExitCode.OK
    assert not again.taken


def test_a_pool_that_is_away_does_not_stop_the_other() -> None:
    host = Host(specified("UTC"))
    host.zfs.suspended = {"ssd"}
    record = host.run(NOON)
    assert record.exit_code is ExitCode.INCOMPLETE
    assert {take.pool for take, dummy in record.taken} == {"main"}
    assert [failure.pool for failure in record.failures] == ["ssd"]
    # It comes back within the slot: it is caught up with.
    host.zfs.suspended = set()
    record = host.run(NOON + 3600)
    assert record.exit_code is ExitCode.OK
    assert {take.pool for take, dummy in record.taken} == {"ssd"}
    assert host.zfs.of("ssd")[0] == "auto-12h-2027-05-05_13-00"


def test_all_pools_away() -> None:
    host = Host(specified("UTC"))
    host.zfs.suspended = {"ssd", "main"}
    assert host.run(NOON).exit_code is ExitCode.SOURCE


def test_a_root_that_is_missing_is_named() -> None:
    host = Host(specified("UTC", datasets=["main", "main/gone"]))
    record = host.run(NOON, "12h")
    assert record.exit_code is ExitCode.INCOMPLETE
    assert "main/gone" in str(record.failures[0].error)
    assert len(record.taken) == 1


def test_a_dataset_that_goes_while_the_run_works() -> None:
    host = Host(specified("UTC", exclude=["main/x"]))
    listed = host.zfs.datasets("main", "ssd")

    def stale(*roots: str, recursive: bool = True) -> Any:
        host.zfs.datasets = original
        del host.zfs.sets["main/a/vol"]
        return listed

    original = host.zfs.datasets
    host.zfs.datasets = stale
    record = host.run(NOON, "12h")
    assert record.exit_code is ExitCode.OK
    assert host.zfs.of("main/a") == ["auto-12h-2027-05-05_12-00"]


def test_no_pruning_where_the_new_snapshot_failed() -> None:
    host = Host(specified("UTC", lifetime="48h"))
    host.live(NOON - 5 * DAY, NOON - 60)
    host.policy = specified("UTC", lifetime="24h")
    before = host.zfs.of("main", "auto-12h-")
    assert len(before) == 4
    host.zfs.refuse = set(NAMES[:3])
    host.run(NOON, "12h")
    assert host.zfs.of("main", "auto-12h-") == before
    assert len(host.zfs.of("ssd", "auto-12h-")) == 2
    host.zfs.refuse = set()
    host.run(NOON + 3600)
    assert len(host.zfs.of("main", "auto-12h-")) == 2


def test_a_busy_one_is_reported_and_tried_again() -> None:
    host = Host(specified("UTC"))
    host.live(NOON - 5 * DAY, NOON - 60)
    oldest = host.zfs.of("main", "auto-12h-")[0]
    planned = host.zfs.snapshots

    def hides_the_hold(*arguments: Any, **options: Any) -> Any:
        return tuple(
            shot
            if shot.userrefs == 0
            else Snapshot(shot.name, 0, shot.createtxg, shot.creation, 0, 0, 0, (), shot.properties)
            for shot in planned(*arguments, **options)
        )

    host.zfs.snapshots = hides_the_hold
    host.zfs.change(f"main@{oldest}", userrefs=1)
    record = host.run(NOON, "12h")
    assert record.exit_code is ExitCode.INCOMPLETE
    assert [refusal.snapshot for refusal in record.refused] == [f"main@{oldest}"]
    host.zfs.change(f"main@{oldest}", userrefs=0)
    assert host.run(NOON + 3600).exit_code is ExitCode.OK
    assert oldest not in host.zfs.of("main")


def world(host: Host) -> dict[str, tuple[int, str]]:
    """What is there, without the order in which it came."""
    return {
        name: (shot.creation // 3600, shot.properties[SCHEDULE])
        for name, shot in host.zfs.shots.items()
    }


@pytest.mark.parametrize("exclude", [[], ["main/x"]])
def test_killed_anywhere_the_next_run_is_right(exclude: list[str]) -> None:
    midnight = epoch("2027-05-06T00:00:01")

    before = Host(specified("UTC", exclude=exclude))
    before.live(midnight - 23 * DAY, midnight - 60)
    undisturbed = before.twin()
    undisturbed.run(midnight)
    points = undisturbed.zfs._points
    assert points >= 16
    for point in range(points):
        host = before.twin()
        host.zfs.kill_at = point
        with pytest.raises(Killed):
            host.run(midnight)
        host.zfs.kill_at = None
        record = host.run(midnight + 60)
        assert record.exit_code is ExitCode.OK, f"killed at {point}"
        assert world(host) == world(undisturbed), f"killed at {point}"
        assert not host.run(midnight + 120).eventful


def test_a_changed_policy_is_looked_at_at_once() -> None:
    host = Host(specified("UTC"))
    host.run(NOON)
    assert not host.run(NOON + 60).eventful
    host.policy = specified("UTC", cron="0 */6 * * *")
    host.run(NOON + 120)
    assert host.zfs.calls[-1] != "snapshot -r"
    host.policy = specified("UTC", cron="5 */12 * * *")
    record = host.run(NOON + 301)
    assert [take.slot for take, dummy in record.taken] == [NOON + 299] * 2


def test_only_the_named_schedules() -> None:
    host = Host(specified("UTC"))
    record = host.run(NOON, "daily")
    assert {take.schedule for take, dummy in record.taken} == {"daily"}
    with pytest.raises(ConfigError, match="the policy has: 12h, daily"):
        host.run(NOON, "weekly")


def test_an_unlisted_new_snapshot_is_a_failure() -> None:
    host = Host(specified("UTC"))
    host.zfs.snapshot_recursive = lambda *arguments: None
    record = host.run(NOON, "12h")
    assert record.exit_code is ExitCode.SOURCE
    assert "not listed although zfs reported success" in str(record.failures[0].error)
