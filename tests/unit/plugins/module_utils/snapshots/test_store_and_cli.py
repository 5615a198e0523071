# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state directory, the listing, and the command line over a scripted zfs."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    ExitCode,
    LockedError,
)
from ansible_collections.homelab.backup.plugins.module_utils._runner import cli_snapshots
from ansible_collections.homelab.backup.plugins.module_utils._runner.main import run as command
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.converge import policy_text
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.listing import (
    describe,
    services_of,
    table,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import (
    ClockEvidence,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.record import (
    RunMemory,
    RunRecord,
    read_memory,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.store import (
    RECORDS,
    StateDirectory,
    load_policy,
)
from tests.unit.plugins.module_utils.snapshots.fakes import FakeClock, FakeZfs, specified
from tests.unit.plugins.module_utils.snapshots.test_year import Host, epoch

NOON = epoch("2027-05-05T12:00:01")


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    directory = StateDirectory(tmp_path)
    directory.prepare()
    (tmp_path / "etc").mkdir()
    directory.policy_file.write_text(policy_text(specified("UTC")))
    return directory


def test_memory_comes_back_as_it_was_saved(state: StateDirectory) -> None:
    assert state.load() == RunMemory()
    memory = RunMemory(ClockEvidence(17, {"main": 5}), "abc", {"12h": 1})
    state.save(memory)
    assert state.load() == memory


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "no key 'format'"),
        ({"format": "homelab.backup.snapshot-state/9"}, "reads up to"),
        ({"format": "homelab.backup.snapshot-state/1", "latest": "x"}, "damaged"),
        ({"format": "homelab.backup.snapshot-state/1"}, "delete the file"),
    ],
)
def test_a_damaged_memory_is_named(document: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_memory(document, "state/snapshots.json")


def test_records_are_kept_up_to_a_limit(state: StateDirectory) -> None:
    for number in range(RECORDS + 5):
        state.keep(RunRecord(NOON + number, NOON + number, ("12h",)))
    (state.records / "offsite-1.json").write_text("{}")
    state.keep(RunRecord(NOON + 1000, NOON + 1000, ()))
    names = sorted(path.name for path in state.records.glob("snapshots-*"))
    assert len(names) == RECORDS
    assert names[0].startswith("snapshots-2027-05-05T120007Z-")
    assert (state.records / "offsite-1.json").exists()
    record = json.loads((state.records / names[0]).read_text())
    assert record["format"] == "homelab.backup.snapshot-run/1"
    assert record["verdict"] == "ok"


def test_a_second_run_waits_for_the_first(state: StateDirectory) -> None:
    entered: list[float] = []

    def second() -> None:
        with StateDirectory(state.path).locked(10):
            entered.append(time.monotonic())

    thread = threading.Thread(target=second)
    with state.locked(0):
        thread.start()
        time.sleep(0.5)
        released = time.monotonic()
    thread.join()
    assert entered[0] >= released


def test_patience_ends(state: StateDirectory) -> None:
    with state.locked(0), pytest.raises(LockedError), StateDirectory(state.path).locked(0.3):
        pass


def test_a_record_says_what_was_done() -> None:
    host = Host(specified("UTC"))
    host.live(NOON - 3 * 86400, NOON - 60)
    host.zfs.refuse = {"ssd"}
    document = host.run(NOON, "12h").to_document()
    assert document["exit_code"] == ExitCode.INCOMPLETE
    assert document["verdict"] == "incomplete"
    assert document["started"] == "2027-05-05T12:00:01Z"
    assert document["taken"] == [
        {
            "schedule": "12h",
            "pool": "main",
            "slot": "2027-05-05T12:00:00Z",
            "name": "auto-12h-2027-05-05_12-00",
            "datasets": ["main", "main/a", "main/a/vol"],
            "reason": "schedule '12h' is due",
        }
    ]
    assert document["pruned"][0]["snapshot"] == "main@auto-12h-2027-05-04_12-00"
    assert document["failures"][0]["pool"] == "ssd"
    assert "out of space" in document["failures"][0]["found"]
    assert json.loads(json.dumps(document)) == document


def test_the_listing_says_why() -> None:
    host = Host(specified("UTC"))
    host.live(NOON - 3 * 86400, NOON + 60)
    host.zfs.add("main/a@by-hand", 9999, NOON - 5, {})
    host.zfs.change("main/a@by-hand", userrefs=1)
    guids = host.zfs.pool_guids(["main", "ssd"])
    services = {"photos": ["main/a"], "vm": ["main/a/vol", "ssd"], "none": []}
    listed = describe(
        host.zfs.shots.values(), guids, {"main/a@by-hand": ("keep",)}, host.policy, services, NOON
    )
    rows = {one.snapshot.name: one.to_document(NOON) for one in listed}
    hand = rows["main/a@by-hand"]
    assert (hand["schedule"], hand["expires"]) == ("", "")
    assert (hand["note"], hand["holds"]) == ("not made by homelab.backup", ["keep"])
    newest = rows["main/a/vol@auto-12h-2027-05-05_12-00"]
    assert newest["expires"] == "2027-05-06T12:00:00Z"
    assert newest["services"] == ["photos", "vm"]
    assert newest["age"] == 0
    text = table(listed, NOON)
    assert text.splitlines()[0].split() == [
        "SNAPSHOT",
        "AGE",
        "USED",
        "WRITTEN",
        "SCHEDULE",
        "HOLDS",
        "NOTE",
    ]
    assert "main/a@by-hand" in text
    assert len(text.splitlines()) == 1 + len(rows)


def test_services_by_dataset() -> None:
    services = {"a": ["main/a"], "b": ["main/ab"], "all": ["main"]}
    assert services_of("main/a/x", services) == ("a", "all")
    assert services_of("ssd", services) == ()


@pytest.fixture
def scripted(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> FakeZfs:
    """The command line's zfs and clock, in memory."""
    clock = FakeClock(NOON)
    zfs = FakeZfs(clock)
    zfs.holds = lambda names: dict.fromkeys(names, ("keep",))
    monkeypatch.setattr(cli_snapshots, "ZfsCli", lambda commands: zfs)
    monkeypatch.setattr(cli_snapshots, "SystemClock", lambda: clock)
    return zfs


def call(state: StateDirectory, *words: str) -> int:
    return command(
        ["snapshots", words[0], "--state-dir", str(state.path), *words[1:]],
        [cli_snapshots.register],
    )


def test_run_plan_and_list(
    state: StateDirectory, scripted: FakeZfs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(state, "plan") == ExitCode.OK
    said = capsys.readouterr().out
    assert "take   main: 3 x @auto-12h-2027-05-05_12-00 (schedule '12h' has no snapshot" in said
    assert not scripted.shots
    assert call(state, "run", "--schedule", "12h") == ExitCode.OK
    said = capsys.readouterr().out
    assert "2027-05-05T12:00:01Z took main: 3 x @auto-12h-2027-05-05_12-00" in said
    assert "ended: ok" in said
    assert call(state, "run", "--schedule", "12h", "--quiet") == ExitCode.OK
    assert capsys.readouterr().out == ""
    assert call(state, "run", "--schedule", "12h") == ExitCode.OK
    assert "nothing is due" in capsys.readouterr().out
    scripted.change("main@auto-12h-2027-05-05_12-00", userrefs=1)
    assert call(state, "list", "main", "--json") == ExitCode.OK
    listed = json.loads(capsys.readouterr().out)
    assert [one["dataset"] for one in listed] == ["main", "main/a", "main/a/vol"]
    assert listed[0]["holds"] == ["keep"]
    assert call(state, "list", "--schedule", "daily") == ExitCode.OK
    assert capsys.readouterr().out.splitlines()[1:] == []
    assert call(state, "plan", "--json", "--schedule", "12h") == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["take"] == []
    assert len(list(state.records.glob("snapshots-*.json"))) == 1


def test_the_exit_status_says_it(
    state: StateDirectory, scripted: FakeZfs, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.suspended = {"ssd"}
    assert call(state, "run") == ExitCode.INCOMPLETE
    assert "ERROR could not do it (ssd): pool I/O is suspended" in capsys.readouterr().out
    assert call(state, "plan") == ExitCode.INCOMPLETE
    assert call(state, "run", "--schedule", "nope") == ExitCode.CONFIG
    assert "the policy has: 12h, daily" in capsys.readouterr().err
    state.policy_file.write_text("{")
    assert call(state, "run") == ExitCode.CONFIG


def test_the_state_directory_is_found_by_the_programs_place(tmp_path: Path) -> None:
    program = tmp_path / "hb/bin/homelab-backup.pyz"
    assert cli_snapshots.default_state_directory(str(program)) == tmp_path / "hb"
    assert cli_snapshots.default_state_directory("/usr/bin/python3") is None


def test_a_missing_policy_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run the playbook"):
        load_policy(tmp_path / "etc/snapshots.json")
