# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""What ssh(1) said when a connection failed, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple


class Advice(NamedTuple):
    """Words that ssh prints, and the remedy."""

    words: tuple[str, ...]
    remedy: str


# In this order: the first whose words occur wins. The words are those of OpenSSH's
# ssh.c, sshconnect.c, sshconnect2.c, clientloop.c and of the C library.
ADVICE = (
    Advice(
        ("REMOTE HOST IDENTIFICATION HAS CHANGED", "Host key for"),
        "the server shows another key than the pinned one: find out why (a new NAS, a reset, "
        "someone between), compare the fingerprint on the server itself, then pin the new one",
    ),
    Advice(
        ("Host key verification failed", "host key is known for"),
        "the server's key isn't pinned: put the line of 'ssh-keyscan', compared with the "
        "fingerprint shown on the server itself, into the known_hosts file",
    ),
    Advice(
        ("UNPROTECTED PRIVATE KEY FILE", "bad permissions"),
        "make the key file readable by its owner alone (mode 0600)",
    ),
    Advice(
        ("no such identity", "not accessible: No such file", "Load key"),
        "the key file is missing or unreadable: install it on this host",
    ),
    Advice(
        ("Permission denied (", "Too many authentication failures"),
        "the server refused the key: put its public half into authorized_keys of that user; "
        "sshd wants the home directory and .ssh writable by their owner alone",
    ),
    Advice(
        ("subsystem request failed",),
        "the server has no SFTP subsystem: switch its SFTP service on "
        "(sshd_config: 'Subsystem sftp internal-sftp')",
    ),
    Advice(
        ("Could not resolve hostname",),
        "correct the host name, or give an address",
    ),
    Advice(
        ("Connection refused",),
        "nothing listens there: start the SFTP service, or correct the port",
    ),
    Advice(
        ("No route to host", "Network is unreachable", "Connection timed out", "not responding"),
        "switch the destination on, or look at cable, route and firewall",
    ),
    Advice(
        ("kex_exchange_identification", "Connection reset", "Connection closed by"),
        "the server hung up: look at its log and at its list of blocked addresses "
        "(Synology: Control Panel, Security, Auto Block)",
    ),
    Advice(
        ("no matching host key type", "no matching key exchange", "no matching cipher"),
        "server and ssh have no algorithm in common: update the older of the two",
    ),
)

OTHER = "look at the server's log, then run again: a run continues where this one ended"


def last_words(stderr: bytes) -> str:
    """What ssh printed, on one line, without its frame of ``@`` and duplicate lines."""
    lines: list[str] = []
    for line in stderr.decode("utf-8", errors="replace").splitlines():
        words = " ".join(line.strip("@\r ").split())
        if words and words not in lines:
            lines.append(words)
    return " | ".join(lines)


def remedy_for(said: str) -> str:
    """What to do about ``said``, which is what :func:`last_words` gives."""
    for advice in ADVICE:
        if any(words in said for words in advice.words):
            return advice.remedy
    return OTHER


def describe_end(stderr: bytes, status: int | None) -> tuple[str, str]:
    """How a connection ended: what was found, and the remedy.

    Args:
        stderr: all that ssh printed there.
        status: its exit status; negative for a signal, None when it still ran.
    """
    said = last_words(stderr)
    if status is None:
        ending = "the connection was closed by the other side"
    elif status < 0:
        ending = f"the transport's program was killed by signal {-status}"
    else:
        ending = f"the transport's program ended with status {status}"
    return (f"{said} ({ending})" if said else ending), remedy_for(said)
