# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves behind: its record, and what the next run has to know."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    ConfigError,
    ExitCode,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.formats import (
    Format,
    canonical_json,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import utc_stamp
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.document import to_document
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import (
    ClockEvidence,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.plan import Take
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.retention import Decision
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Refusal

RUN_FORMAT = Format("snapshot-run", 1)
STATE_FORMAT = Format("snapshot-state", 1)


def digest(policy: Policy) -> str:
    """A policy's fingerprint: equal documents have equal ones."""
    return hashlib.sha256(canonical_json(to_document(policy))).hexdigest()


@dataclass(frozen=True, slots=True)
class RunMemory:
    """What the next run has to know.

    Attributes:
        clock: the latest time seen, and what an operator accepted.
        policy: fingerprint of the policy that ``done`` is about.
        done: by schedule id, the slot for which nothing is left to do.
    """

    clock: ClockEvidence = field(default_factory=ClockEvidence)
    policy: str = ""
    done: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def to_document(self) -> dict[str, Any]:
        """As it is written to the state directory."""
        return {
            "format": STATE_FORMAT.tag,
            "latest": self.clock.latest,
            "accepted": dict(self.clock.accepted),
            "policy": self.policy,
            "done": dict(self.done),
        }


def read_memory(document: object, where: str) -> RunMemory:
    """The memory in ``document``.

    Raises:
        ConfigError: another format, a newer one, or damaged.
    """
    STATE_FORMAT.read_major(document, where)
    values = document if isinstance(document, Mapping) else {}
    try:
        clock = ClockEvidence(
            latest=int(values["latest"]),
            accepted={str(key): int(txg) for key, txg in values["accepted"].items()},
        )
        done = {str(key): int(slot) for key, slot in values["done"].items()}
        return RunMemory(clock, str(values["policy"]), done)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise ConfigError(
            "read the state of the snapshot runs",
            on=where,
            found=f"it is damaged: {exc!r}",
            remedy="delete the file: what is due is read from ZFS, only the clock's past is lost",
        ) from exc


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that went wrong on a part, while the other parts went on."""

    error: BackupError
    schedule: str = ""
    pool: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. Times are seconds since 1970.

    Attributes:
        taken: what was created, with the names that are there.
        pruned: decisions that were carried out.
        refused: snapshots that ZFS would not destroy.
        failures: what went wrong.
        doubts: why the clock forbade pruning, by pool.
    """

    started: int
    ended: int
    schedules: tuple[str, ...]
    taken: tuple[tuple[Take, tuple[str, ...]], ...] = ()
    pruned: tuple[Decision, ...] = ()
    refused: tuple[Refusal, ...] = ()
    failures: tuple[Failure, ...] = ()
    doubts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def exit_code(self) -> ExitCode:
        """OK; CLOCK when only pruning was refused; else INCOMPLETE, or what the only error says."""
        if self.failures and not self.taken and not self.pruned:
            codes = {failure.error.exit_code for failure in self.failures}
            return codes.pop() if len(codes) == 1 else ExitCode.FAILED
        if self.failures or self.refused:
            return ExitCode.INCOMPLETE
        return ExitCode.CLOCK if self.doubts else ExitCode.OK

    @property
    def eventful(self) -> bool:
        """False when there was nothing to do and nothing to complain of."""
        return bool(self.taken or self.pruned or self.refused or self.failures or self.doubts)

    def to_document(self) -> dict[str, Any]:
        """As it is written to the records directory."""
        return {
            "format": RUN_FORMAT.tag,
            "started": utc_stamp(self.started),
            "ended": utc_stamp(self.ended),
            "exit_code": int(self.exit_code),
            "verdict": self.exit_code.name.lower(),
            "schedules": list(self.schedules),
            "taken": [_taken(take, names) for take, names in self.taken],
            "pruned": [_pruned(decision) for decision in self.pruned],
            "refused": [{"snapshot": one.snapshot, "reason": one.reason} for one in self.refused],
            "failures": [
                {"schedule": one.schedule, "pool": one.pool, **one.error.facts()}
                for one in self.failures
            ],
            "clock": [{"pool": pool, "reason": why} for pool, why in sorted(self.doubts.items())],
        }


def _taken(take: Take, names: Sequence[str]) -> dict[str, Any]:
    return {
        "schedule": take.schedule,
        "pool": take.pool,
        "slot": utc_stamp(take.slot),
        "name": take.short,
        "datasets": [name.partition("@")[0] for name in names],
        "reason": take.reason,
    }


def _pruned(decision: Decision) -> dict[str, Any]:
    return {
        "snapshot": decision.made.snapshot.name,
        "schedule": decision.made.schedule,
        "reason": decision.reason,
        "used": decision.made.snapshot.used,
    }
