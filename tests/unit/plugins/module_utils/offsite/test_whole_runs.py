# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Whole runs on a host without ZFS: after each, destination and index equal the source.

The lab runs the same histories on a real pool; here are many more of them in the same time,
and each bug that was found, as a case of its own.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.integration.offsite.in_guest import histories
from tests.integration.offsite.in_guest.histories import Operation
from tests.unit.plugins.module_utils.offsite.world import World

SEEDS = range(12)
STEPS = 4
Step: TypeAlias = "tuple[str | None, list[Operation]]"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def checked_run(world: World, strategy: str | None = None) -> None:
    """A run that has nothing to report, after which nothing differs."""
    record = world.run(strategy=strategy)
    assert (record.findings, record.problems) == ([], [])
    assert world.differences() == []


def played(world: World, *steps: Iterable[Operation], strategy: str | None) -> None:
    """Each step's operations, then a run; the first run is the base."""
    top = os.fsencode(world.tops["main"])
    for operations in steps:
        histories.replay(top, operations)
        checked_run(world, strategy)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_history(world: World, seed: int) -> None:
    rng = random.Random(seed)
    inventor = histories.Inventor(seed)
    top = os.fsencode(world.tops["main"]) + b"/history"
    done: list[Step] = [(None, inventor.first())]
    histories.replay(top, done[0][1])
    try:
        checked_run(world)
        for dummy in range(STEPS):
            strategy = rng.choice(("stream", "walk", None))
            done.append((strategy, histories.proceed(top, inventor, rng.randrange(1, 12))))
            checked_run(world, strategy)
    except BaseException:
        for strategy, operations in done:
            print(f"-- then, looked at by {strategy or 'what is best'}:")
            print(histories.script(operations))
        raise


@pytest.mark.parametrize("seed", SEEDS)
def test_random_history_with_kills(world: World, seed: int) -> None:
    """Runs killed at any external step, changes in between, then a run that puts all right."""
    rng = random.Random(seed)
    inventor = histories.Inventor(seed)
    top = os.fsencode(world.tops["main"]) + b"/history"
    histories.replay(top, inventor.first())
    if rng.random() < 0.7:
        checked_run(world)
    for dummy in range(3):
        histories.proceed(top, inventor, rng.randrange(1, 10))
        for dummy_kill in range(rng.choice((1, 1, 2))):
            strategy = rng.choice(("stream", "walk", None))
            at = rng.randrange(1, rng.choice((40, 150, 300)))
            print(f"killed ({strategy}) at", world.killed_run(at, strategy=strategy))
            if rng.random() < 0.3:
                histories.proceed(top, inventor, rng.randrange(1, 5))
        checked_run(world, rng.choice(("stream", "walk", None)))


both = pytest.mark.parametrize("strategy", ["stream", "walk"])


@both
@pytest.mark.parametrize("verb", ["turn", "recreate"])
def test_object_number_given_to_another_kind(world: World, strategy: str, verb: str) -> None:
    """ext4 gives a freed inode away at once, so the new directory has the file's number."""
    played(
        world,
        [["mkdir", "d"], ["mkdir", "e"], ["create", "f", 1, 3000]],
        [[verb, "f", 2, 100], [verb, "d", 3, 100], [verb, "e", 4, 0]],
        [["turn", "f", 5, 7], ["turn", "d", 6, 7]],
        strategy=strategy,
    )


@both
def test_one_of_two_names_replaced_by_the_same_content(world: World, strategy: str) -> None:
    """The names were one file at the destination, so the time of one became that of the other."""
    played(
        world,
        [["create", "a", 1, 100], ["link", "a", "b"], ["utime", "a", 1_600_000_000, 0]],
        [["replace", "a", 1, 100]],
        [["utime", "a", 1_700_000_000, 0]],
        strategy=strategy,
    )


@both
def test_directory_moves_out_of_a_deleted_one_and_loses_a_file(world: World, strategy: str) -> None:
    """What is deleted of it arrives in versions before the directory above does."""
    top = world.tops["main"]
    (top / "above" / "moving").mkdir(parents=True)
    (top / "above" / "staying").mkdir()
    for name in ("moving/goes", "moving/stays", "staying/file", "file"):
        (top / "above" / name).write_text(name)
    checked_run(world)
    (top / "above" / "moving" / "goes").unlink()
    (top / "above" / "moving").rename(top / "moved")
    for path in ("above/staying/file", "above/file"):
        (top / path).unlink()
    (top / "above" / "staying").rmdir()
    (top / "above").rmdir()
    checked_run(world, strategy)
    # Attributes of what moved are looked up by its names in the index.
    (top / "moved" / "stays").chmod(0o600)
    checked_run(world, strategy)


def test_names_of_the_nas_at_the_source(world: World) -> None:
    """They are files as any other there; what the NAS itself adds to them is left alone."""
    played(
        world,
        [
            *(["mkdir", path] for path in ("@eaDir", "d", "d/@eaDir")),
            ["create", "@eaDir/f", 1, 10],
            ["create", "#recycle", 2, 10],
        ],
        strategy=None,
    )
    (world.tree / "@eaDir" / "thumb").write_text("the NAS' own")
    (world.tree / "d" / "#recycle").mkdir()
    record = world.run(mode="reconcile")
    assert (record.findings, record.problems) == ([], [])
    assert record.counts["sent"] == 0
    assert (world.tree / "@eaDir" / "thumb").read_text() == "the NAS' own"


@both
def test_datasets_renamed_swapped_nested_and_replaced_by_directories(
    world: World, strategy: str
) -> None:
    top = world.tops["main"]
    for name in ("main/a", "main/b", "main/a/c"):
        (world.create(name) / "f").write_text(name)
    checked_run(world)
    for old, new in (("a", "t"), ("b", "a"), ("t", "b")):
        world.rename(f"main/{old}", f"main/{new}")
    checked_run(world, strategy)
    world.rename("main/b/c", "main/a/c2")
    checked_run(world, strategy)
    world.destroy("main/b")
    (top / "b").mkdir()
    (top / "b" / "x").write_text("a directory now")
    checked_run(world, strategy)
    shutil.rmtree(top / "b")
    (world.create("main/b") / "y").write_text("a dataset again")
    (world.tops["main/a"] / "late").write_text("and moved")
    world.rename("main/a", "main/b/a")
    checked_run(world, strategy)
    assert {item["strategy"] for item in world.run().detection} == {"none"}


@both
@pytest.mark.parametrize("mode", ["incremental", "reconcile"])
def test_directory_lost_at_the_destination(world: World, strategy: str, mode: str) -> None:
    """Found when a file in it is sent; everything is compared then, and put back."""
    top = world.tops["main"]
    (top / "d" / "sub").mkdir(parents=True)
    for name in ("f", "sub/g"):
        (top / "d" / name).write_text(name)
    checked_run(world)
    shutil.rmtree(world.tree / "d")
    (top / "d" / "f").write_text("changed")
    record = world.run(strategy=strategy, mode=mode)
    assert (record.verdict, record.problems) == ("ok", [])
    assert "missing at the destination: d/sub/g" in record.findings
    assert world.differences() == []
    checked_run(world, strategy)


@both
def test_new_things_in_a_directory_lost_at_the_destination(world: World, strategy: str) -> None:
    top = world.tops["main"]
    (top / "d" / "sub").mkdir(parents=True)
    (top / "d" / "f").write_text("stays")
    (top / "moves").write_text("moves")
    checked_run(world)
    shutil.rmtree(world.tree / "d")
    (top / "d" / "sub" / "new").mkdir()
    (top / "moves").rename(top / "d" / "sub" / "moved")
    record = world.run(strategy=strategy)
    assert (record.verdict, record.problems) == ("ok", [])
    assert "missing at the destination: d" in record.findings
    assert world.differences() == []
    checked_run(world, strategy)
