# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that stand in a catalogue by mistake: found, refused, never repeated.

A catalogue names where a secret lies (:class:`~.model.SecretRef`). What looks
like a secret itself is refused by its place only, because error messages end in
logs and chat windows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import Problems

HIDDEN = "(not shown: it may be a secret)"
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
# Forms that are secrets whatever the key is called.
SECRET_FORMS = (
    re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"),
    re.compile(r"\$ANSIBLE_VAULT;"),
    re.compile(r"\b(?:hvs|hvb|hvr)\.[A-Za-z0-9_-]{20,}"),  # Vault tokens
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}"),  # forge tokens
    re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),  # Slack
    re.compile(r"\bAKIA[A-Z0-9]{16}\b"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"),  # JWT
    re.compile(r"^\d{1,6}-[A-Za-z0-9]{64}$"),  # TrueNAS API key
    re.compile(r"://[^/\s:@]+:[^/\s@]+@"),  # a URL with a password
)
# A run of letters and digits that nobody types: too long and too mixed for a name.
DENSE = re.compile(r"[A-Za-z0-9+/=_-]{24,}")


def is_secret_form(text: str) -> bool:
    """True when ``text`` holds something that is a secret by its form."""
    return any(form.search(text) for form in SECRET_FORMS)


def may_be_secret(text: str) -> bool:
    """True when ``text`` is better not repeated: a secret's form, or a long random word."""
    if is_secret_form(text):
        return True
    return any(
        any(char.isdigit() for char in word)
        and any(char.islower() for char in word)
        and any(char.isupper() for char in word)
        for word in DENSE.findall(text)
    )


def shown(value: object) -> str:
    """``value`` for an error message, on one line and cut; hidden when it may be a secret."""
    text = repr(value)
    if may_be_secret(text):
        return HIDDEN
    return text if len(text) <= 80 else f"{text[:77]}..."


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
