# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The shipped catalogues as a real play sees them: loaded and templated by Ansible."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.catalogue import parse
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import Catalogue

ROOT = Path(__file__).resolve().parents[5]
INVENTORIES = ROOT / "inventories"
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: >-
          {{ {'groups': groups, 'catalogue': hostvars[groups['storage'][0]].backup_catalogue,
              'addresses': dict(groups['all'] | zip(groups['all']
                                | map('extract', hostvars, 'ansible_host')))} | to_json }}
        dest: "{{ found }}"
        mode: "0600"
"""


def ansible(
    program: str, *arguments: str, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs in the repository, with environment variables added."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache/collections"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
        **(variables or {}),
    }
    return subprocess.run(
        [str(Path(sys.executable).parent / program), *arguments],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def load(name: str, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Groups, catalogue and addresses of an inventory.

    Raises:
        RuntimeError: the play failed; with what it said.
    """
    with tempfile.TemporaryDirectory() as directory:
        play, found = Path(directory, "play.yml"), Path(directory, "found.json")
        play.write_text(PLAY)
        inventory = str(INVENTORIES / name)
        arguments = ("-i", inventory, "-e", f"found={found}", str(play))
        done = ansible("ansible-playbook", *arguments, variables=variables)
        if done.returncode != 0:
            raise RuntimeError(done.stdout + done.stderr)
        loaded: dict[str, Any] = json.loads(found.read_text())
        return loaded


shipped = functools.cache(load)


@functools.cache
def catalogue(name: str) -> Catalogue:
    """The parsed catalogue of an inventory."""
    return parse(shipped(name)["catalogue"])
