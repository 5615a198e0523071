# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things lie: directories to pools and datasets, services to hosts."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Catalogue,
    Pool,
    Service,
    StorageHost,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import pool_of


@dataclass(frozen=True, slots=True)
class Place:
    """A path on a storage host.

    Attributes:
        host: the storage host.
        pool: the pool it lies in.
        relative: its path below the pool's mountpoint, "" for the mountpoint itself.
    """

    host: StorageHost
    pool: Pool
    relative: str

    @property
    def dataset(self) -> str:
        """The dataset that a directory of its own would be."""
        return f"{self.pool.name}/{self.relative}" if self.relative else self.pool.name

    @property
    def path(self) -> str:
        """The absolute path."""
        return f"{self.pool.mountpoint}/{self.relative}".rstrip("/")


def path_within(path: str, directory: str) -> bool:
    """True when ``path`` is ``directory`` or lies below it."""
    return path == directory or path.startswith(directory + "/")


def host_candidates(catalogue: Catalogue, service: Service) -> list[StorageHost]:
    """The storage hosts that a service's data may lie on."""
    if service.host:
        named = catalogue.storage.get(service.host)
        return [named] if named else []
    pools = {pool_of(volume) for volume in service.volumes}
    backup = service.backup
    return [
        host
        for host in catalogue.storage.values()
        if pools <= set(host.pools)
        and (backup is None or place_on(host, backup.directory) is not None)
    ]


def place_on(host: StorageHost, path: str) -> Place | None:
    """The place of ``path`` on ``host``; None when it is on none of its pools."""
    for pool in sorted(host.pools.values(), key=lambda pool: -len(pool.mountpoint)):
        if path_within(path, pool.mountpoint):
            return Place(host, pool, path[len(pool.mountpoint) :].lstrip("/"))
    return None


def place_of_dataset(host: StorageHost, dataset: str) -> Place | None:
    """The place of a dataset that is mounted below its pool's root; None for another host's."""
    pool = host.pools.get(pool_of(dataset))
    return Place(host, pool, dataset.partition("/")[2]) if pool else None


def backup_place(catalogue: Catalogue, service: Service) -> Place | None:
    """Where a service's sets lie; None when it has none or they are on no known pool."""
    hosts = host_candidates(catalogue, service)
    if service.backup is None or len(hosts) != 1:
        return None
    return place_on(hosts[0], service.backup.directory)


def live_places(catalogue: Catalogue, service: Service) -> list[Place]:
    """Where a service's live files lie; a volume holds no files that a copy could read."""
    hosts = host_candidates(catalogue, service)
    if len(hosts) != 1:
        return []
    places = (place_of_dataset(hosts[0], dataset) for dataset in service.datasets)
    return [place for place in places if place is not None]


def protected_places(catalogue: Catalogue, service: Service) -> list[Place]:
    """What has to reach the NAS for the service to be restored: its sets, or else its live data.

    A service with an application backup is restored from its sets; its live
    data (an opaque volume, a running database's files) need not go offsite.
    """
    if service.backup is None:
        return live_places(catalogue, service)
    place = backup_place(catalogue, service)
    return [place] if place else []
