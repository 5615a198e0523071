# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: nas_copies
author: homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Directories that a NAS has to have
description:
  - Derives from all storage hosts which directories a NAS receives copies in.
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
- name: Show it
  ansible.builtin.debug:
    msg: "{{ backup_catalogue | homelab.backup.nas_copies('synology') }}"
"""

RETURN = r"""
_value:
  description: C(directories) and C(free_space_reserve_bytes).
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue import (
    nas_copies as derived,
)
from ansible_collections.homelab.backup.plugins.plugin_utils._catalogue import (
    catalogue_of,
    filter_errors,
)


def nas_copies(document: Any, nas: str) -> Any:
    """See DOCUMENTATION."""
    catalogue = catalogue_of(document)
    with filter_errors():
        return derived.nas_copies(catalogue, nas)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"nas_copies": nas_copies}
