# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""What is derived from a catalogue, beyond the shipped ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.cadence import cadence
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.catalogue import parse
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.freshness import (
    camel_case,
    freshness,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.managed_datasets import (
    managed_datasets,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import Catalogue
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.nas_copies import (
    nas_copies,
    nas_key,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.offsite_policy import (
    known_hosts,
    offsite_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.protection_matrix import (
    as_markdown,
    protection_matrix,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.services_by_dataset import (
    services_by_dataset,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.snapshot_policy import (
    snapshot_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._filter.patterns import (
    compile_patterns,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import parse_policy
from ansible_collections.homelab.backup.plugins.module_utils._schedule.cron import parse as cron
from tests.unit.plugins.module_utils.catalogue.estate import DELETE, HOST_KEY, changed, estate

ALL_DAYS = tuple(range(1, 32))
FIRST_WEEK = tuple(range(1, 8))
TWO_HOSTS = (
    ("storage.other", {"address": "10.0.10.16", "pools": {"tank": {}}}),
    ("cluster.storage_host", "truenas"),
)


def jobs(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The offsite jobs of the estate with changes, by name."""
    policy = offsite_policy(parse(changed(*changes)), "truenas")
    parse_policy(policy, "policy")
    return {job["name"]: job for job in policy["jobs"]}


@pytest.mark.parametrize(
    ("line", "days", "word", "longest"),
    [
        ("0 0 * * *", ALL_DAYS, "daily", "1d"),
        ("30 0 * * *", (), "daily", "1d"),
        ("0 */6 * * *", (), "6h", "6h"),
        ("0 * * * *", (), "1h", "1h"),
        ("*/15 * * * *", (), "15min", "15min"),
        ("0 2 * * 0", (), "weekly", "1w"),
        ("0 4 * * 0", FIRST_WEEK, "monthly", "5w"),
        ("0 4 1 * *", (), "monthly", "31d"),
        ("0 0,9 * * *", (), "every 15h", "15h"),
        ("0 0 * * 1-5", (), "every 3d", "3d"),
        ("0 0 1 1 *", (), "every 366d", "366d"),
        ("0 0 29 2 *", (), "every 1461d", "1461d"),
    ],
)
def test_the_rhythm_of_a_line(line: str, days: tuple[int, ...], word: str, longest: str) -> None:
    found = cadence(cron(line), days)
    assert found.word == word
    assert str(found.longest) == longest


def test_defaults_fill_what_a_short_catalogue_leaves_out() -> None:
    catalogue = parse(
        {
            "format": "homelab.backup.catalogue/1",
            "storage": {"host": {"address": "10.0.0.1", "pools": {"tank": {}}}},
        }
    )
    host = catalogue.storage["host"]
    assert host.state_directory == "/mnt/tank/homelab-backup"
    assert host.key_file == "/mnt/tank/homelab-backup/etc/id_ed25519"
    assert catalogue.timezone == "UTC"
    assert [schedule["id"] for schedule in snapshot_policy(catalogue, "host")["schedules"]] == [
        "auto-12h",
        "auto",
    ]
    assert offsite_policy(catalogue, "host")["jobs"] == []
    assert known_hosts(catalogue, "host") == []
    assert managed_datasets(catalogue, "host") == []


@pytest.mark.parametrize(
    "derive", [snapshot_policy, offsite_policy, known_hosts, managed_datasets, services_by_dataset]
)
def test_an_unknown_host_is_named_with_the_nearest(derive: Callable[[Catalogue, str], Any]) -> None:
    with pytest.raises(ConfigError, match="did you mean 'truenas'") as caught:
        derive(parse(estate()), "truenass")
    assert "truenas" in caught.value.found


def test_schedules_go_to_the_host_that_has_their_datasets() -> None:
    once = {"schedule": "@daily", "naming": "x-%Y-%m-%d_%H-%M", "lifetime": "1w"}
    rare = {**once, "naming": "y-%Y-%m-%d_%H-%M", "datasets": ["tank/a"], "exclude": ["tank/a/b"]}
    catalogue = parse(
        changed(
            *TWO_HOSTS,
            ("snapshots", {"all": once, "rare": rare}),
            ("services.photos.objective", DELETE),
        )
    )
    here = snapshot_policy(catalogue, "truenas")["schedules"]
    there = snapshot_policy(catalogue, "other")["schedules"]
    assert [(entry["id"], entry["datasets"]) for entry in here] == [("all", ["main", "ssd"])]
    assert [(entry["id"], entry["datasets"]) for entry in there] == [
        ("all", ["tank"]),
        ("rare", ["tank/a"]),
    ]
    assert there[1]["exclude"] == ["tank/a/b"]


def test_a_schedules_own_time_zone_wins() -> None:
    once = {"schedule": "@daily", "naming": "x-%Y-%m-%d_%H-%M", "lifetime": "1w"}
    zones = {"a": once, "b": {**once, "naming": "y-%Y%m%d%H%M", "timezone": "Asia/Tokyo"}}
    catalogue = parse(changed(("snapshots", zones), ("services.photos.objective", DELETE)))
    assert [entry["timezone"] for entry in snapshot_policy(catalogue, "truenas")["schedules"]] == [
        "Europe/London",
        "Asia/Tokyo",
    ]


def test_a_pools_own_excludes_are_added_to_the_common_ones() -> None:
    extra = [{"pattern": "tmp/**", "reason": "scratch"}]
    found = jobs(("storage.truenas.pools.ssd.offsite.excludes", extra))
    assert "tmp/**" in [exclude["pattern"] for exclude in found["ssd"]["excludes"]]
    assert "tmp/**" not in [exclude["pattern"] for exclude in found["main"]["excludes"]]


@pytest.mark.parametrize("name", ["homelab-backup", "odd [x] *?{a}", "a\\b"])
def test_the_state_directory_is_left_out_whatever_its_name(name: str) -> None:
    found = jobs(("storage.truenas.state_directory", f"/mnt/ssd/deep/{name}"))
    excludes = compile_patterns([exclude["pattern"] for exclude in found["ssd"]["excludes"]])
    assert excludes.excludes_file(f"deep/{name}/etc/id_ed25519".encode())
    assert not excludes.excludes_file(f"other/deep/{name}/file".encode())
    assert not excludes.excludes_file(b"deep/file")
    assert len(found["main"]["excludes"]) == len(found["ssd"]["excludes"]) - 1


def test_a_pool_mounted_inside_another_holds_its_state_alone() -> None:
    found = jobs(
        ("storage.truenas.pools.ssd.mountpoint", "/mnt/main/fast"),
        ("storage.truenas.state_directory", "/mnt/main/fast/state"),
    )
    assert [exclude["pattern"] for exclude in found["ssd"]["excludes"]][-1] == "/state/**"
    assert "/state/**" not in [exclude["pattern"] for exclude in found["main"]["excludes"]]


@pytest.mark.parametrize(
    ("pruner", "derived"),
    [
        (None, None),
        (
            {"run_key": True},
            {"user": "backup", "key_file": "/mnt/main/homelab-backup/etc/id_ed25519"},
        ),
        ({"user": "pruner", "key_file": "/root/p"}, {"user": "pruner", "key_file": "/root/p"}),
    ],
)
def test_who_prunes(pruner: Any, derived: Any) -> None:
    assert jobs(("nas.synology.pruner", pruner))["main"]["destination"]["pruner"] == derived


def test_pinned_keys_are_lines_of_known_hosts() -> None:
    assert known_hosts(parse(estate()), "truenas") == [f"192.168.1.13 {HOST_KEY}"]
    document = changed(("nas.synology.port", 2222))
    assert known_hosts(parse(document), "truenas") == [f"[192.168.1.13]:2222 {HOST_KEY}"]


def test_datasets_named_by_a_pool_come_with_their_settings() -> None:
    catalogue = parse(
        changed(
            (
                "storage.truenas.pools.main.datasets",
                {
                    "vault-backup": {"properties": {"recordsize": "1M"}},
                    "shared": {"nfs": True},
                },
            )
        )
    )
    entries = {entry["dataset"]: entry for entry in managed_datasets(catalogue, "truenas")}
    assert entries["main/vault-backup"]["properties"] == {"recordsize": "1M"}
    assert entries["main/vault-backup"]["service"] == "vault"
    assert entries["main/shared"]["nfs"]
    assert entries["main/shared"]["service"] is None
    assert list(entries) == sorted(entries)


def test_staleness_follows_the_schedule_when_it_isn_t_given() -> None:
    found = {entry.service: entry for entry in freshness(parse(estate()))}
    assert str(found["postgresql"].stale_after) == "36h"
    assert str(found["vault"].stale_after) == "8d"
    assert str(found["passwords"].stale_after) == "9h"
    assert str(found["prometheus"].stale_after) == "36d"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("PostgreSQL", "PostgreSQL"),
        ("plotting-book", "PlottingBook"),
        ("my blog 2", "MyBlog2"),
        ("2fauth", "Service2fauth"),
        ("Überwachung", "Uberwachung"),
        ("日記", ""),
    ],
)
def test_an_alerts_name_comes_from_the_title(title: str, name: str) -> None:
    assert camel_case(title) == name


def test_groups_stay_together_in_the_matrix() -> None:
    catalogue = parse(changed(("services.photos.group", "Databases")))
    rows = protection_matrix(catalogue)
    assert [row.name for row in rows][:2] == ["postgresql", "photos"]
    text = as_markdown(rows)
    assert text.count("**Databases**") == 1
    assert text.count("**Applications**") == 1
    assert "| photos | ✓ | — | ✓ | NFS |" in text


def test_what_a_nas_receives_comes_from_all_hosts() -> None:
    catalogue = parse(
        changed(
            *TWO_HOSTS,
            ("storage.other.pools.tank.offsite", {"directory": "/Backup/tank"}),
            ("offsite.limits", {"free_space_reserve": "2GiB"}),
        )
    )
    found = nas_copies(catalogue, "synology")
    assert found["directories"] == [
        "/Backup/truenas",
        "/Backup/truenas.homelab-backup",
        "/Backup/ssd",
        "/Backup/ssd.homelab-backup",
        "/Backup/tank",
        "/Backup/tank.homelab-backup",
    ]
    assert found["free_space_reserve_bytes"] == 2 * 1024**3


def test_a_nas_without_copies_receives_nothing() -> None:
    second = {"address": "192.168.1.13", "port": 2222, "user": "b"}
    catalogue = parse(changed(("nas.second", second), ("offsite.nas", "synology")))
    assert nas_copies(catalogue, "second") == {"directories": [], "free_space_reserve_bytes": 0}


@pytest.mark.parametrize(
    "reference", [{"vault": "secret/me", "key": "k"}, {"file": "/keys/nas"}, {}]
)
def test_the_key_is_given_as_its_reference(reference: dict[str, str]) -> None:
    catalogue = parse(changed(("nas.synology.key", reference or None)))
    assert nas_key(catalogue, "truenas") == reference


def test_a_host_without_copies_needs_no_key() -> None:
    assert nas_key(parse(changed(*TWO_HOSTS)), "other") == {}
