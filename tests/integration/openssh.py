# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""OpenSSH's SFTP server as a program of this machine, without a network."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

PLACES = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")
PACKAGE = "openssh-sftp-server"
"""Debian's package; it starts no service."""

DELAY = Path(__file__).resolve().parents[1] / "bench" / "delay.py"


@functools.cache
def sftp_server() -> str:
    """The server's path; installs its package where it is missing."""
    if not any(map(os.path.exists, PLACES)):
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", PACKAGE]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        if subprocess.run(install, env=environment, check=False).returncode:
            subprocess.run(["apt-get", "update", "-q"], check=True)
            subprocess.run(install, env=environment, check=True)
    return next(place for place in PLACES if os.path.exists(place))


def server_argv(*options: str, delay: float = 0) -> list[str]:
    """The server with these options, behind a link of ``delay`` seconds one way."""
    link = [sys.executable, "-I", str(DELAY), "exec", str(delay)] if delay else []
    return [*link, sftp_server(), *options]
