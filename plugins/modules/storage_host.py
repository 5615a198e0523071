#!/usr/bin/python
# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_host
author:
  - homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Prepare a storage host for the backup runner
description:
  - Makes the runner's directory on a pool, installs or generates the private key for the NAS, and
    pins the NAS' host keys, all in one call.
  - Refuses a directory that isn't on a mounted pool, because an upgrade of an appliance would
    lose it.
options:
  state_dir:
    description: The runner's directory on a pool.
    type: path
    required: true
  pools:
    description: Pools that have to be imported; their GUIDs are returned.
    type: list
    elements: str
    required: true
  known_hosts:
    description: The lines of C(etc/known_hosts) in O(state_dir), see sshd(8).
    type: list
    elements: str
    default: []
  key_file:
    description: The private key for the NAS. It is generated (ed25519) when it is missing.
    type: path
  key:
    description: The content of O(key_file), to install a key instead of generating one.
    type: str
attributes:
  check_mode:
    description:
      - Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)).
    support: full
  platform:
    description: Target OS/families that can be operated against.
    platforms: posix
    support: full
"""

EXAMPLES = r"""
- name: Prepare the storage host
  homelab.backup.storage_host:
    state_dir: /mnt/main/homelab-backup
    pools: [main, ssd]
    key_file: /mnt/main/homelab-backup/etc/id_ed25519
    known_hosts: "{{ backup_catalogue | homelab.backup.known_hosts(inventory_hostname) }}"
"""

RETURN = r"""
ready:
  description: Whether the directories are there (in check mode they may not be).
  type: bool
  returned: success
public_key:
  description: The public half of O(key_file), as a line for C(authorized_keys).
  type: str
  returned: when the key is there
pool_guids:
  description: The GUID of each pool.
  type: dict
  returned: success
steps:
  description: What was done, or would be, in words.
  type: list
  elements: str
  returned: success
error:
  description: What was tried, on what, what was found and what to do.
  type: dict
  returned: failure
"""

from ansible_collections.homelab.backup.plugins.module_utils._module.storage_host import run_module


def main() -> None:
    """Entry point."""
    run_module()


if __name__ == "__main__":
    main()
