# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What snapshot runs and the policy module need besides ZFS, as ports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ansible_collections.homelab.backup.plugins.module_utils._snapshots.converge import (
    Current,
    PolicyPlan,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.record import (
    RunMemory,
    RunRecord,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Refusal


class Memory(Protocol):
    """The state directory, as far as snapshot runs use it."""

    def load(self) -> RunMemory:
        """What the last run left; an empty memory before the first one.

        Raises:
            ConfigError: it is damaged, or a newer version wrote it.
        """

    def save(self, memory: RunMemory) -> None:
        """Replace what :meth:`load` returns.

        Raises:
            OSError: the state directory is missing, full or read-only.
        """

    def keep(self, record: RunRecord) -> None:
        """Store a run's record; the oldest ones beyond a limit go.

        Raises:
            OSError: the state directory is missing, full or read-only.
        """


class SnapshotBackend(Protocol):
    """What takes and prunes snapshots on a host by a policy.

    Plain OpenZFS: the runner, its policy file and a cron file. A TrueNAS'
    middleware has periodic snapshot tasks instead; it is another backend.
    """

    @property
    def name(self) -> str:
        """``zfs``, or the name that the module's option ``backend`` has for it."""

    @property
    def warnings(self) -> Sequence[str]:
        """What the last :meth:`read` could not find out, one sentence each."""

    def read(self) -> Current:
        """What is there now."""

    def plan(self, current: Current, desired: Policy | None) -> PolicyPlan:
        """What has to change; ``None`` for no policy at all. Changes nothing."""

    def apply(self, plan: PolicyPlan) -> tuple[Refusal, ...]:
        """Carry out ``plan``; returns the snapshots that would not go.

        Raises:
            BackupError: a step failed; what was done before it stays and is
                found there by the next plan.
        """
