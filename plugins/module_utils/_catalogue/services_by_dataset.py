# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived: which services' data lie in a dataset."""

from __future__ import annotations

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.lookups import storage_host
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import Catalogue
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.places import (
    backup_place,
    host_candidates,
)


def services_by_dataset(catalogue: Catalogue, host: str) -> dict[str, list[str]]:
    """Dataset or volume to the services whose live data or sets lie there, sorted.

    Raises:
        ConfigError: no such storage host.
    """
    found = storage_host(catalogue, host)
    owners: dict[str, list[str]] = {}
    for service in catalogue.services.values():
        if found not in host_candidates(catalogue, service):
            continue
        place = backup_place(catalogue, service)
        sets = (place.dataset,) if place is not None else ()
        for dataset in (*service.volumes, *sets):
            owners.setdefault(dataset, []).append(service.name)
    return dict(sorted(owners.items()))


def services_of(owners: dict[str, list[str]], dataset: str) -> list[str]:
    """The services of the nearest dataset at or above ``dataset``; none when there is none."""
    name = dataset
    while name:
        if name in owners:
            return owners[name]
        name = name.rpartition("/")[0]
    return []
