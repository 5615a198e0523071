# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""``offsite fetch``, ``versions``, ``prune`` and ``index``, with and without a policy."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ExitCode
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.indexcopy import checkpoint
from ansible_collections.homelab.backup.plugins.module_utils._offsite.marker import Marker
from ansible_collections.homelab.backup.plugins.module_utils._runner.cli_offsite_files import (
    register,
)
from ansible_collections.homelab.backup.plugins.module_utils._runner.main import run
from ansible_collections.homelab.backup.plugins.module_utils._runner.offsite_place import tree_path
from tests.unit.plugins.module_utils.offsite.copied_tree import copy_and_index, picture
from tests.unit.plugins.module_utils.offsite.remote import connect, make_layout, server

NOW = time.time()


def run_id(days_ago: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(NOW - days_ago * 86_400)) + "-00aa"


class Site:
    """A copy at a destination, with its marker and index, and the way there."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.source = base / "source"
        (self.source / "docs").mkdir(parents=True)
        (self.source / "docs/a").write_bytes(b"content of a")
        (self.source / "docs/a").chmod(0o640)
        (self.source / "b\nb").write_bytes(b"b")
        (self.source / "link").symlink_to("docs/a")
        os.utime(self.source / "docs", ns=(0, 1_500_000_000_000_000_001))
        self.layout = make_layout(base, run_id(0))
        marker = Marker("main", "4711", "main", "truenas", "2026-01-01T00:00:00Z")
        self.path(self.layout.marker).write_bytes(marker.encode())
        self.path(self.layout.records, run_id(0) + ".json").write_bytes(b"{}")
        self.state = base / "state"
        self.index_file = self.state / "state/offsite/main/index.sqlite"
        self.index_file.parent.mkdir(parents=True)
        index = Index(self.index_file)
        copy_and_index(self.source, self.layout, index)
        with connect() as store:
            checkpoint(index, store, self.layout)
        index.close()
        self.given = [
            "--directory",
            os.fsdecode(self.layout.tree),
            "--sftp-server",
            server(),
        ]

    def path(self, directory: bytes, *names: str) -> Path:
        return Path(os.fsdecode(directory), *names)

    def version(self, days_ago: float, name: str, content: bytes = b"old") -> None:
        path = self.path(self.layout.versions, run_id(days_ago), name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1_600_000_000, 1_600_000_000))

    def policy(self, **destination: Any) -> list[str]:
        """Options for a policy of the same destination."""
        file = self.base / "offsite.json"
        document = {
            "format": "homelab.backup.offsite-policy/1",
            "host": "truenas",
            "state_dir": str(self.state),
            "log_file": "/var/log/cloudsync-copy.log",
            "jobs": [
                {
                    "name": "main",
                    "root": "main",
                    "destination": {
                        "host": "nas.invalid",
                        "user": "backup",
                        "key_file": "/key",
                        "known_hosts_file": "/known",
                        "directory": os.fsdecode(self.layout.tree),
                        **destination,
                    },
                }
            ],
        }
        file.write_text(json.dumps(document))
        return ["--policy", str(file)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    return Site(tmp_path)


def offsite(*argv: str) -> int:
    return run(argv, (register,))


def test_a_fresh_host_with_nothing_but_the_nas(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.index_file.unlink()
    target = site.base / "target"
    assert offsite("fetch", *site.given, "--to", str(target), ".") == ExitCode.OK
    source, restored = picture(site.source), picture(target)
    assert restored == source
    assert capsys.readouterr().out == (
        f"restored 2 files, 2 directories, 1 symlinks (13 B) into {target}\n"
    )


def test_the_local_index_is_used_where_there_is_one(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.path(site.layout.index, "current.json").write_bytes(b"damaged")
    target = site.base / "target"
    options = [*site.policy(), "--sftp-server", server(), "--to", str(target)]
    assert offsite("fetch", *options, "docs/a") == ExitCode.OK
    assert (target / "docs/a").read_bytes() == b"content of a"
    assert offsite("fetch", *options, "--remote-index", "docs/a") == ExitCode.DESTINATION
    assert "current.json" in capsys.readouterr().err


def test_what_could_not_be_restored_is_named(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.path(site.layout.tree, "docs/a").write_bytes(b"Content of a")
    status = offsite("fetch", *site.given, "--to", str(site.base / "target"), ".", "no\n")
    assert status == ExitCode.INCOMPLETE
    out = capsys.readouterr().out
    assert "2 problems" in out
    assert "  problem: docs/a: the destination's content is damaged" in out
    assert "  problem: no\\x0a: the copy has no such name" in out


def test_versions_are_found_and_fetched(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.version(2, "deleted/docs/gone", b"it was here")
    site.version(5, "replaced/docs/gone")
    assert offsite("versions", *site.given) == ExitCode.OK
    assert capsys.readouterr().out.split() == [run_id(0), run_id(2), run_id(5)][-2:]
    assert offsite("versions", *site.given, "/docs/gone") == ExitCode.OK
    assert capsys.readouterr().out.splitlines() == [
        f"{run_id(2)}  deleted         11 B  2020-09-13T12:26:40Z",
        f"{run_id(5)}  replaced         3 B  2020-09-13T12:26:40Z",
    ]
    assert offsite("versions", *site.given, "docs/a") == ExitCode.OK
    assert capsys.readouterr().out == "no run has moved that path out of the tree\n"
    target = site.base / "target"
    options = [*site.given, "--to", str(target), "--version", run_id(2)]
    assert offsite("fetch", *options, "docs/gone") == ExitCode.OK
    assert (target / "docs/gone").read_bytes() == b"it was here"
    assert offsite("fetch", *options, "--reason", "stray", "x") == ExitCode.DESTINATION


def test_pruning_shows_its_plan_first(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for age in (1, 40, 50):
        site.version(age, "deleted/x")
    options = [*site.policy(), "--sftp-server", server()]
    assert offsite("prune", *options, "--check") == ExitCode.OK
    planned = capsys.readouterr().out
    assert f"delete the versions of run {run_id(40)}" in planned
    assert "2 runs' versions and 0 leftovers to delete, 1 runs' versions stay" in planned
    assert len(os.listdir(site.layout.versions)) == 3
    assert offsite("prune", *options) == ExitCode.OK
    done = capsys.readouterr().out
    assert done.startswith(planned)
    assert "deleted the versions of 2 runs: 2 files (6 B), 4 directories" in done
    assert os.listdir(site.layout.versions) == [os.fsencode(run_id(1))]


def test_pruning_tells_as_json_what_it_did(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.version(1, "deleted/x")
    site.version(9, "deleted/x")
    options = [*site.given, "--job", "main", "--days", "7", "--json"]
    documents = []
    for more in (["--check"], [], []):
        assert offsite("prune", *options, *more) == ExitCode.OK
        documents.append(json.loads(capsys.readouterr().out))
    assert [document["changed"] for document in documents] == [True, True, False]
    assert documents[1]["runs"] == [run_id(9)]
    assert documents[1]["deleted"] == {"runs": 1, "files": 1, "directories": 2, "bytes": 3}
    assert documents[1]["credential"] == "local"


@pytest.mark.parametrize(
    ("destination", "more", "found"),
    [
        ({}, [], "its destination has no 'pruner' login"),
        # Nobody answers there; what matters is that it gets so far as to connect.
        ({}, ["--use-run-key"], "backup@nas.invalid:22"),
        ({"pruner": {"user": "pruner", "key_file": "/other"}}, [], "pruner@nas.invalid:22"),
    ],
)
def test_pruning_has_a_login_of_its_own(
    site: Site,
    capsys: pytest.CaptureFixture[str],
    destination: dict[str, Any],
    more: list[str],
    found: str,
) -> None:
    site.version(40, "deleted/x")
    status = offsite("prune", *site.policy(**destination), *more)
    assert status in (ExitCode.CONFIG, ExitCode.TRANSPORT)
    assert found in capsys.readouterr().err


def test_another_jobs_destination_is_not_pruned(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.version(40, "deleted/x")
    site.version(50, "deleted/x")
    assert offsite("prune", *site.given, "--job", "ssd", "--days", "7") == ExitCode.DESTINATION
    assert "belongs to job 'main'" in capsys.readouterr().err
    assert len(os.listdir(site.layout.versions)) == 2


def test_the_index_is_shown(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert offsite("index", "show", *site.given) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 1)[0] for line in lines] == [
        "drwxr-xr-x",
        "-rw-r--r--",
        "drwxr-xr-x",
        "-rw-r-----",
        "lrwxrwxrwx",
    ]
    assert lines[1].endswith("Z b\\x0ab")
    assert lines[4].endswith("Z link -> docs/a")
    assert offsite("index", "show", *site.policy(), "--json", "docs/a") == ExitCode.OK
    [document] = map(json.loads, capsys.readouterr().out.splitlines())
    assert document["sha256"] == hashlib.sha256(b"content of a").hexdigest()
    assert document["mode"] == "0640"
    assert offsite("index", "show", *site.given, "no") == ExitCode.DESTINATION


def test_the_index_is_rebuilt_into_a_file(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    file = site.base / "new.sqlite"
    assert offsite("index", "restore", *site.given, str(file)) == ExitCode.OK
    assert capsys.readouterr().out == f"{file}: 2 files\n"
    assert offsite("index", "restore", *site.given, str(file)) == ExitCode.CONFIG
    pieces = site.path(site.layout.index, run_id(0) + ".0")
    for piece in pieces.iterdir():
        piece.unlink()
    other = site.base / "other.sqlite"
    assert offsite("index", "restore", *site.given, str(other)) == ExitCode.DESTINATION
    assert not other.exists()
    assert offsite("index", "restore", *site.given, "--skip-damaged", str(other)) == ExitCode.OK
    assert "00000001.jsonl.gz: it is missing" in capsys.readouterr().err


def test_a_directory_that_is_not_ours_is_told(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.path(site.layout.marker).unlink()
    status = offsite("fetch", *site.given, "--to", str(site.base / "target"), ".")
    assert status == ExitCode.DESTINATION
    assert "there is no marker of ours" in capsys.readouterr().err
    assert not (site.base / "target").exists()


def test_what_is_missing_without_a_policy_is_told(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["versions", "--directory", "/backup/main", "--host", "nas"]
    assert offsite(*argv) == ExitCode.CONFIG
    assert "--user, --key-file, --known-hosts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (".", b""),
        ("/", b""),
        ("a/b", b"a/b"),
        ("/a//b/", b"a/b"),
        ("./a", b"a"),
        ("\udcff", b"\xff"),
    ],
)
def test_paths_of_the_command_line(text: str, path: bytes) -> None:
    assert tree_path(text) == path
