# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived: the datasets that the roles make on a storage host."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.lookups import storage_host
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import Catalogue
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.places import backup_place


def managed_datasets(catalogue: Catalogue, host: str) -> list[dict[str, Any]]:
    """The directories of application backups, and what the pools' ``datasets`` name; by dataset.

    Each entry has ``dataset``, ``path``, ``properties``, ``nfs`` (to be exported),
    ``service``, ``uid`` and ``gid`` (None when the catalogue doesn't say). The directory of
    a service's sets is always exported: its pods write there.

    Raises:
        ConfigError: no such storage host.
    """
    found = storage_host(catalogue, host)
    entries: dict[str, dict[str, Any]] = {}
    for pool in found.pools.values():
        for settings in pool.datasets.values():
            name = f"{pool.name}/{settings.name}"
            entries[name] = {
                "dataset": name,
                "path": f"{pool.mountpoint}/{settings.name}",
                "properties": dict(settings.properties),
                "nfs": settings.nfs,
                "service": None,
                "uid": None,
                "gid": None,
            }
    for service in catalogue.services.values():
        place = backup_place(catalogue, service)
        if place is None or place.host is not found:
            continue
        entries[place.dataset] = {
            "dataset": place.dataset,
            "path": place.path,
            "properties": entries.get(place.dataset, {}).get("properties", {}),
            "nfs": True,
            "service": service.name,
            "uid": service.kubernetes.uid if service.kubernetes else None,
            "gid": service.kubernetes.gid if service.kubernetes else None,
        }
    return [entries[name] for name in sorted(entries)]
