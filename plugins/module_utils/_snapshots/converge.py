# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change on a host for a policy: the plan behind ``zfs_snapshot_policy``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ansible_collections.homelab.backup.plugins.module_utils._core.formats import canonical_json
from ansible_collections.homelab.backup.plugins.module_utils._core.text import human_bytes
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.document import to_document
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import (
    ClockEvidence,
    Host,
    made,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.plan import decide
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.retention import Decision


@dataclass(frozen=True, slots=True)
class Current:
    """A host as it is.

    Attributes:
        policy: what its policy file says; None when there is none or it is damaged.
        policy_text: the file's content; empty when there is none.
        timer_text: the cron file's content; empty when there is none.
        host: datasets and snapshots of the pools that old and new policy name.
        now: seconds since 1970.
        clock: what earlier runs say of it.
    """

    policy: Policy | None
    policy_text: str
    timer_text: str
    host: Host
    now: int
    clock: ClockEvidence = field(default_factory=ClockEvidence)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A file's content before and after; empty for no file."""

    kind: Literal["policy", "timer"]
    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class PolicyPlan:
    """What changes. False when nothing does.

    Attributes:
        rewrites: files, in the order in which they are written.
        sentences: what changes in the schedules, in words.
        doomed: snapshots that go because of the change, and are destroyed now.
        announced: those that go because of the change, with the next run.
    """

    rewrites: tuple[Rewrite, ...] = ()
    sentences: tuple[str, ...] = ()
    doomed: tuple[Decision, ...] = ()
    announced: tuple[Decision, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rewrites or self.doomed)


def policy_text(policy: Policy | None) -> str:
    """The content of the policy file."""
    return canonical_json(to_document(policy)).decode("utf-8") if policy else ""


def plan_change(
    current: Current,
    desired: Policy | None,
    *,
    policy_path: str,
    timer_path: str,
    timer_text: str,
    prune: bool,
) -> PolicyPlan:
    """What has to change so that ``desired`` is the host's policy.

    Snapshots go because of the change when the new policy gives them up and
    the old one doesn't. What is over under both is left to the runner, so that
    converging at another minute shows no change.

    Args:
        desired: what shall be; None removes policy and timer, and no snapshot.
        timer_text: the cron file for ``desired``; empty for None.
        prune: destroy what goes now, instead of with the next run.
    """
    files = (
        Rewrite("policy", policy_path, current.policy_text, policy_text(desired)),
        Rewrite("timer", timer_path, current.timer_text, timer_text),
    )
    rewrites = tuple(one for one in files if one.before != one.after)
    # A removed policy must not leave a timer that looks for it.
    rewrites = rewrites if desired else rewrites[::-1]
    going = tuple(_going(current, desired)) if desired else ()
    return PolicyPlan(
        rewrites=rewrites,
        sentences=tuple(changes(current.policy, desired)),
        doomed=going if prune else (),
        announced=() if prune else going,
    )


def _going(current: Current, desired: Policy) -> Iterator[Decision]:
    doubts = current.clock.doubts(made(current.host), current.now)
    old: frozenset[str] = frozenset()
    if current.policy is not None:
        decisions = decide(current.host, current.policy, current.now, doubts, {}, ())
        old = frozenset(one.made.snapshot.name for one in decisions if one.prune)
    for decision in decide(current.host, desired, current.now, doubts, {}, ()):
        if decision.prune and decision.made.snapshot.name not in old:
            yield decision


def changes(before: Policy | None, after: Policy | None) -> Iterator[str]:
    """The differences between two policies, one sentence each."""
    old, new = _by_id(before), _by_id(after)
    for name in [*new, *(name for name in old if name not in new)]:
        if name not in old:
            yield f"schedule {name!r} is new: {_words(new[name])}"
        elif name not in new:
            yield f"schedule {name!r} goes; the snapshots that it made stay until destroyed by hand"
        else:
            for key, value in new[name].items():
                if value != old[name][key]:
                    yield f"schedule {name!r}: {key} {old[name][key]!r} becomes {value!r}"


def _by_id(policy: Policy | None) -> dict[str, dict[str, Any]]:
    entries = to_document(policy)["schedules"] if policy else []
    return {entry["id"]: entry for entry in entries}


def _words(entry: dict[str, Any]) -> str:
    return (
        f"{', '.join(entry['datasets'])} at '{entry['cron']}' ({entry['timezone']}),"
        f" named {entry['naming']}, kept {entry['lifetime']}"
    )


def snapshot_line(decision: Decision) -> str:
    """A snapshot that goes, in one line for a diff."""
    shot = decision.made.snapshot
    return f"{shot.name} ({human_bytes(shot.used)} of its own): {decision.reason}"


def project(current: Current, plan: PolicyPlan, desired: Policy | None) -> Current:
    """The host after ``plan`` was applied."""
    gone = {decision.made.snapshot.name for decision in plan.doomed}
    texts = {one.kind: one.after for one in plan.rewrites}
    snapshots = tuple(shot for shot in current.host.snapshots if shot.name not in gone)
    return replace(
        current,
        policy=desired if "policy" in texts else current.policy,
        policy_text=texts.get("policy", current.policy_text),
        timer_text=texts.get("timer", current.timer_text),
        host=replace(current.host, snapshots=snapshots),
    )
