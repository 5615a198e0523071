# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``homelab-backup offsite prune``: old versions at the destination are deleted."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import utc_stamp
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    ExitCode,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import (
    human_bytes,
    printable,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.prune import (
    Pruned,
    PrunePlan,
    apply_prune,
    plan_prune,
    require_ours,
)
from ansible_collections.homelab.backup.plugins.module_utils._runner.offsite_place import (
    Place,
    add_destination_options,
    connected,
    place_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._runner.registration import (
    Subparsers,
    runs,
)

NAMED = 50
"""So many problems are shown; the rest is counted."""


def add_prune(subparsers: Subparsers) -> None:
    """Add ``prune``."""
    parser = subparsers.add_parser(
        "prune",
        help="delete old versions at the destination",
        description="Delete versions older than the job's versions_days, under our marker only. "
        "It uses the destination's 'pruner' login.",
    )
    add_destination_options(parser)
    parser.add_argument("--check", action="store_true", help="show the plan, delete nothing")
    parser.add_argument("--days", type=int, help="instead of the job's versions_days")
    parser.add_argument(
        "--keep-runs",
        type=int,
        default=1,
        metavar="N",
        help="the versions of the newest N runs stay whatever their age (default: 1)",
    )
    parser.add_argument(
        "--use-run-key",
        action="store_true",
        help="use the login of the runs, which then has to be allowed to remove",
    )
    parser.add_argument("--json", action="store_true", help="plan and result as JSON")
    runs(parser, prune_command)


def prune_command(arguments: argparse.Namespace) -> ExitCode:
    """``offsite prune``: exits with INCOMPLETE when something could not be deleted."""
    place = place_of(arguments)
    if place.job is None:
        raise ConfigError("prune the versions", found="no job", remedy="name it with --job")
    credential, login = _pruning_login(place, arguments)
    days = arguments.days if arguments.days is not None else place.limits.versions_days
    with connected(place, arguments, login) as store:
        require_ours(store, place.layout, place.job)
        plan = plan_prune(
            store, place.layout, days=days, now=time.time(), keep_runs=arguments.keep_runs
        )
        if not arguments.json:
            sys.stdout.write(
                f"{place.job}: {len(plan.runs)} runs' versions and {len(plan.leftovers)} leftovers "
                f"to delete, {plan.kept} runs' versions stay\n"
            )
            sys.stdout.writelines(f"  {line}\n" for line in plan.lines())
            if credential == "run":
                sys.stdout.write(
                    "  note: this is the login of the runs, so its key can delete versions\n"
                )
            sys.stdout.flush()
        result = Pruned() if arguments.check else apply_prune(store, place.layout, plan)
    if arguments.json:
        sys.stdout.write(
            json.dumps(_prune_document(place.job, plan, result, credential, arguments.check)) + "\n"
        )
    elif not arguments.check:
        sys.stdout.write(
            f"{place.job}: deleted the versions of {result.runs} runs: {result.files} files "
            f"({human_bytes(result.size)}), {result.directories} directories\n"
        )
        sys.stdout.writelines(f"  problem: {text}\n" for text in result.problems[:NAMED])
    return ExitCode.INCOMPLETE if result.problem_count else ExitCode.OK


def _pruning_login(
    place: Place, arguments: argparse.Namespace
) -> tuple[str, tuple[str, str] | None]:
    """Which login prunes: its name for the report, and (user, key file) or None for the run's."""
    destination = place.destination
    if arguments.sftp_server:
        return "local", None
    if arguments.use_run_key:
        return "run", None
    if arguments.directory is not None:
        return "given", None
    if destination.pruner_user is None or destination.pruner_key_file is None:
        raise ConfigError(
            "prune the versions",
            on=f"job {place.job}",
            found="its destination has no 'pruner' login",
            remedy="add destination.pruner (user, key_file), or say --use-run-key",
        )
    login = (destination.pruner_user, destination.pruner_key_file)
    if login == (destination.user, destination.key_file):
        return "run", login
    return "pruner", login


def _prune_document(
    job: str, plan: PrunePlan, result: Pruned, credential: str, check: bool
) -> dict[str, Any]:
    return {
        "job": job,
        "credential": credential,
        "check": check,
        "before": utc_stamp(plan.before),
        "runs": [printable(run) for run in plan.runs],
        "kept": plan.kept,
        "leftovers": [printable(name) for name in plan.leftovers],
        "notes": list(plan.notes),
        "deleted": {
            "runs": result.runs,
            "files": result.files,
            "directories": result.directories,
            "bytes": result.size,
        },
        "problems": result.problems,
        "changed": bool(plan) if check else result.files + result.directories > 0,
    }
