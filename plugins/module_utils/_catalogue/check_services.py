# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of a catalogue among themselves: order, names, rhythm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.cadence import (
    cadence,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.freshness import alert_name
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Catalogue,
    Service,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    Problems,
    one_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape_services import (
    job_names,
)


def check_dependencies(catalogue: Catalogue, names: Iterable[str], problems: Problems) -> None:
    """Dependencies exist and make no circle."""
    known = set(names)
    for service in catalogue.services.values():
        for index, other in enumerate(service.depends_on):
            path = f"services.{service.name}.depends_on[{index}]"
            if other == service.name:
                problems.add(path, "it depends on itself", "remove it")
            elif other not in known:
                problems.add(path, f"there is no service {other!r}", one_of(sorted(known), other))
    for circle in _circles(catalogue.services):
        problems.add(
            f"services.{circle[0]}.depends_on",
            f"the dependencies make a circle: {' -> '.join((*circle, circle[0]))}",
            "remove one of them: a restore needs an order",
        )


def _circles(services: Mapping[str, Service]) -> list[tuple[str, ...]]:
    """Each circle of at least two services once, beginning with its first name."""
    found: set[tuple[str, ...]] = set()
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circle = way[way.index(name) :]
            start = circle.index(min(circle))
            found.add(circle[start:] + circle[:start])
            return
        if name in done or name not in services:
            return
        for other in services[name].depends_on:
            if other != name:
                visit(other, (*way, name))
        done.add(name)

    for name in services:
        visit(name, ())
    return sorted(found)


def check_jobs(catalogue: Catalogue, problems: Problems) -> None:
    """No two CronJobs of a namespace have one name."""
    owners: dict[tuple[str, str], str] = {}
    for service in catalogue.services.values():
        if service.kubernetes is None:
            continue
        for job in job_names(service):
            place = (service.kubernetes.namespace, job)
            other = owners.setdefault(place, service.name)
            if other != service.name:
                problems.add(
                    f"services.{service.name}.backup.job",
                    f"service {other!r} has a CronJob {job!r} in namespace {place[0]!r} already",
                    "give another name with 'job'",
                )


def check_alerts(catalogue: Catalogue, problems: Problems) -> None:
    """Each alert speaks of one service."""
    owners: dict[str, str] = {}
    for service in catalogue.services.values():
        if service.backup is None:
            continue
        name = alert_name(service)
        other = owners.setdefault(name, service.name)
        if other != service.name:
            problems.add(
                f"services.{service.name}.alert.name",
                f"service {other!r} has an alert {name!r} already",
                "give another name",
            )


def check_rhythms(catalogue: Catalogue, problems: Problems) -> None:
    """A schedule comes, and a backup is not stale before the next one is due."""
    for service in catalogue.services.values():
        backup = service.backup
        if backup is None:
            continue
        path = f"services.{service.name}"
        try:
            rhythm = cadence(backup.schedule, backup.days_of_month)
        except ValueError:
            problems.add(
                f"{path}.backup.days_of_month",
                f"together with {backup.schedule.text!r} it hardly ever comes",
                "correct schedule or days_of_month",
            )
            continue
        stale = service.alert.stale_after
        if stale is not None and stale <= rhythm.shortest:
            problems.add(
                f"{path}.alert.stale_after",
                f"{stale} is not longer than the {rhythm.shortest} between two backups, so the "
                "alert would fire each time",
                f"give it more than {rhythm.longest}",
            )
