# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that stand in a catalogue by mistake: found, refused, never repeated.

A catalogue names where a secret lies (:class:`~.model.SecretRef`). What looks
like a secret itself is refused by its place only, because error messages end in
logs and chat windows.
"""

from __future__ import annotations

import re

HIDDEN = "(not shown: it may be a secret)"

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
    return is_secret_form(text) or any(map(_is_random, DENSE.findall(text)))


def _is_random(word: str) -> bool:
    return all(any(map(test, word)) for test in (str.isdigit, str.islower, str.isupper))


def masked(text: str) -> str:
    """``text`` without what may be a secret."""
    if is_secret_form(text):
        return HIDDEN
    return DENSE.sub(lambda word: HIDDEN if _is_random(word[0]) else word[0], text)


def shown(value: object) -> str:
    """``value`` for an error message, on one line and cut; hidden when it may be a secret."""
    text = repr(value)
    if may_be_secret(text):
        return HIDDEN
    return text if len(text) <= 80 else f"{text[:77]}..."
