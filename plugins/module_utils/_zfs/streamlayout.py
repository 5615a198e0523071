# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the fields of a send stream's records lie.

``dmu_replay_record_t`` in include/sys/zfs_ioctl.h of OpenZFS; the system
attributes in an OBJECT's payload: ``sa_hdr_phys_t`` in include/sys/sa_impl.h.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

RECORD_BYTES = 312
MAGIC = 0x2F5BACBAC
SUBSTREAM = 1
FILE_SYSTEM = 2  # DMU_OST_ZFS in include/sys/fs/zfs.h
OBJECT_END = 2**64 - 1
DIRECTORY_CONTENTS = 20  # dmu_object_type_t in include/sys/dmu.h
SYSTEM_ATTRIBUTES = 44
LARGEST_PAYLOAD = 16 << 20  # SPA_MAXBLOCKSIZE in include/sys/spa.h
SPILL_UNMODIFIED = 1 << 2
# With -e a spill block that compresses well is sent as WRITE_EMBEDDED of block number -1.
SPILL_OFFSET = 1 << 63
BONUS_MAGIC = 0x2F505A  # SA_MAGIC
SMALLEST_BONUS_HEADER = 8

BEGIN, OBJECT, FREEOBJECTS, WRITE, FREE, END = range(6)
WRITE_BYREF, SPILL, WRITE_EMBEDDED, OBJECT_RANGE, REDACT = range(6, 11)

# DMU_BACKUP_FEATURE_* up to 2.4. A flag that is not among them may change a
# layout, so it is refused as zfs-receive(8) does.
KNOWN_FEATURES = sum(1 << bit for bit in (0, 1, 2, 16, 17, *range(19, 30)))


class Layout(NamedTuple):
    """The fields that are read of each record type, for one byte order.

    Each record but ``begin`` repeats the stream's ``toguid``: a parser that
    lost its place does not get past it. ``bonus`` and ``attributes`` are the
    head and the first attributes of an OBJECT's payload.
    """

    begin: struct.Struct
    object: struct.Struct
    bonus: struct.Struct
    attributes: struct.Struct
    range: struct.Struct
    write: struct.Struct
    free: struct.Struct
    spill: struct.Struct
    embedded: struct.Struct
    end: struct.Struct


def layout(order: str) -> Layout:
    """The layout for ``order``, ``<`` (little endian) or ``>``."""
    return Layout(
        # type, payload length, magic, versioninfo, objset type, toguid, fromguid, toname
        begin=struct.Struct(order + "2I2Q8xI4x2Q256s"),
        # object, type, bonus type, bonus length, raw bonus length, toguid
        object=struct.Struct(order + "8xQ2I4xI4xIQ"),
        # magic, layout number and header size
        bonus=struct.Struct(order + "IH"),
        # mode, size, uid, gid, mtime and ctime (each seconds and nanoseconds)
        attributes=struct.Struct(order + "2Q8x2Q32x4q"),
        # first, count, toguid; FREEOBJECTS and OBJECT_RANGE
        range=struct.Struct(order + "8x3Q"),
        # object, logical size, toguid, compression type, compressed size
        write=struct.Struct(order + "8xQ16xQQ2xB45xQ"),
        # object, offset, length, toguid; FREE, WRITE_BYREF and REDACT
        free=struct.Struct(order + "8x4Q"),
        # object, length, toguid, flags, compressed size
        spill=struct.Struct(order + "8x3QB7xQ"),
        # object, offset, toguid, stored size
        embedded=struct.Struct(order + "8x2Q8xQ12xI"),
        # toguid, behind the stream's fletcher4 checksum
        end=struct.Struct(order + "40xQ"),
    )


LITTLE = layout("<")
BIG = layout(">")
