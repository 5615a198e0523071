# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Restoring from the destination: what comes back is what was there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    DestinationError,
    LockedError,
    SourceError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite import target as target_module
from ansible_collections.homelab.backup.plugins.module_utils._offsite.download import Fetched
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import pack_xattrs
from ansible_collections.homelab.backup.plugins.module_utils._offsite.fetch import Fetch
from ansible_collections.homelab.backup.plugins.module_utils._offsite.fetch_versions import (
    FetchVersion,
    find_versions,
    list_runs,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._offsite.target import TargetTree
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from tests.unit.plugins.module_utils.offsite.copied_tree import copy_and_index, picture
from tests.unit.plugins.module_utils.offsite.remote import RUN, connect, make_layout

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can give files away and make devices")
ODD = b"\xff\n \xc3\xa4'\"$x"
ACL_ACCESS = "system.posix_acl_access"
# acl(5) as an xattr: version 2, then (tag, permissions, id), little-endian: user::rw-,
# user:1234:r--, group::r--, mask::r--, other::---
ACL = bytes.fromhex(
    "0200000001000600ffffffff02000400d204000004000400ffffffff10000400ffffffff20000000ffffffff"
)


class Estate:
    """A source tree, its copy and its index."""

    def __init__(self, base: Path) -> None:
        self.source = base / "source"
        self.source.mkdir()
        self.layout = make_layout(base)
        self.index = Index(base / "index.db")
        self.target = base / "target"

    def ready(self) -> None:
        """Copy and index the source as it is now."""
        copy_and_index(self.source, self.layout, self.index)

    def fetch(self, store: Any, *paths: bytes, overwrite: bool = False) -> Fetched:
        """Restore ``paths`` into the target."""
        target = TargetTree(self.target)
        try:
            fetch = Fetch(
                store,
                self.layout,
                self.index,
                target,
                overwrite=overwrite,
                progress=lambda dummy_files, dummy_bytes: None,
            )
            result = fetch.run(paths)
        except BaseException:
            target.close(finished=False)
            raise
        target.close(finished=True)
        return result


@pytest.fixture(scope="module")
def store() -> Iterator[SftpClient]:
    with connect("-R") as client:
        yield client


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Estate]:
    made = Estate(tmp_path)
    yield made
    made.index.close()


def write(path: Path | bytes, content: bytes, mode: int = 0o640, mtime_ns: int = 0) -> None:
    with open(path, "wb") as handle:
        handle.write(content)
    os.chmod(path, mode)
    os.utime(path, ns=(0, mtime_ns or 1_600_000_000_123_456_789))


def fill(source: Path) -> None:
    """A bit of everything."""
    base = os.fsencode(source)
    for directory in (b"docs", b"docs/deep", b"empty", ODD):
        os.mkdir(os.path.join(base, directory))
    write(os.path.join(base, b"docs/plain"), b"plain\n")
    write(os.path.join(base, b"docs/empty"), b"", 0o600)
    write(os.path.join(base, b"docs/deep/big"), os.urandom(3_000_000), 0o444)
    write(os.path.join(base, ODD, ODD), b"odd", 0o4755)
    write(os.path.join(base, b"n" * 255), b"long")
    write(os.path.join(base, b"old"), b"before 1970", mtime_ns=-1_500_000_000)
    os.link(os.path.join(base, b"docs/plain"), os.path.join(base, b"docs/deep/second"))
    os.link(os.path.join(base, b"docs/plain"), os.path.join(base, b"third"))
    os.symlink(b"docs/plain", os.path.join(base, b"link"))
    os.symlink(b"no\xffwhere", os.path.join(base, b"docs/dangling"))
    os.utime(os.path.join(base, b"link"), ns=(1, 1_500_000_000_000_000_001), follow_symlinks=False)
    os.mkfifo(os.path.join(base, b"fifo"), 0o622)
    os.setxattr(os.path.join(base, b"docs/plain"), "user.note", b"\x00\xff")
    os.setxattr(os.path.join(base, b"docs"), "user.note", b"of a directory")
    for mode, directory in ((0o2770, b"docs/deep"), (0o755, b"docs"), (0o1777, b"empty")):
        os.chmod(os.path.join(base, directory), mode)
        os.utime(os.path.join(base, directory), ns=(0, 1_300_000_000_000_000_007))


def test_everything_comes_back(estate: Estate, store: SftpClient) -> None:
    fill(estate.source)
    if ROOT:
        base = os.fsencode(estate.source)
        os.chown(os.path.join(base, b"docs/deep/big"), 1234, 4321)
        os.lchown(os.path.join(base, b"link"), 77, 78)
        os.chown(os.path.join(base, b"empty"), 5, 6)
        os.chown(os.path.join(base, ODD, ODD), 9, 9)
        os.chmod(os.path.join(base, ODD, ODD), 0o6755)
        os.mknod(os.path.join(base, b"null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.setxattr(os.path.join(base, b"docs/deep/big"), "trusted.note", b"x")
    os.utime(estate.source, ns=(0, 1_200_000_000_000_000_003))
    estate.ready()
    result = estate.fetch(store, b"")
    assert result.problems == []
    assert picture(estate.target) == picture(estate.source)
    assert (result.files, result.linked, result.symlinks) == (6, 2, 2)
    assert result.complete


@needs_root
def test_acls_come_back(estate: Estate, store: SftpClient) -> None:
    path = estate.source / "shared"
    write(path, b"x")
    try:
        os.setxattr(path, ACL_ACCESS, ACL)
    except OSError as error:
        pytest.skip(f"this file system has no POSIX ACLs: {error.strerror}")
    estate.ready()
    assert estate.fetch(store, b"shared").problems == []
    assert os.getxattr(estate.target / "shared", ACL_ACCESS) == ACL
    assert picture(estate.target)[b"shared"] == picture(estate.source)[b"shared"]


def test_a_sparse_file_stays_sparse(estate: Estate, store: SftpClient) -> None:
    size = 20_000_000
    for name, places in (("middle", (0, 9_000_000)), ("end", (0,)), ("all", ()), ("start", (1,))):
        with open(estate.source / name, "wb") as handle:
            handle.truncate(size)
            for place in places:
                handle.seek(place)
                handle.write(b"x" * 5000)
    estate.ready()
    assert estate.fetch(store, b"").problems == []
    assert picture(estate.target) == picture(estate.source)
    for name in ("middle", "end", "all", "start"):
        found = (estate.target / name).stat()
        assert found.st_size == size
        assert found.st_blocks * 512 < size / 10


def test_directories_are_finished_from_the_deepest_up(
    estate: Estate, store: SftpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is not root could not reach into a directory that has its own, narrow mode already."""
    os.makedirs(estate.source / "a/b/c")
    estate.ready()
    order: list[bytes] = []
    real = TargetTree.set_attributes

    def noted(self: TargetTree, path: bytes, attributes: Any) -> list[str]:
        order.append(path)
        return real(self, path, attributes)

    monkeypatch.setattr(TargetTree, "set_attributes", noted)
    estate.fetch(store, b"")
    assert order == [b"a/b/c", b"a/b", b"a", b""]


def test_a_single_file_comes_with_its_directories(estate: Estate, store: SftpClient) -> None:
    fill(estate.source)
    estate.ready()
    assert estate.fetch(store, b"docs/deep/big").problems == []
    source, target = picture(estate.source), picture(estate.target)
    assert set(target) == {b"", b"docs", b"docs/deep", b"docs/deep/big"}
    for path in (b"docs", b"docs/deep", b"docs/deep/big"):
        assert target[path] == source[path]


def test_paths_that_the_copy_lacks_are_named_and_the_rest_comes(
    estate: Estate, store: SftpClient
) -> None:
    fill(estate.source)
    estate.ready()
    result = estate.fetch(store, b"no", b"docs/plain/x", b"docs/plain", b"../x")
    assert [path for path, dummy in result.problems] == [b"no", b"docs/plain/x", b"../x"]
    assert (estate.target / "docs/plain").read_bytes() == b"plain\n"
    assert not result.complete


def test_a_second_time_nothing_is_read(estate: Estate, store: SftpClient) -> None:
    fill(estate.source)
    estate.ready()
    estate.fetch(store, b"")
    again = estate.fetch(store, b"")
    assert again.problems == []
    assert (again.files, again.linked, again.symlinks, again.special) == (0, 0, 0, 0)
    source, target = picture(estate.source), picture(estate.target)
    # The restore's own journal has come and gone in it.
    del source[b""], target[b""]
    assert target == source


def test_damage_at_the_destination_is_named_and_the_rest_comes(
    estate: Estate, store: SftpClient
) -> None:
    for name in ("flipped", "missing", "short", "unreadable", "good"):
        write(estate.source / name, b"content of " + name.encode())
    estate.ready()
    tree = Path(os.fsdecode(estate.layout.tree))
    (tree / "flipped").write_bytes(b"Content of flipped")
    (tree / "missing").unlink()
    (tree / "short").write_bytes(b"content")
    (tree / "unreadable").unlink()
    (tree / "unreadable").mkdir()
    result = estate.fetch(store, b"")
    texts = dict(result.problems)
    assert set(texts) == {b"flipped", b"missing", b"short", b"unreadable"}
    assert "damaged" in texts[b"flipped"]
    assert "no such file" in texts[b"missing"]
    assert "7 bytes, 16 were sent" in texts[b"short"]
    assert sorted(os.listdir(estate.target)) == ["good"]


def test_what_is_there_is_not_overwritten(estate: Estate, store: SftpClient) -> None:
    for name in ("file", "other", "link-there", "directory-there"):
        write(estate.source / name, b"the copy")
    os.symlink("x", estate.source / "symlink")
    os.mkdir(estate.source / "directory")
    write(estate.source / "directory/below", b"below")
    estate.ready()
    estate.target.mkdir()
    write(estate.target / "file", b"the user's")
    victim = estate.target / "victim"
    write(victim, b"not to be touched")
    os.symlink("victim", estate.target / "link-there")
    (estate.target / "directory-there").mkdir()
    write(estate.target / "symlink", b"a file")
    write(estate.target / "directory", b"a file")
    before = picture(estate.target)
    result = estate.fetch(store, b"")
    assert {path for path, dummy in result.problems} == {
        b"file",
        b"link-there",
        b"directory-there",
        b"symlink",
        b"directory",
    }
    after = picture(estate.target)
    assert after.pop(b"other")
    del before[b""], after[b""]
    assert after == before


def test_overwriting_has_to_be_asked_for_and_keeps_what_is_newer(
    estate: Estate, store: SftpClient
) -> None:
    old, new = 1_500_000_000_000_000_000, 1_700_000_000_000_000_000
    for name in ("older", "newer", "link", "directory"):
        write(estate.source / name, b"the copy")
    os.mkdir(estate.source / "sub")
    os.chmod(estate.source / "sub", 0o751)
    estate.ready()
    estate.target.mkdir()
    write(estate.target / "older", b"older", mtime_ns=old)
    write(estate.target / "newer", b"newer", mtime_ns=new)
    write(estate.target / "victim", b"not to be touched", mtime_ns=old)
    os.symlink("victim", estate.target / "link")
    os.utime(estate.target / "link", ns=(old, old), follow_symlinks=False)
    (estate.target / "directory").mkdir()
    (estate.target / "sub").mkdir(mode=0o700)
    result = estate.fetch(store, b"", overwrite=True)
    texts = dict(result.problems)
    assert set(texts) == {b"newer", b"directory"}
    assert "newer than the copy" in texts[b"newer"]
    assert (estate.target / "older").read_bytes() == b"the copy"
    assert (estate.target / "newer").read_bytes() == b"newer"
    assert (estate.target / "victim").read_bytes() == b"not to be touched"
    assert not (estate.target / "link").is_symlink()
    assert stat.S_IMODE((estate.target / "sub").stat().st_mode) == 0o751


def test_no_symlink_in_the_target_leads_outside(
    estate: Estate, store: SftpClient, tmp_path: Path
) -> None:
    """A user who may write to the target must not make root write somewhere else."""
    os.mkdir(estate.source / "home")
    write(estate.source / "home/passwd", b"from the copy")
    estate.ready()
    outside = tmp_path / "etc"
    outside.mkdir()
    write(outside / "passwd", b"outside")
    estate.target.mkdir()
    os.symlink(outside, estate.target / "home")
    for paths in ((b"",), (b"home/passwd",)):
        result = estate.fetch(store, *paths, overwrite=True)
        assert result.problem_count == 1
        assert os.listdir(outside) == ["passwd"]
        assert (outside / "passwd").read_bytes() == b"outside"


def test_names_of_one_file_with_different_contents_are_not_linked(
    estate: Estate, store: SftpClient
) -> None:
    """One name's newer content had not reached the destination."""
    write(estate.source / "a", b"old content")
    os.link(estate.source / "a", estate.source / "b")
    estate.ready()
    Path(os.fsdecode(estate.layout.tree), "b").write_bytes(b"older")
    estate.index.db.execute(
        "UPDATE link SET sha256 = ?, size = 5, version = NULL WHERE name = x'62'",
        (hashlib.sha256(b"older").digest(),),
    )
    result = estate.fetch(store, b"")
    assert result.problems == []
    assert (estate.target / "a").read_bytes() == b"old content"
    assert (estate.target / "b").read_bytes() == b"older"
    assert (estate.target / "a").stat().st_nlink == 1
    assert result.older == 1
    assert "1 files have an older content" in "".join(result.notes)


def test_a_damaged_first_name_does_not_spoil_the_others(estate: Estate, store: SftpClient) -> None:
    write(estate.source / "a", b"content")
    for name in ("b", "c", "d"):
        os.link(estate.source / "a", estate.source / name)
    estate.ready()
    tree = Path(os.fsdecode(estate.layout.tree))
    (tree / "a").write_bytes(b"CONTENT")
    (tree / "b").write_bytes(b"CONTENT")
    result = estate.fetch(store, b"")
    assert [path for path, dummy in result.problems] == [b"a", b"b"]
    assert (estate.target / "c").read_bytes() == b"content"
    assert (estate.target / "c").stat().st_nlink == 2


def test_without_hard_links_in_the_target_copies_do(
    estate: Estate, store: SftpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(estate.source / "a", b"content")
    os.link(estate.source / "a", estate.source / "b")
    estate.ready()

    def refuse(*dummy: Any, **dummy_more: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(target_module.os, "link", refuse)
    result = estate.fetch(store, b"")
    assert result.problems == []
    assert (estate.target / "b").read_bytes() == b"content"
    assert "1 hard links became files of their own" in "".join(result.notes)
    assert sorted(os.listdir(estate.target)) == ["a", "b"]


def test_what_has_not_been_sent_yet_is_named(estate: Estate, store: SftpClient) -> None:
    write(estate.source / "a", b"content")
    write(estate.source / "b", b"content")
    estate.ready()
    estate.index.db.execute(
        "UPDATE link SET sha256 = NULL, size = NULL, version = NULL, read_at = NULL "
        "WHERE name = x'61'"
    )
    result = estate.fetch(store, b"")
    assert result.problems == [(b"a", "its content has not reached the destination yet")]
    assert sorted(os.listdir(estate.target)) == ["b"]


def test_sockets_are_counted(estate: Estate, store: SftpClient) -> None:
    os.mknod(estate.source / "socket", 0o600 | stat.S_IFSOCK)
    estate.ready()
    result = estate.fetch(store, b"")
    assert result.complete
    assert "1 sockets were left out" in "".join(result.notes)


def test_an_attribute_that_cannot_be_set_is_named_and_the_file_is_there(
    estate: Estate, store: SftpClient
) -> None:
    write(estate.source / "a", b"content")
    estate.ready()
    estate.index.db.execute(
        "UPDATE object SET xattrs = ? WHERE kind = 'f'", (pack_xattrs({"nonsense.x": b"1"}),)
    )
    result = estate.fetch(store, b"")
    [(path, text)] = result.problems
    assert path == b"a"
    assert text.startswith("restored, but attribute 'nonsense.x' could not be set")
    assert (estate.target / "a").read_bytes() == b"content"


@needs_root
def test_another_user_restores_what_that_user_may(estate: Estate, store: SftpClient) -> None:
    write(estate.source / "a", b"content", 0o4750)
    os.chown(estate.source / "a", 1234, 1234)
    os.chmod(estate.source / "a", 0o4750)
    estate.ready()
    target = TargetTree(estate.target)
    target.owners = False
    fetch = Fetch(
        store, estate.layout, estate.index, target, overwrite=False, progress=lambda *dummy: None
    )
    result = fetch.run([b""])
    target.close(finished=True)
    found = (estate.target / "a").stat()
    assert (found.st_uid, oct(stat.S_IMODE(found.st_mode))) == (0, "0o750")
    assert result.complete
    assert "not run as root" in "".join(result.notes)


def test_a_full_target_ends_the_restore(
    estate: Estate, store: SftpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        write(estate.source / str(number), b"x" * 1000)
    estate.ready()
    real = os.write
    calls = 0

    def full(descriptor: int, data: Any) -> int:
        nonlocal calls
        if len(data) == 1000:
            calls += 1
            if calls == 120:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SourceError, match="No space left"):
        estate.fetch(store, b"")
    names = [name for name in os.listdir(estate.target) if not name.isdigit()]
    assert names == [".homelab-backup-fetch.directories"]
    assert 1 < len(os.listdir(estate.target)) <= 120
    # The connection is still good, and the same command completes it.
    monkeypatch.setattr(os, "write", real)
    assert estate.fetch(store, b"").complete
    assert picture(estate.target) == picture(estate.source)


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the restore's own clean-up may be needed."""


@pytest.mark.parametrize("after", range(0, 40, 3))
def test_killed_and_run_again(
    estate: Estate, store: SftpClient, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    fill(estate.source)
    estate.ready()
    left = after

    def dying(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("mkdir", "link", "replace", "symlink", "unlink", "chown", "chmod", "utime"):
            patch.setattr(os, name, dying(name))
        with connect("-R") as other, contextlib.suppress(Killed):
            estate.fetch(other, b"")
    result = estate.fetch(store, b"")
    assert result.problems == []
    assert picture(estate.target) == picture(estate.source)


def test_the_connection_breaks(estate: Estate, store: SftpClient) -> None:
    for number in range(100):
        write(estate.source / str(number), os.urandom(100_000))
    estate.ready()
    with connect("-R") as other:
        target = TargetTree(estate.target)

        def cut(files: int, dummy: int) -> None:
            if files == 10:
                other.close()

        fetch = Fetch(other, estate.layout, estate.index, target, overwrite=False, progress=cut)
        with pytest.raises(TransportError):
            fetch.run([b""])
        target.close(finished=False)
    result = estate.fetch(store, b"")
    assert result.complete
    assert result.files + result.present == 100
    assert result.present >= 10
    assert picture(estate.target).keys() == picture(estate.source).keys()


def test_two_restores_do_not_share_a_target(estate: Estate, store: SftpClient) -> None:
    write(estate.source / "a", b"content")
    estate.ready()
    first = TargetTree(estate.target)
    with pytest.raises(LockedError, match="another restore works in it"):
        estate.fetch(store, b"")
    first.close(finished=True)
    assert estate.fetch(store, b"").complete


def test_a_target_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="open the directory to restore into"):
        TargetTree(tmp_path / "no/such")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceError):
        TargetTree(tmp_path / "file")


def test_deep_and_long_paths(estate: Estate, store: SftpClient) -> None:
    """Longer than PATH_MAX: no path argument of the target's side grows with it."""
    at = os.open(estate.source, os.O_RDONLY)
    for dummy in range(14):
        os.mkdir(b"d" * 200, dir_fd=at)
        below = os.open(b"d" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    deepest = b"/".join([b"d" * 200] * 14)
    path = os.path.join(os.fsencode(estate.source), deepest, b"file")
    write(path, b"deep")
    estate.ready()
    estate.target = estate.target.parent / ("t" * 200) / ("u" * 200)
    for level in reversed(estate.target.parents):
        level.mkdir(exist_ok=True)
    long = estate.target
    for dummy in range(5):
        long = long / ("v" * 180)
    long.mkdir(parents=True)
    estate.target = long
    assert estate.fetch(store, b"").problems == []
    tree = picture(estate.target)
    assert tree[deepest + b"/file"] == picture(estate.source)[deepest + b"/file"]


# --- versions ---------------------------------------------------------------------------------


def put_version(
    layout: Layout, run: str, reason: str, name: str, content: bytes, mtime: int
) -> None:
    path = Path(os.fsdecode(layout.versions), run, reason, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, content, mtime_ns=mtime * 1_000_000_000)


OLD_RUN = "20261120T000000Z-0001"


def fetch_version(store: Any, estate: Estate, run: str, reason: bytes, *paths: bytes) -> Fetched:
    target = TargetTree(estate.target)
    try:
        return FetchVersion(
            store,
            estate.layout,
            target,
            run=os.fsencode(run),
            reason=reason,
            overwrite=False,
            progress=lambda dummy_files, dummy_bytes: None,
        ).run(paths)
    finally:
        target.close(finished=True)


def test_versions_are_listed_and_come_back(estate: Estate, store: SftpClient) -> None:
    put_version(estate.layout, RUN, "deleted", "docs/a", b"deleted today", 1_600_000_000)
    put_version(estate.layout, RUN, "deleted", "docs/sub/b", b"below", 1_600_000_001)
    put_version(estate.layout, OLD_RUN, "replaced", "docs/a", b"replaced before", 1_500_000_000)
    Path(os.fsdecode(estate.layout.versions), "notes").mkdir()
    assert list_runs(store, estate.layout) == [os.fsencode(RUN), os.fsencode(OLD_RUN)]
    found = list(find_versions(store, estate.layout, b"docs/a"))
    assert [(item.run, item.reason, item.size, item.mtime) for item in found] == [
        (os.fsencode(RUN), b"deleted", 13, 1_600_000_000),
        (os.fsencode(OLD_RUN), b"replaced", 15, 1_500_000_000),
    ]
    result = fetch_version(store, estate, RUN, b"deleted", b"docs")
    assert result.problems == []
    assert (estate.target / "docs/a").read_bytes() == b"deleted today"
    assert (estate.target / "docs/a").stat().st_mtime == 1_600_000_000
    assert (estate.target / "docs/sub/b").read_bytes() == b"below"
    # What is there is neither read again nor overwritten.
    again = fetch_version(store, estate, RUN, b"deleted", b"docs")
    assert (again.files, again.present, again.problem_count) == (0, 2, 0)
    other = fetch_version(store, estate, OLD_RUN, b"replaced", b"docs/a", b"docs/no")
    assert [path for path, dummy in other.problems] == [b"docs/a", b"docs/no"]


def test_a_version_that_is_not_there_is_named(estate: Estate, store: SftpClient) -> None:
    with pytest.raises(DestinationError, match="find the version"):
        fetch_version(store, estate, RUN, b"deleted", b"a")
