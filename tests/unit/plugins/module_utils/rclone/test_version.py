# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Which rclone is taken and which refused, and why."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import TransportError
from ansible_collections.homelab.backup.plugins.module_utils._core.ports import Completed
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._rclone.version import (
    check_rclone,
    parse_version,
)


class Says:
    """An rclone that prints this."""

    def __init__(self, text: str, status: int = 0) -> None:
        self.text = text
        self.status = status

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float | None = None
    ) -> Completed:
        assert argv[1:] == ["version"]
        assert timeout
        return Completed(tuple(argv), self.status, self.text.encode() + stdin, b"broken")


@pytest.mark.parametrize("version", ["v1.75.2", "v1.75.3", "v1.76.0", "v2.0.0", "v1.75.2-DEV"])
def test_accepted(version: str) -> None:
    text = f"rclone {version}\n- os/version: debian 12.11 (64 bit)\n"
    assert f"v{check_rclone(Says(text), 'rclone')}" == version


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("v1.60.1-DEV", "older than 1.75.2"),
        ("v1.67.0", "older than 1.75.2"),
        ("v1.70.0", "hangs"),
        ("v1.70.1", "hangs"),
        ("v1.70.2", "hangs"),
        ("v1.70.3", "older than 1.75.2"),
        ("v1.75.1", "older than 1.75.2"),
    ],
)
def test_refused(version: str, why: str) -> None:
    with pytest.raises(TransportError, match=why) as caught:
        check_rclone(Says(f"rclone {version}\n"), "/pool/rclone")
    assert caught.value.on == "/pool/rclone"
    assert "install" in caught.value.remedy


@pytest.mark.parametrize(
    "text", ["", "rclone 1.75.2\n", "BusyBox v1.75.2\n", "not rclone v1.80.0\n"]
)
def test_no_version(text: str) -> None:
    assert parse_version(text) is None
    with pytest.raises(TransportError):
        check_rclone(Says(text), "rclone")


def test_a_program_that_fails() -> None:
    with pytest.raises(TransportError, match="broken"):
        check_rclone(Says("rclone v1.75.2\n", status=1), "rclone")


def test_a_missing_program() -> None:
    with pytest.raises(TransportError, match="install"):
        check_rclone(SubprocessCommands(), "/nowhere/rclone")
