# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""The snapshots of a run, read in the guest by a script of its own, and its index beside them.

``differences`` is what all tests of the offsite copy end with: nothing may differ between
snapshot and remote tree, nor between snapshot and index (what a restore puts back).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.integration.offsite.installation import STATE, Document, Installation
from tests.integration.offsite.remote_tree import Found, Tree, read_remote
from tests.lab.guest import Guest

SCRIPT = (Path(__file__).parent / "in_guest" / "read_snapshots.py").read_text()
OWN = [STATE.removeprefix("/mnt/main/")]


def read_source(
    guest: Guest, record: Document, root: str, excluded: Sequence[str] = (), index: str = ""
) -> tuple[Tree, list[str]]:
    """What the remote tree has to be after ``record``; and where the index is wrong.

    :param excluded: patterns: ``dir`` at the top, or ``*.ext`` anywhere.
    :param index: the index file to hold against the snapshots; "" for none.
    """
    snapshots = {name: item["snapshot"] for name, item in record["snapshots"].items()}
    request = {
        "root": root,
        "snapshots": snapshots,
        "excluded": [*OWN, *excluded],
        "index": index,
    }
    answer: dict[str, Any] = json.loads(guest.python(SCRIPT, json.dumps(request)).out)
    tree = {
        path.encode("latin-1"): Found(kind, size, mtime, digest)
        for path, kind, size, mtime, digest in answer["tree"]
    }
    return tree, answer["index"]


def compare(expected: Tree, found: Tree) -> list[tuple[bytes, str]]:
    """(path, what is wrong) of everything that is not the same."""
    wrong = []
    for path in sorted(expected.keys() | found.keys()):
        want, have = expected.get(path), found.get(path)
        if want != have:
            wrong.append((path, f"snapshot: {want or 'nothing'}; destination: {have or 'nothing'}"))
    return wrong


def differences(
    made: Installation,
    record: Document,
    excluded: Sequence[str] = (),
    job: Document | None = None,
) -> list[tuple[bytes, str]]:
    """Where destination, snapshot and index are not the same after a run."""
    job = job or made.jobs[0]
    index = f"{STATE}/state/offsite/{job['name']}/index.sqlite"
    expected, wrong = read_source(made.guest, record, job["root"], excluded, index)
    found = read_remote(made.nas, job["destination"]["directory"], list(expected))
    in_index = [
        (path.encode("latin-1"), text) for path, dummy, text in (w.partition("\0") for w in wrong)
    ]
    return compare(expected, found) + in_index


def assert_equal(
    made: Installation, record: Document, excluded: Sequence[str] = (), job: Document | None = None
) -> None:
    """Fail when destination, snapshot and index are not the same."""
    wrong = differences(made, record, excluded, job)
    lines = "\n".join(f"{path!r}: {text}" for path, text in wrong[:30])
    if wrong:
        raise AssertionError(f"{len(wrong)} differences after run {record['run']}:\n{lines}")
