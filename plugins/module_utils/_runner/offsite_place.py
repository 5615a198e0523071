# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which destination a command line means, and how it is reached: with a policy or without one."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    DestinationError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.destination import read_marker
from ansible_collections.homelab.backup.plugins.module_utils._offsite.host import load_policy
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.indexread import (
    OnProblem,
    restore_index,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import (
    Destination,
    Job,
    Limits,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.run import index_path
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ssh import SshTarget, ssh_argv


@dataclass(frozen=True, slots=True)
class Place:
    """A destination as the command line names it.

    ``job`` and ``index`` (the local index file) are None where no policy says them.
    """

    destination: Destination
    job: str | None
    index: Path | None
    limits: Limits

    @property
    def layout(self) -> Layout:
        """Its paths; no run writes with it."""
        return Layout(
            os.fsencode(self.destination.directory),
            os.fsencode(self.destination.control_directory),
            "",
        )


def add_destination_options(parser: argparse.ArgumentParser) -> None:
    """Options that name a destination, for :func:`place_of`."""
    parser.add_argument(
        "--policy",
        type=Path,
        default=Path(sys.argv[0]).resolve().parent.parent / "etc" / "offsite.json",
        help="the host's offsite policy (default: etc/offsite.json beside the runner's bin)",
    )
    parser.add_argument("--job", help="job of the policy; needed if it has several")
    group = parser.add_argument_group("without a policy")
    group.add_argument("--host", help="the NAS")
    group.add_argument("--port", type=int, default=22)
    group.add_argument("--user")
    group.add_argument("--key-file", help="private key")
    group.add_argument("--known-hosts", help="file with the NAS' host key")
    group.add_argument("--directory", help="the copy's directory at the NAS")
    group.add_argument(
        "--control-directory", help="default: the copy's directory with .homelab-backup added"
    )
    group.add_argument(
        "--sftp-server",
        metavar="PROGRAM",
        help="talk to this program instead of ssh (on the NAS itself: sftp-server)",
    )


def place_of(arguments: argparse.Namespace) -> Place:
    """The destination that the arguments name.

    Raises:
        ConfigError: no such job, several jobs, or an option is missing.
    """
    if arguments.directory is None:
        policy = load_policy(arguments.policy)
        job = _only_job(policy.jobs) if arguments.job is None else policy.job(arguments.job)
        return Place(job.destination, job.name, index_path(policy, job), job.limits)
    needed = () if arguments.sftp_server else ("host", "user", "key_file", "known_hosts")
    missing = ["--" + name.replace("_", "-") for name in needed if getattr(arguments, name) is None]
    if missing:
        raise ConfigError(
            "reach the destination",
            on=arguments.directory,
            found=f"without a policy this is needed, too: {', '.join(missing)}",
        )
    directory = arguments.directory.rstrip("/")
    destination = Destination(
        host=arguments.host or "",
        port=arguments.port,
        user=arguments.user or "",
        key_file=arguments.key_file or "",
        known_hosts_file=arguments.known_hosts or "",
        directory=directory,
        control_directory=arguments.control_directory or directory + ".homelab-backup",
    )
    return Place(destination, arguments.job, None, Limits())


def _only_job(jobs: tuple[Job, ...]) -> Job:
    if len(jobs) == 1:
        return jobs[0]
    raise ConfigError(
        "choose the job",
        found=f"the policy has: {', '.join(job.name for job in jobs) or 'none'}",
        remedy="name one with --job",
    )


@contextlib.contextmanager
def connected(
    place: Place, arguments: argparse.Namespace, login: tuple[str, str] | None = None
) -> Iterator[RemoteStore]:
    """A connection, with the run's login or (user, key file)."""
    destination = place.destination
    if arguments.sftp_server:
        argv, where = [arguments.sftp_server], arguments.sftp_server
    else:
        user, key_file = login or (destination.user, destination.key_file)
        target = SshTarget(
            host=destination.host,
            port=destination.port,
            user=user,
            key_file=key_file,
            known_hosts_file=destination.known_hosts_file,
        )
        argv, where = ssh_argv(target), str(target)
    with SftpClient.connect(argv, where=where) as client:
        yield client


def check_marker(store: RemoteStore, place: Place) -> None:
    """Tell a wrong directory before anything else fails in a less clear way."""
    marker = read_marker(store, place.layout)
    if marker is None or not marker.belongs_to(place.job or marker.job, None):
        raise DestinationError(
            "use the copy",
            on=place.destination.control_directory,
            found="there is no marker of ours" if marker is None else f"it is of {marker}",
            remedy="name the directory that the job writes to, as SFTP shows it",
        )


def local_index(place: Place, arguments: argparse.Namespace) -> Index | None:
    """This host's index, if it has one and may use it."""
    if place.index is None or arguments.remote_index or not place.index.exists():
        return None
    return Index(place.index, readonly=True)


@contextlib.contextmanager
def open_index(store: RemoteStore, place: Place, arguments: argparse.Namespace) -> Iterator[Index]:
    """This host's index, or else the destination's in a temporary file."""
    local = local_index(place, arguments)
    if local is not None:
        with contextlib.closing(local):
            yield local
        return
    # A large index would fill a /tmp in memory.
    large = "/var/tmp"
    with tempfile.TemporaryDirectory(dir=large if os.access(large, os.W_OK) else None) as directory:
        path = Path(directory) / "index.sqlite"
        with contextlib.closing(
            rebuilt(store, place, path, skip_damaged=arguments.skip_damaged)
        ) as index:
            yield index


def rebuilt(store: RemoteStore, place: Place, path: Path, *, skip_damaged: bool) -> Index:
    """The destination's index as a new file at ``path``.

    Raises:
        DestinationError: it is damaged, or there is none.
    """

    def told(error: DestinationError) -> None:
        sys.stderr.write(f"skipped: {error.on}: {error.found}\n")

    on_problem: OnProblem | None = told if skip_damaged else None
    index = restore_index(store, place.layout, path, on_problem)
    if index is None:
        raise DestinationError(
            "rebuild the index",
            on=printable(place.layout.index),
            found="the destination has no copy of one",
            remedy="fetch the files with any SFTP client; docs/restore-files.md says how",
        )
    return index


def tree_path(text: str) -> bytes:
    """A path of the command line as one in the tree."""
    parts = os.fsencode(text).split(b"/")
    return b"/".join(part for part in parts if part not in (b"", b"."))
