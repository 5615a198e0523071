# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: protection_matrix
author: homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Protection matrix of the estate
description:
  - Derives from the catalogue which layer protects which service.
options:
  _input:
    description: The catalogue, normally C(backup_catalogue).
    type: dict
    required: true
  markdown:
    description: Return a Markdown table instead of rows.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Write the matrix
  ansible.builtin.copy:
    content: "{{ backup_catalogue | homelab.backup.protection_matrix(markdown=true) }}"
    dest: protection.md
    mode: "0644"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description:
    - Rows with C(name), C(group), C(service), C(snapshots), C(app), C(offsite), C(storage).
    - The table's text when O(markdown=true).
  type: raw
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue import (
    protection_matrix as derived,
)
from ansible_collections.homelab.backup.plugins.plugin_utils._catalogue import catalogue_of


def protection_matrix(document: Any, markdown: bool = False) -> Any:
    """See DOCUMENTATION."""
    rows = derived.protection_matrix(catalogue_of(document))
    return derived.as_markdown(rows) if markdown else [dataclasses.asdict(row) for row in rows]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"protection_matrix": protection_matrix}
