# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objectives of a catalogue against what its schedules can keep."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.cadence import (
    Cadence,
    cadence,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.check_offsite import (
    copied_pools,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.check_snapshots import (
    schedules_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Catalogue,
    Service,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.places import (
    host_candidates,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import Problems
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy


def check_objectives(
    catalogue: Catalogue, policies: Mapping[str, Policy], problems: Problems
) -> None:
    """No objective is tighter than the schedules allow."""
    for service in catalogue.services.values():
        rpo = service.objective.rpo
        rhythm = backup_rhythm(catalogue, policies, service)
        if rpo is not None and rhythm is not None and rpo < rhythm.longest:
            problems.add(
                f"services.{service.name}.objective.rpo",
                f"{rpo} is tighter than the {rhythm.longest} between two of its backups",
                f"back up more often, or write {rhythm.longest}",
            )
    offsite = catalogue.offsite
    if offsite.rpo is not None and any(copied_pools(catalogue)):
        longest = cadence(offsite.schedule).longest
        if offsite.rpo < longest:
            problems.add(
                "offsite.rpo",
                f"{offsite.rpo} is tighter than the {longest} between two runs",
                f"run more often, or write {longest}",
            )


def backup_rhythm(
    catalogue: Catalogue, policies: Mapping[str, Policy], service: Service
) -> Cadence | None:
    """How often the service is backed up: by its application backup, or else by snapshots.

    Of several snapshot schedules the one that comes most often counts; of
    several volumes the one that is snapshotted least. None when there is neither.
    """
    if service.backup is not None:
        try:
            return cadence(service.backup.schedule, service.backup.days_of_month)
        except ValueError:
            return None
    hosts = host_candidates(catalogue, service)
    if len(hosts) != 1:
        return None
    best = []
    for volume in service.volumes:
        covering = schedules_of(policies, hosts[0].name, volume)
        if covering:
            rhythms = (cadence(schedule.cron) for schedule in covering)
            best.append(min(rhythms, key=lambda rhythm: rhythm.longest))
    return max(best, key=lambda rhythm: rhythm.longest, default=None)
