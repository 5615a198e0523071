# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: secret
author: homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: What a reference of the catalogue refers to
description:
  - Reads secrets on the controller that the catalogue refers to with C({vault, key}) or C({file}).
  - A reference to a Kubernetes Secret is for pods and can't be read here.
  - Vault, or OpenBao, is found and opened as its command line does, with E(VAULT_ADDR),
    E(VAULT_TOKEN) or C(~/.vault-token), E(VAULT_NAMESPACE) and E(VAULT_CACERT). Both versions of
    its KV engine are read.
options:
  _terms:
    description: References. An empty one gives empty text.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Give the key to a role
  ansible.builtin.include_role:
    name: homelab.backup.truenas
  vars:
    truenas_key: "{{ lookup('homelab.backup.secret', {'vault': 'secret/me', 'key': 'nas_key'}) }}"
"""

RETURN = r"""
_raw:
  description: The secrets, as text.
  type: list
  elements: str
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import SecretRef
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import Problems
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape_common import secret
from ansible_collections.homelab.backup.plugins.plugin_utils._catalogue import plain
from ansible_collections.homelab.backup.plugins.plugin_utils._secrets import (
    SecretError,
    read_secret,
)


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[str]:
        """Read each reference."""
        return [self._read(plain(term)) if term else "" for term in terms]

    def _read(self, reference: Mapping[str, Any]) -> str:
        problems = Problems()
        found = secret(reference, "the reference", problems)
        if not isinstance(found, SecretRef):
            raise AnsibleLookupError("\n".join(str(problem) for problem in problems.found))
        try:
            return read_secret(found)
        except SecretError as exc:
            raise AnsibleLookupError(str(exc)) from exc
