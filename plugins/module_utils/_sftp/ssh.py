# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""The ssh(1) command line that reaches a server's SFTP subsystem."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SshTarget:
    """An account on a server, and how it is trusted.

    Args:
        host: name or address.
        user: the account.
        key_file: private key, without a passphrase.
        known_hosts_file: holds the server's pinned key, and nothing else is trusted.
        port: of the SSH service.
        connect_timeout: seconds to establish the connection.
        alive_interval: seconds of silence after which ssh asks whether the server is there.
        alive_count: unanswered questions after which the connection counts as lost.
        program: ssh's path.
    """

    host: str
    user: str
    key_file: str
    known_hosts_file: str
    port: int = 22
    connect_timeout: int = 30
    alive_interval: int = 15
    alive_count: int = 4
    program: str = "ssh"

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


def ssh_argv(target: SshTarget) -> list[str]:
    """The command line for ``target``; sources: ssh(1), ssh_config(5).

    No configuration file is read (``-F none``), so that neither root's nor the
    system's settings change what is trusted, and no agent, password, forwarding
    or shared connection is used.
    """
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": quoted(target.known_hosts_file),
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        # Not "-i": of a missing file ssh then only warns, and tries the user's default keys.
        "IdentityFile": quoted(target.key_file),
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ConnectTimeout": str(target.connect_timeout),
        "ServerAliveInterval": str(target.alive_interval),
        "ServerAliveCountMax": str(target.alive_count),
        "ControlMaster": "no",
        "ControlPath": "none",
        "ClearAllForwardings": "yes",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "PermitLocalCommand": "no",
        "Compression": "no",
        # Cheaper than ssh's first choice where the processor has AES, as both ends mostly do.
        "Ciphers": "^aes128-gcm@openssh.com",
        "LogLevel": "INFO",
    }
    argv = [target.program, "-F", "none", "-T"]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    argv += ["-p", str(target.port), "-l", target.user]
    return [*argv, "-s", "--", target.host, "sftp"]


def quoted(path: str) -> str:
    """A file name as the value of an option: one word, and its percent signs no tokens."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
