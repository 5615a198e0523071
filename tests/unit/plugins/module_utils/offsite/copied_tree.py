# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""A source directory, its copy at a destination and the index of both, made the plain way."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import join, node_id
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import (
    Index,
    attribute_values,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._offsite.tree import SnapshotTree


def copy_and_index(source: Path, layout: Layout, index: Index) -> None:
    """Copy every directory and file (not symlinks and such, as SFTP does) and fill the index."""
    tree = SnapshotTree(os.fsencode(source))
    try:
        with index.transaction():
            root = _object(index, tree, b"")
            index.put("root", str(root))
            _directory(index, tree, layout, b"", root)
    finally:
        tree.close()


def _object(index: Index, tree: SnapshotTree, path: bytes) -> int:
    found = tree.lstat(path)
    node = node_id(1, found.st_ino)
    index.db.execute(
        "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        (node, *attribute_values(tree.attributes(path, found))),
    )
    return node


def _directory(index: Index, tree: SnapshotTree, layout: Layout, path: bytes, node: int) -> None:
    for name, dummy in tree.entries(path):
        below = join(path, name)
        child = _object(index, tree, below)
        found = tree.lstat(below)
        stored: tuple[object, ...] = (None, None, 0, None)
        remote = layout.path(below)
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(remote)
        elif stat.S_ISREG(found.st_mode):
            shutil.copyfile(join(tree.root, below), remote)
            os.utime(remote, (int(found.st_mtime), int(found.st_mtime)))
            with open(remote, "rb") as handle:
                digest = hashlib.sha256(handle.read()).digest()
            stored = (digest, found.st_size, found.st_ctime_ns, 0)
        index.db.execute(
            "INSERT INTO link VALUES (?, ?, ?, ?, ?, ?, ?)", (node, name, child, *stored)
        )
        if stat.S_ISDIR(found.st_mode):
            _directory(index, tree, layout, below, child)


def picture(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything of a tree that a restore has to bring back, by path."""
    tree = SnapshotTree(os.fsencode(root))
    numbers: dict[int, bytes] = {}
    found: dict[bytes, tuple[object, ...]] = {}
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        entry = tree.lstat(path)
        attributes = tree.attributes(path, entry)
        content = None
        if stat.S_ISREG(entry.st_mode):
            descriptor = tree.open(path)
            with os.fdopen(descriptor, "rb") as handle:
                content = hashlib.sha256(handle.read()).hexdigest()
        elif stat.S_ISDIR(entry.st_mode):
            waiting += sorted(
                (join(path, name) for name, dummy in tree.entries(path)), reverse=True
            )
        first = numbers.setdefault(entry.st_ino, path)
        found[path] = (
            attributes.kind,
            oct(attributes.mode),
            attributes.uid,
            attributes.gid,
            attributes.size,
            attributes.mtime_ns,
            attributes.rdev,
            attributes.target,
            attributes.xattrs,
            first,
            content,
        )
    tree.close()
    return found
