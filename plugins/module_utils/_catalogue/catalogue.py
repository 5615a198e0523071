# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a catalogue: shapes first, then what the entries mean together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.checks import (
    check_together,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.inline_secrets import (
    refuse_inline_secrets,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Catalogue,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    CatalogueError,
    Problem,
    Problems,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.secrecy import masked
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape import (
    Key,
    Mark,
    Shape,
    scalar,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape_cluster import (
    CLUSTER,
    DRILLS,
    MONITORING,
    UNPROTECTED,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape_offsite import (
    NAS_SECTION,
    OFFSITE,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape_services import (
    SERVICES,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape_storage import (
    DEFAULT_SNAPSHOTS,
    SNAPSHOTS,
    STORAGE,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.values import (
    text,
    time_zone,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._core.formats import Format

FORMAT = Format("catalogue", 1)
NAME = "backup_catalogue"

Upgrade = Callable[[Mapping[str, Any]], Mapping[str, Any]]
# By major: what makes a document of that major one of the next. Version 1 is the first.
UPGRADES: Mapping[int, Upgrade] = MappingProxyType({})

CATALOGUE = Shape(
    "Catalogue",
    Catalogue,
    (
        Key("format", scalar(text), f"`{FORMAT.tag}`"),
        Key("timezone", scalar(time_zone), "of all schedules", default="UTC"),
        Key("storage", STORAGE, "storage hosts by inventory name"),
        Key(
            "snapshots",
            SNAPSHOTS,
            "layer 1: schedules by name",
            default=SNAPSHOTS(DEFAULT_SNAPSHOTS, "snapshots", Problems()),
            default_text="every 12 hours for 24 hours, and daily at 00:00 for 3 weeks",
        ),
        Key("nas", NAS_SECTION, "NAS by inventory name", default={}),
        Key("offsite", OFFSITE, "layer 3", default=OFFSITE({}, "offsite", Problems())),
        Key("cluster", CLUSTER, "the Kubernetes cluster", default=None, default_text="none"),
        Key("services", SERVICES, "what is protected, by name", default={}),
        Key("monitoring", MONITORING, "metrics and alerts", default=MONITORING({}, "", Problems())),
        Key("drills", DRILLS, "test restores", default=DRILLS({}, "", Problems())),
        Key("unprotected", UNPROTECTED, "what is left out on purpose, by name", default={}),
    ),
)


def parse(document: object, upgrades: Mapping[int, Upgrade] = UPGRADES) -> Catalogue:
    """The catalogue that ``document`` describes.

    Args:
        document: the value of ``backup_catalogue``, mappings and lists as YAML gives them.
        upgrades: for documents of an older major.

    Raises:
        CatalogueError: everything that is wrong, by key.
    """
    problems = Problems()
    current = _current(document, upgrades)
    refuse_inline_secrets(current, problems)
    values = CATALOGUE.values(current, "", problems)
    values.pop("format")
    whole = {
        key.name: key.default if key.default is not Mark.REQUIRED else {}
        for key in CATALOGUE.keys
        if key.name != "format"
    }
    readable = {name: value for name, value in values.items() if value is not Mark.BAD}
    catalogue = Catalogue(**{**whole, **readable})
    check_together(catalogue, current, problems)
    problems.raise_if_any()
    return catalogue


def _current(document: object, upgrades: Mapping[int, Upgrade]) -> Mapping[str, Any]:
    """The document in the current major."""
    try:
        major = FORMAT.read_major(document, NAME)
    except ConfigError as exc:
        raise CatalogueError([Problem("format", masked(exc.found), exc.remedy)]) from exc
    current: Any = document
    for step in range(major, FORMAT.major):
        if step not in upgrades:
            raise CatalogueError(
                [
                    Problem(
                        "format",
                        f"version {major} was never published",
                        f"write 'format: {FORMAT.tag}'",
                    )
                ]
            )
        current = upgrades[step](current)
    return dict(current)
