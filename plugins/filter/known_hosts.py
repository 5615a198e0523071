# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: known_hosts
author: homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Pinned host keys for a storage host
description:
  - Derives the lines of the known_hosts file that a storage host uses for its NAS.
options:
  _input:
    description: The catalogue, normally C(backup_catalogue).
    type: dict
    required: true
  host:
    description: The storage host, by its name in the catalogue.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Pin the keys
  ansible.builtin.copy:
    content: "{{ backup_catalogue | homelab.backup.known_hosts('truenas') | join('\n') }}\n"
    dest: /mnt/main/homelab-backup/etc/known_hosts
    mode: "0600"
"""

RETURN = r"""
_value:
  description: One line for each pinned key; empty when the catalogue pins none.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue import (
    offsite_policy as derived,
)
from ansible_collections.homelab.backup.plugins.plugin_utils._catalogue import (
    catalogue_of,
    filter_errors,
)


def known_hosts(document: Any, host: str) -> Any:
    """See DOCUMENTATION."""
    catalogue = catalogue_of(document)
    with filter_errors():
        return derived.known_hosts(catalogue, host)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"known_hosts": known_hosts}
