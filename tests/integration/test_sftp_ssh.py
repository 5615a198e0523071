# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Reaching the NAS with this machine's own ssh, and with rclone: what is said when it fails."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import TransportError
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._rclone.bulk import RcloneBulk
from ansible_collections.homelab.backup.plugins.module_utils._rclone.version import check_rclone
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from ansible_collections.homelab.backup.plugins.module_utils._sftp.connection import Tuning
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    ConnectionLostError,
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ssh import SshTarget, ssh_argv
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    UploadItem,
    UploadOutcome,
)
from tests.lab import keys, network
from tests.lab.instance import Lab
from tests.lab.nas import SHARE, Nas

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("pristine")]

TOP = SHARE.encode() + b"/transport"
RCLONE = str(Path(sys.executable).parent / "rclone")
Reach = Callable[..., SftpClient]


@pytest.fixture
def target(nas: Nas, tmp_path: Path) -> SshTarget:
    """The run's own account: it may not remove anything."""
    key = tmp_path / "key"
    key.write_bytes(nas.key("offsite").read_bytes())
    key.chmod(0o600)
    hosts = tmp_path / "known hosts"
    hosts.write_text(nas.known_hosts)
    return SshTarget(nas.address, "offsite", str(key), str(hosts), port=nas.port, connect_timeout=5)


@pytest.fixture
def reach(lab: Lab, nas: Nas) -> Iterator[Reach]:
    """Connects from inside the lab's network."""
    clients: list[SftpClient] = []

    def begin(target: SshTarget, tuning: Tuning | None = None) -> SftpClient:
        argv = network.inside(lab.settings.namespace, ssh_argv(target))
        client = SftpClient.connect(argv, where=str(target), tuning=tuning)
        clients.append(client)
        return client

    yield begin
    for client in clients:
        client.close()
    if not nas.running():
        nas.restart()


def make(tmp_path: Path, size: int, name: str = "file") -> UploadItem:
    source = tmp_path / f"source-{name}"
    source.write_bytes(random.Random(size).randbytes(size))
    return UploadItem(os.fsencode(source), TOP + b"/" + name.encode(), size, 86400, tag=name)


def on_nas(nas: Nas, path: bytes) -> Path:
    return nas.volume / os.fsdecode(path).lstrip("/")


def test_upload_and_read_back(target: SshTarget, reach: Reach, nas: Nas, tmp_path: Path) -> None:
    client = reach(target)
    assert client.mkdir_many([TOP], exist_ok=True)[0].ok
    outcomes: list[UploadOutcome] = []
    client.upload_many([make(tmp_path, 3_000_000)], outcomes.append)
    assert outcomes[0].ok
    content = on_nas(nas, TOP + b"/file").read_bytes()
    assert hashlib.sha256(content).hexdigest() == outcomes[0].sha256
    assert int(on_nas(nas, TOP + b"/file").stat().st_mtime) == 86400
    refused = client.remove_many([TOP + b"/file"])[0].error
    assert isinstance(refused, RemoteError)
    assert refused.reason is Reason.PERMISSION


def test_another_host_key(lab: Lab, target: SshTarget, reach: Reach, nas: Nas) -> None:
    other = keys.public(lab.settings.keys, "nas_backup")
    Path(target.known_hosts_file).write_text(f"{nas.address} {other}\n")
    with pytest.raises(TransportError) as caught:
        reach(target)
    assert "IDENTIFICATION HAS CHANGED" in caught.value.found
    assert "pin the new one" in caught.value.remedy
    assert str(target) in str(caught.value)


def test_an_unknown_host_key(target: SshTarget, reach: Reach) -> None:
    Path(target.known_hosts_file).write_text("")
    with pytest.raises(TransportError) as caught:
        reach(target)
    assert "Host key verification failed" in caught.value.found
    assert "isn't pinned" in caught.value.remedy


def test_a_refused_key(target: SshTarget, reach: Reach, nas: Nas) -> None:
    Path(target.key_file).write_bytes(nas.key("pruner").read_bytes())
    with pytest.raises(TransportError) as caught:
        reach(target)
    assert "Permission denied (publickey" in caught.value.found
    assert "authorized_keys" in caught.value.remedy


def test_a_key_that_others_can_read(target: SshTarget, reach: Reach) -> None:
    Path(target.key_file).chmod(0o644)
    with pytest.raises(TransportError, match="mode 0600"):
        reach(target)


def test_a_missing_key(target: SshTarget, reach: Reach) -> None:
    Path(target.key_file).unlink()
    with pytest.raises(TransportError, match="key file is missing"):
        reach(target)


def test_nothing_listens(target: SshTarget, reach: Reach) -> None:
    with pytest.raises(TransportError) as caught:
        reach(dataclasses.replace(target, port=2))
    assert "Connection refused" in caught.value.found
    assert "correct the port" in caught.value.remedy


def test_an_unknown_name(target: SshTarget, reach: Reach) -> None:
    with pytest.raises(TransportError, match="correct the host name"):
        reach(dataclasses.replace(target, host="no-such-nas.invalid"))


def test_no_sftp_subsystem(target: SshTarget, reach: Reach, nas: Nas) -> None:
    nas.restart(options=["Match User offsite", "  ForceCommand /bin/false", "Match all"])
    try:
        with pytest.raises(TransportError) as caught:
            reach(target)
        assert "ended with status 1" in caught.value.found
    finally:
        nas.restart()


def test_the_server_goes_away(target: SshTarget, reach: Reach, nas: Nas, tmp_path: Path) -> None:
    client = reach(target)
    client.mkdir_many([TOP], exist_ok=True)
    outcomes: list[UploadOutcome] = []

    def stop(outcome: UploadOutcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 5:
            nas.stop()

    items = [make(tmp_path, 200_000, f"lost-{number}") for number in range(100)]
    with pytest.raises(ConnectionLostError) as caught:
        client.upload_many(items, stop)
    assert caught.value.unknown
    assert "on their way" in caught.value.found
    told = {outcome.item.target for outcome in outcomes if outcome.ok}
    for path in told:
        assert on_nas(nas, path).stat().st_size == 200_000


def test_a_server_that_hangs(target: SshTarget, reach: Reach, lab: Lab) -> None:
    """The connection stays open and nothing comes: the stall timeout ends it."""
    client = reach(target, tuning=Tuning(stall_timeout=3))
    assert list(client.stat_many([b"/"]))
    with frozen(lab):
        begin = time.monotonic()
        with pytest.raises(ConnectionLostError, match="no answer for 3"):
            list(client.stat_many([b"/"]))
        assert time.monotonic() - begin < 20


@contextlib.contextmanager
def frozen(lab: Lab) -> Iterator[None]:
    """The NAS stops in its tracks: its processes hold still, connections stay open."""
    found = subprocess.run(["pgrep", "-x", "sshd|sshd-session"], capture_output=True, check=False)
    inside = [pid for pid in found.stdout.split() if in_lab(int(pid), lab)]
    assert inside
    for pid in inside:
        os.kill(int(pid), 19)
    try:
        yield
    finally:
        for pid in inside:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 18)


def in_lab(pid: int, lab: Lab) -> bool:
    """True for a process in the lab's network namespace."""
    own = os.stat(f"/run/netns/{lab.settings.namespace}").st_ino
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino == own
    except FileNotFoundError:
        return False


# --- rclone -----------------------------------------------------------------------------------


@pytest.fixture
def rclone(lab: Lab, tmp_path: Path) -> str:
    """The real rclone, run inside the lab's network."""
    program = tmp_path / "rclone"
    inside = " ".join(network.inside(lab.settings.namespace, [RCLONE]))
    program.write_text(f'#!/bin/sh\nexec {inside} "$@"\n')
    program.chmod(0o755)
    return str(program)


def bulk(rclone: str, target: SshTarget, store: SftpClient) -> RcloneBulk:
    return RcloneBulk(target, rclone, store=store, parallel=2)


def send(bulk: RcloneBulk, items: list[UploadItem]) -> dict[object, UploadOutcome]:
    outcomes: list[UploadOutcome] = []
    bulk.upload_many(items, outcomes.append)
    return {outcome.item.tag: outcome for outcome in outcomes}


def test_big_files_by_rclone(
    target: SshTarget, reach: Reach, nas: Nas, rclone: str, tmp_path: Path
) -> None:
    assert check_rclone(SubprocessCommands(), rclone).release >= (1, 75, 2)
    store = reach(target)
    store.mkdir_many([TOP], exist_ok=True)
    sizes = {"big": 30_000_001, "empty": 0, "one": 1}
    items = [make(tmp_path, size, name) for name, size in sizes.items()]
    outcomes = send(bulk(rclone, target, store), items)
    for item in items:
        outcome = outcomes[item.tag]
        assert outcome.error is None
        found = on_nas(nas, item.target)
        assert hashlib.sha256(found.read_bytes()).hexdigest() == outcome.sha256
        assert int(found.stat().st_mtime) == 86400
        assert outcome.stored is not None
        assert outcome.stored.size == item.size


def test_rclone_on_a_full_nas(
    target: SshTarget, reach: Reach, nas: Nas, rclone: str, tmp_path: Path
) -> None:
    store = reach(target)
    store.mkdir_many([TOP], exist_ok=True)
    space = store.statvfs(TOP)
    assert space is not None
    used = (space.total - space.free) >> 20
    nas.resize(used + 10)
    try:
        outcomes = send(bulk(rclone, target, store), [make(tmp_path, 40_000_000, "toobig")])
    finally:
        nas.resize(space.total >> 20)
    error = outcomes["toobig"].error
    assert isinstance(error, RemoteError)
    assert error.reason is Reason.FULL


def test_rclone_wants_the_pinned_key(
    target: SshTarget, reach: Reach, lab: Lab, nas: Nas, rclone: str, tmp_path: Path
) -> None:
    store = reach(target)
    other = tmp_path / "other hosts"
    other.write_text(f"{nas.address} {keys.public(lab.settings.keys, 'nas_backup')}\n")
    wrong = dataclasses.replace(target, known_hosts_file=str(other))
    outcome = send(bulk(rclone, wrong, store), [make(tmp_path, 1000, "pinned")])["pinned"]
    assert isinstance(outcome.error, TransportError)
    assert "knownhosts" in outcome.error.found
    assert not on_nas(nas, TOP + b"/pinned").exists()
