# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the core asks of ZFS, as a port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import (
    Dataset,
    Destroyed,
    Snapshot,
)


class Zfs(Protocol):
    """ZFS on one host.

    Every method raises a SourceError of :mod:`_zfs.errors` with zfs's own words
    and a remedy: DatasetMissingError, SnapshotExistsError, SnapshotBusyError,
    PoolUnavailableError, or plain SourceError (no zfs, no permission, no space).
    """

    def datasets(self, *roots: str, recursive: bool = True) -> tuple[Dataset, ...]:
        """File systems and volumes at ``roots`` and, if ``recursive``, below, by name.

        Without roots: all of the imported pools.
        """

    def snapshots(
        self,
        roots: Sequence[str],
        *,
        recursive: bool = True,
        user_properties: Sequence[str] = (),
    ) -> tuple[Snapshot, ...]:
        """Snapshots of ``roots`` (and their descendants), by dataset, then createtxg.

        Empty ``roots``: of all imported pools.
        """

    def snapshot(self, names: Sequence[str], properties: Mapping[str, str]) -> None:
        """Create all of ``names`` (``dataset@short``, one pool) in one transaction, or none."""

    def snapshot_recursive(self, root: str, short: str, properties: Mapping[str, str]) -> None:
        """Create ``short`` on ``root`` and all its descendants in one transaction, or none."""

    def hold(self, tag: str, names: Sequence[str]) -> None:
        """Put hold ``tag`` on snapshots of one pool; those that have it already are fine."""

    def release(self, tag: str, names: Sequence[str]) -> None:
        """Remove hold ``tag`` from snapshots; those without it, or gone, are fine."""

    def holds(self, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The hold tags of each snapshot in ``names``; an empty tuple when there are none."""

    def destroy_snapshots(self, dataset: str, shorts: Sequence[str]) -> Destroyed:
        """Destroy snapshots of one dataset, never with -r or -R.

        A held, cloned or busy one is left and named in the result; the others
        go. One that is gone already counts as gone.
        """

    def rename_snapshot(self, name: str, short: str) -> None:
        """Rename snapshot ``name`` to ``short`` (zfs-rename(8)); guid and holds stay."""

    def written_since(self, dataset: str, short: str) -> int:
        """Bytes written to ``dataset`` since its snapshot ``short`` (``written@``).

        0 means that nothing in it changed.
        """

    def written_since_each(self, bases: Mapping[str, str]) -> Mapping[str, int]:
        """:meth:`written_since` for ``{dataset: short}``; lacks those without that snapshot."""

    def get(
        self, names: Sequence[str], properties: Sequence[str]
    ) -> Mapping[str, Mapping[str, str]]:
        """Property values by dataset or snapshot name; unset or meaningless ones are ``-``."""

    def set_properties(self, names: Sequence[str], properties: Mapping[str, str]) -> None:
        """Set properties on datasets or snapshots."""

    def pool_guid(self, pool: str) -> int:
        """The pool's guid, which survives export, import and renaming."""

    def pool_guids(self, pools: Sequence[str]) -> Mapping[str, int]:
        """The guids of several pools by name, in one call; all imported ones for none."""

    def pool_state(self, pool: str) -> str:
        """The pool's health: ``ONLINE``, ``DEGRADED``, ``FAULTED``, ``UNAVAIL``, ``SUSPENDED``."""
