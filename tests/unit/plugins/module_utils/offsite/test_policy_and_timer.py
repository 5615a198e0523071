# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""The offsite policy as a document, its differences in words, the timer, and what is due."""

from __future__ import annotations

import copy
import datetime
from typing import Any

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._offsite.document import (
    changes,
    to_document,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import parse_policy
from ansible_collections.homelab.backup.plugins.module_utils._offsite.timer import (
    RunnerPaths,
    due,
    render,
)

PATHS = RunnerPaths("/usr/bin/python3", "/p/bin/run.pyz", "/p/etc/offsite.json", "/var/log/x.log")
NOW = int(datetime.datetime(2026, 11, 23, 7, tzinfo=datetime.UTC).timestamp())
DOCUMENT: dict[str, Any] = {
    "format": "homelab.backup.offsite-policy/1",
    "host": "truenas",
    "state_dir": "/mnt/main/homelab-backup",
    "log_file": "/var/log/x.log",
    "jobs": [
        {
            "name": "main",
            "root": "main",
            "destination": {
                "host": "nas",
                "user": "offsite",
                "key_file": "/k",
                "known_hosts_file": "/h",
                "directory": "/Backup/main",
            },
            "excludes": [{"pattern": "*.log", "reason": "regenerable"}],
            "schedule": {"timezone": "UTC"},
        }
    ],
}


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """The document with one value replaced."""
    document = copy.deepcopy(DOCUMENT)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return document


def test_a_policy_survives_being_written_and_read() -> None:
    policy = parse_policy(DOCUMENT, "here")
    assert parse_policy(to_document(policy), "again") == policy
    with_pruner = changed("jobs", 0, "destination", "pruner", to={"user": "p", "key_file": "/pk"})
    policy = parse_policy(with_pruner, "here")
    assert policy.jobs[0].destination.pruner_user == "p"
    assert parse_policy(to_document(policy), "again") == policy


def test_the_control_directory_is_a_sibling_unless_it_is_named() -> None:
    destination = parse_policy(DOCUMENT, "here").jobs[0].destination
    assert destination.control_directory == "/Backup/main.homelab-backup"


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("jobs", 0, "destination", "control_directory"), "/Backup/main/x", "may not lie inside"),
        (("jobs", 0, "destination", "directory"), "Backup", "absolute path"),
        (("jobs", 0, "destination", "port"), 70_000, "port"),
        (("jobs", 0, "limits"), {"max_changed_share": 30}, "from 0 to 1"),
        (("jobs", 0, "bulk"), {"program": "scp"}, "sftp, rclone"),
        (("jobs", 0, "adopt"), "yes", "true or false"),
        (("jobs", 0, "colour"), "red", "jobs[0].colour: is unknown"),
        (("jobs", 0, "name"), "../x", "letters, digits"),
        (("state_dir",), "/mnt/main/../x", "state_dir"),
    ],
)
def test_a_wrong_value_is_named(path: tuple[Any, ...], value: Any, says: str) -> None:
    with pytest.raises(ConfigError, match="offsite policy") as caught:
        parse_policy(changed(*path, to=value), "here")
    assert says in caught.value.found


def test_all_errors_are_told_at_once() -> None:
    document = changed("jobs", 0, "adopt", to="yes")
    document["jobs"][0]["destination"]["port"] = 0
    with pytest.raises(ConfigError) as caught:
        parse_policy(document, "here")
    assert "adopt" in caught.value.found
    assert "port" in caught.value.found


def test_two_jobs_may_not_write_into_one_another() -> None:
    document = copy.deepcopy(DOCUMENT)
    other = copy.deepcopy(document["jobs"][0])
    other["name"] = "ssd"
    other["destination"]["directory"] = "/Backup/main/ssd"
    document["jobs"].append(other)
    with pytest.raises(ConfigError, match="in one another"):
        parse_policy(document, "here")


def test_a_newer_policy_is_refused_and_an_unknown_file_too() -> None:
    with pytest.raises(ConfigError, match=r"update homelab\.backup"):
        parse_policy(changed("format", to="homelab.backup.offsite-policy/2"), "here")
    with pytest.raises(ConfigError, match="snapshot-policy"):
        parse_policy(changed("format", to="homelab.backup.snapshot-policy/1"), "here")


def test_differences_are_sentences() -> None:
    before = parse_policy(DOCUMENT, "here")
    assert list(changes(before, before)) == []
    after = parse_policy(
        changed("jobs", 0, "excludes", to=[{"pattern": "*.tmp", "reason": "x"}]), "here"
    )
    assert list(changes(before, after)) == [
        "job 'main': excludes '*.tmp'",
        "job 'main': copies '*.log' again",
    ]
    after = parse_policy(changed("jobs", 0, "limits", to={"versions_days": 60}), "here")
    assert list(changes(before, after)) == ["job 'main': limits.versions_days 30 becomes 60"]
    assert "is new" in next(changes(None, before))
    assert "goes; its copy" in next(changes(before, None))


def lines_of(document: dict[str, Any], zone: str) -> list[str]:
    """The cron file's own lines."""
    text = render(parse_policy(document, "here"), PATHS, zone, NOW)
    assert text.endswith("\n")
    return [line for line in text.splitlines() if " root " in line]


def test_the_hosts_own_zone_has_the_schedule_verbatim() -> None:
    incremental, reconcile = lines_of(DOCUMENT, "UTC")
    assert incremental.startswith("0 */6 * * * root /usr/bin/python3 /p/bin/run.pyz offsite run")
    assert reconcile.startswith("0 9 * * 0 root ")
    assert "--reconcile" in reconcile


def test_another_zone_wakes_the_runner_which_decides() -> None:
    (line,) = lines_of(DOCUMENT, "Europe/Vienna")
    assert line.startswith("*/15 * * * * root ")
    assert "--due" in line


def test_a_percent_sign_is_no_newline_for_cron() -> None:
    paths = RunnerPaths("/usr/bin/python3", "/p%q/run.pyz", "/p/etc/offsite.json", "/var/log/x")
    text = render(parse_policy(DOCUMENT, "here"), paths, "UTC", NOW)
    assert r"/p\%q/run.pyz" in text


def test_old_versions_are_pruned_only_with_a_login_of_their_own() -> None:
    assert not any("prune" in line for line in lines_of(DOCUMENT, "UTC"))
    with_pruner = changed("jobs", 0, "destination", "pruner", to={"user": "p", "key_file": "/pk"})
    assert sum(" prune --job main " in line for line in lines_of(with_pruner, "UTC")) == 1


@pytest.mark.parametrize(
    ("begun", "now", "mode"),
    [
        # Monday 2026-11-23: runs at 00, 06, 12, 18; the last reconcile was on Sunday at 09:00.
        (None, "2026-11-23T07:00", "incremental"),
        ("2026-11-23T06:00", "2026-11-23T07:00", None),
        ("2026-11-23T05:59", "2026-11-23T07:00", "incremental"),
        ("2026-11-22T08:00", "2026-11-22T09:00", "reconcile"),
        ("2026-11-22T09:01", "2026-11-22T11:59", None),
        ("2026-11-01T00:00", "2026-11-23T07:00", "reconcile"),
    ],
)
def test_what_is_due(begun: str | None, now: str, mode: str | None) -> None:
    def epoch(text: str) -> int:
        return int(datetime.datetime.fromisoformat(text + "+00:00").timestamp())

    job = parse_policy(DOCUMENT, "here").jobs[0]
    last = None if begun is None else {"started_epoch": epoch(begun)}
    assert due(job, last, epoch(now)) == mode
