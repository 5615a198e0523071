# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Runs in the guest behind the text of ``histories``: plays one step of many histories.

Standard input: JSON with ``step`` and ``histories``, each with ``top``, ``seed`` and, to do known
operations instead of new ones, ``operations``. Prints the operations by top.
"""

import json
import os
import random
import sys

if __name__ != "__main__":
    from tests.integration.offsite.in_guest.histories import Inventor, proceed, replay


def play_one(history, step):
    """One step of one history; returns its operations."""
    top = history["top"].encode("latin-1")
    inventor = Inventor(history["seed"])
    if "operations" in history:
        replay(top, history["operations"])
        return history["operations"]
    if step == 0:
        operations = inventor.first()
        replay(top, operations)
        return operations
    inventor.rng = random.Random(f"{history['seed']}.{step}")
    return proceed(top, inventor, inventor.rng.randrange(2, 8))


def play():
    request = json.load(sys.stdin)
    done = {}
    for history in request["histories"]:
        os.makedirs(history["top"], exist_ok=True)
        done[history["top"]] = play_one(history, request["step"])
    json.dump(done, sys.stdout)


if __name__ == "__main__":
    play()
