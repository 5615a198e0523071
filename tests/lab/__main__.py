# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the lab: ``python -m tests.lab up``, and so on."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from .errors import LabError
from .instance import Lab, status
from .settings import load


def _up(lab: Lab, dummy: argparse.Namespace) -> int:
    lab.up()
    print(status(lab.settings))
    return 0


def _down(lab: Lab, dummy: argparse.Namespace) -> int:
    lab.down()
    return 0


def _build(lab: Lab, dummy: argparse.Namespace) -> int:
    lab.build()
    return 0


def _reset(lab: Lab, options: argparse.Namespace) -> int:
    took = lab.reset(options.state)
    print(f"lab {lab.settings.instance}: state {options.state} loaded in {took:.1f} s")
    return 0


def _save(lab: Lab, options: argparse.Namespace) -> int:
    lab.save(options.state)
    return 0


def _status(lab: Lab, dummy: argparse.Namespace) -> int:
    print(status(lab.settings))
    return 0 if lab.is_up() else 3


def _exec(lab: Lab, options: argparse.Namespace) -> int:
    lab.require_up()
    command = options.command
    stdin = sys.stdin.buffer.read() if options.stdin else b""
    line = command[0] if len(command) == 1 else command
    result = lab.guest.run(line, check=False, stdin=os.fsdecode(stdin), timeout=None)
    sys.stdout.buffer.write(result.out)
    sys.stdout.flush()
    sys.stderr.buffer.write(result.err)
    return result.rc if result.rc >= 0 else 128 - result.rc


def _ssh(lab: Lab, options: argparse.Namespace) -> int:
    return _become(lab, lab.ssh(*(options.command or ["truenas"])))


def _inside(lab: Lab, options: argparse.Namespace) -> int:
    return _become(lab, lab.inside(*(options.command or ["bash"])))


def _become(lab: Lab, argv: list[str]) -> int:
    os.execvpe(argv[0], argv, {**os.environ, **lab.environment()})


def main() -> int:
    """Run one command; a LabError is one line on standard error and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    def add(
        name: str, action: Callable[[Lab, argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(action=action)
        return command

    add("up", _up, "build what is missing and start the instance in its pristine state")
    add("down", _down, "stop the instance and forget it; the cache stays")
    add("build", _build, "build what is missing, start nothing")
    add("status", _status, "where everything is; exit status 3 if the instance isn't up")
    reset = add("reset", _reset, "guest and NAS back to the pristine or a saved state")
    reset.add_argument("--to", dest="state", default="golden", metavar="STATE")
    save = add("save", _save, "keep the present state of guest and NAS until 'down'")
    save.add_argument("state", metavar="STATE")
    for name, action, text in (
        ("exec", _exec, "run a command in the guest as root: one argument is a shell line"),
        ("ssh", _ssh, "SSH to the guest, or with arguments of ssh to another host of the lab"),
        ("inside", _inside, "run a program of this machine inside the lab's network"),
    ):
        command = add(name, action, text)
        if name == "exec":
            command.add_argument("-i", "--stdin", action="store_true", help="pass stdin on")
        command.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.name in ("exec", "ssh", "inside") and options.command[:1] == ["--"]:
        options.command = options.command[1:]
    if options.name == "exec" and not options.command:
        parser.error("exec: no command")
    try:
        done: int = options.action(Lab(load()), options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return done


if __name__ == "__main__":
    sys.exit(main())
