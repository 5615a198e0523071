# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The send stream parser on streams written field by field, cut anywhere, and on garbage."""

from __future__ import annotations

import itertools
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import SourceError
from ansible_collections.homelab.backup.plugins.module_utils._zfs.sendstream import (
    Objects,
    StreamChanges,
    StreamParser,
    stamp,
)
from tests.unit.plugins.module_utils.zfs.streams import (
    DIRECTORY,
    FROM_GUID,
    TO_GUID,
    StreamWriter,
)

NAME = "main/a@base..main/a@new"
ORDERS = pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])


def parse(stream: bytes, size: int = 1 << 20) -> StreamChanges:
    """The stream, fed in pieces of ``size`` bytes."""
    parser = StreamParser(NAME)
    for start in range(0, len(stream), size):
        parser.feed(memoryview(stream)[start : start + size])
    return parser.finish()


def every_record(order: str = "<") -> bytes:
    """A stream with each type of record and payload size."""
    stream = StreamWriter(order)
    stream.begin(payload=b"N" * 96)
    stream.freeobjects(1, 6)
    stream.object_range(0)
    stream.object(7, end=512, bonus=24)
    stream.object(34, end=512, what=DIRECTORY)
    stream.embedded(34, 61)
    stream.freeobjects(35, 93)
    stream.object(128, end=1 << 20)
    stream.write(128, 0, 131072)
    stream.free(128, 131072, 131072)
    stream.write(128, 262144, 131072, compressed=1536)
    stream.object(129, end=0, bonus=0)
    stream.object(130, end=131072, raw_bonus=320)
    stream.spill(130, 512, flags=1 << 2)
    stream.object(131, end=131072, bonus=165)
    stream.spill(131, 1024)
    stream.object(132, what=DIRECTORY)
    stream.free(132, 16384, 16384)
    stream.object(133)
    stream.byref(133)
    stream.object(134)
    stream.redact(134)
    stream.object(135, what=DIRECTORY)
    stream.object(136)
    stream.spill(136, 1024, compressed=517)
    stream.object(137, end=512)
    stream.embedded(137, 100, offset=2**64 - 1024)
    stream.freeobjects(138, 6)
    return stream.end()


@ORDERS
def test_each_record_type(order: str) -> None:
    found = parse(every_record(order))
    ends = {7: 512, 34: 512, 137: 512, 128: 1 << 20, 129: 0, 130: 131072, 131: 131072, 132: 131072}
    ends |= dict.fromkeys((133, 134, 135, 136), 131072)
    assert {number: found.objects.end(number) for number in found.objects} == ends
    assert found.objects == ends.keys()
    assert len(found.objects) == len(ends)
    assert found.data == {34, 128, 133, 134}
    assert found.holes == {128, 132}
    assert found.spill == {131, 136, 137}, "a spill block that is only repeated is no change"
    assert found.directories == {34, 132, 135}
    assert found.changed_directories == {34, 132}
    assert found.freed == [(1, 6), (35, 93), (138, 6)]
    assert (found.from_guid, found.to_guid) == (FROM_GUID, TO_GUID)
    assert found.to_name == "main/a@new"
    assert found.length == len(every_record(order))
    assert found.records == 41


@ORDERS
@pytest.mark.parametrize("size", [1, 7, 311, 312, 313, 4096])
def test_pieces_of_any_length_give_the_same(order: str, size: int) -> None:
    assert parse(every_record(order), size) == parse(every_record(order))


@given(cuts=st.lists(st.integers(0, len(every_record())), max_size=12))
def test_pieces_cut_anywhere_give_the_same(cuts: list[int]) -> None:
    stream = every_record()
    parser = StreamParser(NAME)
    places = [0, *sorted(cuts), len(stream)]
    for start, stop in itertools.pairwise(places):
        parser.feed(stream[start:stop])
    assert parser.finish() == parse(stream)


def test_content_may_differ() -> None:
    found = parse(every_record())
    assert found.content_may_differ(128, 5)
    assert not found.content_may_differ(128, 0), "an empty file has no content to differ"
    assert found.content_may_differ(133, 5)
    assert not found.content_may_differ(7, 512)
    assert found.content_may_differ(7, 513), "what is behind the last block can have been cut"
    assert found.content_may_differ(129, 1)
    assert not found.content_may_differ(129, 0)
    assert not found.content_may_differ(131, 131072), "a spill block is not content"
    assert not found.content_may_differ(9999, 1 << 40), "an object that wasn't sent is unchanged"


def test_an_empty_increment() -> None:
    stream = StreamWriter()
    stream.begin()
    found = parse(stream.end())
    assert (found.objects, found.data, found.freed, found.records) == (set(), set(), [], 2)


@given(numbers=st.sets(st.integers(1, 2**48)), asked=st.integers(0, 2**48))
def test_objects_are_a_set_of_numbers(numbers: set[int], asked: int) -> None:
    found = Objects()
    for number in sorted(numbers):
        found.add(number, number * 2)
    assert found == numbers
    assert list(found) == sorted(numbers)
    assert found | {asked} == numbers | {asked}
    assert numbers - found == set()
    for number in (asked, *numbers):
        assert (number in found) == (number in numbers)
        assert found.end(number) == (number * 2 if number in numbers else None)
    assert "1" not in found


REGULAR = (
    stat.S_IFREG | 0o640,
    1000,
    1001,
    4096,
    1_700_000_000_123_456_789,
    1_800_000_000_000_000_001,
)
FOLDER = (stat.S_IFDIR | 0o755, 0, 0, 3, -5_000_000_001, 1_800_000_000_000_000_001)


def neighbours(order: str = "<") -> StreamChanges:
    """Objects of one dnode block; 301 and 321 have changed content, 302 and 305 another dnode."""
    stream = StreamWriter(order)
    stream.begin()
    file, folder = stream.attributes(REGULAR), stream.attributes(FOLDER, header=16)
    stream.object(300, attributes=file)
    stream.object(301, attributes=file)
    stream.write(301, 0, 4096)
    stream.object(302, attributes=stream.attributes((*REGULAR[:5], REGULAR[5] + 1)))
    stream.object(303, attributes=file, end=512)
    stream.object(304, attributes=file)
    stream.free(304, 0, 4096)
    stream.object(305, attributes=file)
    stream.spill(305, 512)
    stream.object(306, attributes=stream.attributes(REGULAR, magic=1))
    stream.object(307, bonus=96)
    stream.object(320, what=DIRECTORY, attributes=folder)
    stream.object(321, what=DIRECTORY, attributes=folder)
    stream.embedded(321, 61)
    stream.object(322, what=DIRECTORY, attributes=folder)
    stream.free(322, 16384, 16384)
    return parse(stream.end())


@ORDERS
def test_unchanged_neighbours_are_told(order: str) -> None:
    found = neighbours(order)
    file, folder = stamp(*REGULAR), stamp(*FOLDER)
    unchanged = [number for number in range(299, 309) if found.is_unchanged(number, file, 4096)]
    assert unchanged == [299, 300, 308], "299 and 308 aren't in the stream"
    unchanged = [number for number in range(319, 324) if found.is_unchanged(number, folder, 0)]
    assert unchanged == [319, 320, 323]


@ORDERS
@pytest.mark.parametrize("part", range(6))
def test_each_attribute_counts(order: str, part: int) -> None:
    other = list(REGULAR)
    other[part] += 1
    assert not neighbours(order).is_unchanged(300, stamp(*other), 4096)


def test_a_stamp_knows_sizes_of_files_only() -> None:
    assert stamp(*FOLDER) == stamp(*FOLDER[:3], 999, *FOLDER[4:])
    assert stamp(*REGULAR) != stamp(*REGULAR[:3], 999, *REGULAR[4:])
    assert 0 < stamp(*REGULAR) < 2**64


def test_a_stamp_that_isnt_known_never_matches() -> None:
    found = neighbours()
    assert found.objects.stamp(306) == found.objects.stamp(307) == 0
    assert found.objects.stamp(308) is None
    assert found.objects.stamp(300) == stamp(*REGULAR)


@pytest.mark.parametrize("size", [1, 100, 312, 400])
def test_small_pieces_lose_stamps_and_never_give_wrong_ones(size: int) -> None:
    stream = StreamWriter()
    stream.begin()
    for number in range(300, 340):
        stream.object(number, attributes=stream.attributes(REGULAR))
    found = parse(stream.end(), size)
    assert {found.objects.stamp(number) for number in found.objects} <= {0, stamp(*REGULAR)}


@given(cut=st.integers(0, len(every_record()) - 1), size=st.sampled_from([1, 500, 1 << 20]))
def test_a_truncated_stream_is_an_error(cut: int, size: int) -> None:
    with pytest.raises(SourceError, match=rf"\(byte {cut}\)") as caught:
        parse(every_record()[:cut], size)
    assert caught.value.on == NAME


@given(garbage=st.binary(min_size=312, max_size=2000))
def test_garbage_is_an_error(garbage: bytes) -> None:
    with pytest.raises(SourceError, match="does not begin as a send stream"):
        parse(garbage)


@given(place=st.integers(408, len(every_record()) - 400), junk=st.binary(min_size=1, max_size=700))
def test_bytes_put_into_the_middle_never_pass(place: int, junk: bytes) -> None:
    """Inserted bytes shift every later record, so the parser must notice, wherever they are."""
    stream = every_record()
    with pytest.raises(SourceError):
        parse(stream[:place] + junk + stream[place:])


def broken(change: str) -> bytes:
    """A stream with one thing wrong."""
    stream = StreamWriter()
    options: dict[str, dict[str, int]] = {
        "magic": {"magic": 0x2F5BACBAD},
        "package": {"header": 2},
        "volume": {"objset": 3},
        "feature": {"features": 1 << 2 | 1 << 40},
    }
    stream.begin(**options.get(change, {}))
    stream.object(5)
    match change:
        case "guid":
            stream.to_guid += 1
        case "kind":
            stream.record(11, [(8, "Q", 5), (16, "Q", stream.to_guid)])
        case "order":
            stream.write(6, 0, 512)
        case "again":
            stream.object(5)
        case "back":
            stream.object(4)
        case "payload":
            stream.write(5, 0, 512, compressed=1 << 40)
    stream.object(7)
    return stream.end()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("magic", "does not begin as a send stream"),
        ("package", "package of several streams"),
        ("volume", "not of a file system"),
        ("feature", "unknown features .flags 0x10000000000."),
        ("guid", "a record of type 1 does not fit"),
        ("kind", "a record of type 11 does not fit"),
        ("order", "a record of type 3 does not fit"),
        ("again", "a record of type 1 does not fit"),
        ("back", "a record of type 1 does not fit"),
        ("payload", "a record of 1099511627776 bytes"),
    ],
)
def test_what_is_wrong_is_named(change: str, words: str) -> None:
    with pytest.raises(SourceError, match=words + r".*\(byte \d+\)"):
        parse(broken(change))


def test_an_object_without_its_tail_is_an_error() -> None:
    stream = StreamWriter()
    stream.begin()
    stream.object(5)
    cut = stream.pieces.pop()
    assert len(cut) == 312
    stream.write(5, 0, 512)
    with pytest.raises(SourceError, match="a record of type 3 does not fit"):
        parse(stream.end())


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_bytes_behind_the_end_are_an_error(size: int) -> None:
    stream = every_record()
    with pytest.raises(SourceError, match=rf"goes on behind its end \(byte {len(stream)}\)"):
        parse(stream + b"\0", size)


def test_progress_is_visible_while_reading() -> None:
    stream = every_record()
    parser = StreamParser(NAME)
    parser.feed(stream[:-1])
    assert (parser.length, parser.records, parser.changed) == (len(stream) - 1, 40, 4)
