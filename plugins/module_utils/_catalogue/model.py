# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue as values: what an estate has and how it is protected.

The attributes are documented key by key in docs/catalogue.md; the tables there
come from the shapes that read them (``shape_*.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.values import Duration
from ansible_collections.homelab.backup.plugins.module_utils._schedule.cron import CronSchedule

StorageKind = Literal["nfs", "iscsi", "local"]


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret lies; never the secret.

    Attributes:
        kind: ``vault``, ``kubernetes_secret`` or ``file``.
        location: the path in Vault, the Secret's name, or the file's path.
        key: the field in it; "" for a file.
    """

    kind: Literal["vault", "kubernetes_secret", "file"]
    location: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Exclude:
    """A pattern of what is not copied offsite, and why."""

    pattern: str
    reason: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class PoolOffsite:
    """Where a pool's tree goes. ``nas`` is "" for the offsite section's."""

    directory: str
    control_directory: str
    nas: str
    excludes: tuple[Exclude, ...]
    adopt: bool


@dataclass(frozen=True, slots=True)
class DatasetSettings:
    """Settings of a dataset that the roles make. ``name`` is relative to the pool."""

    name: str
    properties: Mapping[str, str]
    nfs: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of a storage host; ``offsite`` is None when its tree is not copied."""

    name: str
    mountpoint: str
    offsite: PoolOffsite | None
    datasets: Mapping[str, DatasetSettings]


@dataclass(frozen=True, slots=True)
class StorageHost:
    """A host with ZFS pools; ``name`` is its inventory name."""

    name: str
    address: str
    backend: Literal["auto", "openzfs", "truenas"]
    state_directory: str
    key_file: str
    nfs_networks: tuple[str, ...]
    pools: Mapping[str, Pool]


@dataclass(frozen=True, slots=True)
class SnapshotSchedule:
    """When snapshots are taken, how they are named and how long they stay.

    ``datasets`` is empty for "all pools of each storage host".
    """

    name: str
    schedule: CronSchedule
    timezone: str
    naming: str
    lifetime: Duration
    keep_min: int
    recursive: bool
    datasets: tuple[str, ...]
    exclude: tuple[str, ...]
    enabled: bool


@dataclass(frozen=True, slots=True)
class Pruner:
    """What may remove old versions at the NAS.

    Either a user and key of its own, or, said explicitly, the run's own key.
    """

    run_key: bool
    user: str
    key_file: str


@dataclass(frozen=True, slots=True)
class Nas:
    """A NAS that speaks SFTP; ``name`` is its inventory name."""

    name: str
    address: str
    port: int
    user: str
    host_keys: tuple[str, ...]
    key: SecretRef | None
    pruner: Pruner | None


@dataclass(frozen=True, slots=True)
class Limits:
    """When an offsite run stops, falls back, forgets and reads again."""

    max_changed_share: float
    min_guard_files: int
    full_threshold: int
    versions_kept: Duration
    read_back_within: Duration
    free_space_reserve: int


@dataclass(frozen=True, slots=True)
class Bulk:
    """What carries the bulk of the bytes. ``rclone`` is "" for the state directory's."""

    program: Literal["sftp", "rclone"]
    rclone: str
    threshold: int
    transfers: int


@dataclass(frozen=True, slots=True)
class Offsite:
    """The offsite copy. ``nas`` is "" for the only one there is."""

    nas: str
    schedule: CronSchedule
    reconcile: CronSchedule
    timezone: str
    rpo: Duration | None
    log_file: str
    excludes: tuple[Exclude, ...]
    limits: Limits
    bulk: Bulk


@dataclass(frozen=True, slots=True)
class Node:
    """A Kubernetes node; ``name`` is its inventory name."""

    name: str
    address: str
    control_plane: bool


@dataclass(frozen=True, slots=True)
class Iscsi:
    """Initiator settings of every node; times in seconds, as iscsid.conf has them."""

    replacement_timeout: int
    noop_out_interval: int
    noop_out_timeout: int
    header_digest: str
    data_digest: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """The Kubernetes cluster. ``kubeconfig`` is None for the controller's own."""

    name: str
    kubeconfig: SecretRef | None
    field_manager: str
    runner_image: str
    storage_host: str
    nodes: Mapping[str, Node]
    iscsi: Iscsi


@dataclass(frozen=True, slots=True)
class Keep:
    """Which sets stay: those younger than ``age``, or the newest ``copies``."""

    age: Duration | None
    copies: int | None
    minimum: int


@dataclass(frozen=True, slots=True)
class Tls:
    """Client credentials for an endpoint that wants them."""

    ca: SecretRef
    certificate: SecretRef
    key: SecretRef


@dataclass(frozen=True, slots=True)
class AppBackup:
    """The application backup of a service."""

    engine: str
    schedule: CronSchedule
    days_of_month: tuple[int, ...]
    timezone: str
    directory: str
    keep: Keep | None
    databases: tuple[str, ...]
    source: str
    user: str
    credentials: SecretRef | None
    auth_role: str
    tls: Tls | None
    integrity_check: CronSchedule | None
    min_size: int
    max_drop: float
    deadline: Duration
    memory: int
    job: str
    suspended: bool


@dataclass(frozen=True, slots=True)
class Workload:
    """Where a service runs in the cluster and what writes its data."""

    namespace: str
    workloads: tuple[str, ...]
    pvcs: tuple[str, ...]
    endpoint: str
    image: str
    uid: int | None
    gid: int | None
    service_account: str


@dataclass(frozen=True, slots=True)
class Objective:
    """What may be lost (``rpo``) and how long a restore may take (``rto``)."""

    rpo: Duration | None
    rto: Duration


@dataclass(frozen=True, slots=True)
class Alert:
    """When a service's backup counts as stale and who hears of it; "" and None are derived."""

    name: str
    stale_after: Duration | None
    channel: str


@dataclass(frozen=True, slots=True)
class Escrow:
    """A secret that a restore needs and that must lie outside the estate."""

    what: str
    kept: str


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its data, its three layers, its objective.

    Attributes:
        datasets: file systems with its live data (storage ``nfs``).
        zvols: volumes with its live data (storage ``iscsi``).
        paths: directories on the nodes' own disks (storage ``local``).
        snapshots: layer 1 is claimed.
        offsite: layer 3 is claimed; False declares the service excluded.
        backup: layer 2, or None.
        host: the storage host; "" for the one that has its pools.
    """

    name: str
    title: str
    group: str
    owner: str
    host: str
    storage: StorageKind
    datasets: tuple[str, ...]
    zvols: tuple[str, ...]
    paths: tuple[str, ...]
    snapshots: bool
    offsite: bool
    backup: AppBackup | None
    kubernetes: Workload | None
    objective: Objective
    depends_on: tuple[str, ...]
    alert: Alert
    escrow: tuple[Escrow, ...]

    @property
    def volumes(self) -> tuple[str, ...]:
        """Its live data in ZFS: file systems and volumes."""
        return self.datasets + self.zvols


@dataclass(frozen=True, slots=True)
class Monitoring:
    """Where evidence goes and when the offsite copy counts as stale."""

    pushgateway: str
    channel: str
    critical_channel: str
    offsite_stale_after: Duration
    offsite_never_run_after: Duration
    offsite_failing_for: Duration


@dataclass(frozen=True, slots=True)
class Drills:
    """Scheduled test restores: one service at each time of ``schedule``."""

    schedule: CronSchedule
    each_within: Duration
    attended_within: Duration
    namespace: str


@dataclass(frozen=True, slots=True)
class Unprotected:
    """Something that is left without protection on purpose."""

    name: str
    reason: str
    datasets: tuple[str, ...]
    zvols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The whole estate."""

    timezone: str
    storage: Mapping[str, StorageHost]
    snapshots: Mapping[str, SnapshotSchedule]
    nas: Mapping[str, Nas]
    offsite: Offsite
    cluster: Cluster | None
    services: Mapping[str, Service]
    monitoring: Monitoring
    drills: Drills
    unprotected: Mapping[str, Unprotected]
