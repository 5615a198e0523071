# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""A failing history gets as short as it can be."""

from __future__ import annotations

from collections.abc import Sequence

from tests.integration.offsite.shrinking import Steps, shorter, shrink, size

HISTORY: Steps = [[["mkdir", str(number)] for number in range(9)], [["remove", "7"]], []]


def needs(*wanted: list[str | int]):
    """Fails exactly when all of these operations are there."""

    def fails(histories: Sequence[Steps]) -> list[bool]:
        return [
            all(any(one in step for step in history) for one in wanted) for history in histories
        ]

    return fails


def test_only_what_is_needed_stays_in_its_step() -> None:
    found = shrink(HISTORY, needs(["mkdir", "3"], ["remove", "7"]), 10)
    assert found == [[["mkdir", "3"]], [["remove", "7"]], []]


def test_nothing_can_be_dropped() -> None:
    steps: Steps = [[["mkdir", "a"]], [["mkdir", "b"]]]
    assert shrink(steps, needs(["mkdir", "a"], ["mkdir", "b"]), 10) == steps


def test_no_time_left() -> None:
    assert shrink(HISTORY, needs(["mkdir", "3"]), 0) == HISTORY


def test_each_operation_is_dropped_once_alone() -> None:
    single = [steps for steps in shorter(HISTORY) if size(steps) == size(HISTORY) - 1]
    assert len(single) == size(HISTORY)
