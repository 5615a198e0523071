# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Our exclude patterns mean what the real rclone makes of them, on a generated tree."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._filter.names import as_rclone_sees
from ansible_collections.homelab.backup.plugins.module_utils._filter.patterns import (
    Excludes,
    compile_patterns,
)

RCLONE = str(Path(sys.executable).parent / "rclone")
SEED = int(os.environ.get("FILTER_SEED", "20261123"))
PATTERN_SETS = int(os.environ.get("FILTER_PATTERN_SETS", "60"))

SPECIFIED = [
    "clickhouse/**",
    "loki/**",
    "iocage/**",
    "frigate/**",
    "audiblez/**",
    "ebook2audiobook/**",
    "ollama/**",
    "real-estate-crawler/**",
    "prometheus/**",
    "crowdsec/**",
    "servarr/downloads/**",
    "iscsi/**",
    "iscsi-snaps/**",
    "ytldp/**",
    "*.log",
    "post",
]

# Short names over few characters, so that patterns meet them often.
NAMES = [
    *[name.encode() for name in ("a", "b", "ab", "ba", "a.log", "b.log", "x.log", "post", "dir")],
    *[
        name.encode()
        for name in ("a-b", "[a]", "{a}", "a,b", "a*b", "a\\b", "(a)", "a+b", "^", "$")
    ],
    *[
        name.encode()
        for name in (" a", "a ", "#a", ";a", "- a", "!a", "é", "日本", "A", "0", "a b")
    ],
    *[name.encode() for name in ("\u240a", "\u2400", "\uff0e", "\uff0f")],
    b"a\nb",
    b"a\rb",
    b"\ta",
    b"a\x7f",
    b"\x01",
]
# rclone's local backend can't enter directories of such names (it fails with status 3).
FILES_ONLY = [b"gro\xdf", b"\xff\xfe", b"a\xc3", b"\xf0\x9f\x98", b"\xed\xa0\x80"]
FILES_ONLY += [name.encode() for name in ("\u201b", "\u201ba", "\u201b\u201b", "\u201b\u240a")]
SPECIFIED_NAMES = [
    b"clickhouse",
    b"loki",
    b"servarr",
    b"downloads",
    b"iscsi",
    b"iscsi-snaps",
    b"prometheus",
    b"xclickhouse",
    b"clickhouse2",
    b"ytldp",
]


def make_tree(root: bytes, seed: int) -> list[bytes]:
    """Files below ``root``, as relative paths."""
    choose = random.Random(seed)
    names = NAMES + SPECIFIED_NAMES
    files: set[bytes] = set()
    directories: set[bytes] = set()
    for dummy in range(900):
        parts = [choose.choice(names) for dummy in range(choose.randint(0, 3))]
        parts.append(choose.choice(names + FILES_ONLY))
        path = b"/".join(parts)
        ancestors = {b"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if path in directories or ancestors & files:
            continue
        files.add(path)
        directories |= ancestors
    for path in files:
        target = root + b"/" + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb"):
            pass
    return sorted(files)


def rclone_includes(root: Path, rules: str, tmp_path: Path) -> list[str]:
    """What rclone lists under the filter rules, in its own form of names."""
    rule_file = tmp_path / "rules"
    rule_file.write_text(rules, encoding="utf-8")
    command = [RCLONE, "--config", "", "lsjson", "-R", "--files-only", "--no-modtime"]
    done = subprocess.run(
        [*command, "--filter-from", rule_file, root], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return sorted(entry["Path"] for entry in json.loads(done.stdout))


def as_json_has_it(path: bytes) -> str:
    """A name as rclone's JSON output shows it: no UTF-8 becomes U+FFFD, byte by byte."""
    text = as_rclone_sees(path)
    return "".join("\ufffd" if 0xDC80 <= ord(char) <= 0xDCFF else char for char in text)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    root = tmp_path_factory.mktemp("tree")
    return root, make_tree(os.fsencode(root), SEED)


def walk(excludes: Excludes, files: list[bytes]) -> Iterator[bytes]:
    """The files that a walk reaches that does not enter excluded directories."""
    for path in files:
        parts = path.split(b"/")
        ancestors = (b"/".join(parts[:depth]) for depth in range(1, len(parts)))
        if any(excludes.prunes_directory(ancestor) for ancestor in ancestors):
            continue
        if excludes.excludes_file(path) is None:
            yield path


def check(patterns: list[str], tree: tuple[Path, list[bytes]], tmp_path: Path) -> int:
    """Compare with rclone; gives how many files were excluded."""
    root, files = tree
    excludes = compile_patterns(patterns)
    theirs = rclone_includes(root, excludes.filter_lines(), tmp_path)
    ours = [path for path in files if excludes.excludes_file(path) is None]
    assert sorted(map(as_json_has_it, ours)) == theirs, f"{patterns} (seed {SEED})"
    assert list(walk(excludes, files)) == ours, f"{patterns}: pruning excludes other files"
    return len(files) - len(ours)


def test_specified_patterns(tree: tuple[Path, list[bytes]], tmp_path: Path) -> None:
    assert check(SPECIFIED, tree, tmp_path) > 100


@pytest.mark.parametrize("pattern", SPECIFIED)
def test_each_specified_pattern(
    pattern: str, tree: tuple[Path, list[bytes]], tmp_path: Path
) -> None:
    check([pattern], tree, tmp_path)


PIECES = [
    "a",
    "b",
    "ab",
    "*",
    "**",
    "?",
    "[ab]",
    "[^a]",
    "[^b-z]",
    "[a-]",
    "[!-~]",
    "{a,b}",
    "{a/b,ba}",
    "{,a}",
    "{*.log,post}",
    "/",
    "/",
    ".log",
    "post",
    "dir",
    "\\*",
    "\\[",
    "\\{",
    "é",
    "日",
    "(",
    "+",
    "^",
    "$",
    ",",
    "-",
    " ",
    "#",
    ";",
    "!",
    "\\\\",
    "\u240a",
    "\u201b",
    "[é-日]",
    "downloads",
]

COMMON = ["a", "b", "*", "*", "**", "**", "?", "/", "/**", "*/", "[^x]", "{a,b}"]
PLAIN = "abdirlogpst0 -,()+$^#;"


def random_pattern(choose: random.Random) -> str:
    pieces = [choose.choice(COMMON + PIECES) for dummy in range(choose.randint(1, 4))]
    return "".join(pieces)


def similar_pattern(choose: random.Random, files: list[bytes]) -> str:
    """A pattern made from the end of a file's path, part by part loosened."""
    parts = as_rclone_sees(choose.choice(files)).split("/")
    parts = parts[choose.randrange(len(parts)) :]
    loosened = []
    for part in parts:
        characters = [
            f"\\{char}" if char not in PLAIN and char.isascii() else char for char in part
        ]
        index = choose.randrange(len(part))
        loose = ["?", "*", "**", "[^x]", f"{{{characters[index]},x}}", characters[index]]
        characters[index] = choose.choice(loose)
        loosened.append(choose.choice(["*", "**", part[:1] + "*", *["".join(characters)] * 5]))
    end = choose.choice(["", "", "", "/", "/**"])
    return choose.choice(["", "", "/"]) + "/".join(loosened) + end


def random_patterns(seed: int, count: int, files: list[bytes]) -> list[list[str]]:
    """Sets of one to three patterns that are accepted."""
    choose = random.Random(seed)
    sets: list[list[str]] = []
    while len(sets) < count:
        patterns = [
            similar_pattern(choose, files) if choose.random() < 0.7 else random_pattern(choose)
            for dummy in range(choose.choice([1, 1, 1, 2, 3]))
        ]
        try:
            compile_patterns(patterns)
        except ConfigError:
            continue
        sets.append(patterns)
    return sets


@pytest.mark.slow
def test_random_patterns(tree: tuple[Path, list[bytes]], tmp_path: Path) -> None:
    sets = random_patterns(SEED, PATTERN_SETS, tree[1])
    excluded = [check(one, tree, tmp_path) for one in sets]
    assert sum(count > 0 for count in excluded) > PATTERN_SETS // 2, "the patterns meet too little"


def test_pruned_directories_are_those_that_rclone_does_not_list(
    tree: tuple[Path, list[bytes]], tmp_path: Path
) -> None:
    root, dummy = tree
    excludes = compile_patterns(SPECIFIED)
    rule_file = tmp_path / "rules"
    rule_file.write_text(excludes.filter_lines())
    command = [RCLONE, "--config", "", "lsjson", "-R", "--dirs-only"]
    command += ["--filter-from", str(rule_file), str(root)]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    directories = [
        os.path.relpath(os.path.join(base, name), os.fsencode(root))
        for base, names, dummy in os.walk(os.fsencode(root))
        for name in names
    ]
    kept = [path for path in directories if excludes.prunes_directory(path) is None]
    assert sorted(map(as_json_has_it, kept)) == sorted(entry["Path"] for entry in listed)
    assert len(kept) < len(directories)


@pytest.mark.parametrize("pattern", ["a***b", "[z-a]", "x{", "a]", "{{x", "[]a]", "\\é"])
def test_what_rclone_refuses_is_refused(pattern: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [RCLONE, "--config", "", "lsf", "--filter", f"- {pattern}", tmp_path],
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    with pytest.raises(ConfigError):
        compile_patterns([pattern])
