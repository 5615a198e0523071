# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: nfs_networks
author: homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Networks that may mount the backup directories
description:
  - Derives the NFS allow-list of a storage host, from C(nfs_networks) or else from the addresses
    of the cluster's nodes, as the fewest networks that hold exactly these addresses.
  - Needs the Python package C(netaddr) on the controller.
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
- name: Show the allow-list
  ansible.builtin.debug:
    msg: "{{ backup_catalogue | homelab.backup.nfs_networks('truenas') }}"
"""

RETURN = r"""
_value:
  description: Addresses and networks.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.homelab.backup.plugins.plugin_utils import _networks as derived
from ansible_collections.homelab.backup.plugins.plugin_utils._catalogue import (
    catalogue_of,
    filter_errors,
)


def nfs_networks(document: Any, host: str) -> list[str]:
    """See DOCUMENTATION."""
    catalogue = catalogue_of(document)
    with filter_errors():
        return derived.nfs_networks(catalogue, host)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"nfs_networks": nfs_networks}
