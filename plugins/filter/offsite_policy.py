# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: offsite_policy
author: homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Offsite policy of a storage host
description:
  - Derives the document C(homelab.backup.offsite-policy/1) from the catalogue, with one job
    for each pool that is copied.
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
- name: Show the policy
  ansible.builtin.debug:
    msg: "{{ backup_catalogue | homelab.backup.offsite_policy('truenas') }}"
"""

RETURN = r"""
_value:
  description: The policy document; its shape is in docs/catalogue.md.
  type: dict
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


def offsite_policy(document: Any, host: str) -> Any:
    """See DOCUMENTATION."""
    catalogue = catalogue_of(document)
    with filter_errors():
        return derived.offsite_policy(catalogue, host)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"offsite_policy": offsite_policy}
