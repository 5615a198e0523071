# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived: what goes to a NAS from all storage hosts, and whose key opens it."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.check_offsite import (
    copied_pools,
    nas_name,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.lookups import (
    entry,
    storage_host,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import Catalogue


def nas_copies(catalogue: Catalogue, nas: str) -> dict[str, Any]:
    """The directories that ``nas`` has to have, and the bytes that stay free there.

    Raises:
        ConfigError: no such NAS.
    """
    entry(catalogue.nas, "nas", nas)
    targets = [
        pool.offsite
        for dummy, pool in copied_pools(catalogue)
        if pool.offsite is not None and nas_name(catalogue, pool) == nas
    ]
    return {
        "directories": [
            path for target in targets for path in (target.directory, target.control_directory)
        ],
        "free_space_reserve_bytes": catalogue.offsite.limits.free_space_reserve if targets else 0,
    }


def nas_key(catalogue: Catalogue, host: str) -> dict[str, str]:
    """The reference to the private key that ``host`` uses; {} when it makes its own.

    A host has one key. Where its pools go to several NAS, the first that names one counts.

    Raises:
        ConfigError: no such storage host.
    """
    for pool in storage_host(catalogue, host).pools.values():
        key = None
        if pool.offsite is not None:
            key = entry(catalogue.nas, "nas", nas_name(catalogue, pool)).key
        if key is not None:
            return {key.kind: key.location} | ({"key": key.key} if key.key else {})
    return {}
