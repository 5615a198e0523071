# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits that stop a run before it touches anything: what a mistake or ransomware looks like."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    DestinationError,
    GuardError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import human_bytes
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import Limits


@dataclass(frozen=True, slots=True)
class Extent:
    """How much a run would do: counts of files, and bytes to send."""

    stored: int
    new: int
    changed: int
    deleted: int
    moved: int
    send_bytes: int

    @property
    def concerned(self) -> int:
        """Files of which the destination would lose or replace the content."""
        return self.changed + self.deleted

    def as_record(self) -> dict[str, int]:
        """As a part of the run record."""
        return {
            "stored_before": self.stored,
            "new": self.new,
            "changed": self.changed,
            "deleted": self.deleted,
            "moved": self.moved,
            "send_bytes": self.send_bytes,
        }


def check_extent(extent: Extent, limits: Limits, run: str) -> None:
    """Refuse a run that changes or deletes too large a share of what is stored.

    Raises:
        GuardError: names the share, the limit and the command that goes on.
    """
    if extent.concerned < max(1, limits.min_guard_files) or not extent.stored:
        return
    share = extent.concerned / extent.stored
    if share <= limits.max_changed_share:
        return
    raise GuardError(
        "copy offsite",
        on=f"run {run}",
        found=(
            f"it would change {extent.changed} and delete {extent.deleted} of "
            f"{extent.stored} files ({share:.0%}), the limit is {limits.max_changed_share:.0%}; "
            "nothing was changed and the base is kept"
        ),
        remedy=(
            "look whether this is wanted (ransomware, a wrong mount, an emptied pool look like "
            f"this); if it is, run 'homelab-backup offsite run JOB --accept {run}'"
        ),
    )


def check_space(send_bytes: int, available: int | None, reserve: int, where: str) -> None:
    """Refuse a run that the destination has no room for.

    Args:
        send_bytes: what would be sent.
        available: free bytes there; None when the server can't tell.
        reserve: bytes that have to stay free.
        where: the destination, for the error.

    Raises:
        DestinationError: names what is needed and what there is.
    """
    if available is None or send_bytes + reserve <= available or send_bytes == 0:
        return
    raise DestinationError(
        "copy offsite",
        on=where,
        found=(
            f"{human_bytes(send_bytes)} are to be sent and {human_bytes(reserve)} have to stay "
            f"free, {human_bytes(available)} are free"
        ),
        remedy="free space there (old versions, the NAS' own snapshots), raise the quota, or "
        "exclude what needs no copy",
    )
