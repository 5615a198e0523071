# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ZFS holds: datasets and snapshots as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Kind = Literal["filesystem", "volume"]
NO_PROPERTIES: Mapping[str, str] = MappingProxyType({})


def pool_of(name: str) -> str:
    """The pool of a dataset or snapshot name ("main" of "main/a/b@x")."""
    return name.partition("@")[0].partition("/")[0]


def dataset_of(snapshot: str) -> str:
    """The dataset of a snapshot name ("main/a" of "main/a@x")."""
    return snapshot.partition("@")[0]


def short_of(snapshot: str) -> str:
    """What stands behind the ``@`` of a snapshot name."""
    return snapshot.partition("@")[2]


def is_within(name: str, root: str) -> bool:
    """True when dataset ``name`` is ``root`` or a descendant of it."""
    return name == root or name.startswith(root + "/")


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file system or volume, with the properties of zfsprops(7) of the same names.

    Attributes:
        name: the full name.
        guid: stays the same over renames.
        kind: ``filesystem`` or ``volume`` (property ``type``).
        mountpoint: a path, ``none``, ``legacy``, or ``-`` for a volume. Bytes
            that are not UTF-8 are surrogate escapes, as :func:`os.fsdecode` makes them.
        mounted: True when it is mounted now; always False for a volume.
        canmount: ``on``, ``off``, ``noauto``, or ``-`` for a volume.
        keystatus: ``available``, ``unavailable``, or ``-`` when not encrypted.
        used: bytes, with descendants and snapshots.
        referenced: bytes that its current state refers to.
    """

    name: str
    guid: int
    kind: Kind
    mountpoint: str
    mounted: bool
    canmount: str
    keystatus: str
    used: int
    referenced: int

    @property
    def pool(self) -> str:
        """The pool that it lies in."""
        return pool_of(self.name)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot, with the properties of zfsprops(7) of the same names.

    Attributes:
        name: the full name, ``dataset@short``.
        guid: stays the same over renames and is kept by ``zfs send``.
        createtxg: the transaction group of its creation. It grows strictly
            with time in a pool, whatever the clock did, so it gives the order.
        creation: seconds since 1970, by the clock of that moment.
        used: bytes that only this snapshot holds, so what destroying it alone frees.
        written: bytes written between the snapshot before it and this one.
        userrefs: number of holds.
        clones: names of datasets cloned from it.
        properties: the requested user properties that are set on it.
    """

    name: str
    guid: int
    createtxg: int
    creation: int
    used: int
    written: int
    userrefs: int
    clones: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=lambda: NO_PROPERTIES)

    @property
    def dataset(self) -> str:
        """The dataset that it is a snapshot of."""
        return dataset_of(self.name)

    @property
    def short(self) -> str:
        """The part behind the ``@``."""
        return short_of(self.name)

    @property
    def pool(self) -> str:
        """The pool that it lies in."""
        return pool_of(self.name)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A snapshot that ZFS would not destroy, and why in its own words."""

    snapshot: str
    reason: str


@dataclass(frozen=True, slots=True)
class Destroyed:
    """The outcome of destroying snapshots of one dataset.

    Attributes:
        gone: full names that were destroyed.
        kept: those that are still there, with the reason.
    """

    gone: tuple[str, ...] = ()
    kept: tuple[Refusal, ...] = ()
