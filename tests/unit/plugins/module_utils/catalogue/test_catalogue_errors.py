# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Each way to get a catalogue wrong: one error, at its key, with a remedy."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.catalogue import parse
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.freshness import freshness
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    CatalogueError,
    Problem,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    ExitCode,
)
from tests.unit.plugins.module_utils.catalogue.estate import DELETE, HOST_KEY, changed, estate


def problems_of(document: object) -> tuple[Problem, ...]:
    """What is wrong with a document; fails the test when nothing is."""
    with pytest.raises(CatalogueError) as caught:
        parse(document)
    return caught.value.problems


def only(*changes: tuple[str, Any]) -> Problem:
    """The one problem of the estate with these changes."""
    found = problems_of(changed(*changes))
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]


PHOTOS = "services.photos"
PG = "services.postgresql"
MAIN = "storage.truenas.pools.main"

# path to change, value, key of the error, words in what was found, words in the remedy
SINGLE = [
    # keys
    ("servces", {}, "servces", "unknown key", "'services'"),
    (f"{PHOTOS}.ownr", "x", f"{PHOTOS}.ownr", "unknown key", "did you mean"),
    (f"{PHOTOS}.zzz", "x", f"{PHOTOS}.zzz", "unknown key", "use one of: title"),
    (f"{PHOTOS}.owner", DELETE, f"{PHOTOS}.owner", "missing", "who answers for it"),
    (f"{PHOTOS}.owner", None, f"{PHOTOS}.owner", "is empty", "who answers for it"),
    ("storage", DELETE, "storage", "missing", "storage hosts"),
    # types
    ("services", [], "services", "a list, not a mapping", "one entry for each"),
    (PHOTOS, "text", PHOTOS, "text, not a mapping", "write its keys"),
    (f"{PHOTOS}.owner", 7, f"{PHOTOS}.owner", "7 is not text", "quotes"),
    (f"{PHOTOS}.owner", "  ", f"{PHOTOS}.owner", "empty", "leave out"),
    (f"{PHOTOS}.owner", "a\nb", f"{PHOTOS}.owner", "line break", "one line"),
    (f"{PHOTOS}.datasets", "main/photos", f"{PHOTOS}.datasets", "not a list", "'- '"),
    (f"{PHOTOS}.snapshots", "yes", f"{PHOTOS}.snapshots", "not true or false", "unquoted"),
    ("nas.synology.port", "22", "nas.synology.port", "not a whole number", "unquoted"),
    ("nas.synology.port", 70000, "nas.synology.port", "out of range", "1 to 65535"),
    ("nas.synology.port", True, "nas.synology.port", "not a whole number", "1 to"),
    # single values
    ("timezone", "Mars/Base", "timezone", "no time zone", "Europe/Vienna"),
    (
        "snapshots.x",
        {"schedule": "0 0 * *", "naming": "x-%Y%m%d%H%M", "lifetime": "1d"},
        "snapshots.x.schedule",
        "4 fields",
        "five fields",
    ),
    (f"{PG}.backup.schedule", "61 * * * *", f"{PG}.backup.schedule", "minute '61'", "fields"),
    (f"{PG}.backup.schedule", 5, f"{PG}.backup.schedule", "not a cron line", "quotes"),
    (f"{PG}.backup.schedule", "0 4 1-7 * 0", f"{PG}.backup.schedule", "either", "days_of_month"),
    (f"{PG}.backup.schedule", "0 4 1-7 * */7", f"{PG}.backup.schedule", "either", "days_of_month"),
    ("services.prometheus.backup.days_of_month", "0-7", None, "not a list of days", "1-7"),
    (f"{PG}.backup.deadline", "2", f"{PG}.backup.deadline", "not a duration", "24h"),
    (f"{PG}.backup.deadline", 3600, f"{PG}.backup.deadline", "no unit", "24h"),
    (f"{PG}.backup.deadline", "0h", f"{PG}.backup.deadline", "zero", "24h"),
    (f"{PG}.backup.memory", "much", f"{PG}.backup.memory", "not a size", "GiB"),
    (f"{PG}.backup.memory", "5 parsecs", f"{PG}.backup.memory", "not a size", "GiB"),
    (f"{PG}.backup.max_drop", 1.5, f"{PG}.backup.max_drop", "not above 0", "30%"),
    (f"{PG}.backup.max_drop", "half", f"{PG}.backup.max_drop", "not a share", "30%"),
    (f"{PG}.backup.engine", "postgres", f"{PG}.backup.engine", "not known", "'postgresql'"),
    (f"{PHOTOS}.storage", "smb", f"{PHOTOS}.storage", "not known", "nfs, iscsi, local"),
    (f"{PHOTOS}.offsite", "exclude", f"{PHOTOS}.offsite", "not known", "'excluded'"),
    ("nas.synology.address", "192.168.1.300", None, "not an IP address", "IP address"),
    ("nas.synology.address", "me@nas", None, "not a host name", "without port and user"),
    ("nas.synology.user", "a b", None, "not a user's name", "letters"),
    (f"{PG}.kubernetes.endpoint", "pg.dbaas", None, "not an endpoint", "host:port"),
    (f"{PG}.kubernetes.endpoint", "pg.dbaas:99999", None, "not an endpoint", "host:port"),
    (f"{PG}.kubernetes.workloads", ["pg"], f"{PG}.kubernetes.workloads[0]", "", "kind/name"),
    (f"{PG}.kubernetes.namespace", "DBaaS", None, "not a plain name", "lower-case"),
    (f"{PG}.backup.databases", ["a/b"], f"{PG}.backup.databases[0]", "file", "slashes"),
    (f"{PG}.backup.databases", ["a", "a"], f"{PG}.backup.databases[1]", "twice", "remove one"),
    (f"{PG}.alert.name", "pg stale", None, "not an alert's name", "CamelCase"),
    ("monitoring.channel", "infra", "monitoring.channel", "not a channel", "quotes"),
    ("monitoring.pushgateway", "pushgateway:9091", None, "not an http", "http://"),
    (f"{PHOTOS}.datasets", ["/mnt/main/photos"], f"{PHOTOS}.datasets[0]", "path", "name"),
    (f"{PHOTOS}.datasets", ["main/photos@x"], f"{PHOTOS}.datasets[0]", "snapshot", "alone"),
    (f"{PHOTOS}.datasets", ["main/ph%tos"], f"{PHOTOS}.datasets[0]", "not a dataset", "letters"),
    ("storage.truenas.pools.raidz1", {}, "storage.truenas.pools.raidz1", "can't be", "ZFS' own"),
    (f"{MAIN}.mountpoint", "mnt", f"{MAIN}.mountpoint", "not an absolute", "'/'"),
    (f"{MAIN}.mountpoint", "/mnt/../x", f"{MAIN}.mountpoint", "'..'", "plain path"),
    (f"{MAIN}.mountpoint", "//", f"{MAIN}.mountpoint", "whole file system", "directory"),
    (
        "storage.truenas.nfs_networks",
        ["10.0.10.5/24"],
        "storage.truenas.nfs_networks[0]",
        "host bits set",
        "10.0.10.0/24",
    ),
    ("cluster.iscsi.header_digest", "CRC32C, None", None, "not known", "'CRC32C,None'"),
    ("cluster.iscsi.replacement_timeout", 0, None, "out of range", "1 to"),
    ("cluster.iscsi.noop_out_interval", 0, "cluster.iscsi", "one of", "both or neither"),
    ("offsite.limits.versions_kept", "36h", None, "whole number of days", "30d"),
    ("offsite.limits.full_threshold", 0, None, "out of range", "1 to"),
    ("offsite.bulk.program", "rsync", None, "not known", "sftp, rclone"),
    # snapshots
    (
        "snapshots.a",
        {"schedule": "@daily", "naming": "x-%Y-%m", "lifetime": "1d"},
        "snapshots.a.naming",
        "exactly once",
        "auto-%Y-%m-%d_%H-%M",
    ),
    (
        "snapshots.a",
        {"schedule": "@daily", "naming": "x %Y%m%d%H%M", "lifetime": "1d"},
        "snapshots.a.naming",
        "only letters",
        "auto-",
    ),
    (
        "snapshots.a",
        {"schedule": "@daily", "naming": "x-%Y%m%d%H%M", "lifetime": "90min"},
        "snapshots.a.lifetime",
        "whole number of hours",
        "3w",
    ),
    (
        "snapshots.a b",
        {"schedule": "@daily", "naming": "x-%Y%m%d%H%M", "lifetime": "1d"},
        "snapshots.a b",
        "not a schedule's name",
        "letters",
    ),
    # patterns
    ("offsite.excludes.0.pattern", "a/***", "offsite.excludes[0].pattern", "", ""),
    ("offsite.excludes.0.pattern", "[z-a]", "offsite.excludes[0].pattern", "", ""),
    ("offsite.excludes.0.pattern", "{a,b", "offsite.excludes[0].pattern", "", ""),
    ("offsite.excludes.0.reason", DELETE, "offsite.excludes[0].reason", "missing", "lost"),
    (
        "offsite.excludes.3",
        {"pattern": "iscsi/**", "reason": "again"},
        "offsite.excludes[3].pattern",
        "twice",
        "remove one",
    ),
    # engines and storage kinds
    (f"{PG}.backup.databases", DELETE, f"{PG}.backup", "needs 'databases'", "add databases"),
    (f"{PG}.backup.source", "/data", f"{PG}.backup", "knows no 'source'", "remove it"),
    (f"{PG}.backup.integrity_check", "@hourly", f"{PG}.backup", "knows no", "remove it"),
    (f"{PG}.kubernetes.endpoint", DELETE, PG, "needs kubernetes.endpoint", "add"),
    (f"{PG}.kubernetes", DELETE, PG, "no 'kubernetes'", "CronJob runs"),
    (f"{PG}.backup.keep", {"age": "14d", "copies": 2}, f"{PG}.backup.keep", "one of", "14d"),
    (f"{PG}.backup.keep", {}, f"{PG}.backup.keep", "one of", "{copies: 2}"),
    (f"{PHOTOS}.datasets", DELETE, PHOTOS, "needs 'datasets'", "add datasets"),
    (f"{PHOTOS}.zvols", ["main/z"], PHOTOS, "not in 'zvols'", "correct storage"),
    (f"{PG}.backup", DELETE, PG, "opaque", "unprotected"),
    # names
    (f"{PG}.backup.job", "x" * 53, f"{PG}.backup.job", "53 characters", "shorten"),
    ("services.Photos", {"owner": "me"}, "services.Photos", "not a plain name", "lower-case"),
    # places
    (f"{PHOTOS}.datasets", ["man/photos"], f"{PHOTOS}.datasets[0]", "no pool", "'main'"),
    (
        "unprotected.loki",
        {"reason": "x", "datasets": ["tank/loki"]},
        "unprotected.loki.datasets[0]",
        "no pool",
        "main",
    ),
    (f"{PHOTOS}.host", "truenass", f"{PHOTOS}.host", "no storage host", "'truenas'"),
    (f"{PG}.backup.directory", "/srv/pg", f"{PG}.backup.directory", "on no pool", "/mnt/main"),
    (f"{PG}.backup.directory", "/mnt/main", f"{PG}.backup.directory", "whole pool", "its own"),
    (
        f"{PG}.backup.directory",
        "/mnt/main/homelab-backup/pg",
        f"{PG}.backup.directory",
        "state directory",
        "its own",
    ),
    (
        "storage.truenas.state_directory",
        "/root/backup",
        "storage.truenas",
        "none of its pools",
        "mountpoint",
    ),
    ("storage.truenas.pools", {}, "storage.truenas.pools", "no entry", "at least 1"),
    ("cluster.storage_host", "nas", "cluster.storage_host", "no storage host", "truenas"),
    # order
    (
        "services.vault.depends_on",
        ["postgres"],
        "services.vault.depends_on[0]",
        "no service",
        "'postgresql'",
    ),
    ("services.vault.depends_on", ["vault"], "services.vault.depends_on[0]", "itself", "remove"),
    (
        f"{PG}.depends_on",
        ["vault"],
        f"{PG}.depends_on",
        "postgresql -> vault -> postgresql",
        "order",
    ),
    # objectives
    (f"{PG}.objective.rpo", "12h", f"{PG}.objective.rpo", "tighter than the 1d", "1d"),
    ("services.prometheus.objective.rpo", "31d", None, "tighter than the 5w", "5w"),
    (f"{PHOTOS}.objective.rpo", "6h", f"{PHOTOS}.objective.rpo", "tighter than the 12h", "12h"),
    ("offsite.rpo", "4h", "offsite.rpo", "tighter than the 6h", "6h"),
    (f"{PG}.alert.stale_after", "24h", f"{PG}.alert.stale_after", "fire each time", "1d"),
    (
        "services.prometheus.backup.schedule",
        "0 4 31 * *",
        "services.prometheus.backup.days_of_month",
        "hardly ever",
        "correct",
    ),
    # layers
    (f"{PHOTOS}.snapshots", False, f"{PHOTOS}.snapshots", "'auto-12h'", "exclude"),
    (
        f"{PHOTOS}.datasets",
        ["main/prometheus/x"],
        f"{PHOTOS}.offsite",
        "'prometheus/**'",
        "excluded",
    ),
    (f"{PHOTOS}.offsite", "excluded", f"{PHOTOS}.offsite", "is copied", "'/photos/**'"),
    (
        "offsite.excludes.2",
        DELETE,
        "services.prometheus.offsite",
        "is copied",
        "'/prometheus-backup/**'",
    ),
    # destinations
    (
        "storage.truenas.pools.ssd.offsite.directory",
        "/Backup/truenas",
        "storage.truenas.pools.ssd.offsite.directory",
        "contain one another",
        "its own",
    ),
    (
        "storage.truenas.pools.ssd.offsite.directory",
        "/Backup/truenas.homelab-backup/x",
        "storage.truenas.pools.ssd.offsite.directory",
        "contain one another",
        "its own",
    ),
    (
        f"{MAIN}.offsite.control_directory",
        "/Backup/truenas/ours",
        f"{MAIN}.offsite",
        "lie in each other",
        "sibling",
    ),
    (f"{MAIN}.offsite.nas", "synologi", f"{MAIN}.offsite.nas", "no NAS", "'synology'"),
    ("offsite.nas", "synologi", "offsite.nas", "no NAS", "'synology'"),
    ("nas.synology.pruner", {}, "nas.synology.pruner", "both user and key_file", "run_key"),
    (
        "nas.synology.pruner",
        {"run_key": True, "user": "p"},
        "nas.synology.pruner",
        "of its own",
        "one of them",
    ),
    # host keys
    (
        "nas.synology.host_keys",
        ["192.168.1.13 " + HOST_KEY],
        "nas.synology.host_keys[0]",
        "host key's type",
        "without the address",
    ),
    ("nas.synology.host_keys", [HOST_KEY[:-4]], "nas.synology.host_keys[0]", "cut", "ssh-keyscan"),
    ("nas.synology.host_keys", [HOST_KEY[:-3]], "nas.synology.host_keys[0]", "base64", "keyscan"),
    (
        "nas.synology.host_keys",
        [HOST_KEY.replace("ssh-ed25519", "ssh-rsa")],
        "nas.synology.host_keys[0]",
        "not of type ssh-rsa",
        "ssh-keyscan",
    ),
    # secrets
    ("nas.synology.key", "hunter2", "nas.synology.key", "not a reference", "{vault: <path>"),
    ("nas.synology.key", {"valt": "a", "key": "b"}, "nas.synology.key.valt", "unknown", "'vault'"),
    (
        "nas.synology.key",
        {"vault": "a", "file": "/b", "key": "c"},
        "nas.synology.key",
        "several",
        "{file: <path>}",
    ),
    ("nas.synology.key", {"vault": "a"}, "nas.synology.key.key", "missing", "field"),
    ("nas.synology.key", {"file": "b"}, "nas.synology.key.file", "not an absolute", "'/'"),
    ("nas.synology.key", {}, "nas.synology.key", "doesn't say where", "{vault: <path>"),
]


@pytest.mark.parametrize(
    ("path", "value", "key", "found", "remedy"),
    SINGLE,
    ids=lambda value: str(value)[:40] if isinstance(value, str) else None,
)
def test_one_mistake_gives_one_error_at_its_key(
    path: str, value: Any, key: str | None, found: str, remedy: str
) -> None:
    problem = only((path, value))
    assert problem.path == (key or path)
    assert found in problem.found
    assert problem.remedy, "every error says what to do"
    assert remedy in problem.remedy


def test_all_errors_at_once_in_the_documents_order() -> None:
    document = changed(
        ("timezone", "Mars/Base"),
        ("nas.synology.port", 0),
        (f"{PG}.backup.schedule", "daily"),
        (f"{PHOTOS}.datasets", ["man/photos"]),
        ("services.vault.depends_on", ["nobody"]),
        ("extra", 1),
    )
    found = [problem.path for problem in problems_of(document)]
    assert found == [
        "extra",
        "timezone",
        "nas.synology.port",
        f"{PG}.backup.schedule",
        "services.vault.depends_on[0]",
        f"{PHOTOS}.datasets[0]",
    ]


def test_the_text_names_each_error_on_a_line_of_its_own() -> None:
    with pytest.raises(CatalogueError) as caught:
        parse(changed(("timezone", "Mars/Base"), ("extra", 1)))
    lines = str(caught.value).splitlines()
    assert lines[0] == "the catalogue has 2 errors:"
    assert len(lines) == 3
    assert all(" -> " in line for line in lines[1:])
    assert isinstance(caught.value, ConfigError)
    assert caught.value.exit_code == ExitCode.CONFIG


def test_one_mistake_in_storage_is_not_repeated_by_every_service() -> None:
    assert only(("storage.truenas.address", "10.0.10")).path == "storage.truenas.address"


def test_a_service_with_an_error_is_still_known_to_those_that_depend_on_it() -> None:
    assert only((f"{PG}.owner", DELETE)).path == f"{PG}.owner"


@pytest.mark.parametrize("document", [None, [], "text", {}, {"storage": {}}])
def test_without_a_format_there_is_one_error(document: object) -> None:
    (problem,) = problems_of(document)
    assert problem.path == "format"
    assert "homelab.backup.catalogue/1" in problem.remedy


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("homelab.backup.catalogue/2", "reads up to"),
        ("homelab.backup.catalogue/x", "its format is"),
        ("homelab.backup.index/1", "it is a"),
        ("homelab.backup.catalogue/0", "never published"),
    ],
)
def test_another_format_is_refused_before_anything_else(tag: str, found: str) -> None:
    (problem,) = problems_of(changed(("format", tag), ("extra", 1)))
    assert problem.path == "format"
    assert found in problem.found
    assert problem.remedy


def test_an_older_major_is_read_through_its_upgrade() -> None:
    def rename_zone(document: Any) -> Any:
        changes = dict(document)
        changes["timezone"] = changes.pop("zone")
        return changes

    older = changed(
        ("format", "homelab.backup.catalogue/0"), ("timezone", DELETE), ("zone", "Asia/Tokyo")
    )
    assert parse(older, {0: rename_zone}).timezone == "Asia/Tokyo"


def test_a_circle_of_three_is_named_once() -> None:
    found = only(
        (f"{PG}.depends_on", ["photos"]),
        (f"{PHOTOS}.depends_on", ["vault"]),
    )
    assert "photos -> vault -> postgresql -> photos" in found.found


@pytest.mark.parametrize(
    ("directory", "words"),
    [
        ("/mnt/main/vault-backup", "is the directory of service 'vault'"),
        ("/mnt/main/vault-backup/", "is the directory of service 'vault'"),
        ("/mnt/main/vault-backup/inner", "lies in or around"),
    ],
)
def test_two_services_do_not_write_to_one_directory(directory: str, words: str) -> None:
    found = only(("services.passwords.backup.directory", directory))
    assert found.path == "services.passwords.backup.directory"
    assert words in found.found


def test_siblings_may_share_a_parent_and_a_prefix() -> None:
    parse(
        changed(
            ("services.vault.backup.directory", "/mnt/main/dbaas-backups/vault"),
            ("services.passwords.backup.directory", "/mnt/main/dbaas-backups/vault2"),
        )
    )


def test_a_name_too_long_for_a_cronjob_is_refused() -> None:
    name = "a" * 46
    document = estate()
    document["services"][name] = document["services"].pop("passwords")
    (problem,) = problems_of(document)
    assert problem.path == f"services.{name}"
    assert "53 characters" in problem.found


def test_a_name_whose_second_job_is_too_long_is_refused() -> None:
    document = estate()
    document["services"]["a" * 40] = document["services"].pop("passwords")
    (problem,) = problems_of(document)
    assert "'aaaa" in problem.found
    assert "-integrity-check" in problem.found


def test_two_jobs_of_one_name_in_a_namespace() -> None:
    found = only(
        ("services.vault.kubernetes.namespace", "dbaas"),
        ("services.vault.backup.job", "postgresql-backup"),
    )
    assert found.path == "services.vault.backup.job"
    assert "'postgresql-backup'" in found.found


def test_two_alerts_of_one_name() -> None:
    found = only(("services.vault.title", "PostgreSQL"))
    assert found.path == "services.vault.alert.name"
    assert "'PostgreSQLBackupStale'" in found.found


def test_a_title_without_letters_of_the_alphabet_leaves_the_key_for_the_alert() -> None:
    catalogue = parse(changed(("services.vault.title", "日記")))
    assert "VaultBackupStale" in {entry.alert for entry in freshness(catalogue)}


def test_one_machine_has_one_name() -> None:
    found = only(("cluster.nodes.truenas", {"address": "10.0.10.15"}))
    assert found.path == "cluster.nodes.truenas"


def test_a_service_that_could_lie_on_two_hosts_says_which() -> None:
    second = {"address": "10.0.10.16", "pools": {"main": {}}}
    document = changed(("storage.other", second), ("cluster.storage_host", "truenas"))
    found = {problem.path: problem for problem in problems_of(document)}
    assert "truenas, other" in found[PHOTOS].found
    assert found[PHOTOS].remedy == "say which with 'host'"
    for service in document["services"].values():
        service["host"] = "truenas"
    assert parse(document).services["photos"].host == "truenas"


def test_a_cluster_with_two_storage_hosts_says_which_it_writes_to() -> None:
    second = {"address": "10.0.10.16", "pools": {"tank": {}}}
    assert only(("storage.other", second)).path == "cluster.storage_host"


def test_pools_on_two_hosts_do_not_make_one_service() -> None:
    second = {"address": "10.0.10.16", "pools": {"tank": {}}}
    found = only(
        ("storage.other", second),
        ("cluster.storage_host", "truenas"),
        (f"{PHOTOS}.datasets", ["main/photos", "tank/photos"]),
    )
    assert found.path == PHOTOS
    assert "(main, tank) are not all on one storage host" in found.found


def test_a_backup_beside_its_volumes_lies_on_the_same_host() -> None:
    second = {"address": "10.0.10.16", "pools": {"tank": {}}}
    found = only(
        ("storage.other", second),
        ("cluster.storage_host", "truenas"),
        (f"{PG}.backup.directory", "/mnt/tank/pg"),
    )
    assert found.path == f"{PG}.backup.directory"


def test_several_nas_need_a_choice() -> None:
    document = changed(("nas.second", {"address": "10.0.0.9", "user": "b"}))
    paths = [problem.path for problem in problems_of(document)]
    assert paths == [f"{MAIN}.offsite", "storage.truenas.pools.ssd.offsite"]
    document["offsite"]["nas"] = "second"
    assert parse(document).offsite.nas == "second"


def test_two_pools_may_use_one_path_at_different_nas() -> None:
    parse(
        changed(
            ("nas.second", {"address": "10.0.0.9", "user": "b"}),
            ("offsite.nas", "synology"),
            (
                "storage.truenas.pools.ssd.offsite",
                {"directory": "/Backup/truenas", "nas": "second"},
            ),
        )
    )


def test_without_a_nas_there_is_nothing_to_copy_to() -> None:
    assert {problem.found for problem in problems_of(changed(("nas", {})))} == {
        "there is no NAS to copy to"
    }


def test_services_in_a_cluster_need_one() -> None:
    found = problems_of(changed(("cluster", DELETE)))
    assert {problem.found for problem in found} == {"there is no section 'cluster'"}


def test_a_pool_without_a_copy_is_not_claimed() -> None:
    found = problems_of(changed((f"{MAIN}.offsite", DELETE)))
    assert {problem.path for problem in found} == {
        "services.postgresql.offsite",
        "services.vault.offsite",
        "services.passwords.offsite",
        "services.photos.offsite",
    }
    assert all("has no 'offsite'" in problem.found for problem in found)


def test_an_excluded_services_live_data_are_excluded_too() -> None:
    found = only(("offsite.excludes.1", DELETE))
    assert found.path == "services.prometheus.offsite"
    assert "'/mnt/main/prometheus' is copied" in found.found


def test_schedules_that_could_give_one_name_are_refused() -> None:
    document = changed(
        (
            "snapshots",
            {
                "a": {"schedule": "@daily", "naming": "x-%Y-%m-%d_%H-%M", "lifetime": "1w"},
                "b": {"schedule": "@hourly", "naming": "x-%Y-%m-%d_%H-%M", "lifetime": "1d"},
            },
        ),
        (f"{PHOTOS}.objective", DELETE),
    )
    (problem,) = problems_of(document)
    assert problem.path == "snapshots.b.naming"


def test_a_disabled_schedule_covers_nothing() -> None:
    once = {"schedule": "@daily", "naming": "x-%Y-%m-%d_%H-%M", "lifetime": "1w", "enabled": False}
    found = problems_of(changed(("snapshots", {"a": once})))
    assert {problem.path for problem in found} == {
        "services.postgresql.zvols[0]",
        "services.vault.zvols[0]",
        "services.passwords.zvols[0]",
        "services.prometheus.datasets[0]",
        "services.photos.datasets[0]",
    }


def test_an_excluded_dataset_is_declared_without_snapshots() -> None:
    once = {
        "schedule": "@daily",
        "naming": "x-%Y-%m-%d_%H-%M",
        "lifetime": "1w",
        "exclude": ["main/photos"],
    }
    changes = [("snapshots", {"a": once}), (f"{PHOTOS}.objective", DELETE)]
    assert only(*changes).path == f"{PHOTOS}.datasets[0]"
    assert not parse(changed(*changes, (f"{PHOTOS}.snapshots", False))).services["photos"].snapshots


def test_the_document_is_not_changed_by_reading_it() -> None:
    document = estate()
    before = copy.deepcopy(document)
    parse(document)
    assert document == before
