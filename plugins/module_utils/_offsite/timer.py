# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a host runs its offsite jobs by itself: a file for /etc/cron.d, and what is due.

cron of Debian knows one time zone, the host's. A job of that zone has its cron
lines verbatim. For a job of another zone the runner is woken every 15 minutes
and decides by itself (``--due``).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import (
    Job,
    OffsitePolicy,
)
from ansible_collections.homelab.backup.plugins.module_utils._schedule.cron import parse
from ansible_collections.homelab.backup.plugins.module_utils._schedule.slots import previous_slot
from ansible_collections.homelab.backup.plugins.module_utils._schedule.zones import (
    load_zone,
    same_clock,
)

HEADER = """\
# Written by homelab.backup (module zfs_incremental_sync). What is changed here is lost.
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""
WAKE = "*/15 * * * *"
# The night after the specified reconcile, between two incremental runs.
PRUNE = "30 3 * * 1"


@dataclass(frozen=True, slots=True)
class RunnerPaths:
    """Where the runner and its files are on the host, absolute."""

    python: str
    runner: str
    policy: str
    log: str


def render(policy: OffsitePolicy, paths: RunnerPaths, host_zone: str, now: int) -> str:
    """The content of the cron file.

    Args:
        policy: its jobs.
        paths: of the runner.
        host_zone: the IANA name of the zone that the host's cron uses.
        now: seconds since 1970; zones are compared from here on.
    """
    lines = [HEADER]
    for job in policy.jobs:
        here = same_clock(job.schedule.timezone, host_zone, now)
        lines.extend(_lines(job, paths, here=here, host_zone=host_zone))
    return "\n".join(lines) + "\n"


def _lines(job: Job, paths: RunnerPaths, *, here: bool, host_zone: str) -> Iterator[str]:
    schedule = job.schedule
    target = f"{job.destination.host}:{job.destination.directory}"
    yield f"# {job.name}: {job.root} to {target}"
    if here:
        yield f"{schedule.incremental} root {_command(paths, job)}"
        yield f"{schedule.reconcile} root {_command(paths, job, '--reconcile')}"
    else:
        yield (
            f"# at '{schedule.incremental}', reconcile '{schedule.reconcile}' in "
            f"{schedule.timezone}; cron here runs in {host_zone}"
        )
        yield f"{WAKE} root {_command(paths, job, '--due')}"
    if job.destination.pruner_user is not None:
        yield f"# versions older than {job.limits.versions_days} days, with a login of their own"
        yield f"{PRUNE} root {_prune(paths, job)}"


def _command(paths: RunnerPaths, job: Job, *options: str) -> str:
    """A run logs its outcome itself; what it says on standard error goes to the log, too."""
    words = ["run", job.name, "--policy", paths.policy, "--quiet", "--log", *options]
    return _line(paths, words, "2>&1 > /dev/null")


def _prune(paths: RunnerPaths, job: Job) -> str:
    return _line(paths, ["prune", "--job", job.name, "--policy", paths.policy], "2>&1")


def _line(paths: RunnerPaths, words: list[str], streams: str) -> str:
    """Through a pipe: with '>> LOG' alone, a log that can't be opened would stop the job itself.

    cron takes an unescaped % for a newline (crontab(5)).
    """
    command = shlex.join([paths.python, paths.runner, "offsite", *words])
    return f"{command} {streams} | cat >> {shlex.quote(paths.log)}".replace("%", r"\%")


def due(job: Job, last: Mapping[str, Any] | None, now: int) -> str | None:
    """Which run of ``job`` is due: ``reconcile``, ``incremental`` or None.

    Args:
        job: its two cron lines and their zone.
        last: the newest run record, None when there is none.
        now: seconds since 1970.

    Raises:
        ConfigError: a bad cron line or zone.
    """
    if last is None:
        return "incremental"
    zone = load_zone(job.schedule.timezone)
    begun = int(last["started_epoch"])
    if previous_slot(parse(job.schedule.reconcile), now, zone) > begun:
        return "reconcile"
    if previous_slot(parse(job.schedule.incremental), now, zone) > begun:
        return "incremental"
    return None
