# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The shipped inventories, loaded by Ansible, hold the specified estate."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.catalogue import parse
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.freshness import freshness
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.managed_datasets import (
    managed_datasets,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.offsite_policy import (
    offsite_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.protection_matrix import (
    protection_matrix,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.services_by_dataset import (
    services_by_dataset,
    services_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.snapshot_policy import (
    snapshot_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import parse_policy
from ansible_collections.homelab.backup.plugins.module_utils._snapshots import document
from tests.unit.plugins.module_utils.catalogue import inventories
from tests.unit.plugins.module_utils.catalogue.estate import HOST_KEY

HOMELAB = "homelab"

# The specification's "Service Protection Matrix".
MATRIX = """
Databases
PostgreSQL (12 DBs)|✓|✓ daily|✓|iSCSI
MySQL (7 DBs)|✓|✓ daily|✓|iSCSI
Critical State
Vault|✓|✓ weekly|✓|iSCSI
etcd|✓|✓ weekly|✓|local disk
Vaultwarden|✓|✓ 6h + integrity|✓|iSCSI
Redis|✓|✓ weekly|✓|iSCSI
Applications
Prometheus|✓|✓ monthly|excluded|NFS
plotting-book|✓|✓ weekly|✓|iSCSI
Immich|✓|—|✓|NFS
Forgejo|✓|—|✓|NFS
Paperless-ngx|✓|—|✓|NFS
Nextcloud|✓|—|✓|NFS
Other NFS services|✓|—|✓|NFS
"""
EXCLUDED = (
    "clickhouse/**",
    "loki/**",
    "iocage/**",
    "frigate/**",
    "audiblez/**",
    "ebook2audiobook/**",
    "ollama/**",
    "real-estate-crawler/**",
    "prometheus/**",
    "crowdsec/**",
    "servarr/downloads/**",
    "iscsi/**",
    "iscsi-snaps/**",
    "ytldp/**",
    "*.log",
    "post",
)
# Service: cron line, days a set stays or copies, directory.
BACKUPS = {
    "postgresql": ("0 0 * * *", "14d", "/mnt/main/dbaas-backups/postgresql"),
    "mysql": ("30 0 * * *", "14d", "/mnt/main/dbaas-backups/mysql"),
    "etcd": ("0 1 * * 0", "30d", "/mnt/main/etcd-backup"),
    "vault": ("0 2 * * 0", "30d", "/mnt/main/vault-backup"),
    "redis": ("0 3 * * 0", "30d", "/mnt/main/redis-backup"),
    "plotting-book": ("0 3 * * 0", "30d", "/mnt/main/plotting-book-backup"),
    "vaultwarden": ("0 */6 * * *", "30d", "/mnt/main/vaultwarden-backup"),
    "prometheus": ("0 4 * * 0", 2, "/mnt/main/prometheus-backup"),
}
ALERTS = {
    "PostgreSQLBackupStale": "36h",
    "MySQLBackupStale": "36h",
    "EtcdBackupStale": "8d",
    "VaultBackupStale": "8d",
    "VaultwardenBackupStale": "8d",
    "RedisBackupStale": "8d",
    "PrometheusBackupStale": "32d",
    "PlottingBookBackupStale": "8d",
}
RTO = {"postgresql": "5min", "mysql": "15min", "vault": "10min", "vaultwarden": "5min"}


def test_the_matrix_is_the_specified_one() -> None:
    lines = []
    group = ""
    for row in protection_matrix(inventories.catalogue(HOMELAB)):
        if row.group != group:
            group = row.group
            lines.append(group)
        lines.append("|".join(row.cells))
    assert lines == MATRIX.strip().splitlines()


def test_snapshots_are_the_specified_ones() -> None:
    policy = snapshot_policy(inventories.catalogue(HOMELAB), "truenas")
    assert [
        (entry["naming"], entry["cron"], entry["lifetime"], entry["datasets"], entry["recursive"])
        for entry in policy["schedules"]
    ] == [
        ("auto-12h-%Y-%m-%d_%H-%M", "0 */12 * * *", "24h", ["main", "ssd"], True),
        ("auto-%Y-%m-%d_%H-%M", "0 0 * * *", "3w", ["main", "ssd"], True),
    ]


def test_the_offsite_copy_is_the_specified_one() -> None:
    policy = parse_policy(offsite_policy(inventories.catalogue(HOMELAB), "truenas"), "policy")
    assert str(policy.log_file) == "/var/log/cloudsync-copy.log"
    main, ssd = policy.jobs
    assert (main.name, main.root) == ("main", "main")
    assert (ssd.name, ssd.root) == ("ssd", "ssd")
    assert (main.destination.host, main.destination.port) == ("192.168.1.13", 22)
    assert main.destination.directory == "/Backup/Viki/truenas"
    assert main.destination.control_directory == "/Backup/Viki/truenas.homelab-backup"
    assert ssd.destination.directory != main.destination.directory
    for job in policy.jobs:
        assert (job.schedule.incremental, job.schedule.reconcile) == ("0 */6 * * *", "0 9 * * 0")
        assert job.limits.full_threshold == 100_000
        assert job.limits.versions_days == 30
        assert job.limits.readback_days == 90
        assert not job.adopt


def test_the_excludes_are_the_specified_ones_and_two_of_our_own() -> None:
    policy = parse_policy(offsite_policy(inventories.catalogue(HOMELAB), "truenas"), "policy")
    main, ssd = policy.jobs
    patterns = tuple(exclude.pattern for exclude in main.excludes)
    assert patterns == (*EXCLUDED, "/prometheus-backup/**", "/homelab-backup/**")
    # The state directory lies on main.
    assert tuple(exclude.pattern for exclude in ssd.excludes) == patterns[:-1]
    assert all(exclude.reason for exclude in main.excludes)


@pytest.mark.parametrize("service", BACKUPS)
def test_application_backups_are_the_specified_ones(service: str) -> None:
    backup = inventories.catalogue(HOMELAB).services[service].backup
    assert backup is not None
    cron, kept, directory = BACKUPS[service]
    assert backup.schedule.text == cron
    assert backup.directory == directory
    assert backup.keep is not None
    assert (str(backup.keep.age) if backup.keep.age else backup.keep.copies) == kept
    assert backup.days_of_month == (
        tuple(range(1, 8)) if service == "prometheus" else tuple(range(1, 32))
    )


def test_only_the_specified_services_have_application_backups() -> None:
    services = inventories.catalogue(HOMELAB).services
    assert {name for name, service in services.items() if service.backup} == set(BACKUPS)


def test_the_vault_of_passwords_is_checked_every_hour() -> None:
    backup = inventories.catalogue(HOMELAB).services["vaultwarden"].backup
    assert backup is not None
    assert backup.integrity_check is not None
    assert backup.integrity_check.text == "0 * * * *"


def test_alerts_are_the_specified_ones() -> None:
    catalogue = inventories.catalogue(HOMELAB)
    assert {entry.alert: str(entry.stale_after) for entry in freshness(catalogue)} == ALERTS
    assert {entry.channel for entry in freshness(catalogue)} == {"#infra-alerts"}
    assert catalogue.monitoring.critical_channel == "#infra-critical"
    assert str(catalogue.monitoring.offsite_stale_after) == "8d"


@pytest.mark.parametrize("service", RTO)
def test_restore_times_are_the_specified_ones(service: str) -> None:
    assert str(inventories.catalogue(HOMELAB).services[service].objective.rto) == RTO[service]


def test_every_service_has_an_owner_and_an_objective() -> None:
    for service in inventories.catalogue(HOMELAB).services.values():
        assert service.owner
        assert service.objective.rpo is not None, service.name


def test_nodes_and_iscsi_settings_are_the_specified_ones() -> None:
    cluster = inventories.catalogue(HOMELAB).cluster
    assert cluster is not None
    assert list(cluster.nodes) == ["k8s-master", *(f"k8s-node{number}" for number in range(1, 5))]
    settings = cluster.iscsi
    assert settings.replacement_timeout == 300
    assert (settings.noop_out_interval, settings.noop_out_timeout) == (10, 15)
    assert (settings.header_digest, settings.data_digest) == ("CRC32C,None", "CRC32C,None")


def test_every_backup_directory_is_a_dataset_that_is_exported() -> None:
    entries = managed_datasets(inventories.catalogue(HOMELAB), "truenas")
    assert {entry["path"] for entry in entries} == {
        directory for *_rest, directory in BACKUPS.values()
    }
    assert all(entry["nfs"] for entry in entries)
    by_service = {entry["service"]: entry for entry in entries}
    assert by_service["vault"]["dataset"] == "main/vault-backup"
    assert (by_service["postgresql"]["uid"], by_service["postgresql"]["gid"]) == (26, 26)


@pytest.mark.parametrize(
    ("dataset", "services"),
    [
        ("main/immich", ["immich"]),
        ("main/immich/library", ["immich"]),
        ("main/iscsi/vault", ["vault"]),
        ("main/vault-backup", ["vault"]),
        ("main/anything/else", ["nfs-services"]),
        ("ssd", ["nfs-services"]),
        ("tank", []),
    ],
)
def test_each_dataset_finds_its_service(dataset: str, services: list[str]) -> None:
    owners = services_by_dataset(inventories.catalogue(HOMELAB), "truenas")
    assert services_of(owners, dataset) == services


@pytest.mark.parametrize("name", ["homelab", "minimal"])
def test_inventory_names_are_those_of_the_catalogue(name: str) -> None:
    catalogue = inventories.catalogue(name)
    loaded = inventories.shipped(name)
    groups = loaded["groups"]
    nodes = catalogue.cluster.nodes if catalogue.cluster else {}
    assert groups["storage"] == list(catalogue.storage)
    assert groups["nas"] == list(catalogue.nas)
    assert groups.get("k8s_nodes", []) == list(nodes)
    machines = (*catalogue.storage.values(), *catalogue.nas.values(), *nodes.values())
    assert loaded["addresses"] == {machine.name: machine.address for machine in machines}


def test_the_lab_has_the_specified_addresses_and_excludes(tmp_path: Path) -> None:
    (tmp_path / "nas_host.pub").write_text(f"{HOST_KEY} lab\n")
    lab = parse(inventories.load("lab", {"HOMELAB_LAB_KEYS": str(tmp_path)})["catalogue"])
    homelab = inventories.catalogue(HOMELAB)
    assert lab.storage["truenas"].address == homelab.storage["truenas"].address
    assert lab.nas["synology"].address == homelab.nas["synology"].address
    assert lab.nas["synology"].host_keys == (HOST_KEY,)
    assert lab.offsite.excludes == homelab.offsite.excludes
    assert lab.snapshots == homelab.snapshots
    ours = parse_policy(offsite_policy(lab, "truenas"), "policy")
    theirs = parse_policy(offsite_policy(homelab, "truenas"), "policy")
    assert [job.destination.directory for job in ours.jobs] == [
        job.destination.directory for job in theirs.jobs
    ]


def test_the_minimal_inventory_is_short_and_protects_everything() -> None:
    file = inventories.INVENTORIES / "minimal/group_vars/all/catalogue.yml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) <= 40
    catalogue = inventories.catalogue("minimal")
    (host,) = catalogue.storage
    document.parse_policy(snapshot_policy(catalogue, host), "policy")
    (job,) = parse_policy(offsite_policy(catalogue, host), "policy").jobs
    assert job.destination.control_directory == "/backup/tank.homelab-backup"
    rows = protection_matrix(catalogue)
    assert {row.cells[1:] for row in rows} == {("✓", "—", "✓", "NFS")}
