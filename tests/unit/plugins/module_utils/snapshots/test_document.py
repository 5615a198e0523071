# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy document: what is read, and what is refused, all of it at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.document import (
    PolicyError,
    parse_policy,
    to_document,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import (
    Schedule,
    matches,
    parse_lifetime,
)
from tests.unit.plugins.module_utils.snapshots.fakes import document, specified


def wrong(**changes: Any) -> list[str]:
    """What is said about the specified policy with these keys of its first schedule changed."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(document(**changes), "policy.json")
    assert "policy.json" in str(caught.value)
    assert all(problem.remedy for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def test_the_specified_policy() -> None:
    twelve, daily = specified().schedules
    assert (twelve.id, twelve.cron.hours, twelve.recursive) == ("12h", (0, 12), True)
    assert (parse_lifetime(twelve.lifetime), parse_lifetime(daily.lifetime)) == (86400, 1814400)
    assert (daily.keep_min, daily.enabled, daily.exclude) == (1, True, ())
    assert daily.pools == ("main", "ssd")


def test_a_document_is_written_as_it_is_read() -> None:
    policy = specified(exclude=["main/*/tmp"], keep_min=3, enabled=False)
    written = to_document(policy)
    assert parse_policy(json.loads(json.dumps(written)), "x") == policy
    assert to_document(parse_policy(written, "x")) == written


def test_hours_as_a_number() -> None:
    assert specified(lifetime=36).schedules[0].lifetime == "36h"


def test_no_schedules_at_all() -> None:
    empty = {"format": "homelab.backup.snapshot-policy/1", "schedules": []}
    assert parse_policy(empty, "x").schedules == ()


def test_all_errors_come_at_once() -> None:
    said = wrong(
        id="12 h",
        datasets=["/mnt/main"],
        cron="0 25 * * *",
        timezone="Europe/Wien",
        naming="auto",
        lifetime="1 month",
        keep_min=0,
        enabled="yes",
        excludes=["x"],
    )
    keys = [line.partition(":")[0] for line in said]
    assert keys == [
        "schedules[0].excludes",
        "schedules[0].id",
        "schedules[0].datasets",
        "schedules[0].cron",
        "schedules[0].timezone",
        "schedules[0].naming",
        "schedules[0].lifetime",
        "schedules[0].keep_min",
        "schedules[0].enabled",
    ]
    assert "did you mean 'exclude'?" in said[0]
    assert "hour '25'" in said[3]


@pytest.mark.parametrize("key", ["id", "datasets", "cron", "timezone", "naming", "lifetime"])
def test_each_needed_key(key: str) -> None:
    assert f"schedules[0].{key}: it is missing" in wrong(**{key: None})[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"datasets": []}, "datasets: it is empty"),
        ({"datasets": ["main", "main"]}, "'main' is there twice"),
        ({"datasets": ["main@x"]}, "'main@x' is no dataset name"),
        ({"datasets": ["main/"]}, "'main/' is no dataset name"),
        ({"datasets": ["-r"]}, "'-r' is no dataset name"),
        ({"datasets": "main"}, "is not a list"),
        ({"recursive": False, "exclude": ["main/x"]}, "the schedule isn't recursive"),
        ({"exclude": ["main"]}, "it excludes the root 'main'"),
        ({"exclude": ["*"]}, "it excludes the root"),
        ({"exclude": ["/main/x"]}, "is no pattern"),
        ({"lifetime": "0h"}, "is not a number with h, d or w"),
        ({"lifetime": True}, "lifetime"),
        ({"keep_min": True}, "is not 1 to 10000"),
        ({"recursive": "yes"}, "neither true nor false"),
        ({"cron": 5}, "5 is not a text"),
        ({"id": "daily"}, "is that of schedules[0] too"),
        ({"naming": "auto-%Y-%d-%m_%H-%M"}, "could be those of schedule '12h'"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], words: str) -> None:
    assert any(words in line for line in wrong(**changes)), wrong(**changes)


def test_the_same_naming_on_other_datasets_is_fine() -> None:
    policy = specified(datasets=["tank"], naming="auto-%Y-%m-%d_%H-%M")
    assert len(policy.schedules) == 2


def test_overlap_is_seen_through_recursion_and_excludes() -> None:
    naming = "auto-%Y-%m-%d_%H-%M"
    twice = document(datasets=["main/a/b"], naming=naming)
    with pytest.raises(PolicyError, match="could be those of schedule"):
        parse_policy(twice, "x")
    twice["schedules"][1]["exclude"] = ["main/a"]
    assert parse_policy(twice, "x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ({}, "no key 'format'"),
        ({"format": "homelab.backup.snapshot-policy/2", "schedules": []}, "reads up to"),
        ({"format": "homelab.backup.catalogue/1"}, "homelab.backup.catalogue/1"),
        ([], "no key 'format'"),
    ],
)
def test_other_formats_are_refused(text: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_policy(text, "x")


def test_schedules_that_are_no_list() -> None:
    with pytest.raises(PolicyError, match="it is not a list"):
        parse_policy({"format": "homelab.backup.snapshot-policy/1", "schedules": {}}, "x")
    with pytest.raises(PolicyError, match="is not a mapping"):
        parse_policy({"format": "homelab.backup.snapshot-policy/1", "schedules": ["x"]}, "x")


def schedule(**changes: Any) -> Schedule:
    return specified(**changes).schedules[0]


def test_what_a_schedule_covers() -> None:
    one = schedule(datasets=["main", "ssd/vm"], exclude=["main/*/tmp", "main/iscsi"])
    assert all(map(one.covers, ["main", "main/a", "main/a/b", "ssd/vm", "ssd/vm/1"]))
    assert not any(
        map(
            one.covers,
            ["ssd", "ssd/vmware", "mainland", "main/a/tmp", "main/a/tmp/x", "main/iscsi/disk"],
        )
    )
    assert one.covers("main/tmp")
    assert one.covers("main/a/b/tmp")
    assert not schedule(datasets=["main"], recursive=False).covers("main/a")


def test_globs_stay_within_one_level() -> None:
    assert matches("main/a", "main/*")
    assert not matches("main/a/b", "main/*")
    assert not matches("main", "main/*")
    assert matches("main/pvc-12", "main/pvc-[0-9]*")


def test_roots_within_roots_are_left_out() -> None:
    one = schedule(datasets=["main/a", "main", "ssd", "main/b"])
    assert one.roots_in("main") == ("main",)
    flat = schedule(datasets=["main/a", "main"], recursive=False)
    assert flat.roots_in("main") == ("main", "main/a")
