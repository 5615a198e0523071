#!/usr/bin/python
# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: sftp_destination
author:
  - homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Prepare directories on an SFTP server for offsite copies
description:
  - Connects to a NAS over SFTP with a pinned host key, makes the directories that are missing,
    authorizes keys, and checks the free space.
  - Meant for the controller (C(delegate_to=localhost)), because an appliance may have neither a
    shell nor Python for the backup user.
requirements:
  - paramiko on the controller
options:
  host:
    description: Address of the NAS.
    type: str
    required: true
  port:
    description: Port of its SSH service.
    type: int
    default: 22
  user:
    description: A user who may write where the copies go.
    type: str
    required: true
  key_file:
    description: That user's private key, a file on the controller.
    type: path
  key:
    description: That user's private key itself, in OpenSSH's format and without a passphrase.
    type: str
  password:
    description: That user's password, for a NAS that has no key yet.
    type: str
  host_keys:
    description: The NAS' host keys as C(type base64); any other key is refused.
    type: list
    elements: str
    required: true
  directories:
    description: Directories that have to be there, as SFTP shows them.
    type: list
    elements: str
    required: true
  authorized_keys:
    description: Path of the user's C(authorized_keys) over SFTP, if SFTP shows it.
    type: str
  public_keys:
    description: Lines that have to be in O(authorized_keys), with their options.
    type: list
    elements: str
    default: []
  minimum_free:
    description: Bytes that have to be free.
    type: int
    default: 0
  timeout:
    description: Seconds until the NAS counts as unreachable.
    type: int
    default: 30
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
- name: Directories at the NAS
  homelab.backup.sftp_destination:
    host: 192.168.1.13
    user: backup
    key_file: ~/.ssh/nas
    host_keys: ["ssh-ed25519 AAAA..."]
    directories: [/Backup/Viki/truenas]
  delegate_to: localhost
"""

RETURN = r"""
steps:
  description: What was done, or would be, in words.
  type: list
  elements: str
  returned: success
free_bytes:
  description: Free bytes for this user; none when the server can't tell.
  type: int
  returned: success
error:
  description: What was tried, on what, what was found and what to do.
  type: dict
  returned: failure
"""

from ansible_collections.homelab.backup.plugins.module_utils._module.sftp_destination import (
    run_module,
)


def main() -> None:
    """Entry point."""
    run_module()


if __name__ == "__main__":
    main()
