# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention: what goes, what stays, and for which reason."""

from __future__ import annotations

from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import (
    NAMING,
    POOL,
    SCHEDULE,
    SLOT,
    ClockEvidence,
    Made,
    made,
    properties_of,
    recognise,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import (
    Host as Seen,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import (
    Policy,
    reference_time,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.retention import (
    Decision,
    retain,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Snapshot
from tests.unit.plugins.module_utils.snapshots.fakes import specified
from tests.unit.plugins.module_utils.snapshots.test_year import DAY, epoch

NOW = epoch("2027-06-30T00:00:01")
HOUR = 3600


def history(
    count: int, step: int = DAY, schedule: str = "daily", dataset: str = "main", **last: object
) -> list[Made]:
    """``count`` snapshots on time, the newest at NOW; ``last`` changes the oldest one."""
    found = []
    for index in range(count):
        slot = NOW - 1 - index * step
        values = {"userrefs": 0, "clones": (), **(last if index == count - 1 else {})}
        shot = Snapshot(
            f"{dataset}@{schedule}-{index}", index, 1000 - index, slot + 1, 0, 0, **values
        )
        found.append(Made(shot, schedule, slot, slot))
    return found


def decide(ours: list[Made], policy: Policy | None = None, veto: str = "") -> list[Decision]:
    chosen = policy or specified("UTC")
    return list(retain(ours, chosen, NOW, {("", ""): veto} if veto else {}))


def pruned(decisions: list[Decision]) -> list[str]:
    return [decision.made.snapshot.short for decision in decisions if decision.prune]


def test_what_reached_its_lifetime_to_the_second_goes() -> None:
    # At 00:00:01 those of 24 h ago and older are over; two newer ones are there.
    decisions = decide(history(4, 12 * HOUR, "12h"))
    assert pruned(decisions) == ["12h-2", "12h-3"]
    assert decisions[2].reason == "its lifetime of 24h ended 2027-06-30T00:00:00Z"
    assert decisions[0].reason == "the newest of its schedule always stays"
    assert decisions[1].reason == "it lives until 2027-06-30T12:00:00Z"


def test_the_boundary_belongs_to_the_end() -> None:
    ours = history(3, 12 * HOUR, "12h")
    for now, expected in ((NOW - 2, []), (NOW - 1, ["12h-2"])):
        decisions = retain(ours, specified("UTC"), now, {})
        assert pruned(list(decisions)) == expected


def test_three_weeks_are_twenty_one() -> None:
    assert pruned(decide(history(25))) == ["daily-21", "daily-22", "daily-23", "daily-24"]


def test_age_alone_empties_nothing() -> None:
    # Once a month instead of daily: only three newer ones, so each stays.
    decisions = decide(history(4, 30 * DAY))
    assert pruned(decisions) == []
    assert decisions[3].reason == "only 3 newer ones are there and 21 have to be"


def test_a_disabled_schedule_lives_out_its_lifetime() -> None:
    off = specified("UTC", enabled=False)
    assert pruned(decide(history(3, 30 * DAY, "12h"), off)) == ["12h-1", "12h-2"]
    held_back = specified("UTC", enabled=False, keep_min=2)
    assert pruned(decide(history(3, 30 * DAY, "12h"), held_back)) == ["12h-2"]


def test_a_dataset_that_is_excluded_now_lives_out_its_lifetime() -> None:
    policy = specified("UTC", exclude=["main/x"])
    assert pruned(decide(history(3, 30 * DAY, "12h", "main/x"), policy)) == ["12h-1", "12h-2"]
    assert pruned(decide(history(3, 30 * DAY, "12h", "main/y"), policy)) == ["12h-2"]


def test_keep_min_raises_the_floor() -> None:
    policy = specified("UTC", keep_min=4)
    assert pruned(decide(history(6, 12 * HOUR, "12h"), policy)) == ["12h-4", "12h-5"]


def test_held_and_cloned_ones_stay() -> None:
    held = decide(history(4, 12 * HOUR, "12h", userrefs=1))
    assert pruned(held) == ["12h-2"]
    assert "held" in held[3].reason
    cloned = decide(history(4, 12 * HOUR, "12h", clones=("main/copy",)))
    assert pruned(cloned) == ["12h-2"]
    assert cloned[3].reason == "main/copy is a clone of it"


def test_a_veto_keeps_what_would_go() -> None:
    decisions = decide(history(4, 12 * HOUR, "12h"), veto="the clock is wrong")
    assert pruned(decisions) == []
    assert [decision.reason for decision in decisions[2:]] == ["the clock is wrong"] * 2


def test_datasets_and_schedules_are_apart() -> None:
    ours = history(3, 12 * HOUR, "12h", "main") + history(1, 12 * HOUR, "12h", "main/a")
    assert pruned(decide(ours)) == ["12h-2"]


def test_order_is_by_createtxg_not_by_time() -> None:
    ours = history(3, 12 * HOUR, "12h")
    shot = Snapshot("main@12h-old-time", 9, 2000, 0, 0, 0, 0)
    newest = Made(shot, "12h", 0, 0)
    decisions = decide([*ours, newest])
    assert decisions[0].made is newest
    assert decisions[0].reason == "the newest of its schedule always stays"


def test_a_removed_schedule_prunes_nothing() -> None:
    decisions = decide(history(3, 30 * DAY, "gone"))
    assert pruned(decisions) == []
    assert "not in the policy any more" in decisions[0].reason
    assert decisions[0].expires is None


def own(name: str = "main@auto-2027-06-30_00-00", **changes: str) -> Snapshot:
    values = properties_of(specified().schedules[1], NOW, 77) | changes
    kept = {key: value for key, value in values.items() if value}
    return Snapshot(name, 1, 1, NOW, 0, 0, 0, (), kept)


def test_what_is_ours() -> None:
    found = recognise(own(), {"main": 77})
    assert isinstance(found, Made)
    assert (found.schedule, found.slot) == ("daily", NOW)


def test_what_is_not_ours() -> None:
    guids = {"main": 77, "backup": 78}
    assert recognise(own(**{SCHEDULE: ""}), guids) == "not made by homelab.backup"
    assert "renamed" in str(recognise(own("main@keep"), guids))
    assert "not a time" in str(recognise(own(**{SLOT: "x"}), guids))
    assert "not a time" in str(recognise(own(**{SLOT: ""}), guids))
    assert "renamed" in str(recognise(own(**{NAMING: "other-%Y%m%d%H%M"}), guids))
    received = own("backup/main@auto-2027-06-30_00-00")
    assert "made on another pool" in str(recognise(received, guids))
    assert "made on another pool" in str(recognise(own(**{POOL: ""}), guids))


def test_reference_times() -> None:
    assert reference_time(1200, 1200) == 1200
    assert reference_time(1200, 1200 + 899) == 1200
    assert reference_time(1200, 1200 + 901) == 2100
    assert reference_time(1200, 1100) == 1080


def test_the_clock_is_doubted() -> None:
    ahead = own()
    ours = made(Seen((), (ahead,), {"main": 77}))
    assert not ClockEvidence().doubts(ours, NOW - 300)
    doubts = ClockEvidence().doubts(ours, NOW - 301)
    assert "5 min 1 s in the future" in doubts["main"]
    assert "--accept-clock" in doubts["main"]
    assert not ClockEvidence(accepted={"main": 1}).doubts(ours, NOW - 301)
    assert not ClockEvidence(NOW).doubts((), NOW - 300)
    assert "before the last run" in ClockEvidence(NOW).doubts((), NOW - 301)[""]
