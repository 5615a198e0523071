# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The directory to restore into, against somebody who changes it at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import Attributes
from ansible_collections.homelab.backup.plugins.module_utils._offsite.target import (
    OPEN_DIRECTORIES,
    TargetTree,
)

FILE = Attributes("f", 0o640, 0, 0, 4, 1_600_000_000_000_000_001, 0)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[TargetTree]:
    made = TargetTree(tmp_path / "target")
    yield made
    made.close(finished=True)


def new_file(tree: TargetTree, path: bytes, content: bytes) -> None:
    descriptor = tree.create(path)
    os.write(descriptor, content)
    os.close(descriptor)


@pytest.mark.parametrize("cached", [False, True])
def test_a_directory_exchanged_for_a_symlink_is_not_entered(
    tree: TargetTree, tmp_path: Path, cached: bool
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tree.make_directory(b"home")
    if cached:
        new_file(tree, b"home/first", b"1")
    (tree.root / "home").rename(tree.root / "moved")
    os.symlink(outside, tree.root / "home")
    if cached:
        # The directory that was opened is still the one that is written to.
        new_file(tree, b"home/second", b"2")
        tree.commit(b"home/second", overwrite=False)
        assert (tree.root / "moved/second").read_bytes() == b"2"
    else:
        with pytest.raises(NotADirectoryError):
            tree.create(b"home/second")
    assert os.listdir(outside) == []


def test_a_name_taken_in_the_meantime_is_not_replaced(tree: TargetTree) -> None:
    new_file(tree, b"a", b"ours")
    (tree.root / "a").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        tree.commit(b"a", overwrite=False)
    assert (tree.root / "a").read_bytes() == b"theirs"
    tree.commit(b"a", overwrite=True)
    assert (tree.root / "a").read_bytes() == b"ours"


def test_a_waiting_file_exchanged_for_a_symlink_gives_nothing_away(
    tree: TargetTree, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    victim.chmod(0o600)
    before = victim.stat()
    new_file(tree, b"a", b"ours")
    [waiting] = [name for name in os.listdir(tree.root) if not name.endswith("directories")]
    (tree.root / waiting).unlink()
    os.symlink(victim, tree.root / waiting)
    tree.set_waiting_attributes(b"a", FILE)
    after = victim.stat()
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (
        before.st_mode,
        before.st_uid,
        before.st_mtime_ns,
    )


def test_the_same_file_under_both_names_leaves_one(tree: TargetTree) -> None:
    """rename(2) of two hard links of one file does nothing at all."""
    new_file(tree, b"a", b"ours")
    [waiting] = [name for name in os.listdir(tree.root) if not name.endswith("directories")]
    os.link(tree.root / waiting, tree.root / "a")
    tree.commit(b"a", overwrite=True)
    assert sorted(os.listdir(tree.root)) == [".homelab-backup-fetch.directories", "a"]


def test_many_directories_do_not_use_up_descriptors(tree: TargetTree) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3 * OPEN_DIRECTORIES):
        tree.make_directory(b"%d" % number)
        new_file(tree, b"%d/file" % number, b"x")
        tree.commit(b"%d/file" % number, overwrite=False)
    tree.create_link(b"0/link", b"100/file")
    tree.commit(b"0/link", overwrite=False)
    assert os.path.samefile(tree.root / "0/link", tree.root / "100/file")
    assert len(os.listdir("/proc/self/fd")) <= before + OPEN_DIRECTORIES


def test_directories_of_a_killed_restore_are_remembered(tmp_path: Path) -> None:
    names = [b"a", b"a/b\n", b"\xff"]
    first = TargetTree(tmp_path / "target")
    for name in names:
        first.make_directory(name)
    first.close(finished=False)
    with (tmp_path / "target/.homelab-backup-fetch.directories").open("ab") as journal:
        journal.write(b"cut of")
    second = TargetTree(tmp_path / "target")
    # The top was made by the first one, too.
    assert second.made == {b"", *names}
    second.close(finished=True)
    third = TargetTree(tmp_path / "target")
    assert third.made == set()
    third.close(finished=True)
