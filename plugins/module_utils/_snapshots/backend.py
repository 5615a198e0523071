# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend for plain OpenZFS: policy file, cron file, and the runner that they drive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import Clock
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    ConfigError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.files import (
    sync_directory,
    write_atomically,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.converge import (
    Current,
    PolicyPlan,
    Rewrite,
    plan_change,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.document import PolicyError
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import Host
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.run import read_host
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.store import (
    StateDirectory,
    load_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.timer import Paths, render
from ansible_collections.homelab.backup.plugins.module_utils._zfs.ports import Zfs
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Refusal

PATIENCE = 120.0
NOT_JSON = "it is not JSON"


class ZfsBackend:
    """See :class:`SnapshotBackend`.

    Args:
        zfs: ZFS on this host.
        clock: its clock.
        state: its state directory.
        cron_file: the timer's path.
        paths: what the timer's lines call.
        host_zone: the time zone of this host's cron.
        pools: the pools of the policy that shall be.
        prune: destroy at once what the change gives up.
    """

    name = "zfs"

    def __init__(
        self,
        zfs: Zfs,
        clock: Clock,
        *,
        state: StateDirectory,
        cron_file: Path,
        paths: Paths,
        host_zone: str,
        pools: tuple[str, ...],
        prune: bool,
    ) -> None:
        self._zfs = zfs
        self._clock = clock
        self._state = state
        self._cron_file = cron_file
        self._paths = paths
        self._host_zone = host_zone
        self._pools = pools
        self._prune = prune
        self.warnings: list[str] = []

    def read(self) -> Current:
        """See :meth:`SnapshotBackend.read`; what can't be read of ZFS becomes a warning."""
        policy = self._policy()
        failures: list[BackupError] = []
        host = self._host(policy, failures)
        self.warnings = [f"snapshots are left out of account: {error}" for error in failures]
        return Current(
            policy=policy,
            policy_text=_text(self._state.policy_file),
            timer_text=_text(self._cron_file),
            host=host,
            now=int(self._clock.now()),
            clock=self._state.load().clock,
        )

    def _policy(self) -> Policy | None:
        """The policy in force; None when there is none, or the file is damaged."""
        if not self._state.policy_file.exists():
            return None
        try:
            return load_policy(self._state.policy_file)
        except PolicyError:
            return None
        except ConfigError as exc:
            if NOT_JSON in exc.found:
                return None
            raise

    def _host(self, policy: Policy | None, failures: list[BackupError]) -> Host:
        pools = sorted({*self._pools, *(policy.pools if policy else ())})
        found, host = read_host(self._zfs, pools)
        failures += [failure.error for failure in found]
        return host

    def plan(self, current: Current, desired: Policy | None) -> PolicyPlan:
        """See :meth:`SnapshotBackend.plan`."""
        timer = render(desired, self._paths, self._host_zone, current.now) if desired else ""
        return plan_change(
            current,
            desired,
            policy_path=str(self._state.policy_file),
            timer_path=str(self._cron_file),
            timer_text=timer,
            prune=self._prune,
        )

    def apply(self, plan: PolicyPlan) -> tuple[Refusal, ...]:
        """See :meth:`SnapshotBackend.apply`. No run works at the same time."""
        self._state.prepare()
        refused: list[Refusal] = []
        with self._state.locked(PATIENCE):
            for one in plan.rewrites:
                self._write(one)
            by_dataset: dict[str, list[str]] = {}
            for decision in plan.doomed:
                shot = decision.made.snapshot
                by_dataset.setdefault(shot.dataset, []).append(shot.short)
            for dataset, shorts in by_dataset.items():
                refused += self._zfs.destroy_snapshots(dataset, shorts).kept
        return tuple(refused)

    def _write(self, rewrite: Rewrite) -> None:
        path = Path(rewrite.path)
        if not rewrite.after:
            path.unlink(missing_ok=True)
            sync_directory(path.parent)
            return
        if rewrite.kind == "timer" and not path.parent.is_dir():
            raise ConfigError(
                "install the timer",
                on=rewrite.path,
                found=f"there is no directory {path.parent}",
                remedy="install the package cron",
            )
        path.parent.mkdir(mode=0o755, exist_ok=True)
        write_atomically(path, rewrite.after.encode("utf-8"), 0o644)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="backslashreplace")
    except FileNotFoundError:
        return ""


def is_truenas(root: Path = Path("/")) -> bool:
    """True on a TrueNAS: its middleware's client is there and its version or data directory."""
    marks = (root / "etc/version", root / "data")
    return (root / "usr/bin/midclt").exists() and any(mark.exists() for mark in marks)


def require_zfs_backend(wanted: str, truenas: Callable[[], bool] = is_truenas) -> None:
    """Refuse a TrueNAS' middleware host unless ``wanted`` says ``zfs``.

    Raises:
        ConfigError: this is a TrueNAS, whose snapshot tasks the middleware keeps.
    """
    if wanted == "auto" and truenas():
        raise ConfigError(
            "choose a backend for snapshots",
            on="this host",
            found="it is a TrueNAS, and the backend for its middleware is not there yet",
            remedy="set up periodic snapshot tasks in its web interface; or set 'backend: zfs'"
            " to let the runner take snapshots beside the middleware (its /etc/cron.d is lost"
            " with each upgrade)",
        )
