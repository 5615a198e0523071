# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived: the offsite policy of a storage host (layer 3), and the NAS keys that it pins."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.check_offsite import (
    nas_name,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.lookups import (
    entry,
    storage_host,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Catalogue,
    Exclude,
    Nas,
    Pool,
    PoolOffsite,
    StorageHost,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.places import path_within
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import FORMAT

DAY = 86400
STATE_REASON = (
    "homelab-backup's own state: it changes while a run reads, and its key stays on the host"
)


def offsite_policy(catalogue: Catalogue, host: str) -> dict[str, Any]:
    """The document ``homelab.backup.offsite-policy/1`` of ``host``, one job for each copied pool.

    Raises:
        ConfigError: no such storage host.
    """
    found = storage_host(catalogue, host)
    return {
        "format": FORMAT.tag,
        "host": found.name,
        "state_dir": found.state_directory,
        "log_file": catalogue.offsite.log_file,
        "jobs": [
            _job(catalogue, found, pool, pool.offsite)
            for pool in found.pools.values()
            if pool.offsite is not None
        ],
    }


def _job(
    catalogue: Catalogue, host: StorageHost, pool: Pool, target: PoolOffsite
) -> dict[str, Any]:
    offsite = catalogue.offsite
    limits = offsite.limits
    return {
        "name": pool.name,
        "root": pool.name,
        "destination": _destination(catalogue, host, pool, target),
        "excludes": [
            {"pattern": exclude.pattern, "reason": exclude.reason}
            for exclude in (*offsite.excludes, *target.excludes, *_own_state(host, pool))
        ],
        "schedule": {
            "incremental": offsite.schedule.text,
            "reconcile": offsite.reconcile.text,
            "timezone": offsite.timezone or catalogue.timezone,
        },
        "limits": {
            "max_changed_share": limits.max_changed_share,
            "min_guard_files": limits.min_guard_files,
            "full_threshold": limits.full_threshold,
            "versions_days": limits.versions_kept.seconds // DAY,
            "readback_days": limits.read_back_within.seconds // DAY,
            "free_space_reserve_bytes": limits.free_space_reserve,
        },
        "bulk": {
            "program": offsite.bulk.program,
            "rclone": offsite.bulk.rclone or f"{host.state_directory}/bin/rclone",
            "threshold_bytes": offsite.bulk.threshold,
            "transfers": offsite.bulk.transfers,
        },
        "adopt": target.adopt,
    }


def _destination(
    catalogue: Catalogue, host: StorageHost, pool: Pool, target: PoolOffsite
) -> dict[str, Any]:
    nas = entry(catalogue.nas, "nas", nas_name(catalogue, pool))
    return {
        "host": nas.address,
        "port": nas.port,
        "user": nas.user,
        "key_file": host.key_file,
        "known_hosts_file": f"{host.state_directory}/etc/known_hosts",
        "directory": target.directory,
        "control_directory": target.control_directory,
        "pruner": _pruner(nas, host),
    }


def _pruner(nas: Nas, host: StorageHost) -> dict[str, str] | None:
    """Who prunes; with the run's own key it is the run's own user and file."""
    if nas.pruner is None:
        return None
    if nas.pruner.run_key:
        return {"user": nas.user, "key_file": host.key_file}
    return {"user": nas.pruner.user, "key_file": nas.pruner.key_file}


def _own_state(host: StorageHost, pool: Pool) -> tuple[Exclude, ...]:
    """The exclude of the state directory, in the job of the pool that it lies in."""
    others = (
        other.mountpoint
        for other in host.pools.values()
        if len(other.mountpoint) > len(pool.mountpoint)
        and path_within(host.state_directory, other.mountpoint)
    )
    if not path_within(host.state_directory, pool.mountpoint) or any(others):
        return ()
    relative = host.state_directory[len(pool.mountpoint) :]
    return (Exclude(f"{_literal(relative)}/**", STATE_REASON),)


def _literal(path: str) -> str:
    """``path`` as a pattern that matches only itself."""
    return "".join(f"\\{char}" if char in "\\*?[]{}" else char for char in path)


def known_hosts(catalogue: Catalogue, host: str) -> list[str]:
    """The lines of the known_hosts file (sshd(8)) of ``host``: the pinned keys of its NAS.

    Raises:
        ConfigError: no such storage host.
    """
    found = storage_host(catalogue, host)
    names = {nas_name(catalogue, pool) for pool in found.pools.values() if pool.offsite}
    lines = []
    for name in sorted(names):
        nas = entry(catalogue.nas, "nas", name)
        where = nas.address if nas.port == 22 else f"[{nas.address}]:{nas.port}"
        lines += [f"{where} {key}" for key in nas.host_keys]
    return lines
