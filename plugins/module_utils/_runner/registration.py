# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""How a domain adds its subcommands to the runner.

A module ``cli_<domain>.py`` of this package has a function
``register(subparsers: Subparsers) -> None``. For each subcommand it calls
``subparsers.add_parser(name, help=…)``, adds arguments, and hands the function that runs it
to :func:`runs`. That function gets the parsed arguments, returns an :class:`ExitCode`, and
raises a :class:`BackupError` for what an operator can act on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ExitCode


class ExactParser(argparse.ArgumentParser):
    """Takes options by their full names only: a typo never becomes another option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})


Subparsers: TypeAlias = "argparse._SubParsersAction[ExactParser]"
Run: TypeAlias = Callable[[argparse.Namespace], ExitCode]
Register: TypeAlias = Callable[[Subparsers], None]


def runs(parser: argparse.ArgumentParser, function: Run) -> None:
    """Let ``parser``'s subcommand be run by ``function``."""
    parser.set_defaults(run=function)


def run_of(arguments: argparse.Namespace) -> Run:
    """The function that :func:`runs` bound to the chosen subcommand."""
    function: Run = arguments.run
    return function
