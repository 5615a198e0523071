# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Command line of ``homelab-backup.pyz``.

Results go to standard output, errors to standard error, the exit status is an
:class:`ExitCode`. Everything that a subcommand does is in its domain's packages; here are the
arguments, the one place where errors become text, and nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    ExitCode,
)
from ansible_collections.homelab.backup.plugins.module_utils._runner.registration import (
    ExactParser,
    Register,
    run_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._runner.version import VERSION

PROGRAM = "homelab-backup"

# The first word of a command line, each with its cli_*.py in this package.
DOMAINS = ("snapshots", "offsite")
PACKAGE = "ansible_collections.homelab.backup.plugins.module_utils._runner"


def domains_for(argv: Sequence[str]) -> tuple[Register, ...]:
    """The domains that a command line can mean.

    A zipapp holds sources only, so each start compiles what it imports: the timer's snapshot
    runs must not pay for the offsite copy.
    """
    first = argv[0] if argv else ""
    if first == "--version":
        return ()
    names = (first,) if first in DOMAINS else DOMAINS
    return tuple(importlib.import_module(f"{PACKAGE}.cli_{name}").register for name in names)


def build_parser(domains: Sequence[Register]) -> argparse.ArgumentParser:
    """The command line with the subcommands of all domains."""
    parser = ExactParser(
        prog=PROGRAM,
        description="Snapshots and offsite copies of this storage host.",
        epilog="Exit status: " + ", ".join(f"{code.value} {code.name}" for code in ExitCode),
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {VERSION}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=ExactParser)
    for register in domains:
        register(subparsers)
    return parser


def error_block(error: BackupError) -> str:
    """An error as lines for a person and for a log: what was tried, on what, found, to do."""
    lines = [f"{PROGRAM}: {type(error).__name__}: could not {error.tried}"]
    for label, value in (("on", error.on), ("found", error.found), ("do", error.remedy)):
        if value:
            lines.append(f"  {label + ':':7}" + value.replace("\n", "\n" + 9 * " "))
    return "\n".join(lines)


def report_error(text: str) -> None:
    """Write lines to standard error, which escapes what its encoding lacks."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run(argv: Sequence[str], domains: Sequence[Register]) -> int:
    """Run one subcommand and map its errors to an exit status.

    Raises:
        SystemExit: by argparse, for ``--help``, ``--version`` and wrong usage (status 2).
    """
    arguments = build_parser(domains).parse_args(argv)
    try:
        return run_of(arguments)(arguments)
    except BackupError as error:
        report_error(error_block(error))
        return error.exit_code
    except KeyboardInterrupt:
        report_error(f"{PROGRAM}: interrupted; the next run goes on from what is complete")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (| head). The interpreter would complain again
        # when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except OSError as error:
        # A full or failing disk of this host; any other surprise keeps its traceback.
        report_error(f"{PROGRAM}: {type(error).__name__}: {error}")
        return ExitCode.FAILED


def interrupt(dummy_signal: int, dummy_frame: FrameType | None) -> None:
    """Let a SIGTERM (shutdown, timeout of cron's wrapper) end a run like Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of the zipapp."""
    signal.signal(signal.SIGTERM, interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the locale's encoding lacks must not end a run; a log is read while it
        # grows.
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    argv = sys.argv[1:]
    raise SystemExit(run(argv, domains_for(argv)))


if __name__ == "__main__":
    main()
