# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layer 3 of a catalogue: destinations, claims and excludes."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Catalogue,
    Pool,
    StorageHost,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.places import (
    Place,
    live_places,
    path_within,
    protected_places,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    Problems,
    one_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._filter.patterns import (
    compile_patterns,
)

# A name that no pattern is meant for: what excludes it excludes all that lies there.
PROBE = "homelab-backup probe"


def copied_pools(catalogue: Catalogue) -> Iterator[tuple[StorageHost, Pool]]:
    """The pools that have an offsite copy."""
    for host in catalogue.storage.values():
        for pool in host.pools.values():
            if pool.offsite is not None:
                yield host, pool


def nas_name(catalogue: Catalogue, pool: Pool) -> str:
    """The NAS that a pool is copied to; "" when the catalogue doesn't say."""
    named = (pool.offsite.nas if pool.offsite else "") or catalogue.offsite.nas
    if named or len(catalogue.nas) != 1:
        return named
    return next(iter(catalogue.nas))


def check_nas(catalogue: Catalogue, problems: Problems) -> None:
    """Each copied pool has one NAS, and it is known."""
    if catalogue.offsite.nas and catalogue.offsite.nas not in catalogue.nas:
        problems.add(
            "offsite.nas",
            f"there is no NAS {catalogue.offsite.nas!r}",
            one_of(sorted(catalogue.nas), catalogue.offsite.nas) or "add it under 'nas'",
        )
        return
    for host, pool in copied_pools(catalogue):
        path = f"storage.{host.name}.pools.{pool.name}.offsite"
        named = nas_name(catalogue, pool)
        if not named and not catalogue.nas:
            problems.add(path, "there is no NAS to copy to", "add one under 'nas'")
        elif not named:
            problems.add(
                path,
                "there are several NAS",
                f"name one in 'offsite.nas' or here: {', '.join(sorted(catalogue.nas))}",
            )
        elif named not in catalogue.nas:
            problems.add(
                f"{path}.nas",
                f"there is no NAS {named!r}",
                one_of(sorted(catalogue.nas), named),
            )


def check_destinations(catalogue: Catalogue, problems: Problems) -> None:
    """No two pools write into one directory at a NAS, nor one into another's."""
    pools = list(copied_pools(catalogue))
    for index, (host, pool) in enumerate(pools):
        for other_host, other in pools[:index]:
            clash = _clash(catalogue, pool, other)
            if clash:
                problems.add(
                    f"storage.{host.name}.pools.{pool.name}.offsite.{clash[0]}",
                    f"{clash[1]!r} and {clash[2]!r} of {other_host.name}'s pool {other.name!r} "
                    "are or contain one another",
                    "give each pool directories of its own",
                )


def _clash(catalogue: Catalogue, pool: Pool, other: Pool) -> tuple[str, str, str] | None:
    """Key and directory of ``pool`` and the directory of ``other`` that meet, the first found."""
    mine, theirs = pool.offsite, other.offsite
    if not mine or not theirs or nas_name(catalogue, pool) != nas_name(catalogue, other):
        return None
    for key in ("directory", "control_directory"):
        path = getattr(mine, key)
        for taken in (theirs.directory, theirs.control_directory):
            if path_within(path, taken) or path_within(taken, path):
                return key, path, taken
    return None


def check_layer_3(catalogue: Catalogue, problems: Problems) -> None:
    """What claims the offsite copy is in it, and what is declared excluded is not."""
    for service in catalogue.services.values():
        path = f"services.{service.name}.offsite"
        needed = protected_places(catalogue, service)
        if service.offsite:
            for place in needed:
                why = why_not_offsite(catalogue, place)
                if why:
                    problems.add(
                        path,
                        f"the service claims the offsite copy, but {place.path!r} is not in it: "
                        f"{why}",
                        "change that, or write offsite: excluded",
                    )
            continue
        for place in (*live_places(catalogue, service), *needed):
            if not why_not_offsite(catalogue, place):
                problems.add(
                    path,
                    f"the service is declared excluded, but {place.path!r} is copied",
                    f"add {{pattern: '/{place.relative}/**', reason: …}} to offsite.excludes, or "
                    "write offsite: true",
                )


def why_not_offsite(catalogue: Catalogue, place: Place) -> str:
    """Why nothing of a place reaches the NAS; "" when it does."""
    offsite = place.pool.offsite
    if offsite is None:
        return f"pool {place.pool.name!r} of {place.host.name} has no 'offsite'"
    patterns = [exclude.pattern for exclude in (*catalogue.offsite.excludes, *offsite.excludes)]
    excludes = compile_patterns(patterns)
    relative = "/".join(part for part in (place.relative, PROBE, PROBE) if part)
    pattern = excludes.excludes_file(relative.encode("utf-8"))
    return f"the pattern {pattern!r} excludes it" if pattern else ""
