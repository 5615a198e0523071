# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""One exclude pattern in rclone's notation, as a regular expression.

The notation: rclone's docs/content/filtering.md ("Patterns"). Where rclone
takes more than can be held to the same meaning everywhere (embedded regular
expressions, named classes, nested braces, which older versions refuse), the
pattern is refused with what to write instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SEPARATOR: Final = "/"
EVERYTHING: Final = frozenset({"*", "**", "/", "/*", "/**"})


class PatternError(ValueError):
    """What is wrong with a pattern, and what to write instead."""

    def __init__(self, found: str, remedy: str) -> None:
        self.found = found
        self.remedy = remedy
        super().__init__(f"{found} -> {remedy}")


@dataclass(frozen=True, slots=True)
class Glob:
    """A translated pattern.

    Args:
        pattern: as it was written.
        body: regular expression for what it names, without anchors.
        anchored: it begins at the root; else at the begin of any path component.
        directories: it is also held against directories (with a slash after their
            names) and then excludes all that is in them.
        crosses: what it matches can depend on more than the last component of a path.
    """

    pattern: str
    body: str
    anchored: bool
    directories: bool
    crosses: bool


def translate(pattern: str) -> Glob:
    """``pattern`` as a regular expression.

    Raises:
        PatternError: it means nothing, or not the same to every rclone.
    """
    check_text(pattern)
    # rclone: a directory's pattern "dir/" is the same as "dir/**".
    written = pattern + "**" if pattern.endswith(SEPARATOR) else pattern
    anchored = written.startswith(SEPARATOR)
    parser = Parser(written[1:] if anchored else written)
    body = parser.body()
    return Glob(
        pattern=pattern,
        body=body,
        anchored=anchored,
        directories="**" in written,
        crosses=anchored or parser.crosses,
    )


def check_text(pattern: str) -> None:
    """Refuse what no line of a filter file can say, or what can't be meant."""
    if not pattern:
        raise PatternError("it is empty", "remove it")
    if pattern != pattern.strip():
        raise PatternError("it begins or ends with a blank", "write the blank as [ ], or remove it")
    if any(ord(char) < 32 or ord(char) == 127 for char in pattern):
        raise PatternError("it holds a control character", "match it with ?")
    if any(0xD800 <= ord(char) <= 0xDFFF or char == "\ufffd" for char in pattern):
        raise PatternError("it holds bytes that are no text", "match each of them with ?")
    if pattern in EVERYTHING:
        raise PatternError("it excludes everything", "leave the dataset out instead")
    if "//" in pattern:
        raise PatternError("it has two slashes together, which no path has", "write one slash")
    if pattern.startswith(("- ", "+ ")):
        raise PatternError("it is a filter rule", "give the pattern alone; all of them exclude")


class Parser:
    """Reads a pattern from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._in_braces = False
        self.crosses = False
        """True once something was read that can match a slash."""

    def body(self) -> str:
        """The regular expression.

        Raises:
            PatternError: see :func:`translate`.
        """
        parts = []
        while self._at < len(self._text):
            parts.append(self._next())
        if self._in_braces:
            raise PatternError(
                found="a { has no }", remedy="close it, or write \\{ for the character"
            )
        return "".join(parts)

    def _next(self) -> str:
        char = self._text[self._at]
        if char == "*":
            return self._stars()
        self._at += 1
        if char == "?":
            return "[^/]"
        if char == "\\":
            return self._escaped()
        if char == "[":
            return self._class()
        if char in "]{},":
            return self._grouping(char)
        if char == SEPARATOR:
            self.crosses = True
        return re.escape(char)

    def _stars(self) -> str:
        begin = self._at
        while self._text[self._at : self._at + 1] == "*":
            self._at += 1
        count = self._at - begin
        if count > 2:
            raise PatternError("it has more than two * together", "write * or **")
        if count == 2:
            self.crosses = True
            return ".*"
        return "[^/]*"

    def _escaped(self) -> str:
        char = self._text[self._at : self._at + 1]
        self._at += 1
        if not char:
            raise PatternError("it ends with a backslash", "write \\\\ for the character")
        if char.isalnum() or not char.isascii():
            raise PatternError(f"\\{char} is no plain character", f"write {char} alone")
        if char == SEPARATOR:
            self.crosses = True
        return re.escape(char)

    def _grouping(self, char: str) -> str:
        if char == "{":
            if self._in_braces or self._text[self._at : self._at + 1] == "{":
                raise PatternError(
                    found="it has a regular expression {{…}} or nested braces",
                    remedy="write several patterns instead",
                )
            self._in_braces = True
            return "(?:"
        if char == "}" and self._in_braces:
            self._in_braces = False
            return ")"
        if char == "," and self._in_braces:
            return "|"
        if char in "]}":
            raise PatternError(f"a {char} opens nowhere", f"write \\{char} for the character")
        return re.escape(char)

    def _class(self) -> str:
        end = self._text.find("]", self._at)
        content = self._text[self._at : end] if end >= 0 else ""
        negated = content.startswith("^")
        members = content[1:] if negated else content
        if not members:
            raise PatternError("a [ has no ], or nothing between", "write \\[ for the character")
        if "[" in members or "\\" in members:
            raise PatternError(
                "a class holds [ or a backslash", "write the characters themselves: [a-z0-9_]"
            )
        self._at = end + 1
        regex = "[" + ("^" if negated else "") + class_members(members) + "]"
        if re.fullmatch(regex, SEPARATOR):
            self.crosses = True
        return regex


def class_members(members: str) -> str:
    """The inside of a class with everything but the ranges' hyphens escaped."""
    parts = []
    at = 0
    while at < len(members):
        low = members[at]
        if members[at + 1 : at + 2] == "-" and at + 2 < len(members):
            high = members[at + 2]
            if high < low:
                raise PatternError(f"the range {low}-{high} is backwards", f"write {high}-{low}")
            parts.append(f"{re.escape(low)}-{re.escape(high)}")
            at += 3
        else:
            parts.append(re.escape(low))
            at += 1
    return "".join(parts)
