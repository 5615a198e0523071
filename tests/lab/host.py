# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine must bring: root, room on the disk, a few Debian packages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .errors import LabError
from .processes import run
from .progress import Progress

BUILD_MIB = 4096
"""Free space that a build from nothing needs, including what it removes again."""
START_MIB = 2560
"""Free space that one more running instance may come to need."""

_PACKAGES = {
    "qemu-system-x86": "qemu-system-x86_64",
    "qemu-utils": "qemu-img",
    "openssh-client": "ssh-keygen",
    "iproute2": "ip",
    "e2fsprogs": "mke2fs",
    "util-linux": "setpriv",
    "debootstrap": "debootstrap",
}
"""Debian package and the program that shows that it is there."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def require_root() -> None:
    """
    :raises LabError: not root.
    """
    if os.geteuid() != 0:
        raise LabError(
            f"the lab needs root (user id is {os.geteuid()}): it makes network namespaces, mounts"
            " and file systems with root's ownership. Run it with sudo, or in a machine of its own"
        )


def require_space(cache: Path, needed_mib: int, purpose: str) -> None:
    """
    :raises LabError: less than ``needed_mib`` is free where the cache is.
    """
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free // 2**20
    if free < needed_mib:
        raise LabError(
            f"{cache} has {free} MiB free, {purpose} needs {needed_mib} MiB. Make room, or set"
            " HOMELAB_LAB_CACHE to a directory on a larger disk"
        )


def require_packages(progress: Progress) -> None:
    """Install what is missing with apt; none of these packages starts a service.

    :raises LabError: missing and apt-get isn't there or fails.
    """
    missing = sorted(
        name for name, program in _PACKAGES.items() if not shutil.which(program, path=_PATH)
    )
    if not missing:
        return
    if not shutil.which("apt-get", path=_PATH):
        raise LabError(
            f"missing programs of the packages {', '.join(missing)}, and there is no apt-get:"
            " the lab builds itself on Debian 12 or 13"
        )
    progress.say(f"installing with apt: {' '.join(missing)}")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    try:
        run(install, env=env, timeout_s=900)
    except LabError:
        run(["apt-get", "update"], env=env, timeout_s=300)
        run(install, env=env, timeout_s=900)
