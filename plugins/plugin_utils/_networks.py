# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may reach what, derived from the catalogue with netaddr. On the controller only."""

from __future__ import annotations

from collections.abc import Iterable

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.check_offsite import (
    copied_pools,
    nas_name,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.lookups import (
    entry,
    storage_host,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import Catalogue

try:
    import netaddr
except ImportError as exc:
    MISSING: ImportError | None = exc
else:
    MISSING = None


def networks(entries: Iterable[tuple[str, str]]) -> list[str]:
    """Addresses and networks as the fewest networks that hold the same addresses.

    Args:
        entries: pairs of the catalogue's key and an address or network.

    Returns:
        sorted, IPv4 before IPv6; single addresses without a prefix length.

    Raises:
        AnsibleFilterError: netaddr is missing, or entries that can't be allowed, all of them.
    """
    if MISSING is not None:
        raise AnsibleFilterError(
            "the Python package netaddr is missing on the controller -> install it where "
            "ansible-playbook runs: pip install netaddr"
        ) from MISSING
    found, problems = [], []
    for path, text in entries:
        try:
            network = netaddr.IPNetwork(text)
        except (netaddr.AddrFormatError, ValueError):
            problems.append(f"{path}: {text!r} is not an IP address -> allow-lists need addresses")
            continue
        problem = _unusable(network)
        if problem:
            problems.append(f"{path}: {text!r} {problem}")
        found.append(network)
    if problems:
        raise AnsibleFilterError("\n  ".join(["no allow-list can be made:", *problems]))
    return [_short(network) for network in netaddr.cidr_merge(found)]


def _short(network: netaddr.IPNetwork) -> str:
    return str(network.ip) if network.size == 1 else str(network)


def _unusable(network: netaddr.IPNetwork) -> str:
    """Why an entry must not be in an allow-list; "" when it may."""
    if network.prefixlen == 0:
        return "is the whole internet -> name the networks that are yours"
    if network.ip.is_multicast() or network.ip.is_loopback() or int(network.ip) == 0:
        return "is no address that another machine has -> correct it"
    return ""


def nfs_networks(catalogue: Catalogue, host: str) -> list[str]:
    """Who may mount the backup directories of ``host``: its ``nfs_networks``, or else the nodes.

    Raises:
        ConfigError: no such storage host.
        AnsibleFilterError: see :func:`networks`.
    """
    found = storage_host(catalogue, host)
    if found.nfs_networks:
        path = f"storage.{host}.nfs_networks"
        return networks((f"{path}[{index}]", text) for index, text in enumerate(found.nfs_networks))
    nodes = catalogue.cluster.nodes.values() if catalogue.cluster else ()
    return networks((f"cluster.nodes.{node.name}.address", node.address) for node in nodes)


def nas_clients(catalogue: Catalogue, nas: str) -> list[str]:
    """From where the run's key may be used at ``nas``: the storage hosts that copy to it.

    For ``from="…"`` of authorized_keys. sshd(8) matches host names there only
    when it may look them up, so addresses are needed.

    Raises:
        ConfigError: no such NAS.
        AnsibleFilterError: see :func:`networks`.
    """
    entry(catalogue.nas, "nas", nas)
    hosts = {
        host.name: host.address
        for host, pool in copied_pools(catalogue)
        if nas_name(catalogue, pool) == nas
    }
    return networks((f"storage.{name}.address", address) for name, address in hosts.items())
