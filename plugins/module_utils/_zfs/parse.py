# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the tab-separated output of ``zfs list -Hp`` and ``zfs get -Hp``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import SourceError
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import (
    Dataset,
    Kind,
    Snapshot,
)

DATASET_COLUMNS = (
    "name",
    "guid",
    "type",
    "mounted",
    "canmount",
    "keystatus",
    "used",
    "referenced",
    "mountpoint",
)
SNAPSHOT_COLUMNS = (
    "name",
    "guid",
    "createtxg",
    "creation",
    "used",
    "written",
    "userrefs",
    "clones",
)


def rows(output: str, columns: int) -> Iterator[list[str]]:
    """The rows of ``output``, each with exactly ``columns`` values.

    The last column may hold tabs (a mount point or a user property can).

    Raises:
        SourceError: a row of another shape (a value with a newline in it).
    """
    for line in output.split("\n"):
        if not line:
            continue
        values = line.split("\t", columns - 1)
        if len(values) != columns:
            raise SourceError(
                "read the output of zfs",
                on=line,
                found=f"{len(values)} columns where {columns} were asked for",
                remedy="a property or mount point with a newline in it has to be changed",
            )
        yield values


def number(value: str) -> int:
    """A numeric column; ``-`` and nothing (a property without meaning here) are 0."""
    return int(value) if value not in ("-", "") else 0


def parse_dataset(row: Sequence[str]) -> Dataset:
    """A row of DATASET_COLUMNS."""
    kind: Kind = "volume" if row[2] == "volume" else "filesystem"
    return Dataset(
        name=row[0],
        guid=int(row[1]),
        kind=kind,
        mountpoint=row[8],
        mounted=row[3] == "yes",
        canmount=row[4],
        keystatus=row[5],
        used=number(row[6]),
        referenced=number(row[7]),
    )


def parse_snapshot(row: Sequence[str], user_properties: Sequence[str]) -> Snapshot:
    """A row of SNAPSHOT_COLUMNS and the user properties behind them."""
    extra = zip(user_properties, row[len(SNAPSHOT_COLUMNS) :], strict=True)
    return Snapshot(
        name=row[0],
        guid=int(row[1]),
        createtxg=int(row[2]),
        creation=int(row[3]),
        used=number(row[4]),
        written=number(row[5]),
        userrefs=number(row[6]),
        clones=tuple(name for name in row[7].split(",") if name not in ("", "-")),
        properties={key: value for key, value in extra if value != "-"},
    )
