# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network namespace of an instance: one bridge to the guest, the NAS' addresses on lo.

Nothing is routed to the outside: the namespace has no other interface.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import LabError
from .processes import run
from .settings import CONTROLLER, NAS, NAS_FAR, STORAGE

BRIDGE = "br-lab"
TAP = "tap-truenas"
_BRIDGE_MAC = "52:54:00:0a:0a:01"
"""The same in every instance: a saved state remembers its neighbour's address."""
_CLONE_NEWNET = 0x40000000


def exists(namespace: str) -> bool:
    return Path("/run/netns", namespace).exists()


def create(namespace: str) -> None:
    """Make the namespace; what is there of an interrupted attempt is removed first."""
    remove(namespace)
    run(["ip", "netns", "add", namespace])
    for line in (
        "link set lo up",
        f"link add {BRIDGE} address {_BRIDGE_MAC} type bridge forward_delay 0",
        f"addr add {CONTROLLER}/24 dev {BRIDGE}",
        f"tuntap add {TAP} mode tap",
        f"link set {TAP} master {BRIDGE}",
        f"link set {TAP} up",
        f"link set {BRIDGE} up",
        f"addr add {NAS}/32 dev lo",
        f"addr add {NAS_FAR}/32 dev lo",
    ):
        run(["ip", "-n", namespace, *line.split()])


def remove(namespace: str) -> None:
    if exists(namespace):
        run(["ip", "netns", "delete", namespace])


def inside(namespace: str, argv: Sequence[str]) -> list[str]:
    """The command, run in the namespace."""
    return ["nsenter", f"--net=/run/netns/{namespace}", "--", *argv]


@contextmanager
def entered(namespace: str) -> Iterator[None]:
    """Put the calling thread into the namespace; sockets opened here belong to it for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(libc, other)
        finally:
            os.close(other)
        try:
            yield
        finally:
            _setns(libc, own)
    finally:
        os.close(own)


def _setns(libc: ctypes.CDLL, descriptor: int) -> None:
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise LabError(f"can't enter the network namespace: {os.strerror(code)}; root is needed")


def cut(namespace: str) -> None:
    """Drop every packet between the guest and the NAS (both addresses), both ways."""
    for address in (NAS, NAS_FAR):
        run(["ip", "-n", namespace, "rule", "add", "from", address, "to", STORAGE, "blackhole"])


def mend(namespace: str) -> None:
    """Undo `cut`; does nothing if the link is whole."""
    rules = run(["ip", "-n", namespace, "rule", "list"])
    for line in rules.splitlines():
        if "blackhole" in line:
            run(["ip", "-n", namespace, "rule", "delete", "priority", line.split(":")[0]])
