# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Writing a small file whose content is in memory (markers, records, index pieces)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Final

from ansible_collections.homelab.backup.plugins.module_utils._sftp.batch import (
    must_refuse,
    status_error,
    stream,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.connection import (
    Connection,
    Request,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.explain import Explainer
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import RemoteError
from ansible_collections.homelab.backup.plugins.module_utils._sftp.protocol import (
    DEFAULT_BLOCK,
    Extension,
    OpenFlag,
    Packet,
    decode_handle,
    extended_body,
    open_body,
    string,
    write_head,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import Attributes

NAME_LIMIT: Final = 255


def staging_name(path: bytes) -> bytes:
    """Where a small file's new content is written before it replaces ``path``.

    Always the same name, so that what a killed run left is used by the next one
    and nothing piles up that this account could not remove.
    """
    directory, name = posixpath.split(path)
    return posixpath.join(directory, b"." + name[: NAME_LIMIT - 5] + b".new")


def write_new(
    connection: Connection, path: bytes, content: bytes, mode: int, explainer: Explainer
) -> None:
    """Create or truncate ``path``, write ``content`` and make it durable.

    Raises:
        RemoteError: the server refused a step; ``path`` may then be partly written.
    """
    flags = OpenFlag.WRITE | OpenFlag.CREATE | OpenFlag.TRUNCATE
    request = Request(
        Packet.OPEN,
        open_body(path, flags, Attributes(permissions=mode)),
        "create the file",
        path,
    )
    kind, body = connection.ask(request)
    if kind != Packet.HANDLE:
        raise explainer.explain(must_refuse(request, kind, memoryview(body)), len(content))
    handle = decode_handle(body)
    errors = list(stream(connection, writes(path, handle, content), status_error))
    errors += stream(connection, endings(connection, path, handle), status_error)
    for error in errors:
        if isinstance(error, RemoteError):
            raise explainer.explain(error, len(content))


def writes(path: bytes, handle: bytes, content: bytes) -> Iterator[Request]:
    """The WRITE requests for ``content``."""
    for offset in range(0, len(content), DEFAULT_BLOCK):
        data = memoryview(content)[offset : offset + DEFAULT_BLOCK]
        head = write_head(handle, offset, len(data))
        yield Request(Packet.WRITE, head, "write the file", path, data, len(data))


def endings(connection: Connection, path: bytes, handle: bytes) -> Iterator[Request]:
    """FSYNC, where the server has it, and CLOSE."""
    if Extension.FSYNC in connection.extensions:
        body = extended_body(Extension.FSYNC, handle)
        yield Request(Packet.EXTENDED, body, "write the file to disk", path)
    yield Request(Packet.CLOSE, string(handle), "close the file", path)
