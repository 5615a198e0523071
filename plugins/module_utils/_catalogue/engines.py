# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the catalogue has to know about each kind of data source."""

from __future__ import annotations

from dataclasses import dataclass

DAY = 86400


@dataclass(frozen=True, slots=True)
class Engine:
    """One kind of data source.

    Attributes:
        needs: keys of ``backup`` that must be given.
        needs_kubernetes: keys of ``kubernetes`` that must be given.
        may: keys of ``backup`` that have a meaning beside those needed.
        keep_seconds: default age of sets; 0 when copies are counted.
        keep_copies: default number of sets; 0 when their age counts.
    """

    needs: tuple[str, ...] = ()
    needs_kubernetes: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    keep_seconds: int = 30 * DAY
    keep_copies: int = 0


SQL = Engine(
    needs=("databases", "credentials"),
    needs_kubernetes=("endpoint",),
    may=("user", "tls"),
    keep_seconds=14 * DAY,
)

ENGINES = {
    "postgresql": SQL,
    "mysql": SQL,
    "mariadb": SQL,
    "etcd": Engine(needs=("tls",), needs_kubernetes=("endpoint",)),
    "vault": Engine(needs=("auth_role",), needs_kubernetes=("endpoint",), may=("tls",)),
    "sqlite": Engine(needs=("source",), needs_kubernetes=("pvcs",), may=("integrity_check",)),
    "vaultwarden": Engine(needs=("source",), needs_kubernetes=("pvcs",), may=("integrity_check",)),
    "redis": Engine(needs_kubernetes=("endpoint",), may=("user", "credentials", "tls")),
    "prometheus": Engine(
        needs_kubernetes=("endpoint", "pvcs"),
        may=("user", "credentials", "tls"),
        keep_seconds=0,
        keep_copies=2,
    ),
}

# Keys of `backup` that only some engines know.
SPECIAL_KEYS = (
    "databases",
    "source",
    "user",
    "credentials",
    "auth_role",
    "tls",
    "integrity_check",
)


def default_keep(engine: str) -> tuple[int, int]:
    """Seconds and copies that an engine's sets are kept when the catalogue doesn't say."""
    known = ENGINES[engine]
    return known.keep_seconds, known.keep_copies
