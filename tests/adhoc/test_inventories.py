# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Ansible itself loads each shipped inventory and resolves what the plays select by.

Runs through pytest-ansible's host manager. Nothing is executed on a host: ``debug`` is
answered on the controller.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
INVENTORIES = ("homelab", "lab", "minimal")
# The groups that playbooks/site.yml converges. Their addresses come from the catalogue.
GROUPS = ("storage", "nas")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("inventory", INVENTORIES)
def test_each_group_has_hosts_with_an_address(
    inventory: str, group: str, ansible_adhoc: Any
) -> None:
    path = ROOT / "inventories" / inventory
    assert path.is_dir(), f"{path} is missing"
    hosts = ansible_adhoc(inventory=str(path), host_pattern=group)
    answers = hosts[group].debug(msg="{{ ansible_host }}")
    assert len(answers) >= 1
    for name, answer in answers.items():
        assert not answer.get("failed"), f"{name}: {answer.get('msg')}"
        assert answer["msg"]
