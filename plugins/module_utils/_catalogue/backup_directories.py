# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived: the directories that application backups are written to (layer 2)."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.lookups import storage_host
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import Catalogue
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.places import backup_place


def backup_directories(catalogue: Catalogue, host: str) -> list[dict[str, Any]]:
    """One entry for each service whose sets lie on ``host``, by path.

    Each has ``service``, ``path``, ``dataset``, ``uid`` and ``gid`` (None when the
    catalogue doesn't say) and ``properties`` from the pool's ``datasets``.

    Raises:
        ConfigError: no such storage host.
    """
    found = storage_host(catalogue, host)
    entries: list[dict[str, Any]] = []
    for service in catalogue.services.values():
        place = backup_place(catalogue, service)
        if place is None or place.host is not found:
            continue
        settings = place.pool.datasets.get(place.relative)
        workload = service.kubernetes
        entries.append(
            {
                "service": service.name,
                "path": place.path,
                "dataset": place.dataset,
                "uid": workload.uid if workload else None,
                "gid": workload.gid if workload else None,
                "properties": dict(settings.properties) if settings else {},
            }
        )
    return sorted(entries, key=lambda entry: str(entry["path"]))
