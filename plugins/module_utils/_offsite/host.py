# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage host's real programs behind the ports of an offsite run, and its locks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import Clock, SystemClock
from ansible_collections.homelab.backup.plugins.module_utils._core.files import (
    exclusive_lock,
    read_json,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import (
    Job,
    OffsitePolicy,
    parse_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._rclone.bulk import RcloneBulk
from ansible_collections.homelab.backup.plugins.module_utils._rclone.version import check_rclone
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import (
    BulkUpload,
    RemoteStore,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ssh import SshTarget, ssh_argv
from ansible_collections.homelab.backup.plugins.module_utils._zfs.cli import ZfsCli
from ansible_collections.homelab.backup.plugins.module_utils._zfs.mounts import SnapshotMounts
from ansible_collections.homelab.backup.plugins.module_utils._zfs.send import SendStreams

MOUNT_BASE = Path("/run/homelab-backup")


def ssh_target(job: Job) -> SshTarget:
    """How the run reaches the job's destination."""
    destination = job.destination
    return SshTarget(
        host=destination.host,
        port=destination.port,
        user=destination.user,
        key_file=destination.key_file,
        known_hosts_file=destination.known_hosts_file,
    )


class HostPorts:
    """This host's ZFS, mounts and transports.

    Args:
        job: the job; its mounts get a directory of their own.
        lock: the run's lock, which every child keeps open.
        clock: the time.
    """

    def __init__(self, job: Job, lock: int, clock: Clock | None = None) -> None:
        self._lock = lock
        self.commands = SubprocessCommands(inherit=[lock])
        self.zfs = ZfsCli(self.commands)
        self.streams = SendStreams(self.commands)
        self.mounts = SnapshotMounts(self.commands, MOUNT_BASE / f"offsite-{job.name}")
        self.clock: Clock = clock or SystemClock()

    def connect(self, job: Job) -> RemoteStore:
        """See :class:`run.Ports`."""
        target = ssh_target(job)
        return SftpClient.connect(ssh_argv(target), where=str(target), inherit=[self._lock])

    def bulk(self, job: Job, store: RemoteStore) -> tuple[BulkUpload, dict[str, object]]:
        """The configured program for big files.

        The runner's own client is the default: it measured no slower than rclone
        and takes less processor time (docs/benchmarks.md).

        Raises:
            TransportError: rclone was asked for, and is missing or must not be used.
        """
        settings = job.bulk
        if settings.program == "sftp":
            return store, {"big_files": "sftp"}
        version = check_rclone(self.commands, settings.rclone)
        bulk = RcloneBulk(
            ssh_target(job),
            settings.rclone,
            store=store,
            parallel=settings.transfers,
            inherit=[self._lock],
        )
        return bulk, {"big_files": "rclone", "rclone": str(version)}


def load_policy(path: Path) -> OffsitePolicy:
    """The host's offsite policy.

    Raises:
        ConfigError: missing or wrong.
    """
    return parse_policy(read_json(path), str(path))


@contextlib.contextmanager
def job_lock(policy: OffsitePolicy, job: Job) -> Iterator[int]:
    """The lock of a job: one run at a time, a killed run's transfers included.

    Raises:
        LockedError: another run has it.
    """
    directory = policy.state_dir / "state" / "offsite" / job.name
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with exclusive_lock(directory / "lock", f"the offsite run of job {job.name}") as descriptor:
        yield descriptor
