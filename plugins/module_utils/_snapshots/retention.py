# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention: one pure function from snapshots, policy and time to decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._core.text import utc_stamp
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import Made
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import (
    Policy,
    Schedule,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import pool_of


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to one of our snapshots, and why.

    Attributes:
        prune: True when it goes.
        reason: a sentence for a person.
        expires: when its lifetime ends, seconds since 1970; None without a schedule.
    """

    made: Made
    prune: bool
    reason: str
    expires: int | None


def retain(
    ours: Iterable[Made],
    policy: Policy,
    now: int,
    vetoes: Mapping[tuple[str, str], str],
) -> tuple[Decision, ...]:
    """Decide on each of our snapshots, by dataset, schedule, then newest first.

    One goes only when all of this holds: its lifetime is over; as many newer
    ones of its schedule and dataset are there as the lifetime has slots (so
    that neither a clock that jumped ahead nor a month without power empties
    the history), and at least ``keep_min``; nothing holds it and nothing was
    cloned from it; no veto. Newer is what has the greater createtxg. What
    reached its lifetime to the second is over, as in zettarepl.

    Args:
        ours: snapshots that this host's runner made.
        policy: what shall be.
        now: seconds since 1970.
        vetoes: by (schedule id, pool), where ``""`` stands for all: why
            nothing may go.
    """
    groups: dict[tuple[str, str], list[Made]] = {}
    for one in ours:
        groups.setdefault((one.snapshot.dataset, one.schedule), []).append(one)
    worth = {one.id: one.worth(now) for one in policy.schedules if one.enabled}
    decisions: list[Decision] = []
    for (dataset, name), members in sorted(groups.items(), key=lambda item: item[0]):
        members.sort(key=lambda one: -one.snapshot.createtxg)
        schedule = policy.schedule(name)
        if schedule is None:
            reason = f"schedule {name!r} is not in the policy any more: nothing prunes it"
            decisions += [Decision(one, False, reason, None) for one in members]
            continue
        active = schedule.enabled and schedule.covers(dataset)
        floor = max(schedule.keep_min, worth[name] if active else 1)
        decisions += _decide(members, schedule, floor, now, _veto(vetoes, name, dataset))
    return tuple(decisions)


def _veto(vetoes: Mapping[tuple[str, str], str], schedule: str, dataset: str) -> str:
    pool = pool_of(dataset)
    keys = (("", ""), ("", pool), (schedule, pool))
    return next((vetoes[key] for key in keys if key in vetoes), "")


def _decide(
    newest_first: Sequence[Made], schedule: Schedule, floor: int, now: int, veto: str
) -> Iterator[Decision]:
    for newer, one in enumerate(newest_first):
        expires = schedule.expiry(one.reference)
        reason = _reason_to_keep(one, newer, floor, expires, now) or veto
        ended = f"its lifetime of {schedule.lifetime} ended {utc_stamp(expires)}"
        yield Decision(one, not reason, reason or ended, expires)


def _reason_to_keep(one: Made, newer: int, floor: int, expires: int, now: int) -> str:
    if newer == 0:
        return "the newest of its schedule always stays"
    if now < expires:
        return f"it lives until {utc_stamp(expires)}"
    if newer < floor:
        return f"only {newer} newer ones are there and {floor} have to be"
    if one.snapshot.userrefs:
        return f"it is held ('zfs holds' shows the {one.snapshot.userrefs} tags)"
    if one.snapshot.clones:
        return f"{one.snapshot.clones[0]} is a clone of it"
    return ""
