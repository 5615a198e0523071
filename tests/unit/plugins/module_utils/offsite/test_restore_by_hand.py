# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The script of docs/restore-files.md: an independent reader of the index's copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import Attributes
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import (
    ATTRIBUTE_COLUMNS,
    Index,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.indexcopy import (
    checkpoint,
    flush,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._offsite.pieces import (
    drop_record,
    emit,
    node_record,
    rename_record,
)
from tests.unit.plugins.module_utils.offsite.copied_tree import copy_and_index, picture
from tests.unit.plugins.module_utils.offsite.remote import connect, make_layout

DOCS = Path(__file__).resolve().parents[5] / "docs"


def script() -> str:
    """The Python block of the page."""
    [block] = re.findall(r"```python\n(.*?)```", (DOCS / "restore-files.md").read_text(), re.DOTALL)
    return str(block)


def change(source: Path, layout: Layout, index: Index) -> None:
    """Swap two directories, delete a file, chmod another: at the source, the copy and the index."""
    tree = Path(os.fsdecode(layout.tree))
    for base in (source, tree):
        (base / "one").rename(base / "waiting")
        (base / "two").rename(base / "one")
        (base / "waiting").rename(base / "two")
        (base / "gone").unlink()
    (source / "link").unlink()
    (source / "plain").chmod(0o604)
    with index.transaction() as db:
        for record in (
            rename_record(b"one", 0),
            rename_record(b"two", b"one"),
            rename_record(0, b"two"),
            drop_record(b"gone"),
            drop_record(b"link"),
        ):
            emit(index, record)
        [(node,)] = db.execute("SELECT id FROM link WHERE name = ?", (b"plain",))
        [values] = db.execute(f"SELECT {ATTRIBUTE_COLUMNS} FROM object WHERE id = ?", (node,))
        old = Attributes(*values)
        new = Attributes("f", 0o604, old.uid, old.gid, old.size, old.mtime_ns, old.ctime_ns + 1)
        emit(index, node_record(node, new, False))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_it_gives_a_downloaded_tree_everything(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("one/deep", "two", os.fsdecode(b"odd \xff\n")):
        (source / name).mkdir(parents=True)
    for name in ("plain", "gone", "one/a", "one/deep/b", "two/c"):
        (source / name).write_text(name)
    os.link(source / "one/a", source / "two/hard")
    (source / "link").symlink_to("plain")
    os.symlink(b"to \xfe", os.fsencode(source / "two/dangling"))
    os.mkfifo(source / "fifo", 0o620)
    os.setxattr(source / "one/a", "user.x", b"\x00\x01")
    os.chown(source / "two/c", 1234, 4321)
    (source / "two/c").chmod(0o4750)
    (source / "one").chmod(0o2770)
    os.utime(source / "one", ns=(0, 1_400_000_000_000_000_001))
    layout = make_layout(tmp_path)
    index = Index(tmp_path / "index.db")
    copy_and_index(source, layout, index)
    # Times of the directories that change() writes to; a real index would get them from a run.
    times = {path: path.stat().st_mtime_ns for path in (source, source / "one", source / "two")}
    with connect() as store:
        checkpoint(index, store, layout)
        change(source, layout, index)
        flush(index, store, layout)
    os.utime(source, ns=(0, times[source]))
    index.close()
    downloaded = tmp_path / "downloaded"
    shutil.copytree(os.fsdecode(layout.tree), downloaded)
    file = tmp_path / "apply.py"
    file.write_text(script())
    done = subprocess.run(
        [sys.executable, "-I", str(file), os.fsdecode(layout.index), str(downloaded)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert picture(downloaded) == picture(source)
