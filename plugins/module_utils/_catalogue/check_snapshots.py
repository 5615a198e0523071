# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layer 1 of a catalogue: schedules, and the services that claim them.

What a schedule covers is asked of the policy that the host will get, so that
the check and the host can't disagree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Catalogue,
    Service,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.places import (
    backup_place,
    host_candidates,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    Problems,
    one_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.snapshot_policy import (
    snapshot_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.document import (
    PolicyError,
    parse_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import (
    Policy,
    Schedule,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import pool_of

# Keys of the policy that have another name in the catalogue.
CATALOGUE_KEYS = {"cron": "schedule", "id": ""}


def read_policies(catalogue: Catalogue, problems: Problems) -> Mapping[str, Policy]:
    """The snapshot policy of each storage host; what its parser refuses becomes a problem."""
    policies = {}
    for host in catalogue.storage:
        document = snapshot_policy(catalogue, host)
        try:
            policies[host] = parse_policy(document, host)
        except PolicyError as exc:
            for problem in exc.problems:
                path = _catalogue_path(problem.key, document["schedules"])
                problems.add(path, problem.found, problem.remedy)
    return policies


def _catalogue_path(key: str, schedules: list[dict[str, object]]) -> str:
    """``snapshots.auto.schedule`` for ``schedules[1].cron``."""
    found = re.match(r"schedules\[(\d+)\]\.?(.*)", key)
    if not found:
        return "snapshots"
    inner = CATALOGUE_KEYS.get(found[2], found[2])
    path = f"snapshots.{schedules[int(found[1])]['id']}"
    return f"{path}.{inner}" if inner else path


def check_snapshot_datasets(catalogue: Catalogue, problems: Problems) -> None:
    """Schedules name datasets of known pools."""
    pools = sorted({pool for host in catalogue.storage.values() for pool in host.pools})
    for schedule in catalogue.snapshots.values():
        for index, dataset in enumerate(schedule.datasets):
            if pool_of(dataset) not in pools:
                problems.add(
                    f"snapshots.{schedule.name}.datasets[{index}]",
                    f"{dataset!r} is in no pool of the catalogue",
                    one_of(pools, pool_of(dataset)),
                )


def schedules_of(policies: Mapping[str, Policy], host: str, dataset: str) -> list[Schedule]:
    """The enabled schedules that snapshot a dataset of ``host``."""
    policy = policies.get(host)
    if policy is None:
        return []
    return [one for one in policy.schedules if one.enabled and one.covers(dataset)]


def check_layer_1(catalogue: Catalogue, policies: Mapping[str, Policy], problems: Problems) -> None:
    """What claims snapshots is snapshotted, and what doesn't isn't."""
    for service in catalogue.services.values():
        hosts = host_candidates(catalogue, service)
        if len(hosts) != 1 or hosts[0].name not in policies:
            continue
        for path, dataset in _snapshotted(catalogue, service):
            covering = schedules_of(policies, hosts[0].name, dataset)
            if service.snapshots and not covering:
                problems.add(
                    path,
                    f"the service claims snapshots and no enabled schedule covers {dataset!r}",
                    "add it to a schedule, or write snapshots: false",
                )
            if not service.snapshots and covering and service.volumes:
                problems.add(
                    f"services.{service.name}.snapshots",
                    f"it says false, but schedule {covering[0].id!r} snapshots {dataset!r}",
                    "write snapshots: true, or exclude the dataset in the schedule",
                )


def _snapshotted(catalogue: Catalogue, service: Service) -> list[tuple[str, str]]:
    """Key and dataset of what layer 1 has to cover: live data in ZFS, else the sets."""
    path = f"services.{service.name}"
    found = [
        (f"{path}.{key}[{index}]", volume)
        for key in ("datasets", "zvols")
        for index, volume in enumerate(getattr(service, key))
    ]
    place = backup_place(catalogue, service)
    if not found and place is not None:
        found.append((f"{path}.snapshots", place.dataset))
    return found
