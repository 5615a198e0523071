# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Changes of content and of metadata; see ``cases`` for how they are run."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import subprocess
from collections.abc import Generator
from pathlib import Path

from tests.integration.send_stream.tools import LIBC, MIB, checked, noise, patch, put, same_times

FICLONE = 0x40049409
FICLONERANGE = 0x4020940D
FS_IOC_SETFLAGS = 0x40086602
PUNCH_HOLE_KEEP_SIZE = 3


def created(top: Path) -> Generator[None, None, None]:
    yield
    put(top / "f", b"new\n")
    put(top / "empty", b"")
    put(top / "big", noise(MIB + 5, "big"))


def same_size_and_mtime(top: Path) -> Generator[None, None, None]:
    for size in (1, 100, 4096, 200_000, MIB):
        put(top / f"f{size}", noise(size, f"old{size}"))
    yield
    for size in (1, 100, 4096, 200_000, MIB):
        patch(top / f"f{size}", 0, noise(size, f"new{size}"))


def one_block_of_a_large_file(top: Path) -> Generator[None, None, None]:
    put(top / "f", noise(4 * MIB, "large"))
    yield
    patch(top / "f", 3 * MIB + 3, b"X")


def appended(top: Path) -> Generator[None, None, None]:
    put(top / "f", noise(1000, "f"))
    put(top / "g", noise(300_000, "g"))
    yield
    for name in "fg":
        with (top / name).open("ab") as handle:
            handle.write(noise(70_000, "tail"))


def cut(top: Path) -> Generator[None, None, None]:
    put(top / "in_block", noise(3000, "a"))
    put(top / "blocks", noise(MIB, "b"))
    put(top / "all", noise(MIB, "c"))
    yield
    os.truncate(top / "in_block", 1000)
    os.truncate(top / "blocks", 512 * 1024)
    os.truncate(top / "all", 0)


def cut_and_grown_again(top: Path) -> Generator[None, None, None]:
    """The same size and mtime, but zeros: partly known by the last block's end only."""
    keeps = {"all": 0, "first_block": 128 * 1024, "in_block": 1000, "last_byte": MIB - 1}
    for name in keeps:
        put(top / name, noise(MIB, name))
    put(top / "small", noise(700, "small"))
    yield
    for name, keep in keeps.items():
        with same_times(top / name):
            os.truncate(top / name, keep)
            os.truncate(top / name, MIB)
    with same_times(top / "small"):
        os.truncate(top / "small", 0)
        os.truncate(top / "small", 700)


def cut_grown_and_end_written(top: Path) -> Generator[None, None, None]:
    put(top / "f", noise(2 * MIB, "f"))
    yield
    with same_times(top / "f"):
        os.truncate(top / "f", 0)
        os.truncate(top / "f", 2 * MIB)
        patch(top / "f", 2 * MIB - 100, noise(2 * MIB, "f")[-100:])


def grown_by_a_hole(top: Path) -> Generator[None, None, None]:
    put(top / "f", noise(1000, "f"))
    put(top / "empty", b"")
    yield
    os.truncate(top / "f", 5 * MIB)
    os.truncate(top / "empty", 3)


def hole_punched(top: Path) -> Generator[None, None, None]:
    for name in ("first", "middle", "part", "end"):
        put(top / name, noise(MIB, name))
    yield
    places = {
        "first": (0, 131072),
        "middle": (262144, 262144),
        "part": (5000, 100),
        "end": (MIB - 131072, 131072),
    }
    for name, (offset, length) in places.items():
        with same_times(top / name), (top / name).open("r+b") as handle:
            where = (ctypes.c_long(offset), ctypes.c_long(length))
            checked(LIBC.fallocate(handle.fileno(), PUNCH_HOLE_KEEP_SIZE, *where), "fallocate")


def zeros_written(top: Path) -> Generator[None, None, None]:
    """With compression a block of zeros is stored as a hole."""
    put(top / "small", noise(800, "small"))
    put(top / "one", noise(MIB, "one"))
    put(top / "all", noise(MIB, "all"))
    yield
    patch(top / "small", 0, bytes(800))
    patch(top / "one", 131072, bytes(131072))
    patch(top / "all", 0, bytes(MIB))


def hole_filled(top: Path) -> Generator[None, None, None]:
    for name in ("f", "zeros"):
        put(top / name, b"")
        os.truncate(top / name, 10 * MIB)
        patch(top / name, 9 * MIB, b"end")
    yield
    patch(top / "f", 4 * MIB, b"here")
    patch(top / "zeros", 4 * MIB, bytes(4096))


def huge_and_sparse(top: Path) -> Generator[None, None, None]:
    put(top / "f", b"begin")
    os.truncate(top / "f", 1 << 40)
    yield
    patch(top / "f", (1 << 40) - 5, b"X")


def written_through_a_map(top: Path) -> Generator[None, None, None]:
    put(top / "f", noise(MIB, "f"))
    yield
    with (
        same_times(top / "f"),
        (top / "f").open("r+b") as handle,
        mmap.mmap(handle.fileno(), 0) as view,
    ):
        view[600_000:600_003] = b"XYZ"
        view.flush()


def reflinked(top: Path) -> Generator[None, None, None]:
    """Block cloning: the file's blocks are as old as the source's, but new to the file."""
    block = os.statvfs(top).f_bsize
    for name in ("source", "whole", "part"):
        put(top / name, noise(4 * block, name))
    yield
    with (top / "source").open("rb") as source:
        with same_times(top / "whole"), (top / "whole").open("r+b") as target:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        with same_times(top / "part"), (top / "part").open("r+b") as target:
            asked = struct.pack("qQQQ", source.fileno(), 2 * block, block, 2 * block)
            fcntl.ioctl(target.fileno(), FICLONERANGE, asked)
        with (top / "copy").open("wb") as target:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())


def embedded_blocks(top: Path) -> Generator[None, None, None]:
    """Blocks that compress to 112 bytes live in the block pointer."""
    put(top / "f", b"a" * 400)
    put(top / "g", b"b" * 100_000)
    yield
    patch(top / "f", 7, b"X")
    patch(top / "g", 70_000, b"X")


def block_size_grows(top: Path) -> Generator[None, None, None]:
    put(top / "f", b"x" * 600)
    yield
    with (top / "f").open("ab") as handle:
        handle.write(noise(5000, "f"))


def rewritten_as_it_was(top: Path) -> Generator[None, None, None]:
    put(top / "f", noise(MIB, "f"))
    yield
    patch(top / "f", 0, noise(MIB, "f"))


def sparse_untouched(top: Path) -> Generator[None, None, None]:
    put(top / "f", b"")
    os.truncate(top / "f", 8 * MIB)
    patch(top / "f", 8 * MIB - 3, b"end")
    put(top / "neighbour", b"x")
    yield
    (top / "neighbour").chmod(0o600)


def sparse_metadata(top: Path) -> Generator[None, None, None]:
    put(top / "f", b"")
    os.truncate(top / "f", 8 * MIB)
    patch(top / "f", 8 * MIB - 3, b"end")
    yield
    (top / "f").chmod(0o600)


def mode_owner_and_times(top: Path) -> Generator[None, None, None]:
    for name in ("chmod", "chown", "touch", "utime", "flags"):
        put(top / name, noise(5000, name))
    (top / "dir").mkdir()
    yield
    (top / "chmod").chmod(0o4711)
    os.chown(top / "chown", 1000, 1001)
    (top / "touch").touch()
    os.utime(top / "utime", (5, 5))
    with (top / "flags").open("rb") as handle:
        fcntl.ioctl(handle.fileno(), FS_IOC_SETFLAGS, struct.pack("l", 0x40))
    (top / "dir").chmod(0o700)


def xattrs(top: Path) -> Generator[None, None, None]:
    for name in ("new", "changed", "removed", "large", "many", "gone_large"):
        put(top / name, noise(3000, name))
    os.setxattr(top / "changed", "user.k", b"1")
    os.setxattr(top / "removed", "user.k", b"1")
    os.setxattr(top / "gone_large", "user.k", noise(5000, "v"))
    (top / "dir").mkdir()
    yield
    os.setxattr(top / "new", "user.k", b"1")
    os.setxattr(top / "changed", "user.k", b"2")
    os.removexattr(top / "removed", "user.k")
    os.setxattr(top / "large", "user.k", noise(5000, "v"))
    for number in range(40):
        os.setxattr(top / "many", f"user.k{number}", noise(40, str(number)))
    os.removexattr(top / "gone_large", "user.k")
    os.setxattr(top / "dir", "user.k", b"1")


def spill_block_changed(top: Path) -> Generator[None, None, None]:
    put(top / "f", noise(3000, "f"))
    os.setxattr(top / "f", "user.k", noise(5000, "one"))
    put(top / "content", noise(3000, "g"))
    os.setxattr(top / "content", "user.k", noise(5000, "one"))
    yield
    os.setxattr(top / "f", "user.k", noise(5000, "two"))
    patch(top / "content", 0, b"X")


def acls(top: Path) -> Generator[None, None, None]:
    put(top / "f", noise(3000, "f"))
    (top / "dir").mkdir()
    yield
    subprocess.run(["setfacl", "-m", "u:1000:rw", top / "f"], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:1000:rwx", top / "dir"], check=True)
