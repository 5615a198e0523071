# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""No gate is switched off anywhere, and every file says its licence."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Written in pieces, because this file is searched as well.
SWITCHES = (
    r"#\s*no" + r"qa",
    r"#\s*type:\s*" + r"ignore",
    r"#\s*mypy:\s*" + r"(ignore|disable|allow)",
    r"#\s*ruff:\s*no" + r"qa",
    r"#\s*pylint:\s*" + r"(disable|skip)",
    r"#\s*no" + r"sec\b",
    r"#\s*fmt:\s*" + r"(off|skip)",
    r"#\s*pragma:\s*" + r"no cover",
    r"#\s*yamllint\s+" + r"disable",
    r"#\s*shellcheck\s+" + r"disable",
    r"skip_" + r"ansible_lint",
    r"@no_type_" + r"check",
)
SWITCH = re.compile("|".join(SWITCHES))
SETTINGS = re.compile(
    r"^\s*(skip_" + r"list|warn_" + r"list|per-file-" + r"ignores|extend-" + r"ignore|ignore|"
    r"ignore_" + r"missing_imports|ignore_" + r"errors)\s*[:=]",
    re.MULTILINE,
)
HEADER = (
    "SPDX-License-Identifier: GPL-3.0-or-later",
    "Copyright (c) 2026 homelab.backup contributors",
)
# What holds no comments, or is written by a program.
WITHOUT_HEADER = re.compile(
    r"(\.md|/hostname|\.json|\.tar|\.key|\.pub|/\.gitkeep)$|^LICENSE$|^\.gitignore$|^changelogs/changelog\.yaml$"
)


def project_files() -> list[str]:
    """Text files that git tracks."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return [
        name
        for name in listed.split("\0")
        if name and (ROOT / name).is_file() and b"\0" not in (ROOT / name).read_bytes()
    ]


FILES = project_files()


def found(pattern: re.Pattern[str], name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8", errors="replace")
    return [match[0] for match in pattern.finditer(text)]


def test_no_switch_in_any_file() -> None:
    assert {name: found(SWITCH, name) for name in FILES if found(SWITCH, name)} == {}


@pytest.mark.parametrize("name", [".ansible-lint", ".yamllint", "pyproject.toml"])
def test_no_exception_in_settings(name: str) -> None:
    assert found(SETTINGS, name) == []


def test_no_ignore_files() -> None:
    ignore_files = [
        name
        for name in FILES
        if re.search(r"(^tests/sanity/ignore.*\.txt|(^|/)\.ansible-lint-ignore)$", name)
    ]
    assert ignore_files == []


def test_licence_header_in_every_file() -> None:
    lacking = [
        name
        for name in FILES
        if not WITHOUT_HEADER.search(name)
        and not all(
            line in (ROOT / name).read_text(encoding="utf-8", errors="replace")[:1000]
            for line in HEADER
        )
    ]
    assert not lacking, f"add the two lines {HEADER} to: {lacking}"


@pytest.mark.parametrize(
    "line",
    [
        "import x  # no" + "qa: F401",
        "x = f()  # type: " + "ignore[attr-defined]",
        "# yamllint " + "disable-line rule:line-length",
        "# shellcheck " + "disable=SC2086",
        "command: x  # no" + "qa no-changed-when",
    ],
)
def test_a_switch_is_recognised(line: str) -> None:
    assert SWITCH.search(line)


def test_a_setting_is_recognised() -> None:
    assert SETTINGS.search("skip_" + "list:\n  - yaml\n")
    assert SETTINGS.search("per-file-" + "ignores = {}\n")
