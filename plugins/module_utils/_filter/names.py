# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""A file's raw name as rclone's filters see it.

rclone holds patterns against its own form of a name (docs/content/overview.md,
"Restricted filenames"): control characters appear as the pictures of the block
U+2400, pictures that were there before get U+201B put before them, and each
byte that is no UTF-8 counts as one character.
"""

from __future__ import annotations

import re
from typing import Final

QUOTE: Final = "\u201b"

SPECIAL: Final = re.compile(
    "\u201b[\u2400\uff0f\u201b]"
    "|(?:(?<=/)|(?<![\\s\\S]))\u201b\uff0e{1,2}(?=/|\\Z)"
    "|[\x01-\x1f\x7f\u201b\u2401-\u241f\u2421]"
)


def as_rclone_sees(path: bytes) -> str:
    """``path`` in rclone's form; bytes that are no UTF-8 become lone surrogates."""
    text = path.decode("utf-8", errors="surrogateescape")
    if text.isascii() and text.isprintable():
        return text
    return SPECIAL.sub(standard_form, text)


def standard_form(found: re.Match[str]) -> str:
    """What rclone makes of a character that it treats specially."""
    text = found[0]
    if len(text) > 1:
        return text
    if text == "\x7f":
        return "\u2421"
    if text < " ":
        return chr(0x2400 + ord(text))
    return QUOTE + text
