# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shapes that several sections use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Exclude,
    SecretRef,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    InvalidError,
    Problems,
    nearest,
    one_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.secrecy import HIDDEN
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape import (
    Key,
    Mark,
    Shape,
    join,
    list_of,
    scalar,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.values import (
    absolute_path,
    subdomain,
    text,
    vault_path,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._filter.patterns import (
    compile_patterns,
)

SECRET_REMEDY = (
    "write {vault: <path>, key: <field>}, {kubernetes_secret: <name>, key: <field>} "
    "or {file: <path>}"
)


def pattern(value: object) -> str:
    """An exclude pattern in rclone's syntax, or :class:`InvalidError`."""
    content = text(value)
    try:
        compile_patterns([content])
    except ConfigError as exc:
        raise InvalidError(f"{exc.found}", exc.remedy) from exc
    return content


def _vault(vault: str, key: str) -> SecretRef:
    return SecretRef("vault", vault, key)


def _kubernetes(kubernetes_secret: str, key: str) -> SecretRef:
    return SecretRef("kubernetes_secret", kubernetes_secret, key)


def _file(file: str) -> SecretRef:
    return SecretRef("file", file)


FIELD = Key("key", scalar(text), "the field in it")
SECRETS = {
    "vault": Shape(
        "Reference to a secret in Vault",
        _vault,
        (Key("vault", scalar(vault_path), "the path in Vault or OpenBao"), FIELD),
    ),
    "kubernetes_secret": Shape(
        "Reference to a Kubernetes Secret",
        _kubernetes,
        (
            Key("kubernetes_secret", scalar(subdomain), "the Secret's name, in the namespace"),
            FIELD,
        ),
    ),
    "file": Shape(
        "Reference to a file",
        _file,
        (Key("file", scalar(absolute_path), "the file, on the machine that uses it"),),
    ),
}


def secret(value: object, path: str, problems: Problems) -> Any:
    """A reference to a secret. What stands there instead is never repeated."""
    if not isinstance(value, Mapping):
        problems.add(path, f"it is not a reference {HIDDEN}", SECRET_REMEDY)
        return Mark.BAD
    kinds = [kind for kind in SECRETS if kind in value]
    if len(kinds) != 1:
        found = "it names several places" if kinds else "it doesn't say where the secret lies"
        unknown = [str(key) for key in value if key not in (*SECRETS, "key")]
        meant = nearest(unknown[0], SECRETS) if unknown and not kinds else ""
        if unknown and not kinds:
            problems.add(join(path, unknown[0]), "unknown key", one_of(tuple(SECRETS), meant))
        else:
            problems.add(path, found, SECRET_REMEDY)
        return Mark.BAD
    return SECRETS[kinds[0]](value, path, problems)


EXCLUDE = Shape(
    "Exclude",
    Exclude,
    (
        Key("pattern", scalar(pattern), "what is left out, in rclone's filter syntax"),
        Key("reason", scalar(text), "why it can be lost"),
        Key("note", scalar(text), "what else is worth knowing, such as a count", default=""),
    ),
)


def excludes(value: object, path: str, problems: Problems) -> Any:
    """A list of excludes in which no pattern stands twice."""
    found = list_of(EXCLUDE)(value, path, problems)
    if found is Mark.BAD:
        return found
    patterns = [exclude.pattern for exclude in found]
    for index, name in enumerate(patterns):
        if name in patterns[:index]:
            problems.add(
                f"{path}[{index}].pattern", f"{name!r} stands in the list twice", "remove one"
            )
    return found
