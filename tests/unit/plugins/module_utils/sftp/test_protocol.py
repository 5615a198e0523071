# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""SFTP packets: known bytes, round trips, and nothing but ProtocolError from rubbish."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.backup.plugins.module_utils._sftp import protocol
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import ProtocolError
from ansible_collections.homelab.backup.plugins.module_utils._sftp.frames import (
    CAPACITY,
    PACKET_LIMIT,
    FrameBuffer,
    frame,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.protocol import (
    Extension,
    OpenFlag,
    Packet,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Attributes,
    Entry,
    Kind,
    Space,
    storable_mtime,
)

U32 = st.integers(0, 2**32 - 1)
ATTRIBUTES = st.builds(
    lambda size, permissions, mtime: Attributes(
        size=size, permissions=permissions, mtime=mtime, atime=mtime
    ),
    size=st.none() | st.integers(0, 2**64 - 1),
    permissions=st.none() | st.integers(0, 0o7777),
    mtime=st.none() | U32,
)
DECODERS = [
    protocol.decode_version,
    protocol.decode_status,
    protocol.decode_handle,
    protocol.decode_data,
    protocol.decode_attributes,
    protocol.decode_names,
    protocol.decode_statvfs,
    protocol.decode_limits,
]


def text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def test_known_bytes() -> None:
    """Written down from draft-ietf-secsh-filexfer-02, sections 3 to 6."""
    flags = OpenFlag.WRITE | OpenFlag.CREATE | OpenFlag.TRUNCATE
    body = protocol.open_body(b"/a", flags, Attributes(permissions=0o640))
    assert frame(Packet.OPEN, 7, body) == bytes.fromhex(
        "00000017 03 00000007 00000002 2f61 0000001a 00000004 000001a0"
    )
    assert frame(Packet.READ, 1, protocol.read_body(b"h", 2**33, 4)) == bytes.fromhex(
        "00000016 05 00000001 00000001 68 0000000200000000 00000004"
    )
    assert protocol.attributes_body(Attributes(mtime=5)) == bytes.fromhex(
        "00000008 00000005 00000005"
    )
    assert protocol.extended_body(Extension.POSIX_RENAME, b"a", b"b") == (
        text(b"posix-rename@openssh.com") + text(b"a") + text(b"b")
    )


@given(ATTRIBUTES)
def test_attributes_come_back(attributes: Attributes) -> None:
    found = protocol.decode_attributes(protocol.attributes_body(attributes))
    assert found == attributes


def test_attributes_with_extensions_and_without_anything() -> None:
    body = struct.pack(">III", 0x80000000, 1, 3) + b"abc" + text(b"")
    assert protocol.decode_attributes(body) == Attributes()
    assert protocol.decode_attributes(bytes(4)).kind is Kind.UNKNOWN


def test_names() -> None:
    full = struct.pack(">IQIIIII", 15, 9, 1, 2, 0o100644, 3, 4)
    body = struct.pack(">I", 3)
    for name in (b".", b"..", b"\xff\n"):
        body += text(name) + text(b"-rw-r--r--") + full
    found = protocol.decode_names(body, b"dir/")
    assert found == [Entry(b"dir/\xff\n", Attributes(9, 1, 2, 0o100644, 3, 4))]
    assert found[0].attributes.kind is Kind.FILE


@pytest.mark.parametrize("name", [b"", b"a/b", b"../x", b"a\0b"])
def test_names_that_lead_elsewhere_are_refused(name: bytes) -> None:
    body = struct.pack(">I", 1) + text(name) + text(b"") + bytes(4)
    with pytest.raises(ProtocolError):
        protocol.decode_names(body)


def test_version_and_extensions() -> None:
    body = struct.pack(">I", 3) + text(b"statvfs@openssh.com") + text(b"2")
    body += text(b"fsync@openssh.com") + text(b"9") + text(b"new@example.com") + text(b"1")
    version, extensions = protocol.decode_version(body)
    assert version == 3
    assert protocol.understood(extensions) == {Extension.STATVFS}, "fsync has an unknown version"


def test_statvfs() -> None:
    body = struct.pack(">11Q", 4096, 1024, 100, 50, 40, 9, 8, 7, 1, 2, 255)
    assert protocol.decode_statvfs(body) == Space(102400, 51200, 40960, 7, 255)


@pytest.mark.parametrize("decode", DECODERS)
@given(body=st.binary(max_size=300))
def test_rubbish_is_a_protocol_error(decode: object, body: bytes) -> None:
    assert callable(decode)
    with contextlib.suppress(ProtocolError):
        decode(body)


@given(count=U32, flags=U32, size=U32, tail=st.binary(max_size=60))
def test_counts_and_lengths_that_lie(count: int, flags: int, size: int, tail: bytes) -> None:
    """Nothing is allocated for what a packet only claims to hold."""
    tracemalloc.start()
    bodies = [
        struct.pack(">I", count) + tail,
        struct.pack(">II", count, size) + tail,
        struct.pack(">III", flags | 0x80000000, count, size) + tail,
        struct.pack(">I", 1) + text(b"a") + text(b"") + struct.pack(">II", flags, count) + tail,
    ]
    for body in bodies:
        for decode in DECODERS:
            with contextlib.suppress(ProtocolError):
                decode(body)
    dummy, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@given(st.binary(max_size=400))
def test_truncated_replies(data: bytes) -> None:
    """Each prefix of a good reply is either refused or means less."""
    body = struct.pack(">I", 2)
    for name in (b"a", b"b" * 20):
        body += text(name) + text(data[:50]) + struct.pack(">IQ", 1, len(data))
    assert len(protocol.decode_names(body)) == 2
    for end in range(len(body)):
        with pytest.raises(ProtocolError):
            protocol.decode_names(body[:end])


# --- frames -----------------------------------------------------------------------------


def feed(buffer: FrameBuffer, data: bytes) -> list[tuple[int, bytes]]:
    """Put all of ``data`` in; gives the packets, copied."""
    packets = []
    while data:
        room = buffer.room()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        buffer.filled(count)
        data = data[count:]
        packets += [(kind, bytes(body)) for kind, body in buffer.packets()]
    return packets


@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=2000)), max_size=20),
    st.lists(st.integers(1, 3000), min_size=1, max_size=50),
)
def test_packets_in_any_pieces(packets: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(struct.pack(">IB", len(body) + 1, kind) + body for kind, body in packets)
    buffer = FrameBuffer()
    found = []
    for cut in cuts:
        found += feed(buffer, stream[:cut])
        stream = stream[cut:]
    assert found + feed(buffer, stream) == packets


@pytest.mark.parametrize("piece", [100_000, 262_143, 262_149, 700_000])
def test_many_of_the_largest_packets(piece: int) -> None:
    """The buffer wraps around many times, with a packet begun, and never runs out of room."""
    packets = [(number, bytes([number]) * (PACKET_LIMIT - 1)) for number in range(30)]
    stream = b"".join(struct.pack(">IB", len(body) + 1, kind) + body for kind, body in packets)
    buffer = FrameBuffer()
    found = []
    for begin in range(0, len(stream), piece):
        found += feed(buffer, stream[begin : begin + piece])
        assert PACKET_LIMIT + 4 <= len(buffer.room()) <= CAPACITY
    assert found == packets


@pytest.mark.parametrize("length", [0, PACKET_LIMIT + 1, 2**32 - 1])
def test_impossible_lengths(length: int) -> None:
    with pytest.raises(ProtocolError):
        feed(FrameBuffer(), struct.pack(">IB", length, 1) + bytes(10))


def test_text_instead_of_packets_is_shown() -> None:
    with pytest.raises(ProtocolError, match=r"Welcome to DSM"):
        feed(FrameBuffer(), b"Welcome to DSM\n")


@pytest.mark.parametrize(
    ("seconds", "stored"),
    [(0, 0), (1.9, 1), (-1, 0), (-0.5, 0), (2**32, 2**32 - 1), (1e12, 2**32 - 1), (5.0, 5)],
)
def test_storable_mtime(seconds: float, stored: int) -> None:
    assert storable_mtime(seconds) == stored
