# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Random histories against the offsite copy for as long as one wants: ``make soak``.

HISTORY_SEED starts with a known seed; HOMELAB_LAB names the lab's instance. Ends with 1 and the
history at the first difference, with 0 when it is interrupted.
"""

from __future__ import annotations

import os
import random
import sys
import time

from tests.integration.offsite.campaign import Campaign, assert_incremental
from tests.integration.offsite.installation import installed, job_document
from tests.lab.instance import Lab
from tests.lab.settings import load

TREES, SETS, STEPS = 120, 12, 8


def once(lab: Lab, seed: int) -> None:
    """One campaign on pristine pools."""
    lab.reset()
    made = installed(lab.guest, lab.nas, [job_document("main", "main")])
    campaign = Campaign(made, seed, TREES, SETS)
    campaign.prepare()
    campaign.step(None, 0)
    for number in range(1, STEPS + 1):
        strategy = random.Random(f"{seed}.{number}").choice(("stream", "walk", None))
        assert_incremental(campaign.step(strategy, number), strategy)


def main() -> int:
    """Campaigns with rising seeds."""
    lab = Lab(load())
    lab.up()
    seed = int(os.environ.get("HISTORY_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 20)
    began, count = time.monotonic(), 0
    try:
        while True:
            print(f"HISTORY_SEED={seed}", flush=True)
            once(lab, seed)
            seed, count = seed + 1, count + 1
    except AssertionError as error:
        print(f"HISTORY_SEED={seed} failed:\n{error}")
        return 1
    except KeyboardInterrupt:
        minutes = (time.monotonic() - began) / 60
        print(f"{count * (TREES + SETS)} histories in {minutes:.0f} minutes, no difference")
        return 0


if __name__ == "__main__":
    sys.exit(main())
