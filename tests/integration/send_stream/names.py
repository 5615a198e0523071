# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Changes of names, and object numbers given out again; see ``cases`` for how they are run."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Generator
from pathlib import Path

from tests.integration.send_stream.tools import LIBC, MIB, checked, noise, patch, put

AT_FDCWD = -100
AT_SYMLINK_FOLLOW = 0x400
RENAME_EXCHANGE = 2


def entries_come_and_go(top: Path) -> Generator[None, None, None]:
    (top / "plus").mkdir()
    (top / "minus").mkdir()
    (top / "to_empty").mkdir()
    put(top / "minus" / "f", b"f")
    put(top / "minus" / "g", b"g")
    put(top / "to_empty" / "f", b"f")
    (top / "untouched").mkdir()
    put(top / "untouched" / "f", b"f")
    yield
    put(top / "plus" / "f", b"f")
    (top / "minus" / "f").unlink()
    (top / "to_empty" / "f").unlink()
    (top / "new" / "deep" / "deeper").mkdir(parents=True)
    put(top / "new" / "deep" / "f", b"f")


def entry_came_and_went(top: Path) -> Generator[None, None, None]:
    (top / "d").mkdir()
    put(top / "d" / "f", b"f")
    yield
    put(top / "d" / "g", b"g")
    (top / "d" / "g").unlink()


def renamed(top: Path) -> Generator[None, None, None]:
    for name in ("here", "there", "from"):
        (top / name).mkdir()
    put(top / "here" / "f", noise(3000, "f"))
    put(top / "from" / "g", noise(3000, "g"))
    put(top / "from" / "h", noise(3000, "h"))
    yield
    (top / "here" / "f").rename(top / "here" / "f2")
    (top / "from" / "g").rename(top / "there" / "g")
    (top / "from" / "h").rename(top / "there" / "h")
    patch(top / "there" / "h", 0, b"X")


def directory_moved(top: Path) -> Generator[None, None, None]:
    for name in ("a", "b", "a/tree", "a/tree/sub", "a/only_renamed"):
        (top / name).mkdir()
    for name in ("a/tree/f", "a/tree/sub/g", "a/only_renamed/h"):
        put(top / name, noise(2000, name))
    yield
    (top / "a" / "tree").rename(top / "b" / "tree")
    (top / "a" / "only_renamed").rename(top / "a" / "renamed")


def exchanged(top: Path) -> Generator[None, None, None]:
    put(top / "f", noise(2000, "f"))
    put(top / "g", noise(2000, "g"))
    (top / "d").mkdir()
    put(top / "d" / "x", b"x")
    (top / "e").mkdir()
    yield
    names = [os.fsencode(top / name) for name in "fgde"]
    for first, second in (names[:2], names[2:]):
        checked(LIBC.renameat2(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE), "renameat2")


def saved_by_rename(top: Path) -> Generator[None, None, None]:
    put(top / "f", noise(2000, "old"))
    yield
    put(top / ".f.tmp", noise(2000, "new"))
    (top / ".f.tmp").rename(top / "f")


def hard_links(top: Path) -> Generator[None, None, None]:
    (top / "other").mkdir()
    for name in ("added", "removed", "both"):
        put(top / name, noise(2000, name))
    (top / "other" / "removed").hardlink_to(top / "removed")
    (top / "other" / "both").hardlink_to(top / "both")
    yield
    (top / "added2").hardlink_to(top / "added")
    (top / "other" / "added3").hardlink_to(top / "added")
    (top / "other" / "removed").unlink()
    (top / "both").unlink()
    (top / "both2").hardlink_to(top / "other" / "both")


def hard_link_with_orphaned_parent(top: Path) -> Generator[None, None, None]:
    """zfs diff says nothing of these: the last made name, which the inode remembers, is gone."""
    (top / "download").mkdir()
    (top / "library").mkdir()
    for name in ("modified", "deleted", "renamed"):
        put(top / "library" / name, noise(5000, name))
        (top / "download" / name).hardlink_to(top / "library" / name)
    for name in ("modified", "deleted", "renamed"):
        (top / "download" / name).unlink()
    yield
    patch(top / "library" / "modified", 10, b"X")
    (top / "library" / "deleted").unlink()
    (top / "library" / "renamed").rename(top / "library" / "renamed2")


def hard_link_made_and_removed(top: Path) -> Generator[None, None, None]:
    (top / "d").mkdir()
    put(top / "f", noise(5000, "f"))
    yield
    (top / "d" / "g").hardlink_to(top / "f")
    (top / "d" / "g").unlink()
    put(top / "d" / "stays", b"x")
    patch(top / "f", 10, b"X")


def symlinks(top: Path) -> Generator[None, None, None]:
    for name in ("same_length", "longer", "over"):
        (top / name).symlink_to("target-a")
    (top / "long").symlink_to("x" * 900)
    yield
    for name, target in (("same_length", "target-b"), ("longer", "t" * 900), ("long", "y" * 900)):
        (top / name).unlink()
        (top / name).symlink_to(target)
    (top / ".over").symlink_to("target-b")
    (top / ".over").rename(top / "over")
    os.chown(top / "longer", 5, 5, follow_symlinks=False)


def kinds_swap(top: Path) -> Generator[None, None, None]:
    put(top / "file_to_dir", b"x")
    put(top / "file_to_link", b"x")
    (top / "dir_to_file").mkdir()
    os.mkfifo(top / "fifo")
    yield
    (top / "file_to_dir").unlink()
    (top / "file_to_dir").mkdir()
    put(top / "file_to_dir" / "x", b"x")
    (top / "file_to_link").unlink()
    (top / "file_to_link").symlink_to("x")
    (top / "dir_to_file").rmdir()
    put(top / "dir_to_file", b"x")
    (top / "fifo").chmod(0o600)
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(top / "socket"))


def deleted(top: Path) -> Generator[None, None, None]:
    (top / "tree" / "sub").mkdir(parents=True)
    put(top / "tree" / "sub" / "f", noise(MIB, "f"))
    put(top / "f", noise(3000, "f"))
    yield
    shutil.rmtree(top / "tree")
    (top / "f").unlink()


def large_directory(top: Path) -> Generator[None, None, None]:
    """Entries in many blocks, of which only the changed ones are sent.

    Names of 50 bytes and more make a directory a fat zap (MZAP_NAME_LEN in
    include/sys/zap_impl.h), shorter ones a long micro zap.
    """
    fat, micro = "a name of more than fifty bytes, as films and songs have, {:04d}", "short {:04d}"
    (top / "untouched").mkdir()
    os.symlink("x", top / "untouched" / fat.format(0))
    for kind, name in (("fat", fat), ("micro", micro)):
        (top / kind).mkdir()
        for number in range(600):
            os.symlink("x", top / kind / name.format(number))
        for change in ("plus", "minus", "rename"):
            (top / f"{kind}_{change}").mkdir()
            for number in range(100):
                os.symlink("x", top / f"{kind}_{change}" / name.format(number))
    yield
    for kind, name in (("fat", fat), ("micro", micro)):
        os.symlink("x", top / kind / "one more")
        os.symlink("x", top / f"{kind}_plus" / name.format(100))
        os.unlink(top / f"{kind}_minus" / name.format(50))
        directory = top / f"{kind}_rename"
        (directory / name.format(50)).rename(directory / name.format(150))


def names_of_any_bytes(top: Path) -> Generator[None, None, None]:
    names = [b"\xff\xfe", b"a\nb", b"end\r", b"n" * 255, "zażółć".encode(), b"sp ace "]
    for name in names:
        put(Path(os.fsdecode(os.fsencode(top) + b"/" + name)), b"old")
    yield
    for name in names:
        patch(Path(os.fsdecode(os.fsencode(top) + b"/" + name)), 0, b"new")


def temporary_file_linked(top: Path) -> Generator[None, None, None]:
    yield
    descriptor = os.open(top, os.O_TMPFILE | os.O_RDWR)
    os.write(descriptor, noise(5000, "f"))
    source, target = f"/proc/self/fd/{descriptor}".encode(), os.fsencode(top / "linked")
    checked(LIBC.linkat(AT_FDCWD, source, AT_FDCWD, target, AT_SYMLINK_FOLLOW), "linkat")
    os.close(descriptor)


def unlinked_while_open(top: Path) -> Generator[None, None, None]:
    put(top / "early", noise(5000, "early"))
    put(top / "late", noise(5000, "late"))
    yield
    yield
    with (top / "late").open("r+b") as late, (top / "early").open("r+b") as early:
        (top / "early").unlink()
        (top / "late").unlink()
        early.write(b"X")
        yield
        late.write(b"X")


def numbers_reused(top: Path) -> Generator[None, None, None]:
    """New files get the numbers of old ones, of the same size and with the same mtime."""
    for number in range(25):
        put(top / f"old{number}", noise(150_000, f"old{number}"))
        (top / f"olddir{number}").mkdir()
        put(top / f"olddir{number}" / "x", b"x")
    yield
    for number in range(25):
        (top / f"old{number}").unlink()
        shutil.rmtree(top / f"olddir{number}")
    yield
    for number in range(25):
        put(top / f"sparse{number}", b"")
        os.truncate(top / f"sparse{number}", 150_000)
        put(top / f"written{number}", noise(150_000, f"new{number}"))
        (top / f"dir{number}").mkdir()
        put(top / f"tail{number}", b"")
        os.truncate(top / f"tail{number}", 150_000)
        patch(top / f"tail{number}", 149_999, b"X")
        os.utime(top / f"sparse{number}", (1_700_000_000, 1_700_000_000))


def numbers_cross_kinds(top: Path) -> Generator[None, None, None]:
    for number in range(40):
        (top / f"dir{number}").mkdir()
    yield
    for number in range(40):
        (top / f"dir{number}").rmdir()
    yield
    for number in range(20):
        put(top / f"file{number}", noise(2000, str(number)))
        (top / f"link{number}").symlink_to("x")
