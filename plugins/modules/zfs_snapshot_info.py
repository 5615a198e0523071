#!/usr/bin/python
# Copyright (c) 2026 homelab.backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_snapshot_info
short_description: Show the ZFS snapshots of datasets or services
version_added: 0.1.0
author:
  - homelab.backup contributors (@homelab-backup)
description:
  - Lists snapshots with age, space, schedule, holds, clones and the time at which they expire.
  - Needs one C(zfs list), one C(zpool get), and one C(zfs holds) where something is held.
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Reads only.
    support: none
  idempotent:
    description: Reads only.
    support: full
  platform:
    description: Hosts with OpenZFS and Python 3.11 or later.
    platforms: linux
    support: full
options:
  datasets:
    description: Datasets or pools to look at. Without O(datasets) and O(services) all pools.
    type: list
    elements: str
    default: []
  recursive:
    description: Look at descendants too.
    type: bool
    default: true
  services:
    description:
      - Names of services, each with a list of its datasets. They are looked at too, and each
        snapshot names the services that have data in it.
    type: dict
    default: {}
  state_dir:
    description:
      - The state directory of M(homelab.backup.zfs_snapshot_policy). With it, expiry and
        the reason why a snapshot stays or goes are known.
    type: path
seealso:
  - module: homelab.backup.zfs_snapshot_policy
"""

EXAMPLES = r"""
- name: Look at what two services can go back to
  homelab.backup.zfs_snapshot_info:
    state_dir: /mnt/main/homelab-backup
    services:
      vault: [main/vault, main/vault-backup]
      photos: [main/photos]
  register: found

- name: Name the services without a snapshot of the last 13 hours
  ansible.builtin.debug:
    msg: >-
      {{ found.services | dict2items
         | rejectattr('value.newest_age', 'lt', 46800) | map(attribute='key') }}
"""

RETURN = r"""
snapshots:
  description: The snapshots, by dataset, then in the order of their creation.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Full name.
      type: str
    dataset:
      description: The dataset.
      type: str
    snapshot:
      description: What stands behind the C(@).
      type: str
    guid:
      description: Identity that stays over renames, as text because it has 64 bits.
      type: str
    createtxg:
      description: Transaction group of the creation; it gives the order.
      type: int
    created:
      description: Time of the creation in UTC.
      type: str
      sample: "2026-11-23T00:00:01Z"
    age:
      description: Seconds since the creation.
      type: int
    used:
      description: Bytes that only this snapshot holds.
      type: int
    written:
      description: Bytes written between the snapshot before and this one.
      type: int
    schedule:
      description: Id of the schedule that made it; empty for others.
      type: str
    services:
      description: The services that have data in it.
      type: list
      elements: str
    expires:
      description: When its lifetime ends, in UTC; empty when nothing prunes it.
      type: str
    prune:
      description: Whether the next run destroys it.
      type: bool
    note:
      description: Why it stays or goes, or why the runner doesn't own it.
      type: str
    holds:
      description: Tags of its holds.
      type: list
      elements: str
    clones:
      description: Datasets that were cloned from it.
      type: list
      elements: str
services:
  description: For each of O(services) what there is.
  returned: success
  type: dict
  contains:
    count:
      description: Number of snapshots.
      type: int
    used:
      description: Sum of their own bytes.
      type: int
    newest:
      description: Time of the newest one in UTC; empty when there is none.
      type: str
    newest_age:
      description: Its age in seconds; null when there is none.
      type: int
    oldest:
      description: Time of the oldest one in UTC; empty when there is none.
      type: str
missing:
  description: Those of O(datasets) and of O(services) that don't exist.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.backup.plugins.module_utils._module.zfs_snapshot_info import (
    run_module,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "datasets": {"type": "list", "elements": "str", "default": []},
            "recursive": {"type": "bool", "default": True},
            "services": {"type": "dict", "default": {}},
            "state_dir": {"type": "path"},
        },
        supports_check_mode=True,
    )
    run_module(module)


if __name__ == "__main__":
    main()
