# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Makes ``ansible_collections.homelab.backup`` importable in every test run.

``make setup`` makes the same link; it is repeated here so that a plain
``pytest tests/unit`` works in any environment that has pytest and hypothesis.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

REPOSITORY = Path(__file__).resolve().parent.parent
LINK = REPOSITORY / ".cache/collections/ansible_collections/homelab/backup"

if not LINK.is_symlink():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to("../../../..")
    importlib.invalidate_caches()

# No deadline: emulated guests share the machine's cores. Failing examples are kept and tried
# first in the next run.
settings.register_profile(
    "house",
    deadline=None,
    print_blob=True,
    database=DirectoryBasedExampleDatabase(REPOSITORY / ".cache" / "hypothesis"),
)
settings.load_profile("house")
