# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of snapshots from a pattern and local time, and back.

In the hour that a clock repeats in autumn, the second pass has a ``b`` behind
the name (02:30 A and 02:30 B, as time tables write it), so that no name comes
twice. The same letters, from ``b`` on, keep names apart when something else has
the plain name already, or when the clock was put back. The order of snapshots
never comes from names: createtxg gives it.
"""

from __future__ import annotations

import datetime
import functools
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._schedule.slots import local_time

DIRECTIVES = {"%Y": 4, "%m": 2, "%d": 2, "%H": 2, "%M": 2}
# What zfs(8) allows in a snapshot's name, without the space.
LITERAL = re.compile(r"[0-9A-Za-z_.:-]*\Z")
TOKEN = re.compile(r"%.?|[^%]")
LETTERS = string.ascii_lowercase[1:]
EXAMPLE = "write it like 'auto-%Y-%m-%d_%H-%M'"


@dataclass(frozen=True, slots=True)
class Naming:
    """A pattern with each of ``%Y %m %d %H %M`` exactly once; parse_naming makes one."""

    pattern: str

    def render(self, wall: datetime.datetime, letter: str = "") -> str:
        """The name for the local time ``wall``."""
        values = {
            "%Y": f"{wall.year:04d}",
            "%m": f"{wall.month:02d}",
            "%d": f"{wall.day:02d}",
            "%H": f"{wall.hour:02d}",
            "%M": f"{wall.minute:02d}",
        }
        return "".join(values.get(part, part) for part in TOKEN.findall(self.pattern)) + letter

    def read(self, short: str) -> tuple[datetime.datetime, str] | None:
        """The local time and the letter in a name, or None when it doesn't fit the pattern."""
        match = _expression(self.pattern).fullmatch(short)
        if match is None:
            return None
        try:
            wall = datetime.datetime(
                int(match["Y"]), int(match["m"]), int(match["d"]), int(match["H"]), int(match["M"])
            )
        except ValueError:
            return None
        return wall, match["letter"]

    def fits(self, short: str) -> bool:
        """True when ``short`` could have been made from this pattern."""
        return self.read(short) is not None

    def candidates(self, epoch: int, zone: datetime.tzinfo) -> Iterator[str]:
        """Names for the instant ``epoch``, the best one first."""
        wall = local_time(epoch, zone)
        yield from (self.render(wall, letter) for letter in ("", *LETTERS)[wall.fold :])

    def may_equal(self, other: Naming) -> bool:
        """True when some name fits both patterns."""
        mine, theirs = self._classes(), other._classes()
        return any(
            len(first) == len(second) and all(map(_overlap, first, second))
            for first in (mine, [*mine, LETTERS])
            for second in (theirs, [*theirs, LETTERS])
        )

    def _classes(self) -> list[str]:
        """For each character of a name: the characters that may stand there."""
        found: list[str] = []
        for part in TOKEN.findall(self.pattern):
            found += [string.digits] * DIRECTIVES[part] if part in DIRECTIVES else [part]
        return found


@functools.lru_cache(maxsize=64)
def _expression(pattern: str) -> re.Pattern[str]:
    parts = "".join(
        f"(?P<{part[1]}>[0-9]{{{DIRECTIVES[part]}}})" if part in DIRECTIVES else re.escape(part)
        for part in TOKEN.findall(pattern)
    )
    return re.compile(f"{parts}(?P<letter>[{LETTERS}]?)")


def _overlap(first: str, second: str) -> bool:
    return bool(set(first) & set(second))


def parse_naming(pattern: str) -> Naming:
    """The naming that ``pattern`` stands for.

    Raises:
        ValueError: says what is wrong with the pattern.
    """
    tokens = TOKEN.findall(pattern)
    directives = [token for token in tokens if token.startswith("%")]
    if sorted(directives) != sorted(DIRECTIVES):
        raise ValueError(f"it must hold each of {' '.join(DIRECTIVES)} exactly once")
    literal = "".join(token for token in tokens if not token.startswith("%"))
    if not LITERAL.match(literal):
        raise ValueError("besides these only letters, digits and _ . : - may be used")
    return Naming(pattern)
