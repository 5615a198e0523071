# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets that the catalogue refers to, read on the controller."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from ansible.module_utils.urls import open_url

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import SecretRef
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError

TIMEOUT = 30


class SecretError(ConfigError):
    """A secret that can't be read. Never holds the secret."""


def read_secret(reference: SecretRef) -> str:
    """What ``reference`` refers to.

    Raises:
        SecretError: it can't be read here; with the remedy.
    """
    match reference.kind:
        case "file":
            return _file(reference.location)
        case "vault":
            return _vault(reference.location, reference.key)
        case dummy:
            raise SecretError(
                "read the secret",
                on=f"Kubernetes Secret {reference.location}",
                found="only pods of its namespace read it",
                remedy="refer to it by {vault: <path>, key: <field>} or {file: <path>}",
            )


def _file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SecretError(
            "read the secret",
            on=f"file {path} on the controller",
            found=getattr(exc, "strerror", "") or "it is not text",
            remedy="put it there, or correct the path in the catalogue",
        ) from exc


def _vault(path: str, key: str) -> str:
    """A field of a KV secret, found as ``vault kv get`` does.

    The mount and its version are asked of ``sys/internal/ui/mounts``; version 2
    has ``data/`` behind the mount, and the fields one level deeper.
    """
    mount = _get(f"sys/internal/ui/mounts/{path}", path)
    prefix = str(mount.get("path", ""))
    options = mount.get("options")
    inner = path.removeprefix(prefix.rstrip("/")).lstrip("/")
    if isinstance(options, Mapping) and options.get("version") == "2":
        fields = _get(f"{prefix}data/{inner}", path).get("data")
    else:
        fields = _get(f"{prefix}{inner}", path)
    if not isinstance(fields, Mapping) or key not in fields:
        known = ", ".join(sorted(fields)) if isinstance(fields, Mapping) else ""
        raise SecretError(
            "read the secret",
            on=f"{path} in Vault",
            found=f"it has no field {key!r}" + (f", but: {known}" if known else ""),
            remedy="correct 'key' in the catalogue",
        )
    return str(fields[key])


def _get(api_path: str, path: str) -> Mapping[str, Any]:
    """The ``data`` of Vault's answer."""
    address = os.environ.get("VAULT_ADDR", "").rstrip("/")
    if not address:
        raise SecretError(
            "read the secret",
            on=f"{path} in Vault",
            found="VAULT_ADDR is not set",
            remedy="set it as for the vault command line",
        )
    try:
        answer = open_url(
            f"{address}/v1/{api_path}",
            headers=_headers(path),
            timeout=TIMEOUT,
            ca_path=os.environ.get("VAULT_CACERT") or None,
        )
        data = json.loads(answer.read())["data"]
    except HTTPError as exc:
        raise _refused(path, exc.code) from exc
    except (URLError, OSError) as exc:
        raise SecretError(
            "reach Vault",
            on=address,
            found=str(getattr(exc, "reason", exc)),
            remedy="check VAULT_ADDR and VAULT_CACERT, and that it runs and is unsealed",
        ) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise SecretError(
            "read the secret",
            on=f"{path} in Vault",
            found="the answer is not one of Vault's",
            remedy="check VAULT_ADDR",
        ) from exc
    return data if isinstance(data, Mapping) else {}


def _headers(path: str) -> dict[str, str]:
    """The headers of a request; the token as the command line finds it."""
    file = Path.home() / ".vault-token"
    token = os.environ.get("VAULT_TOKEN") or (file.read_text().strip() if file.is_file() else "")
    if not token:
        raise SecretError(
            "read the secret",
            on=f"{path} in Vault",
            found="there is no token",
            remedy="set VAULT_TOKEN, or log in with 'vault login'",
        )
    namespace = os.environ.get("VAULT_NAMESPACE", "")
    headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
    return headers | ({"X-Vault-Namespace": namespace} if namespace else {})


def _refused(path: str, status: int) -> SecretError:
    words = {
        403: ("permission denied", "use a token whose policy may read this path"),
        404: ("there is no such secret", "correct 'vault' in the catalogue, or write the secret"),
        503: ("Vault is sealed or in maintenance", "unseal it"),
    }
    found, remedy = words.get(status, (f"it answered with status {status}", "see Vault's log"))
    return SecretError("read the secret", on=f"{path} in Vault", found=found, remedy=remedy)
