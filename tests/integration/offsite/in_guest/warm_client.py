# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Runs in the guest: asks the warm runner for a run and ends as that did.

Arguments: JSON of ``env``, then the runner's command line from its program on. A runner that
was killed gives 128 plus the signal.
"""

import json
import os
import socket
import sys

environment = {"PATH": os.environ["PATH"], "HOME": "/root", "LANG": "C.UTF-8"}
environment.update(json.loads(sys.argv[1]))
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
    connection.connect("/run/offsite-warm.sock")
    request = json.dumps({"argv": sys.argv[2:], "env": environment}).encode()
    socket.send_fds(connection, [request], [0, 1, 2])
    with connection.makefile("rb") as answers:
        pid = int(answers.readline())
        status = int(answers.readline() or b"255")
raise SystemExit(status if status >= 0 else 128 - status)
