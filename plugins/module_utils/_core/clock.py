# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clock as a port, so that a year can be simulated in seconds."""

from __future__ import annotations

import time
from typing import Protocol

from ansible_collections.homelab.backup.plugins.module_utils._core.text import utc_stamp

__all__ = ["Clock", "SystemClock", "utc_stamp"]


class Clock(Protocol):
    """What time it is."""

    def now(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z."""


class SystemClock:
    """The host's own clock."""

    def now(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z."""
        return time.time()
