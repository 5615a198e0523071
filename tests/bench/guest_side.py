# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Puts the core and the bench's part of the guest there, and calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.core_in_guest import ROOT, ship
from tests.lab.guest import Guest

HERE = Path(__file__).resolve().parent
SHIPPED = ("__init__.py", "in_guest.py", "sink.py")
LONGEST = 3600.0


class GuestSide:
    """The bench's commands in the guest."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        ship(guest)
        guest.run(f"mkdir -p {ROOT}/tests/bench && touch {ROOT}/tests/__init__.py")
        for name in SHIPPED:
            guest.put(HERE / name, f"{ROOT}/tests/bench/{name}")
        guest.run(f"python3 -m compileall -q {ROOT}", timeout=LONGEST)

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """One command's answer."""
        argv = ["python3", "-m", "tests.bench.in_guest", command, json.dumps(arguments)]
        result = self._guest.run(argv, env={"PYTHONPATH": ROOT}, cwd=ROOT, timeout=LONGEST)
        answer: dict[str, Any] = json.loads(result.out)
        return answer
