# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived: what goes to a NAS from all storage hosts, and whose key opens it."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.check_offsite import (
    nas_name,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.lookups import (
    entry,
    storage_host,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import Catalogue
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.offsite_policy import (
    offsite_policy,
)


def nas_copies(catalogue: Catalogue, nas: str) -> dict[str, Any]:
    """The directories that ``nas`` has to have, and the bytes that stay free there.

    Raises:
        ConfigError: no such NAS.
    """
    address = entry(catalogue.nas, "nas", nas).address
    jobs = [
        job
        for host in catalogue.storage
        for job in offsite_policy(catalogue, host)["jobs"]
        if job["destination"]["host"] == address
    ]
    directories = []
    for job in jobs:
        tree = job["destination"]["directory"]
        control = job["destination"]["control_directory"] or f"{tree}.homelab-backup"
        directories += [tree, control]
    return {
        "directories": directories,
        "free_space_reserve_bytes": max(
            (job["limits"]["free_space_reserve_bytes"] for job in jobs), default=0
        ),
    }


def nas_key_file(catalogue: Catalogue, host: str) -> str:
    """The controller's file with the key that ``host`` uses; "" when it makes its own.

    Raises:
        ConfigError: no such storage host.
    """
    for pool in storage_host(catalogue, host).pools.values():
        if pool.offsite is None:
            continue
        key = entry(catalogue.nas, "nas", nas_name(catalogue, pool)).key
        if key is not None and key.kind == "file":
            return key.location
    return ""
