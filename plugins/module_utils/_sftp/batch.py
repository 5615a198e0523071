# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Many requests of one kind: sent as the window allows, answers in the order asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NoReturn, TypeVar

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import TransportError
from ansible_collections.homelab.backup.plugins.module_utils._sftp.connection import (
    Connection,
    Request,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    ProtocolError,
    RemoteError,
    Status,
    refusal,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.protocol import (
    Packet,
    decode_status,
)

T = TypeVar("T")

Decoder = Callable[[Request, int, memoryview], T]
"""Makes the result of a reply: of the request, the reply's type and its body."""


def unexpected(request: Request, kind: int) -> NoReturn:
    """Raise the error for a reply of a type that does not belong to the request."""
    raise ProtocolError(
        request.verb,
        found=f"the server answered {request.kind.name} with a packet of type {kind}",
        remedy="update the server",
    )


def status_error(request: Request, kind: int, body: memoryview) -> RemoteError | None:
    """None for SSH_FX_OK, the refusal for any other status.

    Raises:
        ProtocolError: the reply is no status.
    """
    if kind != Packet.STATUS:
        unexpected(request, kind)
    code, message = decode_status(body)
    if code == Status.OK:
        return None
    return refusal(request.verb, request.path, code, message)


def must_refuse(request: Request, kind: int, body: memoryview) -> RemoteError:
    """The refusal of a request whose success is not told by a status.

    Raises:
        ProtocolError: the reply is no status, or says that all is well.
    """
    error = status_error(request, kind, body)
    if error is None:
        unexpected(request, kind)
    return error


class Slot(Generic[T]):
    """Keeps the result of one request until those before it have theirs."""

    __slots__ = ("_decode", "_request", "result")

    def __init__(self, request: Request, decode: Decoder[T]) -> None:
        self._request = request
        self._decode = decode
        self.result: list[T] = []

    def __call__(self, kind: int, body: memoryview) -> None:
        self.result.append(self._decode(self._request, kind, body))


def stream(connection: Connection, requests: Iterable[Request], decode: Decoder[T]) -> Iterator[T]:
    """The results of ``requests`` in their order; holds no more than the window.

    When the connection fails, what was answered before is given first.

    Raises:
        TransportError: the connection failed.
    """
    waiting: deque[Slot[T]] = deque()
    source = iter(requests)
    more = True
    while more or waiting:
        while more and connection.room() and len(waiting) < connection.tuning.requests:
            request = next(source, None)
            if request is None:
                more = False
                break
            slot = Slot(request, decode)
            connection.send(request, slot)
            waiting.append(slot)
        while waiting and waiting[0].result:
            yield waiting.popleft().result[0]
        if waiting or (more and not connection.room()):
            try:
                connection.pump()
            except TransportError:
                for slot in waiting:
                    yield from slot.result
                raise
