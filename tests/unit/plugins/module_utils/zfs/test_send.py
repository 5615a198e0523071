# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Reading from a program in place of zfs: limits, complaints, and that it is always reaped."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import SourceError
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.errors import (
    DatasetMissingError,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.send import (
    SendLimits,
    SendStreams,
    TooBig,
)
from ansible_collections.homelab.backup.plugins.module_utils._zfs.sendstream import StreamChanges
from tests.unit.plugins.module_utils.zfs.streams import FROM_GUID, TO_GUID, StreamWriter

BASE = "main/a@base"
NEW = "main/a@new"


class Stand:
    """A program in place of zfs that runs a shell script, and its process id."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        stream = StreamWriter()
        stream.begin()
        for number in range(100, 130):
            stream.object(number)
            stream.write(number, 0, 131072)
        (directory / "stream").write_bytes(stream.end())

    def sends(self, script: str, inherit: tuple[int, ...] = ()) -> SendStreams:
        """A reader of a "zfs" that runs ``script`` in the directory with the file ``stream``."""
        program = self.directory / "zfs"
        program.write_text(
            f'#!/bin/sh\ncd {self.directory}\necho "$@" >argv\necho $$ >pid\n{script}'
        )
        program.chmod(0o755)
        return SendStreams(SubprocessCommands(inherit), zfs=str(program))

    @property
    def argv(self) -> str:
        """How it was called."""
        return (self.directory / "argv").read_text().strip()

    def is_gone(self) -> bool:
        """Whether the process was reaped."""
        return not Path("/proc", (self.directory / "pid").read_text().strip()).exists()


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_reads_a_stream(stand: Stand) -> None:
    found = stand.sends("cat stream").changes(BASE, NEW)
    assert isinstance(found, StreamChanges)
    assert found.data == set(range(100, 130))
    assert stand.argv == f"send -L -e -c -i {BASE} {NEW}"
    assert stand.is_gone()


def test_stdin_is_at_its_end(stand: Stand) -> None:
    """A program that waits for input would hang the run."""
    found = stand.sends("cat; cat stream").changes(BASE, NEW, SendLimits(seconds=20))
    assert isinstance(found, StreamChanges)


def test_expected_guids(stand: Stand) -> None:
    sends = stand.sends("cat stream")
    assert isinstance(sends.changes(BASE, NEW, from_guid=FROM_GUID, to_guid=TO_GUID), StreamChanges)
    with pytest.raises(SourceError, match=f"guid is {FROM_GUID}, not 5") as caught:
        sends.changes(BASE, NEW, from_guid=5, to_guid=TO_GUID)
    assert caught.value.on == BASE
    with pytest.raises(SourceError, match=f"guid is {TO_GUID}, not 6") as caught:
        sends.changes(BASE, NEW, from_guid=FROM_GUID, to_guid=6)
    assert caught.value.on == NEW


def test_any_word_on_stderr_is_an_error(stand: Stand) -> None:
    with pytest.raises(SourceError, match="warning: something") as caught:
        stand.sends("cat stream; echo 'warning: something' >&2").changes(BASE, NEW)
    assert caught.value.on == f"{BASE} to {NEW}"
    assert stand.is_gone()


def test_zfs_own_words_come_before_the_cut_stream(stand: Stand) -> None:
    said = "cannot open 'main/a@base': dataset does not exist"
    sends = stand.sends(f'head -c 5000 stream; echo "{said}" >&2; exit 1')
    with pytest.raises(DatasetMissingError, match="cannot open 'main/a@base'"):
        sends.changes(BASE, NEW)


def test_a_silent_failure_is_an_error(stand: Stand) -> None:
    with pytest.raises(SourceError, match="ended with status 3"):
        stand.sends("cat stream; exit 3").changes(BASE, NEW)
    with pytest.raises(SourceError, match="ended with status -9"):
        stand.sends("cat stream; kill -9 $$").changes(BASE, NEW)


def test_a_cut_stream_is_an_error_even_with_status_0(stand: Stand) -> None:
    with pytest.raises(SourceError, match=r"ends in the middle \(byte 5000\)"):
        stand.sends("head -c 5000 stream").changes(BASE, NEW)


def test_a_malformed_stream_ends_the_program(stand: Stand) -> None:
    with pytest.raises(SourceError, match="does not begin as a send stream"):
        stand.sends("exec yes").changes(BASE, NEW)
    assert stand.is_gone()


def test_much_on_stderr_does_not_block(stand: Stand) -> None:
    script = "head -c 3000000 /dev/zero | tr '\\0' e >&2; cat stream; exit 1"
    with pytest.raises(SourceError, match=r"e{1000}") as caught:
        stand.sends(script).changes(BASE, NEW, SendLimits(seconds=60))
    assert len(caught.value.found) == 65536


def test_length_limit(stand: Stand) -> None:
    found = stand.sends("cat stream; exec sleep 60").changes(
        BASE, NEW, SendLimits(length=1_000_000)
    )
    assert isinstance(found, TooBig)
    assert found.limit == "length"
    assert 1_000_000 < found.length < 2_000_000
    assert 7 <= found.changed <= 16
    assert found.records > 14
    assert stand.is_gone()


def test_limit_of_changed_objects(stand: Stand) -> None:
    found = stand.sends("cat stream; exec sleep 60").changes(BASE, NEW, SendLimits(changed=20))
    assert isinstance(found, TooBig)
    assert found.limit == "changed"
    assert 20 < found.changed <= 30
    assert stand.is_gone()


def test_time_limit_of_a_stream_that_stalls(stand: Stand) -> None:
    started = time.monotonic()
    found = stand.sends("head -c 5000 stream; exec sleep 60").changes(
        BASE, NEW, SendLimits(seconds=0.3)
    )
    assert isinstance(found, TooBig)
    assert (found.limit, found.length) == ("seconds", 5000)
    assert 0.3 < found.seconds < time.monotonic() - started < 10
    assert stand.is_gone()


def test_within_all_limits(stand: Stand) -> None:
    limits = SendLimits(seconds=60, length=1 << 30, changed=30)
    assert isinstance(stand.sends("cat stream").changes(BASE, NEW, limits), StreamChanges)


def test_the_lock_is_inherited(stand: Stand) -> None:
    read_end, write_end = os.pipe()
    try:
        script = f"test -e /proc/$$/fd/{write_end} || exit 9; cat stream"
        stand.sends(script, inherit=(write_end,)).changes(BASE, NEW)
    finally:
        os.close(read_end)
        os.close(write_end)


def test_estimate(stand: Stand) -> None:
    sends = stand.sends(f"printf 'incremental\\tbase\\t{NEW}\\t4242\\nsize\\t4242\\n'")
    assert sends.estimate(BASE, NEW) == 4242
    assert stand.argv == f"send -n -P -L -e -c -i {BASE} {NEW}"


@pytest.mark.parametrize("script", ["echo size 5; exit 1", "echo nothing", "echo size five"])
def test_estimate_that_fails(stand: Stand, script: str) -> None:
    with pytest.raises(SourceError, match="estimate what changed"):
        stand.sends(script).estimate(BASE, NEW)
