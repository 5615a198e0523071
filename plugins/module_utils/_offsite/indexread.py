# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index rebuilt from its copy at the destination (see indexcopy for how that is written)."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import DestinationError
from ansible_collections.homelab.backup.plugins.module_utils._core.files import sync_directory
from ansible_collections.homelab.backup.plugins.module_utils._core.formats import Format
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import join
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._offsite.marker import foreign_format
from ansible_collections.homelab.backup.plugins.module_utils._offsite.pieces import (
    damaged,
    decode_piece,
    decode_record,
    piece_name,
    piece_number,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.replay import Replay
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore

FORMAT = Format("offsite-index-current", 1)
CURRENT = b"current.json"
LONGEST_PIECE = 64 << 20
"""No compressed piece is longer, in bytes."""

# Keys of the local index' table ``meta``: the generation that its changes go
# into, and the number of the last piece that the server has confirmed.
GENERATION = "offsite_generation"
PIECE = "offsite_piece"

OnProblem = Callable[[DestinationError], None]


@dataclass(frozen=True, slots=True)
class Current:
    """What ``current.json`` says: the pieces 1 to ``sequence`` of ``generation`` are its dump."""

    generation: str
    sequence: int


def generation_directory(layout: Layout, generation: str) -> bytes:
    """The remote directory of a generation's pieces."""
    return join(layout.index, generation.encode("ascii"))


def read_current(store: RemoteStore, layout: Layout) -> Current | None:
    """What ``current.json`` at the destination says; None when there is none.

    Raises:
        DestinationError: damaged; a RemoteError when it can't be read.
        ConfigError: written by a newer major.
    """
    path = join(layout.index, CURRENT)
    try:
        content = store.read_file(path, 64 << 10)
    except RemoteError as exc:
        if exc.reason is Reason.MISSING:
            return None
        raise
    try:
        document = json.loads(content)
    except ValueError as exc:
        raise damaged(path, f"it is not JSON: {exc}") from exc
    wrong = foreign_format(FORMAT, document, path)
    if wrong is not None:
        raise damaged(path, wrong)
    generation, sequence = document.get("generation"), document.get("sequence")
    if (
        not isinstance(generation, str)
        or not generation.isascii()
        or "/" in generation
        or generation in ("", ".", "..")
        or not isinstance(sequence, int)
    ):
        raise damaged(path, f"it says generation {generation!r}, sequence {sequence!r}")
    return Current(generation, sequence)


def restore_index(
    store: RemoteStore, layout: Layout, path: Path, on_problem: OnProblem | None = None
) -> Index | None:
    """Rebuild the index in a new file at ``path``; None when the destination has no copy of one.

    Whatever was at ``path`` is replaced.

    It is built beside ``path`` and takes its name when it is whole. It has no
    base snapshots, so that the next run compares everything.

    Args:
        store: the destination.
        layout: of the job.
        path: the SQLite file to make.
        on_problem: told of each piece or record that is missing, damaged or
            contradicts the others; the rest is used, and no run can go on with
            such an index. Without it the first problem is raised.

    Raises:
        DestinationError: one of the pieces is missing or damaged; the error names it.
        ConfigError: written by a newer major.
        TransportError: the connection broke.
    """
    current = read_current(store, layout)
    if current is None:
        return None
    beside = path.with_name(path.name + ".restoring")
    _forget(beside)
    index = Index(beside)
    try:
        _replay(index, store, layout, current, on_problem)
        index.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        index.db.execute("PRAGMA journal_mode = DELETE")
    except BaseException:
        index.close()
        _forget(beside)
        raise
    index.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.replace(beside, path)
    sync_directory(path.parent)
    return Index(path)


def _forget(path: Path) -> None:
    """Remove a half-built index file."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.with_name(path.name + suffix))


def _replay(
    index: Index,
    store: RemoteStore,
    layout: Layout,
    current: Current,
    on_problem: OnProblem | None,
) -> None:
    replay = Replay(index)
    directory = generation_directory(layout, current.generation)
    present = (piece_number(entry.path) for entry in store.list_dir(directory))
    last = max((number for number in present if number is not None), default=0)
    last = max(last, current.sequence)
    problems = 0

    def problem(error: DestinationError) -> None:
        nonlocal problems
        problems += 1
        if on_problem is None:
            raise error
        on_problem(error)

    for number in range(1, last + 1):
        path = join(directory, piece_name(number))
        try:
            records = _read_piece(store, path, current.generation, number)
        except DestinationError as exc:
            problem(exc)
            continue
        with index.transaction():
            for position, line in enumerate(records, start=1):
                try:
                    replay.apply(decode_record(line))
                except ValueError as exc:
                    problem(damaged(path, f"record {position}: {exc}"))
    with index.transaction():
        replay.finish()
        if not problems:
            index.put(GENERATION, current.generation)
            index.put(PIECE, str(last))


def _read_piece(store: RemoteStore, path: bytes, generation: str, number: int) -> list[bytes]:
    try:
        content = store.read_file(path, LONGEST_PIECE)
    except RemoteError as exc:
        if exc.reason is Reason.MISSING:
            raise damaged(path, "it is missing") from exc
        raise
    header, records = decode_piece(content, path)
    if (header.generation, header.piece) != (generation, number):
        raise damaged(
            path, f"its header says piece {header.piece} of generation {header.generation!r}"
        )
    return records
