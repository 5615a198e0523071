# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ProxyCommand of the lab's ssh_config: connects inside the namespace, hands ssh the socket.

ssh(1) then talks on the connection itself (ssh_config(5), ProxyUseFdpass), so Ansible and ssh
work from outside the namespace at no cost.
"""

from __future__ import annotations

import socket
import sys

from .network import entered


def main(namespace: str, host: str, port: str) -> None:
    """Connect and pass the descriptor over standard output, which is a socket here."""
    with entered(namespace):
        connection = socket.create_connection((host, int(port)), timeout=30)
    connection.setblocking(True)
    with connection, socket.socket(fileno=1) as channel:
        socket.send_fds(channel, [b"\0"], [connection.fileno()])


if __name__ == "__main__":
    main(*sys.argv[1:])
