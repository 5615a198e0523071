# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived: when a service's backup counts as stale, and under which name."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.cadence import cadence
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Catalogue,
    Service,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.values import Duration

DAY = 86400


@dataclass(frozen=True, slots=True)
class Freshness:
    """One alert rule's facts. ``longest_gap`` is the longest time between two runs."""

    service: str
    alert: str
    stale_after: Duration
    longest_gap: Duration
    channel: str


def freshness(catalogue: Catalogue) -> tuple[Freshness, ...]:
    """One entry for each service with an application backup."""
    return tuple(
        found
        for service in catalogue.services.values()
        if (found := _freshness(catalogue, service)) is not None
    )


def _freshness(catalogue: Catalogue, service: Service) -> Freshness | None:
    if service.backup is None:
        return None
    longest = cadence(service.backup.schedule, service.backup.days_of_month).longest
    slack = min(longest.seconds // 2, DAY)
    return Freshness(
        service=service.name,
        alert=alert_name(service),
        stale_after=service.alert.stale_after or Duration(longest.seconds + slack),
        longest_gap=longest,
        channel=service.alert.channel or catalogue.monitoring.channel,
    )


def alert_name(service: Service) -> str:
    """The name of a service's alert, its own or made from its title."""
    own = camel_case(service.title) or camel_case(service.name)
    return service.alert.name or f"{own}BackupStale"


def camel_case(title: str) -> str:
    """ "PlottingBook" of "plotting-book"; capitals inside a word stay, accents go."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode("ascii")
    words = re.findall(r"[A-Za-z0-9]+", plain)
    joined = "".join(word[0].upper() + word[1:] for word in words)
    return f"Service{joined}" if joined[:1].isdigit() else joined
