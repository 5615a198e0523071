# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Random histories on the real pool: after each sync the destination equals the snapshot."""

from __future__ import annotations

import os
import random

import pytest

from tests.integration.offsite.campaign import Campaign, assert_incremental
from tests.integration.offsite.installation import installed, job_document
from tests.lab.guest import Guest
from tests.lab.nas import Nas

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("pristine")]

TREES, SETS = 288, 12
STRATEGIES = ("stream", "walk", None)


def seed_of_this_run() -> int:
    """HISTORY_SEED, or another one each time; it is printed."""
    seed = int(os.environ.get("HISTORY_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 20)
    print(f"HISTORY_SEED={seed}", flush=True)
    return seed


def test_every_sync_equals_its_snapshot(guest: Guest, nas: Nas) -> None:
    made = installed(guest, nas, [job_document("main", "main")])
    campaign = Campaign(made, seed_of_this_run(), TREES, SETS)
    campaign.prepare()
    campaign.step(None, 0)
    for number, strategy in enumerate(STRATEGIES, start=1):
        ran = campaign.step(strategy, number)
        assert_incremental(ran, strategy)
        if strategy is not None:
            assert ran.strategies["main/trees"] == strategy
