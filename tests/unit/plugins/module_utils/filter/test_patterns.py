# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Exclude patterns: what they name, what is refused, and what a move may change."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._filter.names import as_rclone_sees
from ansible_collections.homelab.backup.plugins.module_utils._filter.patterns import (
    compile_patterns,
)


@pytest.mark.parametrize(
    ("pattern", "excluded", "kept"),
    [
        ("loki/**", [b"loki/a", b"x/loki/a/b"], [b"loki", b"xloki/a", b"loki2/a"]),
        ("loki/", [b"loki/a", b"x/loki/a/b"], [b"loki"]),
        ("/loki/**", [b"loki/a"], [b"x/loki/a"]),
        ("servarr/downloads/**", [b"servarr/downloads/a"], [b"downloads/a", b"servarr/x/a"]),
        ("*.log", [b"a.log", b"x/y.log", b".log"], [b"a.log/x", b"a.logs"]),
        ("post", [b"post", b"a/post"], [b"post/a", b"poster", b"apost"]),
        ("a?b", [b"a\xffb", b"a\nb", "aéb".encode()], [b"a/b", b"ab", b"a\xff\xffb"]),
        ("a[0-9]b", [b"a5b"], [b"axb"]),
        ("a[!x]", [b"a!", b"ax"], [b"ay"]),
        ("{jpg,png}s/**", [b"jpgs/a", b"pngs/b/c"], [b"gifs/a"]),
        ("a**z", [b"az", b"a/b/z", b"abcz"], [b"ba/x", b"b"]),
        ("a*z", [b"az", b"x/abz"], [b"a/z", b"a/bz"]),
        ("\\*", [b"*", b"a/*"], [b"a"]),
        ("a[^b]c", [b"axc", b"a/c"], [b"abc"]),
    ],
)
def test_meaning(pattern: str, excluded: list[bytes], kept: list[bytes]) -> None:
    excludes = compile_patterns([pattern])
    assert [path for path in excluded if excludes.excludes_file(path) != pattern] == []
    assert [path for path in kept if excludes.excludes_file(path) is not None] == []


def test_a_directory_pattern_prunes_the_directory_but_not_a_file_of_that_name() -> None:
    excludes = compile_patterns(["*.log", "loki/**"])
    assert excludes.prunes_directory(b"loki") == "loki/**"
    assert excludes.prunes_directory(b"a/loki/chunks") == "loki/**"
    assert excludes.prunes_directory(b"a.log") is None
    assert excludes.excludes_file(b"loki") is None


def test_the_first_pattern_is_named() -> None:
    excludes = compile_patterns(["b*", "*.log", "b.log"])
    assert excludes.excludes_file(b"b.log") == "b*"
    assert excludes.excludes_file(b"a.log") == "*.log"


@pytest.mark.parametrize(
    ("pattern", "sensitive"),
    [
        ("*.log", False),
        ("post", False),
        ("a[0-9]?{b,c}", False),
        ("dir/", True),
        ("dir/**", True),
        ("/post", True),
        ("a/b", True),
        ("a**", True),
        ("a[^b]", True),
        ("a[!-~]", True),
        ("{a/b,c}", True),
        ("a\\/b", True),
    ],
)
def test_path_sensitive(pattern: str, sensitive: bool) -> None:
    assert compile_patterns(["*.tmp", pattern]).path_sensitive is sensitive


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "empty"),
        (" a", "blank"),
        ("a ", "blank"),
        ("a\tb", "control"),
        ("a\nb", "control"),
        ("a\udc80", "no text"),
        ("*", "everything"),
        ("/**", "everything"),
        ("a//b", "slashes"),
        ("- a", "filter rule"),
        ("a***", "more than two"),
        ("a\\", "ends with a backslash"),
        ("\\d", "no plain character"),
        ("{{a|b}}", "regular expression"),
        ("{a,{b,c}}", "nested"),
        ("{a", "has no }"),
        ("a}", "opens nowhere"),
        ("a]", "opens nowhere"),
        ("[a", "has no ]"),
        ("[]", "has no ]"),
        ("[^]", "has no ]"),
        ("[[:alpha:]]", "class holds"),
        ("[z-a]", "backwards"),
    ],
)
def test_refused(pattern: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_patterns([pattern])
    assert words in caught.value.found
    assert repr(pattern) in caught.value.found


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        compile_patterns(["ok", "a***", "[z-a]", "fine/**", "{"])
    assert [repr(bad) in caught.value.found for bad in ("a***", "[z-a]", "{")] == [True] * 3
    assert "'ok'" not in caught.value.found


def test_fingerprint_is_of_the_set() -> None:
    first = compile_patterns(["a", "b/**"]).fingerprint
    assert first == compile_patterns(["b/**", "a", "a"]).fingerprint
    assert first == "4b1c598a98dc022693db7e3e1bf184f935cb5687370ea5e8c2b7f040a813722e"
    assert first != compile_patterns(["a"]).fingerprint


def test_no_patterns_exclude_nothing() -> None:
    excludes = compile_patterns([])
    assert excludes.excludes_file(b"a/b") is None
    assert excludes.prunes_directory(b"a") is None
    assert not excludes.path_sensitive
    assert excludes.filter_lines() == ""


@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name))
def test_any_name_can_be_asked_for(name: bytes) -> None:
    excludes = compile_patterns(["x?/**", "*.log", "[^a]b"])
    answer = excludes.excludes_file(name)
    assert answer is None or answer in excludes.patterns


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        (b"plain", "plain"),
        (b"a\nb\x7f", "a\u240ab\u2421"),
        ("\u240a".encode(), "\u201b\u240a"),
        ("\u201b".encode(), "\u201b\u201b"),
        ("\u2400\uff0f".encode(), "\u2400\uff0f"),
        (b"\xff\xc3", "\udcff\udcc3"),
    ],
)
def test_names_as_rclone_sees_them(name: bytes, seen: str) -> None:
    assert as_rclone_sees(name) == seen


def test_hundred_thousand_paths_in_a_moment() -> None:
    excludes = compile_patterns(
        ["clickhouse/**", "loki/**", "servarr/downloads/**", "iscsi-snaps/**", "*.log", "post"] * 3
    )
    paths = [b"apps/nextcloud/data/user/files/photos/%d/img_%d.jpeg" % (i, i) for i in range(100)]
    begin = time.process_time()
    for dummy in range(1000):
        for path in paths:
            excludes.excludes_file(path)
    assert time.process_time() - begin < 10
