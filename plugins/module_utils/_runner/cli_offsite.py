# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``homelab-backup offsite run|plan|status``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import TextIO

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    ExitCode,
    LockedError,
    SourceError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.files import read_json
from ansible_collections.homelab.backup.plugins.module_utils._core.text import (
    human_bytes,
    human_seconds,
    printable,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.detect import STRATEGIES
from ansible_collections.homelab.backup.plugins.module_utils._offsite.host import (
    HostPorts,
    job_lock,
    load_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.planning import plan
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import (
    Job,
    OffsitePolicy,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.records import (
    record_path,
    summary,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.run import (
    INCREMENTAL,
    RECONCILE,
    OffsiteRun,
    Options,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.timer import due
from ansible_collections.homelab.backup.plugins.module_utils._runner import cli_offsite_files
from ansible_collections.homelab.backup.plugins.module_utils._runner.registration import (
    Subparsers,
    runs,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.mounts import (
    enter_mount_namespace,
)

# The log is cut when it reaches this size; one older file is kept.
LOG_BYTES = 4 << 20
NAMED_CHANGES = 200


def register(subparsers: Subparsers) -> None:
    """Add ``offsite`` and its subcommands."""
    parser = subparsers.add_parser("offsite", help="copy pools to the NAS")
    commands = parser.add_subparsers(metavar="ACTION", required=True)
    run_parser = commands.add_parser("run", help="bring the copy to the pool's present state")
    _common(run_parser)
    run_parser.add_argument(
        "--reconcile", action="store_true", help="compare the whole source and destination"
    )
    run_parser.add_argument(
        "--due", action="store_true", help="do what the schedule asks for now, perhaps nothing"
    )
    run_parser.add_argument("--strategy", choices=STRATEGIES, help="force a way of detection")
    run_parser.add_argument("--accept", metavar="RUN", help="go on with a run that was stopped")
    run_parser.add_argument("--quiet", action="store_true", help="no progress, only the outcome")
    run_parser.add_argument(
        "--log", action="store_true", help="append the outcome to the policy's log file"
    )
    runs(run_parser, run_command)
    plan_parser = commands.add_parser("plan", help="show what a run would do, change nothing")
    _common(plan_parser)
    plan_parser.add_argument("--json", action="store_true", help="the whole plan as JSON")
    runs(plan_parser, plan_command)
    status_parser = commands.add_parser("status", help="show the last run of each job")
    _common(status_parser)
    status_parser.add_argument("--json", action="store_true", help="the records as JSON")
    runs(status_parser, status_command)
    cli_offsite_files.register(commands)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", nargs="*", help="jobs of the policy; all of them without a name")
    parser.add_argument(
        "--policy",
        type=Path,
        default=Path(sys.argv[0]).resolve().parent.parent / "etc" / "offsite.json",
        help="the host's offsite policy (default: etc/offsite.json beside the runner's bin)",
    )


def _jobs(policy: OffsitePolicy, names: list[str]) -> list[Job]:
    return [policy.job(name) for name in names] if names else list(policy.jobs)


class TerminalProgress:
    """Steps as lines on standard error; counts of sent files in place on a terminal."""

    def __init__(self, job: str, stream: TextIO, *, quiet: bool) -> None:
        self._job = job
        self._stream = stream
        self._quiet = quiet
        self._started = time.monotonic()
        self._shown = 0.0

    def step(self, text: str) -> None:
        """See :class:`run.Progress`."""
        if not self._quiet:
            elapsed = time.monotonic() - self._started
            self._stream.write(f"{self._job}: {elapsed:7.1f} s  {text}\n")
            self._stream.flush()

    def sent(self, files: int, size: int) -> None:
        """See :class:`run.Progress`."""
        now = time.monotonic()
        if self._quiet or not self._stream.isatty() or now - self._shown < 0.5:
            return
        self._shown = now
        self._stream.write(f"{self._job}: sent {files} files, {human_bytes(size)}\r")
        self._stream.flush()


def run_command(arguments: argparse.Namespace) -> ExitCode:
    """``offsite run``: all jobs are tried; the exit status is that of the first that went wrong."""
    policy = load_policy(arguments.policy)
    options = Options(
        mode=RECONCILE if arguments.reconcile else INCREMENTAL,
        strategy=arguments.strategy,
        accept=arguments.accept,
    )
    try:
        enter_mount_namespace()
    except OSError as error:
        raise SourceError(
            "make a mount namespace",
            found=str(error),
            remedy="run it as root, outside of a container that lacks CAP_SYS_ADMIN",
        ) from error
    errors: list[BackupError] = []
    worst = ExitCode.OK
    for job in _jobs(policy, arguments.job):
        try:
            code = _run_job(policy, job, options, arguments)
        except BackupError as error:
            errors.append(error)
            continue
        worst = worst or code
    for further in errors[1:]:
        sys.stderr.write(f"{type(further).__name__}: {further}\n")
    if errors:
        raise errors[0]
    return worst


def _run_job(
    policy: OffsitePolicy, job: Job, options: Options, arguments: argparse.Namespace
) -> ExitCode:
    if arguments.due:
        path = record_path(policy.state_dir, job.name, "last")
        last = read_json(path) if path.exists() else None
        mode = due(job, last if isinstance(last, dict) else None, int(time.time()))
        if mode is None:
            return ExitCode.OK
        options = dataclasses.replace(options, mode=mode)
    progress = TerminalProgress(job.name, sys.stderr, quiet=arguments.quiet)
    with job_lock(policy, job) as lock:
        record = OffsiteRun(policy, job, HostPorts(job, lock), options, progress).run()
    document = record.as_document()
    line = summary(document)
    sys.stdout.write(line + "\n")
    for word, sentences in (
        ("problem", record.problems),
        ("finding", record.findings),
        ("not copied", record.special),
        ("note", record.notes),
    ):
        for sentence in sentences[:20]:
            sys.stdout.write(f"  {word}: {sentence}\n")
        if len(sentences) > 20:
            sys.stdout.write(f"  {word}: … {len(sentences) - 20} more in the run record\n")
    if arguments.log:
        log(policy.log_file, line)
    return ExitCode(record.exit_code)


def log(path: Path, line: str) -> None:
    """Append one line; a log that has grown to its limit becomes ``….1`` first."""
    try:
        if path.stat().st_size > LOG_BYTES:
            os.replace(path, path.with_name(path.name + ".1"))
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", errors="backslashreplace") as handle:
        handle.write(line + "\n")


def plan_command(arguments: argparse.Namespace) -> ExitCode:
    """``offsite plan``."""
    policy = load_policy(arguments.policy)
    enter_mount_namespace()
    documents = []
    for job in _jobs(policy, arguments.job):
        descriptor = os.open(os.devnull, os.O_RDONLY)
        try:
            found = plan(policy, job, HostPorts(job, descriptor))
        finally:
            os.close(descriptor)
        if arguments.json:
            documents.append(
                {
                    "job": found.job,
                    "first": found.first,
                    "extent": found.extent.as_record(),
                    "detection": [item.as_record() for item in found.detection],
                    "problems": list(found.problems),
                    "changes": [
                        {
                            "act": item.act,
                            "path": printable(item.path),
                            **({"from": printable(item.old)} if item.old is not None else {}),
                            **({"size": item.size} if item.act == "copy" else {}),
                        }
                        for item in found.changes
                    ],
                }
            )
            continue
        extent = found.extent
        sys.stdout.write(
            f"{job.name}: {extent.new} new, {extent.changed} changed, {extent.moved} moved, "
            f"{extent.deleted} deleted, {human_bytes(extent.send_bytes)} to send\n"
        )
        for item in found.changes[:NAMED_CHANGES]:
            old = f"{printable(item.old)} -> " if item.old is not None else ""
            sys.stdout.write(f"  {item.act:6} {old}{printable(item.path)}\n")
        if len(found.changes) > NAMED_CHANGES:
            sys.stdout.write(f"  … {len(found.changes) - NAMED_CHANGES} more; --json shows all\n")
        for problem in found.problems:
            sys.stdout.write(f"  problem: {problem}\n")
    if arguments.json:
        sys.stdout.write(json.dumps(documents, indent=2) + "\n")
    return ExitCode.OK


def status_command(arguments: argparse.Namespace) -> ExitCode:
    """``offsite status``: exits with INCOMPLETE unless the last run of every job was ok."""
    policy = load_policy(arguments.policy)
    worst = ExitCode.OK
    documents: dict[str, object] = {}
    for job in _jobs(policy, arguments.job):
        path = record_path(policy.state_dir, job.name, "last")
        running = _is_running(policy, job)
        document = read_json(path) if path.exists() else None
        documents[job.name] = document
        if not isinstance(document, dict):
            worst = ExitCode.INCOMPLETE
            if not arguments.json:
                sys.stdout.write(f"{job.name}: no run has ended yet{running}\n")
            continue
        if document["verdict"] != "ok":
            worst = ExitCode.INCOMPLETE
        if not arguments.json:
            age = human_seconds(max(time.time() - float(document["started_epoch"]), 0))
            sys.stdout.write(f"{summary(document)} (begun {age} ago){running}\n")
    if arguments.json:
        sys.stdout.write(json.dumps(documents, indent=2) + "\n")
    return worst


def _is_running(policy: OffsitePolicy, job: Job) -> str:
    try:
        with job_lock(policy, job):
            return ""
    except LockedError:
        return " (a run is going on)"
