# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are either old or new, never half; and locks that die with their holder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    LockedError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.formats import canonical_json

__all__ = [
    "canonical_json",
    "exclusive_lock",
    "read_json",
    "sync_directory",
    "write_atomically",
]


def sync_directory(path: Path) -> None:
    """Make a rename in ``path`` durable (fsync(2): a file's fsync does not cover its entry)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace ``path`` by ``content``: written beside it, fsynced, renamed.

    Killed at any point, the old file or the new one is there, whole.

    Raises:
        OSError: the directory is missing, full or read-only.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fchmod(handle.fileno(), mode)
            os.fsync(handle.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_directory(path.parent)


def read_json(path: Path) -> object:
    """The JSON document in ``path``.

    Raises:
        ConfigError: missing, unreadable or not JSON; the error names the file.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        raise ConfigError(
            "read the file", on=str(path), found="it does not exist", remedy="run the playbook"
        ) from exc
    except OSError as exc:
        raise ConfigError("read the file", on=str(path), found=str(exc.strerror)) from exc
    except ValueError as exc:
        raise ConfigError(
            "read the file",
            on=str(path),
            found=f"it is not JSON: {exc}",
            remedy="restore it from a snapshot or run the playbook",
        ) from exc


@contextlib.contextmanager
def exclusive_lock(path: Path, what: str) -> Iterator[int]:
    """Hold an exclusive flock(2) on ``path``; yields the descriptor for children to inherit.

    The kernel drops the lock when the last process that inherited the
    descriptor has ended, so neither a kill nor a reboot leaves it stale, and a
    transfer that outlives a killed run still blocks the next one.

    Raises:
        LockedError: someone holds it; the error says who.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            holder = os.pread(descriptor, 200, 0).decode("ascii", errors="replace").strip()
            raise LockedError(
                f"start {what}",
                on=str(path),
                found=f"it is running already ({holder or 'holder unknown'})",
                remedy="wait for it to end; 'fuser -v' on the lock file names the processes",
            ) from exc
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}".encode("ascii"), 0)
        os.set_inheritable(descriptor, True)
        yield descriptor
    finally:
        os.close(descriptor)
