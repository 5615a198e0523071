# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the storage lab for every integration test."""

from __future__ import annotations

from tests.lab.fixtures import guest, lab, nas, pristine

__all__ = ["guest", "lab", "nas", "pristine"]
