# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wiring of the module ``zfs_snapshot_info``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import SystemClock
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import BackupError
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.listing import (
    Listed,
    describe,
    read_snapshots,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.store import (
    StateDirectory,
    load_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.cli import ZfsCli
from ansible_collections.homelab.backup.plugins.module_utils._zfs.errors import DatasetMissingError
from ansible_collections.homelab.backup.plugins.module_utils._zfs.ports import Zfs


def run_module(module: AnsibleModule) -> NoReturn:
    """Read the snapshots and describe them."""
    try:
        found = gather(
            ZfsCli(SubprocessCommands()),
            policy_of(module.params["state_dir"]),
            module.params,
            int(SystemClock().now()),
        )
    except BackupError as error:
        module.fail_json(msg=str(error), error=error.facts())
    module.exit_json(changed=False, **found)


def policy_of(state_dir: str | None) -> Policy | None:
    """The host's policy, or None when no directory is named or it has none yet."""
    if state_dir is None:
        return None
    file = StateDirectory(Path(state_dir)).policy_file
    return load_policy(file) if file.exists() else None


def gather(zfs: Zfs, policy: Policy | None, params: Mapping[str, Any], now: int) -> dict[str, Any]:
    """The module's result: one listing, and one call for the holds where there are some.

    Only when a dataset is missing, a second listing finds which.
    """
    services: Mapping[str, Sequence[str]] = params["services"]
    roots = {*params["datasets"], *(name for names in services.values() for name in names)}
    missing: list[str] = []
    try:
        read = read_snapshots(zfs, roots, recursive=params["recursive"], with_holds=True)
    except DatasetMissingError:
        there = {dataset.name for dataset in zfs.datasets()}
        missing = sorted(roots - there)
        left = roots & there
        if not missing:
            raise
        read = (
            read_snapshots(zfs, left, recursive=params["recursive"], with_holds=True)
            if left
            else ((), {}, {})
        )
    listed = describe(*read, policy, services, now)
    return {
        "snapshots": [one.to_document(now) for one in listed],
        "services": {name: summary(name, listed, now) for name in services},
        "missing": missing,
    }


def summary(service: str, listed: Iterable[Listed], now: int) -> dict[str, Any]:
    """What a service has: number and ages of its snapshots."""
    documents = [one.to_document(now) for one in listed if service in one.services]
    documents.sort(key=lambda document: document["age"])
    return {
        "count": len(documents),
        "used": sum(document["used"] for document in documents),
        "newest": documents[0]["created"] if documents else "",
        "newest_age": documents[0]["age"] if documents else None,
        "oldest": documents[-1]["created"] if documents else "",
    }
