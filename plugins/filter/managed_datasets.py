# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: managed_datasets
author: homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Datasets that the roles make on a storage host
description:
  - Derives from the catalogue the directories of application backups on a storage host and the
    datasets that its pools name.
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
- name: Show the datasets
  ansible.builtin.debug:
    msg: "{{ backup_catalogue | homelab.backup.managed_datasets('truenas') }}"
"""

RETURN = r"""
_value:
  description:
    - One mapping for each dataset, with C(dataset), C(path), C(properties), C(nfs), C(service),
      C(uid) and C(gid).
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue import (
    managed_datasets as derived,
)
from ansible_collections.homelab.backup.plugins.plugin_utils._catalogue import (
    catalogue_of,
    filter_errors,
)


def managed_datasets(document: Any, host: str) -> Any:
    """See DOCUMENTATION."""
    catalogue = catalogue_of(document)
    with filter_errors():
        return derived.managed_datasets(catalogue, host)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"managed_datasets": managed_datasets}
