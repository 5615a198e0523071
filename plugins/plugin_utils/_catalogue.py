# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Between Ansible and the catalogue: plain values in, a filter's error out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.catalogue import parse
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import Catalogue
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import BackupError


def plain(value: Any) -> Any:
    """``value`` without the types that Ansible gives its data (tagged and lazy ones).

    Libraries look at exact types: jmespath takes a subclass of str for no text at all.
    """
    if isinstance(value, Mapping):
        return {plain(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, str):
        return "".join(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return value


@contextlib.contextmanager
def filter_errors() -> Iterator[None]:
    """Turn the core's errors into that of a filter, with their whole text."""
    try:
        yield
    except BackupError as exc:
        raise AnsibleFilterError(str(exc)) from exc


def catalogue_of(document: Any) -> Catalogue:
    """The parsed catalogue.

    Raises:
        AnsibleFilterError: everything that is wrong with it.
    """
    with filter_errors():
        return parse(plain(document))
