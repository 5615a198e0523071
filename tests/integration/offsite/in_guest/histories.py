# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Random histories of a directory tree: making up operations, doing them, doing them again.

Standard library only and no other module of this project: it runs in the guest as it stands
here. An operation is ``[verb, argument, ...]`` with paths as texts in Latin-1 (one character
for each byte), so a history is JSON. Doing an operation that makes no sense any more, because
one before it was dropped, does nothing: that is what makes histories shrinkable.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import random
import shutil
import socket
import stat
from collections.abc import Callable, Iterable

Operation = list[str | int]

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
RENAME_EXCHANGE = 2
KEEP_SIZE, PUNCH_HOLE = 1, 2
PLAIN_NAMES = ("a", "b", "c", "d", "e", "photo.jpg", "data.db", "movie.mkv")
ODD_NAMES = (
    " ",
    "trailing ",
    "line\nbreak",
    "carriage\r",
    "-rf",
    "#comment",
    ";",
    "back\\slash",
    "\\0040",
    "tab\tname",
    "quote'\"`$(x)",
    "*[a-z]?{b}",
    "zażółć".encode().decode("latin-1"),
    "gro\xdf",
    "\xff\xfe",
    "\x01\x7f",
    "a.partial",
    "x.rclonelink",
    "~",
    "...",
    "@eaDir2",
)
SIZES = (0, 0, 1, 7, 100, 511, 512, 513, 3000, 4096, 20_000, 131_072, 140_000)


def pattern(seed: int, size: int) -> bytes:
    """Bytes that don't compress, the same for the same seed."""
    return hashlib.shake_128(b"%d" % seed).digest(size)


def odd_name(rng: random.Random) -> str:
    """A name of any bytes but ``/`` and NUL, at times as long as a name can be."""
    if rng.random() < 0.5:
        return rng.choice(ODD_NAMES)
    length = rng.choice((1, 2, 3, 8, 40, 143, 255))
    while True:
        name = "".join(chr(rng.choice((rng.randrange(1, 256), 97))) for dummy in range(length))
        name = name.replace("/", "_")
        if name not in (".", ".."):
            return name


ABOUT = ("chmod", "chown", "utime", "xattr")


class Tree:
    """What is there of one history, by a look at it: paths below its top."""

    def __init__(self, top: bytes) -> None:
        self.files: list[str] = []
        self.directories: list[str] = [""]
        self.others: list[str] = []
        waiting = [(top, "")]
        while waiting:
            directory, path = waiting.pop()
            with os.scandir(directory) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            for entry in entries:
                here = path + "/" + entry.name.decode("latin-1") if path else _text(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    self.directories.append(here)
                    waiting.append((entry.path, here))
                elif entry.is_file(follow_symlinks=False):
                    self.files.append(here)
                else:
                    self.others.append(here)

    @property
    def everything(self) -> list[str]:
        return self.files + self.directories[1:] + self.others


def _text(name: bytes) -> str:
    return name.decode("latin-1")


class Inventor:
    """Makes up operations for one history."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.names = [
            *self.rng.sample(PLAIN_NAMES, 4),
            *(odd_name(self.rng) for dummy in range(3)),
        ]

    def name(self) -> str:
        if self.rng.random() < 0.9:
            return self.rng.choice(self.names)
        return odd_name(self.rng)

    def somewhere(self, tree: Tree) -> str:
        """A path in a directory that is there; often one that something has already."""
        above = self.rng.choice(tree.directories)
        if above.count("/") > 3:
            above = ""
        name = self.name()
        return f"{above}/{name}" if above else name

    def first(self) -> list[Operation]:
        """Operations that fill an empty tree."""
        made: list[Operation] = []
        above = [""]
        for dummy in range(self.rng.randrange(1, 4)):
            parent = self.rng.choice(above)
            path = f"{parent}/{self.name()}" if parent else self.name()
            made.append(["mkdir", path])
            above.append(path)
        for dummy in range(self.rng.randrange(3, 9)):
            parent = self.rng.choice(above)
            path = f"{parent}/{self.name()}" if parent else self.name()
            made.append(["create", path, self.rng.randrange(1 << 30), self.rng.choice(SIZES)])
            if self.rng.random() < 0.25:
                made.append(["link", path, f"{parent}/l{path[-1]}" if parent else f"l{path[-1]}"])
        return made

    def next(self, tree: Tree) -> Operation:
        """One more operation on what is there."""
        verb = self.rng.choices(VERBS, WEIGHTS)[0]
        return self._arguments(verb, tree)

    def _arguments(self, verb: str, tree: Tree) -> Operation:
        rng = self.rng
        file = rng.choice(tree.files or ["nothing"])
        thing = rng.choice(tree.everything or ["nothing"])
        seed, size = rng.randrange(1 << 30), rng.choice(SIZES)
        match verb:
            case "create" | "replace":
                return [verb, rng.choice((self.somewhere(tree), file)), seed, size]
            case "write" | "stealth":
                return [
                    verb,
                    file,
                    seed,
                    rng.choice((0, 0, 1, 600, 4096, 131_072)),
                    rng.choice((1, 9, 5000)),
                ]
            case "append" | "truncate" | "extend":
                return [verb, file, seed, size]
            case "punch":
                return [verb, file, rng.choice((0, 4096, 131_072)), rng.choice((4096, 131_072))]
            case "mkdir":
                return [verb, self.somewhere(tree)]
            case "rename" | "exchange":
                target = rng.choice((self.somewhere(tree), rng.choice(tree.everything or ["x"])))
                return [verb, thing, target]
            case "move_directory":
                return ["rename", rng.choice(tree.directories), self.somewhere(tree)]
            case "link":
                return [verb, file, self.somewhere(tree)]
            case "orphan":
                return [verb, file, self.somewhere(tree), seed, size]
            case _ if verb in ABOUT:
                return self._about(verb, thing)
            case "symlink" | "special":
                return [verb, self.somewhere(tree), rng.choice((file, "gone", "../x"))]
            case _:
                return [verb, thing if verb in ("remove", "turn", "recreate") else file, seed, size]

    def _about(self, verb: str, thing: str) -> Operation:
        """Arguments of what changes metadata only."""
        rng = self.rng
        match verb:
            case "chmod" | "chown":
                return [verb, thing, rng.choice((0o600, 0o644, 0o4755, 0o1777))]
            case "utime":
                moment = rng.choice((-1, 0, 1, 1_600_000_000, 2_500_000_000, 5_000_000_000))
                return [verb, thing, moment, rng.randrange(1_000_000_000)]
            case _:
                name, size = rng.choice(("user.x", "user.y")), rng.choice((0, 5, 300))
                return [verb, thing, name, rng.randrange(1 << 30), size]


def do(top: bytes, operation: Operation) -> bool:
    """Do one operation below ``top``; False when it makes no sense there (any more)."""
    verb, path, *rest = operation
    here = top + b"/" + str(path).encode("latin-1")
    try:
        ACTS[str(verb)](top, here, rest)
    except (OSError, ValueError, shutil.Error):
        return False
    return True


def _path(top: bytes, text: object) -> bytes:
    return top + b"/" + str(text).encode("latin-1")


def _create(top: bytes, here: bytes, rest: list) -> None:
    with open(here, "wb") as handle:
        handle.write(pattern(rest[0], rest[1]))


def _write(top: bytes, here: bytes, rest: list) -> None:
    """In place; the size grows when it is at the end."""
    seed, offset, length = rest
    with open(here, "r+b") as handle:
        handle.seek(offset)
        handle.write(pattern(seed, length))


def _stealth(top: bytes, here: bytes, rest: list) -> None:
    """Other content, same size and same mtime."""
    seed, offset, length = rest
    before = os.lstat(here)
    length = min(length, before.st_size - offset)
    if length <= 0 or not stat.S_ISREG(before.st_mode):
        raise ValueError(here)
    _write(top, here, [seed, offset, length])
    os.utime(here, ns=(before.st_atime_ns, before.st_mtime_ns))


def _append(top: bytes, here: bytes, rest: list) -> None:
    _write(top, here, [rest[0], os.lstat(here).st_size, rest[1]])


def _truncate(top: bytes, here: bytes, rest: list) -> None:
    with open(here, "r+b") as handle:
        handle.truncate(min(rest[1], os.fstat(handle.fileno()).st_size))


def _extend(top: bytes, here: bytes, rest: list) -> None:
    """Sparse."""
    with open(here, "r+b") as handle:
        handle.truncate(os.fstat(handle.fileno()).st_size + rest[1])


def _punch(top: bytes, here: bytes, rest: list) -> None:
    with open(here, "r+b") as handle:
        offset, length = (ctypes.c_longlong(value) for value in rest)
        if LIBC.fallocate(handle.fileno(), KEEP_SIZE | PUNCH_HOLE, offset, length) != 0:
            raise OSError(ctypes.get_errno(), "fallocate")


def _rename(top: bytes, here: bytes, rest: list) -> None:
    os.rename(here, _path(top, rest[0]))


def _exchange(top: bytes, here: bytes, rest: list) -> None:
    if LIBC.renameat2(AT_FDCWD, here, AT_FDCWD, _path(top, rest[0]), RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def _remove(top: bytes, here: bytes, rest: list) -> None:
    if os.path.isdir(here) and not os.path.islink(here):
        shutil.rmtree(here)
    else:
        os.unlink(here)


def _replace(top: bytes, here: bytes, rest: list) -> None:
    """As editors save: a new file renamed over the old one."""
    new = here.rpartition(b"/")[0] + b"/.new"
    _create(top, new, rest)
    try:
        os.rename(new, here)
    except OSError:
        os.unlink(new)
        raise


def _recreate(top: bytes, here: bytes, rest: list) -> None:
    _remove(top, here, rest)
    _create(top, here, rest)


def _turn(top: bytes, here: bytes, rest: list) -> None:
    """A file becomes a directory with a file in it, anything else a file."""
    was_file = stat.S_ISREG(os.lstat(here).st_mode)
    _remove(top, here, rest)
    if was_file:
        os.mkdir(here)
        here += b"/inside"
    _create(top, here, rest)


def _link(top: bytes, here: bytes, rest: list) -> None:
    os.link(here, _path(top, rest[0]), follow_symlinks=False)


def _orphan(top: bytes, here: bytes, rest: list) -> None:
    """A last link made and removed, then other content: what zfs diff does not report."""
    _link(top, here, rest)
    os.unlink(_path(top, rest[0]))
    _create(top, here, rest[1:])


def _chmod(top: bytes, here: bytes, rest: list) -> None:
    os.chmod(here, rest[0], follow_symlinks=False) if not os.path.islink(here) else None


def _chown(top: bytes, here: bytes, rest: list) -> None:
    os.lchown(here, rest[0], rest[0] + 1)


def _utime(top: bytes, here: bytes, rest: list) -> None:
    moment = rest[0] * 1_000_000_000 + rest[1]
    os.utime(here, ns=(moment, moment), follow_symlinks=False)


def _xattr(top: bytes, here: bytes, rest: list) -> None:
    name, seed, size = rest
    if size:
        os.setxattr(here, name, pattern(seed, size), follow_symlinks=False)
    else:
        os.removexattr(here, name, follow_symlinks=False)


def _symlink(top: bytes, here: bytes, rest: list) -> None:
    os.symlink(str(rest[0]).encode("latin-1"), here)


def _special(top: bytes, here: bytes, rest: list) -> None:
    if len(here) % 2:
        os.mkfifo(here)
        return
    directory, dummy, name = here.rpartition(b"/")
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(b"/proc/self/fd/%d/%s" % (descriptor, name))
    finally:
        os.close(descriptor)


ACTS: dict[str, Callable[[bytes, bytes, list], None]] = {
    "create": _create,
    "write": _write,
    "stealth": _stealth,
    "append": _append,
    "truncate": _truncate,
    "extend": _extend,
    "punch": _punch,
    "mkdir": lambda top, here, rest: os.mkdir(here),
    "rename": _rename,
    "exchange": _exchange,
    "remove": _remove,
    "replace": _replace,
    "recreate": _recreate,
    "turn": _turn,
    "link": _link,
    "orphan": _orphan,
    "chmod": _chmod,
    "chown": _chown,
    "utime": _utime,
    "xattr": _xattr,
    "symlink": _symlink,
    "special": _special,
}
# How often each is made up.
CHANCES = {
    "create": 6,
    "write": 4,
    "stealth": 4,
    "append": 2,
    "truncate": 2,
    "extend": 1,
    "punch": 1,
    "mkdir": 3,
    "rename": 8,
    "move_directory": 6,
    "exchange": 3,
    "remove": 6,
    "replace": 3,
    "recreate": 3,
    "turn": 3,
    "link": 6,
    "orphan": 2,
    "chmod": 1,
    "chown": 1,
    "utime": 2,
    "xattr": 2,
    "symlink": 2,
    "special": 1,
}
VERBS = list(CHANCES)
WEIGHTS = list(CHANCES.values())


def begin(top: bytes, inventor: Inventor) -> list[Operation]:
    """Fill an empty tree; returns the operations."""
    made = inventor.first()
    replay(top, made)
    return made


def proceed(top: bytes, inventor: Inventor, count: int) -> list[Operation]:
    """Do ``count`` new operations; returns those that did something."""
    made: list[Operation] = []
    for dummy in range(count):
        operation = inventor.next(Tree(top))
        if do(top, operation):
            made.append(operation)
    return made


def replay(top: bytes, operations: Iterable[Operation]) -> None:
    """Do operations again, in a tree of its own."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(top)
    for operation in operations:
        do(top, operation)


def script(operations: Iterable[Operation]) -> str:
    """Operations as lines for a person."""
    return "\n".join("  " + " ".join(repr(part) for part in operation) for operation in operations)
