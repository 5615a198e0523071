# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state directory of snapshot runs: policy file, lock, memory, records."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import utc_stamp
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    LockedError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.files import (
    canonical_json,
    exclusive_lock,
    read_json,
    write_atomically,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.document import (
    parse_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.record import (
    RunMemory,
    RunRecord,
    read_memory,
)

RECORDS = 100


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """One directory on a pool: ``etc/snapshots.json``, ``state/`` and ``records/``."""

    path: Path

    @property
    def policy_file(self) -> Path:
        """The policy."""
        return self.path / "etc" / "snapshots.json"

    @property
    def memory_file(self) -> Path:
        """What the next run has to know."""
        return self.path / "state" / "snapshots.json"

    @property
    def lock_file(self) -> Path:
        """Held while a run works."""
        return self.path / "state" / "snapshots.lock"

    @property
    def records(self) -> Path:
        """Run records of all kinds; ours begin with ``snapshots-``."""
        return self.path / "records"

    def load(self) -> RunMemory:
        """See :meth:`Memory.load`."""
        if not self.memory_file.exists():
            return RunMemory()
        return read_memory(read_json(self.memory_file), str(self.memory_file))

    def save(self, memory: RunMemory) -> None:
        """See :meth:`Memory.save`."""
        write_atomically(self.memory_file, canonical_json(memory.to_document()))

    def keep(self, record: RunRecord) -> None:
        """See :meth:`Memory.keep`."""
        stamp = utc_stamp(record.started).replace(":", "")
        name = f"snapshots-{stamp}-{os.getpid()}.json"
        write_atomically(self.records / name, canonical_json(record.to_document()), 0o644)
        for old in sorted(self.records.glob("snapshots-*.json"))[:-RECORDS]:
            old.unlink(missing_ok=True)

    def prepare(self) -> None:
        """Make the directories that a run writes to.

        Raises:
            ConfigError: the state directory itself is missing (its pool isn't
                mounted, perhaps): nothing is made in its place.
        """
        if not self.path.is_dir():
            raise ConfigError(
                "use the state directory",
                on=str(self.path),
                found="it does not exist",
                remedy="mount its dataset, or run the playbook",
            )
        for directory in (self.records, self.memory_file.parent):
            directory.mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def locked(self, patience: float) -> Iterator[int]:
        """Hold the runs' lock; yields the descriptor that children inherit.

        Two lines of the timer may start in the same minute: the second one
        waits up to ``patience`` seconds for the first.

        Raises:
            LockedError: another run still works.
        """
        with contextlib.ExitStack() as stack:
            yield self._lock(stack, time.monotonic() + patience)

    def _lock(self, stack: contextlib.ExitStack, deadline: float) -> int:
        while True:
            try:
                return stack.enter_context(exclusive_lock(self.lock_file, "the snapshot run"))
            except LockedError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.2)


def load_policy(path: Path) -> Policy:
    """The policy in a file.

    Raises:
        ConfigError: missing, malformed, too new, or wrong (a PolicyError names all keys).
    """
    return parse_policy(read_json(path), str(path))
