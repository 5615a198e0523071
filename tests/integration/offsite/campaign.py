# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Many random histories at once on the real pool, one sync for a step of all of them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.offsite.in_guest.histories import Operation, script
from tests.integration.offsite.installation import STATE, Installation, Ran, job_document
from tests.integration.offsite.shrinking import Steps, shrink
from tests.integration.offsite.source_tree import differences
from tests.lab.guest import Guest

SHRINK_SECONDS = 240.0
IN_GUEST = Path(__file__).resolve().parent / "in_guest"
PLAYER = (IN_GUEST / "histories.py").read_text() + "\n\n" + (IN_GUEST / "play.py").read_text()
# What a dataset of its own may differ in.
KINDS = (
    ("recordsize=4k", "compression=off"),
    ("xattr=dir", "dnodesize=legacy"),
    ("xattr=sa", "dnodesize=auto", "acltype=posix"),
    ("recordsize=1M", "compression=zstd"),
    ("normalization=none", "compression=zle"),
)


@dataclass(slots=True)
class Campaign:
    """Histories of one seed: most as directories of one dataset, some as datasets.

    :ivar log: for each step the strategy and the operations by history.
    """

    made: Installation
    seed: int
    trees: int
    sets: int
    log: list[tuple[str, dict[str, list[Operation]]]] = field(default_factory=list)
    children: int = 0

    @property
    def guest(self) -> Guest:
        return self.made.guest

    @property
    def tops(self) -> list[str]:
        """The directory of every history."""
        return [
            *(f"/mnt/main/trees/{number:04d}" for number in range(self.trees)),
            *(f"/mnt/main/sets/{number:02d}/h" for number in range(self.sets)),
        ]

    def prepare(self) -> None:
        """Make the datasets."""
        self.guest.zfs("create", "main/trees")
        self.guest.zfs("create", "main/sets")
        for number in range(self.sets):
            kind = KINDS[number % len(KINDS)]
            options = [word for option in kind for word in ("-o", option)]
            self.guest.zfs("create", *options, f"main/sets/{number:02d}")

    def step(self, strategy: str | None, number: int) -> Ran:
        """Change everything, sync, compare.

        :raises AssertionError: something differs; the histories concerned are in the message.
        """
        began = time.monotonic()
        self.play(number, strategy or "auto")
        if number and self.sets:
            self._change_datasets(number)
        played = time.monotonic()
        ran = self.made.ok(*(() if strategy is None else ("--strategy", strategy)))
        synced = time.monotonic()
        wrong = differences(self.made, ran.kept)
        ended = time.monotonic()
        print(
            f"step {number} ({strategy or 'auto'}): {played - began:.0f} s changes, "
            f"{synced - played:.0f} s sync, {ended - synced:.0f} s comparison; "
            f"{ran.kept['counts']}",
            flush=True,
        )
        if wrong:
            raise AssertionError(self.explain(wrong))
        return ran

    def play(self, number: int, strategy: str) -> None:
        """New operations in every history."""
        histories = [
            {"top": top, "seed": self.seed * 10_000 + place} for place, top in enumerate(self.tops)
        ]
        request = json.dumps({"step": number, "histories": histories})
        answer = self.guest.python(PLAYER, stdin=request, timeout=300)
        self.log.append((strategy, json.loads(answer.out)))

    def _change_datasets(self, number: int) -> None:
        """Children of the first datasets come, are renamed and go."""
        rng = random.Random(f"{self.seed}.{number}.datasets")
        above = f"main/sets/{rng.randrange(self.sets):02d}"
        names = {name.rpartition("/")[2] for name in self._children()}
        self.children += 1
        lines = [
            f"zfs create {above}/child{self.children}",
            f"echo {number} > /mnt/{above}/child{self.children}/file",
        ]
        known = sorted(self._children()) if names else []
        if known:
            lines.append(f"zfs rename {rng.choice(known)} main/sets/renamed{self.children}")
        if len(known) > 2:
            lines.append(
                f"for s in $(zfs list -H -o name -t snapshot {known[0]});"
                f" do zfs release homelab.backup:offsite $s; done; zfs destroy -r {known[0]}"
            )
        self.guest.run("\n".join(lines), check=False)

    def _children(self) -> list[str]:
        listed = self.guest.zfs("list", "-H", "-o", "name", "-r", "main/sets")
        return [name for name in listed if "child" in name or "renamed" in name]

    def explain(self, wrong: Sequence[tuple[bytes, str]]) -> str:
        """The differences, and the whole history of the first tree that has one."""
        lines = [f"seed {self.seed}: {len(wrong)} differences"]
        lines += [f"{path!r}: {text}" for path, text in wrong[:12]]
        concerned = [
            top
            for top in self.tops
            if any(
                (b"/mnt/main/" + path + b"/").startswith(f"{top}/".encode())
                for path, dummy in wrong
            )
        ]
        for top in concerned[:1]:
            steps = [operations[top] for dummy, operations in self.log]
            alone = Replays(self.made, [strategy for strategy, dummy in self.log])
            if alone.fails([steps]) == [True]:
                lines.append(f"the history of {top}, alone and shrunk:")
                steps = shrink(steps, alone.fails, SHRINK_SECONDS)
            else:
                lines.append(f"the history of {top} (alone it does not fail):")
            for (strategy, dummy), operations in zip(self.log, steps, strict=True):
                lines += [script(operations), f"-- then a run ({strategy})"]
        return "\n".join(lines)


class Replays:
    """Known histories played again, side by side, by a job and in a dataset of their own."""

    def __init__(self, made: Installation, strategies: Sequence[str]) -> None:
        self._made = made
        self._strategies = strategies
        self._count = 0

    def fails(self, histories: Sequence[Steps]) -> list[bool]:
        """Whether each history leads to a difference, or to a run that doesn't end well."""
        self._count += 1
        name = f"again{self._count}"
        job = job_document(name, f"main/{name}")
        made = Installation(self._made.guest, self._made.nas, [job], f"{STATE}/etc/{name}.json")
        made.guest.zfs("create", f"main/{name}")
        made.configure()
        bad = [False] * len(histories)
        for number, strategy in enumerate(self._strategies):
            request = {
                "step": number,
                "histories": [
                    {"top": f"/mnt/main/{name}/{place}", "operations": steps[number], "seed": 0}
                    for place, steps in enumerate(histories)
                ],
            }
            made.guest.python(PLAYER, stdin=json.dumps(request))
            ran = made.run(*(() if strategy == "auto" else ("--strategy", strategy)))
            if ran.rc != 0:
                return [len(histories) == 1] * len(histories)
            for path, dummy in differences(made, ran.kept):
                place = path.partition(b"/")[0]
                if place.isdigit():
                    bad[int(place)] = True
        return bad


def assert_incremental(ran: Ran, forced: str | None) -> None:
    """No full fallback and no reconcile: only what is new may be walked."""
    record = ran.kept
    assert record["reconciled"] == {}, record["reconciled"]
    assert record["findings"]["named"] == []
    for item in record["detection"]:
        if item["strategy"] == "walk" and forced != "walk":
            new = item["reason"] == "no base snapshot" and "child" in item["dataset"]
            assert new or item["reason"].startswith("estimated"), item
