# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The collection's version, known inside the zipapp where galaxy.yml is not."""

from __future__ import annotations

VERSION = "0.1.0"
