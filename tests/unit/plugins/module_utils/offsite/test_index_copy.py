# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The index's copy at the destination: the same index comes back, whatever happened between."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    ConfigError,
    DestinationError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite import indexcopy
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    Attributes,
    node_id,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.indexcopy import (
    checkpoint,
    flush,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.indexread import (
    restore_index,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._offsite.pieces import (
    drop_record,
    emit,
    encode_piece,
    piece_name,
    put_record,
    rename_record,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from tests.unit.plugins.module_utils.offsite.index_model import NAMES, IndexModel, content
from tests.unit.plugins.module_utils.offsite.remote import (
    NO_REMOVAL,
    Breaking,
    connect,
    make_layout,
    names_below,
)

ACTS = (
    "file",
    "file",
    "directory",
    "directory",
    "symlink",
    "device",
    "dataset",
    "link",
    "rewrite",
    "replace",
    "touch",
    "swap",
    "move",
    "drop",
    "flush",
    "checkpoint",
)
Step: TypeAlias = "tuple[str, int, int, int, int | None, bool]"
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(ACTS),
        st.integers(0, 50),
        st.integers(0, 50),
        st.integers(0, len(NAMES) - 1),
        # Which of the calls of a flush or checkpoint the connection breaks at, and
        # whether that call was done.
        st.none() | st.integers(0, 6),
        st.booleans(),
    ),
    min_size=1,
    max_size=80,
)
# SQLite waits for the disk at every commit; hundreds of histories wait less in memory.
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
ADDED = {"file": "f", "directory": "d", "symlink": "l", "device": "b", "dataset": "d"}


@pytest.fixture(scope="module")
def store() -> Iterator[SftpClient]:
    with connect(*NO_REMOVAL) as client:
        yield client


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_layout(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> IndexModel:
    model = IndexModel(tmp_path / "index.db")
    root = model.directories()[0]
    for name in NAMES[:3]:
        model.add(root, name, "f")
    return model


def change(model: IndexModel, act: str, first: int, second: int, name: bytes) -> None:
    """One change, of things picked by number."""
    directories = model.directories()
    directory = directories[second % len(directories)]
    files, links = model.links("f"), model.links()
    if act == "dataset":
        model.add(directory, name, "d", model.new_dataset(f"main/{first}"))
    elif act in ADDED:
        model.add(directory, name, ADDED[act])
    elif act == "touch":
        nodes = [*directories, *(node for dummy, dummy_name, node in links)]
        model.touch(nodes[first % len(nodes)])
    elif act in ("link", "rewrite", "replace") and files:
        file = files[first % len(files)]
        if act == "link":
            model.hard_link(directory, name, file)
        elif act == "rewrite":
            model.rewrite(file[2])
        else:
            model.replace(file)
    elif act in ("swap", "move", "drop") and links:
        link = links[first % len(links)]
        if act == "swap":
            model.swap(link, links[second % len(links)])
        elif act == "move":
            model.move(link, directory, name)
        else:
            model.drop(link)


def restored(store: SftpClient, layout: Layout, directory: Path) -> Index:
    index = restore_index(store, layout, directory / "restored.db")
    assert index is not None
    return index


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_the_copy_brings_the_same_index_back(
    store: SftpClient,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[str, int, int, int, int | None, bool]],
) -> None:
    """Any history, with connections that break at any call, on a server that refuses removal."""
    monkeypatch.setattr(indexcopy, "PIECE_RECORDS", 4)
    with tempfile.TemporaryDirectory(dir=FAST) as name:
        base = Path(name)
        layout = make_layout(base)
        model = IndexModel(base / "index.db")
        for number, (act, first, second, called, calls, done) in enumerate(steps):
            if act not in ("flush", "checkpoint"):
                change(model, act, first, second, NAMES[called])
                continue
            layout = Layout(layout.tree, layout.control, f"20261123T060000Z-{number:04x}")
            work = flush if act == "flush" else checkpoint
            with contextlib.suppress(TransportError):
                work(
                    model.index, Breaking(store, 99 if calls is None else calls, done=done), layout
                )
            # What is there now is whole, whatever broke: some earlier state, or this one.
            with contextlib.ExitStack() as stack:
                found = restore_index(store, layout, base / "between.db")
                if found is not None:
                    stack.callback(found.close)
        before = content(model.index)
        flush(model.index, store, layout)
        assert model.index.db.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
        index = restored(store, layout, base)
        assert content(index) == before == content(model.index)
        # The rebuilt index goes on where the lost one stopped.
        model.index.close()
        model.index = index
        change(model, "file", 0, 0, b"later")
        change(model, "touch", 0, 0, b"")
        flush(model.index, store, layout)
        before = content(model.index)
        model.index.close()
        again = restored(store, layout, base)
        assert content(again) == before
        again.close()


def test_a_first_flush_makes_a_generation(
    store: SftpClient, layout: Layout, model: IndexModel
) -> None:
    written = flush(model.index, store, layout)
    assert (written.generation, written.pieces, written.records) == (layout.run + ".0", 1, 5)
    assert names_below(layout.index) == [
        os.fsencode(layout.run + ".0"),
        os.fsencode(layout.run + ".0/00000001.jsonl.gz"),
        b"current.json",
    ]


def test_a_flush_of_nothing_asks_nothing(layout: Layout, model: IndexModel) -> None:
    with connect() as other:
        flush(model.index, other, layout)
    # The connection is closed: any question would fail.
    assert flush(model.index, other, layout).pieces == 0


def test_nothing_to_restore(store: SftpClient, layout: Layout, tmp_path: Path) -> None:
    assert restore_index(store, layout, tmp_path / "new.db") is None
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("done", [False, True])
def test_a_piece_written_before_a_kill_is_not_written_again(
    store: SftpClient, layout: Layout, model: IndexModel, done: bool
) -> None:
    flush(model.index, store, layout)
    change(model, "file", 0, 0, b"x")
    with pytest.raises(TransportError):
        flush(model.index, Breaking(store, 0, done=done), layout)
    change(model, "file", 0, 0, b"y")
    assert flush(model.index, store, layout).pieces == 1
    directory = os.path.join(layout.index, os.fsencode(layout.run + ".0"))
    count = 3 if done else 2
    assert sorted(os.listdir(directory)) == [piece_name(n) for n in range(1, count + 1)]


def test_a_checkpoint_sets_the_old_generation_aside(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    flush(model.index, store, layout)
    change(model, "file", 0, 0, b"x")
    later = Layout(layout.tree, layout.control, "20261129T090000Z-00bb")
    written = checkpoint(model.index, store, later)
    assert (written.records, written.left) == (6, ())
    assert sorted(os.listdir(layout.index)) == [b"20261129T090000Z-00bb.0", b"current.json"]
    old = os.path.join(layout.versions, b"20261129T090000Z-00bb/index")
    assert os.listdir(old) == [os.fsencode(layout.run + ".0")]
    assert model.index.db.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    with contextlib.closing(restored(store, layout, tmp_path)) as index:
        assert content(index) == content(model.index)


def test_two_checkpoints_of_one_run_do_not_collide(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    flush(model.index, store, layout)
    first = checkpoint(model.index, store, layout)
    second = checkpoint(model.index, store, layout)
    assert first.generation != second.generation
    assert (first.left, second.left) == ((), ())
    with contextlib.closing(restored(store, layout, tmp_path)) as index:
        assert content(index) == content(model.index)


def test_a_checkpoint_waits_for_open_steps(
    store: SftpClient, layout: Layout, model: IndexModel
) -> None:
    model.index.db.execute(
        "INSERT INTO step VALUES (NULL, 0, 1, 'take', x'61', x'62', 1, x'61', 1, 0)"
    )
    with pytest.raises(BackupError, match="moves of a killed run"):
        checkpoint(model.index, store, layout)


def test_an_index_that_was_rolled_back_is_told_apart(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    """The state directory lies in a dataset that may be rolled back to a snapshot."""
    flush(model.index, store, layout)
    old = tmp_path / "old.db"
    model.index.db.execute("VACUUM INTO ?", (str(old),))
    for name in (b"x", b"y"):
        change(model, "file", 0, 0, name)
        flush(model.index, store, layout)
    model.index.close()
    model.index = Index(old)
    change(model, "file", 0, 0, b"z")
    with pytest.raises(DestinationError, match="00000003"):
        flush(model.index, store, layout)
    # What the destination holds is still whole, and a checkpoint settles it.
    checkpoint(model.index, store, layout)
    with contextlib.closing(restored(store, layout, tmp_path)) as index:
        assert content(index) == content(model.index)


def test_an_index_one_piece_behind_is_told_apart(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    flush(model.index, store, layout)
    old = tmp_path / "old.db"
    model.index.db.execute("VACUUM INTO ?", (str(old),))
    change(model, "file", 0, 0, b"x")
    flush(model.index, store, layout)
    model.index.close()
    model.index = Index(old)
    change(model, "file", 0, 0, b"z")
    with pytest.raises(DestinationError, match="does not hold what the outbox has"):
        flush(model.index, store, layout)


def test_another_hosts_index_is_told_apart(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    flush(model.index, store, layout)
    other = IndexModel(tmp_path / "other.db")
    with pytest.raises(DestinationError, match="goes with generation none"):
        flush(other.index, store, layout)


def pieces_of(layout: Layout) -> bytes:
    return os.path.join(layout.index, os.fsencode(layout.run + ".0"))


@pytest.mark.parametrize("number", [1, 2])
def test_a_missing_piece_is_named(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path, number: int
) -> None:
    flush(model.index, store, layout)
    for name in (b"x", b"y"):
        change(model, "file", 0, 0, name)
        flush(model.index, store, layout)
    gone = os.path.join(pieces_of(layout), piece_name(number))
    os.remove(gone)
    with pytest.raises(DestinationError) as caught:
        restore_index(store, layout, tmp_path / "new.db")
    assert caught.value.on == os.fsdecode(gone)
    assert caught.value.found == "it is missing"
    assert sorted(os.listdir(tmp_path)) == ["index.db", "index.db-shm", "index.db-wal", *LEFT]


LEFT = ["tree", "tree.homelab-backup"]


def test_a_missing_piece_of_the_dump_is_named(
    store: SftpClient,
    layout: Layout,
    model: IndexModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even when it is the last of all."""
    monkeypatch.setattr(indexcopy, "PIECE_RECORDS", 2)
    written = checkpoint(model.index, store, layout)
    assert written.pieces == 3
    os.remove(os.path.join(pieces_of(layout), piece_name(3)))
    with pytest.raises(DestinationError, match="00000003"):
        restore_index(store, layout, tmp_path / "new.db")


def test_a_damaged_piece_is_named(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    flush(model.index, store, layout)
    path = os.path.join(pieces_of(layout), piece_name(1))
    with open(path, "r+b") as handle:
        handle.seek(40)
        handle.write(b"\0\0")
    with pytest.raises(DestinationError) as caught:
        restore_index(store, layout, tmp_path / "new.db")
    assert caught.value.on == os.fsdecode(path)


@pytest.mark.parametrize(
    ("piece", "found"),
    [
        (encode_piece("other.0", 2, []), "piece 2 of generation 'other.0'"),
        (encode_piece("20261123T060000Z-00aa.0", 1, []), "header says piece 1"),
        (
            encode_piece("20261123T060000Z-00aa.0", 2, [rename_record(3, b"b/c")]),
            "record 1: waiting place 3 is renamed but not there",
        ),
        (
            encode_piece("20261123T060000Z-00aa.0", 2, [rename_record(b"a", b"no/c")]),
            "record 1: the directory no is not there",
        ),
        (encode_piece("20261123T060000Z-00aa.0", 2, [drop_record(b"")]), "neither renamed"),
        (encode_piece("20261123T060000Z-00aa.0", 2, [b"{}"]), "record 1: it has no key 'op'"),
    ],
)
def test_a_piece_that_contradicts_the_others_is_named(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path, piece: bytes, found: str
) -> None:
    flush(model.index, store, layout)
    path = os.path.join(pieces_of(layout), piece_name(2))
    Path(os.fsdecode(path)).write_bytes(piece)
    with pytest.raises(DestinationError) as caught:
        restore_index(store, layout, tmp_path / "new.db")
    assert found in caught.value.found
    assert caught.value.on == os.fsdecode(path)


def test_what_is_not_damaged_can_still_be_had(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    for name in (b"x", b"y", b"z"):
        flush(model.index, store, layout)
        change(model, "file", 0, 0, name)
    flush(model.index, store, layout)
    os.remove(os.path.join(pieces_of(layout), piece_name(2)))
    problems: list[DestinationError] = []
    index = restore_index(store, layout, tmp_path / "new.db", problems.append)
    assert index is not None
    assert [problem.found for problem in problems] == ["it is missing"]
    names = {row[0] for row in index.db.execute("SELECT name FROM link")}
    assert names == {*NAMES[:3], b"y", b"z"}
    # No run goes on with it: the destination would lose what is missing here.
    change_of_another = IndexModel(tmp_path / "other.db")
    change_of_another.index = index
    change(change_of_another, "file", 0, 0, b"new")
    with pytest.raises(DestinationError, match="not the one that was last copied"):
        flush(index, store, layout)
    index.close()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b'{"format": "homelab.backup.offsite-index-current/1", "generation": "..", "sequence": 0}',
    ],
)
def test_a_damaged_current_file_is_named_and_repaired_by_a_checkpoint(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path, document: bytes
) -> None:
    flush(model.index, store, layout)
    Path(os.fsdecode(layout.index), "current.json").write_bytes(document)
    with pytest.raises(DestinationError, match=r"current\.json"):
        restore_index(store, layout, tmp_path / "new.db")
    checkpoint(model.index, store, layout)
    with contextlib.closing(restored(store, layout, tmp_path)) as index:
        assert content(index) == content(model.index)


def test_a_newer_copy_is_refused_by_all(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    flush(model.index, store, layout)
    current = Path(os.fsdecode(layout.index), "current.json")
    current.write_bytes(current.read_bytes().replace(b"current/1", b"current/2"))
    change(model, "file", 0, 0, b"x")
    for work in (
        lambda: flush(model.index, store, layout),
        lambda: checkpoint(model.index, store, layout),
        lambda: restore_index(store, layout, tmp_path / "new.db"),
    ):
        with pytest.raises(ConfigError, match="reads up to"):
            work()


def test_what_comes_into_a_moved_directory_is_found_under_its_new_name(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    """Two directories change names while both have been written to, and are written to again."""
    root = model.directories()[0]
    for name in (b"one", b"two"):
        model.add(root, name, "d")
    for directory in model.directories()[1:]:
        model.add(directory, b"before", "f")
    model.swap(*model.links("d"))
    for directory in model.directories()[1:]:
        model.add(directory, b"after", "f")
    one = model.links("d")[0]
    model.move(one, root, b"three")
    model.add(one[2], b"last", "f")
    flush(model.index, store, layout)
    with contextlib.closing(restored(store, layout, tmp_path)) as index:
        assert content(index) == content(model.index)


def test_a_put_over_a_directory_drops_what_was_beneath(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    root = model.directories()[0]
    model.add(root, b"dir", "d")
    model.add(model.directories()[1], b"inner", "f")
    file = Attributes("f", 0o600, 0, 0, 9, 1, 1)
    with model.index.transaction():
        emit(model.index, put_record(b"dir", node_id(1, 999), file, False, bytes(32)))
    flush(model.index, store, layout)
    with contextlib.closing(restored(store, layout, tmp_path)) as index:
        names = [row[0] for row in index.db.execute("SELECT name FROM link ORDER BY name")]
        assert names == [b"a", b"b", b"c", b"dir"]
        assert index.db.execute("SELECT count(*) FROM object").fetchone() == (5,)


def test_a_put_below_a_dropped_directory_is_named(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    root = model.directories()[0]
    model.add(root, b"dir", "d")
    model.add(model.directories()[1], b"inner", "f")
    file = Attributes("f", 0o600, 0, 0, 9, 1, 1)
    with model.index.transaction():
        emit(model.index, drop_record(b"dir"))
        emit(model.index, put_record(b"dir/new", node_id(1, 999), file, False, bytes(32)))
    flush(model.index, store, layout)
    with pytest.raises(DestinationError, match="the directory dir is not there"):
        restore_index(store, layout, tmp_path / "new.db")


def test_directories_may_come_before_the_root_above_them(
    store: SftpClient, layout: Layout, tmp_path: Path
) -> None:
    """The first run makes directories before it records attributes."""
    index = Index(tmp_path / "index.db")
    directory = Attributes("d", 0o755, 0, 0, 0, 1, 1)
    with index.transaction():
        emit(index, put_record(b"a", node_id(1, 7), directory, False))
        emit(index, put_record(b"a/b", node_id(1, 8), directory, False))
        emit(index, drop_record(b"a/never"))
        emit(index, drop_record(b"never"))
        emit(index, put_record(b"", node_id(1, 34), directory, False))
        emit(index, put_record(b"a/b/c", node_id(1, 9), directory, False))
    flush(index, store, layout)
    index.close()
    with contextlib.closing(restored(store, layout, tmp_path)) as again:
        assert again.get("root") == str(node_id(1, 34))
        assert again.db.execute("SELECT parent, id FROM link ORDER BY id").fetchall() == [
            (node_id(1, 34), node_id(1, 7)),
            (node_id(1, 7), node_id(1, 8)),
            (node_id(1, 8), node_id(1, 9)),
        ]


def test_names_that_still_wait_are_not_in_the_tree(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    """A run killed between the two halves of a swap, and its index lost."""
    root = model.directories()[0]
    model.add(root, b"dir", "d")
    directory = model.directories()[1]
    model.add(directory, b"inner", "f")
    with model.index.transaction():
        emit(model.index, rename_record(b"dir", 0))
        emit(model.index, rename_record(b"a", 1))
    flush(model.index, store, layout)
    with contextlib.closing(restored(store, layout, tmp_path)) as index:
        names = [row[0] for row in index.db.execute("SELECT name FROM link ORDER BY name")]
        assert names == [b"b", b"c"]
        assert index.db.execute("SELECT count(*) FROM object").fetchone() == (3,)


def test_a_hard_link_whose_other_name_was_not_sent_yet_is_due(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    """Killed between the names of one file: the older content must not count as current."""
    root = model.directories()[0]
    link = model.links("f")[0]
    model.hard_link(root, b"second", link)
    old = model.attributes(link[2])
    new = Attributes("f", 0o600, 0, 0, 9, old.mtime_ns + 1, old.ctime_ns + 1)
    with model.index.transaction():
        emit(model.index, put_record(b"a", link[2], new, False, bytes(32)))
    flush(model.index, store, layout)
    with contextlib.closing(restored(store, layout, tmp_path)) as index:
        rows = dict(index.db.execute("SELECT name, version FROM link WHERE id = ?", (link[2],)))
        assert rows == {b"a": new.ctime_ns, b"second": None}
        # A checkpoint keeps that.
        checkpoint(index, store, layout)
        with contextlib.closing(restored(store, layout, tmp_path)) as again:
            assert content(again) == content(index)


def test_a_name_that_was_never_sent_is_not_in_the_copy(
    store: SftpClient, layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    root = model.directories()[0]
    model.index.db.execute(
        "INSERT INTO link VALUES (?, x'6e6577', ?, NULL, NULL, NULL, NULL)", (root, node_id(1, 999))
    )
    checkpoint(model.index, store, layout)
    with contextlib.closing(restored(store, layout, tmp_path)) as index:
        names = [row[0] for row in index.db.execute("SELECT name FROM link ORDER BY name")]
        assert names == [b"a", b"b", b"c"]


def test_a_restore_that_breaks_leaves_no_file(
    layout: Layout, model: IndexModel, tmp_path: Path
) -> None:
    with connect() as first:
        flush(model.index, first, layout)
    with connect() as other:

        class Ending:
            def __getattr__(self, name: str) -> object:
                if name == "list_dir":
                    other.close()
                return getattr(other, name)

        with pytest.raises(TransportError):
            restore_index(Ending(), layout, tmp_path / "new.db")
    assert [name for name in os.listdir(tmp_path) if name.startswith("new")] == []
