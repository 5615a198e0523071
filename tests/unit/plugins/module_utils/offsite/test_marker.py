# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

from __future__ import annotations

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    DestinationError,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.marker import (
    Marker,
    parse_marker,
    run_time,
)

MARKER = Marker("main", "1234567890123456789", "main", "truenas", "2026-11-23T06:00:00Z")
WHERE = b"/backup/main.homelab-backup/marker.json"


def test_a_marker_is_read_as_it_was_written() -> None:
    assert parse_marker(MARKER.encode(), WHERE) == MARKER
    assert b'"format": "homelab.backup.offsite-marker/1"' in MARKER.encode()


def test_a_marker_belongs_to_its_job_and_pool() -> None:
    assert MARKER.belongs_to("main", "1234567890123456789")
    assert not MARKER.belongs_to("ssd", "1234567890123456789")
    assert not MARKER.belongs_to("main", "1")
    # The host that prunes does not know the pool.
    assert MARKER.belongs_to("main", None)
    assert not MARKER.belongs_to("ssd", None)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "no key 'format'"),
        (b'{"format": "homelab.backup.offsite-policy/1"}', "offsite-policy"),
        (b'{"format": "homelab.backup.offsite-marker/x"}', "its format is"),
        (MARKER.encode().replace(b'"job"', b'"jobs"'), "lacks one of"),
        (MARKER.encode().replace(b'"truenas"', b"7"), "lacks one of"),
    ],
)
def test_what_is_no_marker_is_the_destinations_error(content: bytes, found: str) -> None:
    with pytest.raises(DestinationError) as caught:
        parse_marker(content, WHERE)
    assert found in caught.value.found
    assert caught.value.on == WHERE.decode()


def test_a_newer_major_is_refused() -> None:
    newer = MARKER.encode().replace(b"offsite-marker/1", b"offsite-marker/2")
    with pytest.raises(ConfigError, match="reads up to"):
        parse_marker(newer, WHERE)


@pytest.mark.parametrize(
    ("name", "time"),
    [
        (b"19700101T000000Z-0000", 0),
        (b"20261123T060000Z-00aa", 1795413600),
        (b"20240229T235959Z-ffff", 1709251199),
        (b"20230229T000000Z-0000", None),
        (b"20261123T060000Z-00AA", None),
        (b"20261123T060000Z-00aa\n", None),
        (b"20261123T060000Z-00aa.1", None),
        (b"20261123T060000-00aa", None),
        (b"x20261123T060000Z-00aa", None),
        (b"..", None),
        (b"", None),
    ],
)
def test_run_ids(name: bytes, time: int | None) -> None:
    assert run_time(name) == time
