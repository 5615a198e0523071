# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw file names and the text that people and JSON files see.

A file name on ZFS is any bytes but ``/`` and NUL. Inside the core a path is
``bytes``; this is the one place where it becomes text and comes back.
"""

from __future__ import annotations

import base64
import time


def printable(name: bytes) -> str:
    """``name`` for a person: valid UTF-8 as it is, other and control bytes as ``\\xNN``.

    A backslash is doubled, so that two different names never look alike.
    """
    text = name.decode("utf-8", errors="surrogateescape")
    parts: list[str] = []
    for char in text:
        code = ord(char)
        if 0xDC80 <= code <= 0xDCFF:
            parts.append(f"\\x{code - 0xDC00:02x}")
        elif char == "\\":
            parts.append("\\\\")
        elif char.isprintable():
            parts.append(char)
        else:
            parts.extend(f"\\x{byte:02x}" for byte in char.encode("utf-8"))
    return "".join(parts)


def to_json(name: bytes) -> str | dict[str, str]:
    """``name`` as a JSON value: a string when it is UTF-8, else ``{"b64": …}``."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(name).decode("ascii")}


def from_json(value: object) -> bytes:
    """The inverse of :func:`to_json`.

    Raises:
        ValueError: neither a string nor ``{"b64": …}``.
    """
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(str(value["b64"]), validate=True)
    raise ValueError(f"not a name: {value!r}")


def human_bytes(count: int) -> str:
    """``count`` bytes with a binary unit, three significant digits at most ("1.5 GiB")."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or abs(size) >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} PiB"


def human_seconds(seconds: float) -> str:
    """A duration in words: "0.4 s", "12 s", "3 min 5 s", "2 h 4 min", "5 d 2 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def utc_stamp(epoch: float) -> str:
    """``epoch`` as ``2026-11-23T01:50:19Z`` (RFC 3339, whole seconds)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
