# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Strategies of detection against ``zfs diff`` and a walk with find, in the guest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.bench.context import Context
from tests.bench.guest_side import GuestSide
from tests.bench.report import Row, median

ROUNDS = 3
OURS = ("auto", "stream", "walk")
DIFF_LIMIT = 1800.0
WITHIN = 1.2
FASTER = 20


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree and the changes made in it, one after the other; ``big`` is one more file's MiB."""

    name: str
    files: int
    directories: int
    changes: tuple[int, ...]
    big: int = 0


TREES = (
    Tree("spread", 50_000, 500, (0, 10, 1000)),
    Tree("flat", 10_000, 0, (0, 10, 1000)),
    Tree("all", 2000, 20, (2000,)),
    Tree("big", 200, 10, (0,), 256),
)


def detection(context: Context) -> None:
    """The whole grid."""
    context.lab.reset()
    side = GuestSide(context.lab.guest)
    for tree in TREES:
        _tree(context, side, tree)


def _tree(context: Context, side: GuestSide, tree: Tree) -> None:
    files = context.count(tree.files, 100)
    directories = context.count(tree.directories, 2) if tree.directories else 0
    shape: dict[str, Any] = {
        "name": f"bench-{tree.name}",
        "files": files,
        "directories": directories,
        "size": 600,
        "big": context.count(tree.big, 1) << 20 if tree.big else 0,
    }
    context.say(f"tree {tree.name}: {files} files in {directories or 1} directories")
    made = side.ask("make", **shape)
    context.say(f"  made in {made['made']:.0f} s, first run in {made['first_run']:.0f} s")
    for number, full in enumerate(tree.changes):
        changes = context.count(full, 1) if full else 0
        short = f"step{number}"
        side.ask("change", **shape, changes=changes, short=short)
        _cell(context, side, shape, changes, short)


def _cell(
    context: Context, side: GuestSide, shape: dict[str, Any], changes: int, short: str
) -> None:
    took: dict[str, list[float]] = {}
    ways = (*OURS, "find", "zfs diff")
    chosen = ""
    for turn in range(ROUNDS):
        order = ways[turn % len(ways) :] + ways[: turn % len(ways)]
        for way in order:
            if way == "zfs diff" and turn and took.get(way, [0.0])[0] > DIFF_LIMIT / 10:
                continue
            answer = side.ask("compare", name=shape["name"], short=short, way=way, limit=DIFF_LIMIT)
            took.setdefault(way, []).append(answer["seconds"])
            if way == "auto":
                chosen = answer["strategy"]
            context.say(f"  {way}: {answer}")
    middle = {way: median(values) for way, values in took.items()}
    case = f"{shape['files']} files, {shape['directories'] or 1} directories, {changes} changes"
    if shape["big"]:
        case += f", {shape['big'] >> 20} MiB rewritten"
    best = min(middle["stream"], middle["walk"])
    mine = f"auto ({chosen})"
    add = context.report.rows.append
    diff_goal = changes == context.count(1000) and shape["files"] == context.count(50_000)
    add(
        Row(
            "detection",
            case,
            mine,
            middle["auto"],
            "zfs diff",
            middle["zfs diff"],
            goal=f"{FASTER} times" if diff_goal else "",
            met=middle["zfs diff"] / middle["auto"] >= FASTER if diff_goal else None,
        )
    )
    add(Row("detection", case, mine, middle["auto"], "walk with find", middle["find"]))
    for way in ("stream", "walk"):
        wins = middle[way] == best
        add(
            Row(
                "detection",
                case,
                mine,
                middle["auto"],
                f"our {way}",
                middle[way],
                goal=f"at most {WITHIN} times the best" if wins else "",
                met=middle["auto"] <= WITHIN * best if wins else None,
            )
        )
