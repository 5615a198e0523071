# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an incremental send stream says about which objects changed.

``zfs send -i base new`` names every object that changed between two snapshots:
``zfs receive`` rebuilds ``new`` from it, so it is complete by construction. This
parser keeps the object numbers (a file's object number is its ``st_ino``) and
steps over the content.

Layout: ``dmu_replay_record_t`` and the ``DRR_*_PAYLOAD_SIZE`` macros in
include/sys/zfs_ioctl.h of OpenZFS; which records are written when: ``do_dump``,
``dump_dnode`` and ``send_cb`` in module/zfs/dmu_send.c and ``traverse_visitbp`` in
module/zfs/dmu_traverse.c. A stream is BEGIN (its payload is a packed nvlist),
then by rising object number OBJECT (payload: the bonus buffer), one FREE from
behind the last block to the end of the object, its content records, and END.

The following hold for every OpenZFS since 0.8 and are what detection rests on:

- A changed object's dnode lies in a changed dnode block (16 KiB, up to 32
  dnodes); an OBJECT record is written for each dnode of such a block.
- A content record is written for each block born after ``base``, in files as
  in directories (whose content are their entries), and for nothing else.
- A hole is sent as FREE when it was born after ``base`` or when its birth is
  unknown, so FREE means that content may differ, not that it does.
- Blocks beyond the last one are never named one by one: a file that was cut
  and grown again shows only by its last block ending before the file's size.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from typing import TypeVar

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import SourceError
from ansible_collections.homelab.backup.plugins.module_utils._zfs.streamlayout import (
    BEGIN,
    BIG,
    BONUS_MAGIC,
    DIRECTORY_CONTENTS,
    END,
    FILE_SYSTEM,
    FREE,
    FREEOBJECTS,
    KNOWN_FEATURES,
    LARGEST_PAYLOAD,
    LITTLE,
    MAGIC,
    OBJECT,
    OBJECT_END,
    OBJECT_RANGE,
    RECORD_BYTES,
    REDACT,
    SMALLEST_BONUS_HEADER,
    SPILL,
    SPILL_OFFSET,
    SPILL_UNMODIFIED,
    SUBSTREAM,
    SYSTEM_ATTRIBUTES,
    WRITE,
    WRITE_BYREF,
    WRITE_EMBEDDED,
)

T = TypeVar("T")
HASH_MASK = 2**64 - 1
# S_IFMT and S_IFREG of inode(7); stat.S_ISREG would be one more call for each object.
FILE_TYPE, REGULAR = 0o170000, 0o100000


def stamp(mode: int, uid: int, gid: int, size: int, mtime_ns: int, ctime_ns: int) -> int:
    """The values of lstat(2) as one number of 64 bits, never 0.

    Args:
        mode: the whole ``st_mode``, with the kind of file.
        uid: ``st_uid``.
        gid: ``st_gid``.
        size: ``st_size``; of a regular file only, others pass anything.
        mtime_ns: ``st_mtime_ns``.
        ctime_ns: ``st_ctime_ns``.
    """
    known_size = size if mode & FILE_TYPE == REGULAR else 0
    return hash((mode, uid, gid, known_size, mtime_ns, ctime_ns)) & HASH_MASK or 1


class Objects(Set[int]):
    """Object numbers in rising order, with the end and the stamp of each.

    The end is the offset behind the last stored block. The stamp is that of
    :func:`stamp` in the newer snapshot, 0 when it isn't known.

    Twenty-four bytes for each, where a dict takes a hundred: many small changes
    in a dataset of a million files name nearly all of them.
    """

    __slots__ = ("_ends", "_numbers", "_stamps")

    def __init__(self) -> None:
        self._numbers = array("Q")
        self._ends = array("Q")
        self._stamps = array("Q")

    @classmethod
    def _from_iterable(cls, it: Iterable[T]) -> set[T]:
        """What the operators of sets give (collections.abc.Set)."""
        return set(it)

    def add(self, number: int, end: int, known: int = 0) -> None:
        """Append an object; ``number`` must be larger than any before."""
        self._numbers.append(number)
        self._ends.append(end)
        self._stamps.append(known)

    def _place(self, number: int) -> int | None:
        place = bisect_left(self._numbers, number)
        if place < len(self._numbers) and self._numbers[place] == number:
            return place
        return None

    def end(self, number: int) -> int | None:
        """The offset behind the last stored block; None for an object that isn't here."""
        place = self._place(number)
        return None if place is None else self._ends[place]

    def stamp(self, number: int) -> int | None:
        """The stamp, 0 when it isn't known; None for an object that isn't here."""
        place = self._place(number)
        return None if place is None else self._stamps[place]

    def known(self, number: int) -> tuple[int, int] | None:
        """Stamp and end; None for an object that isn't here."""
        place = bisect_left(self._numbers, number)
        if place < len(self._numbers) and self._numbers[place] == number:
            return self._stamps[place], self._ends[place]
        return None

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self._place(number) is not None

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


@dataclass(frozen=True, slots=True)
class StreamChanges:
    """The objects that an incremental stream names.

    Attributes:
        objects: each object whose dnode was sent, with the offset behind its
            last stored block. A superset of what changed: up to 31 neighbours
            of a changed dnode are sent with it.
        data: objects with content blocks born after the base.
        holes: objects with holes before their end that may be younger than the base.
        spill: objects whose spill block (large xattrs and ACLs, long symlink
            targets) is younger than the base.
        directories: those of ``objects`` that are directories, hidden xattr
            directories among them.
        freed: first number and count of numbers that are free in the newer
            snapshot, whether they were used in the base or not.
        from_guid: guid of the base; 0 for a full stream.
        to_guid: guid of the newer snapshot.
        to_name: its full name when it was sent.
        records: number of records.
        length: bytes of the stream.
    """

    objects: Objects
    data: set[int]
    holes: set[int]
    spill: set[int]
    directories: set[int]
    freed: list[tuple[int, int]]
    from_guid: int
    to_guid: int
    to_name: str
    records: int
    length: int

    @property
    def changed_directories(self) -> set[int]:
        """Directories whose entries changed; any other one has the entries of the base."""
        return self.directories & (self.data | self.holes)

    def content_may_differ(self, number: int, size: int) -> bool:
        """False when the first ``size`` bytes of an object are those of the base.

        Args:
            number: the object number (``st_ino``).
            size: the file's size in the newer snapshot. An empty file's only
                block is a hole of unknown birth, so without it every empty
                neighbour of a changed file would be suspected.
        """
        if size == 0:
            return False
        if number in self.data or number in self.holes:
            return True
        end = self.objects.end(number)
        return end is not None and end < size

    def is_unchanged(self, number: int, known: int, size: int) -> bool:
        """True when an object is certainly as it was: content, entries and metadata.

        False proves no change; lstat(2) decides then. Unchanged is what the
        stream doesn't name, and a neighbour of a changed object whose dnode
        shows what is known of it.

        Args:
            number: the object number.
            known: what :func:`stamp` gave for it in the base.
            size: the size that went into ``known``; 0 unless it was a regular file.
        """
        # Asked for each of some ten thousand neighbours: one look-up, no further calls.
        found = self.objects.known(number)
        if found is None:
            return True
        shown, end = found
        if shown != known or number in self.data or number in self.spill:
            return False
        if number in self.holes:
            return size == 0 and number not in self.directories
        return end >= size


class StreamParser:
    """Reads one stream piece by piece; see :class:`StreamChanges` for what it keeps.

    Args:
        name: what the stream is of ("main/a@x..main/a@y"), for errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._layout = LITTLE
        self._kind_byte = 0
        self._carry = b""
        self._skip = 0
        self._fed = 0
        self._records = 0
        self._ended = False
        self._current = -1
        self._tail_due = False
        self._stamp = 0
        self._from_guid = 0
        self._to_guid = 0
        self._to_name = ""
        self._objects = Objects()
        self._data: set[int] = set()
        self._holes: set[int] = set()
        self._spill: set[int] = set()
        self._directories: set[int] = set()
        self._freed: list[tuple[int, int]] = []

    @property
    def length(self) -> int:
        """Bytes read so far."""
        return self._fed

    @property
    def records(self) -> int:
        """Records read so far."""
        return self._records

    @property
    def changed(self) -> int:
        """Objects with changed content so far, directories among them."""
        return len(self._data)

    def feed(self, chunk: bytes | memoryview) -> None:
        """Read the next piece of the stream, of any length.

        Raises:
            SourceError: not a stream that this parser knows; names the byte offset.
        """
        length = len(chunk)
        if not length:
            return
        if self._ended:
            raise self._malformed(self._fed, "it goes on behind its end")
        position = self._skip
        if self._carry:
            missing = RECORD_BYTES - len(self._carry)
            record = self._carry + bytes(chunk[:missing])
            if len(record) < RECORD_BYTES:
                self._carry = record
                self._fed += length
                return
            start = self._fed - len(self._carry)
            position = self._read(record, 0, start) - RECORD_BYTES + missing
        if position < length:
            position = self._read(chunk, position, self._fed)
        self._carry = bytes(chunk[position:])
        self._skip = max(0, position - length)
        self._fed += length

    def finish(self) -> StreamChanges:
        """The result, once everything was fed.

        Raises:
            SourceError: the stream ended early; names the byte offset.
        """
        if not self._ended or self._skip or self._carry:
            raise self._malformed(
                self._fed, "it ends in the middle" if self._fed else "it is empty"
            )
        return StreamChanges(
            objects=self._objects,
            data=self._data,
            holes=self._holes,
            spill=self._spill,
            directories=self._directories,
            freed=self._freed,
            from_guid=self._from_guid,
            to_guid=self._to_guid,
            to_name=self._to_name,
            records=self._records,
            length=self._fed,
        )

    def _read(self, chunk: bytes | memoryview, position: int, base: int) -> int:
        """Read the whole records in ``chunk`` from ``position``.

        Args:
            chunk: bytes that begin at offset ``base`` of the stream.
            position: where in it the next record begins.

        Returns:
            Where the next record begins; beyond the end of ``chunk`` when
            payload of the last one is still to come.
        """
        if not self._records and len(chunk) - position >= RECORD_BYTES:
            position = self._begin(chunk, position, base)
        position = self._read_records(chunk, position, base)
        if self._ended and position < len(chunk):
            raise self._malformed(base + position, "it goes on behind its end")
        return position

    def _read_records(self, chunk: bytes | memoryview, position: int, base: int) -> int:
        # Names in this loop are local: it runs once for each of some million records.
        kind_byte, to_guid = self._kind_byte, self._to_guid
        read_write, read_object, read_free = (
            self._layout.write.unpack_from,
            self._layout.object.unpack_from,
            self._layout.free.unpack_from,
        )
        add_data, add_object, add_hole = self._data.add, self._objects.add, self._holes.add
        current, tail_due = self._current, self._tail_due
        records, last = 0, len(chunk) - RECORD_BYTES
        while position <= last and not self._ended:
            records += 1
            kind = chunk[position + kind_byte]
            if kind == WRITE:
                number, payload, guid, compressed, stored = read_write(chunk, position)
                if compressed:
                    payload = stored
                add_data(number)
            elif kind == OBJECT:
                number, what, holds, bonus, raw_bonus, guid = read_object(chunk, position)
                payload = raw_bonus or (bonus + 7) & ~7
                self._stamp = self._read_stamp(chunk, position, holds, payload)
                if number > current:
                    current, tail_due = number, True
                if what == DIRECTORY_CONTENTS:
                    self._directories.add(number)
            elif kind == FREE:
                number, offset, count, guid = read_free(chunk, position)
                payload = 0
                if not tail_due:
                    add_hole(number)
                elif count == OBJECT_END:
                    add_object(number, offset, self._stamp)
                    tail_due = False
            else:
                number, payload, guid = self._rare(chunk, position, kind, current)
            if guid != to_guid or number != current or tail_due != (kind == OBJECT):
                found = f"a record of type {kind} does not fit what is before it"
                raise self._malformed(base + position, found)
            if payload > LARGEST_PAYLOAD:
                raise self._malformed(base + position, f"a record of {payload} bytes")
            position += RECORD_BYTES + payload
        self._records += records
        self._current, self._tail_due = current, tail_due
        return position

    def _read_stamp(
        self, chunk: bytes | memoryview, position: int, holds: int, payload: int
    ) -> int:
        """The stamp of the object in the record at ``position``; 0 when it can't be told.

        The bonus buffer holds system attributes: a header of ``sa_hdr_phys_t``
        (include/sys/sa_impl.h), then mode, size, gen, uid, gid, parent and flags
        at the fixed offsets of include/sys/zfs_sa.h, then atime, mtime, ctime and
        crtime, in the order in which ``zfs_mknode`` and ``zfs_sa_upgrade`` lay
        them down and later changes keep.
        """
        start, attributes = position + RECORD_BYTES, self._layout.attributes
        least = SMALLEST_BONUS_HEADER + attributes.size
        if holds != SYSTEM_ATTRIBUTES or payload < least or start + payload > len(chunk):
            return 0
        magic, info = self._layout.bonus.unpack_from(chunk, start)
        header = info >> 10 << 3
        if magic != BONUS_MAGIC or header + attributes.size > payload:
            return 0
        mode, size, uid, gid, mtime, mtime_ns, ctime, ctime_ns = attributes.unpack_from(
            chunk, start + header
        )
        seconds = 1_000_000_000
        return stamp(mode, uid, gid, size, mtime * seconds + mtime_ns, ctime * seconds + ctime_ns)

    def _begin(self, chunk: bytes | memoryview, position: int, base: int) -> int:
        start = base + position
        order = LITTLE
        if order.begin.unpack_from(chunk, position)[2] != MAGIC:
            order = BIG
        fields = order.begin.unpack_from(chunk, position)
        kind, payload, magic, version, what, to_guid, from_guid, name = fields
        if magic != MAGIC:
            raise self._malformed(start, "it does not begin as a send stream does")
        if kind != BEGIN:
            raise self._malformed(start, f"its first record is of type {kind}")
        if version & 3 != SUBSTREAM:
            raise self._malformed(start, "it is a package of several streams (zfs send -R or -p)")
        unknown = version >> 2 & ~KNOWN_FEATURES
        if unknown:
            raise self._malformed(start, f"it uses unknown features (flags {unknown:#x})")
        if what != FILE_SYSTEM:
            raise self._malformed(start, f"it is not of a file system (type {what})")
        self._layout, self._kind_byte = order, 3 if order is BIG else 0
        self._to_guid, self._from_guid = to_guid, from_guid
        self._to_name = name.split(b"\0", 1)[0].decode("utf-8", errors="surrogateescape")
        self._records = 1
        return position + RECORD_BYTES + int(payload)

    def _rare(
        self, chunk: bytes | memoryview, position: int, kind: int, current: int
    ) -> tuple[int, int, int]:
        """One record of the less frequent types: its object, payload and guid.

        A record that is about no single object passes for one about the current.
        """
        if kind in (FREEOBJECTS, OBJECT_RANGE):
            first, count, guid = self._layout.range.unpack_from(chunk, position)
            if kind == FREEOBJECTS:
                self._freed.append((first, count))
            return current, 0, guid
        if kind in (WRITE_BYREF, REDACT):
            number, dummy, dummy, guid = self._layout.free.unpack_from(chunk, position)
            self._data.add(number)
            return number, 0, guid
        if kind == WRITE_EMBEDDED:
            number, offset, guid, stored = self._layout.embedded.unpack_from(chunk, position)
            (self._spill if offset >= SPILL_OFFSET else self._data).add(number)
            return number, (stored + 7) & ~7, guid
        if kind == SPILL:
            number, size, guid, flags, stored = self._layout.spill.unpack_from(chunk, position)
            if not flags & SPILL_UNMODIFIED:
                self._spill.add(number)
            return number, stored or size, guid
        if kind == END:
            self._ended = True
            return current, 0, self._layout.end.unpack_from(chunk, position)[0]
        return -2, 0, 0

    def _malformed(self, offset: int, found: str) -> SourceError:
        return SourceError(
            "read the send stream",
            on=self._name,
            found=f"{found} (byte {offset})",
            remedy="detect the changes by comparing the snapshots; 'zstream dump' shows the stream",
        )
