# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that stand in a catalogue themselves, where a reference belongs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import Problems
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.secrecy import (
    is_secret_form,
)

REMEDY = (
    "take it out of the file, change it where it is used, and refer to it: "
    "{vault: <path>, key: <field>}, {kubernetes_secret: <name>, key: <field>} or {file: <path>}"
)

# Keys whose value, when it is text, can only be the secret itself.
SECRET_KEYS = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|token|secret|private_?key|api_?key|secret_?key|"
    r"unseal_?keys?)$",
    re.IGNORECASE,
)
# A reference's own key has the Secret's name.
REFERENCE_KEYS = frozenset({"kubernetes_secret"})


def _inline(value: object, path: str, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            below = f"{path}.{name}" if path else str(name)
            yield from _inline(inner, below, str(name))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _inline(inner, f"{path}[{index}]", key)
    elif isinstance(value, str):
        if is_secret_form(value):
            yield path, "a secret stands in the catalogue"
        elif value and key not in REFERENCE_KEYS and SECRET_KEYS.search(key):
            yield path, f"{key!r} holds text, which would be the secret itself"


def refuse_inline_secrets(document: object, problems: Problems) -> None:
    """Settle each path of ``document`` at which a secret itself stands."""
    for path, found in _inline(document, "", ""):
        problems.settle(path, found, REMEDY)
