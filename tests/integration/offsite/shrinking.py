# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Making a failing history shorter: operations are dropped for as long as it still fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from tests.integration.offsite.in_guest.histories import Operation

Steps = list[list[Operation]]
Fails = Callable[[Sequence[Steps]], list[bool]]


def size(steps: Steps) -> int:
    """How many operations a history has."""
    return sum(map(len, steps))


def shorter(steps: Steps) -> Iterator[Steps]:
    """The history without one half, quarter, ... and without each single operation."""
    count = size(steps)
    length = max(count // 2, 1)
    while True:
        for start in range(0, count, length):
            yield without(steps, start, start + length)
        if length == 1:
            return
        length = max(length // 2, 1)


def without(steps: Steps, start: int, stop: int) -> Steps:
    """Operations ``start`` to ``stop`` dropped; the number of steps stays."""
    kept: Steps = []
    position = 0
    for operations in steps:
        kept.append(
            [
                operation
                for place, operation in enumerate(operations, position)
                if not start <= place < stop
            ]
        )
        position += len(operations)
    return kept


def shrink(steps: Steps, fails: Fails, patience_s: float) -> Steps:
    """The shortest failing history that was found in ``patience_s`` seconds.

    :param fails: tells of each of many histories, tried side by side, whether it fails.
    """
    deadline = time.monotonic() + patience_s
    while size(steps) > 1 and time.monotonic() < deadline:
        tried = list(shorter(steps))
        failing = [one for one, bad in zip(tried, fails(tried), strict=True) if bad]
        if not failing:
            break
        steps = min(failing, key=size)
    return steps
