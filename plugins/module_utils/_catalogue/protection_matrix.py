# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived: the protection matrix, one row a service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.cadence import cadence
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    AppBackup,
    Catalogue,
    Service,
)

YES, NOT_NEEDED, EXCLUDED = "✓", "—", "excluded"
STORAGE_WORDS = {"nfs": "NFS", "iscsi": "iSCSI", "local": "local disk"}
COLUMNS = ("Service", "Layer 1 (ZFS)", "Layer 2 (App)", "Layer 3 (Offsite)", "Storage")


@dataclass(frozen=True, slots=True)
class Row:
    """One service's protection, in the words of the table. ``name`` is its key."""

    name: str
    group: str
    service: str
    snapshots: str
    app: str
    offsite: str
    storage: str

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of :data:`COLUMNS`."""
        return (self.service, self.snapshots, self.app, self.offsite, self.storage)


def protection_matrix(catalogue: Catalogue) -> tuple[Row, ...]:
    """A row for each service, groups together, otherwise in the catalogue's order."""
    groups = list(dict.fromkeys(service.group for service in catalogue.services.values()))
    rows = [_row(service) for service in catalogue.services.values()]
    return tuple(sorted(rows, key=lambda row: groups.index(row.group)))


def _row(service: Service) -> Row:
    title = service.title
    if service.backup is not None and service.backup.databases:
        title += f" ({len(service.backup.databases)} DBs)"
    return Row(
        name=service.name,
        group=service.group,
        service=title,
        snapshots=YES if service.snapshots else NOT_NEEDED,
        app=_app(service.backup),
        offsite=YES if service.offsite else EXCLUDED,
        storage=STORAGE_WORDS[service.storage],
    )


def _app(backup: AppBackup | None) -> str:
    if backup is None:
        return NOT_NEEDED
    word = f"{YES} {cadence(backup.schedule, backup.days_of_month).word}"
    return f"{word} + integrity" if backup.integrity_check is not None else word


def as_markdown(rows: Iterable[Row]) -> str:
    """The matrix as a Markdown table with a heading row for each group."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            lines.append(f"| **{group}** |" + " |" * (len(COLUMNS) - 1))
        lines.append(f"| {' | '.join(row.cells)} |")
    return "\n".join(lines) + "\n"
