# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things lie at the destination.

The specified directory holds the pool's tree and nothing of ours, so that a
Cloud Sync task in SYNC mode may run on it. All of ours lies in the control
directory, a sibling:

    marker.json            whose tree this is; nothing is written without it
    incoming/              uploads and moves on their way; the only place with partial files
    versions/RUN/deleted/  what a run deleted, under its old path
    versions/RUN/replaced/ what a run replaced, under its path
    versions/RUN/stray/    what was there and not ours
    versions/RUN/partial/  what a killed run left in incoming/
    versions/RUN/emptied/  directories whose content joined what had been deleted from them
    index/                 metadata that SFTP can't keep, in pieces
    records/               one run record a run
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import join

DELETED = b"deleted"
REPLACED = b"replaced"
STRAY = b"stray"
PARTIAL = b"partial"
DAMAGED = b"damaged"
EMPTIED = b"emptied"

FOREIGN_NAMES = frozenset(
    {b"@eaDir", b"#recycle", b"#snapshot", b"@tmp", b".DS_Store@SynoEAStream"}
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Remote paths of one job, as bytes.

    Args:
        tree: the specified directory.
        control: the directory with everything of ours.
        run: the run's id, part of every name that a run makes.
    """

    tree: bytes
    control: bytes
    run: str

    @property
    def marker(self) -> bytes:
        """The marker that makes both directories ours."""
        return join(self.control, b"marker.json")

    @property
    def incoming(self) -> bytes:
        """Where uploads and moves wait."""
        return join(self.control, b"incoming")

    @property
    def versions(self) -> bytes:
        """What was deleted or replaced, by run."""
        return join(self.control, b"versions")

    @property
    def index(self) -> bytes:
        """The pieces of the metadata index."""
        return join(self.control, b"index")

    @property
    def records(self) -> bytes:
        """Run records."""
        return join(self.control, b"records")

    def directories(self) -> tuple[bytes, ...]:
        """Every directory of ours, parents first."""
        return (self.control, self.incoming, self.versions, self.index, self.records)

    def path(self, relative: bytes) -> bytes:
        """The remote path of a path in the tree."""
        return join(self.tree, relative) if relative else self.tree

    def staged(self, number: int) -> bytes:
        """The waiting place number ``number`` of this run."""
        return join(self.incoming, f"{self.run}.{number}".encode("ascii"))

    def version(self, reason: bytes, relative: bytes) -> bytes:
        """Where this run puts what it removes from ``relative`` for ``reason``."""
        return b"/".join((self.versions, self.run.encode("ascii"), reason, relative))


def is_foreign(name: bytes) -> bool:
    """True for what the NAS keeps among the files for itself: never a stray.

    DSM writes ``@eaDir`` (thumbnails, indexes) and ``#recycle`` into shared folders.
    """
    return name in FOREIGN_NAMES
