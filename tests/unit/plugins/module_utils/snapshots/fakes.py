# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that exists in memory: ZFS with its rules for snapshots, a clock, a state directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import SourceError
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.document import (
    parse_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.record import (
    RunMemory,
    RunRecord,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.errors import (
    DatasetMissingError,
    PoolUnavailableError,
    SnapshotExistsError,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import (
    Dataset,
    Destroyed,
    Kind,
    Refusal,
    Snapshot,
    dataset_of,
    is_within,
    pool_of,
)

NAMES = ("main", "main/a", "main/a/vol", "ssd")


class Killed(BaseException):
    """The run's process ends here."""


@dataclass
class FakeClock:
    """A clock that says what it is told."""

    time: float = 0.0

    def now(self) -> float:
        return self.time


@dataclass
class FakeMemory:
    """The state directory."""

    memory: RunMemory = field(default_factory=RunMemory)
    records: list[RunRecord] = field(default_factory=list)

    def load(self) -> RunMemory:
        return self.memory

    def save(self, memory: RunMemory) -> None:
        self.memory = memory

    def keep(self, record: RunRecord) -> None:
        self.records.append(record)


def dataset(name: str) -> Dataset:
    kind: Kind = "volume" if name.endswith("vol") else "filesystem"
    return Dataset(name, hash(name), kind, "/mnt/" + name, True, "on", "-", 0, 0)


class FakeZfs:
    """Creates all or none, refuses held and cloned ones, counts calls, and can be killed.

    Attributes:
        refuse: datasets that zfs refuses a snapshot of.
        suspended: pools that can't be used.
        kill_at: the number of the call at which the run is killed; even: before
            the call's effect, odd: after it.
    """

    def __init__(self, clock: FakeClock, names: Sequence[str] = NAMES) -> None:
        self.clock = clock
        self.sets = {name: dataset(name) for name in names}
        self.shots: dict[str, Snapshot] = {}
        self.txg = 100
        self.calls: list[str] = []
        self.refuse: set[str] = set()
        self.suspended: set[str] = set()
        self.kill_at: int | None = None
        self._points = 0

    def _call(self, what: str, pools: Sequence[str]) -> None:
        self.calls.append(what)
        for pool in pools:
            if pool in self.suspended:
                raise PoolUnavailableError("do it", on=pool, found="pool I/O is suspended")
            if pool not in self.sets:
                raise DatasetMissingError("do it", on=pool, found=f"'{pool}' does not exist")

    def _point(self) -> None:
        if self.kill_at == self._points:
            raise Killed
        self._points += 1

    def datasets(self, *roots: str, recursive: bool = True) -> tuple[Dataset, ...]:
        self._call("datasets", [pool_of(root) for root in roots])
        return tuple(
            self.sets[name]
            for name in sorted(self.sets)
            if any(is_within(name, root) if recursive else name == root for root in roots)
        )

    def snapshots(
        self, roots: Sequence[str], *, recursive: bool = True, user_properties: Sequence[str] = ()
    ) -> tuple[Snapshot, ...]:
        self._call("snapshots", [pool_of(root) for root in roots])
        found = [
            shot
            for shot in self.shots.values()
            if any(is_within(shot.dataset, root) for root in roots)
        ]
        return tuple(sorted(found, key=lambda shot: (shot.dataset, shot.createtxg)))

    def pool_guids(self, pools: Sequence[str]) -> Mapping[str, int]:
        self._call("pool_guids", pools)
        return {pool: 1000 + sum(map(ord, pool)) for pool in pools}

    def snapshot(self, names: Sequence[str], properties: Mapping[str, str]) -> None:
        self._point()
        self._call("snapshot", sorted({pool_of(name) for name in names}))
        if len({pool_of(name) for name in names}) != 1:
            raise SourceError("take", found="cannot create snapshots : not in the same pool")
        self._create(names, properties)
        self._point()

    def snapshot_recursive(self, root: str, short: str, properties: Mapping[str, str]) -> None:
        self._point()
        self._call("snapshot -r", [pool_of(root)])
        if root not in self.sets:
            raise DatasetMissingError("take", found=f"cannot open '{root}': dataset does not exist")
        self._create([f"{name}@{short}" for name in self.sets if is_within(name, root)], properties)
        self._point()

    def _create(self, names: Sequence[str], properties: Mapping[str, str]) -> None:
        for name in names:
            if dataset_of(name) not in self.sets:
                found = f"cannot open '{dataset_of(name)}': dataset does not exist"
                raise DatasetMissingError("take", on=name, found=found)
        taken = [name for name in names if name in self.shots]
        if taken:
            said = " ".join(f"cannot create snapshot '{name}': exists" for name in taken)
            raise SnapshotExistsError("take", found=said)
        refused = [name for name in names if dataset_of(name) in self.refuse]
        if refused:
            said = " ".join(f"cannot create snapshot '{name}': out of space" for name in refused)
            raise SourceError("take", found=said)
        self.txg += 5
        for name in names:
            self.add(name, self.txg, int(self.clock.now()), dict(properties))

    def add(
        self, name: str, txg: int, creation: int, properties: Mapping[str, str] | None = None
    ) -> None:
        """Put a snapshot there, as if by other means."""
        self.txg = max(self.txg, txg)
        self.shots[name] = Snapshot(
            name, len(self.shots), txg, creation, 4096, 0, 0, (), properties or {}
        )

    def change(self, name: str, **values: object) -> None:
        """Change an attribute of a snapshot, such as its holds."""
        self.shots[name] = replace(self.shots[name], **values)

    def destroy_snapshots(self, dataset: str, shorts: Sequence[str]) -> Destroyed:
        self._point()
        self._call("destroy", [pool_of(dataset)])
        gone: list[str] = []
        kept: list[Refusal] = []
        for name in (f"{dataset}@{short}" for short in shorts):
            shot = self.shots.get(name)
            if shot is not None and (shot.userrefs or shot.clones):
                kept.append(Refusal(name, "dataset is busy"))
            else:
                self.shots.pop(name, None)
                gone.append(name)
        self._point()
        return Destroyed(tuple(gone), tuple(kept))

    def of(self, dataset: str, prefix: str = "") -> list[str]:
        """The short names of a dataset's snapshots that begin with ``prefix``, oldest first."""
        found = [shot for shot in self.shots.values() if shot.dataset == dataset]
        found.sort(key=lambda shot: shot.createtxg)
        return [shot.short for shot in found if shot.short.startswith(prefix)]


def document(zone: str = "Europe/Vienna", **first: object) -> dict[str, object]:
    """The specified policy; ``first`` changes keys of the 12-hourly schedule."""
    twelve = {
        "id": "12h",
        "datasets": ["main", "ssd"],
        "recursive": True,
        "cron": "0 */12 * * *",
        "timezone": zone,
        "naming": "auto-12h-%Y-%m-%d_%H-%M",
        "lifetime": "24h",
    }
    daily = {
        "id": "daily",
        "datasets": ["main", "ssd"],
        "recursive": True,
        "cron": "0 0 * * *",
        "timezone": zone,
        "naming": "auto-%Y-%m-%d_%H-%M",
        "lifetime": "3w",
    }
    return {
        "format": "homelab.backup.snapshot-policy/1",
        "schedules": [{**twelve, **first}, daily],
    }


def specified(zone: str = "Europe/Vienna", **first: object) -> Policy:
    """The policy of :func:`document`."""
    return parse_policy(document(zone, **first), "test")
