# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception of the lab: what was tried, what was found, what to do."""

from __future__ import annotations


class LabError(Exception):
    """A step of the lab failed for a reason that the person at the keyboard can act on."""
