# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Deleting old versions: what goes, what never goes, and going on after a kill."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    DestinationError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._offsite.marker import Marker
from ansible_collections.homelab.backup.plugins.module_utils._offsite.prune import (
    Pruned,
    apply_prune,
    plan_prune,
    require_ours,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from tests.unit.plugins.module_utils.offsite.remote import (
    NO_REMOVAL,
    Breaking,
    connect,
    make_layout,
    names_below,
)

DAY = 86_400
NOW = 1_795_413_600  # 2026-11-23T06:00:00Z


def run_id(days_ago: float, tail: str = "00aa") -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(NOW - days_ago * DAY)) + "-" + tail


@pytest.fixture(scope="module")
def store() -> Iterator[SftpClient]:
    with connect() as client:
        yield client


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = make_layout(tmp_path)
    marker = Marker("main", "4711", "main", "truenas", "2026-01-01T00:00:00Z")
    Path(os.fsdecode(layout.marker)).write_bytes(marker.encode())
    Path(os.fsdecode(layout.tree), "file").write_bytes(b"in the tree")
    return layout


def versions(layout: Layout) -> Path:
    return Path(os.fsdecode(layout.versions))


def put(layout: Layout, run: str, *names: str) -> None:
    """Versions of a run."""
    for name in names or ("deleted/a/b", "replaced/c"):
        path = versions(layout) / run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"old")


def record(layout: Layout, days_ago: float) -> None:
    """The record of a run that ended."""
    Path(os.fsdecode(layout.records), run_id(days_ago) + ".json").write_bytes(b"{}")


def prune(store: Any, layout: Layout, days: int = 30, now: float = NOW, keep: int = 1) -> Pruned:
    plan = plan_prune(store, layout, days=days, now=now, keep_runs=keep)
    return apply_prune(store, layout, plan)


def test_what_is_older_goes_and_nothing_else(store: SftpClient, layout: Layout) -> None:
    record(layout, 0)
    ages = (0.1, 1, 29.9, 30.1, 31, 400)
    for age in ages:
        put(layout, run_id(age))
    plan = plan_prune(store, layout, days=30, now=NOW)
    assert [name.decode() for name in plan.runs] == [run_id(age) for age in (400, 31, 30.1)]
    assert plan.kept == 3
    assert "older than 2026-10-24T06:00:00Z" in plan.lines()[0]
    # A plan is only a plan.
    assert sorted(os.listdir(versions(layout))) == sorted(run_id(age) for age in ages)
    result = apply_prune(store, layout, plan)
    assert (result.runs, result.files, result.problems) == (3, 6, [])
    assert result.size == 18
    assert sorted(os.listdir(versions(layout))) == sorted(run_id(age) for age in ages[:3])
    assert names_below(layout.tree) == [b"file"]
    assert not plan_prune(store, layout, days=30, now=NOW)


@pytest.mark.parametrize(("keep", "left"), [(0, 0), (1, 1), (2, 2), (9, 3)])
def test_the_newest_runs_stay_whatever_their_age(
    store: SftpClient, layout: Layout, keep: int, left: int
) -> None:
    record(layout, 0)
    for age in (100, 200, 300):
        put(layout, run_id(age))
    prune(store, layout, keep=keep)
    assert sorted(os.listdir(versions(layout)), reverse=True) == [
        run_id(age) for age in (100, 200, 300)[:left]
    ]


@pytest.mark.parametrize("ahead", [0, 100, 3650])
def test_while_no_run_ends_nothing_gets_older(
    store: SftpClient, layout: Layout, ahead: int
) -> None:
    """The source is gone, or the clock is ahead: what was kept 30 days stays."""
    record(layout, 40)
    for age in (41, 60, 69, 71, 80):
        put(layout, run_id(age))
    result = prune(store, layout, now=NOW + ahead * DAY)
    assert result.runs == 2
    assert sorted(os.listdir(versions(layout))) == [run_id(age) for age in (69, 60, 41)]
    plan = plan_prune(store, layout, days=30, now=NOW + ahead * DAY)
    assert "no run has ended since" in "".join(plan.lines())


def test_a_clock_that_went_back_deletes_less(store: SftpClient, layout: Layout) -> None:
    record(layout, 0)
    for age in (0, 40):
        put(layout, run_id(age))
    assert prune(store, layout, now=NOW - 20 * DAY).runs == 0


def test_names_that_are_not_ours_are_left(
    store: SftpClient, layout: Layout, tmp_path: Path
) -> None:
    record(layout, 0)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"")
    names = ("mine", "20200101T000000Z", "20200101T000000Z-00ag", "20200101T000000Z-00AA", "@eaDir")
    for name in names:
        put(layout, name)
    os.symlink(outside, versions(layout) / "20200101T000000Z-00aa")
    (versions(layout) / "20200102T000000Z-00aa").write_bytes(b"a file")
    put(layout, "20200103T000000Z-00aa")
    os.symlink(outside, versions(layout) / "20200103T000000Z-00aa/deleted/link")
    put(layout, run_id(0))
    plan = plan_prune(store, layout, days=30, now=NOW)
    assert plan.runs == (b"20200103T000000Z-00aa",)
    assert len(plan.notes) == len(names) + 2
    assert apply_prune(store, layout, plan).runs == 1
    assert os.listdir(outside) == ["file"]
    assert len(os.listdir(versions(layout))) == len(names) + 3


def test_leftovers_of_killed_runs_go_when_a_later_run_ended(
    store: SftpClient, layout: Layout
) -> None:
    incoming = Path(os.fsdecode(layout.incoming))
    old, new = run_id(50), run_id(3)
    for name in (f"{old}.0", f"{old}.1000000001", f"{new}.0", "notes"):
        (incoming / name).write_bytes(b"partial")
    # A directory that was being moved may be the only copy here.
    (incoming / f"{old}.7").mkdir()
    put(layout, run_id(1))
    assert plan_prune(store, layout, days=30, now=NOW).leftovers == ()
    record(layout, 51)
    assert plan_prune(store, layout, days=30, now=NOW).leftovers == ()
    record(layout, 1)
    assert prune(store, layout).files == 2
    assert sorted(os.listdir(incoming)) == sorted([f"{old}.7", f"{new}.0", "notes"])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no marker of ours"),
        (Marker("ssd", "4711", "ssd", "truenas", "2026").encode(), "belongs to job 'ssd'"),
        (b"{}", "no key 'format'"),
    ],
)
def test_without_our_marker_nothing_goes(
    store: SftpClient, layout: Layout, content: bytes | None, found: str
) -> None:
    path = Path(os.fsdecode(layout.marker))
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DestinationError) as caught:
        require_ours(store, layout, "main")
    assert found in caught.value.found


def test_with_our_marker_it_may(store: SftpClient, layout: Layout, tmp_path: Path) -> None:
    assert require_ours(store, layout, "main").job == "main"
    assert require_ours(store, layout, "main", "4711").job == "main"
    with pytest.raises(DestinationError, match="belongs to"):
        require_ours(store, layout, "main", "4712")
    versions(layout).rmdir()
    os.symlink(tmp_path, versions(layout))
    with pytest.raises(DestinationError, match="no directory"):
        require_ours(store, layout, "main")


def test_less_than_a_day_is_refused(store: SftpClient, layout: Layout) -> None:
    with pytest.raises(ConfigError, match="at least one day"):
        plan_prune(store, layout, days=0, now=NOW)


def test_a_login_that_may_not_remove_is_told_and_nothing_moves(layout: Layout) -> None:
    record(layout, 0)
    put(layout, run_id(40), "deleted/a/b", "deleted/c")
    (versions(layout) / run_id(41) / "deleted/empty").mkdir(parents=True)
    put(layout, run_id(0))
    before = names_below(layout.versions)
    with connect(*NO_REMOVAL) as run_key:
        result = prune(run_key, layout)
    assert result.runs == 0
    assert result.problem_count > 0
    assert "ermission" in result.problems[0]
    assert names_below(layout.versions) == before


def test_paths_that_the_server_cannot_reach_go_too(store: SftpClient, layout: Layout) -> None:
    """A directory that was moved into versions holds longer paths than it did in the tree."""
    record(layout, 0)
    put(layout, run_id(0))
    base = versions(layout) / run_id(40)
    base.mkdir()
    at = os.open(base, os.O_RDONLY)
    for number in range(60):
        for name in ("x" * 200, "y" * 190):
            os.mkdir(name, dir_fd=at)
        descriptor = os.open(f"file{number}", os.O_CREAT | os.O_WRONLY, dir_fd=at)
        os.close(descriptor)
        below = os.open("x" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    listed = list(store.list_tree(os.fsencode(base), on_error=lambda dummy: None))
    assert len(listed) < 180, "this server lists everything: the test shows nothing"
    # A killed prune had already moved something up.
    (base / "1").mkdir()
    result = prune(store, layout)
    assert result.problems == []
    assert result.files == 60
    assert os.listdir(versions(layout)) == [run_id(0)]


def test_nothing_at_all(store: SftpClient, layout: Layout) -> None:
    plan = plan_prune(store, layout, days=30, now=NOW)
    assert not plan
    assert plan.reference is None
    assert apply_prune(store, layout, plan) == Pruned()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(calls=st.integers(0, 12), done=st.booleans())
def test_killed_and_called_again(
    store: SftpClient, tmp_path_factory: pytest.TempPathFactory, calls: int, done: bool
) -> None:
    layout = make_layout(tmp_path_factory.mktemp("killed"))
    record(layout, 0)
    for age in (0, 29, 40, 50):
        put(layout, run_id(age), "deleted/a/b/c", "deleted/a/d", "replaced/e", "index/g.0/1")
    kept = [names_below(os.fsencode(versions(layout) / run_id(age))) for age in (0, 29)]
    with contextlib.suppress(TransportError):
        prune(Breaking(store, calls, done=done), layout)
    assert prune(store, layout).problems == []
    assert sorted(os.listdir(versions(layout)), reverse=True) == [run_id(0), run_id(29)]
    assert [names_below(os.fsencode(versions(layout) / run_id(age))) for age in (0, 29)] == kept
