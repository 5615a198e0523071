# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: nas_key
author: homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Key that a storage host uses for its NAS
description:
  - Gives the catalogue's reference to the private key, for P(homelab.backup.secret#lookup).
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
- name: Show where it lies
  ansible.builtin.debug:
    msg: "{{ backup_catalogue | homelab.backup.nas_key('truenas') }}"
"""

RETURN = r"""
_value:
  description: The reference; empty when the host generates its own key.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue import nas_copies as derived
from ansible_collections.homelab.backup.plugins.plugin_utils._catalogue import (
    catalogue_of,
    filter_errors,
)


def nas_key(document: Any, host: str) -> dict[str, str]:
    """See DOCUMENTATION."""
    catalogue = catalogue_of(document)
    with filter_errors():
        return derived.nas_key(catalogue, host)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"nas_key": nas_key}
