# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Writes send streams record by record, field by field as the C structures have them.

The offsets are those of ``dmu_replay_record_t`` (include/sys/zfs_ioctl.h), set
one at a time, so that a slip in the parser's formats is not repeated here.
"""

from __future__ import annotations

import struct

TO_GUID = 0x1122334455667788
FROM_GUID = 0x99AABBCCDDEEFF01
MAGIC = 0x2F5BACBAC
TO_THE_END = 2**64 - 1
PLAIN_FILE = 19
DIRECTORY = 20


class StreamWriter:
    """One stream under construction; ``order`` is ``<`` or ``>``."""

    def __init__(self, order: str = "<", to_guid: int = TO_GUID) -> None:
        self.order = order
        self.to_guid = to_guid
        self.pieces: list[bytes] = []

    def record(self, kind: int, fields: list[tuple[int, str, int]], payload: bytes = b"") -> None:
        """A record of type ``kind``; ``fields`` are (offset, struct code, value)."""
        record = bytearray(312)
        struct.pack_into(self.order + "I", record, 0, kind)
        for offset, code, value in fields:
            struct.pack_into(self.order + code, record, offset, value)
        self.pieces.append(bytes(record) + payload)

    def begin(
        self,
        *,
        payload: bytes = b"",
        magic: int = MAGIC,
        header: int = 1,
        features: int = 1 << 2 | 1 << 16 | 1 << 22,
        objset: int = 2,
        name: bytes = b"main/a@new",
    ) -> None:
        """BEGIN."""
        fields = [
            (4, "I", len(payload)),
            (8, "Q", magic),
            (16, "Q", header | features << 2),
            (24, "Q", 1_800_000_000),
            (32, "I", objset),
            (36, "I", 12),
            (40, "Q", self.to_guid),
            (48, "Q", FROM_GUID),
        ]
        fields += [(56 + place, "B", byte) for place, byte in enumerate(name)]
        self.record(0, fields, payload)

    def object(
        self,
        number: int,
        end: int = 131072,
        what: int = PLAIN_FILE,
        bonus: int = 168,
        raw_bonus: int = 0,
        attributes: bytes = b"",
    ) -> None:
        """OBJECT and the FREE of everything behind its last block.

        ``attributes`` is the bonus buffer, of which ``bonus`` is the length otherwise.
        """
        bonus = len(attributes) or bonus
        fields = [
            (8, "Q", number),
            (16, "I", what),
            (20, "I", 44),
            (24, "I", 131072),
            (28, "I", bonus),
            (32, "B", 7),
            (33, "B", 15),
            (34, "B", 1),
            (36, "I", raw_bonus),
            (40, "Q", self.to_guid),
            (56, "Q", 3),
        ]
        length = raw_bonus or -(-bonus // 8) * 8
        self.record(1, fields, attributes.ljust(length, b"B"))
        self.free(number, end, TO_THE_END)

    def attributes(
        self,
        values: tuple[int, int, int, int, int, int],
        header: int = 8,
        magic: int = 0x2F505A,
    ) -> bytes:
        """A bonus buffer; ``values`` are mode, uid, gid, size, mtime_ns and ctime_ns."""
        mode, uid, gid, size, mtime_ns, ctime_ns = values
        buffer = bytearray(header + 168)
        fields = [
            (0, "I", magic),
            (4, "H", header >> 3 << 10 | 2),
            *((header + 8 * word, "Q", 0xAAAA0000 + word) for word in range(20)),
            (header, "Q", mode),
            (header + 8, "Q", size),
            (header + 24, "Q", uid),
            (header + 32, "Q", gid),
            (header + 72, "q", mtime_ns // 10**9),
            (header + 80, "Q", mtime_ns % 10**9),
            (header + 88, "q", ctime_ns // 10**9),
            (header + 96, "Q", ctime_ns % 10**9),
        ]
        for offset, code, value in fields:
            struct.pack_into(self.order + code, buffer, offset, value)
        return bytes(buffer)

    def freeobjects(self, first: int, count: int) -> None:
        """FREEOBJECTS."""
        self.record(2, [(8, "Q", first), (16, "Q", count), (24, "Q", self.to_guid)])

    def write(self, number: int, offset: int, size: int, compressed: int = 0) -> None:
        """WRITE; ``compressed`` is the stored size, 0 for an uncompressed block."""
        fields = [
            (8, "Q", number),
            (16, "I", PLAIN_FILE),
            (24, "Q", offset),
            (32, "Q", size),
            (40, "Q", self.to_guid),
            (48, "B", 7),
            (49, "B", 1),
            (50, "B", 15 if compressed else 0),
            *((56 + 8 * word, "Q", 0xABCDEF) for word in range(5)),
            (96, "Q", compressed),
        ]
        # The content looks like a record, so that a parser that steps wrong reads nonsense.
        self.record(3, fields, (b"\x03\0\0\0" * size)[: compressed or size])

    def free(self, number: int, offset: int, length: int) -> None:
        """FREE."""
        guid = (32, "Q", self.to_guid)
        self.record(4, [(8, "Q", number), (16, "Q", offset), (24, "Q", length), guid])

    def byref(self, number: int) -> None:
        """WRITE_BYREF (of streams made with the -D of OpenZFS 0.8)."""
        self.record(6, [(8, "Q", number), (24, "Q", 131072), (32, "Q", self.to_guid)])

    def spill(self, number: int, size: int, *, flags: int = 0, compressed: int = 0) -> None:
        """SPILL."""
        fields = [
            (8, "Q", number),
            (16, "Q", size),
            (24, "Q", self.to_guid),
            (32, "B", flags),
            (33, "B", 15 if compressed else 0),
            (40, "Q", compressed),
            (84, "I", 44),
        ]
        self.record(7, fields, b"S" * (compressed or size))

    def embedded(self, number: int, stored: int, offset: int = 0) -> None:
        """WRITE_EMBEDDED of ``stored`` bytes (at most 112)."""
        fields = [
            (8, "Q", number),
            (16, "Q", offset),
            (24, "Q", 512),
            (32, "Q", self.to_guid),
            (40, "B", 15),
            (48, "I", 512),
            (52, "I", stored),
        ]
        self.record(8, fields, b"E" * (-(-stored // 8) * 8))

    def object_range(self, first: int) -> None:
        """OBJECT_RANGE (of raw streams)."""
        self.record(9, [(8, "Q", first), (16, "Q", 32), (24, "Q", self.to_guid)])

    def redact(self, number: int) -> None:
        """REDACT."""
        self.record(10, [(8, "Q", number), (24, "Q", 131072), (32, "Q", self.to_guid)])

    def end(self) -> bytes:
        """END; returns the whole stream."""
        self.record(5, [(8, "Q", 1), (16, "Q", 2), (40, "Q", self.to_guid)])
        return b"".join(self.pieces)
