# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``format: homelab.backup.<name>/<major>`` tag of every persisted file.

A reader accepts its own major and older ones and refuses newer ones, so that a
downgraded runner never misreads what a newer one wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError

PREFIX = "homelab.backup."


def canonical_json(document: object) -> bytes:
    """``document`` as stable JSON: sorted keys, two spaces, one final newline."""
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode("utf-8")


@dataclass(frozen=True, slots=True)
class Format:
    """Name and newest major version that this code reads and writes."""

    name: str
    major: int

    @property
    def tag(self) -> str:
        """The tag as written into a file."""
        return f"{PREFIX}{self.name}/{self.major}"

    def read_major(self, document: object, where: str) -> int:
        """The major version of ``document``.

        Args:
            document: the parsed file, a mapping with the key ``format``.
            where: the file's name, for the error.

        Raises:
            ConfigError: no tag, another file's tag, or a newer major.
        """
        found = document.get("format") if isinstance(document, Mapping) else None
        name, slash, major = str(found).partition("/")
        if found is None or not slash or not major.isascii() or not major.isdigit():
            raise ConfigError(
                "read the file",
                on=where,
                found=f"its format is {found!r}" if found is not None else "it has no key 'format'",
                remedy=f"it should say 'format: {self.tag}'",
            )
        if name != PREFIX + self.name:
            raise ConfigError(
                "read the file",
                on=where,
                found=f"it is a {found!r}",
                remedy=f"give the file that says 'format: {self.tag}'",
            )
        if int(major) > self.major:
            raise ConfigError(
                "read the file",
                on=where,
                found=f"it was written as {found!r}, this version reads up to {self.tag!r}",
                remedy="update homelab.backup where this ran, or restore the older file",
            )
        return int(major)
