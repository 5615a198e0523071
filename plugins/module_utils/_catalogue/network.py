# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses, endpoints and host keys of a catalogue."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import InvalidError
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.secrecy import shown
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.values import text

HOST_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
HOST_KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)


def address(value: object) -> str:
    """An IP address or a host name (RFC 1123 section 2.1)."""
    name = text(value)
    remedy = "write an IP address or a host name, without port and user"
    if re.fullmatch(r"[0-9.]+", name) or ":" in name:
        try:
            return str(ipaddress.ip_address(name))
        except ValueError as exc:
            raise InvalidError(f"{shown(name)} is not an IP address", remedy) from exc
    if len(name) > 253 or not all(HOST_LABEL.fullmatch(part) for part in name.split(".")):
        raise InvalidError(f"{shown(name)} is not a host name", remedy)
    return name


def network(value: object) -> str:
    """An address or network in CIDR form, normalised (``10.0.10.0/24``, ``10.0.10.5/32``)."""
    try:
        return str(ipaddress.ip_network(text(value)))
    except ValueError as exc:
        raise InvalidError(
            f"{shown(value)} is not a network: {exc}", "write it as 10.0.10.0/24 or 10.0.10.5"
        ) from exc


def endpoint(value: object) -> str:
    """Where a service listens: ``host:port`` or an http(s) URL."""
    content = text(value)
    if re.match(r"https?://", content):
        host_port, dummy, dummy_rest = content.partition("://")[2].partition("/")
        host, colon, port = host_port.rpartition(":")
        if not colon:
            address(host_port)
            return content
    else:
        host, colon, port = content.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise InvalidError(
            f"{shown(content)} is not an endpoint", "write host:port, or http://host:port"
        )
    address(host.strip("[]"))
    return content


def host_key(value: object) -> str:
    """A public SSH host key, ``type base64``; a comment behind it is dropped.

    The type is repeated inside the key (RFC 4253 section 6.6) and has to agree,
    so that a line cut or pasted wrongly is found before it is pinned.
    """
    content = text(value)
    remedy = "paste 'type key' as 'ssh-keyscan -t ed25519 <address>' prints it, without the address"
    kind, dummy, rest = content.partition(" ")
    if kind not in HOST_KEY_TYPES:
        raise InvalidError("it doesn't begin with a host key's type", remedy)
    body = rest.split()[0] if rest.split() else ""
    try:
        blob = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidError("the key is not base64", remedy) from exc
    fields = _ssh_strings(blob)
    if len(fields) < 2 or fields[0] != kind.encode("ascii"):
        raise InvalidError(f"the key is cut, or not of type {kind}", remedy)
    return f"{kind} {body}"


def _ssh_strings(blob: bytes) -> list[bytes]:
    """The strings that make up ``blob`` (RFC 4251 section 5); none when the last one is cut."""
    fields = []
    while blob:
        length = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + length:
            return []
        fields.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return fields
