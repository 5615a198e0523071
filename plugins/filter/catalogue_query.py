# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: catalogue_query
author: homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: Query data with JMESPath
description:
  - Queries the catalogue, or any result, with a JMESPath expression.
  - Needs the Python package C(jmespath) on the controller.
options:
  _input:
    description: Mappings and lists.
    type: raw
    required: true
  expression:
    description: The JMESPath expression, see U(https://jmespath.org/specification.html).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the services on iSCSI volumes
  ansible.builtin.debug:
    msg: >-
      {{ backup_catalogue.services | dict2items
         | homelab.backup.catalogue_query("[?value.storage=='iscsi'].key") }}
"""

RETURN = r"""
_value:
  description: What the expression selects; V(none) when nothing.
  type: raw
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.backup.plugins.plugin_utils._catalogue import plain

try:
    import jmespath
    from jmespath.exceptions import JMESPathError
except ImportError as exc:
    MISSING: ImportError | None = exc
else:
    MISSING = None


def catalogue_query(data: Any, expression: str) -> Any:
    """See DOCUMENTATION."""
    if MISSING is not None:
        raise AnsibleFilterError(
            "the Python package jmespath is missing on the controller -> install it where "
            "ansible-playbook runs: pip install jmespath"
        ) from MISSING
    try:
        return jmespath.search(plain(expression), plain(data))
    except (JMESPathError, ValueError) as exc:
        raise AnsibleFilterError(
            f"could not query with {expression!r}: {exc} -> see jmespath.org for the syntax"
        ) from exc


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"catalogue_query": catalogue_query}
