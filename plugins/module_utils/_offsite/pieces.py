# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The offsite index's records, and the pieces that carry them.

SFTP keeps neither owner nor mode nor links, so every change of the index also
becomes one record, and the records go offsite in numbered pieces. Played back in
order they give the index again. A piece is gzip (RFC 1952) of JSON lines
(RFC 8259, one value a line, ended by LF): first a header, then the records:

    {"op":"dataset","n":3,"guid":"…","name":"main/a","root":"3:34"}
    {"op":"put","path":P,"node":"3:128","kind":"f","mode":420,"uid":0,"gid":0,"size":5,
     "mtime_ns":…,"ctime_ns":…,"sha256":"…"}
    {"op":"node","node":"3:128","kind":"f",…}
    {"op":"rename","from":P,"to":P}
    {"op":"drop","path":P}

``P`` is a path in the remote tree: a string when its bytes are UTF-8, else
``{"b64":"…"}``; ``""`` is the root. In a rename it may also be ``{"stage":k}``, a
waiting place outside the tree, so that a swap of two names replays in order. A
rename takes, and a drop removes, all that lies beneath.

``node`` says which names are hard links of each other: dataset number and
object number. A put carries the attributes of the node and what the
destination holds under the name: ``sha256`` with ``stored_size`` and
``version`` (the node's ctime when it was sent), both left out when they equal
``size`` and ``ctime_ns``; ``"pending":true`` stands for a version when newer
content still has to be sent. A file without ``sha256`` has no content there yet.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import DestinationError
from ansible_collections.homelab.backup.plugins.module_utils._core.formats import Format
from ansible_collections.homelab.backup.plugins.module_utils._core.text import (
    from_json,
    printable,
    to_json,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import (
    FILE,
    OBJECT_BITS,
    OBJECT_MASK,
    Attributes,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.marker import foreign_format

FORMAT = Format("offsite-index", 1)
SUFFIX = b".jsonl.gz"
# The lines are alike, so a low level already takes nine tenths off; a higher
# one costs more time than the bytes it saves on the way.
LEVEL = 4
LONGEST_TEXT = 64 << 20
"""No piece is longer before compression, in bytes; a damaged one must not fill the memory."""


# A path in the remote tree, or the number of a waiting place outside it.
Place: TypeAlias = bytes | int


@dataclass(frozen=True, slots=True)
class Stored:
    """What the destination holds under a name.

    ``sha256`` is the raw digest of the bytes as sent, ``size`` their count,
    ``version`` the ctime (ns) of the node when they were sent, None when newer
    content still has to be sent.
    """

    sha256: bytes
    size: int
    version: int | None


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """Dataset number ``number``; ``root`` is what the index has as its root, or None."""

    number: int
    guid: str
    name: str
    root: int | None = None


@dataclass(frozen=True, slots=True)
class PutRecord:
    """A name, what it names, and what the destination holds under it."""

    path: bytes
    node: int
    attributes: Attributes
    racy: bool
    stored: Stored | None


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """New attributes of a node under all its names; their contents stay."""

    node: int
    attributes: Attributes
    racy: bool


@dataclass(frozen=True, slots=True)
class RenameRecord:
    """A name, with all beneath, is now somewhere else."""

    old: Place
    new: Place


@dataclass(frozen=True, slots=True)
class DropRecord:
    """A name, with all beneath, is no longer there."""

    path: Place


Record: TypeAlias = "DatasetRecord | PutRecord | NodeRecord | RenameRecord | DropRecord"


@dataclass(frozen=True, slots=True)
class Header:
    """A piece's first line: its place in the sequence and how many records follow."""

    generation: str
    piece: int
    records: int


def _line(document: Mapping[str, object]) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # The name of an extended attribute that isn't UTF-8 (pack_xattrs).
        return json.dumps(document, separators=(",", ":")).encode("ascii")


def _node_text(node: int) -> str:
    return f"{node >> OBJECT_BITS}:{node & OBJECT_MASK}"


def _attribute_fields(node: int, attributes: Attributes, racy: bool) -> dict[str, object]:
    fields: dict[str, object] = {
        "node": _node_text(node),
        "kind": attributes.kind,
        "mode": attributes.mode,
        "uid": attributes.uid,
        "gid": attributes.gid,
        "size": attributes.size,
        "mtime_ns": attributes.mtime_ns,
        "ctime_ns": attributes.ctime_ns,
    }
    if attributes.rdev:
        fields["rdev"] = attributes.rdev
    if attributes.target is not None:
        fields["target"] = to_json(attributes.target)
    if attributes.xattrs is not None:
        fields["xattrs"] = json.loads(attributes.xattrs)
    if racy:
        fields["racy"] = True
    return fields


def put_record(
    path: bytes,
    node: int,
    attributes: Attributes,
    racy: bool,
    sha256: bytes | None = None,
    *,
    stored_size: int | None = None,
    version: int | None = None,
    pending: bool = False,
) -> bytes:
    """The record of a name that is new, or names something else, or holds new content.

    Args:
        path: in the remote tree; ``b""`` for the root.
        node: what it names (:func:`node_id`).
        attributes: of the node.
        racy: the index's mark of a file whose ctime is close to its snapshot's.
        sha256: raw digest of the content that the destination holds; None for
            what has none (directories, symlinks, devices, a file not yet sent).
        stored_size: size of that content if it isn't ``attributes.size``.
        version: the node's ctime when it was sent if it isn't ``attributes.ctime_ns``.
        pending: that content is out of date and newer one still has to be sent.
    """
    fields = {"op": "put", "path": to_json(path), **_attribute_fields(node, attributes, racy)}
    if sha256 is not None:
        fields["sha256"] = sha256.hex()
        if stored_size not in (None, attributes.size):
            fields["stored_size"] = stored_size
        if pending:
            fields["pending"] = True
        elif version not in (None, attributes.ctime_ns):
            fields["version"] = version
    return _line(fields)


def node_record(node: int, attributes: Attributes, racy: bool) -> bytes:
    """The record of new attributes of ``node`` (chmod, chown, xattr, touch)."""
    return _line({"op": "node", **_attribute_fields(node, attributes, racy)})


def rename_record(old: Place, new: Place) -> bytes:
    """The record of a rename; either side may be the number of a waiting place."""
    return _line({"op": "rename", "from": _place_value(old), "to": _place_value(new)})


def drop_record(path: Place) -> bytes:
    """The record of a name that is no longer in the tree, with all beneath."""
    return _line({"op": "drop", "path": _place_value(path)})


def dataset_record(number: int, guid: str, name: str, root: int | None = None) -> bytes:
    """The record of a dataset that got a number, another name or another root."""
    fields: dict[str, object] = {"op": "dataset", "n": number, "guid": guid, "name": name}
    if root is not None:
        fields["root"] = _node_text(root)
    return _line(fields)


def emit(index: Index, record: bytes) -> None:
    """Put ``record`` into the outbox, inside the transaction that makes the change."""
    index.db.execute("INSERT INTO outbox(record) VALUES (?)", (record,))


def _place_value(place: Place) -> object:
    return {"stage": place} if isinstance(place, int) else to_json(place)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"not a whole number: {value!r}")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"not a text: {value!r}")
    return value


def _node(value: object) -> int:
    dataset, colon, number = _string(value).partition(":")
    if not colon:
        raise ValueError(f"not a node: {value!r}")
    return int(dataset) << OBJECT_BITS | int(number)


def _place(value: object) -> Place:
    if isinstance(value, dict) and set(value) == {"stage"}:
        return _whole(value["stage"])
    return from_json(value)


def _attributes(fields: Mapping[str, Any]) -> Attributes:
    xattrs = fields.get("xattrs")
    return Attributes(
        kind=_string(fields["kind"]),
        mode=_whole(fields["mode"]),
        uid=_whole(fields["uid"]),
        gid=_whole(fields["gid"]),
        size=_whole(fields["size"]),
        mtime_ns=_whole(fields["mtime_ns"]),
        ctime_ns=_whole(fields["ctime_ns"]),
        rdev=_whole(fields.get("rdev", 0)),
        target=from_json(fields["target"]) if "target" in fields else None,
        xattrs=None if xattrs is None else json.dumps(xattrs, sort_keys=True).encode("ascii"),
    )


def _stored(fields: Mapping[str, Any], attributes: Attributes) -> Stored | None:
    if "sha256" not in fields:
        return None
    digest = bytes.fromhex(_string(fields["sha256"]))
    if len(digest) != 32 or attributes.kind != FILE:
        raise ValueError(f"not a file's sha256: {fields['sha256']!r}")
    return Stored(
        digest,
        _whole(fields.get("stored_size", attributes.size)),
        None
        if fields.get("pending") is True
        else _whole(fields.get("version", attributes.ctime_ns)),
    )


def decode_record(line: bytes) -> Record:
    """The record in one line.

    Raises:
        ValueError: not a record; the text says what is wrong with it.
    """
    try:
        fields = json.loads(line)
        match fields["op"]:
            case "put":
                attributes = _attributes(fields)
                return PutRecord(
                    from_json(fields["path"]),
                    _node(fields["node"]),
                    attributes,
                    fields.get("racy", False) is True,
                    _stored(fields, attributes),
                )
            case "node":
                return NodeRecord(
                    _node(fields["node"]), _attributes(fields), fields.get("racy", False) is True
                )
            case "rename":
                return RenameRecord(_place(fields["from"]), _place(fields["to"]))
            case "drop":
                return DropRecord(_place(fields["path"]))
            case "dataset":
                root = fields.get("root")
                return DatasetRecord(
                    _whole(fields["n"]),
                    _string(fields["guid"]),
                    _string(fields["name"]),
                    None if root is None else _node(root),
                )
            case op:
                raise ValueError(f"unknown op {op!r}")
    except KeyError as exc:
        raise ValueError(f"it has no key {exc}") from exc
    except TypeError as exc:
        raise ValueError(f"it is no record: {exc}") from exc


def piece_name(number: int) -> bytes:
    """The file name of piece ``number`` of a generation."""
    return b"%08d%s" % (number, SUFFIX)


def piece_number(name: bytes) -> int | None:
    """The number in a piece's file name, or None for another file."""
    digits = name.removesuffix(SUFFIX)
    if digits == name or not digits.isdigit() or piece_name(int(digits)) != name:
        return None
    return int(digits)


def encode_piece(generation: str, number: int, records: Iterable[bytes]) -> bytes:
    """A piece's whole content; the same arguments give the same bytes."""
    lines = list(records)
    header = {
        "format": FORMAT.tag,
        "generation": generation,
        "piece": number,
        "records": len(lines),
    }
    text = b"\n".join([_line(header), *lines, b""])
    return gzip.compress(text, LEVEL, mtime=0)


def decode_piece(content: bytes, where: bytes) -> tuple[Header, list[bytes]]:
    """A piece's header and its records, not yet decoded.

    Args:
        content: the file's bytes.
        where: the file's remote path, for errors.

    Raises:
        DestinationError: damaged, truncated, or no piece of ours; it names the file.
        ConfigError: written by a newer major.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            text = packed.read(LONGEST_TEXT + 1)
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"it unpacks to more than {LONGEST_TEXT} bytes")
        lines = text.split(b"\n")
        fields = json.loads(lines[0])
    except (OSError, EOFError, zlib.error, ValueError) as exc:
        raise damaged(where, str(exc)) from exc
    wrong = foreign_format(FORMAT, fields, where)
    if wrong is not None:
        raise damaged(where, wrong)
    try:
        header = Header(
            _string(fields["generation"]), _whole(fields["piece"]), _whole(fields["records"])
        )
    except (KeyError, ValueError) as exc:
        raise damaged(where, f"its header is wrong: {exc}") from exc
    if lines[-1] != b"" or len(lines) - 2 != header.records:
        raise damaged(where, f"it has {len(lines) - 2} records, its header says {header.records}")
    return header, lines[1:-1]


def damaged(where: bytes, found: str) -> DestinationError:
    """The error for a piece that can't be used."""
    return DestinationError(
        "read the index offsite",
        on=printable(where),
        found=found,
        remedy=(
            "when the storage host still has its own index, the reconcile writes the copy anew; "
            "else restore the index directory from a snapshot of the NAS, or move it aside: the "
            "next run then compares every file, and takes the metadata from the source"
        ),
    )
