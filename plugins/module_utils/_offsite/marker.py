# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marker that makes a destination ours, and the ids of the runs that write there."""

from __future__ import annotations

import calendar
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    DestinationError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.formats import Format
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable

FORMAT = Format("offsite-marker", 1)
LIMIT = 64 << 10
"""No marker is longer, in bytes."""

RUN_ID = re.compile(rb"(\d{8}T\d{6})Z-[0-9a-f]{4}\Z")


@dataclass(frozen=True, slots=True)
class Marker:
    """Whose copy a destination holds.

    ``job`` and ``root`` are as in the policy, ``pool_guid`` is the decimal GUID of
    the source pool (zpoolprops(7)), ``host`` the storage host that made the
    destination ours, ``created`` when, in RFC 3339.
    """

    job: str
    pool_guid: str
    root: str
    host: str
    created: str

    def encode(self) -> bytes:
        """The file's content."""
        document = {
            "format": FORMAT.tag,
            "job": self.job,
            "pool_guid": self.pool_guid,
            "root": self.root,
            "host": self.host,
            "created": self.created,
        }
        return (json.dumps(document, indent=2) + "\n").encode("utf-8")

    def belongs_to(self, job: str, pool_guid: str | None) -> bool:
        """True for the same job and the same pool.

        Args:
            job: the job's name.
            pool_guid: the source pool's; None where it can't be known (the host
                that prunes has no pool), then the job's name decides.
        """
        return self.job == job and pool_guid in (None, self.pool_guid)

    def __str__(self) -> str:
        return f"job {self.job!r} of {self.root!r} (pool {self.pool_guid}) on {self.host}"


def parse_marker(content: bytes, where: bytes) -> Marker:
    """The marker in a file.

    Args:
        content: the file's bytes.
        where: its remote path, for errors.

    Raises:
        DestinationError: it is no marker of ours.
        ConfigError: written by a newer major.
    """
    try:
        document = json.loads(content)
    except ValueError as exc:
        raise _not_ours(where, f"it is not JSON: {exc}") from exc
    wrong = foreign_format(FORMAT, document, where)
    if wrong is not None or not isinstance(document, Mapping):
        raise _not_ours(where, wrong or "it is not a JSON object")
    values = [document.get(key) for key in Marker.__slots__]
    if not all(isinstance(value, str) and value for value in values):
        raise _not_ours(where, f"it lacks one of {', '.join(Marker.__slots__)}")
    return Marker(*map(str, values))


def foreign_format(expected: Format, document: object, where: bytes) -> str | None:
    """Why a remote ``document`` is no file of the expected kind, or None when it is.

    What a server holds may have been damaged or put there by anyone, so that
    another tag is a fact about the destination.

    Raises:
        ConfigError: it is of that kind, but of a newer major.
    """
    try:
        expected.read_major(document, printable(where))
    except ConfigError as exc:
        tag = document.get("format") if isinstance(document, Mapping) else None
        kind, slash, major = str(tag).partition("/")
        if slash and kind == expected.tag.partition("/")[0] and major.isdigit():
            raise
        return exc.found
    return None


def _not_ours(where: bytes, found: str) -> DestinationError:
    return DestinationError(
        "read the destination's marker",
        on=printable(where),
        found=found,
        remedy="find out whose directory this is; nothing was changed there",
    )


def run_time(name: bytes) -> int | None:
    """When the run with the id ``name`` began, seconds since the epoch; None for no run id.

    A run id is ``YYYYMMDDTHHMMSSZ-xxxx`` (UTC, four lower-case hexadecimal digits).
    """
    found = RUN_ID.match(name)
    if found is None:
        return None
    text = found[1].decode("ascii")
    try:
        parsed = time.strptime(text, "%Y%m%dT%H%M%S")
    except ValueError:
        return None
    return calendar.timegm(parsed)
