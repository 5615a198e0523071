# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy of the index at the destination: written piece by piece, compacted, read again.

    index/current.json          which generation counts, and how many of its pieces are the dump
    index/GENERATION/00000001.jsonl.gz …

A generation begins with a dump of the whole index (none in the first one) and
goes on with what changed since. Pieces are numbered without a gap and never
changed. All writing is a new name plus one atomic rename, so a reader always
finds a whole piece, and killed at any point the next run goes on:

- a piece written but not yet ticked off in the outbox is recognised by its
  content and ticked off;
- a generation that ``current.json`` does not name yet is set aside by the next
  checkpoint;
- a generation that it names, but the local index doesn't, is the one that the
  local index had noted as its intent.

Nothing is removed: an old generation is renamed into versions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    DestinationError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    DIRECTORY,
    FILE,
    Attributes,
    join,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index_walk import (
    Listed,
    find,
    walk,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.indexread import (
    CURRENT,
    FORMAT,
    GENERATION,
    LONGEST_PIECE,
    PIECE,
    Current,
    generation_directory,
    read_current,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._offsite.pieces import (
    dataset_record,
    decode_piece,
    encode_piece,
    piece_name,
    put_record,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import RemoteError
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore

OLD = b"index"
"""Where in a run's versions old generations go."""

PIECE_RECORDS = 50_000
PIECE_BYTES = 4 << 20
"""A piece ends at so many records or so many bytes before compression."""

# A key of the local index' table ``meta``.
INTENT = "offsite_intent"


@dataclass(frozen=True, slots=True)
class Intent:
    """A generation that is about to become current.

    Outbox records up to ``outbox`` are in its dump already.
    """

    generation: str
    sequence: int
    outbox: int


@dataclass(frozen=True, slots=True)
class Written:
    """What a flush or a checkpoint wrote.

    ``left`` names what a checkpoint should have moved into versions and could
    not; the next one tries again.
    """

    generation: str
    pieces: int = 0
    records: int = 0
    size: int = 0
    left: tuple[str, ...] = ()


class _Copy:
    """The remote files of the index, and what the local one knows of them."""

    def __init__(self, index: Index, store: RemoteStore, layout: Layout) -> None:
        self.index = index
        self.store = store
        self.layout = layout

    def path(self, generation: str, number: int) -> bytes:
        return join(generation_directory(self.layout, generation), piece_name(number))

    @property
    def generation(self) -> str | None:
        return self.index.get(GENERATION)

    @property
    def piece(self) -> int:
        return int(self.index.get(PIECE) or 0)

    def in_step(self) -> Current:
        """Settle what a killed run left; the generation that both sides agree on.

        Raises:
            DestinationError: the sides don't agree.
        """
        current = self.settle()
        if current is None and self.generation is None:
            name = free_name(self.layout.run, self.names())
            self.begin(name)
            return self.make_current(Intent(name, 0, 0))
        if current is None or current.generation != self.generation:
            raise self.out_of_step(
                f"the local index goes with generation {self.generation or 'none'}, the "
                f"destination has {current.generation if current else 'none'}"
            )
        return current

    def settle(self) -> Current | None:
        """Finish or forget a change of generation that was under way; what the remote says."""
        current = read_current(self.store, self.layout)
        noted = self.index.get(INTENT)
        if noted is not None:
            intent = Intent(**json.loads(noted))
            if current is not None and current.generation == intent.generation:
                self.adopt(intent)
            else:
                with self.index.transaction():
                    self.index.put(INTENT, None)
        return current

    def begin(self, generation: str) -> None:
        path = generation_directory(self.layout, generation)
        [made] = self.store.mkdir_many([path], exist_ok=True)
        if made.error is not None:
            raise made.error

    def make_current(self, intent: Intent) -> Current:
        with self.index.transaction():
            self.index.put(INTENT, json.dumps(asdict(intent)))
        document = {
            "format": FORMAT.tag,
            "generation": intent.generation,
            "sequence": intent.sequence,
        }
        content = (json.dumps(document, indent=2) + "\n").encode("utf-8")
        self.store.write_file(join(self.layout.index, CURRENT), content)
        self.adopt(intent)
        return Current(intent.generation, intent.sequence)

    def adopt(self, intent: Intent) -> None:
        with self.index.transaction() as db:
            self.index.put(GENERATION, intent.generation)
            self.index.put(PIECE, str(intent.sequence))
            self.index.put(INTENT, None)
            db.execute("DELETE FROM outbox WHERE seq <= ?", (intent.outbox,))

    def names(self) -> set[bytes]:
        """Everything in the index directory."""
        return {entry.path for entry in self.store.list_dir(self.layout.index)}

    def tick_off(self, last: int, number: int) -> None:
        with self.index.transaction() as db:
            db.execute("DELETE FROM outbox WHERE seq <= ?", (last,))
            self.index.put(PIECE, str(number))

    def recognise(self, current: Current) -> None:
        """Tick off a piece that was written before a kill.

        Raises:
            DestinationError: the destination has pieces that the local index knows nothing of.
        """
        paths = [self.path(current.generation, self.piece + step) for step in (1, 2)]
        there = []
        for outcome in self.store.stat_many(paths):
            if outcome.error is not None:
                raise outcome.error
            there.append(outcome.attributes is not None)
        if not any(there):
            return
        if there[1]:
            raise self.out_of_step(f"there is {printable(paths[1])}")
        header, records = decode_piece(self.store.read_file(paths[0], LONGEST_PIECE), paths[0])
        rows = self.index.db.execute(
            "SELECT seq, record FROM outbox ORDER BY seq LIMIT ?", (header.records,)
        ).fetchall()
        if [row[1] for row in rows] != records:
            raise self.out_of_step(f"{printable(paths[0])} does not hold what the outbox has")
        self.tick_off(rows[-1][0] if rows else 0, header.piece)

    def out_of_step(self, found: str) -> DestinationError:
        return DestinationError(
            "go on with the index offsite",
            on=printable(self.layout.index),
            found=f"the local index is not the one that was last copied: {found}",
            remedy=(
                "if the local index is an old one (the state directory was rolled back or "
                "restored), move it away, the next run rebuilds it from the destination; "
                "if it is right, run the reconcile, which writes the copy anew"
            ),
        )


def free_name(run: str, taken: set[bytes]) -> str:
    """A name for a generation that ``run`` begins."""
    number = 0
    while f"{run}.{number}".encode("ascii") in taken:
        number += 1
    return f"{run}.{number}"


def flush(index: Index, store: RemoteStore, layout: Layout) -> Written:
    """Write the outbox to the destination and empty it.

    Outside a transaction, at any time; without records it asks the server nothing.

    Raises:
        DestinationError: refused (the outbox keeps what was not confirmed), or the
            destination's copy belongs to another local index.
        TransportError: the connection broke.
    """
    empty = index.db.execute("SELECT 1 FROM outbox LIMIT 1").fetchone() is None
    if empty and index.get(INTENT) is None:
        return Written(index.get(GENERATION) or "")
    copy = _Copy(index, store, layout)
    current = copy.in_step()
    copy.recognise(current)
    pieces = records = size = 0
    while rows := _first_rows(index):
        number = copy.piece + 1
        content = encode_piece(current.generation, number, (record for dummy, record in rows))
        store.write_file(copy.path(current.generation, number), content)
        copy.tick_off(rows[-1][0], number)
        pieces += 1
        records += len(rows)
        size += len(content)
    return Written(current.generation, pieces, records, size)


def _first_rows(index: Index) -> list[tuple[int, bytes]]:
    """The outbox's first records, as many as one piece takes."""
    rows: list[tuple[int, bytes]] = []
    size = 0
    for seq, record in index.db.execute(
        "SELECT seq, record FROM outbox ORDER BY seq LIMIT ?", (PIECE_RECORDS,)
    ):
        rows.append((seq, record))
        size += len(record) + 1
        if size >= PIECE_BYTES:
            break
    return rows


def checkpoint(index: Index, store: RemoteStore, layout: Layout) -> Written:
    """Write the whole index as a new generation, and set the old one aside.

    It needs nothing of what the destination's copy holds now, so it also
    repairs a damaged one. The local index must be known to be true (a reconcile
    has just compared it with the destination).

    Raises:
        BackupError: steps of a killed run are still open.
        DestinationError: refused; the old generation still counts.
        TransportError: the connection broke.
    """
    if index.db.execute("SELECT 1 FROM step LIMIT 1").fetchone() is not None:
        raise BackupError(
            "write the whole index to the destination",
            on=str(index.path),
            found="moves of a killed run are not recorded yet",
            remedy="finish them first: an ordinary run does",
        )
    copy = _Copy(index, store, layout)
    try:
        copy.settle()
    except DestinationError as exc:
        # A damaged current.json is what this repairs; a refusal is not.
        if isinstance(exc, RemoteError):
            raise
    generation = free_name(layout.run, copy.names())
    copy.begin(generation)
    last = index.db.execute("SELECT max(seq) FROM outbox").fetchone()[0] or 0
    number = records = size = 0
    for batch in _batches(dump(index)):
        number += 1
        content = encode_piece(generation, number, batch)
        store.write_file(copy.path(generation, number), content)
        records += len(batch)
        size += len(content)
    copy.make_current(Intent(generation, number, last))
    return Written(generation, number, records, size, set_aside(store, layout, generation))


def dump(index: Index) -> Iterator[bytes]:
    """The whole index as records; memory does not grow with it.

    Names whose content never reached the destination are left out.
    """
    for number, guid, name, root in index.db.execute(
        "SELECT id, guid, name, root FROM dataset ORDER BY id"
    ):
        yield dataset_record(number, guid, name, root)
    start = find(index, b"")
    for listed in walk(index, start) if start is not None else ():
        record = _put(index, listed)
        if record is not None:
            yield record


def _put(index: Index, listed: Listed) -> bytes | None:
    attributes = listed.attributes
    if attributes is None:
        # A directory that was made but not looked at yet still has to hold its entries.
        row = index.db.execute(
            "SELECT 1 FROM link WHERE parent = ? LIMIT 1", (listed.node,)
        ).fetchone()
        if row is None:
            return None
        return put_record(
            listed.path, listed.node, Attributes(DIRECTORY, 0o755, 0, 0, 0, 0, 0), listed.racy
        )
    if attributes.kind != FILE:
        return put_record(listed.path, listed.node, attributes, listed.racy)
    if listed.stored is None:
        return None
    return put_record(
        listed.path,
        listed.node,
        attributes,
        listed.racy,
        listed.stored.sha256,
        stored_size=listed.stored.size,
        version=listed.stored.version,
        pending=listed.stored.version is None,
    )


def _batches(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Records in pieces; at least one, though it may be empty."""
    batch: list[bytes] = []
    size = 0
    written = False
    for record in records:
        batch.append(record)
        size += len(record) + 1
        if len(batch) >= PIECE_RECORDS or size >= PIECE_BYTES:
            yield batch
            batch, size, written = [], 0, True
    if batch or not written:
        yield batch


def set_aside(store: RemoteStore, layout: Layout, generation: str) -> tuple[str, ...]:
    """Rename every generation but ``generation`` into this run's versions.

    Returns:
        what could not be renamed, with the reason.
    """
    keep = {CURRENT, generation.encode("ascii")}
    # A name with a leading dot is the staging file of current.json, used again.
    old = [
        entry.path
        for entry in store.list_dir(layout.index)
        if entry.path not in keep and not entry.path.startswith(b".")
    ]
    if not old:
        return ()
    run = join(layout.versions, layout.run.encode("ascii"))
    for directory in (run, join(run, OLD)):
        [made] = store.mkdir_many([directory], exist_ok=True)
        if made.error is not None:
            return (str(made.error),)
    pairs = [(join(layout.index, name), layout.version(OLD, name)) for name in old]
    outcomes = store.rename_many(pairs, overwrite=False)
    return tuple(str(outcome.error) for outcome in outcomes if outcome.error is not None)
