# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: catalogue_check
author: homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Check the whole catalogue
description:
  - Reads the catalogue and fails with every error in it at once, each with its key and the
    remedy.
options:
  _input:
    description: The catalogue, normally C(backup_catalogue).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Stop before anything is done when the catalogue has errors
  ansible.builtin.assert:
    that: backup_catalogue | homelab.backup.catalogue_check
"""

RETURN = r"""
_value:
  description: V(true). A catalogue with errors fails the task.
  type: bool
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.homelab.backup.plugins.plugin_utils._catalogue import catalogue_of


def catalogue_check(document: Any) -> bool:
    """See DOCUMENTATION."""
    catalogue_of(document)
    return True


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"catalogue_check": catalogue_check}
