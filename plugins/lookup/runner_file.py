# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: runner_file
author:
  - homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: The backup runner as a file on the controller
description:
  - Builds C(homelab-backup.pyz) from the collection and returns its path. The same collection
    always gives the same file.
options: {}
"""

EXAMPLES = r"""
- name: Install the runner
  ansible.builtin.copy:
    src: "{{ lookup('homelab.backup.runner_file') }}"
    dest: /mnt/main/homelab-backup/bin/homelab-backup.pyz
    mode: "0755"
"""

RETURN = r"""
_raw:
  description: The path of the file; it is removed when the play ends.
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.lookup import LookupBase

from ansible_collections.homelab.backup.plugins.module_utils._core.files import write_atomically
from ansible_collections.homelab.backup.plugins.module_utils._runner.zipapp import (
    build,
    own_directory,
)


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[str]:
        """Build the file and give its path."""
        # Ansible defines its settings at run time; this directory goes with the play.
        path = Path(vars(constants)["DEFAULT_LOCAL_TMP"]) / "homelab-backup.pyz"
        write_atomically(path, build(own_directory()), mode=0o755)
        return [str(path)]
