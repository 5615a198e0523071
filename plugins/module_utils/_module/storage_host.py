# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``storage_host``: the runner's place on a pool, its key, the pinned host keys."""

from __future__ import annotations

import difflib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    ConfigError,
    SourceError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.files import write_atomically
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.cli import ZfsCli

OLDEST_PYTHON = (3, 11)
DIRECTORIES = {"": 0o755, "bin": 0o755, "etc": 0o755, "state": 0o700, "records": 0o700}

ARGUMENTS: dict[str, Any] = {
    "state_dir": {"type": "path", "required": True},
    "pools": {"type": "list", "elements": "str", "required": True},
    "known_hosts": {"type": "list", "elements": "str", "default": []},
    "key_file": {"type": "path"},
    "key": {"type": "str", "no_log": True},
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do; ``act`` is mkdir, chmod, write or generate."""

    act: str
    path: Path
    mode: int
    content: str = ""
    secret: bool = False

    def describe(self) -> str:
        """The step in words, without what it writes."""
        words = {
            "mkdir": "create the directory",
            "chmod": f"set the mode {self.mode:04o} of",
            "write": "write",
            "generate": "generate the key",
        }
        return f"{words[self.act]} {self.path}"


def run_module() -> NoReturn:
    """Look, plan, and do what is missing."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = _converge(module)
    except BackupError as error:
        module.fail_json(msg=str(error), error=error.facts())
    module.exit_json(**result)


def _converge(module: AnsibleModule) -> dict[str, Any]:
    options: dict[str, Any] = module.params
    if sys.version_info < OLDEST_PYTHON:
        raise ConfigError(
            "prepare the storage host",
            on=sys.executable,
            found=f"it is Python {sys.version.split()[0]}",
            remedy="the runner needs 3.11 or newer; set ansible_python_interpreter",
        )
    commands = SubprocessCommands()
    zfs = ZfsCli(commands)
    guids = {pool: str(zfs.pool_guid(pool)) for pool in options["pools"]}
    state_dir = Path(options["state_dir"])
    _check_place(state_dir)
    steps = plan(options, state_dir)
    result: dict[str, Any] = {
        "changed": bool(steps),
        "ready": (state_dir / "bin").is_dir(),
        "pool_guids": guids,
        "steps": [step.describe() for step in steps],
    }
    if module._diff:
        result["diff"] = [_diff(step) for step in steps]
    if not module.check_mode:
        for step in steps:
            _do(step, commands)
        result["ready"] = True
    key_file = options["key_file"]
    if key_file and Path(key_file).exists():
        shown = commands.run(["ssh-keygen", "-y", "-f", key_file], timeout=60)
        if not shown.ok:
            raise ConfigError(
                "read the key",
                on=key_file,
                found=shown.complaint,
                remedy="the key must be an OpenSSH private key without a passphrase",
            )
        result["public_key"] = shown.stdout.decode().strip()
    return result


def _check_place(state_dir: Path) -> None:
    """The directory has to be on a mounted pool: elsewhere an upgrade would lose it."""
    above = state_dir
    while not above.exists():
        above = above.parent
    device = os.stat(above).st_dev
    for line in Path("/proc/self/mountinfo").read_text("utf-8", errors="replace").splitlines():
        fields, dummy, rest = line.partition(" - ")
        major, dummy_colon, minor = fields.split()[2].partition(":")
        if os.makedev(int(major), int(minor)) == device and rest.split()[0] == "zfs":
            return
    raise SourceError(
        "prepare the storage host",
        on=str(state_dir),
        found=f"{above} is not on a mounted ZFS dataset",
        remedy="import the pool and mount its dataset, or name a directory on a pool",
    )


def plan(options: dict[str, Any], state_dir: Path) -> list[Step]:
    """What is missing, in the order in which it is done."""
    steps: list[Step] = []
    for name, mode in DIRECTORIES.items():
        path = state_dir / name
        if not path.exists():
            steps.append(Step("mkdir", path, mode))
        elif stat.S_IMODE(path.stat().st_mode) != mode:
            steps.append(Step("chmod", path, mode))
    lines = "".join(f"{line}\n" for line in options["known_hosts"])
    steps.extend(_file(state_dir / "etc" / "known_hosts", lines, 0o644, secret=False))
    key_file = options["key_file"]
    if not key_file:
        return steps
    if options["key"]:
        steps.extend(_file(Path(key_file), options["key"].strip() + "\n", 0o600, secret=True))
    elif not Path(key_file).exists():
        steps.append(Step("generate", Path(key_file), 0o600, secret=True))
    return steps


def _file(path: Path, content: str, mode: int, *, secret: bool) -> list[Step]:
    if path.exists() and path.read_text("utf-8", errors="replace") == content:
        right = stat.S_IMODE(path.stat().st_mode) == mode
        return [] if right else [Step("chmod", path, mode)]
    return [Step("write", path, mode, content, secret)]


def _do(step: Step, commands: SubprocessCommands) -> None:
    if step.act == "mkdir":
        step.path.mkdir(mode=step.mode, parents=True)
        step.path.chmod(step.mode)
    elif step.act == "chmod":
        step.path.chmod(step.mode)
    elif step.act == "write":
        write_atomically(step.path, step.content.encode("utf-8"), step.mode)
    else:
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "homelab-backup"]
        made = commands.run([*argv, "-f", str(step.path)], timeout=60)
        if not made.ok:
            raise ConfigError("generate the key", on=str(step.path), found=made.complaint)


def _diff(step: Step) -> dict[str, str]:
    if step.act != "write" or step.secret:
        return {"prepared": f"{step.describe()}\n"}
    before = step.path.read_text("utf-8", errors="replace") if step.path.exists() else ""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        step.content.splitlines(keepends=True),
        str(step.path) if before else "(no file)",
        str(step.path),
    )
    return {"prepared": "".join(lines)}
