# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""What the cases are made of: content that is the same each time, changes that keep the times."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
from collections.abc import Callable, Generator
from pathlib import Path

Case = Callable[[Path], Generator[None, None, None]]
MIB = 1 << 20
LIBC = ctypes.CDLL(None, use_errno=True)


def noise(size: int, seed: str) -> bytes:
    """Bytes that don't compress, the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


def put(path: Path, content: bytes) -> None:
    """Write a file and keep its times at a fixed moment."""
    path.write_bytes(content)
    os.utime(path, (1_700_000_000, 1_700_000_000))


def patch(path: Path, offset: int, content: bytes) -> None:
    """Write in place, with size and mtime as they were."""
    before = path.stat()
    with path.open("r+b") as handle:
        handle.seek(offset)
        handle.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@contextlib.contextmanager
def same_times(path: Path) -> Generator[None, None, None]:
    """Put a file's mtime back afterwards."""
    before = path.stat()
    yield
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def checked(result: int, what: str) -> None:
    """Fail when a C function returned non-zero."""
    if result != 0:
        raise OSError(ctypes.get_errno(), what)
