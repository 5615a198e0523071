# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived: the snapshot policy of a storage host (layer 1)."""

from __future__ import annotations

import fnmatch
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.lookups import storage_host
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Catalogue,
    SnapshotSchedule,
    StorageHost,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.document import (
    POLICY_FORMAT,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import pool_of


def snapshot_policy(catalogue: Catalogue, host: str) -> dict[str, Any]:
    """The document ``homelab.backup.snapshot-policy/1`` of ``host``.

    Schedules that name only datasets of other hosts are left out.

    Raises:
        ConfigError: no such storage host.
    """
    found = storage_host(catalogue, host)
    schedules = (_schedule(catalogue, found, schedule) for schedule in catalogue.snapshots.values())
    return {
        "format": POLICY_FORMAT.tag,
        "schedules": [schedule for schedule in schedules if schedule["datasets"]],
    }


def _schedule(
    catalogue: Catalogue, host: StorageHost, schedule: SnapshotSchedule
) -> dict[str, Any]:
    datasets = [
        dataset
        for dataset in (schedule.datasets or tuple(host.pools))
        if pool_of(dataset) in host.pools
    ]
    return {
        "id": schedule.name,
        "datasets": datasets,
        "recursive": schedule.recursive,
        "exclude": [
            excluded
            for excluded in schedule.exclude
            if any(fnmatch.fnmatchcase(pool, excluded.partition("/")[0]) for pool in host.pools)
        ],
        "cron": schedule.schedule.text,
        "timezone": schedule.timezone or catalogue.timezone,
        "naming": schedule.naming,
        "lifetime": str(schedule.lifetime),
        "keep_min": schedule.keep_min,
        "enabled": schedule.enabled,
    }
