# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""100 changes among 100,000 files, and 1,000 new files, to the NAS at 20 ms.

The source is a directory of this machine: the guest's processor is emulated, and
rclone is not to be compared on one that is ten times slower than any NAS. So ours
runs in full but for ZFS, once with a stream that names the changes (a real one
adds what the part ``detection`` shows) and once with a walk.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.context import FAR, NEAR, Context, seconds, touch_spread, write_tree
from tests.bench.report import Row, median

ROUNDS = 3
SIZE = 1500
MINE, PEER = "bench-mine", "bench-peer"


def listed(context: Context, names: list[str]) -> str:
    """A file that lists these paths."""
    place = context.work / "files.txt"
    place.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return str(place)


def transfer(context: Context) -> None:
    """100 changes among 100,000 files in 1,000 directories."""
    files, directories = context.count(100_000, 1000), context.count(1000, 10)
    changes = context.count(100, 10)
    source, state = context.work / "tree", context.work / "tree-state"
    context.say(f"a tree of {files} files in {directories} directories, copied to the NAS twice")
    names = write_tree(source, files, directories, SIZE)
    context.offsite(source, state, context.sftp(NEAR), context.remote(MINE), None)
    context.seed(source, PEER)
    peer = f":sftp:{context.remote(PEER)}"
    took: dict[str, list[float]] = {}

    def note(way: str, value: float) -> None:
        took.setdefault(way, []).append(value)
        context.say(f"  {way}: {value:.2f} s")

    for turn in range(ROUNDS):
        for way in ("sync", "copy", "rsync"):
            changed = touch_spread(source, names, changes, SIZE + 1 + turn)
            walking = way == "rsync"
            answer = context.offsite(
                source,
                state,
                context.sftp(FAR),
                context.remote(MINE),
                None if walking else changed,
            )
            note("walk" if walking else "stream", answer["wall"])
            note(way, seconds(_peer(context, way, source, peer, changed)))
    case = f"{changes} changes among {files} files at 20 ms"
    best = median(took["stream"])
    add = context.report.rows.append
    goal = took["sync"] and median(took["sync"]) / best >= 10
    add(
        Row(
            "transfer",
            case,
            "a run",
            best,
            "rclone sync",
            median(took["sync"]),
            goal="10 times",
            met=bool(goal),
        )
    )
    add(Row("transfer", case, "a run", best, "rclone copy of a list", median(took["copy"])))
    add(Row("transfer", case, "a run", best, "rsync", median(took["rsync"])))
    add(
        Row(
            "transfer",
            case,
            "a run that walks",
            median(took["walk"]),
            "rclone sync",
            median(took["sync"]),
        )
    )


def _peer(context: Context, way: str, source: Path, peer: str, changed: list[str]) -> list[str]:
    if way == "sync":
        return context.rclone(FAR, "sync", str(source), peer)
    if way == "copy":
        return context.rclone(
            FAR,
            "copy",
            str(source),
            peer,
            "--no-traverse",
            "--files-from-raw",
            listed(context, changed),
        )
    return context.rsync(FAR, source, PEER)


def uploads(context: Context) -> None:
    """1,000 new small files."""
    files = context.count(1000, 50)
    source, state = context.work / "new", context.work / "new-state"
    source.mkdir(parents=True)
    context.offsite(source, state, context.sftp(NEAR), context.remote(MINE), None)
    ours: list[float] = []
    other: dict[int, list[float]] = {4: [], 16: []}
    for turn in range(ROUNDS):
        below = source / f"turn-{turn}"
        names = write_tree(below, files, 10, 4096)
        full = [f"{below.name}/{name}" for name in names]
        # Each file, each directory above one, and the source's own.
        entered = {str(parent) for name in full for parent in Path(name).parents}
        answer = context.offsite(
            source, state, context.sftp(FAR), context.remote(MINE), [*full, *entered]
        )
        if answer["counts"]["sent"] != len(full):
            raise ValueError(f"{answer['counts']['sent']} of {len(full)} files were sent")
        ours.append(answer["wall"])
        context.say(f"  ours: {ours[-1]:.2f} s {answer['steps']}")
        for transfers, values in other.items():
            argv = context.rclone(
                FAR,
                "copy",
                str(source),
                f":sftp:{context.remote(f'{PEER}-{transfers}-{turn}')}",
                "--no-traverse",
                "--files-from-raw",
                listed(context, full),
                "--transfers",
                str(transfers),
            )
            values.append(seconds(argv))
            context.say(f"  rclone copy, {transfers} transfers: {values[-1]:.2f} s")
    case = f"{files} new files of 4 KiB at 20 ms"
    best = median(ours)
    context.report.rows.append(
        Row("uploads", case, "a run", best, "the goal", 10.0, goal="at most 10 s", met=best <= 10)
    )
    for transfers, values in other.items():
        name = f"rclone copy, {transfers} transfers"
        context.report.rows.append(Row("uploads", case, "a run", best, name, median(values)))


def rename(context: Context) -> None:
    """A directory of 1 GiB gets another name."""
    size = context.count(1 << 30, 1 << 20)
    source, state = context.work / "big", context.work / "big-state"
    old, new = source / "films", source / "movies"
    context.say(f"a directory of {size >> 20} MiB, copied to the NAS twice")
    for number in range(16):
        name = f"part-{number:02d}"
        write_tree(old / name, 1, 1, size // 16)
    context.offsite(source, state, context.sftp(NEAR), context.remote(MINE), None)
    context.seed(source, PEER)
    old.rename(new)
    answer = context.offsite(source, state, context.sftp(FAR), context.remote(MINE), ["", "movies"])
    peer = f":sftp:{context.remote(PEER)}"
    plain = seconds(context.rclone(FAR, "sync", str(source), peer))
    counts = answer["counts"]
    case = f"a directory of {size >> 20} MiB renamed"
    add = context.report.rows.append
    add(
        Row(
            "rename",
            case,
            "a run sends",
            counts["sent_bytes"],
            "rclone sync sends",
            size,
            unit="bytes",
            goal="no upload",
            met=counts["sent_bytes"] == 0 and counts["moved"] == 1,
        )
    )
    add(Row("rename", f"{case}, at 20 ms", "a run", answer["wall"], "rclone sync", plain))
