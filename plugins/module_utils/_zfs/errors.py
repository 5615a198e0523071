# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zfs and zpool complain of, as errors with a remedy."""

from __future__ import annotations

import re

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import SourceError


class DatasetMissingError(SourceError):
    """A dataset, snapshot or pool of that name is not there."""


class SnapshotExistsError(SourceError):
    """A snapshot of that name is there already; nothing was created."""


class SnapshotBusyError(SourceError):
    """A snapshot is held, cloned or in use."""


class PoolUnavailableError(SourceError):
    """A pool is suspended, exported or faulted."""


# The wording is that of libzfs_util.c and libzfs_status.c of OpenZFS 2.1 to 2.3 with LC_ALL=C.
RULES: tuple[tuple[str, type[SourceError], str], ...] = (
    (
        r"I/O is currently suspended|pool is suspended|pool or dataset is suspended",
        PoolUnavailableError,
        "see 'zpool status', bring the disks back, then 'zpool clear'",
    ),
    (
        r"no such pool|pool is unavailable|pool is not available",
        PoolUnavailableError,
        "import the pool ('zpool import') or take it out of the configuration",
    ),
    (
        r"dataset already exists|snapshot already exists",
        SnapshotExistsError,
        "list the snapshots of that name; it was made by something else or in the same minute",
    ),
    (
        r"dataset is busy|being held|dependent clones|has clones",
        SnapshotBusyError,
        "'zfs holds' and the property 'clones' show what keeps it",
    ),
    (
        r"[Pp]ermission denied|must be run as root|Operation not permitted",
        SourceError,
        "run as root, or delegate the operation with 'zfs allow'",
    ),
    (
        r"dataset does not exist|could not find any snapshots|No such file or directory",
        DatasetMissingError,
        "correct the name, or create the dataset; 'zfs list -t all' shows what there is",
    ),
    (
        r"out of space|No space left|quota exceeded",
        SourceError,
        "free space in the pool or raise the quota",
    ),
    (
        r"ZFS modules (cannot be auto-loaded|are not loaded)|/dev/zfs",
        SourceError,
        "load the kernel module ('modprobe zfs') on the storage host",
    ),
)
UNKNOWN_REMEDY = "run the same zfs command by hand as root and look at 'zpool status'"


def from_complaint(tried: str, on: str, said: str) -> SourceError:
    """The error for what zfs or zpool said.

    Args:
        tried: the verb phrase ("list the datasets").
        on: what it was tried on.
        said: the program's stderr on one line; it becomes ``found`` without the
            help text that zfs adds to some errors.
    """
    found = said.partition(" usage: ")[0]
    for pattern, kind, remedy in RULES:
        if re.search(pattern, found):
            return kind(tried, on=on, found=found, remedy=remedy)
    return SourceError(tried, on=on, found=found, remedy=UNKNOWN_REMEDY)
