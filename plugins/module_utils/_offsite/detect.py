# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding out what changed in a dataset: which strategy, and why.

    none    ``written@base`` is 0: not a block differs
    stream  ``zfs send -i`` names the objects; only those are looked at
    walk    every name of the snapshot is looked at

All of them end in the same comparison (:mod:`compare`), so they can only
differ in time. ``zfs diff`` is not among them: it leaves out files whose last
made hard link was removed again, without a word (docs/decisions/detection.md).

The choice between stream and walk is by estimated seconds: a stream is started
and read (in proportion to the bytes written since the base), then the objects
that it names are looked at, at most all of them; a walk looks at all objects.
What each of these takes is measured on this host in every run. Noting what
differs costs the same either way and takes no part.
"""

from __future__ import annotations

import time
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Protocol

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import SourceError
from ansible_collections.homelab.backup.plugins.module_utils._offsite.compare import (
    Comparison,
    Excluder,
    Longest,
    Tally,
    Touched,
    View,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._zfs.send import SendLimits, TooBig
from ansible_collections.homelab.backup.plugins.module_utils._zfs.sendstream import StreamChanges

NONE, STREAM, WALK = "none", "stream", "walk"
STRATEGIES = (STREAM, WALK)

# First guesses, in seconds; what was measured takes their place.
STREAM_SECONDS_FIXED = 0.1
STREAM_SECONDS_PER_BYTE = 2e-9
STREAM_OBJECTS_PER_BYTE = 1e-3
WALK_SECONDS_PER_OBJECT = 2e-5
# What is too small to measure a rate by: bytes written, and objects looked at.
MEASURED_BYTES = 1 << 20
MEASURED_OBJECTS = 500
# A stream that has cost this many times a walk's estimate is given up.
PATIENCE = 2.0
SMALLEST_TIME_LIMIT = 20.0


class Streams(Protocol):
    """Reads incremental send streams."""

    def changes(
        self,
        base: str,
        new: str,
        limits: SendLimits = ...,
        *,
        from_guid: int | None = None,
        to_guid: int | None = None,
    ) -> StreamChanges | TooBig:
        """The objects that changed from ``base`` to ``new``, or that the stream was given up."""


@dataclass(frozen=True, slots=True)
class Base:
    """The snapshot of a dataset at which the index is true."""

    snapshot: str
    guid: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A strategy, the reason for it in words, and the bytes written since the base."""

    strategy: str
    reason: str
    written: int = 0


@dataclass(slots=True)
class Detection:
    """What was done for one dataset, for the run record."""

    dataset: str
    strategy: str
    reason: str
    seconds: float = 0.0
    touched: int = 0
    tally: Tally = field(default_factory=Tally)

    def as_record(self) -> dict[str, object]:
        """As a part of the run record."""
        return {
            "dataset": self.dataset,
            "strategy": self.strategy,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "touched_objects": self.touched,
            "listed_directories": self.tally.directories,
            "examined": self.tally.examined,
        }


class Nothing:
    """The objects of a dataset in which nothing was written."""

    @property
    def objects(self) -> Set[int]:
        """None."""
        return frozenset()

    @property
    def changed_directories(self) -> Set[int]:
        """None."""
        return frozenset()

    def content_may_differ(self, number: int, size: int) -> bool:
        """No content changed."""
        return False

    def is_unchanged(self, number: int, known: int, size: int) -> bool:
        """Nothing did."""
        return True


@dataclass(frozen=True, slots=True)
class Rates:
    """Measured costs of this host.

    Attributes:
        stream_fixed: seconds until a stream of next to nothing was read.
        stream_per_byte: seconds of reading for each byte written since the base.
        objects_per_byte: how many objects a stream names for each such byte.
        walk_per_object: seconds to look at an object that is as the index has it.
    """

    stream_fixed: float = STREAM_SECONDS_FIXED
    stream_per_byte: float = STREAM_SECONDS_PER_BYTE
    objects_per_byte: float = STREAM_OBJECTS_PER_BYTE
    walk_per_object: float = WALK_SECONDS_PER_OBJECT

    @classmethod
    def load(cls, index: Index) -> Rates:
        """The rates that earlier runs measured."""
        return cls(
            float(index.get("stream_seconds_fixed") or STREAM_SECONDS_FIXED),
            float(index.get("stream_seconds_per_byte") or STREAM_SECONDS_PER_BYTE),
            float(index.get("stream_objects_per_byte") or STREAM_OBJECTS_PER_BYTE),
            float(index.get("walk_seconds_per_object") or WALK_SECONDS_PER_OBJECT),
        )

    def by_stream(self, written: int, objects: int) -> float:
        """Estimated seconds of a stream."""
        touched = min(objects, written * self.objects_per_byte)
        return self.stream_fixed + written * self.stream_per_byte + touched * self.walk_per_object

    def by_walk(self, objects: int) -> float:
        """Estimated seconds of a walk."""
        return objects * self.walk_per_object


def choose(
    *,
    base: Base | None,
    why_walk: str,
    written: int,
    objects: int,
    rates: Rates,
    forced: str | None,
) -> Choice:
    """The strategy for one dataset.

    Args:
        base: the base snapshot, None when there is none (any more).
        why_walk: why the index can't be trusted for less than a walk; "" if it can.
        written: bytes written since the base.
        objects: how many objects the dataset has.
        rates: measured costs.
        forced: a strategy that was asked for.
    """
    if base is None:
        return Choice(WALK, "no base snapshot")
    if why_walk:
        return Choice(WALK, why_walk)
    if forced == WALK:
        return Choice(WALK, "asked for")
    if written == 0:
        return Choice(NONE, "nothing was written since the base")
    if forced == STREAM:
        return Choice(STREAM, "asked for", written)
    by_stream = rates.by_stream(written, objects)
    by_walk = rates.by_walk(objects)
    words = f"estimated {by_stream:.2f} s by stream, {by_walk:.2f} s by walk"
    return Choice(STREAM if by_stream <= by_walk else WALK, words, written)


class Detector:
    """Compares datasets with the index, each by the strategy that was chosen.

    Args:
        index: the index; its temporary tables are filled.
        streams: reads send streams.
        excludes: what takes no part.
        longest: which names the destination can hold.
        full_threshold: changed objects above which the stream is given up.
    """

    def __init__(
        self,
        index: Index,
        streams: Streams,
        excludes: Excluder,
        longest: Longest,
        full_threshold: int,
    ) -> None:
        self._index = index
        self._streams = streams
        self._excludes = excludes
        self._longest = longest
        self._full_threshold = full_threshold
        self.rates = Rates.load(index)
        self.measured: dict[str, str] = {}

    def detect(
        self, name: str, view: View, choice: Choice, base: Base | None, new: str, objects: int
    ) -> Detection:
        """Compare one dataset; what the stream can't tell, a walk does.

        Args:
            name: the dataset.
            view: its snapshot; ``view.touched`` is set here.
            choice: the strategy.
            base: for a stream.
            new: the full name of the view's snapshot.
            objects: how many objects the dataset has.

        Raises:
            SourceError: the snapshot can't be read.
        """
        started = time.monotonic()
        found = Detection(name, choice.strategy, choice.reason)
        touched: Touched | None = None
        if choice.strategy == NONE:
            touched = Nothing()
        elif choice.strategy == STREAM and base is not None:
            touched = self._read_stream(found, base, new, objects, choice.written)
        looked = time.monotonic()
        try:
            found.tally = self._compare(view, touched)
        except SourceError as error:
            if touched is None:
                raise
            found.strategy, found.reason = WALK, f"degraded: {error}"
            looked = time.monotonic()
            found.tally = self._compare(view, None)
        found.seconds = time.monotonic() - started
        # A first walk fills the index, which no later one does: it says nothing of them.
        if base is not None:
            self._measure_walk(found, time.monotonic() - looked)
        return found

    def _compare(self, view: View, touched: Touched | None) -> Tally:
        whole = View(
            view.dataset, view.prefix, view.tree, view.creation, view.grafts, view.hidden, touched
        )
        return Comparison(self._index, whole, self._excludes, self._longest).run()

    def _read_stream(
        self, found: Detection, base: Base, new: str, objects: int, written: int
    ) -> StreamChanges | None:
        seconds = max(SMALLEST_TIME_LIMIT, PATIENCE * self.rates.by_walk(objects))
        limits = SendLimits(seconds=seconds, changed=self._full_threshold)
        started = time.monotonic()
        try:
            changes = self._streams.changes(
                f"{new.partition('@')[0]}@{base.snapshot}", new, limits, from_guid=base.guid
            )
        except SourceError as error:
            found.strategy, found.reason = WALK, f"degraded: {error}"
            return None
        if isinstance(changes, TooBig):
            found.strategy = WALK
            found.reason = f"the stream was given up at its limit of {changes.limit}"
            return None
        found.touched = len(changes.objects)
        self._measure_stream(time.monotonic() - started, len(changes.objects), written)
        return changes

    def _measure_stream(self, seconds: float, objects: int, written: int) -> None:
        if written < MEASURED_BYTES:
            self.measured["stream_seconds_fixed"] = f"{seconds:.3e}"
            return
        reading = max(seconds - self.rates.stream_fixed, 0.0)
        self.measured["stream_seconds_per_byte"] = f"{reading / written:.3e}"
        self.measured["stream_objects_per_byte"] = f"{objects / written:.3e}"

    def _measure_walk(self, found: Detection, seconds: float) -> None:
        if found.strategy == WALK and found.tally.examined >= MEASURED_OBJECTS:
            rate = max(seconds - found.tally.noting, 0.0) / found.tally.examined
            self.measured["walk_seconds_per_object"] = f"{rate:.3e}"
