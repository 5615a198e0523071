# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be set about the lab, all of it through environment variables.

========================  =======================================================
HOMELAB_LAB               name of the instance (default ``main``)
HOMELAB_LAB_CACHE         cache directory (default ``~/.cache/homelab-backup-lab``)
HOMELAB_LAB_MIRROR        Debian mirror (default: the one that this machine's apt uses)
HOMELAB_LAB_MEMORY        guest memory in MiB (default 2560)
HOMELAB_LAB_NAS_SIZE      size of the NAS volume in MiB (default 4096)
HOMELAB_LAB_ACCEL         ``auto`` (default), ``kvm`` or ``tcg``
========================  =======================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError

CONTROLLER = "10.0.10.1"
"""Address of this machine inside the lab's namespace; the guest's gateway."""
STORAGE = "10.0.10.15"
"""Address of the guest ``truenas``, as in the specification."""
NAS = "192.168.1.13"
"""Address of the NAS stand-in, as in the specification."""
NAS_FAR = "192.168.1.14"
"""The same NAS behind a relay that adds a round-trip time."""
SSH_PORT = 22
AGENT_PORT = 5001
"""TCP port of the command agent in the guest; it answers `CONTROLLER` only."""
FAR_ROUND_TRIP_MS = 20

RUN_ROOT = Path("/run/homelab-backup-lab")
"""Sockets, process ids and mounts: gone after a reboot, as what they describe."""

_INSTANCE = re.compile(r"[a-z][a-z0-9-]{0,19}")


_MIRROR = re.compile(r"https?://\S+/debian(?=/?(\s|$))")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one call.

    Sizes are in MiB. ``cache`` is shared by all instances, ``run`` belongs to one.
    """

    instance: str
    cache: Path
    mirror: str
    memory_mib: int
    nas_size_mib: int
    accel: str

    @property
    def run(self) -> Path:
        return RUN_ROOT / self.instance

    @property
    def disks(self) -> Path:
        return self.cache / f"instance-{self.instance}"

    @property
    def keys(self) -> Path:
        return self.cache / "keys"

    @property
    def namespace(self) -> str:
        return f"lab-{self.instance}"


def _number(environ: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = environ.get(name, "") or str(default)
    if not text.isdecimal() or int(text) < least:
        raise LabError(f"{name}={text!r}: expected a whole number of MiB, at least {least}")
    return int(text)


def mirror_of_apt(directory: Path = Path("/etc/apt")) -> str:
    """The Debian mirror that this machine's apt uses (sources.list(5)); "" when there is none.

    Both forms of the files are read; a mirror of Debian itself ends with ``/debian``.
    """
    files = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]
    for file in files:
        if file.suffix not in (".list", ".sources") or not file.is_file():
            continue
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            found = None if line.lstrip().startswith("#") else _MIRROR.search(line)
            if found:
                return found[0]
    return ""


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment.

    :raises LabError: a value that can't be used; the message names the variable.
    """
    env = os.environ if environ is None else environ
    instance = env.get("HOMELAB_LAB", "") or "main"
    if not _INSTANCE.fullmatch(instance):
        raise LabError(
            f"HOMELAB_LAB={instance!r}: expected a lower-case letter, then up to 19 lower-case"
            " letters, digits or hyphens"
        )
    accel = env.get("HOMELAB_LAB_ACCEL", "") or "auto"
    if accel not in ("auto", "kvm", "tcg"):
        raise LabError(f"HOMELAB_LAB_ACCEL={accel!r}: expected auto, kvm or tcg")
    cache = env.get("HOMELAB_LAB_CACHE", "")
    return Settings(
        instance=instance,
        cache=(Path(cache) if cache else Path.home() / ".cache" / "homelab-backup-lab").absolute(),
        mirror=(env.get("HOMELAB_LAB_MIRROR", "") or mirror_of_apt()).rstrip("/"),
        memory_mib=_number(env, "HOMELAB_LAB_MEMORY", 2560, 1024),
        nas_size_mib=_number(env, "HOMELAB_LAB_NAS_SIZE", 4096, 16),
        accel=accel,
    )
