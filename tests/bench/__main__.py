# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""One table of ratios: what the offsite copy takes, and what else one could use.

    python -m tests.bench [PART ...] [--scale 0.1] [--output DIRECTORY]

It brings up a storage lab of its own (instance ``bench`` unless HOMELAB_LAB names
another, which is reset), takes it down again, and asserts no time: the table says whether
the goals were reached on this machine. Exit status 1 means that a part failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.bulk import bulk
from tests.bench.context import BenchError, Context
from tests.bench.detection import detection
from tests.bench.memory import memory
from tests.bench.report import Report
from tests.bench.transfer import rename, transfer, uploads
from tests.lab.errors import LabError
from tests.lab.instance import Lab
from tests.lab.settings import load

PARTS: dict[str, Callable[[Context], None]] = {
    "detection": detection,
    "transfer": transfer,
    "uploads": uploads,
    "rename": rename,
    "bulk": bulk,
    "memory": memory,
}
WITHOUT_LAB = {"memory"}


def main() -> int:
    """Read the command line; a part that fails is reported, the others go on."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full sizes")
    parser.add_argument("--output", type=Path, default=Path(".cache/bench"), help="for the table")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="room for the trees")
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    parts = options.parts or list(PARTS)
    os.environ.setdefault("HOMELAB_LAB", "bench")
    lab = Lab(load())
    ours = bool(set(parts) - WITHOUT_LAB) and not lab.is_up()
    if set(parts) - WITHOUT_LAB:
        lab.up()
    try:
        return measure(lab, parts, options)
    finally:
        if ours:
            lab.down()


def measure(lab: Lab, parts: list[str], options: argparse.Namespace) -> int:
    """The parts in turn, and the table."""
    report = Report(options.scale)
    failed = 0
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="homelab-backup-bench-", dir=options.work) as work:
            context = Context(lab, Path(work), options.scale, report)
            context.say(f"part {part}")
            try:
                PARTS[part](context)
            except (BenchError, LabError) as error:
                failed += 1
                report.notes.append(f"part {part} failed: {error}")
                context.say(report.notes[-1])
            finally:
                if part not in WITHOUT_LAB:
                    context.clean()
        report.load.append(os.getloadavg()[0])
        report.write(options.output)
    sys.stdout.write(report.markdown())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
