# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""What the top level promises in more than one place, compared."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def targets() -> set[str]:
    """Targets of the Makefile."""
    text = (ROOT / "Makefile").read_text()
    rules = re.findall(r"^([a-z][a-z -]*):", text, re.MULTILINE)
    return {target for rule in rules for target in rule.split()}


def commands_of(page: str) -> set[str]:
    """`make` targets that a page names."""
    return set(re.findall(r"\bmake ([a-z-]+)\b(?=[`\s])", (ROOT / page).read_text()))


def test_pages_name_targets_that_exist() -> None:
    for page in ("README.md", "docs/development.md"):
        named = commands_of(page)
        assert named, f"{page} names no command"
        assert named - targets() == set()


def test_ci_runs_the_readmes_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test\n" in script.read_text()
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_every_module_is_in_the_action_group() -> None:
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py")}
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    listed = {name for group in groups.values() for name in group}
    assert modules == listed


def test_documentation_links_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert not broken, broken


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert sorted(page for page in pages if f"({page})" not in index) == []
