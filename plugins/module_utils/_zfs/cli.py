# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ZFS through its command line (zfs(8), zpool(8)), one call for many datasets.

Output is asked for with ``-Hp``: no header, tabs between the columns, exact
numbers, times in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    SourceError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.ports import Commands
from ansible_collections.homelab.backup.plugins.module_utils._zfs.errors import (
    DatasetMissingError,
    from_complaint,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.parse import (
    DATASET_COLUMNS,
    SNAPSHOT_COLUMNS,
    parse_dataset,
    parse_snapshot,
    rows,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import (
    Dataset,
    Destroyed,
    Refusal,
    Snapshot,
)

DESTROY_BATCH = 100
# execve(2) takes 2 MiB of arguments and environment with the usual 8 MiB stack limit.
ARGUMENT_BYTES = 1_500_000


class ZfsCli:
    """The adapter behind the port :class:`Zfs`.

    Args:
        commands: how programs are run.
        zfs: the zfs program.
        zpool: the zpool program.
        timeout: seconds until a command that hangs (a suspended pool) is killed.
    """

    def __init__(
        self,
        commands: Commands,
        *,
        zfs: str = "zfs",
        zpool: str = "zpool",
        timeout: float | None = 600,
    ) -> None:
        self._commands = commands
        self._zfs = zfs
        self._zpool = zpool
        self._timeout = timeout

    def datasets(self, *roots: str, recursive: bool = True) -> tuple[Dataset, ...]:
        """See :meth:`Zfs.datasets`."""
        argv = ["list", "-Hp", "-t", "filesystem,volume", "-o", ",".join(DATASET_COLUMNS)]
        argv += ["-r"] if recursive and roots else []
        said = self._call("list the datasets", _several(roots), [*argv, *roots])
        found = {row[0]: parse_dataset(row) for row in rows(said, len(DATASET_COLUMNS))}
        return tuple(found[name] for name in sorted(found))

    def snapshots(
        self,
        roots: Sequence[str],
        *,
        recursive: bool = True,
        user_properties: Sequence[str] = (),
    ) -> tuple[Snapshot, ...]:
        """See :meth:`Zfs.snapshots`."""
        columns = [*SNAPSHOT_COLUMNS, *user_properties]
        argv = ["list", "-Hp", "-t", "snapshot", "-o", ",".join(columns)]
        if roots:
            argv += ["-r"] if recursive else ["-d", "1"]
        said = self._call("list the snapshots", _several(roots), [*argv, *roots])
        found = {row[0]: parse_snapshot(row, user_properties) for row in rows(said, len(columns))}
        return tuple(sorted(found.values(), key=lambda item: (item.dataset, item.createtxg)))

    def snapshot(self, names: Sequence[str], properties: Mapping[str, str]) -> None:
        """See :meth:`Zfs.snapshot`."""
        if names:
            argv = ["snapshot", *_options(properties), *names]
            self._call("take the snapshots", _several(names), argv)

    def snapshot_recursive(self, root: str, short: str, properties: Mapping[str, str]) -> None:
        """See :meth:`Zfs.snapshot_recursive`."""
        name = f"{root}@{short}"
        argv = ["snapshot", "-r", *_options(properties), name]
        self._call("take the recursive snapshot", name, argv)

    def hold(self, tag: str, names: Sequence[str]) -> None:
        """See :meth:`Zfs.hold`."""
        held = self.holds(names)
        wanted = [name for name in names if tag not in held[name]]
        if wanted:
            self._call(f"hold as {tag!r}", _several(wanted), ["hold", tag, *wanted])

    def release(self, tag: str, names: Sequence[str]) -> None:
        """See :meth:`Zfs.release`."""
        try:
            held = self.holds(names)
        except DatasetMissingError:
            held = {}
            for name in names:
                held.update(self._holds_if_there(name))
        wanted = [name for name in names if tag in held.get(name, ())]
        if wanted:
            self._call(f"release the hold {tag!r}", _several(wanted), ["release", tag, *wanted])

    def _holds_if_there(self, name: str) -> Mapping[str, tuple[str, ...]]:
        try:
            return self.holds([name])
        except DatasetMissingError:
            return {}

    def holds(self, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """See :meth:`Zfs.holds`."""
        found: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
        if names:
            said = self._call("list the holds", _several(names), ["holds", "-H", *names])
            for row in rows(said, 3):
                found[row[0]] = (*found[row[0]], row[1])
        return found

    def destroy_snapshots(self, dataset: str, shorts: Sequence[str]) -> Destroyed:
        """See :meth:`Zfs.destroy_snapshots`."""
        gone: list[str] = []
        kept: list[Refusal] = []
        for start in range(0, len(shorts), DESTROY_BATCH):
            batch = self._destroy(dataset, shorts[start : start + DESTROY_BATCH])
            gone += batch.gone
            kept += batch.kept
        return Destroyed(tuple(gone), tuple(kept))

    def _destroy(self, dataset: str, shorts: Sequence[str]) -> Destroyed:
        """One batch. ZFS destroys all of a batch or none, so the refused ones are taken out."""
        if not shorts:
            return Destroyed()
        argv = ["destroy", f"{dataset}@{','.join(shorts)}"]
        names = tuple(f"{dataset}@{short}" for short in shorts)
        try:
            self._call("destroy the snapshots", _several(names), argv)
        except DatasetMissingError as exc:
            if len(shorts) == 1:
                return Destroyed(gone=names)
            return self._destroy_rest(dataset, shorts, exc)
        except SourceError as exc:
            if len(shorts) == 1:
                return Destroyed(kept=(Refusal(names[0], exc.found),))
            return self._destroy_rest(dataset, shorts, exc)
        return Destroyed(gone=names)

    def _destroy_rest(self, dataset: str, shorts: Sequence[str], exc: SourceError) -> Destroyed:
        """Look at the ones that zfs named by themselves (all, if it named none), then the rest."""
        words = {word.strip("'\":,") for word in exc.found.split()}
        named = [short for short in shorts if f"{dataset}@{short}" in words] or list(shorts)
        parts = [self._destroy(dataset, [short]) for short in named]
        parts.append(self._destroy(dataset, [short for short in shorts if short not in named]))
        return Destroyed(
            tuple(name for part in parts for name in part.gone),
            tuple(refusal for part in parts for refusal in part.kept),
        )

    def rename_snapshot(self, name: str, short: str) -> None:
        """See :meth:`Zfs.rename_snapshot`."""
        target = f"{name.partition('@')[0]}@{short}"
        self._call(f"rename the snapshot to {target}", name, ["rename", name, target])

    def written_since(self, dataset: str, short: str) -> int:
        """See :meth:`Zfs.written_since`."""
        found = self.written_since_each({dataset: short})
        if dataset not in found:
            raise DatasetMissingError(
                "read what was written since the snapshot",
                on=f"{dataset}@{short}",
                found=f"the dataset has no value for written@{short}",
                remedy="the snapshot was destroyed or renamed: compare everything instead",
            )
        return found[dataset]

    def written_since_each(self, bases: Mapping[str, str]) -> Mapping[str, int]:
        """See :meth:`Zfs.written_since_each`."""
        found: dict[str, int] = {}
        for short in sorted(set(bases.values())):
            names = [name for name, base in bases.items() if base == short]
            key = f"written@{short}"
            for name, values in self.get(names, [key]).items():
                if values.get(key, "-").isdigit():
                    found[name] = int(values[key])
        return found

    def get(
        self, names: Sequence[str], properties: Sequence[str]
    ) -> Mapping[str, Mapping[str, str]]:
        """See :meth:`Zfs.get`."""
        found: dict[str, dict[str, str]] = {name: {} for name in names}
        if names and properties:
            argv = ["get", "-Hp", "-o", "name,property,value", ",".join(properties), *names]
            said = self._call("read the properties", _several(names), argv)
            for name, key, value in rows(said, 3):
                found[name][key] = value
        return found

    def set_properties(self, names: Sequence[str], properties: Mapping[str, str]) -> None:
        """See :meth:`Zfs.set_properties`."""
        if names and properties:
            pairs = [f"{key}={value}" for key, value in sorted(properties.items())]
            self._call("set the properties", _several(names), ["set", *pairs, *names])

    def pool_guid(self, pool: str) -> int:
        """See :meth:`Zfs.pool_guid`."""
        return int(self._pool_property(pool, "guid"))

    def pool_guids(self, pools: Sequence[str]) -> Mapping[str, int]:
        """See :meth:`Zfs.pool_guids`."""
        argv = [self._zpool, "get", "-Hp", "-o", "name,value", "guid", *pools]
        said = self._run("read the pools' guids", _several(pools), argv)
        return {name: int(guid) for name, guid in rows(said, 2)}

    def pool_state(self, pool: str) -> str:
        """See :meth:`Zfs.pool_state`."""
        return self._pool_property(pool, "health")

    def _pool_property(self, pool: str, name: str) -> str:
        argv = [self._zpool, "get", "-Hp", "-o", "value", name, pool]
        return self._run(f"read the pool's {name}", pool, argv).strip()

    def _call(self, tried: str, on: str, arguments: Iterable[str]) -> str:
        return self._run(tried, on, [self._zfs, *arguments])

    def _run(self, tried: str, on: str, argv: Sequence[str]) -> str:
        if sum(len(word) + 9 for word in argv) > ARGUMENT_BYTES:
            raise SourceError(
                tried,
                on=on,
                found=f"{len(argv)} names are more than one command can take",
                remedy="use a recursive schedule without excludes, or fewer datasets in one",
            )
        try:
            done = self._commands.run(argv, timeout=self._timeout)
        except TransportError as exc:
            raise SourceError(tried, on=on, found=exc.found, remedy=exc.remedy) from exc
        if not done.ok:
            raise from_complaint(tried, on, done.complaint)
        return done.stdout.decode("utf-8", errors="surrogateescape")


def _options(properties: Mapping[str, str]) -> Iterator[str]:
    for key, value in sorted(properties.items()):
        yield "-o"
        yield f"{key}={value}"


def _several(names: Sequence[str]) -> str:
    """Names for an error: the first three and the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(names[:3]) or "all pools") + more
