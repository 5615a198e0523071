# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections `storage` and `snapshots`: hosts, pools, datasets, layer 1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    DatasetSettings,
    Exclude,
    Pool,
    PoolOffsite,
    SnapshotSchedule,
    StorageHost,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.network import (
    address,
    network,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import InvalidError
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape import (
    Key,
    Shape,
    list_of,
    map_of,
    scalar,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape_common import (
    excludes,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.values import (
    absolute_path,
    boolean,
    choice,
    cron,
    dataset_name,
    inventory_name,
    lifetime,
    plain_name,
    pool_name,
    schedule_id,
    snapshot_naming,
    text,
    time_zone,
    whole,
)

STATE_DIRECTORY = "homelab-backup"
CONTROL_SUFFIX = ".homelab-backup"
# A job is named after its pool, and files on the host after the job.
JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def relative_dataset(value: object) -> str:
    """A dataset's name without its pool."""
    return dataset_name(f"pool/{text(value)}").partition("/")[2]


def _pool_offsite(
    directory: str,
    control_directory: str,
    nas: str,
    excludes: tuple[Exclude, ...],
    adopt: bool,
) -> PoolOffsite:
    control = control_directory or directory + CONTROL_SUFFIX
    if f"{control}/".startswith(f"{directory}/") or f"{directory}/".startswith(f"{control}/"):
        raise InvalidError(
            f"control_directory {control!r} and directory {directory!r} lie in each other",
            "the pool's directory holds nothing of ours: name a sibling",
        )
    return PoolOffsite(directory, control, nas, excludes, adopt)


POOL_OFFSITE = Shape(
    "Offsite copy of a pool",
    _pool_offsite,
    (
        Key(
            "directory", scalar(absolute_path), "the directory at the NAS that gets the pool's tree"
        ),
        Key(
            "control_directory",
            scalar(absolute_path),
            "where marker, index, versions and records go; never inside `directory`",
            default="",
            default_text="`<directory>.homelab-backup`",
        ),
        Key(
            "nas",
            scalar(inventory_name),
            "which NAS",
            default="",
            default_text="`offsite.nas`",
        ),
        Key(
            "excludes", excludes, "patterns for this pool, added to `offsite.excludes`", default=()
        ),
        Key(
            "adopt",
            scalar(boolean),
            "take over a directory that isn't empty and has no marker; once, then remove it",
            default=False,
        ),
    ),
)

DATASET = Shape(
    "Settings of a dataset",
    DatasetSettings,
    (
        Key(
            "properties",
            map_of(plain_name, scalar(text)),
            "ZFS properties to set, as text",
            default={},
        ),
        Key("nfs", scalar(boolean), "export it to the cluster's nodes", default=False),
    ),
    named=True,
)


def _pool(
    name: str,
    mountpoint: str,
    offsite: PoolOffsite | None,
    datasets: Mapping[str, DatasetSettings],
) -> Pool:
    if offsite is not None and not JOB_NAME.fullmatch(name):
        raise InvalidError(
            f"the pool's name {name!r} can't name an offsite job",
            "only pools named with letters, digits, '_', '.' and '-' can be copied",
        )
    return Pool(name, mountpoint or f"/mnt/{name}", offsite, datasets)


POOL = Shape(
    "Pool",
    _pool,
    (
        Key(
            "mountpoint",
            scalar(absolute_path),
            "where its root dataset is mounted",
            default="",
            default_text="`/mnt/<pool>`",
        ),
        Key(
            "offsite",
            POOL_OFFSITE,
            "its copy at the NAS",
            default=None,
            default_text="not copied",
        ),
        Key(
            "datasets",
            map_of(relative_dataset, DATASET),
            "settings of datasets that the roles make, by name without the pool",
            default={},
        ),
    ),
    named=True,
)


def _storage_host(
    name: str,
    address: str,
    backend: Any,
    state_directory: str,
    key_file: str,
    nfs_networks: tuple[str, ...],
    pools: Mapping[str, Pool],
) -> StorageHost:
    first = next(iter(pools.values()))
    state = state_directory or f"{first.mountpoint}/{STATE_DIRECTORY}"
    if not any(f"{state}/".startswith(f"{pool.mountpoint}/") for pool in pools.values()):
        raise InvalidError(
            f"state_directory {state!r} is on none of its pools",
            "put it below a pool's mountpoint: other places are lost with an update",
        )
    key = key_file or f"{state}/etc/id_ed25519"
    return StorageHost(name, address, backend, state, key, nfs_networks, pools)


STORAGE_HOST = Shape(
    "Storage host",
    _storage_host,
    (
        Key("address", scalar(address), "its IP address or host name"),
        Key(
            "backend",
            scalar(choice("auto", "openzfs", "truenas")),
            "how snapshots and timers are managed; auto looks at the host",
            default="auto",
        ),
        Key(
            "state_directory",
            scalar(absolute_path),
            "where runner, policies, state and records lie; on a pool, so that updates keep it",
            default="",
            default_text="`<mountpoint of the first pool>/homelab-backup`",
        ),
        Key(
            "key_file",
            scalar(absolute_path),
            "the private key for the NAS on this host; made there when missing",
            default="",
            default_text="`<state_directory>/etc/id_ed25519`",
        ),
        Key(
            "nfs_networks",
            list_of(scalar(network)),
            "who may mount the backup directories",
            default=(),
            default_text="the addresses of `cluster.nodes`",
        ),
        Key("pools", map_of(pool_name, POOL, at_least=1), "its pools by name"),
    ),
    named=True,
)


SNAPSHOT_SCHEDULE = Shape(
    "Snapshot schedule",
    SnapshotSchedule,
    (
        Key("schedule", scalar(cron), "when, as a cron line"),
        Key("naming", scalar(snapshot_naming), "the snapshots' name, as a strftime pattern"),
        Key("lifetime", scalar(lifetime), "how long a snapshot stays"),
        Key(
            "keep_min",
            scalar(whole(1, 10000)),
            "how many stay at least, however old (the newest always stays)",
            default=1,
        ),
        Key(
            "timezone",
            scalar(time_zone),
            "of `schedule` and `naming`",
            default="",
            default_text="`timezone`",
        ),
        Key("recursive", scalar(boolean), "with all datasets below, atomically", default=True),
        Key(
            "datasets",
            list_of(scalar(dataset_name)),
            "what is snapshotted",
            default=(),
            default_text="all pools",
        ),
        Key(
            "exclude",
            list_of(scalar(text)),
            "datasets that are left out with all below; `*` stands for any one level",
            default=(),
        ),
        Key("enabled", scalar(boolean), "take snapshots; pruning goes on either way", default=True),
    ),
    named=True,
)

STORAGE = map_of(inventory_name, STORAGE_HOST, at_least=1)
SNAPSHOTS = map_of(schedule_id, SNAPSHOT_SCHEDULE, at_least=1)

DEFAULT_SNAPSHOTS: Mapping[str, Mapping[str, object]] = {
    "auto-12h": {
        "schedule": "0 */12 * * *",
        "naming": "auto-12h-%Y-%m-%d_%H-%M",
        "lifetime": "24h",
    },
    "auto": {
        "schedule": "0 0 * * *",
        "naming": "auto-%Y-%m-%d_%H-%M",
        "lifetime": "3w",
    },
}
