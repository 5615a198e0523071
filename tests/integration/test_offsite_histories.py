# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Random histories on the real pool: after each sync the destination equals the snapshot."""

from __future__ import annotations

import json
import os
import random

import pytest

from tests.integration.offsite.as_specified import AsSpecified
from tests.integration.offsite.campaign import IN_GUEST, PLAYER, Campaign, assert_incremental
from tests.integration.offsite.installation import UNPACKED, installed, job_document
from tests.integration.offsite.remote_tree import read_remote
from tests.integration.offsite.source_tree import compare, read_source
from tests.lab.guest import Guest
from tests.lab.instance import Lab
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


def test_a_sync_as_specified_fails_the_same_test(guest: Guest, nas: Nas) -> None:
    """Were it to pass, the histories would be too tame to prove anything."""
    installed(guest, nas, [job_document("main", "main")])
    guest.zfs("create", "main/specified")
    naive = AsSpecified(guest, nas, "main/specified")
    histories = [{"top": f"/mnt/main/specified/{number}", "seed": number} for number in range(20)]
    wrong: list[tuple[bytes, str]] = []
    for step in range(3):
        guest.python(PLAYER, stdin=json.dumps({"step": step, "histories": histories}))
        record = {"snapshots": {"main/specified": {"snapshot": naive.run()}}}
        expected, dummy = read_source(guest, record, "main/specified")
        wrong = compare(expected, read_remote(nas, naive.directory, list(expected)))
        print(f"step {step}: {len(wrong)} differences", flush=True)
        if step == 0:
            # Its full copy brings the files, or the test would prove nothing.
            missing = [path for path, text in wrong if text.endswith("destination: nothing")]
            files = [path for path, found in expected.items() if found.kind == "f"]
            assert len(missing) < len(files) // 2, missing
    assert len(wrong) > 10


def test_stream_and_walk_find_the_same_changes(guest: Guest, nas: Nas, lab: Lab) -> None:
    """Where they may differ: a walk suspects the content of any file whose ctime changed."""
    lab.reset()
    made = installed(guest, nas, [job_document("main", "main")])
    campaign = Campaign(made, seed_of_this_run(), 40, 3)
    campaign.prepare()
    campaign.step(None, 0)
    campaign.play(1, "both")
    guest.zfs("snapshot", "-r", "main@compared")
    code = (IN_GUEST / "change_sets.py").read_text()
    found = json.loads(guest.python(code, UNPACKED, made.policy).out)
    stream, walk = found["stream"], found["walk"]
    assert "stream" in stream["used"]
    assert "walk" not in stream["used"]
    assert set(walk["used"]) == {"walk"}
    assert (stream["problems"], walk["problems"]) == ([], [])
    assert len(stream["came"]) > 20
    assert stream["came"] == walk["came"]
    assert stream["gone"] == walk["gone"]
    by_stream, by_walk = (
        {row[0]: row[1:] for row in tables["changed"]} for tables in (stream, walk)
    )
    assert by_stream.keys() == by_walk.keys()
    for node, row in by_stream.items():
        assert row[:-2] == by_walk[node][:-2]
        assert row[-1] <= by_walk[node][-1], "the stream suspects content that a walk does not"
