# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making sure that the destination is ours before anything is written to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import DestinationError
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import (
    PARTIAL,
    Layout,
    is_foreign,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.marker import (
    LIMIT,
    Marker,
    parse_marker,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.structure import make_parents
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore

OURS, FRESH, ADOPTED = "ours", "fresh", "adopted"


@dataclass(frozen=True, slots=True)
class Opened:
    """How the destination was found: ``ours``, ``fresh`` (empty) or ``adopted``."""

    state: str
    name_limit: int
    available: int | None


def read_marker(store: RemoteStore, layout: Layout) -> Marker | None:
    """The destination's marker, None when there is none.

    Raises:
        DestinationError: it can't be read or is not a marker of ours.
    """
    try:
        content = store.read_file(layout.marker, LIMIT)
    except RemoteError as error:
        if error.reason is Reason.MISSING:
            return None
        raise
    return parse_marker(content, layout.marker)


def open_destination(store: RemoteStore, layout: Layout, marker: Marker, *, adopt: bool) -> Opened:
    """Check whose destination it is; make it ours when it is empty or ``adopt`` says so.

    Args:
        store: the destination.
        layout: the job's directories.
        marker: what the marker has to say.
        adopt: take over a directory with files in it.

    Raises:
        DestinationError: another job's, another pool's, or not empty and not ours.
    """
    found = read_marker(store, layout)
    if found is not None:
        if not found.belongs_to(marker.job, marker.pool_guid):
            raise DestinationError(
                "use the destination",
                on=printable(layout.tree),
                found=f"it holds the copy of {found}, this is {marker}",
                remedy=(
                    "give this job a directory of its own; if the pool was made anew on purpose, "
                    f"move {printable(layout.marker)} aside at the NAS and set 'adopt: true'"
                ),
            )
        state = OURS
        _directories(store, layout)
    else:
        state = _claim(store, layout, marker, adopt=adopt)
    space = store.statvfs(layout.control)
    return Opened(
        state,
        space.name_limit if space is not None and space.name_limit > 0 else 255,
        None if space is None else space.available,
    )


def _claim(store: RemoteStore, layout: Layout, marker: Marker, *, adopt: bool) -> str:
    try:
        entries = [entry.path for entry in store.list_dir(layout.tree)]
    except RemoteError as error:
        if error.reason is not Reason.MISSING:
            raise
        entries = []
    foreign = [name for name in entries if not is_foreign(name)]
    if foreign and not adopt:
        raise DestinationError(
            "use the destination",
            on=printable(layout.tree),
            found=(
                f"it has no marker of ours and is not empty ({len(foreign)} entries, "
                f"among them {printable(min(foreign))})"
            ),
            remedy="give an empty directory, or set 'adopt: true' to take this one over: files "
            "that differ or are not in the pool are then moved into versions",
        )
    _directories(store, layout)
    store.write_file(layout.marker, marker.encode())
    return ADOPTED if foreign else FRESH


def _directories(store: RemoteStore, layout: Layout) -> None:
    """The tree and our own directories, each with those above it that are missing."""
    missing = [
        outcome.path
        for outcome in store.stat_many([layout.tree, *layout.directories()])
        if outcome.attributes is None
    ]
    for path in missing:
        outcome = store.mkdir_many([path], exist_ok=True)[0]
        if isinstance(outcome.error, RemoteError) and outcome.error.reason is Reason.MISSING:
            raise DestinationError(
                "use the destination",
                on=printable(path),
                found="the directory above it does not exist, or this user may not enter it",
                remedy="create the share at the NAS (on DSM the SFTP path is /Share/dir, without "
                "/volume1) and give the backup user write access",
            )
        if outcome.error is not None:
            raise outcome.error


def sweep_incoming(store: RemoteStore, layout: Layout, waiting: Sequence[bytes]) -> int:
    """Move what killed runs left in ``incoming`` into versions; returns how many.

    Args:
        store: the destination.
        layout: remote paths of this run.
        waiting: paths that a run to be resumed still needs.
    """
    needed = set(waiting)
    left = [
        entry.path
        for entry in store.list_dir(layout.incoming)
        if layout.incoming + b"/" + entry.path not in needed
    ]
    if not left:
        return 0
    pairs = [(layout.incoming + b"/" + name, layout.version(PARTIAL, name)) for name in left]
    make_parents(store, layout, (new for dummy, new in pairs), set())
    for outcome in store.rename_many(pairs, overwrite=True):
        if outcome.error is not None:
            raise outcome.error
    return len(left)
