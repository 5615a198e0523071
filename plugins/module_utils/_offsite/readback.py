# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading stored files back and comparing them with the index.

SFTP gives no hashes, so a byte that flipped on the NAS keeps its size and time.
Each run reads back what has waited longest, as much as is needed for every
file to be read within the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import Clock
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import join
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    ReadItem,
    ReadOutcome,
)

DAY = 86_400
# Read a little faster than the window asks for, so that a missed run does no harm.
HEADROOM = 1.2
# A first run, or one after a long pause, reads back no more than this share of the window's.
LARGEST_SHARE = 0.02
BATCH = 200


@dataclass(slots=True)
class ReadBack:
    """What was read back, for the run record."""

    files: int = 0
    read_bytes: int = 0
    damaged: list[bytes] = field(default_factory=list)
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    oldest_days: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """How much one run reads back: so many files and so many bytes, whichever is reached last."""

    files: int
    content_bytes: int


def budget_for(total_files: int, total_bytes: int, elapsed: float, window_days: int) -> Budget:
    """The share of the files and of the bytes that belongs to ``elapsed`` seconds."""
    share = min(elapsed / (window_days * DAY) * HEADROOM, LARGEST_SHARE)
    share = max(share, 1 / (window_days * 24))
    return Budget(int(total_files * share) + 1, int(total_bytes * share) + 1)


def read_back(
    index: Index,
    store: RemoteStore,
    layout: Layout,
    *,
    window_days: int,
    clock: Clock,
    keep_going: Callable[[], bool],
) -> ReadBack:
    """Read back this run's share; marks what is damaged or missing to be sent again.

    Args:
        index: ``link.read_at`` says what has waited longest.
        store: the destination.
        layout: remote paths.
        window_days: within which every file is to be read once.
        clock: gives the time of reading.
        keep_going: asked between batches; False ends early.

    Raises:
        TransportError: the connection broke.
    """
    result = ReadBack()
    total_files, total_bytes = index.db.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM link WHERE read_at IS NOT NULL"
    ).fetchone()
    if not total_files:
        return result
    now = clock.now()
    elapsed = now - float(index.get("read_back_at") or now - DAY / 4)
    budget = budget_for(total_files, total_bytes, max(elapsed, 0), window_days)
    while keep_going() and (
        result.files < budget.files or result.read_bytes < budget.content_bytes
    ):
        rows = index.db.execute(
            """
            SELECT parent, name, size, sha256 FROM link
            WHERE read_at IS NOT NULL AND read_at < ? AND version IS NOT NULL
            ORDER BY read_at LIMIT ?""",
            (int(now), min(BATCH, max(budget.files - result.files, 20))),
        ).fetchall()
        if not rows:
            break
        _batch(index, store, layout, rows, int(now), result, budget)
    with index.transaction():
        index.put("read_back_at", str(now))
    oldest = index.db.execute(
        "SELECT min(read_at) FROM link WHERE read_at IS NOT NULL AND read_at > 0"
    ).fetchone()[0]
    result.oldest_days = None if oldest is None else round((now - oldest) / DAY, 2)
    return result


def _batch(
    index: Index,
    store: RemoteStore,
    layout: Layout,
    rows: list[tuple[int, bytes, int, bytes]],
    now: int,
    result: ReadBack,
    budget: Budget,
) -> None:
    expected: dict[bytes, tuple[int, bytes, int, bytes]] = {}
    for row in rows:
        path = join(index.path_of(row[0]), row[1])
        expected[layout.path(path)] = row

    def items() -> Iterator[ReadItem]:
        planned = result.read_bytes
        for path, row in expected.items():
            if planned and planned >= budget.content_bytes and result.files >= budget.files:
                return
            planned += row[2]
            yield ReadItem(path, row[2])

    good: list[tuple[int, int, bytes]] = []
    bad: list[tuple[int, bytes]] = []
    for outcome in store.read_many(items()):
        row = expected[outcome.item.path]
        result.files += 1
        result.read_bytes += row[2]
        if _is_good(outcome, row[3]):
            good.append((now, row[0], row[1]))
        elif outcome.error is not None:
            result.unreadable.append((outcome.item.path, str(outcome.error)))
            good.append((now, row[0], row[1]))
        else:
            result.damaged.append(outcome.item.path[len(layout.tree) + 1 :])
            bad.append((row[0], row[1]))
    with index.transaction() as db:
        db.executemany("UPDATE link SET read_at = ? WHERE parent = ? AND name = ?", good)
        # Without a hash the name counts as not stored: it is sent again, and what
        # stands there is set aside first.
        db.executemany(
            """
            UPDATE link SET version = NULL, sha256 = NULL, size = NULL, read_at = NULL
            WHERE parent = ? AND name = ?""",
            bad,
        )


def _is_good(outcome: ReadOutcome, sha256: bytes) -> bool:
    return outcome.error is None and outcome.sha256 == sha256.hex()


def describe(result: ReadBack) -> list[str]:
    """Findings of a read-back, as sentences."""
    found = [
        f"damaged at the destination, sent again: {printable(path)}" for path in result.damaged
    ]
    found.extend(
        f"could not be read back: {printable(path)}: {why}" for path, why in result.unreadable
    )
    return found
