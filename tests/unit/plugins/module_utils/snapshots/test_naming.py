# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names from patterns and back."""

from __future__ import annotations

import datetime
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.backup.plugins.module_utils._schedule.zones import load_zone
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.naming import (
    LETTERS,
    parse_naming,
)

DAILY = parse_naming("auto-%Y-%m-%d_%H-%M")
TWELVE = parse_naming("auto-12h-%Y-%m-%d_%H-%M")


@given(st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2199, 1, 1)), st.booleans())
def test_a_name_is_read_back(wall: datetime.datetime, twice: bool) -> None:
    wall = wall.replace(second=0, microsecond=0)
    letter = "b" if twice else ""
    for naming in (DAILY, TWELVE, parse_naming("%d.%m.%Y:%H%M_x")):
        assert naming.read(naming.render(wall, letter)) == (wall, letter)


@pytest.mark.parametrize(
    "short",
    [
        "auto-2027-02-29_00-00",
        "auto-2027-13-01_00-00",
        "auto-2027-01-01_24-00",
        "auto-2027-1-1_0-0",
        "auto-2027-01-01_00-00bb",
        "auto-2027-01-01_00-00a",
        "auto-2027-01-01_00-00B",
        "xauto-2027-01-01_00-00",
        "auto-2027-01-01_00-00\n",
        "auto-\u0662\u0660\u0662\u0667-01-01_00-00",
        "",
    ],
)
def test_what_does_not_fit(short: str) -> None:
    assert not DAILY.fits(short)


def test_the_repeated_hour_has_names_of_its_own() -> None:
    zone = load_zone("Europe/Vienna")
    first = int(datetime.datetime(2027, 10, 31, 0, 30, tzinfo=datetime.UTC).timestamp())
    names = [next(DAILY.candidates(first + 1800 * step, zone)) for step in range(4)]
    assert names == [
        "auto-2027-10-31_02-30",
        "auto-2027-10-31_02-00b",
        "auto-2027-10-31_02-30b",
        "auto-2027-10-31_03-00",
    ]


def test_candidates_end_with_the_alphabet() -> None:
    zone = load_zone("UTC")
    names = list(DAILY.candidates(0, zone))
    assert names[:3] == [
        "auto-1970-01-01_00-00",
        "auto-1970-01-01_00-00b",
        "auto-1970-01-01_00-00c",
    ]
    assert len(names) == len(set(names)) == 1 + len(LETTERS)
    assert all(DAILY.fits(name) for name in names)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("auto-%Y-%m-%d_%H-%M", "auto-12h-%Y-%m-%d_%H-%M", False),
        ("auto-%Y-%m-%d_%H-%M", "auto-%Y-%m-%d_%H-%M", True),
        ("auto-%Y-%m-%d_%H-%M", "auto-%Y-%d-%m_%H-%M", True),
        ("auto-%Y-%m-%d_%H-%M", "auto-2%Y%m%d%H-%M-0", False),
        ("a%Y%m%d%H%M", "a%M%H%d%m%Y", True),
        ("a%Y%m%d%H%Mb", "a%Y%m%d%H%M", True),
        ("a%Y%m%d%H%Ma", "a%Y%m%d%H%M", False),
        ("a1%Y%m%d%H%M", "a%Y%m%d%H%M1", True),
    ],
)
def test_names_that_could_be_mistaken_for_each_other(
    first: str, second: str, expected: bool
) -> None:
    one, other = parse_naming(first), parse_naming(second)
    assert one.may_equal(other) is expected
    assert other.may_equal(one) is expected


DIRECTIVES = ("%Y", "%m", "%d", "%H", "%M")
patterns = st.builds(
    lambda order, glue: parse_naming("".join(itertools.chain(*zip(glue, order, strict=True)))),
    st.permutations(DIRECTIVES),
    st.lists(st.text("01ab-", max_size=2), min_size=5, max_size=5),
)


@given(patterns, patterns, st.datetimes(datetime.datetime(1970, 1, 1)))
def test_a_name_that_fits_both_was_foreseen(one: object, other: object, wall: object) -> None:
    for letter in ("", "b"):
        if other.fits(one.render(wall, letter)):
            assert one.may_equal(other)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("auto", "exactly once"),
        ("auto-%Y-%m-%d_%H", "exactly once"),
        ("auto-%Y-%m-%d_%H-%M-%M", "exactly once"),
        ("auto-%Y-%m-%d_%H-%M-%S", "exactly once"),
        ("auto-%Y-%m-%d_%H-%M%", "exactly once"),
        ("auto %Y-%m-%d_%H-%M", "letters, digits"),
        ("a/%Y-%m-%d_%H-%M", "letters, digits"),
        ("a@%Y-%m-%d_%H-%M", "letters, digits"),
        ("\u00e4%Y-%m-%d_%H-%M", "letters, digits"),
    ],
)
def test_bad_patterns(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_naming(pattern)
