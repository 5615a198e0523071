# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running ``zfs send`` to learn what changed (zfs-send(8)); nothing is stored.

The options only make the stream shorter: ``-c`` leaves blocks compressed, ``-L``
leaves blocks over 128 KiB whole (without it they are decompressed and split, and
a dataset with large directory blocks is refused), ``-e`` keeps embedded blocks
embedded. None of them changes for which objects there are records
(``setup_featureflags`` and ``do_dump`` in module/zfs/dmu_send.c). A dataset
whose key is loaded is sent decrypted, so raw streams (``-w``) aren't needed.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import SourceError
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.errors import from_complaint
from ansible_collections.homelab.backup.plugins.module_utils._zfs.sendstream import (
    StreamChanges,
    StreamParser,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import dataset_of

OPTIONS = ("-L", "-e", "-c")
READ_BYTES = 256 * 1024
STDERR_BYTES = 64 * 1024
SECONDS_TO_DIE = 15


@dataclass(frozen=True, slots=True)
class SendLimits:
    """When reading a stream is given up; None is no limit.

    Attributes:
        seconds: from the start of ``zfs send``.
        length: bytes of stream.
        changed: objects with changed content, directories among them.
    """

    seconds: float | None = None
    length: int | None = None
    changed: int | None = None


NO_LIMITS = SendLimits()


@dataclass(frozen=True, slots=True)
class TooBig:
    """A stream that was given up, and how far it had been read.

    Attributes:
        limit: which of :class:`SendLimits` was exceeded.
        length: bytes read.
        records: records read.
        changed: objects with changed content seen.
        seconds: time spent.
    """

    limit: Literal["seconds", "length", "changed"]
    length: int
    records: int
    changed: int
    seconds: float


class SendStreams:
    """Reads incremental streams of this host's datasets.

    Args:
        commands: starts programs; its inherited descriptors (the run's lock)
            are kept open by ``zfs send`` too.
        zfs: the zfs program.
    """

    def __init__(self, commands: SubprocessCommands, *, zfs: str = "zfs") -> None:
        self._commands = commands
        self._zfs = zfs

    def changes(
        self,
        base: str,
        new: str,
        limits: SendLimits = NO_LIMITS,
        *,
        from_guid: int | None = None,
        to_guid: int | None = None,
    ) -> StreamChanges | TooBig:
        """What changed in a dataset from snapshot ``base`` to ``new``.

        Args:
            base: full name of the older snapshot ("main/a@x"), or of a bookmark
                of it ("main/a#x"): the stream needs nothing of the base's content.
            new: full name of the newer one, of the same dataset.
            limits: when to give up.
            from_guid: the guid that ``base`` must have.
            to_guid: the guid that ``new`` must have.

        Raises:
            SourceError: zfs failed or said anything on stderr, the stream is
                cut or of an unknown kind, or a snapshot is not the expected one.
        """
        parser = StreamParser(f"{base} to {new}")
        reading = _Reading(self._commands.start(self._argv([], base, new)), parser, limits)
        with reading:
            exceeded = reading.run()
        if exceeded is not None:
            return exceeded
        if reading.status != 0 or reading.stderr:
            raise _refused("read what changed", base, new, reading.complaint(self._zfs))
        found = parser.finish()
        for name, expected, guid in (
            (base, from_guid, found.from_guid),
            (new, to_guid, found.to_guid),
        ):
            if expected is not None and expected != guid:
                raise SourceError(
                    "read what changed",
                    on=name,
                    found=f"the snapshot's guid is {guid}, not {expected}",
                    remedy="another snapshot has taken this name: compare everything instead",
                )
        return found

    def estimate(self, base: str, new: str) -> int:
        """About how many bytes the stream has (``zfs send -nP``); no data is read.

        Raises:
            SourceError: as for :meth:`changes`.
        """
        done = self._commands.run(self._argv(["-n", "-P"], base, new), timeout=600)
        sizes = [
            line.split()[1]
            for line in done.stdout.splitlines()
            if line.startswith(b"size") and len(line.split()) == 2
        ]
        if not done.ok or len(sizes) != 1 or not sizes[0].isdigit():
            raise _refused("estimate what changed", base, new, done.complaint)
        return int(sizes[0])

    def _argv(self, options: Sequence[str], base: str, new: str) -> list[str]:
        return [self._zfs, "send", *options, *OPTIONS, "-i", base, new]


def _refused(tried: str, base: str, new: str, said: str) -> SourceError:
    """The error for what zfs-send(8) said, with what helps against it."""
    on = f"{base} to {new}"
    if "not an earlier snapshot" in said:
        remedy = "the base belongs to another history (rollback, promote): compare everything"
    elif "key must be loaded" in said:
        remedy = f"load the key: 'zfs load-key {dataset_of(new)}'"
    else:
        return from_complaint(tried, on, said)
    return SourceError(tried, on=on, found=said, remedy=remedy)


class _Reading:
    """One running ``zfs send``; leaving the context ends it, whatever happened."""

    def __init__(
        self, process: subprocess.Popen[bytes], parser: StreamParser, limits: SendLimits
    ) -> None:
        self._process = process
        self._parser = parser
        self._limits = limits
        self._started = time.monotonic()
        self.status: int | None = None
        self.stderr = b""

    def __enter__(self) -> _Reading:
        if self._process.stdin is not None:
            self._process.stdin.close()
        return self

    def __exit__(self, *dummy: object) -> None:
        """Close the pipes, so that a writer gets EPIPE, and reap the process."""
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        if self._process.poll() is None:
            self._process.kill()
        try:
            self._process.wait(SECONDS_TO_DIE)
        except subprocess.TimeoutExpired as exc:
            raise SourceError(
                "end zfs send",
                on=f"process {self._process.pid}",
                found=f"it is still there {SECONDS_TO_DIE} s after it was killed",
                remedy="it waits for a pool: see 'zpool status' and the kernel's log",
            ) from exc

    def run(self) -> TooBig | None:
        """Read to the end, or until a limit is exceeded."""
        poller = select.poll()
        outputs: dict[int, bool] = {}
        for pipe, is_stream in ((self._process.stdout, True), (self._process.stderr, False)):
            if pipe is not None:
                outputs[pipe.fileno()] = is_stream
                poller.register(pipe, select.POLLIN)
        buffer = memoryview(bytearray(READ_BYTES))
        while outputs:
            for descriptor, dummy in poller.poll(self._milliseconds_left()):
                count = os.readv(descriptor, [buffer])
                if not count:
                    poller.unregister(descriptor)
                    del outputs[descriptor]
                elif outputs[descriptor]:
                    self._parser.feed(buffer[:count])
                else:
                    self.stderr = (self.stderr + bytes(buffer[:count]))[:STDERR_BYTES]
            exceeded = self._exceeded()
            if exceeded is not None:
                return exceeded
        self.status = self._process.wait()
        return None

    def complaint(self, zfs: str) -> str:
        """What zfs said, on one line, or its exit status."""
        said = " ".join(self.stderr.decode("utf-8", errors="replace").split())
        return said or f"{zfs} send ended with status {self.status}"

    def _milliseconds_left(self) -> float | None:
        if self._limits.seconds is None:
            return None
        return max(0.0, self._started + self._limits.seconds - time.monotonic()) * 1000 + 1

    def _exceeded(self) -> TooBig | None:
        seconds = time.monotonic() - self._started
        limit: Literal["seconds", "length", "changed"]
        if self._limits.seconds is not None and seconds > self._limits.seconds:
            limit = "seconds"
        elif self._limits.length is not None and self._parser.length > self._limits.length:
            limit = "length"
        elif self._limits.changed is not None and self._parser.changed > self._limits.changed:
            limit = "changed"
        else:
            return None
        return TooBig(
            limit, self._parser.length, self._parser.records, self._parser.changed, seconds
        )
