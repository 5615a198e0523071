# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: nas_clients
author: homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Addresses from which the offsite copy comes
description:
  - Derives for C(from=) of an authorized key which storage hosts copy to a NAS.
  - Needs the Python package C(netaddr) on the controller.
options:
  _input:
    description: The catalogue, normally C(backup_catalogue).
    type: dict
    required: true
  nas:
    description: The NAS, by its name in the catalogue.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the options of the key's line
  ansible.builtin.debug:
    msg: >-
      restrict,from="{{ backup_catalogue | homelab.backup.nas_clients('synology') | join(',') }}"
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


def nas_clients(document: Any, nas: str) -> list[str]:
    """See DOCUMENTATION."""
    catalogue = catalogue_of(document)
    with filter_errors():
        return derived.nas_clients(catalogue, nas)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"nas_clients": nas_clients}
