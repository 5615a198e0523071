# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Stands in for ``rclone rcat :sftp:PATH --size N``: writes its input to PATH on this machine.

Words in the target's name make it fail as the real one does: ``full``,
``short`` (stores less than it says), ``deaf`` (ends without reading), ``killed``,
``slow``.
"""

from __future__ import annotations

import os
import signal
import sys
import time


def main(arguments: list[str]) -> int:
    if arguments[0] != "rcat" or "RCLONE_TRANSFERS" in os.environ:
        return 2
    path = arguments[1].removeprefix(":sftp:")
    size = int(arguments[arguments.index("--size") + 1])
    if "deaf" in path:
        sys.stderr.write("2026/11/23 CRITICAL: dial tcp: connection refused\n")
        return 1
    content = sys.stdin.buffer.read()
    if "slow" in path:
        time.sleep(60)
    if "killed" in path:
        os.kill(os.getpid(), signal.SIGKILL)
    if "full" in path:
        sys.stderr.write('Update ReadFrom failed: sftp: "Failure" (SSH_FX_FAILURE)\n')
        return 1
    with open(path, "wb") as handle:
        handle.write(content[: len(content) // 2] if "short" in path else content)
    if len(content) != size:
        sys.stderr.write("corrupted on transfer: sizes differ\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
