# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The SFTP client against OpenSSH's own server: names, limits, refusals, a full disk, speed."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from ansible_collections.homelab.backup.plugins.module_utils._sftp.connection import Tuning
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    ConnectionLostError,
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.protocol import Extension
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    LISTED_PATH_LIMIT,
    Attributes,
    Kind,
    Outcome,
    ReadItem,
    UploadItem,
    UploadOutcome,
)
from tests.integration.openssh import server_argv

Connect = Callable[..., SftpClient]
ROUND_TRIP = 0.020


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[SftpClient] = []

    def begin(*options: str, delay: float = 0, tuning: Tuning | None = None) -> SftpClient:
        client = SftpClient.connect(server_argv(*options, delay=delay), tuning=tuning)
        clients.append(client)
        return client

    yield begin
    for client in clients:
        client.close()


@pytest.fixture
def root(tmp_path: Path) -> bytes:
    return os.fsencode(tmp_path)


@contextmanager
def small_disk(where: Path, size: str) -> Iterator[bytes]:
    """A file system of this size in memory (needs root)."""
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", where], check=True)
    try:
        yield os.fsencode(where)
    finally:
        subprocess.run(["umount", "-l", where], check=True)


def reason(outcome: Outcome | UploadOutcome) -> Reason | None:
    if outcome.error is None:
        return None
    assert isinstance(outcome.error, RemoteError), outcome.error
    return outcome.error.reason


def make_sources(root: bytes, count: int, size: int) -> list[UploadItem]:
    """Local files in ``root/from`` that are to go to ``root/to``."""
    for name in (b"/from", b"/to"):
        os.mkdir(root + name)
    items = []
    for number in range(count):
        source = root + b"/from/%d" % number
        with open(source, "wb") as handle:
            handle.write(random.Random(number).randbytes(size))
        items.append(UploadItem(source, root + b"/to/%d" % number, size, 1_000_000 + number))
    return items


def upload(client: SftpClient, items: list[UploadItem]) -> list[UploadOutcome]:
    outcomes: list[UploadOutcome] = []
    client.upload_many(items, outcomes.append)
    return outcomes


def test_extensions_and_limits(connect: Connect, root: bytes) -> None:
    client = connect()
    assert client.extensions == set(Extension)
    assert client.limits.write == 255 * 1024
    space = client.statvfs(root)
    assert space is not None
    found = os.statvfs(root)
    assert space.total == found.f_frsize * found.f_blocks
    assert space.name_limit == found.f_namemax


NASTY = [
    *(b"new\nline", b"re\rturn", b"\rboth\r\n", b"\xff\xfe\x80", b"tab\t", b" ", b"\x01\x7f"),
    *(b"-rf", b"~", b"\\", b'"quotes\'"', b"$(x)", b"...", b"a:b|c?*[d]"),
    *("日本語".encode(), b"x" * 255, b"\xff" * 255),
]


def test_names_of_any_bytes(connect: Connect, root: bytes) -> None:
    items = make_sources(root, len(NASTY), 10)
    client = connect()
    assert all(outcome.ok for outcome in upload(client, items))
    named = [root + b"/to/" + name for name in NASTY]
    pairs = [(item.target, path) for item, path in zip(items, named, strict=True)]
    assert all(outcome.ok for outcome in client.rename_many(pairs, overwrite=False))
    assert {entry.path for entry in client.list_tree(root + b"/to")} == set(NASTY)
    for number, outcome in enumerate(client.stat_many(named)):
        assert outcome.attributes is not None
        assert outcome.attributes.mtime == 1_000_000 + number
        content = random.Random(number).randbytes(10)
        assert client.read_file(named[number], 10) == content
    directories = [path + b".d" for path in named if len(path) < len(root) + 200]
    assert all(outcome.ok for outcome in client.mkdir_many(directories, exist_ok=False))
    assert all(outcome.ok for outcome in client.rmdir_many(directories))
    assert all(outcome.ok for outcome in client.remove_many(named))
    assert client.list_dir(root + b"/to") == []


def test_names_that_are_too_long(connect: Connect, root: bytes) -> None:
    [item] = make_sources(root, 1, 10)
    client = connect()
    long = root + b"/to/" + b"n" * 256
    deep = root + b"/to" + b"/d" * 2100
    [outcome] = upload(client, [UploadItem(item.source, long, 10)])
    assert reason(outcome) is Reason.NAME
    assert "256 bytes" in str(outcome.error)
    for found in (
        client.mkdir_many([long, deep], exist_ok=True)
        + client.rename_many([(item.target, long)], overwrite=True)
        + client.rename_many([(item.target, long)], overwrite=False)
    ):
        assert reason(found) in (Reason.NAME, Reason.MISSING)


def test_deep_paths_are_listed_up_to_the_limit(connect: Connect, root: bytes) -> None:
    """What values.LISTED_PATH_LIMIT says of OpenSSH's server."""
    client = connect()
    path = root
    while len(path) + 101 < LISTED_PATH_LIMIT:
        path += b"/" + b"d" * 99
        assert client.mkdir_many([path], exist_ok=False)[0].ok
    last = path + b"/" + b"e" * (LISTED_PATH_LIMIT - len(path) - 1)
    outcomes = client.mkdir_many([last, last + b"e"], exist_ok=False)
    assert [reason(outcome) for outcome in outcomes] == [None, Reason.NAME]
    listed = {root + b"/" + entry.path for entry in client.list_tree(root)}
    assert last in listed
    # Moved one level down, the deepest one is out of reach, and nothing says so.
    assert client.mkdir_many([root + b"/x"], exist_ok=False)[0].ok
    top = root + b"/" + b"d" * 99
    assert client.rename_many([(top, root + b"/x/" + b"d" * 99)], overwrite=False)[0].ok
    problems: list[RemoteError] = []
    moved = list(client.list_tree(root, on_error=problems.append))
    assert len(moved) == len(listed)
    assert problems == []
    [found] = client.stat_many([root + b"/x" + last.removeprefix(root)])
    assert found.attributes is None


def test_a_server_that_refuses_removal(connect: Connect, root: bytes) -> None:
    """The run's key: everything but remove and rmdir works, and nothing else is needed."""
    items = make_sources(root, 20, 1000)
    client = connect("-P", "remove,rmdir")
    assert all(outcome.ok for outcome in upload(client, items))
    moves = [(item.target, item.target + b".new") for item in items]
    assert all(outcome.ok for outcome in client.rename_many(moves, overwrite=False))
    assert all(outcome.ok for outcome in client.rename_many([moves[0][::-1]], overwrite=True))
    client.write_file(root + b"/to/marker", b"one")
    client.write_file(root + b"/to/marker", b"two")
    assert client.read_file(root + b"/to/marker", 10) == b"two"
    assert client.hardlink_many([(root + b"/to/marker", root + b"/to/link")])[0].ok
    refused = client.remove_many([root + b"/to/marker"]) + client.rmdir_many([root + b"/to"])
    assert [reason(outcome) for outcome in refused] == [Reason.PERMISSION] * 2
    assert "sftp-server -P" in str(refused[0].error)


def test_permission_denied_and_wrong_kinds(connect: Connect, root: bytes) -> None:
    client = connect("-R")
    with pytest.raises(RemoteError) as caught:
        client.write_file(root + b"/x", b"")
    assert caught.value.reason is Reason.PERMISSION
    with pytest.raises(RemoteError) as caught:
        client.list_dir(root + b"/none")
    assert caught.value.reason is Reason.MISSING
    Path(os.fsdecode(root + b"/file")).write_bytes(b"")
    with pytest.raises(RemoteError):
        client.list_dir(root + b"/file")
    with pytest.raises(RemoteError):
        client.read_file(root, 100)


def test_unreadable_directories_are_named_and_passed_by(connect: Connect, root: bytes) -> None:
    """As another user, because root reads everything."""
    for name in ("open", "closed", "after"):
        directory = Path(os.fsdecode(root)) / name
        directory.mkdir()
        (directory / "file").write_bytes(b"")
    subprocess.run(["chmod", "-R", "a+rX", root], check=True)
    ancestor = Path(os.fsdecode(root))
    modes = {}
    while ancestor != Path("/tmp").resolve() and ancestor != ancestor.parent:
        modes[ancestor] = ancestor.stat().st_mode
        ancestor.chmod(modes[ancestor] | 0o055)
        ancestor = ancestor.parent
    os.chmod(root + b"/closed", 0)
    client = SftpClient.connect(["setpriv", "--reuid=65534", "--clear-groups", *server_argv()])
    with client:
        problems: list[RemoteError] = []
        found = {entry.path for entry in client.list_tree(root, on_error=problems.append)}
        assert found == {b"open", b"closed", b"after", b"open/file", b"after/file"}
        assert [(error.path, error.reason) for error in problems] == [
            (root + b"/closed", Reason.PERMISSION)
        ]
        with pytest.raises(RemoteError):
            list(client.list_tree(root))
        assert len(client.list_dir(root)) == 3
    for directory, mode in modes.items():
        directory.chmod(mode)


def test_a_full_disk(connect: Connect, tmp_path: Path, root: bytes) -> None:
    items = make_sources(root, 12, 1 << 20)
    with small_disk(tmp_path / "disk", "6m") as disk:
        targets = [
            UploadItem(one.source, disk + b"/%d" % n, one.size) for n, one in enumerate(items)
        ]
        outcomes = upload(connect(), targets)
        failed = [outcome for outcome in outcomes if not outcome.ok]
        assert len(failed) >= 6
        assert {reason(outcome) for outcome in failed} == {Reason.FULL}
        assert "are free" in str(failed[0].error)
        for outcome in outcomes:
            if outcome.ok:
                with open(outcome.item.target, "rb") as handle:
                    assert hashlib.sha256(handle.read()).hexdigest() == outcome.sha256
        with pytest.raises(RemoteError) as caught:
            connect().write_file(disk + b"/record", b"x" * 100_000)
        assert caught.value.reason is Reason.FULL


def test_a_killed_server(root: bytes) -> None:
    items = make_sources(root, 300, 20_000)
    argv = ["sh", "-c", 'echo $$ > "$0"; exec "$@"', os.fsdecode(root + b"/pid"), *server_argv()]
    client = SftpClient.connect(argv, tuning=Tuning(files=8))
    outcomes: list[UploadOutcome] = []

    def note(outcome: UploadOutcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 50:
            with open(root + b"/pid") as handle:
                os.kill(int(handle.read()), signal.SIGKILL)

    with client, pytest.raises(ConnectionLostError, match="signal 9") as caught:
        client.upload_many(items, note)
    assert len(outcomes) >= 50
    for outcome in outcomes:
        assert outcome.ok
        with open(outcome.item.target, "rb") as handle:
            assert hashlib.sha256(handle.read()).hexdigest() == outcome.sha256
    told = {outcome.item.target for outcome in outcomes}
    unknown = {path for dummy, path in caught.value.unknown}
    there = {root + b"/to/" + name for name in os.listdir(root + b"/to")}
    assert there <= told | unknown


def test_attributes(connect: Connect, root: bytes) -> None:
    path = root + b"/file"
    with open(path, "wb") as handle:
        handle.write(b"12345")
    os.symlink(b"file", root + b"/link")
    client = connect()
    wanted = Attributes(mtime=2**32 - 1, permissions=0o604, size=3)
    assert client.setstat_many([(path, wanted)])[0].ok
    found = {one.path: one.attributes for one in client.stat_many([path, root + b"/link"])}
    file = found[path]
    assert file is not None
    assert (file.mtime, file.size, (file.permissions or 0) & 0o7777) == (2**32 - 1, 3, 0o604)
    link = found[root + b"/link"]
    assert link is not None
    assert link.kind is Kind.SYMLINK


# --- cost -------------------------------------------------------------------------------------


def test_thousand_small_files_over_a_far_link(connect: Connect, root: bytes) -> None:
    """The issue's goal is 10 s for the uploads at 20 ms; renames are part of it here."""
    items = make_sources(root, 1000, 4096)
    client = connect(delay=ROUND_TRIP / 2)
    begin = time.monotonic()
    outcomes = upload(client, items)
    moves = [(item.target, item.target + b".x") for item in items]
    renamed = client.rename_many(moves, overwrite=True)
    took = time.monotonic() - begin
    assert all(outcome.ok for outcome in outcomes)
    assert all(outcome.ok for outcome in renamed)
    assert took < 10, f"{took:.1f} s"


def test_many_directories_over_a_far_link(connect: Connect, root: bytes) -> None:
    """One after another, 300 directories would take 300 times three round trips: 18 s."""
    for number in range(300):
        directory = Path(os.fsdecode(root)) / str(number % 17) / str(number)
        directory.mkdir(parents=True)
        for name in range(30):
            (directory / str(name)).write_bytes(b"")
    client = connect(delay=ROUND_TRIP / 2)
    begin = time.monotonic()
    found = sum(1 for dummy in client.list_tree(root))
    took = time.monotonic() - begin
    assert found == 300 * 30 + 300 + 17
    assert took < 6, f"{took:.1f} s"


PEAK = """
import resource, sys
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import *
path, server = sys.argv[1].encode(), sys.argv[2:]
with SftpClient.connect(server) as client:
    client.statvfs(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    {body}
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(count, after - before)
"""


def peak(body: str, path: Path) -> tuple[int, int]:
    """Run ``body`` in a process of its own; its count and how many KiB its peak memory grew."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK.format(body=body), str(path), *server_argv()],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    count, grown = done.stdout.split()
    return int(count), int(grown)


def test_a_directory_of_200000_entries(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1g") as disk:
        descriptor = os.open(disk, os.O_RDONLY)
        for number in range(200_000):
            os.close(os.open(b"%d" % number, os.O_CREAT, dir_fd=descriptor))
        os.close(descriptor)
        count, grown = peak(
            "count = sum(1 for dummy in client.list_tree(path))", Path(os.fsdecode(disk))
        )
    assert count == 200_000
    assert grown < 30_000, f"{grown} KiB"


def test_a_large_file_needs_little_memory(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as handle:
        for number in range(200):
            handle.write(random.Random(number).randbytes(1 << 20))
    body = """outcomes = []
    client.upload_many([UploadItem(path, path + b".copy", 200 << 20)], outcomes.append)
    [read] = client.read_many([ReadItem(path + b".copy", 200 << 20)])
    assert read.sha256 == outcomes[0].sha256
    count = outcomes[0].size"""
    count, grown = peak(body, source)
    assert count == 200 << 20
    assert (tmp_path / "source.copy").read_bytes() == source.read_bytes()
    assert grown < 60_000, f"{grown} KiB"


def test_reading_back_over_a_far_link(connect: Connect, root: bytes) -> None:
    items = make_sources(root, 500, 2000)
    near = connect()
    sums = {one.item.target: one.sha256 for one in upload(near, items)}
    client = connect(delay=ROUND_TRIP / 2)
    begin = time.monotonic()
    read = list(client.read_many(ReadItem(item.target, 2000) for item in items))
    took = time.monotonic() - begin
    assert {one.item.path: one.sha256 for one in read} == sums
    assert took < 6, f"{took:.1f} s"
