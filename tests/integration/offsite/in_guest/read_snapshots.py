# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Runs in the guest: reads snapshots file by file, and holds an index against them.

Argument: JSON with ``root``, ``snapshots`` (dataset to snapshot name), ``excluded`` and
``index``. Prints ``tree`` (what a copy has to hold) and ``index`` (what is wrong in the index).
Paths are texts in Latin-1, one character for each byte.
"""

import base64
import fnmatch
import hashlib
import json
import os
import sqlite3
import stat
import subprocess
import sys

KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFBLK: "b",
    stat.S_IFCHR: "c",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
}
HIGHEST_TIME = (1 << 32) - 1
HIGHEST_NS = (1 << 63) - 1


def mountpoints():
    """Mount point of every mounted dataset."""
    listed = subprocess.run(
        ["zfs", "list", "-Hp", "-o", "name,mountpoint", "-t", "filesystem"],
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(line.split("\t") for line in listed.stdout.splitlines())


def is_excluded(path, patterns):
    text = path.decode("latin-1")
    name = text.rpartition("/")[2]
    for pattern in patterns:
        if text == pattern or ("*" in pattern and fnmatch.fnmatchcase(name, pattern)):
            return True
    return False


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def xattrs_of(path):
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
    }


class Reading:
    """Fills ``found``: path to (kind, lstat, digest, link target, xattrs, dataset)."""

    def __init__(self, excluded):
        self.found = {}
        self.excluded = excluded

    def dataset(self, top, prefix, dataset, children):
        waiting = [(top, prefix)]
        while waiting:
            directory, path = waiting.pop()
            with os.scandir(directory) as listing:
                entries = list(listing)
            for entry in entries:
                here = path + b"/" + entry.name if path else entry.name
                if here in children or is_excluded(here, self.excluded):
                    continue
                info = entry.stat(follow_symlinks=False)
                kind = self.note(entry.path, here, info, dataset)
                if kind == "d":
                    waiting.append((entry.path, here))

    def note(self, source, path, info, dataset):
        kind = KINDS[stat.S_IFMT(info.st_mode)]
        self.found[path] = (
            kind,
            info,
            digest_of(source) if kind == "f" else "",
            os.readlink(source) if kind == "l" else None,
            xattrs_of(source),
            dataset,
        )
        return kind


def read_all(request):
    mounts = mountpoints()
    reading = Reading(request["excluded"])
    prefixes = {
        name: os.fsencode(name[len(request["root"]) + 1 :]) for name in request["snapshots"]
    }
    for name, snapshot in sorted(request["snapshots"].items()):
        top = os.fsencode(mounts[name]) + b"/.zfs/snapshot/" + os.fsencode(snapshot)
        if prefixes[name]:
            # With the final "/." it is mounted by now; before, it is a directory made up.
            reading.note(top + b"/.", prefixes[name], os.lstat(top + b"/."), name)
        reading.dataset(top, prefixes[name], name, set(prefixes.values()))
    return reading.found


class IndexCheck:
    """Holds the index against what the snapshots hold."""

    def __init__(self, path):
        self.db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self.root = int(self.db.execute("SELECT value FROM meta WHERE key = 'root'").fetchone()[0])
        self.objects = {
            row[0]: row[1:]
            for row in self.db.execute(
                "SELECT id, kind, mode, uid, gid, size, mtime_ns, ctime_ns, rdev, target, xattrs"
                " FROM object"
            )
        }

    def tree(self):
        below = {}
        for parent, name, node, sha256, size, version in self.db.execute(
            "SELECT parent, name, id, sha256, size, version FROM link"
        ):
            below.setdefault(parent, []).append((name, node, sha256, size, version))
        waiting, found, count = [(self.root, b"")], {}, 0
        while waiting:
            directory, path = waiting.pop()
            for name, node, sha256, size, version in below.pop(directory, ()):
                count += 1
                here = path + b"/" + name if path else name
                found[here] = (node, sha256, size, version)
                waiting.append((node, here))
        orphans = sum(len(rows) for rows in below.values())
        return found, orphans

    def check(self, expected):
        wrong = []
        found, orphans = self.tree()
        if orphans:
            wrong.append(f"\0{orphans} names in the index below directories that are not in it")
        open_steps = self.db.execute("SELECT count(*) FROM step").fetchone()[0]
        if open_steps:
            wrong.append(f"\0{open_steps} steps are open in the index")
        unnamed = self.objects.keys() - {row[0] for row in found.values()} - {self.root}
        if unnamed:
            wrong.append(f"\0{len(unnamed)} objects in the index have no name")
        inodes, nodes = {}, {}
        for path in sorted(expected.keys() | found.keys()):
            shown = path.decode("latin-1")
            if path not in found:
                wrong.append(f"{shown}\0not in the index")
            elif path not in expected:
                wrong.append(f"{shown}\0in the index, not in the snapshot")
            else:
                text = self.one(expected[path], found[path], path, inodes, nodes)
                if text:
                    wrong.append(f"{shown}\0index: {text}")
        return wrong

    def one(self, want, have, path, inodes, nodes):
        kind, info, digest, target, xattrs, dataset = want
        node, sha256, size, version = have
        if node not in self.objects:
            return "no attributes"
        attributes = self.objects[node]
        expected = (
            kind,
            stat.S_IMODE(info.st_mode),
            info.st_uid,
            info.st_gid,
            info.st_size if kind == "f" else 0,
            info.st_mtime_ns,
            info.st_ctime_ns,
            info.st_rdev if kind in "bc" else 0,
            target,
        )
        if attributes[:9] != expected:
            return f"attributes {attributes[:9]}, snapshot {expected}"
        packed = json.loads(attributes[9]) if attributes[9] else {}
        if {name: base64.b64decode(value) for name, value in packed.items()} != xattrs:
            return f"xattrs {attributes[9]!r}, snapshot {xattrs}"
        if kind == "f":
            if (sha256 or b"").hex() != digest or size != info.st_size or version is None:
                return f"content {(sha256 or b'').hex()[:12]} size {size}, snapshot {digest[:12]}"
            # Hard links are one object, other files are not.
            inode = (dataset, info.st_ino)
            if inodes.setdefault(inode, node) != node or nodes.setdefault(node, inode) != inode:
                return "another hard-link group than in the snapshot"
        return ""


def clamp(nanoseconds):
    return min(max(nanoseconds // 1_000_000_000, 0), HIGHEST_TIME)


def main():
    request = json.loads(sys.argv[1])
    found = read_all(request)
    tree = []
    for path, (kind, info, digest, *dummy) in found.items():
        shown = path.decode("latin-1")
        if kind == "d":
            tree.append((shown, "d", 0, 0, ""))
        elif kind == "f":
            tree.append((shown, "f", info.st_size, clamp(info.st_mtime_ns), digest))
    wrong = IndexCheck(request["index"]).check(found) if request["index"] else []
    json.dump({"tree": tree, "index": wrong}, sys.stdout)


if __name__ == "__main__":
    main()
