# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""The exclude patterns of a run, with the meaning of ``- PATTERN`` lines in rclone's filters."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._filter.glob import (
    Glob,
    PatternError,
    translate,
)
from ansible_collections.homelab.backup.plugins.module_utils._filter.names import as_rclone_sees

NOTHING: Final = r"(?!)"
"""An expression that never matches."""

ANY_START: Final = "(?:^|/)"
"""A pattern without a leading slash begins at any component (filtering.md)."""

FILE_END: Final = r"\Z"
DIRECTORY_END: Final = r"(?<=/)"
"""A pattern that excludes directories is matched with a slash after their path, and
what is in them is then never looked at."""
EITHER_END: Final = rf"(?:{FILE_END}|{DIRECTORY_END})"


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern, and the expressions that it excludes files and directories by."""

    pattern: str
    files: re.Pattern[str]
    directories: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Excludes:
    """Compiled patterns. Paths are raw, relative to the root, without a leading slash.

    Made by :func:`compile_patterns`.
    """

    patterns: tuple[str, ...]
    path_sensitive: bool
    """True if moving a directory may change what is excluded beneath it."""
    fingerprint: str
    """sha256 of the set of patterns: another one means that what is excluded may differ."""
    rules: tuple[Rule, ...]
    any_rule: Rule
    """All rules in one, to tell quickly that nothing matches."""

    def excludes_file(self, path: bytes) -> str | None:
        """The first pattern that excludes the file (or symlink) at ``path``, or None.

        That includes a file in an excluded directory.
        """
        text = as_rclone_sees(path)
        if self.any_rule.files.search(text) is None:
            return None
        return next((rule.pattern for rule in self.rules if rule.files.search(text)), None)

    def prunes_directory(self, path: bytes) -> str | None:
        """The first pattern that excludes the directory at ``path`` with all beneath, or None."""
        text = as_rclone_sees(path) + "/"
        if self.any_rule.directories.search(text) is None:
            return None
        return next((rule.pattern for rule in self.rules if rule.directories.search(text)), None)

    def filter_lines(self) -> str:
        """The same patterns for rclone's ``--filter-from``."""
        return "".join(f"- {pattern}\n" for pattern in self.patterns)


def compile_patterns(patterns: Iterable[str]) -> Excludes:
    """Compile ``patterns``.

    Raises:
        ConfigError: names each pattern that can't be used, why, and what to write.
    """
    written = tuple(patterns)
    globs: list[Glob] = []
    problems: list[str] = []
    for pattern in written:
        try:
            globs.append(translate(pattern))
        except PatternError as exc:
            problems.append(f"{pattern!r}: {exc}")
    if problems:
        raise ConfigError(
            "read the exclude patterns",
            found="; ".join(problems),
            remedy="correct them; the notation is that of rclone's filters",
        )
    digest = hashlib.sha256("\n".join(["1", *sorted(set(written))]).encode("utf-8"))
    return Excludes(
        patterns=written,
        path_sensitive=any(glob.crosses for glob in globs),
        fingerprint=digest.hexdigest(),
        rules=tuple(make_rule(glob.pattern, [glob]) for glob in globs),
        any_rule=make_rule("", globs),
    )


def make_rule(name: str, globs: Sequence[Glob]) -> Rule:
    """One rule that excludes what any of ``globs`` does."""
    files = [(glob, EITHER_END if glob.directories else FILE_END) for glob in globs]
    directories = [(glob, DIRECTORY_END) for glob in globs if glob.directories]
    return Rule(name, combine(files), combine(directories))


def combine(parts: Sequence[tuple[Glob, str]]) -> re.Pattern[str]:
    """One expression for several globs, each with what must follow it."""
    starts = []
    for anchored, start in ((True, r"\A"), (False, ANY_START)):
        bodies = [f"(?:{glob.body}){end}" for glob, end in parts if glob.anchored is anchored]
        if bodies:
            starts.append(f"{start}(?:{'|'.join(bodies)})")
    return re.compile("|".join(starts) or NOTHING, re.DOTALL)
