# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of each snapshot, for ``snapshots list`` and ``zfs_snapshot_info``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._core.text import (
    human_bytes,
    human_seconds,
    utc_stamp,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import (
    PROPERTIES,
    SCHEDULE,
    ClockEvidence,
    Host,
    made,
    recognise,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.plan import decide
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy
from ansible_collections.homelab.backup.plugins.module_utils._zfs.ports import Zfs
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Snapshot, is_within


@dataclass(frozen=True, slots=True)
class Listed:
    """A snapshot and what is known of it.

    Attributes:
        services: names of the services whose datasets it covers.
        schedule: id of the schedule that made it, empty for others.
        expires: when its lifetime ends; None when nothing will prune it.
        prune: True when the next run destroys it.
        note: why it stays or goes, or why it isn't ours.
        holds: tags of its holds.
    """

    snapshot: Snapshot
    services: tuple[str, ...]
    schedule: str
    expires: int | None
    prune: bool
    note: str
    holds: tuple[str, ...]

    def to_document(self, now: int) -> dict[str, Any]:
        """As a module's result and ``--json`` have it; times in RFC 3339 and seconds."""
        shot = self.snapshot
        return {
            "name": shot.name,
            "dataset": shot.dataset,
            "snapshot": shot.short,
            "guid": str(shot.guid),
            "createtxg": shot.createtxg,
            "created": utc_stamp(shot.creation),
            "age": now - shot.creation,
            "used": shot.used,
            "written": shot.written,
            "schedule": self.schedule,
            "services": list(self.services),
            "expires": utc_stamp(self.expires) if self.expires is not None else "",
            "prune": self.prune,
            "note": self.note,
            "holds": list(self.holds),
            "clones": list(shot.clones),
        }


def read_snapshots(
    zfs: Zfs,
    roots: Iterable[str],
    *,
    recursive: bool,
    with_holds: bool,
) -> tuple[tuple[Snapshot, ...], Mapping[str, int], Mapping[str, tuple[str, ...]]]:
    """Snapshots under ``roots``, pool guids and holds: one call each, holds only where some are."""
    wanted = sorted(set(roots))
    snapshots = zfs.snapshots(wanted, recursive=recursive, user_properties=PROPERTIES)
    guids = zfs.pool_guids(sorted({shot.pool for shot in snapshots})) if snapshots else {}
    held = [shot.name for shot in snapshots if shot.userrefs]
    return snapshots, guids, zfs.holds(held) if held and with_holds else {}


def describe(
    snapshots: Iterable[Snapshot],
    guids: Mapping[str, int],
    holds: Mapping[str, tuple[str, ...]],
    policy: Policy | None,
    services: Mapping[str, Iterable[str]],
    now: int,
) -> tuple[Listed, ...]:
    """Each snapshot with what is known of it, by dataset, then createtxg.

    Args:
        policy: the host's policy; None when there is none.
        services: datasets by service; descendants belong to it too.
        now: seconds since 1970.
    """
    host = Host((), tuple(snapshots), guids)
    doubts = ClockEvidence().doubts(made(host), now)
    decisions = {
        one.made.snapshot.name: one
        for one in decide(host, policy or Policy(()), now, doubts, {}, ())
    }
    found: list[Listed] = []
    for shot in sorted(host.snapshots, key=lambda one: (one.dataset, one.createtxg)):
        decision = decisions.get(shot.name)
        recognised = recognise(shot, guids)
        found.append(
            Listed(
                snapshot=shot,
                services=services_of(shot.dataset, services),
                schedule=shot.properties.get(SCHEDULE, "") if decision else "",
                expires=decision.expires if decision else None,
                prune=decision.prune if decision else False,
                note=decision.reason if decision else str(recognised),
                holds=holds.get(shot.name, ()),
            )
        )
    return tuple(found)


def services_of(dataset: str, services: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The services that have data in ``dataset``."""
    return tuple(
        sorted(
            name
            for name, roots in services.items()
            if any(is_within(dataset, root) for root in roots)
        )
    )


def table(listed: Iterable[Listed], now: int) -> str:
    """A table for a terminal, one line for each snapshot."""
    rows = [("SNAPSHOT", "AGE", "USED", "WRITTEN", "SCHEDULE", "HOLDS", "NOTE")]
    rows += [
        (
            one.snapshot.name,
            human_seconds(max(0, now - one.snapshot.creation)),
            human_bytes(one.snapshot.used),
            human_bytes(one.snapshot.written),
            one.schedule or "-",
            ",".join(one.holds) or "-",
            one.note,
        )
        for one in listed
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = (
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[6]])
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
