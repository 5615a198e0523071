# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Big files through a program that behaves as ``rclone rcat`` does.

tests/integration does the same with the real rclone and a real server.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    SourceError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._rclone.bulk import RcloneBulk
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ssh import SshTarget
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    UploadItem,
    UploadOutcome,
)

HERE = Path(__file__).parent
TARGET = SshTarget("nas", "backup", "/keys/id", "/keys/known hosts", port=2222)


@pytest.fixture
def store() -> Iterator[SftpClient]:
    server = str(HERE.parent / "sftp" / "odd_server.py")
    with SftpClient.connect([sys.executable, "-I", server]) as client:
        yield client


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "rclone"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -I {HERE / "fake_rclone.py"} "$@"\n')
    path.chmod(0o755)
    return str(path)


def make(tmp_path: Path, name: str, size: int) -> UploadItem:
    source = tmp_path / f"source-{name}"
    source.write_bytes(random.Random(size).randbytes(size))
    return UploadItem(
        os.fsencode(source), os.fsencode(tmp_path / name), size, mtime=1234, mode=0o640, tag=name
    )


def run(bulk: RcloneBulk, items: Iterable[UploadItem]) -> dict[object, UploadOutcome]:
    outcomes: list[UploadOutcome] = []
    bulk.upload_many(items, outcomes.append)
    return {outcome.item.tag: outcome for outcome in outcomes}


def test_several_files_at_a_time(
    tmp_path: Path, program: str, store: SftpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RCLONE_TRANSFERS", "1")
    sizes = {"empty": 0, "one": 1, "mebibyte": 1 << 20, "more": (3 << 20) + 17}
    items = [make(tmp_path, name, size) for name, size in sizes.items()]
    outcomes = run(RcloneBulk(TARGET, program, store=store, parallel=2), iter(items))
    for name, size in sizes.items():
        outcome = outcomes[name]
        assert outcome.error is None
        content = random.Random(size).randbytes(size)
        assert outcome.sha256 == hashlib.sha256(content).hexdigest()
        assert outcome.size == size
        assert (tmp_path / name).read_bytes() == content
        found = (tmp_path / name).stat()
        assert (found.st_mtime, found.st_mode & 0o777) == (1234, 0o640)
        assert outcome.stored is not None
        assert outcome.stored.mtime == 1234


def test_failures_are_told_apart(tmp_path: Path, program: str, store: SftpClient) -> None:
    items = [make(tmp_path, name, 2 << 20) for name in ("deaf", "killed", "full", "short", "good")]
    items += [make(tmp_path, name, 100) for name in ("gone", "grown", "fifo")]
    (tmp_path / "source-gone").unlink()
    with (tmp_path / "source-grown").open("ab") as handle:
        handle.write(b"x")
    (tmp_path / "source-fifo").unlink()
    os.mkfifo(tmp_path / "source-fifo")
    outcomes = run(RcloneBulk(TARGET, program, store=store), items)
    errors = {name: outcome.error for name, outcome in outcomes.items()}
    assert errors["good"] is None
    for name in ("gone", "grown", "fifo"):
        assert isinstance(errors[name], SourceError)
    # The odd server says that 1.6 MB are free, so a failure means that it is full.
    for name, words in (("deaf", "connection refused"), ("killed", "SIGKILL"), ("full", "free")):
        error = errors[name]
        assert isinstance(error, RemoteError)
        assert error.reason is Reason.FULL
        assert words in error.found
    assert isinstance(errors["short"], RemoteError)
    assert errors["short"].reason is Reason.DIFFERS


def test_a_failure_with_room_left_is_the_transports(
    tmp_path: Path, program: str, store: SftpClient
) -> None:
    outcomes = run(RcloneBulk(TARGET, program, store=store), [make(tmp_path, "deaf", 1000)])
    error = outcomes["deaf"].error
    assert isinstance(error, TransportError)
    assert "connection refused" in error.found
    assert "backup@nas:2222" in error.on


@pytest.mark.parametrize(("begin", "words"), [(10, "ended after 990"), (-10, "more than")])
def test_sources_that_shrink_or_grow_meanwhile(
    begin: int, words: str, tmp_path: Path, program: str, store: SftpClient
) -> None:
    item = make(tmp_path, "changes", 1000)

    def source() -> int:
        descriptor = os.open(tmp_path / "source-changes", os.O_RDONLY)
        os.lseek(descriptor, max(begin, 0), os.SEEK_SET)
        return descriptor

    class Growing(RcloneBulk):
        """Its source grows once it is open."""

        def argv(self, item: UploadItem) -> list[str]:
            with (tmp_path / "source-changes").open("ab") as handle:
                handle.write(bytes(max(-begin, 0)))
            return super().argv(item)

    changing = UploadItem(source, item.target, 1000, tag="changes")
    error = run(Growing(TARGET, program, store=store), [changing])["changes"].error
    assert isinstance(error, SourceError)
    assert words in error.found


def test_a_missing_program(tmp_path: Path, store: SftpClient) -> None:
    bulk = RcloneBulk(TARGET, str(tmp_path / "none"), store=store)
    outcomes = run(bulk, [make(tmp_path, "a", 1)])
    assert "let the role truenas install rclone" in str(outcomes["a"].error)


def test_giving_up_ends_every_rclone(tmp_path: Path, program: str, store: SftpClient) -> None:
    def stop(dummy: UploadOutcome) -> None:
        raise KeyboardInterrupt

    items = [make(tmp_path, name, 10) for name in ("slow1", "slow2", "good", "slow3", "slow4")]
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        RcloneBulk(TARGET, program, store=store, parallel=3).upload_many(items, stop)
    assert time.monotonic() - begin < 30
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in left.splitlines() if str(tmp_path) in line and "rcat" in line]


def test_the_lock_is_inherited(tmp_path: Path, store: SftpClient) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    program = tmp_path / "rclone"
    program.write_text(f"#!/bin/sh\nreadlink /proc/$$/fd/{lock} > {tmp_path}/seen\ncat > $2\n")
    program.chmod(0o755)
    bulk = RcloneBulk(TARGET, str(program), store=store, inherit=[lock])
    run(bulk, [make(tmp_path, "a", 1)])
    os.close(lock)
    assert (tmp_path / "seen").read_text().strip() == str(tmp_path / "lock")


def test_the_command_line(store: SftpClient) -> None:
    bulk = RcloneBulk(TARGET, "/pool/rclone", store=store)
    argv = bulk.argv(UploadItem(b"/source", b"/state/staged/7", 42))
    assert argv[:3] == ["/pool/rclone", "rcat", ":sftp:/state/staged/7"]
    settings = dict(zip(argv[3:-3:2], argv[4:-3:2], strict=True))
    assert settings["--sftp-known-hosts-file"] == "/keys/known hosts"
    assert settings["--config"] == "/dev/null"
    assert settings["--size"] == "42"
    assert "--sftp-disable-hashcheck" in argv
