# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""docs/catalogue.md and the code say the same."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.catalogue import parse
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.engines import ENGINES
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.offsite_policy import (
    offsite_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    CatalogueError,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.snapshot_policy import (
    snapshot_policy,
)
from tests.unit.plugins.module_utils.catalogue import inventories
from tests.unit.plugins.module_utils.catalogue.estate import HOST_KEY
from tools import catalogue_docs

PAGE = catalogue_docs.PAGE.read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """The code block of a language that contains a text."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(next(text for text in found if containing in text))


def test_tables_and_matrix_are_those_of_the_code() -> None:
    assert catalogue_docs.filled(PAGE) == PAGE, "run tools/catalogue_docs.py"


def test_every_shape_has_its_table() -> None:
    assert not catalogue_docs.missing(PAGE)


def first_catalogue() -> dict[str, Any]:
    """The page's first catalogue, with a key where the page has dots."""
    text = block("yaml", "tank/photos").replace("ssh-ed25519 AAAA...", HOST_KEY)
    document = yaml.safe_load(text)["backup_catalogue"]
    assert isinstance(document, dict)
    return document


def test_the_first_catalogue_is_valid() -> None:
    assert list(parse(first_catalogue()).services) == ["photos"]


def with_added_service() -> dict[str, Any]:
    """The estate of the page's second example."""
    document = first_catalogue()
    tank = document["storage"]["tank"]
    tank["pools"]["main"] = {"offsite": {"directory": "/backup/main"}}
    document["cluster"] = {"nodes": {"node": {"address": "192.168.1.30"}}}
    document["services"] |= yaml.safe_load(block("yaml", "bookmarks.db"))["services"]
    return document


def test_the_added_service_is_valid() -> None:
    assert list(parse(with_added_service()).services) == ["photos", "bookmarks"]


def test_the_shown_errors_are_what_comes_out() -> None:
    document = with_added_service()
    photos, bookmarks = document["services"].values()
    photos["ownr"] = photos.pop("owner")
    document["storage"]["tank"]["pools"]["main"]["offsite"]["excludes"] = [
        {"pattern": "*-backup/**", "reason": "an example"}
    ]
    shown = block("text", "the catalogue has").strip().splitlines()
    with pytest.raises(CatalogueError) as without_cron:
        parse(document)
    bookmarks["backup"]["schedule"] = "30 2 * *"
    with pytest.raises(CatalogueError) as with_cron:
        parse(document)
    lines = {*str(without_cron.value).splitlines(), *str(with_cron.value).splitlines()}
    assert set(shown[1:]) <= lines


def test_the_engines_table_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]*) \| ([^|]*) ?\|$", PAGE, re.MULTILINE)
    told = {
        engine: (set(re.findall(r"`([\w.]+)`", needs)), set(re.findall(r"`(\w+)`", may)))
        for engines, needs, may in rows
        for engine in re.findall(r"`(\w+)`", engines)
        if engine in ENGINES
    }
    assert told == {
        name: (
            {*engine.needs, *(f"kubernetes.{key}" for key in engine.needs_kubernetes)},
            set(engine.may),
        )
        for name, engine in ENGINES.items()
    }


def test_the_shown_policies_are_those_of_the_homelab_inventory() -> None:
    catalogue = inventories.catalogue("homelab")
    shown = yaml.safe_load(block("json", "snapshot-policy/1"))
    derived = snapshot_policy(catalogue, "truenas")
    assert {**derived, "schedules": derived["schedules"][:1]} == shown
    shown = yaml.safe_load(block("json", "offsite-policy/1"))
    derived = offsite_policy(catalogue, "truenas")
    (job,) = (job for job in derived["jobs"] if job["name"] == "ssd")
    (exclude,) = shown["jobs"][0]["excludes"]
    assert exclude in job["excludes"]
    assert {**derived, "jobs": [{**job, "excludes": [exclude]}]} == shown


def test_the_filters_table_names_every_filter() -> None:
    told = set(re.findall(r"^\| `homelab\.backup\.(\w+)", PAGE, re.MULTILINE))
    files = catalogue_docs.ROOT.glob("plugins/filter/*.py")
    assert told == {file.stem for file in files if file.stem != "__init__"}
