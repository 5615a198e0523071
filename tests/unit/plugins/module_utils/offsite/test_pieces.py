# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

from __future__ import annotations

import contextlib
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    DestinationError,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    Attributes,
    node_id,
    pack_xattrs,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.pieces import (
    LONGEST_TEXT,
    DatasetRecord,
    DropRecord,
    Header,
    NodeRecord,
    PutRecord,
    RenameRecord,
    Stored,
    dataset_record,
    decode_piece,
    decode_record,
    drop_record,
    encode_piece,
    node_record,
    piece_name,
    piece_number,
    put_record,
    rename_record,
)

WHERE = b"/c/index/g/00000001.jsonl.gz"
WHOLE = st.integers(-(1 << 63), (1 << 63) - 1)
PATHS = st.lists(
    st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name and b"\0" not in name),
    max_size=4,
).map(b"/".join)
NODES = st.builds(node_id, st.integers(0, 0x7FFF), st.integers(0, (1 << 48) - 1))
XATTR_NAMES = st.binary(min_size=1, max_size=9).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)
ATTRIBUTES = st.builds(
    Attributes,
    kind=st.sampled_from("fdlbcps"),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, (1 << 32) - 1),
    gid=st.integers(0, (1 << 32) - 1),
    size=st.integers(0, 1 << 62),
    mtime_ns=WHOLE,
    ctime_ns=WHOLE,
    rdev=st.integers(0, (1 << 32) - 1),
    target=st.none() | st.binary(max_size=20),
    xattrs=st.dictionaries(XATTR_NAMES, st.binary(max_size=9), max_size=3).map(pack_xattrs),
)
HEADER = b'{"format":"homelab.backup.offsite-index/1","generation":"g","piece":1,"records":%d}\n'
DROP = b'{"op":"drop","path":"a"}'
FILE = Attributes("f", 0o640, 1000, 100, 5, 1_700_000_000_123_456_789, 1_700_000_001_000_000_001)


@given(PATHS, NODES, ATTRIBUTES, st.booleans(), st.binary(min_size=32, max_size=32), WHOLE, WHOLE)
def test_a_put_comes_back(
    path: bytes,
    node: int,
    attributes: Attributes,
    racy: bool,
    sha256: bytes,
    size: int,
    version: int,
) -> None:
    plain = put_record(path, node, attributes, racy)
    assert decode_record(plain) == PutRecord(path, node, attributes, racy, None)
    assert b"\n" not in plain
    if attributes.kind == "f":
        sent = put_record(path, node, attributes, racy, sha256)
        stored = Stored(sha256, attributes.size, attributes.ctime_ns)
        assert decode_record(sent) == PutRecord(path, node, attributes, racy, stored)
        old = put_record(path, node, attributes, racy, sha256, stored_size=size, version=version)
        stored = Stored(sha256, size, version)
        assert decode_record(old) == PutRecord(path, node, attributes, racy, stored)
        due = put_record(path, node, attributes, racy, sha256, stored_size=size, pending=True)
        stored = Stored(sha256, size, None)
        assert decode_record(due) == PutRecord(path, node, attributes, racy, stored)


@given(NODES, ATTRIBUTES, st.booleans())
def test_a_node_comes_back(node: int, attributes: Attributes, racy: bool) -> None:
    assert decode_record(node_record(node, attributes, racy)) == NodeRecord(node, attributes, racy)


@given(PATHS | st.integers(0, 1 << 40), PATHS | st.integers(0, 1 << 40))
def test_renames_and_drops_come_back(old: bytes | int, new: bytes | int) -> None:
    assert decode_record(rename_record(old, new)) == RenameRecord(old, new)
    assert decode_record(drop_record(old)) == DropRecord(old)


@given(st.integers(0, 1 << 15), st.text(max_size=9), st.text(max_size=9), st.none() | NODES)
def test_a_dataset_comes_back(number: int, guid: str, name: str, root: int | None) -> None:
    record = dataset_record(number, guid, name, root)
    assert decode_record(record) == DatasetRecord(number, guid, name, root)


def test_a_record_is_readable_without_tools_of_ours() -> None:
    record = put_record("Fotos/Köln.jpg".encode(), node_id(3, 128), FILE, False, bytes(32))
    assert json.loads(record) == {
        "op": "put",
        "path": "Fotos/Köln.jpg",
        "node": "3:128",
        "kind": "f",
        "mode": 0o640,
        "uid": 1000,
        "gid": 100,
        "size": 5,
        "mtime_ns": 1_700_000_000_123_456_789,
        "ctime_ns": 1_700_000_001_000_000_001,
        "sha256": "00" * 32,
    }
    assert "Köln".encode() in record


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"", "Expecting value"),
        (b"[]", "no record"),
        (b"{}", "no key 'op'"),
        (b'{"op":"move"}', "unknown op 'move'"),
        (b'{"op":"drop"}', "no key 'path'"),
        (b'{"op":"drop","path":7}', "not a name"),
        (b'{"op":"drop","path":{"b64":"!"}}', "non-base64|Only base64|padding"),
        (b'{"op":"rename","from":"a","to":{"stage":"1"}}', "not a whole number"),
        (put_record(b"a", 1, FILE, False).replace(b'"0:1"', b'"1"'), "not a node"),
        (put_record(b"a", 1, FILE, False, bytes(32)).replace(b'00"', b'"'), "not a file's sha256"),
        (put_record(b"a", 1, FILE, False).replace(b":1000,", b":true,"), "not a whole number"),
    ],
)
def test_what_is_no_record_says_why(line: bytes, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        decode_record(line)


@given(st.integers(1, 10**9))
def test_piece_names(number: int) -> None:
    assert piece_number(piece_name(number)) == number


@pytest.mark.parametrize("name", [b"", b"1.jsonl.gz", b".00000001.jsonl.gz.new", b"00000001"])
def test_other_names_are_no_pieces(name: bytes) -> None:
    assert piece_number(name) is None


@given(st.lists(st.builds(drop_record, PATHS), max_size=5))
def test_a_piece_comes_back_and_is_always_the_same(records: list[bytes]) -> None:
    content = encode_piece("run.0", 7, records)
    assert decode_piece(content, WHERE) == (Header("run.0", 7, len(records)), records)
    assert encode_piece("run.0", 7, iter(records)) == content


def test_every_damage_to_a_piece_is_found() -> None:
    content = encode_piece("run.0", 7, [drop_record(b"a"), drop_record(b"b")])
    for length in range(len(content)):
        with pytest.raises(DestinationError) as caught:
            decode_piece(content[:length], WHERE)
        assert caught.value.on == WHERE.decode()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 0x20
        # A few bits of gzip's header and padding say nothing about the content.
        with contextlib.suppress(DestinationError):
            assert decode_piece(bytes(flipped), WHERE) == decode_piece(content, WHERE)


def test_a_piece_that_unpacks_without_end_is_refused() -> None:
    with pytest.raises(DestinationError, match="more than"):
        decode_piece(gzip.compress(bytes(LONGEST_TEXT + 1)), WHERE)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "Expecting value"),
        (b"[]\n", "no key 'format'"),
        (b'{"format":"homelab.backup.other/1"}\n', "homelab.backup.other/1"),
        (b'{"format":"homelab.backup.offsite-index/1"}\n', "header is wrong"),
        (HEADER % 2 + DROP + b"\n", "it has 1 records, its header says 2"),
        (HEADER % 0 + DROP + b"\n", "it has 1 records, its header says 0"),
        (HEADER % 1 + DROP, "its header says 1"),
    ],
)
def test_what_is_no_piece_says_why(text: bytes, found: str) -> None:
    with pytest.raises(DestinationError) as caught:
        decode_piece(gzip.compress(text), WHERE)
    assert found in caught.value.found


def test_a_newer_major_is_refused() -> None:
    text = b'{"format":"homelab.backup.offsite-index/2"}\n'
    with pytest.raises(ConfigError, match="reads up to"):
        decode_piece(gzip.compress(text), WHERE)
