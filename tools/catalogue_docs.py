# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Writes the tables of docs/catalogue.md from the shapes that read a catalogue.

``.venv/bin/python tools/catalogue_docs.py`` puts a table between each pair of lines
``<!-- keys: TITLE -->`` and ``<!-- end -->``, where TITLE is a shape's, and the protection matrix
of inventories/homelab after ``<!-- matrix -->``. A unit test says when the page is behind.

Run it from the checkout, after ``make setup``, with ``PYTHONPATH=.:.cache/collections``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue import (
    catalogue,
    shape_backup,
    shape_cluster,
    shape_common,
    shape_offsite,
    shape_services,
    shape_storage,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.protection_matrix import (
    as_markdown,
    protection_matrix,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape import (
    Key,
    Mark,
    Shape,
)
from tests.unit.plugins.module_utils.catalogue import inventories

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "catalogue.md"
MODULES = (
    catalogue,
    shape_backup,
    shape_cluster,
    shape_common,
    shape_offsite,
    shape_services,
    shape_storage,
)
MATRIX = re.compile(r"(<!-- matrix -->\n).*?(<!-- end -->)", re.DOTALL)
BLOCK = re.compile(r"(<!-- keys: (?P<title>[^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def shapes() -> dict[str, Shape]:
    """Every shape by its title."""
    found = [value for module in MODULES for value in vars(module).values()]
    found += shape_common.SECRETS.values()
    return {value.title: value for value in found if isinstance(value, Shape)}


def default_of(key: Key) -> str:
    """The default in the docs' words."""
    value: Any = key.default
    if key.default_text:
        return key.default_text
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is Mark.REQUIRED:
        return "**required**"
    if value is None or value in ("", (), {}):
        return "none"
    if isinstance(value, (str, int, float)) or type(value).__name__ == "Duration":
        return f"`{value}`"
    return "see below"


def table(shape: Shape) -> str:
    """The keys of a shape as a Markdown table."""
    lines = ["| key | meaning | default |", "|---|---|---|"]
    lines += [f"| `{key.name}` | {key.meaning} | {default_of(key)} |" for key in shape.keys]
    return "\n".join(lines) + "\n"


def filled(page: str) -> str:
    """The page with every table as it should be.

    Raises:
        KeyError: the page names a shape that there isn't.
    """
    known = shapes()
    matrix = as_markdown(protection_matrix(inventories.catalogue("homelab")))
    tables = BLOCK.sub(lambda found: found[1] + table(known[found["title"]]) + found[3], page)
    return MATRIX.sub(lambda found: found[1] + matrix + found[2], tables)


def missing(page: str) -> set[str]:
    """Titles of shapes that the page has no table for."""
    return set(shapes()) - {found["title"] for found in BLOCK.finditer(page)}


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for title in sorted(missing(PAGE.read_text(encoding="utf-8"))):
        print(f"{PAGE.name} has no table '<!-- keys: {title} -->'")
