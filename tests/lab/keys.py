# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's SSH keys, made once for each cache; they open nothing outside the lab."""

from __future__ import annotations

from pathlib import Path

from .processes import run

NAMES = (
    "controller",
    "guest_host",
    "nas_host",
    "nas_backup",
    "nas_offsite",
    "nas_pruner",
    "nas_shell",
)
"""``controller``: root of the guest. ``*_host``: host keys. ``nas_*``: the NAS' users."""


def ensure(directory: Path) -> None:
    """Make what is missing. An existing key is never replaced: saved states know it."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in NAMES:
        key = directory / name
        if not key.with_suffix(".pub").exists():
            key.unlink(missing_ok=True)
            comment = f"lab {name}"
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(key)])


def public(directory: Path, name: str) -> str:
    """The public key's line, without the line end."""
    return (directory / f"{name}.pub").read_text().strip()
