# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cached build steps: keys, whole results only, what is removed and when."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.cache import Step, disk_use, ensure, prune
from tests.lab.errors import LabError
from tests.lab.progress import Progress


def nothing() -> None:
    """What runs ahead of a build, here."""


def step(
    build: Callable[[Path, Path], None],
    name: str = "part",
    parts: tuple[bytes, ...] = (b"a",),
    needs: tuple[Step, ...] = (),
) -> Step:
    return Step(name, 1, parts, needs, build)


def write(out: Path, log: Path) -> None:
    log.write_text("made\n")
    (out / "result").write_text("whole")


def count(out: Path, dummy: Path) -> None:
    """Leaves a trace of every build beside the cache."""
    with (out.parent.parent.parent / "builds").open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    time.sleep(0.2)


def build_in_another_process(cache: Path) -> None:
    ensure(step(count), cache, Progress(), nothing)


def test_a_key_depends_on_every_part_and_every_need() -> None:
    plain = step(write)
    keys = {
        plain.key,
        step(write, name="other").key,
        step(write, parts=(b"b",)).key,
        step(write, parts=(b"a", b"")).key,
        step(write, needs=(plain,)).key,
        step(write, needs=(step(write, parts=(b"b",)),)).key,
    }
    assert len(keys) == 6
    assert step(write).key == plain.key


def test_parts_are_not_joined() -> None:
    assert step(write, parts=(b"ab", b"c")).key != step(write, parts=(b"a", b"bc")).key


def test_built_once_with_its_needs_first(tmp_path: Path) -> None:
    order: list[str] = []
    first = step(lambda out, log: order.append("first"), name="first")
    second = step(lambda out, log: order.append("second"), name="second", needs=(first,))
    for dummy in range(2):
        assert ensure(second, tmp_path, Progress(), nothing) == second.path(tmp_path)
    assert order == ["first", "second"]


def test_a_failed_or_killed_build_leaves_no_result_and_is_made_again(tmp_path: Path) -> None:
    def fail(out: Path, dummy: Path) -> None:
        (out / "result").write_text("half")
        raise LabError("no room")

    with pytest.raises(LabError, match="no room"):
        ensure(step(fail), tmp_path, Progress(), nothing)
    assert not step(write).path(tmp_path).exists()
    assert (tmp_path / "tmp" / step(write).path(tmp_path).name / "result").exists()
    result = ensure(step(write), tmp_path, Progress(), nothing)
    assert (result / "result").read_text() == "whole"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_a_build_needs_is_checked_before_it_and_only_then(tmp_path: Path) -> None:
    def refuse() -> None:
        raise LabError("12 MiB free")

    with pytest.raises(LabError, match="12 MiB free"):
        ensure(step(write), tmp_path, Progress(), refuse)
    ensure(step(write), tmp_path, Progress(), nothing)
    ensure(step(write), tmp_path, Progress(), refuse)


def test_two_processes_build_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=build_in_another_process, args=(cache,)) for dummy in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len((tmp_path / "builds").read_text().splitlines()) == 1


def test_only_old_unused_results_of_older_recipes_go(tmp_path: Path) -> None:
    current = step(write)
    kept = ensure(current, tmp_path, Progress(), nothing)
    older, running, recent = (
        ensure(step(write, parts=(name,)), tmp_path, Progress(), nothing)
        for name in (b"older", b"running", b"recent")
    )
    foreign = tmp_path / "keys"
    foreign.mkdir()
    two_days_ago = time.time() - 2 * 86400
    for path in (kept, older, running, foreign):
        os.utime(path, (two_days_ago, two_days_ago))
    prune((current,), tmp_path, frozenset({running}), Progress())
    assert not older.exists()
    assert all(path.exists() for path in (kept, running, recent, foreign))


def test_disk_use_counts_what_is_allocated_and_links_once(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x" * 2**20)
    os.link(tmp_path / "data", tmp_path / "again")
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(2**30)
    os.sync()
    assert 2**20 <= disk_use(tmp_path) < 2**21
