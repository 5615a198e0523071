# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""The bench's result: rows that set one of our numbers beside somebody else's."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

FORMAT = "homelab.backup.bench/1"


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Args:
        part: the part of the bench.
        what: the case.
        ours: our way, and ``value`` what it took.
        other: what it is compared with (a program, a limit), and ``other_value``.
        unit: of both values.
        goal: the ratio that is aimed at, in words; "" if there is none.
        met: whether it was reached; None without a goal.
    """

    part: str
    what: str
    ours: str
    value: float
    other: str
    other_value: float
    unit: str = "s"
    goal: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        """How many times more the other one took; None when ours took nothing."""
        return self.other_value / self.value if self.value else None

    def cells(self) -> list[str]:
        """The row as texts."""
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        met = {None: "", True: "reached", False: "missed"}[self.met]
        return [
            self.part,
            self.what,
            f"{self.ours}: {self.value:.4g} {self.unit}",
            f"{self.other}: {self.other_value:.4g} {self.unit}",
            ratio,
            f"{self.goal} {met}".strip(),
        ]


HEADS = ["part", "case", "ours", "compared with", "ratio", "goal"]


@dataclass(slots=True)
class Report:
    """All rows of one call, and the notes that explain them."""

    scale: float
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    load: list[float] = field(default_factory=lambda: [os.getloadavg()[0]])
    begun: float = field(default_factory=time.time)

    def table(self) -> str:
        """The rows as a table of Markdown, which is readable as plain text."""
        lines = [HEADS, *(row.cells() for row in self.rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(HEADS))]
        rule = ["-" * width for width in widths]
        return "\n".join(
            "| "
            + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            + " |"
            for line in (HEADS, rule, *lines[1:])
        )

    def markdown(self) -> str:
        """The table with its circumstances."""
        stamp = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.begun))
        loads = ", ".join(f"{load:.1f}" for load in self.load)
        head = (
            f"Measured {stamp}, scale {self.scale:g}, {os.cpu_count()} processors; "
            f"load before and after each part: {loads}."
        )
        notes = "\n".join(f"- {note}" for note in self.notes)
        return f"{head}\n\n{self.table()}\n\n{notes}\n"

    def write(self, place: Path) -> None:
        """Both forms into the directory ``place``."""
        place.mkdir(parents=True, exist_ok=True)
        document = {
            "format": FORMAT,
            "begun": self.begun,
            "scale": self.scale,
            "load": self.load,
            "rows": [{**asdict(row), "ratio": row.ratio} for row in self.rows],
            "notes": self.notes,
        }
        (place / "bench.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        (place / "bench.md").write_text(self.markdown(), encoding="utf-8")


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)
