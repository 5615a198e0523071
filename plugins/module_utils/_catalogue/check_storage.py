# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of a catalogue on its pools: hosts and directories."""

from __future__ import annotations

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Catalogue,
    Service,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.places import (
    backup_place,
    host_candidates,
    path_within,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    Problems,
    one_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import pool_of


def check_places(catalogue: Catalogue, problems: Problems) -> None:
    """Each service lies on one storage host, in pools that it has."""
    pools = {pool for host in catalogue.storage.values() for pool in host.pools}
    for service in catalogue.services.values():
        path = f"services.{service.name}"
        before = len(problems)
        if service.host and service.host not in catalogue.storage:
            problems.add(
                f"{path}.host",
                f"there is no storage host {service.host!r}",
                one_of(sorted(catalogue.storage), service.host),
            )
        for key in ("datasets", "zvols"):
            for index, volume in enumerate(getattr(service, key)):
                if pool_of(volume) not in pools:
                    problems.add(
                        f"{path}.{key}[{index}]",
                        f"{volume!r} is in no pool of the catalogue",
                        one_of(sorted(pools), pool_of(volume)),
                    )
        if len(problems) == before:
            _check_host(catalogue, service, problems)
    for entry in catalogue.unprotected.values():
        for key in ("datasets", "zvols"):
            for index, volume in enumerate(getattr(entry, key)):
                if pool_of(volume) not in pools:
                    problems.add(
                        f"unprotected.{entry.name}.{key}[{index}]",
                        f"{volume!r} is in no pool of the catalogue",
                        one_of(sorted(pools), pool_of(volume)),
                    )


def _check_host(catalogue: Catalogue, service: Service, problems: Problems) -> None:
    """One storage host has all pools of the service, its sets' too."""
    path = f"services.{service.name}"
    pools = {pool_of(volume) for volume in service.volumes}
    named = [service.host] if service.host else list(catalogue.storage)
    if not any(pools <= set(catalogue.storage[name].pools) for name in named):
        problems.add(
            f"{path}.host" if service.host else path,
            f"its pools ({', '.join(sorted(pools))}) are not all on "
            f"{service.host or 'one storage host'}",
            "a service lies on one host: correct its datasets, or make two services of it",
        )
        return
    hosts = host_candidates(catalogue, service)
    if len(hosts) > 1:
        problems.add(
            path,
            f"it could lie on {', '.join(host.name for host in hosts)}",
            "say which with 'host'",
        )
    elif service.backup is not None and backup_place(catalogue, service) is None:
        problems.add(
            f"{path}.backup.directory",
            f"{service.backup.directory!r} is on no pool of the host that has its volumes",
            f"put it below one of: {', '.join(_mountpoints(catalogue))}",
        )


def _mountpoints(catalogue: Catalogue) -> list[str]:
    return sorted(
        {pool.mountpoint for host in catalogue.storage.values() for pool in host.pools.values()}
    )


def check_directories(catalogue: Catalogue, problems: Problems) -> None:
    """No two services write to one directory, nor one into another's."""
    placed = []
    for service in catalogue.services.values():
        place = backup_place(catalogue, service)
        if place is not None:
            placed.append((service, place))
    for index, (service, place) in enumerate(placed):
        path = f"services.{service.name}.backup.directory"
        if not place.relative:
            problems.add(
                path, f"{place.path!r} is the whole pool", "name a directory of its own in it"
            )
            continue
        if path_within(place.path, place.host.state_directory):
            problems.add(
                path,
                f"{place.path!r} lies in the state directory of {place.host.name}",
                "name a directory of its own",
            )
        for other, taken in placed[:index]:
            if place.host is not taken.host or not taken.relative:
                continue
            if path_within(place.path, taken.path) or path_within(taken.path, place.path):
                relation = "is" if place.path == taken.path else "lies in or around"
                problems.add(
                    path,
                    f"{place.path!r} {relation} the directory of service {other.name!r}",
                    "give each service a directory of its own: retention works by directory",
                )
