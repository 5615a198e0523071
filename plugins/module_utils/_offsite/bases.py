# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshots of offsite runs: taken together, held, known by their GUID, destroyed last.

A name can be given to another snapshot, a GUID can't (zfsprops(7)). The names
never fit a snapshot schedule's pattern, so no retention takes them for its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import SourceError
from ansible_collections.homelab.backup.plugins.module_utils._zfs.ports import Zfs
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Snapshot

JOB_PROPERTY = "homelab.backup:job"
HOLD = "homelab.backup:offsite"


def short_name(run: str) -> str:
    """The snapshot name of a run."""
    return f"cloudsync-{run}"


class Bases:
    """The snapshots of one job.

    Args:
        zfs: this host's ZFS.
        job: the job's name, kept with each snapshot.
        root: the job's root dataset.
    """

    def __init__(self, zfs: Zfs, job: str, root: str) -> None:
        self._zfs = zfs
        self._job = job
        self._root = root

    def take(self, datasets: Sequence[str], run: str) -> None:
        """Snapshot ``datasets`` in one transaction group and hold the snapshots.

        Raises:
            SourceError: none was taken.
        """
        names = [f"{dataset}@{short_name(run)}" for dataset in datasets]
        self._zfs.snapshot(names, {JOB_PROPERTY: self._job})
        self._zfs.hold(HOLD, names)

    def all(self) -> tuple[Snapshot, ...]:
        """Every snapshot at and below the root, whoever made it."""
        return self._zfs.snapshots([self._root], user_properties=[JOB_PROPERTY])

    def taken(self, snapshots: Collection[Snapshot], short: str) -> Mapping[str, Snapshot]:
        """Our snapshots called ``short``, by dataset.

        Raises:
            SourceError: there is none.
        """
        found = {item.dataset: item for item in snapshots if item.short == short}
        if not found:
            raise SourceError(
                "find the run's snapshots",
                on=f"{self._root}@{short}",
                found="none is there",
                remedy="start a new run",
            )
        return found

    def clean(
        self, keep: Collection[int], snapshots: Sequence[Snapshot] | None = None
    ) -> list[str]:
        """Release and destroy our snapshots whose GUID is not in ``keep``.

        Args:
            keep: GUIDs of what stays.
            snapshots: what there is, when it was just asked for.

        Returns:
            a sentence for each that could not be destroyed.
        """
        ours = [
            item
            for item in (self.all() if snapshots is None else snapshots)
            if item.properties.get(JOB_PROPERTY) == self._job and item.guid not in keep
        ]
        if not ours:
            return []
        self._zfs.release(HOLD, [item.name for item in ours])
        by_dataset: defaultdict[str, list[str]] = defaultdict(list)
        for item in ours:
            by_dataset[item.dataset].append(item.short)
        left: list[str] = []
        for dataset, shorts in by_dataset.items():
            outcome = self._zfs.destroy_snapshots(dataset, shorts)
            left.extend(f"{item.snapshot} is kept: {item.reason}" for item in outcome.kept)
        return left
