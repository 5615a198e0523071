# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's timer: a file for /etc/cron.d, rendered from the policy.

cron of Debian ignores CRON_TZ and knows one time zone, the host's. A schedule of
that zone has its own line in the file. One of another zone can't be
written as a line: the runner is woken every five minutes instead and decides by
itself what is due; a snapshot that is taken within 15 minutes of its slot
carries the slot's time in its name.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._schedule.zones import same_clock
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import (
    Policy,
    Schedule,
)

HEADER = """\
# Written by homelab.backup (module zfs_snapshot_policy). What is changed here is lost.
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""
WAKE = "*/5 * * * *"
# Off the full hour, so that it doesn't meet the schedules' own lines.
CATCH_UP = "7 * * * *"
# Pools are imported by then; a pool that comes later is caught up with each hour.
AFTER_BOOT = "@reboot"


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things are on the host: all absolute."""

    python: str
    runner: str
    state_directory: str
    log: str


def render(policy: Policy, paths: Paths, host_zone: str, now: int) -> str:
    """The content of the cron file.

    Args:
        policy: its schedules.
        paths: of the runner and its files.
        host_zone: the IANA name of the zone that the host's cron uses.
        now: seconds since 1970; zones are compared from here on.
    """
    active = [one for one in policy.schedules if one.enabled]
    foreign = [one for one in active if not same_clock(one.timezone, host_zone, now)]
    lines = [HEADER, *_lines(active, foreign, paths, host_zone)]
    if policy.schedules:
        lines.append("# What was missed: after a start, and each hour after a failed run.")
        lines.append(f"{AFTER_BOOT} root {command(paths)}")
        lines.append(f"{WAKE if foreign else CATCH_UP} root {command(paths)}")
    return "\n".join(lines) + "\n"


def _lines(
    active: list[Schedule], foreign: list[Schedule], paths: Paths, host_zone: str
) -> Iterator[str]:
    for one in active:
        yield f"# {describe(one)}"
        if one in foreign:
            yield f"# at '{one.cron.text}' in {one.timezone}; cron here runs in {host_zone}"
        else:
            yield f"{one.cron.text} root {command(paths, one.id)}"


def describe(schedule: Schedule) -> str:
    """A schedule in one line of words."""
    roots = ", ".join(schedule.datasets)
    depth = " and below" if schedule.recursive else ""
    without = f" without {', '.join(schedule.exclude)}" if schedule.exclude else ""
    return (
        f"{schedule.id}: {roots}{depth}{without},"
        f" named {schedule.naming.pattern}, kept {schedule.lifetime}"
    )


def command(paths: Paths, schedule: str = "") -> str:
    """The runner's call for a cron line; cron takes an unescaped % for a newline (crontab(5)).

    The log is behind a pipe: a shell that can't open it (directory missing,
    disk full) would not start a command with a plain redirection, and no
    snapshot would be taken.
    """
    words = [paths.python, paths.runner, "snapshots", "run", "--quiet"]
    words += ["--state-dir", paths.state_directory]
    words += ["--schedule", schedule] if schedule else []
    line = f"{shlex.join(words)} 2>&1 | cat >> {shlex.quote(paths.log)}"
    return line.replace("%", r"\%")
