# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Runs parts of the core in the storage guest, from a copy of their source files."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from tests.lab.guest import Guest, Result

REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = "/root/core"
COLLECTION = "ansible_collections/homelab/backup"
M = "ansible_collections.homelab.backup.plugins.module_utils"
FAILURE = "failure: "

# Code that raises one of the core's errors says what it was instead of failing.
PRELUDE = f"""
import json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, {ROOT!r})
from {M}._core.errors import BackupError
from {M}._core.process import SubprocessCommands
"""
BODY = """
try:
    exec(compile({code!r}, "code of a test", "exec"))
except BackupError as exc:
    facts = dict(exc.facts(), type=type(exc).__name__)
    sys.stdout.write({failure!r} + json.dumps(facts))
"""


def ship(guest: Guest, *packages: str) -> None:
    """Copy the core, and packages of ``tests/integration``, into the guest."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        core = REPOSITORY / "plugins" / "module_utils"
        for path in sorted(core.rglob("*.py")):
            archive.add(path, Path(COLLECTION, path.relative_to(REPOSITORY)).as_posix())
        for package in packages:
            for path in sorted((REPOSITORY / "tests" / "integration" / package).glob("*.py")):
                archive.add(path, path.relative_to(REPOSITORY).as_posix())
    command = f"rm -rf {ROOT} && mkdir {ROOT} && tar xC {ROOT}"
    guest.run(command, stdin=packed.getvalue())


def run_module(guest: Guest, module: str, **asked: object) -> Any:
    """Run a shipped module with its question as JSON; its answer."""
    argv = ["python3", "-B", "-m", module, json.dumps(asked)]
    return json.loads(guest.run(argv, env={"PYTHONPATH": ROOT}, cwd=ROOT, timeout=900).out)


def run_code(guest: Guest, code: str, *argv: str) -> Any:
    """Run code that writes one JSON document to standard output; the document.

    ``BackupError`` and ``SubprocessCommands`` are imported already; ``M`` in
    braces stands for the core's package name.

    Raises:
        CoreError: the code raised one of the core's errors.
    """
    text = code.replace("{M}", M)
    result: Result = guest.python(PRELUDE + BODY.format(code=text, failure=FAILURE), *argv)
    if FAILURE in result.stdout:
        raise CoreError(json.loads(result.stdout.partition(FAILURE)[2]))
    return json.loads(result.stdout)


class CoreError(Exception):
    """An error of the core that was raised in the guest; ``facts`` are its parts."""

    def __init__(self, facts: dict[str, str]) -> None:
        self.facts = facts
        super().__init__(" | ".join(f"{key}: {value}" for key, value in sorted(facts.items())))
