#!/usr/bin/python
# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_incremental_sync
author:
  - homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Keep a copy of ZFS pools on an SFTP server equal to a snapshot
description:
  - Converges a storage host's offsite policy and its timer (C(/etc/cron.d)), and runs the
    offsite jobs when asked to.
  - After a run the tree at the destination equals the run's snapshot, excludes aside, with
    deletions, renames, moved directories, hard links and odd names. What is replaced or deleted
    is moved into versions.
  - A run is the same as C(homelab-backup offsite run) on the host, which the timer calls.
requirements:
  - OpenZFS 2.1 or newer, root, and an OpenSSH client on the storage host.
  - Python 3.11 or newer on the storage host.
options:
  state:
    description: Whether the host has an offsite policy and a timer.
    type: str
    choices: [present, absent]
    default: present
  state_dir:
    description: The runner's directory on a pool of the host. It has to exist.
    type: path
    required: true
  policy:
    description:
      - The document C(homelab.backup.offsite-policy/1), normally made by the filter
        P(homelab.backup.offsite_policy#filter).
      - Without it the policy that is on the host stays as it is.
    type: dict
  timer:
    description: The cron file.
    type: path
    default: /etc/cron.d/homelab-backup-offsite
  runner:
    description:
      - The runner that the timer calls; C(bin/homelab-backup.pyz) in O(state_dir) if unset.
    type: path
  python:
    description: The interpreter that the timer calls.
    type: path
    default: /usr/bin/python3
  run:
    description:
      - Run the jobs now, too. V(reconcile) compares the whole source and destination.
      - In check mode the result and the diff name each file that would be copied, moved or
        deleted, against the newest snapshot that there is.
    type: str
    choices: [none, incremental, reconcile]
    default: none
  jobs:
    description: The jobs to run; all of the policy's if empty.
    type: list
    elements: str
    default: []
  accept:
    description:
      - The id of a stopped run whose extent was found to be right. The run then copies the
        snapshot of that run.
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
- name: Offsite policy and timer of a storage host
  homelab.backup.zfs_incremental_sync:
    state_dir: /mnt/main/homelab-backup
    policy: "{{ backup_catalogue | homelab.backup.offsite_policy(inventory_hostname) }}"

- name: Bring the copy up to date now
  homelab.backup.zfs_incremental_sync:
    state_dir: /mnt/main/homelab-backup
    run: incremental
"""

RETURN = r"""
changes:
  description: What changes in the policy, one sentence each.
  type: list
  elements: str
  returned: success
policy_file:
  description: The policy's file on the host.
  type: str
  returned: success
plans:
  description: For each job what a run would do.
  type: list
  elements: dict
  returned: when O(run) is not V(none), in check mode
runs:
  description: The run records (C(homelab.backup.offsite-run/1)).
  type: list
  elements: dict
  returned: when O(run) is not V(none), outside check mode
error:
  description: What was tried, on what, what was found and what to do.
  type: dict
  returned: failure
"""

from ansible_collections.homelab.backup.plugins.module_utils._module.zfs_incremental_sync import (
    run_module,
)


def main() -> None:
    """Entry point."""
    run_module()


if __name__ == "__main__":
    main()
