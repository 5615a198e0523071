# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converging a host's policy: timer, plan, files, the same plan in check mode and apply."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.backend import (
    ZfsBackend,
    is_truenas,
    require_zfs_backend,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.converge import (
    Current,
    plan_change,
    policy_text,
    project,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.document import (
    parse_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import (
    ClockEvidence,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import (
    Host as Seen,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import (
    Policy,
    Schedule,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.store import (
    StateDirectory,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.timer import Paths, render
from tests.unit.plugins.module_utils.snapshots.fakes import specified
from tests.unit.plugins.module_utils.snapshots.test_plan_and_run import cases, moments, policies
from tests.unit.plugins.module_utils.snapshots.test_year import DAY, Host, epoch

NOW = epoch("2027-06-30T13:00")
PATHS = Paths(
    "/usr/bin/python3", "/mnt/main/hb/bin/homelab-backup.pyz", "/mnt/main/hb", "/var/log/hb.log"
)
RUN = (
    "root /usr/bin/python3 /mnt/main/hb/bin/homelab-backup.pyz snapshots run --quiet"
    " --state-dir /mnt/main/hb"
)
LOG = "2>&1 | cat >> /var/log/hb.log"


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_timer_has_the_specified_lines() -> None:
    text = render(specified("Europe/Vienna"), PATHS, "Europe/Vienna", NOW)
    assert lines(text) == [
        "SHELL=/bin/sh",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"0 */12 * * * {RUN} --schedule 12h {LOG}",
        f"0 0 * * * {RUN} --schedule daily {LOG}",
        f"@reboot {RUN} {LOG}",
        f"7 * * * * {RUN} {LOG}",
    ]
    assert text.endswith("\n")
    assert "# 12h: main, ssd and below, named auto-12h-%Y-%m-%d_%H-%M, kept 24h\n" in text


def test_a_schedule_of_another_zone_is_woken_for() -> None:
    text = render(specified("America/New_York"), PATHS, "Etc/UTC", NOW)
    assert lines(text)[2:] == [f"@reboot {RUN} {LOG}", f"*/5 * * * * {RUN} {LOG}"]
    assert "# at '0 */12 * * *' in America/New_York; cron here runs in Etc/UTC" in text


def test_an_alias_of_the_zone_is_no_other_zone() -> None:
    assert "*/5" not in render(specified("UTC"), PATHS, "Etc/UTC", NOW)


def test_a_disabled_schedule_has_no_line() -> None:
    text = render(specified("UTC", enabled=False), PATHS, "UTC", NOW)
    assert "12h" not in text
    assert "0 0 * * *" in text


def test_what_is_left_of_a_disabled_schedule_is_woken_for() -> None:
    policy = Policy(specified("UTC", enabled=False).schedules[:1])
    assert lines(render(policy, PATHS, "UTC", NOW))[2:] == [
        f"@reboot {RUN} {LOG}",
        f"7 * * * * {RUN} {LOG}",
    ]


def test_no_schedules_no_lines() -> None:
    assert lines(render(Policy(()), PATHS, "UTC", NOW))[2:] == []


def test_a_percent_sign_is_escaped_for_cron() -> None:
    odd = Paths("/usr/bin/python3", "/mnt/a b/100%/x.pyz", "/mnt/a b/100%", "/var/log/x")
    line = lines(render(specified("UTC"), odd, "UTC", NOW))[2]
    assert r"'/mnt/a b/100\%/x.pyz'" in line
    assert "%" not in line.replace(r"\%", "")


def backend(
    tmp_path: Path, host: Host, desired: Policy | None, *, prune: bool = True
) -> ZfsBackend:
    state = tmp_path / "hb"
    state.mkdir(exist_ok=True)
    (tmp_path / "cron.d").mkdir(exist_ok=True)
    return ZfsBackend(
        host.zfs,
        host.clock,
        state=StateDirectory(state),
        cron_file=tmp_path / "cron.d" / "snapshots",
        paths=PATHS,
        host_zone="UTC",
        pools=desired.pools if desired else (),
        prune=prune,
    )


def lived() -> Host:
    host = Host(specified("UTC"))
    host.live(NOW - 60 * DAY, NOW)
    return host


def test_a_policy_is_written_and_then_nothing_changes(tmp_path: Path) -> None:
    host, desired = lived(), specified("UTC")
    first = backend(tmp_path, host, desired)
    plan = first.plan(first.read(), desired)
    assert [one.kind for one in plan.rewrites] == ["policy", "timer"]
    assert not plan.doomed
    assert "schedule '12h' is new: main, ssd at '0 */12 * * *' (UTC)" in plan.sentences[0]
    assert not (tmp_path / "hb/etc").exists()
    first.apply(plan)
    assert json.loads((tmp_path / "hb/etc/snapshots.json").read_text())["schedules"]
    assert (tmp_path / "cron.d/snapshots").stat().st_mode & 0o777 == 0o644
    for later in (0, 3600, 8 * 3600):
        host.clock.time = NOW + later
        again = backend(tmp_path, host, desired)
        plan = again.plan(again.read(), desired)
        assert not plan
        assert not plan.sentences


def test_what_is_over_anyway_is_left_to_the_runner(tmp_path: Path) -> None:
    host, desired = lived(), specified("UTC", enabled=False)
    first = backend(tmp_path, host, desired)
    first.apply(first.plan(first.read(), desired))
    host.clock.time = NOW + 3 * DAY
    again = backend(tmp_path, host, desired)
    plan = again.plan(again.read(), desired)
    assert not plan
    assert not plan.announced
    host.policy = desired
    assert host.run(NOW + 3 * DAY, "12h").pruned


@pytest.mark.parametrize("prune", [True, False])
def test_a_shorter_lifetime_names_each_snapshot_that_goes(tmp_path: Path, prune: bool) -> None:
    host = lived()
    start = backend(tmp_path, host, host.policy)
    start.apply(start.plan(start.read(), host.policy))
    shorter = specified("UTC")
    shorter = Policy((shorter.schedules[0], changed(shorter, "2w")))
    now = backend(tmp_path, host, shorter, prune=prune)
    plan = now.plan(now.read(), shorter)
    assert plan.sentences == ("schedule 'daily': lifetime '3w' becomes '2w'",)
    going = plan.doomed if prune else plan.announced
    names = [decision.made.snapshot.name for decision in going]
    assert len(names) == 7 * 4
    assert names[0] == "main@auto-2027-06-16_00-00"
    assert names[6] == "main@auto-2027-06-10_00-00"
    assert all("lifetime of 2w ended" in decision.reason for decision in going)
    assert len(host.zfs.of("main", "auto-2027")) == 21
    assert now.apply(plan) == ()
    assert len(host.zfs.of("main", "auto-2027")) == (14 if prune else 21)
    again = backend(tmp_path, host, shorter, prune=prune)
    assert not again.plan(again.read(), shorter)
    # Without pruning, the runner's next run does it.
    host.policy = shorter
    host.run(NOW + 60)
    assert len(host.zfs.of("main", "auto-2027")) == 14


def changed(policy: Policy, lifetime: str) -> Schedule:

    return replace(policy.schedules[1], lifetime=lifetime)


def test_what_refuses_to_go_is_reported(tmp_path: Path) -> None:
    host = lived()
    start = backend(tmp_path, host, host.policy)
    start.apply(start.plan(start.read(), host.policy))
    shorter = Policy((host.policy.schedules[0], changed(host.policy, "1w")))
    now = backend(tmp_path, host, shorter)
    plan = now.plan(now.read(), shorter)
    victim = plan.doomed[0].made.snapshot.name
    host.zfs.change(victim, userrefs=1)
    refused = now.apply(plan)
    assert [refusal.snapshot for refusal in refused] == [victim]
    assert victim in host.zfs.shots


def test_a_removed_schedule_leaves_its_snapshots(tmp_path: Path) -> None:
    host = lived()
    start = backend(tmp_path, host, host.policy)
    start.apply(start.plan(start.read(), host.policy))
    only_daily = Policy(host.policy.schedules[1:])
    now = backend(tmp_path, host, only_daily)
    plan = now.plan(now.read(), only_daily)
    assert "schedule '12h' goes; the snapshots that it made stay" in plan.sentences[0]
    assert not plan.doomed


def test_absent_removes_the_timer_first_and_no_snapshot(tmp_path: Path) -> None:
    host = lived()
    start = backend(tmp_path, host, host.policy)
    start.apply(start.plan(start.read(), host.policy))
    count = len(host.zfs.shots)
    now = backend(tmp_path, host, None)
    plan = now.plan(now.read(), None)
    assert [one.kind for one in plan.rewrites] == ["timer", "policy"]
    now.apply(plan)
    assert len(host.zfs.shots) == count
    assert not (tmp_path / "cron.d/snapshots").exists()
    assert not (tmp_path / "hb/etc/snapshots.json").exists()
    assert not now.plan(now.read(), None)


@pytest.mark.parametrize("content", ["{", '{"format": "homelab.backup.snapshot-policy/1"}'])
def test_a_damaged_policy_file_is_replaced(tmp_path: Path, content: str) -> None:
    host = lived()
    now = backend(tmp_path, host, host.policy)
    (tmp_path / "hb/etc").mkdir()
    (tmp_path / "hb/etc/snapshots.json").write_text(content)
    current = now.read()
    assert current.policy is None
    plan = now.plan(current, host.policy)
    assert plan.rewrites[0].before == content
    now.apply(plan)
    assert not now.plan(now.read(), host.policy)


def test_a_newer_policy_file_is_not_touched(tmp_path: Path) -> None:
    host = lived()
    now = backend(tmp_path, host, host.policy)
    (tmp_path / "hb/etc").mkdir()
    (tmp_path / "hb/etc/snapshots.json").write_text(
        '{"format": "homelab.backup.snapshot-policy/2", "schedules": []}'
    )
    with pytest.raises(ConfigError, match="reads up to"):
        now.read()


def test_a_missing_state_directory_is_not_made(tmp_path: Path) -> None:
    host = lived()
    now = backend(tmp_path, host, host.policy)
    (tmp_path / "hb").rmdir()
    plan = now.plan(now.read(), host.policy)
    assert plan
    with pytest.raises(ConfigError, match="does not exist"):
        now.apply(plan)
    assert not (tmp_path / "hb").exists()
    assert not (tmp_path / "cron.d/snapshots").exists()


def test_no_cron_is_an_error_that_says_so(tmp_path: Path) -> None:
    host = lived()
    now = backend(tmp_path, host, host.policy)
    (tmp_path / "cron.d").rmdir()
    with pytest.raises(ConfigError, match="install the package cron"):
        now.apply(now.plan(now.read(), host.policy))


def test_a_pool_that_is_away_is_a_warning(tmp_path: Path) -> None:
    host = lived()
    host.zfs.suspended = {"ssd"}
    now = backend(tmp_path, host, host.policy)
    assert now.plan(now.read(), host.policy)
    assert "suspended" in now.warnings[0]


def test_a_wrong_clock_prunes_nothing(tmp_path: Path) -> None:
    host = lived()
    start = backend(tmp_path, host, host.policy)
    start.apply(start.plan(start.read(), host.policy))
    shorter = Policy((host.policy.schedules[0], changed(host.policy, "1w")))
    host.clock.time = NOW - 2 * DAY
    now = backend(tmp_path, host, shorter)
    plan = now.plan(now.read(), shorter)
    assert plan.rewrites
    assert not plan.doomed


@given(cases, st.none() | policies(), moments, st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_planning_again_after_applying_gives_nothing(
    case: tuple[Policy, Seen], old: Policy | None, now: int, damaged: bool, prune: bool
) -> None:
    desired, host = case
    text = "{" if damaged else policy_text(old)
    current = Current(None if damaged else old, text, "x" * damaged, host, now, ClockEvidence())

    def planned(state: Current) -> object:
        timer = render(desired, PATHS, "UTC", state.now)
        return plan_change(
            state, desired, policy_path="p", timer_path="t", timer_text=timer, prune=prune
        )

    first = planned(current)
    assert bool(first) == bool(first.rewrites or first.doomed)
    again = planned(project(current, first, desired))
    assert not again, again
    assert not again.sentences


def test_a_truenas_is_told_from_others(tmp_path: Path) -> None:
    assert not is_truenas(tmp_path)
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/midclt").touch()
    assert not is_truenas(tmp_path)
    (tmp_path / "data").mkdir()
    assert is_truenas(tmp_path)
    with pytest.raises(ConfigError, match="middleware is not there yet"):
        require_zfs_backend("auto", lambda: True)
    require_zfs_backend("zfs", lambda: True)
    require_zfs_backend("auto", lambda: False)


def test_the_policy_on_disk_is_the_policy(tmp_path: Path) -> None:
    policy = specified("Europe/Vienna", exclude=["main/a"])
    assert parse_policy(json.loads(policy_text(policy)), "x") == policy
