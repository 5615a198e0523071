# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a catalogue, all of it at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.secrecy import masked
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: the key in the catalogue, as ``services.vault.backup.schedule``.
        found: what is there.
        remedy: what to write instead.
    """

    path: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.found}"
        return f"{text} -> {self.remedy}" if self.remedy else text


class InvalidError(ValueError):
    """A value that can't be read; the reader of the key adds the path.

    Args:
        found: what is there ("'25h' is not a duration").
        remedy: what to write instead.
    """

    def __init__(self, found: str, remedy: str = "") -> None:
        self.found = found
        self.remedy = remedy
        super().__init__(found)


class CatalogueError(ConfigError):
    """Everything that is wrong with a catalogue.

    Args:
        problems: at least one, in the order of the document.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(
            "read the catalogue",
            found=f"{count} error{'' if count == 1 else 's'}",
            remedy="mend the keys named",
        )

    def __str__(self) -> str:
        count = len(self.problems)
        lines = [f"the catalogue has {count} error{'' if count == 1 else 's'}:"]
        lines += [f"  {problem}" for problem in self.problems]
        return "\n".join(lines)


class Problems:
    """Collects problems while a document is read.

    A path that was settled (a secret stands there) takes no second problem:
    whatever else is wrong with it would only be noise, or repeat the value.
    """

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._settled: set[str] = set()

    def add(self, path: str, found: str, remedy: str = "") -> None:
        """Note one problem; what may be a secret in it is hidden."""
        problem = Problem(masked(path), masked(found), remedy)
        if problem.path not in self._settled and problem not in self._found:
            self._found.append(problem)

    def settle(self, path: str, found: str, remedy: str) -> None:
        """Note the only problem that this path shall have."""
        self.add(path, found, remedy)
        self._settled.add(masked(path))

    def under(self, path: str) -> bool:
        """True when a problem lies at ``path`` or below it."""
        return any(
            problem.path == path or problem.path.startswith((path + ".", path + "["))
            for problem in self._found
        )

    def __len__(self) -> int:
        return len(self._found)

    @property
    def found(self) -> tuple[Problem, ...]:
        """All problems, in the order in which they were found."""
        return tuple(self._found)

    def raise_if_any(self) -> None:
        """Raise :class:`CatalogueError` when there is at least one problem."""
        if self._found:
            raise CatalogueError(self._found)


def nearest(word: str, words: Iterable[str]) -> str:
    """The word that was probably meant, or "" when none is near."""
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return close[0] if close else ""


def one_of(words: Sequence[str], word: str = "") -> str:
    """A remedy: the nearest of ``words`` to ``word``, or all of them."""
    meant = nearest(word, words) if word else ""
    if meant:
        return f"did you mean {meant!r}?"
    return f"use one of: {', '.join(words)}" if words else ""
