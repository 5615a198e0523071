# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The client against servers that are unlike OpenSSH's, and against ones that misbehave."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    SourceError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from ansible_collections.homelab.backup.plugins.module_utils._sftp.connection import Tuning
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    ConnectionLostError,
    ProtocolError,
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Attributes,
    Kind,
    Outcome,
    ReadItem,
    ReadOutcome,
    UploadItem,
    UploadOutcome,
)

SERVER = str(Path(__file__).with_name("odd_server.py"))
QUICK = Tuning(block=1000, stall_timeout=20, connect_timeout=20)
Connect = Callable[..., SftpClient]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects to an odd server; closes what was connected."""
    clients: list[SftpClient] = []

    def begin(*oddities: str, tuning: Tuning = QUICK) -> SftpClient:
        client = SftpClient.connect(
            [sys.executable, "-I", SERVER, *oddities], where="odd", tuning=tuning
        )
        clients.append(client)
        return client

    yield begin
    for client in clients:
        client.close()


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def upload(client: RemoteStore, items: list[UploadItem]) -> dict[bytes, UploadOutcome]:
    outcomes: list[UploadOutcome] = []
    client.upload_many(iter(items), outcomes.append)
    assert len(outcomes) == len(items)
    return {outcome.item.target: outcome for outcome in outcomes}


def local_files(root: Path, sizes: list[int]) -> list[UploadItem]:
    """Files of these sizes, to be uploaded to ``root/to``."""
    (root / "from").mkdir()
    (root / "to").mkdir()
    items = []
    for number, size in enumerate(sizes):
        source = root / "from" / str(number)
        source.write_bytes(content(size))
        target = os.fsencode(root / "to" / str(number))
        items.append(UploadItem(os.fsencode(source), target, size, 1000 + number, 0o640))
    return items


@pytest.mark.parametrize(
    "oddities", [(), ("shuffle",), ("short",), ("few",), ("bare",), ("shuffle", "short", "few")]
)
def test_content_goes_there_and_back(
    oddities: tuple[str, ...], connect: Connect, tmp_path: Path
) -> None:
    client = connect(*oddities)
    items = local_files(tmp_path, [0, 1, 999, 1000, 1001, 25_000, 300_000, *range(60)])
    outcomes = upload(client, items)
    for item in items:
        outcome = outcomes[item.target]
        expected = content(item.size)
        assert outcome.ok
        assert outcome.sha256 == hashlib.sha256(expected).hexdigest()
        assert Path(os.fsdecode(item.target)).read_bytes() == expected
        found = os.stat(item.target)
        assert (int(found.st_mtime), found.st_mode & 0o7777) == (item.mtime, 0o640)
        assert outcome.stored is not None
        assert (outcome.stored.size, outcome.stored.mtime) == (item.size, item.mtime)
    read = {
        one.item.path: one for one in client.read_many(ReadItem(i.target, i.size) for i in items)
    }
    assert {path: one.sha256 for path, one in read.items()} == {
        path: one.sha256 for path, one in outcomes.items()
    }
    pieces: list[bytes] = []
    attributes, sha256 = client.download(items[6].target, lambda data: pieces.append(bytes(data)))
    assert b"".join(pieces) == content(300_000)
    assert (attributes.size, sha256) == (300_000, outcomes[items[6].target].sha256)


@pytest.mark.parametrize("oddities", [(), ("shuffle",), ("few",), ("few", "shuffle")])
def test_a_tree_is_listed_whole(
    oddities: tuple[str, ...], connect: Connect, tmp_path: Path
) -> None:
    root = os.fsencode(tmp_path)
    names = [b"plain", b"new\nline", b"re\rturn", b"\xff\xfe", b" ", b"\\", b"-", "é".encode()]
    expected = {}
    for first in names:
        os.mkdir(os.path.join(root, first))
        expected[first] = Kind.DIRECTORY
        for number, second in enumerate(names * 3):
            path = os.path.join(first, second + b"%d" % number)
            Path(os.fsdecode(os.path.join(root, path))).write_bytes(b"x")
            expected[path] = Kind.FILE
    os.symlink(b"plain", os.path.join(root, b"link"))
    expected[b"link"] = Kind.SYMLINK
    client = connect(*oddities)
    listed = list(client.list_tree(root))
    assert {entry.path: entry.attributes.kind for entry in listed} == expected
    assert len(listed) == len(expected)
    seen: set[bytes] = set()
    for entry in listed:
        parent = os.path.dirname(entry.path)
        assert not parent or parent in seen, "a directory comes before what it holds"
        seen.add(entry.path)
    assert {entry.path for entry in client.list_dir(root)} == {*names, b"link"}


def test_skip_keeps_out_of_directories(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "@eaDir" / "thumb").write_bytes(b"")
    (tmp_path / "kept").write_bytes(b"")
    client = connect()
    found = client.list_tree(os.fsencode(tmp_path), skip=lambda path, dummy: path == b"@eaDir")
    assert [entry.path for entry in found] == [b"kept"]


def test_an_abandoned_listing_leaves_the_connection_usable(
    connect: Connect, tmp_path: Path
) -> None:
    for number in range(200):
        (tmp_path / str(number)).mkdir()
    client = connect("few")
    for dummy in range(5):
        listing = client.list_tree(os.fsencode(tmp_path))
        next(listing)
        del listing
    assert len(list(client.list_tree(os.fsencode(tmp_path)))) == 200


def test_operations_inside_another_one(connect: Connect, tmp_path: Path) -> None:
    """A loop over a listing may use the client, and so may the callbacks."""
    for number in range(50):
        (tmp_path / str(number)).write_bytes(b"x")
    client = connect("shuffle", "few")
    root = os.fsencode(tmp_path)
    sizes: list[int | None] = []

    def look(outcome: Outcome) -> None:
        [found] = client.stat_many([outcome.path])
        assert found.attributes is not None
        sizes.append(found.attributes.size)

    for entry in client.list_tree(root):
        path = root + b"/" + entry.path
        client.rename_many([(path, path + b".x")], overwrite=False, on_done=look)
    assert sizes == [1] * 50
    assert len(os.listdir(root)) == 50


def test_an_operation_may_bring_in_the_last_replies_of_another(
    connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "only").write_bytes(b"x")
    root = os.fsencode(tmp_path)
    client = connect("slow")
    listing = client.list_tree(root)
    assert next(listing).path == b"only"
    assert len(list(client.stat_many([root] * 3))) == 3
    assert list(listing) == []
    reading = client.read_many([ReadItem(root + b"/only", 1)] * 2)
    assert next(reading).sha256
    assert len(list(client.stat_many([root] * 5))) == 5
    assert [outcome.error for outcome in reading] == [None]


def test_callbacks_that_move_what_was_uploaded_and_read_it(
    connect: Connect, tmp_path: Path
) -> None:
    items = local_files(tmp_path, [3000] * 15)
    client = connect("shuffle", "short")
    digests: list[str | None] = []

    def publish(outcome: UploadOutcome) -> None:
        final = outcome.item.target + b".final"
        assert client.rename_many([(outcome.item.target, final)], overwrite=True)[0].ok
        for read in client.read_many([ReadItem(final, 3000)]):
            digests.append(read.sha256)
            assert len(list(client.list_tree(os.path.dirname(final)))) > 0

    client.upload_many(items, publish)
    assert digests == [hashlib.sha256(content(3000)).hexdigest()] * 15
    finals = [ReadItem(item.target + b".final", 3000, tag=item.mtime) for item in items]
    for outcome in client.read_many(finals):
        [found] = client.stat_many([outcome.item.path])
        assert found.attributes is not None
        assert found.attributes.mtime == outcome.item.tag


def test_each_item_fails_alone(connect: Connect, tmp_path: Path) -> None:
    root = os.fsencode(tmp_path)
    for name in ("a", "b", "c", "full/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    client = connect("shuffle")
    told: list[Outcome] = []
    outcomes = client.rename_many(
        [
            (root + b"/a", root + b"/b"),
            (root + b"/none", root + b"/d"),
            (root + b"/c", root + b"/e"),
        ],
        overwrite=False,
        on_done=told.append,
    )
    assert [reason(outcome) for outcome in outcomes] == [Reason.EXISTS, Reason.MISSING, None]
    assert sorted(one.path for one in told) == sorted(one.path for one in outcomes)
    assert (tmp_path / "b").read_bytes() == b"b", "nothing was overwritten"
    made = client.mkdir_many([root + b"/full", root + b"/b", root + b"/new"], exist_ok=True)
    assert [reason(outcome) for outcome in made] == [None, Reason.EXISTS, None]
    made = client.mkdir_many([root + b"/full"], exist_ok=False)
    assert [reason(outcome) for outcome in made] == [Reason.EXISTS]
    removed = client.rmdir_many([root + b"/full", root + b"/new"])
    assert [reason(outcome) for outcome in removed] == [Reason.NOT_EMPTY, None]
    removed = client.remove_many([root + b"/full/x", root + b"/nothing"])
    assert [reason(outcome) for outcome in removed] == [None, Reason.MISSING]


def reason(outcome: Outcome | UploadOutcome | ReadOutcome) -> Reason | None:
    if outcome.error is None:
        return None
    assert isinstance(outcome.error, RemoteError)
    return outcome.error.reason


def test_overwriting_rename_and_hard_link(connect: Connect, tmp_path: Path) -> None:
    root = os.fsencode(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    client = connect()
    assert client.rename_many([(root + b"/a", root + b"/b")], overwrite=True)[0].ok
    assert (tmp_path / "b").read_bytes() == b"a"
    assert client.hardlink_many([(root + b"/b", root + b"/c")])[0].ok
    assert (tmp_path / "c").samefile(tmp_path / "b")
    changed = client.setstat_many([(root + b"/c", Attributes(mtime=-5, permissions=0o600))])
    assert changed[0].ok
    assert (tmp_path / "c").stat().st_mtime == 0, "the protocol has no time before 1970"


def test_what_a_bare_server_lacks_is_said(connect: Connect, tmp_path: Path) -> None:
    client = connect("bare")
    path = os.fsencode(tmp_path / "x")
    assert client.statvfs(path) is None
    for outcomes in (
        client.rename_many([(path, path + b"y")] * 2, overwrite=True),
        client.hardlink_many([(path, path + b"y")] * 2),
    ):
        assert [reason(outcome) for outcome in outcomes] == [Reason.UNSUPPORTED] * 2
        assert "internal-sftp" in str(outcomes[0].error)
    with pytest.raises(RemoteError) as caught:
        client.write_file(path, b"")
    assert caught.value.reason is Reason.UNSUPPORTED


def test_stat_in_order_with_what_is_missing(connect: Connect, tmp_path: Path) -> None:
    for number in range(0, 100, 2):
        (tmp_path / str(number)).write_bytes(bytes(number))
    client = connect("shuffle")
    paths = [os.fsencode(tmp_path / str(number)) for number in range(100)]
    found = list(client.stat_many(paths))
    assert [outcome.path for outcome in found] == paths
    assert [one.attributes.size if one.attributes else None for one in found] == [
        None if number % 2 else number for number in range(100)
    ]
    assert all(outcome.error is None for outcome in found)


# --- sources that are not what they should be ---------------------------------------------


def test_sources_that_do_not_fit(connect: Connect, tmp_path: Path) -> None:
    items = local_files(tmp_path, [10, 10, 10, 10, 10])
    source = [Path(os.fsdecode(item.source)) for item in items if isinstance(item.source, bytes)]
    source[0].unlink()
    source[1].write_bytes(b"short")
    source[2].unlink()
    os.mkfifo(source[2])
    source[3].unlink()
    source[3].symlink_to(source[4])
    outcomes = list(upload(connect(), items).values())
    errors = [outcome.error for outcome in outcomes if not outcome.ok]
    assert len(errors) == 4
    assert all(isinstance(error, SourceError) for error in errors)
    assert sorted(os.listdir(tmp_path / "to")) == ["4"], "nothing was made for a bad source"


def test_a_source_that_ends_early(connect: Connect, tmp_path: Path) -> None:
    [item] = local_files(tmp_path, [50_000])

    def further_on() -> int:
        assert isinstance(item.source, bytes)
        descriptor = os.open(item.source, os.O_RDONLY)
        os.lseek(descriptor, 700, os.SEEK_SET)
        return descriptor

    shorter = UploadItem(further_on, item.target, item.size)
    [outcome] = upload(connect(), [shorter]).values()
    assert isinstance(outcome.error, SourceError)
    assert "it ended after 49300 of 50000 bytes" in outcome.error.found


def test_a_source_that_grows_meanwhile(connect: Connect, tmp_path: Path) -> None:
    first, growing = local_files(tmp_path, [5000, 50_000])
    outcomes: list[UploadOutcome] = []

    def grow(outcome: UploadOutcome) -> None:
        outcomes.append(outcome)
        with open(tmp_path / "from" / "1", "ab") as handle:
            handle.write(b"x")

    client = connect(tuning=Tuning(block=1000, files=2, requests=4))
    client.upload_many([first, growing], grow)
    [failed] = [outcome for outcome in outcomes if not outcome.ok]
    assert isinstance(failed.error, SourceError)
    assert "more than" in failed.error.found
    assert failed.item is growing


def test_a_remote_file_that_differs_is_not_read(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes(b"12345")
    (tmp_path / "other").write_bytes(b"12345")
    (tmp_path / "empty").write_bytes(b"")
    root = os.fsencode(tmp_path) + b"/"
    items = [ReadItem(root + name, 5) for name in (b"same", b"empty", b"gone")]
    items.append(ReadItem(root + b"other", 4))
    found = {one.item.path: one for one in connect("shuffle").read_many(items)}
    assert found[root + b"same"].sha256 == hashlib.sha256(b"12345").hexdigest()
    for name, size in ((b"other", 5), (b"empty", 0)):
        outcome = found[root + name]
        assert outcome.attributes is not None
        assert (outcome.attributes.size, outcome.sha256, outcome.error) == (size, None, None)
    assert found[root + b"gone"].attributes is None
    assert found[root + b"gone"].error is None


def test_small_files(connect: Connect, tmp_path: Path) -> None:
    client = connect("shuffle", "short")
    path = os.fsencode(tmp_path / "marker")
    for data in (b"", b"first", b"second" * 50_000):
        client.write_file(path, data)
        assert client.read_file(path, 400_000) == data
    assert sorted(os.listdir(tmp_path)) == ["marker"]
    with pytest.raises(RemoteError, match="more than 10 bytes"):
        client.read_file(path, 10)
    with pytest.raises(RemoteError) as caught:
        client.read_file(path + b"x", 10)
    assert caught.value.reason is Reason.MISSING
    assert client.read_file(path, 400_000), "the connection is fine after a refused file"


def test_holes_stay_holes(connect: Connect, tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as handle:
        handle.write(b"begin")
        handle.truncate(3_000_000)
    target = tmp_path / "target"
    target.write_bytes(b"old" * 100_000)
    item = UploadItem(os.fsencode(source), os.fsencode(target), 3_000_000)
    [outcome] = upload(connect(tuning=Tuning(block=10_000)), [item]).values()
    assert outcome.ok
    assert outcome.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < 200_000


# --- servers that misbehave -----------------------------------------------------------------


def test_text_before_the_protocol(connect: Connect) -> None:
    with pytest.raises(ProtocolError, match="Welcome to the NAS"):
        connect("banner")


def test_impossible_packet_length(connect: Connect) -> None:
    with pytest.raises(ProtocolError, match="no SFTP packet"):
        connect("huge")


def test_old_version(connect: Connect) -> None:
    with pytest.raises(TransportError, match="version 2"):
        connect("old")


def test_a_server_that_never_answers(connect: Connect) -> None:
    begin = time.monotonic()
    with pytest.raises(TransportError, match="no answer within"):
        connect("mute", tuning=Tuning(connect_timeout=0.3))
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize(
    ("oddity", "words"),
    [("stranger", "nobody sent"), ("garbage", "malformed"), ("slash", "malformed")],
)
def test_replies_that_make_no_sense(
    oddity: str, words: str, connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"")
    client = connect(oddity)
    with pytest.raises(ProtocolError, match=words):
        client.list_dir(os.fsencode(tmp_path))
    with pytest.raises(ProtocolError):
        list(client.stat_many([b"/"]))


def test_a_server_that_gets_stuck(connect: Connect, tmp_path: Path) -> None:
    client = connect("hang=5", tuning=Tuning(stall_timeout=0.5))
    paths = [os.fsencode(tmp_path / str(number)) for number in range(10)]
    with pytest.raises(ConnectionLostError, match="no answer for") as caught:
        client.mkdir_many(paths, exist_ok=True)
    assert {path for dummy, path in caught.value.unknown} == set(paths[5:])


def test_a_server_that_dies(connect: Connect, tmp_path: Path) -> None:
    """What was answered is told, what was under way is named as unknown."""
    client = connect("die=7")
    paths = [os.fsencode(tmp_path / str(number)) for number in range(20)]
    told: list[Outcome] = []
    with pytest.raises(ConnectionLostError, match="the odd server dies") as caught:
        client.mkdir_many(paths, exist_ok=True, on_done=told.append)
    assert [outcome.path for outcome in told] == paths[:7]
    assert [path for dummy, path in caught.value.unknown] == paths[7:]
    assert caught.value.facts()["unknown"].startswith("make the directory ")
    assert len(os.listdir(tmp_path)) == 7
    with pytest.raises(ConnectionLostError):
        client.list_dir(b"/")


def test_refusals_before_a_death_are_told(connect: Connect, tmp_path: Path) -> None:
    """Their cause could not be looked up any more; that they failed is known."""
    for number in range(3):
        (tmp_path / str(number)).mkdir()
    paths = [os.fsencode(tmp_path / str(number)) for number in range(20)]
    told: list[Outcome] = []
    with pytest.raises(ConnectionLostError):
        connect("die=7").mkdir_many(paths, exist_ok=True, on_done=told.append)
    assert sorted(outcome.path for outcome in told if not outcome.ok) == paths[:3]
    assert len(told) == 7


@pytest.mark.parametrize("count", [20, 50, 90])
def test_every_item_is_told_or_unknown(count: int, connect: Connect, tmp_path: Path) -> None:
    """Also when answers come in another order than the requests."""
    paths = [os.fsencode(tmp_path / str(number)) for number in range(100)]
    told: list[Outcome] = []
    client = connect("shuffle", f"die={count}", tuning=Tuning(requests=16, stall_timeout=20))
    with pytest.raises(ConnectionLostError) as caught:
        client.mkdir_many(paths, exist_ok=True, on_done=told.append)
    unknown = [path for dummy, path in caught.value.unknown]
    asked = [outcome.path for outcome in told] + unknown
    assert sorted(asked) == sorted(paths[: len(asked)])
    assert len(asked) == len(set(asked))
    assert told
    assert unknown


def test_dying_during_uploads_leaks_nothing(connect: Connect, tmp_path: Path) -> None:
    items = local_files(tmp_path, [5000] * 50)
    client = connect("die=100")
    before = len(os.listdir("/proc/self/fd"))
    outcomes: list[UploadOutcome] = []
    with pytest.raises(ConnectionLostError):
        client.upload_many(items, outcomes.append)
    assert all(outcome.ok for outcome in outcomes)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_callback_that_raises_stops_cleanly(connect: Connect, tmp_path: Path) -> None:
    items = local_files(tmp_path, [5000] * 50)
    client = connect("shuffle")
    before = len(os.listdir("/proc/self/fd"))

    def refuse(dummy: UploadOutcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.upload_many(items, refuse)
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(client.list_dir(os.fsencode(tmp_path / "to"))) > 0, "it can still be used"


def test_closed_is_closed(connect: Connect) -> None:
    client = connect()
    client.close()
    client.close()
    with pytest.raises(TransportError, match="closed before"):
        client.list_dir(b"/")


def test_a_missing_program() -> None:
    with pytest.raises(TransportError, match="install no-such-program"):
        SftpClient.connect(["no-such-program"])
