# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Whatever stands in the document: a catalogue, or the list of errors; never anything else."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.catalogue import parse
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.offsite_policy import (
    offsite_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    CatalogueError,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.protection_matrix import (
    protection_matrix,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.snapshot_policy import (
    snapshot_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.values import (
    Duration,
    duration,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import (
    parse_policy as parse_offsite,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.document import (
    parse_policy as parse_snapshots,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.document import (
    to_document,
)
from tests.unit.plugins.module_utils.catalogue.estate import DELETE, changed, estate

MARK = "zq9Secret7Planted3Word5Xy1"


def paths(value: Any, path: str = "") -> list[str]:
    """Every dotted path of a document."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in entries:
        below = f"{path}.{key}" if path else str(key)
        found.append(below)
        if isinstance(inner, (dict, list)):
            found += paths(inner, below)
    return found


def error_of(document: object) -> CatalogueError | None:
    """What reading says, or None; any other exception passes through."""
    try:
        parse(document)
    except CatalogueError as exc:
        return exc
    return None


JUNK = st.one_of(
    st.just(DELETE),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.just(MARK),
    st.sampled_from(["/mnt/main", "main/x", "24h", "0 0 * * *", "excluded", "10.0.0.1"]),
    st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=3),
    st.dictionaries(st.one_of(st.text(max_size=5), st.integers()), st.integers(), max_size=3),
)


@settings(max_examples=250, deadline=None)
@given(path=st.sampled_from(paths(estate())), junk=JUNK)
def test_junk_anywhere_gives_a_catalogue_or_errors_with_remedies(path: str, junk: Any) -> None:
    error = error_of(changed((path, junk)))
    if error is not None:
        assert error.problems
        assert all(problem.path and problem.found for problem in error.problems)
        assert MARK not in str(error)


@settings(max_examples=200, deadline=None)
@given(seconds=st.integers(1, 10**9 - 1))
def test_a_duration_is_read_back_from_its_text(seconds: int) -> None:
    assert duration(str(Duration(seconds))) == Duration(seconds)


POOLS = st.lists(
    st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True).filter(
        lambda name: not name.startswith(("mirror", "raidz", "draid", "spare", "log", "c"))
    ),
    min_size=1,
    max_size=4,
    unique=True,
)


@settings(max_examples=100, deadline=None)
@given(
    pools=POOLS,
    hours=st.integers(1, 23),
    days=st.integers(1, 400),
    keep=st.integers(1, 50),
    zone=st.sampled_from(["UTC", "Europe/Vienna", "America/St_Johns", "Australia/Lord_Howe"]),
    share=st.floats(0.01, 1),
    threshold=st.integers(1, 10**8),
    port=st.integers(1, 65535),
)
def test_what_is_derived_from_any_catalogue_is_accepted_by_those_who_read_it(
    pools: list[str],
    hours: int,
    days: int,
    keep: int,
    zone: str,
    share: float,
    threshold: int,
    port: int,
) -> None:
    catalogue = parse(
        {
            "format": "homelab.backup.catalogue/1",
            "timezone": zone,
            "storage": {
                "host": {
                    "address": "10.0.0.1",
                    "pools": {pool: {"offsite": {"directory": f"/b/{pool}"}} for pool in pools},
                }
            },
            "nas": {"nas": {"address": "10.0.0.2", "user": "b", "port": port}},
            "snapshots": {
                "one": {
                    "schedule": f"5 */{hours} * * *",
                    "naming": "one-%Y%m%d%H%M",
                    "lifetime": f"{days}d",
                    "keep_min": keep,
                }
            },
            "offsite": {"limits": {"max_changed_share": share, "full_threshold": threshold}},
        }
    )
    snapshots = snapshot_policy(catalogue, "host")
    assert to_document(parse_snapshots(snapshots, "host")) == snapshots
    offsite = parse_offsite(offsite_policy(catalogue, "host"), "host")
    assert [job.name for job in offsite.jobs] == pools
    assert {job.limits.full_threshold for job in offsite.jobs} == {threshold}
    assert protection_matrix(catalogue) == ()
