#!/usr/bin/python
# Copyright (c) 2026 homelab.backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_snapshot_policy
short_description: Converge the whole snapshot policy of a ZFS host
version_added: 0.1.0
author:
  - homelab.backup contributors (@homelab-backup)
description:
  - Writes the policy and the timer by which the runner C(homelab-backup.pyz) on the host takes
    and prunes ZFS snapshots, all schedules of the host in one call.
  - It takes no snapshots itself.
  - The runner owns only the snapshots that it made. It never destroys the newest one of a
    schedule, a held or a cloned one, and never destroys recursively.
attributes:
  check_mode:
    description: Plans as usual and changes nothing.
    support: full
  diff_mode:
    description: >-
      Shows the policy's and the timer's lines that change, and each snapshot that goes because
      of the change, with the reason.
    support: full
  idempotent:
    description: A second call with the same options changes nothing, at whatever time.
    support: full
  platform:
    description: Hosts with OpenZFS, cron and Python 3.11 or later.
    platforms: linux
    support: full
options:
  state:
    description:
      - V(present) makes the host's policy equal to the options.
      - V(absent) removes policy and timer. No snapshot is destroyed.
    type: str
    choices: [present, absent]
    default: present
  schedules:
    description:
      - All schedules of the host. What is not in the list is no longer taken; snapshots that
        a removed schedule made stay until they are destroyed by hand.
      - Exactly one of O(schedules) and O(policy) is needed with O(state=present).
    type: list
    elements: dict
    suboptions:
      id:
        description:
          - Name of the schedule. Its snapshots carry it in the user property
            C(homelab.backup:schedule).
        type: str
        required: true
      datasets:
        description: Datasets or pools to take snapshots of.
        type: list
        elements: str
        required: true
      recursive:
        description:
          - Also take all descendants, file systems and volumes, in one transaction for
            each pool.
        type: bool
        default: false
      exclude:
        description:
          - Patterns of full dataset names to leave out with all their descendants.
          - V(*) stands for any characters within one level, as in V(main/*/tmp).
          - Needs O(schedules[].recursive=true).
        type: list
        elements: str
        default: []
      cron:
        description:
          - When, as five fields of a crontab or V(@daily) and the like.
        type: str
        required: true
      timezone:
        description:
          - Time zone of O(schedules[].cron), of the names and of the lifetime, such as
            V(Europe/Vienna). The default is O(timezone).
        type: str
      naming:
        description:
          - Name of the snapshots. Each of C(%Y), C(%m), C(%d), C(%H) and C(%M) stands in
            it once.
          - In the hour that a clock repeats in autumn the second pass gets a C(b) behind
            the name.
        type: str
        required: true
      lifetime:
        description:
          - How long a snapshot stays, as V(24h), V(21d) or V(3w).
        type: str
        required: true
      keep_min:
        description:
          - At least this many of the newest ones stay, whatever their age.
          - As many as the schedule takes in one lifetime stay in any case, so that neither a
            clock that jumped ahead nor a long downtime empties the history.
        type: int
        default: 1
      enabled:
        description:
          - With V(false) none is taken, and those that are there live out their lifetime.
        type: bool
        default: true
  policy:
    description:
      - The same as one document with the keys C(format) and C(schedules), as the catalogue
        derives it and as it is stored on the host.
    type: dict
  timezone:
    description:
      - Time zone for the O(schedules) that name none. The default is the host's own.
    type: str
  state_dir:
    description:
      - Directory on a pool for the policy (C(etc/snapshots.json)), the state and the run
        records. It has to exist.
    type: path
    required: true
  runner:
    description:
      - Path of the runner on the host. The default is C(bin/homelab-backup.pyz) in
        O(state_dir).
    type: path
  python:
    description: Python interpreter for the runner.
    type: path
    default: /usr/bin/python3
  log:
    description: File that the timer's runs append to.
    type: path
    default: /var/log/homelab-backup-snapshots.log
  cron_file:
    description: The timer's file.
    type: path
    default: /etc/cron.d/homelab-backup-snapshots
  prune:
    description:
      - Destroy the snapshots that go because of the change at once. With V(false) they are
        shown as well and go with the runner's next run.
    type: bool
    default: true
  backend:
    description:
      - V(auto) is V(zfs), but refuses a TrueNAS, where the middleware keeps the
        snapshot tasks.
      - V(zfs) is the runner with its own timer, beside a middleware if there is one.
    type: str
    choices: [auto, zfs]
    default: auto
seealso:
  - module: homelab.backup.zfs_snapshot_info
"""

EXAMPLES = r"""
- name: Snapshots every 12 hours for a day, daily ones for three weeks
  homelab.backup.zfs_snapshot_policy:
    state_dir: /mnt/main/homelab-backup
    timezone: Europe/Vienna
    schedules:
      - id: 12h
        datasets: [main, ssd]
        recursive: true
        cron: "0 */12 * * *"
        naming: auto-12h-%Y-%m-%d_%H-%M
        lifetime: 24h
      - id: daily
        datasets: [main, ssd]
        recursive: true
        exclude: [main/scratch, main/*/cache]
        cron: "0 0 * * *"
        naming: auto-%Y-%m-%d_%H-%M
        lifetime: 3w

- name: Show which snapshots a shorter lifetime would cost, and change nothing
  homelab.backup.zfs_snapshot_policy:
    state_dir: /mnt/main/homelab-backup
    policy: "{{ snapshot_policy }}"
  check_mode: true
  diff: true
"""

RETURN = r"""
changes:
  description: What changes in the schedules, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["schedule 'daily': lifetime '3w' becomes '2w'"]
snapshots:
  description: The snapshots that go because of the change.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Full name.
      type: str
    schedule:
      description: Id of the schedule that made it.
      type: str
    reason:
      description: Why it goes.
      type: str
    used:
      description: Bytes that only this snapshot holds.
      type: int
    destroyed:
      description: Whether this call destroyed it.
      type: bool
    refused:
      description: Why ZFS would not destroy it, in its own words; empty when it did.
      type: str
policy:
  description: The policy as stored on the host, every key written out; null with O(state=absent).
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.backup.plugins.module_utils._module.zfs_snapshot_policy import (
    run_module,
)


def main() -> None:
    schedule = {
        "id": {"type": "str", "required": True},
        "datasets": {"type": "list", "elements": "str", "required": True},
        "recursive": {"type": "bool", "default": False},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "cron": {"type": "str", "required": True},
        "timezone": {"type": "str"},
        "naming": {"type": "str", "required": True},
        "lifetime": {"type": "str", "required": True},
        "keep_min": {"type": "int", "default": 1},
        "enabled": {"type": "bool", "default": True},
    }
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "schedules": {"type": "list", "elements": "dict", "options": schedule},
            "policy": {"type": "dict"},
            "timezone": {"type": "str"},
            "state_dir": {"type": "path", "required": True},
            "runner": {"type": "path"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "log": {"type": "path", "default": "/var/log/homelab-backup-snapshots.log"},
            "cron_file": {"type": "path", "default": "/etc/cron.d/homelab-backup-snapshots"},
            "prune": {"type": "bool", "default": True},
            "backend": {"type": "str", "choices": ["auto", "zfs"], "default": "auto"},
        },
        mutually_exclusive=[("schedules", "policy")],
        required_if=[("state", "present", ("schedules", "policy"), True)],
        supports_check_mode=True,
    )
    run_module(module)


if __name__ == "__main__":
    main()
