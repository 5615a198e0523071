# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""What changed between two mounted snapshots, by reading every byte; and a stream held to it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._zfs.sendstream import (
    StreamChanges,
    stamp,
)


@dataclass(frozen=True, slots=True)
class Thing:
    """An object of a snapshot as the walk found it."""

    case: str
    kind: int
    size: int
    content: bytes
    entries: tuple[tuple[bytes, int], ...]
    metadata: tuple[object, ...]
    stamp: int


def read_content(path: bytes, info: os.stat_result) -> bytes:
    """A digest of a file's content (data segments by offset), a symlink's target."""
    if stat.S_ISLNK(info.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(info.st_mode):
        return b""
    digest = hashlib.sha256(b"%d" % info.st_size)
    if not info.st_size:
        return digest.digest()
    with open(path, "rb") as handle:
        position = 0
        while position < info.st_size:
            try:
                position = os.lseek(handle.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            stop = os.lseek(handle.fileno(), position, os.SEEK_HOLE)
            handle.seek(position)
            for start in range(position, stop, 4096):
                block = handle.read(min(4096, stop - start))
                if block.strip(b"\0"):
                    digest.update(b"%d %b" % (start, block.rstrip(b"\0")))
            position = stop
    return digest.digest()


def _label(relative: bytes) -> str:
    """The case that a path of a dataset belongs to."""
    parts = relative.split(b"/")
    return parts[1].decode() if parts[0] == b"cases" and parts[1:] else ""


def walk(top: Path) -> dict[int, Thing]:
    """Everything below the top of a mounted snapshot, by object number.

    The top itself is left out: a snapshot's root directory shows a made-up
    number (``zfs_getattr_fast`` in module/os/linux/zfs/zfs_vnops_os.c).
    """
    found: dict[int, Thing] = {}
    root = os.fsencode(top)
    waiting = [root]
    while waiting:
        path = waiting.pop()
        info = os.lstat(path)
        entries: list[tuple[bytes, int]] = []
        if stat.S_ISDIR(info.st_mode):
            with os.scandir(path) as listing:
                for entry in listing:
                    entries.append((entry.name, entry.inode()))
                    waiting.append(entry.path)
        names = os.listxattr(path, follow_symlinks=False)
        values = [(name, os.getxattr(path, name, follow_symlinks=False)) for name in names]
        times = (info.st_mtime_ns, info.st_ctime_ns)
        owner = (info.st_mode, info.st_uid, info.st_gid, info.st_rdev, info.st_nlink)
        if path == root:
            continue
        found[info.st_ino] = Thing(
            _label(path[len(root) + 1 :]),
            stat.S_IFMT(info.st_mode),
            info.st_size,
            read_content(path, info),
            tuple(sorted(entries)),
            (*times, *owner, tuple(sorted(values))),
            stamp(info.st_mode, info.st_uid, info.st_gid, info.st_size, *times),
        )
    return found


@dataclass(slots=True)
class Verdict:
    """What the stream said of one case, against the truth.

    Attributes:
        content: files whose content changed.
        entries: directories whose entries changed.
        metadata: objects whose owner, mode, times, link count or xattrs changed.
        new: objects that weren't in the base.
        reused: numbers that stand for another kind of thing now.
        superset: files and directories that the stream suspects although they are the same.
        cleared: objects in the stream that it says are unchanged.
        unclear: unchanged objects in the stream that an lstat has to clear.
        missed: what changed without the stream saying so.
    """

    content: int = 0
    entries: int = 0
    metadata: int = 0
    new: int = 0
    reused: int = 0
    superset: int = 0
    cleared: int = 0
    unclear: int = 0
    missed: list[str] = field(default_factory=list)


def judge(
    stream: StreamChanges, base: dict[int, Thing], new: dict[int, Thing], cases: Iterable[str]
) -> dict[str, Verdict]:
    """Hold the stream's word against the two walks; the case ``""`` is everything else."""
    verdicts = {name: Verdict() for name in (*cases, "")}
    for number, thing in new.items():
        verdict, old = verdicts[thing.case], base.get(number)
        if old is None:
            _judge_new(stream, number, thing, verdict)
        else:
            _judge_kept(stream, number, old, thing, verdict)
    freed = {number for first, count in stream.freed for number in range(first, first + count)}
    for number in base.keys() - new.keys() - freed - stream.objects:
        verdicts[base[number].case].missed.append(f"object {number} is gone")
    for number in new.keys() & freed:
        verdicts[new[number].case].missed.append(f"object {number} is there and called free")
    return verdicts


def _judge_new(stream: StreamChanges, number: int, thing: Thing, verdict: Verdict) -> None:
    verdict.new += 1
    if number not in stream.objects:
        verdict.missed.append(f"object {number} is new")
    if thing.kind == stat.S_IFDIR and number not in stream.changed_directories:
        verdict.missed.append(f"directory {number} is new")
    written = thing.kind == stat.S_IFREG and thing.size > 0
    if written and not stream.content_may_differ(number, thing.size):
        verdict.missed.append(f"content of {number} is new")


def _judge_kept(
    stream: StreamChanges, number: int, old: Thing, thing: Thing, verdict: Verdict
) -> None:
    another = thing.kind != old.kind
    verdict.reused += another
    verdict.metadata += thing.metadata != old.metadata
    if thing != old and number not in stream.objects:
        verdict.missed.append(f"object {number} changed")
    _judge_stamp(stream, number, old, thing, verdict)
    if thing.kind == stat.S_IFDIR:
        changed = another or thing.entries != old.entries
        suspected = number in stream.changed_directories
        verdict.entries += changed
    else:
        changed = thing.kind == stat.S_IFREG and (another or thing.content != old.content)
        suspected = thing.kind == stat.S_IFREG and stream.content_may_differ(number, thing.size)
        # A caller sees by itself that a file's size or kind is another.
        suspected = suspected or (changed and (another or thing.size != old.size))
        verdict.content += changed
    verdict.superset += suspected and not changed
    if changed and not suspected:
        what = "entries" if thing.kind == stat.S_IFDIR else "content"
        verdict.missed.append(f"{what} of {number} changed")


def _judge_stamp(
    stream: StreamChanges, number: int, old: Thing, thing: Thing, verdict: Verdict
) -> None:
    """Whether the dnode's own attributes clear it, and only when it is the same."""
    size = old.size if old.kind == stat.S_IFREG else 0
    cleared = stream.is_unchanged(number, old.stamp, size)
    if cleared and thing != old:
        verdict.missed.append(f"object {number} changed and is called unchanged")
    if stream.objects.stamp(number) not in (None, 0, thing.stamp):
        verdict.missed.append(f"object {number} has other attributes in the stream")
    if number in stream.objects:
        verdict.cleared += cleared
        verdict.unclear += not cleared and thing == old
