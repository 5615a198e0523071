# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ssh_config of an instance: every host of the lab by name, pinned keys, no questions."""

from __future__ import annotations

import sys
from pathlib import Path

from . import keys, processes
from .errors import LabError
from .nas import Nas
from .settings import NAS, NAS_FAR, STORAGE, Settings

NAME = "ssh_config"
_PROJECT = Path(__file__).resolve().parent.parent.parent


def write(settings: Settings, nas: Nas) -> None:
    """Write ``ssh_config`` and ``known_hosts`` into the instance's directory.

    Host names: ``truenas``, ``nas-USER`` and ``nas-far-USER`` for each user of the NAS.
    """
    run = settings.run
    host_key = keys.public(settings.keys, "guest_host")
    (run / "known_hosts").write_text(f"{STORAGE},truenas {host_key}\n{nas.known_hosts}")
    hosts = [_host(f"truenas {STORAGE}", STORAGE, "root", settings.keys / "controller")]
    for user in nas.users:
        hosts.append(_host(f"nas-{user}", NAS, user, nas.key(user)))
        hosts.append(_host(f"nas-far-{user}", NAS_FAR, user, nas.key(user)))
    proxy = f"env PYTHONPATH={_PROJECT} {sys.executable} -m tests.lab.proxy"
    (run / NAME).write_text(
        "".join(hosts)
        + "Host *\n"
        + "  IdentitiesOnly yes\n"
        + f"  UserKnownHostsFile {run / 'known_hosts'}\n"
        + "  StrictHostKeyChecking yes\n"
        + f"  ProxyCommand {proxy} {settings.namespace} %h %p\n"
        + "  ProxyUseFdpass yes\n"
        + "  ControlMaster auto\n"
        + f"  ControlPath {run}/ssh-%C\n"
        + "  ControlPersist 600\n"
    )


def disconnect(run: Path) -> None:
    """End shared SSH connections: after a reset nobody answers on them any more."""
    for path in run.glob("ssh-*"):
        try:
            processes.run(["ssh", "-o", f"ControlPath={path}", "-O", "exit", "lab"])
        except LabError:
            path.unlink(missing_ok=True)


def _host(names: str, address: str, user: str, key: Path) -> str:
    return f"Host {names}\n  HostName {address}\n  User {user}\n  IdentityFile {key}\n"
