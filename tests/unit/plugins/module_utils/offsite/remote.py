# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""A destination for tests: OpenSSH's own sftp-server as a child process, without ssh."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import TransportError
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient

SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/lib/ssh/sftp-server")
NO_REMOVAL = ("-P", "remove,rmdir")
"""What the server refuses to the key of an offsite run."""

RUN = "20261123T060000Z-00aa"


def server() -> str:
    """The path of sftp-server; skips the test where there is none."""
    for path in SERVERS:
        if os.access(path, os.X_OK):
            return path
    found = shutil.which("sftp-server")
    if found is None:
        pytest.skip("no sftp-server here: apt install openssh-sftp-server")
    return found


def connect(*options: str) -> SftpClient:
    """A client of a new sftp-server with ``options``."""
    return SftpClient.connect([server(), *options])


def make_layout(base: Path, run: str = RUN) -> Layout:
    """The layout of a destination beneath ``base``, with its directories made."""
    layout = Layout(os.fsencode(base / "tree"), os.fsencode(base / "tree.homelab-backup"), run)
    for directory in (layout.tree, *layout.directories()):
        os.makedirs(directory, exist_ok=True)
    return layout


class Breaking:
    """A store whose connection breaks at one of the calls that change something.

    Args:
        store: the real one.
        calls: how many changing calls succeed.
        done: whether the call that breaks is done nevertheless, its answer lost.
    """

    CHANGING = ("write_file", "mkdir_many", "rename_many", "remove_many", "rmdir_many")

    def __init__(self, store: SftpClient, calls: int, *, done: bool = False) -> None:
        self._store = store
        self._calls = calls
        self._done = done
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in self.CHANGING:
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._calls == 0:
                self.broken = True
                if self._done:
                    method(*args, **kwargs)
                raise TransportError(f"do {name}", found="the test broke the connection")
            self._calls -= 1
            return method(*args, **kwargs)

        return call


def names_below(directory: bytes) -> Sequence[bytes]:
    """Every path below a directory, relative to it, sorted."""
    found = []
    for at, directories, files in os.walk(directory):
        found += [os.path.relpath(os.path.join(at, name), directory) for name in directories]
        found += [os.path.relpath(os.path.join(at, name), directory) for name in files]
    return sorted(found)
