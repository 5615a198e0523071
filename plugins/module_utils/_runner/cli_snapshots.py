# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``homelab-backup snapshots run|plan|list``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import (
    SystemClock,
    utc_stamp,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    ExitCode,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import human_bytes
from ansible_collections.homelab.backup.plugins.module_utils._runner.registration import (
    Subparsers,
    runs,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.listing import (
    describe,
    read_snapshots,
    table,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.plan import Plan, plan
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.record import RunRecord
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.run import read_host, run
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.store import (
    StateDirectory,
    load_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.cli import ZfsCli

PATIENCE = 600.0


def register(subparsers: Subparsers) -> None:
    """Add ``snapshots`` and its subcommands."""
    parser = subparsers.add_parser("snapshots", help="take, prune and show snapshots")
    commands = parser.add_subparsers(metavar="ACTION", required=True)
    run_parser = commands.add_parser("run", help="take what is due and prune what is over")
    _common(run_parser)
    run_parser.add_argument("--quiet", action="store_true", help="say nothing of an idle run")
    run_parser.add_argument(
        "--accept-clock",
        action="store_true",
        help="the clock is right now: forget that a run or snapshot was of a later time",
    )
    runs(run_parser, run_command)
    plan_parser = commands.add_parser("plan", help="show what a run would do now")
    _common(plan_parser)
    runs(plan_parser, plan_command)
    list_parser = commands.add_parser("list", help="show the snapshots that there are")
    _common(list_parser)
    list_parser.add_argument("dataset", nargs="*", help="datasets (default: the policy's pools)")
    runs(list_parser, list_command)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=default_state_directory(sys.argv[0]),
        metavar="DIR",
        help="directory with etc/, state/ and records/ (default: where the program lies in bin/)",
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help="default: etc/snapshots.json")
    parser.add_argument(
        "--schedule",
        action="append",
        default=[],
        metavar="ID",
        help="only this schedule (may be repeated)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def default_state_directory(program: str) -> Path | None:
    """The state directory of ``…/bin/homelab-backup.pyz``; None for another place."""
    path = Path(program).resolve()
    return path.parent.parent if path.parent.name == "bin" and path.suffix == ".pyz" else None


def state_of(arguments: argparse.Namespace) -> StateDirectory:
    """The state directory that the arguments name.

    Raises:
        ConfigError: neither an option nor the program's place says where it is.
    """
    if arguments.state_dir is None:
        raise ConfigError(
            "find the state directory",
            found="the program lies in no bin/ of one",
            remedy="give --state-dir",
        )
    return StateDirectory(arguments.state_dir.absolute())


def policy_of(arguments: argparse.Namespace, state: StateDirectory) -> Policy:
    """The policy that the arguments name."""
    return load_policy(arguments.policy or state.policy_file)


def run_command(arguments: argparse.Namespace) -> ExitCode:
    """``snapshots run``."""
    state = state_of(arguments)
    state.prepare()
    with state.locked(PATIENCE) as descriptor:
        record = run(
            ZfsCli(SubprocessCommands((descriptor,))),
            state,
            SystemClock(),
            policy_of(arguments, state),
            only=arguments.schedule,
            accept_clock=arguments.accept_clock,
        )
    if arguments.json:
        sys.stdout.write(json.dumps(record.to_document(), indent=2) + "\n")
    elif record.eventful or not arguments.quiet:
        sys.stdout.write("\n".join(report(record)) + "\n")
    return record.exit_code


def report(record: RunRecord) -> Iterator[str]:
    """A run as lines for a log: what was done, then what was not and why."""
    stamp = utc_stamp(record.ended)
    for take, names in record.taken:
        yield f"{stamp} took {take.pool}: {len(names)} x @{take.short} ({take.reason})"
    for decision in record.pruned:
        yield f"{stamp} pruned {decision.made.snapshot.name}: {decision.reason}"
    for refusal in record.refused:
        yield f"{stamp} WARNING not pruned: {refusal.snapshot}: {refusal.reason}"
    for reason in dict.fromkeys(record.doubts.values()):
        yield f"{stamp} WARNING nothing pruned: {reason}"
    for failure in record.failures:
        yield f"{stamp} ERROR {failure.error}"
    if not record.eventful:
        yield f"{stamp} nothing is due"
    yield f"{stamp} ended: {record.exit_code.name.lower()}"


def plan_command(arguments: argparse.Namespace) -> ExitCode:
    """``snapshots plan``; it changes nothing."""
    state = state_of(arguments)
    policy = policy_of(arguments, state)
    zfs = ZfsCli(SubprocessCommands())
    failures, host = read_host(zfs, policy.pools)
    now = int(SystemClock().now())
    planned = plan(host, policy, now, state.load().clock, arguments.schedule)
    if arguments.json:
        sys.stdout.write(json.dumps(plan_document(planned), indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(plan_lines(planned)) + "\n")
    for failure in failures:
        sys.stderr.write(f"{failure.error}\n")
    return ExitCode.INCOMPLETE if failures or planned.missing else ExitCode.OK


def plan_lines(planned: Plan) -> Iterator[str]:
    """A plan as lines for a person."""
    for take in planned.takes:
        yield f"take   {take.pool}: {len(take.datasets)} x @{take.short} ({take.reason})"
    for decision in planned.prunes:
        shot = decision.made.snapshot
        yield f"prune  {shot.name} ({human_bytes(shot.used)} of its own): {decision.reason}"
    for reason in dict.fromkeys(planned.doubts.values()):
        yield f"doubt  nothing is pruned: {reason}"
    for root, schedule in planned.missing:
        yield f"error  schedule {schedule!r}: there is no dataset {root}"
    if not planned:
        yield "nothing is due"


def plan_document(planned: Plan) -> dict[str, object]:
    """A plan for ``--json``."""
    return {
        "take": [
            {"schedule": take.schedule, "names": list(take.names), "reason": take.reason}
            for take in planned.takes
        ],
        "prune": [
            {"snapshot": decision.made.snapshot.name, "reason": decision.reason}
            for decision in planned.prunes
        ],
        "keep": [
            {"snapshot": decision.made.snapshot.name, "reason": decision.reason}
            for decision in planned.decisions
            if not decision.prune
        ],
        "clock": dict(planned.doubts),
        "missing": [{"dataset": root, "schedule": schedule} for root, schedule in planned.missing],
    }


def list_command(arguments: argparse.Namespace) -> ExitCode:
    """``snapshots list``."""
    state = state_of(arguments)
    policy = policy_of(arguments, state)
    now = int(SystemClock().now())
    snapshots, guids, holds = read_snapshots(
        ZfsCli(SubprocessCommands()),
        arguments.dataset or policy.pools,
        recursive=True,
        with_holds=True,
    )
    listed = describe(snapshots, guids, holds, policy, {}, now)
    if arguments.schedule:
        listed = tuple(one for one in listed if one.schedule in arguments.schedule)
    if arguments.json:
        sys.stdout.write(json.dumps([one.to_document(now) for one in listed], indent=2) + "\n")
    else:
        sys.stdout.write(table(listed, now) + "\n")
    return ExitCode.OK
