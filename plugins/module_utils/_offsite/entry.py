# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file, directory or link is: the values that the index and the comparison speak in.

A node is an object of one dataset. Its id is ``dataset number << 48 | object
number``: OpenZFS object numbers stay below 2**48 (DN_MAX_OBJECT in
include/sys/dnode.h), and st_ino of a ZFS file is its object number.
"""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass

OBJECT_BITS = 48
OBJECT_MASK = (1 << OBJECT_BITS) - 1
# A mounted snapshot's root directory shows a number of its own, another one in
# each snapshot (zfs_getattr_fast in module/os/linux/zfs/zfs_vnops_os.c), so the
# root of every dataset is called this. No file has it: object 0 is the meta dnode.
ROOT_NUMBER = 0

FILE = "f"
DIRECTORY = "d"
SYMLINK = "l"

KIND_BY_FORMAT = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFBLK: "b",
    stat.S_IFCHR: "c",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
}
SPECIAL_WORDS = {"b": "block device", "c": "character device", "p": "FIFO", "s": "socket"}


def node_id(dataset: int, number: int) -> int:
    """The id of object ``number`` in dataset number ``dataset``."""
    return dataset << OBJECT_BITS | number


def node_dataset(node: int) -> int:
    """The dataset number in a node id."""
    return node >> OBJECT_BITS


@dataclass(frozen=True, slots=True)
class Attributes:
    """What lstat(2), readlink(2) and listxattr(2) say of a node.

    Times are nanoseconds since the epoch, ``size`` is bytes (0 for anything
    but a file), ``xattrs`` the JSON of :func:`pack_xattrs` or None.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    rdev: int = 0
    target: bytes | None = None
    xattrs: bytes | None = None


def pack_xattrs(values: Mapping[str, bytes]) -> bytes | None:
    """Extended attributes (POSIX and NFSv4 ACLs are among them) as stable JSON; None for none."""
    if not values:
        return None
    encoded = {name: base64.b64encode(value).decode("ascii") for name, value in values.items()}
    return json.dumps(encoded, sort_keys=True).encode("utf-8", errors="surrogateescape")


def unpack_xattrs(packed: bytes | None) -> dict[str, bytes]:
    """The inverse of :func:`pack_xattrs`."""
    if packed is None:
        return {}
    loaded = json.loads(packed)
    return {name: base64.b64decode(value) for name, value in loaded.items()}


def join(parent: bytes, name: bytes) -> bytes:
    """``parent/name``, or ``name`` at the root (``b""``)."""
    return parent + b"/" + name if parent else name


def depth(path: bytes) -> int:
    """How many components ``path`` has; the root has none."""
    return path.count(b"/") + 1 if path else 0
