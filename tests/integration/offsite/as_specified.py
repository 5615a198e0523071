# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""The offsite copy as the specification wrote it: a counterexample, for tests only.

zfs diff between two snapshots, lines of type F, rclone copy of those names. It must fail the
tests that the runner passes; if it passed them, they would prove nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.integration.offsite.installation import KNOWN_HOSTS
from tests.lab.guest import Guest
from tests.lab.nas import SHARE, Nas

RCLONE = "/root/rclone"
KEY = "/root/.ssh/as-specified"
SCRIPT = r"""
set -eu
data=$1 new=$2 old=$3 target=$4
cd "/mnt/$data/.zfs/snapshot/$new"
if [ -z "$old" ]; then
    exec "$RCLONE" sync . "$target"
fi
zfs diff -F -H "$data@$old" "$data@$new" | awk -F '\t' '$2 == "F" && $1 != "-" {print $NF}' |
    sed "s|^/mnt/$data/||" >/root/changed
exec "$RCLONE" copy --files-from-raw /root/changed --no-traverse . "$target"
"""


class AsSpecified:
    """Copies one dataset; each call copies the state of a new snapshot."""

    def __init__(self, guest: Guest, nas: Nas, dataset: str) -> None:
        self._guest = guest
        self._dataset = dataset
        self._taken: list[str] = []
        self._target = f":sftp:{SHARE}/{dataset.replace('/', '-')}-as-specified"
        self.directory = self._target.partition("sftp:")[2]
        binary = Path(sys.prefix) / "bin" / "rclone"
        guest.put(binary, RCLONE, 0o755)
        guest.put(nas.key("backup"), KEY, 0o600)
        self._env = {
            "RCLONE": RCLONE,
            "RCLONE_SFTP_HOST": nas.address,
            "RCLONE_SFTP_USER": "backup",
            "RCLONE_SFTP_KEY_FILE": KEY,
            "RCLONE_SFTP_KNOWN_HOSTS_FILE": KNOWN_HOSTS,
            "RCLONE_SFTP_SHELL_TYPE": "none",
            "RCLONE_CONFIG": "/dev/null",
        }

    def run(self) -> str:
        """Snapshot and copy; the snapshot's name."""
        new = f"specified-{len(self._taken)}"
        old = self._taken[-1] if self._taken else ""
        self._guest.zfs("snapshot", f"{self._dataset}@{new}")
        argv = ["sh", "-c", SCRIPT, "-", self._dataset, new, old, self._target]
        self._guest.run(argv, env=self._env, check=False)
        self._taken.append(new)
        return new
