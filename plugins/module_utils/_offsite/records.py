# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves behind: a record from which freshness, findings and alerts are derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import utc_stamp
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    ExitCode,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.files import (
    canonical_json,
    write_atomically,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.formats import Format

FORMAT = Format("offsite-run", 1)
# A record names so many findings and problems of each sort; the rest is counted.
NAMED = 200

OK, INCOMPLETE, STOPPED, FAILED = "ok", "incomplete", "stopped", "failed"
EXIT_CODES = {
    OK: ExitCode.OK,
    INCOMPLETE: ExitCode.INCOMPLETE,
    STOPPED: ExitCode.GUARD,
    FAILED: ExitCode.FAILED,
}


@dataclass(slots=True)
class RunRecord:
    """The record of one run, filled in as it goes.

    ``verdict`` is ``ok`` (the remote tree equals the snapshot), ``incomplete``
    (it does but for what ``problems`` names), ``stopped`` (a limit; nothing was
    changed) or ``failed``. Only ``ok`` and ``incomplete`` advance the base.
    """

    job: str
    run: str
    mode: str
    started: float
    ended: float | None = None
    verdict: str = FAILED
    exit_code: int = int(ExitCode.FAILED)
    error: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, dict[str, object]] = field(default_factory=dict)
    detection: list[dict[str, object]] = field(default_factory=list)
    extent: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    read_back: dict[str, object] = field(default_factory=dict)
    reconciled: dict[str, int] = field(default_factory=dict)
    transport: dict[str, object] = field(default_factory=dict)
    special: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def finish(self, verdict: str, now: float, error: BackupError | None = None) -> None:
        """Set the outcome."""
        self.verdict = verdict
        self.ended = now
        self.exit_code = int(error.exit_code if error is not None else EXIT_CODES[verdict])
        if error is not None:
            self.error = {"kind": type(error).__name__, **error.facts()}

    def as_document(self) -> dict[str, object]:
        """The persisted form."""
        return {
            "format": FORMAT.tag,
            "job": self.job,
            "run": self.run,
            "mode": self.mode,
            "started": utc_stamp(self.started),
            "started_epoch": int(self.started),
            "ended": None if self.ended is None else utc_stamp(self.ended),
            "seconds": None if self.ended is None else round(self.ended - self.started, 3),
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "error": self.error,
            "snapshots": self.snapshots,
            "detection": self.detection,
            "extent": self.extent,
            "counts": self.counts,
            "read_back": self.read_back,
            "reconciled": self.reconciled,
            "transport": self.transport,
            "not_copied": _bounded(self.special),
            "findings": _bounded(self.findings),
            "problems": _bounded(self.problems),
            "notes": self.notes,
        }

    def content(self) -> bytes:
        """The persisted form as a file's content."""
        return canonical_json(self.as_document())


def _bounded(sentences: list[str]) -> dict[str, object]:
    return {"count": len(sentences), "named": sentences[:NAMED]}


def record_path(state_dir: Path, job: str, run: str) -> Path:
    """Where a run's record lies on the storage host."""
    return state_dir / "records" / "offsite" / job / f"{run}.json"


def write_record(state_dir: Path, record: RunRecord) -> Path:
    """Write the record; the newest one of each job is also ``last.json``."""
    path = record_path(state_dir, record.job, record.run)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, record.content())
    write_atomically(path.with_name("last.json"), record.content())
    return path


def summary(document: Mapping[str, object]) -> str:
    """One line for a log."""
    counts = document.get("counts")
    parts = (
        ", ".join(f"{key} {value}" for key, value in counts.items())
        if isinstance(counts, dict)
        else ""
    )
    return (
        f"{document['ended']} {document['job']} {document['mode']} {document['run']}: "
        f"{document['verdict']} in {document['seconds']} s; {parts or 'nothing done'}"
    )
