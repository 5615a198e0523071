# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings from the environment, and the errors about this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import host
from tests.lab.errors import LabError
from tests.lab.settings import load, mirror_of_apt


def test_defaults() -> None:
    settings = load({})
    assert settings.instance == "main"
    assert settings.cache == Path.home() / ".cache/homelab-backup-lab"
    assert settings.namespace == "lab-main"
    assert load({"HOMELAB_LAB": "", "HOMELAB_LAB_MEMORY": ""}) == settings


def test_each_instance_has_its_own_directories() -> None:
    one, two = (load({"HOMELAB_LAB": name}) for name in ("one", "two"))
    assert one.cache == two.cache
    assert {one.run, one.disks}.isdisjoint({two.run, two.disks})
    assert one.namespace != two.namespace


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOMELAB_LAB", "../x"),
        ("HOMELAB_LAB", "Main"),
        ("HOMELAB_LAB", "a" * 21),
        ("HOMELAB_LAB_MEMORY", "1023"),
        ("HOMELAB_LAB_MEMORY", "2G"),
        ("HOMELAB_LAB_NAS_SIZE", "-1"),
        ("HOMELAB_LAB_ACCEL", "xen"),
    ],
)
def test_an_unusable_value_is_named(name: str, value: str) -> None:
    with pytest.raises(LabError, match=rf"^{name}="):
        load({name: value})


def test_too_little_room_says_how_much_is_needed_and_found(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"has \d+ MiB free, a build needs 1000000000 MiB"):
        host.require_space(tmp_path / "cache", 10**9, "a build")


def test_a_user_without_rights_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabError, match=r"needs root \(user id is 1000\)"):
        host.require_root()


@pytest.mark.parametrize(
    ("name", "content", "mirror"),
    [
        (
            "sources.list",
            "deb http://mirror.invalid/debian trixie main\n",
            "http://mirror.invalid/debian",
        ),
        (
            "sources.list.d/x.sources",
            "URIs: https://m.invalid/debian/\n",
            "https://m.invalid/debian",
        ),
        ("sources.list", "# deb http://mirror.invalid/debian trixie main\n", ""),
        ("sources.list", "deb http://mirror.invalid/debian-security trixie main\n", ""),
        ("sources.list.d/x.list.bak", "deb http://mirror.invalid/debian trixie main\n", ""),
    ],
)
def test_the_mirror_is_the_one_that_apt_uses(
    tmp_path: Path, name: str, content: str, mirror: str
) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(content)
    assert mirror_of_apt(tmp_path) == mirror
