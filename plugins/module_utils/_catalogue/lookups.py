# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of a catalogue by name, with an error that names those there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Catalogue,
    StorageHost,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import one_of
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError

Entry = TypeVar("Entry")


def entry(entries: Mapping[str, Entry], section: str, name: str) -> Entry:
    """The entry ``name`` of a section.

    Raises:
        ConfigError: there is none.
    """
    try:
        return entries[name]
    except KeyError as exc:
        raise ConfigError(
            f"find {name!r} in section {section!r} of the catalogue",
            found=f"it has: {', '.join(entries) or 'no entry'}",
            remedy=one_of(tuple(entries), name) or f"add it under {section!r}",
        ) from exc


def storage_host(catalogue: Catalogue, name: str) -> StorageHost:
    """The storage host ``name``.

    Raises:
        ConfigError: there is none.
    """
    return entry(catalogue.storage, "storage", name)
