# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""After whole runs, the index's copy at the destination says what the host's own index says."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import DestinationError
from ansible_collections.homelab.backup.plugins.module_utils._offsite.fetch import Fetch
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.indexread import (
    restore_index,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._offsite.run import index_path
from ansible_collections.homelab.backup.plugins.module_utils._offsite.target import TargetTree
from tests.integration.offsite.in_guest import histories
from tests.unit.plugins.module_utils.offsite.copied_tree import picture
from tests.unit.plugins.module_utils.offsite.index_model import content
from tests.unit.plugins.module_utils.offsite.remote import connect
from tests.unit.plugins.module_utils.offsite.world import World

SEEDS = range(6)
STEPS = 5


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def comparable(index: Index) -> dict[str, Any]:
    """Without exact versions: after a chmod the copy has the newer ctime for the same content."""
    found = content(index)
    found["link"] = [(*row[:5], row[5] is None, row[6]) for row in found["link"]]
    return found


def local_file(world: World) -> Path:
    return index_path(world.policy, world.policy.jobs[0])


def assert_copied(world: World) -> None:
    """The copy rebuilt is the index."""
    destination = world.policy.jobs[0].destination
    layout = Layout(
        os.fsencode(destination.directory), os.fsencode(destination.control_directory), ""
    )
    with connect("-R") as store:
        rebuilt = restore_index(store, layout, world.base / "rebuilt.sqlite")
    assert rebuilt is not None
    with (
        contextlib.closing(rebuilt),
        contextlib.closing(Index(local_file(world), readonly=True)) as local,
    ):
        assert comparable(rebuilt) == comparable(local)


def fetched(world: World, target: Path) -> dict[bytes, tuple[object, ...]]:
    """What a new host gets back from the destination alone."""
    destination = world.policy.jobs[0].destination
    layout = Layout(
        os.fsencode(destination.directory), os.fsencode(destination.control_directory), ""
    )
    with connect("-R") as store:
        index = restore_index(store, layout, world.base / "fresh.sqlite")
        assert index is not None
        tree = TargetTree(target)
        fetch = Fetch(
            store, layout, index, tree, overwrite=False, progress=lambda dummy_files, dummy: None
        )
        result = fetch.run([b""])
        tree.close(finished=True)
        index.close()
    assert result.problems == []
    return picture(target)


def lose_index(world: World) -> None:
    """The state directory is gone."""
    for suffix in ("", "-wal", "-shm"):
        local_file(world).with_name(local_file(world).name + suffix).unlink(missing_ok=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_history(world: World, seed: int) -> None:
    rng = random.Random(1000 + seed)
    inventor = histories.Inventor(1000 + seed)
    top = os.fsencode(world.tops["main"]) + b"/history"
    histories.replay(top, inventor.first())
    world.run()
    assert_copied(world)
    for step in range(STEPS):
        histories.proceed(top, inventor, rng.randrange(1, 12))
        if rng.random() < 0.3:
            name = f"main/child{rng.randrange(2)}"
            if name in world.tops:
                world.destroy(name)
            else:
                child = world.create(name)
                (child / "file").write_text(f"{step}")
        if rng.random() < 0.3:
            lose_index(world)
        record = world.run(mode="reconcile" if rng.random() < 0.3 else "incremental")
        assert (record.findings, record.problems) == ([], [])
        assert world.differences() == []
        assert_copied(world)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away and make devices")
@pytest.mark.parametrize("seed", SEEDS)
def test_everything_comes_back_from_the_destination_alone(world: World, seed: int) -> None:
    inventor = histories.Inventor(2000 + seed)
    top = os.fsencode(world.tops["main"]) + b"/history"
    histories.replay(top, inventor.first())
    world.run()
    for dummy in range(STEPS):
        histories.proceed(top, inventor, 15)
        world.run()
    source = picture(world.tops["main"])
    target = fetched(world, world.base / "target")
    for path, (kind, *dummy) in list(source.items()):
        if kind == "s":
            del source[path]
    assert target == source


def test_with_a_rebuilt_index_nothing_is_sent_again(world: World) -> None:
    inventor = histories.Inventor(7)
    top = os.fsencode(world.tops["main"]) + b"/history"
    histories.replay(top, inventor.first())
    world.run()
    histories.proceed(top, inventor, 20)
    world.run()
    lose_index(world)
    record = world.run()
    assert record.counts["sent"] == 0, record.counts
    assert "rebuilt" in "".join(record.notes)
    assert world.differences() == []
    assert_copied(world)


def test_an_index_that_is_not_the_one_last_copied(world: World) -> None:
    """The state directory was rolled back: a run stops at the copy, a reconcile writes it anew."""
    top = world.tops["main"]
    (top / "a").write_text("a")
    world.run()
    old = local_file(world).read_bytes()
    for number in range(2):
        (top / f"new{number}").write_text("x")
        world.run()
    lose_index(world)
    local_file(world).write_bytes(old)
    (top / "later").write_text("x")
    with pytest.raises(DestinationError, match="not the one that was last copied"):
        world.run()
    world.run(mode="reconcile")
    assert world.differences() == []
    assert_copied(world)
    (top / "last").write_text("x")
    assert world.run().verdict == "ok"
    assert_copied(world)
