# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which datasets take part in a job, and where each lies in the remote tree.

The remote tree follows the dataset names: ``main/a/b`` of a job with the root
``main`` is the directory ``a/b``, wherever it is mounted. A child dataset's
root stands where its parent's own root directory has (or would have) an entry
of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Dataset


@dataclass(frozen=True, slots=True)
class Member:
    """A dataset that takes part; ``prefix`` is its directory in the remote tree."""

    dataset: Dataset
    prefix: bytes

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.dataset.name

    @property
    def component(self) -> bytes:
        """The last component of its path."""
        return self.prefix.rpartition(b"/")[2]


@dataclass(frozen=True, slots=True)
class Scope:
    """The datasets of a job.

    ``members`` take part, parents first. ``excluded`` are left out by a
    pattern, ``locked`` have no key loaded (what is stored of them stays).
    """

    members: tuple[Member, ...]
    excluded: tuple[str, ...]
    locked: tuple[str, ...]

    def children(self, parent: str) -> list[Member]:
        """The members directly below ``parent``."""
        return [item for item in self.members if item.name.rpartition("/")[0] == parent]

    def hidden(self, parent: str) -> frozenset[bytes]:
        """Names of datasets directly below ``parent`` that take no part."""
        left_out = (*self.excluded, *self.locked)
        return frozenset(
            name.rpartition("/")[2].encode()
            for name in left_out
            if name.rpartition("/")[0] == parent
        )


def prefix_of(name: str, root: str) -> bytes:
    """The directory of dataset ``name`` in the remote tree of a job with ``root``."""
    return name[len(root) + 1 :].encode()


def members_of(
    datasets: Iterable[Dataset], root: str, pruned_by: Callable[[bytes], str | None]
) -> Scope:
    """Sort the datasets at and below ``root``.

    Args:
        datasets: all of them, any order; volumes have no files and are passed over.
        root: the job's root dataset.
        pruned_by: the pattern that excludes a whole directory, None when none does.
    """
    members: list[Member] = []
    excluded: list[str] = []
    locked: list[str] = []
    for dataset in sorted(datasets, key=lambda item: item.name):
        if dataset.kind != "filesystem":
            continue
        parent = dataset.name.rpartition("/")[0]
        prefix = prefix_of(dataset.name, root)
        if parent in excluded or (prefix and pruned_by(prefix) is not None):
            excluded.append(dataset.name)
        elif dataset.keystatus == "unavailable" or parent in locked:
            locked.append(dataset.name)
        else:
            members.append(Member(dataset, prefix))
    return Scope(tuple(members), tuple(excluded), tuple(locked))


def own_state_pattern(state_dir: PurePath, datasets: Sequence[Dataset], root: str) -> str | None:
    """The pattern that keeps the runner's own state out of the copy.

    The index changes in every run and describes the copy that it would be a
    part of. Returns None when the state directory is not in the job.
    """
    best: Dataset | None = None
    for dataset in datasets:
        inside = dataset.kind == "filesystem" and dataset.mountpoint.startswith("/")
        if (
            inside
            and state_dir.is_relative_to(dataset.mountpoint)
            and (best is None or len(dataset.mountpoint) > len(best.mountpoint))
        ):
            best = dataset
    if best is None or not (best.name == root or best.name.startswith(root + "/")):
        return None
    below = state_dir.relative_to(best.mountpoint)
    path = PurePath(prefix_of(best.name, root).decode()) / below
    if str(path) == ".":
        return None
    return "/" + "".join("\\" + char if char in "\\*?[]{}" else char for char in str(path)) + "/**"
