# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: services_by_dataset
author: homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Services whose data lie in a dataset
description:
  - Derives from the catalogue which services have live data or sets in which dataset or volume.
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
- name: Show who is in which dataset
  ansible.builtin.debug:
    msg: "{{ backup_catalogue | homelab.backup.services_by_dataset('truenas') }}"
"""

RETURN = r"""
_value:
  description: Dataset to the names of services, sorted.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue import (
    services_by_dataset as derived,
)
from ansible_collections.homelab.backup.plugins.plugin_utils._catalogue import (
    catalogue_of,
    filter_errors,
)


def services_by_dataset(document: Any, host: str) -> Any:
    """See DOCUMENTATION."""
    catalogue = catalogue_of(document)
    with filter_errors():
        return derived.services_by_dataset(catalogue, host)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"services_by_dataset": services_by_dataset}
