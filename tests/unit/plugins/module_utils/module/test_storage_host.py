# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""What storage_host finds missing, once; which keys sftp_destination takes for the same."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    SourceError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._module import storage_host
from ansible_collections.homelab.backup.plugins.module_utils._module.sftp_destination import (
    _key_of,
)


def options(state: Path, **changes: Any) -> dict[str, Any]:
    """Options of the module."""
    return {
        "state_dir": str(state),
        "known_hosts": ["nas ssh-ed25519 AAAA"],
        "key_file": str(state / "etc" / "id"),
        "key": None,
        **changes,
    }


def apply(given: dict[str, Any], state: Path) -> list[str]:
    """Plan, do it, and say what was done."""
    steps = storage_host.plan(given, state)
    for step in steps:
        storage_host._do(step, SubprocessCommands())
    return [step.act for step in steps]


def test_a_fresh_host_gets_everything_and_then_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert apply(options(state), state) == ["mkdir"] * 5 + ["write", "generate"]
    assert stat.S_IMODE((state / "etc" / "id").stat().st_mode) == 0o600
    assert stat.S_IMODE((state / "records").stat().st_mode) == 0o700
    assert apply(options(state), state) == []


def test_a_key_that_is_given_is_installed_and_never_shown(tmp_path: Path) -> None:
    state = tmp_path / "state"
    given = options(state, key="SECRET KEY")
    steps = storage_host.plan(given, state)
    shown = " ".join(str(storage_host._diff(step)) + step.describe() for step in steps)
    assert "SECRET KEY" not in shown
    apply(given, state)
    assert (state / "etc" / "id").read_text() == "SECRET KEY\n"
    assert apply(given, state) == []


def test_what_was_changed_by_hand_is_put_right(tmp_path: Path) -> None:
    state = tmp_path / "state"
    apply(options(state), state)
    (state / "etc" / "id").chmod(0o644)
    (state / "etc" / "known_hosts").write_text("other\n")
    (state / "bin").chmod(0o700)
    given = options(state, key=(state / "etc" / "id").read_text())
    assert apply(given, state) == ["chmod", "write", "chmod"]
    assert apply(given, state) == []


def test_a_directory_outside_of_a_pool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not on a mounted ZFS dataset"):
        storage_host._check_place(tmp_path / "state")


def test_a_key_that_cannot_be_generated_is_an_error(tmp_path: Path) -> None:
    step = storage_host.Step("generate", tmp_path / "missing" / "id", 0o600)
    with pytest.raises(ConfigError, match="generate the key"):
        storage_host._do(step, SubprocessCommands())


@pytest.mark.parametrize(
    "line",
    [
        "ssh-ed25519 AAAA comment",
        "ssh-ed25519 AAAA",
        'restrict,from="10.0.0.1" ssh-ed25519 AAAA some words behind it',
    ],
)
def test_a_key_is_the_same_whatever_stands_around_it(line: str) -> None:
    assert _key_of(line) == ("ssh-ed25519", "AAAA")
