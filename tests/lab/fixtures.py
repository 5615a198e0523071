# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of pytest: the lab, its guest and its NAS.

Import ``lab``, ``guest``, ``nas`` and ``pristine`` in a ``conftest.py``. A module that says
``pytestmark = pytest.mark.usefixtures("pristine")`` starts on empty pools and an empty NAS.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .guest import Guest
from .instance import Lab
from .nas import Nas
from .settings import load


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The instance that HOMELAB_LAB names, brought up (and built, with its progress shown)."""
    instance = Lab(load())
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        instance.up()
    yield instance
    instance.guest.close()


@pytest.fixture(scope="session")
def guest(lab: Lab) -> Guest:
    """The storage host ``truenas``."""
    return lab.guest


@pytest.fixture(scope="session")
def nas(lab: Lab) -> Nas:
    """The NAS."""
    return lab.nas


@pytest.fixture(scope="module")
def pristine(lab: Lab) -> float:
    """Guest and NAS as they were first made, once for each module; the seconds it took."""
    return lab.reset()
