# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Batches of changes (rename, link, make, remove, set), with causes for what failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import TransportError
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
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
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import OnDone
from ansible_collections.homelab.backup.plugins.module_utils._sftp.protocol import (
    Packet,
    decode_attributes,
    string,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Attributes,
    Outcome,
    StatOutcome,
    storable_mtime,
)

CHECKED_TOGETHER: Final = 256
"""Unspecific failures whose cause is looked for in one go."""

EXISTING = {
    Packet.MKDIR: (Reason.EXISTS, "there is a {kind} of that name"),
    Packet.RENAME: (Reason.EXISTS, "there is a {kind} of that name"),
    Packet.EXTENDED: (Reason.EXISTS, "there is a {kind} of that name"),
    Packet.RMDIR: (Reason.NOT_EMPTY, "the {kind} holds something, or is in use"),
}
"""What an unspecific failure meant when the path exists, by request."""


class Answer(NamedTuple):
    """A request of a batch with its outcome."""

    request: Request
    error: RemoteError | None


def answer(request: Request, kind: int, body: memoryview) -> Answer:
    """The result of a request that only succeeds or fails."""
    error = status_error(request, kind, body)
    if error is not None and request.old:
        found = f"{error.found} (from {printable(request.old)})"
        error = RemoteError(error.tried, error.path, error.reason, found=found, status=error.status)
    return Answer(request, error)


def found_attributes(request: Request, kind: int, body: memoryview) -> StatOutcome:
    """The result of an LSTAT."""
    if kind == Packet.ATTRS:
        return StatOutcome(request.path, decode_attributes(body))
    error = must_refuse(request, kind, body)
    return StatOutcome(request.path, None, None if error.reason is Reason.MISSING else error)


def storable(wanted: Attributes) -> Attributes:
    """``wanted`` with its time as the protocol can carry it."""
    if wanted.mtime is None:
        return wanted
    return wanted._replace(mtime=storable_mtime(wanted.mtime))


class Changes:
    """Runs batches of changes."""

    def __init__(self, connection: Connection, explainer: Explainer) -> None:
        self._connection = connection
        self._explainer = explainer

    def run(
        self,
        requests: Iterable[Request],
        on_done: OnDone | None,
        *,
        accept_directory: bool = False,
    ) -> list[Outcome]:
        """Send all requests; outcomes in their order.

        Args:
            requests: independent of each other.
            on_done: told of each outcome, roughly in the order of completion.
            accept_directory: a directory that exists already is as good as made.

        Raises:
            TransportError: the connection failed; what was answered was told before.
        """
        outcomes: list[Outcome] = []
        doubtful: list[tuple[int, Answer]] = []

        def tell(index: int, outcome: Outcome) -> None:
            outcomes[index] = outcome
            if on_done is not None:
                on_done(outcome)

        def settle() -> None:
            waiting, doubtful[:] = list(doubtful), []
            explained = self._explain([one for dummy, one in waiting], accept_directory)
            for (index, dummy), outcome in zip(waiting, explained, strict=True):
                tell(index, outcome)

        try:
            for found in stream(self._connection, requests, answer):
                index = len(outcomes)
                outcomes.append(Outcome(found.request.path, found.error))
                if found.error is None or found.error.reason is not Reason.OTHER:
                    tell(index, outcomes[index])
                    continue
                doubtful.append((index, found))
                if len(doubtful) == CHECKED_TOGETHER:
                    settle()
            settle()
        except TransportError:
            for index, dummy in doubtful:
                tell(index, outcomes[index])
            raise
        return outcomes

    def _explain(self, answers: list[Answer], accept_directory: bool) -> list[Outcome]:
        """The outcomes of unspecific failures, by what is found at their paths."""
        requests = [
            Request(Packet.LSTAT, string(one.request.path), "look at", one.request.path)
            for one in answers
        ]
        looked = list(stream(self._connection, requests, found_attributes))
        return [
            self._outcome(one, there.attributes, accept_directory)
            for one, there in zip(answers, looked, strict=True)
        ]

    def _outcome(self, one: Answer, there: Attributes | None, accept_directory: bool) -> Outcome:
        request, error = one
        if error is None or (accept_directory and there is not None and there.is_directory):
            return Outcome(request.path)
        meant = EXISTING.get(request.kind)
        if there is None or meant is None:
            return Outcome(request.path, self._explainer.explain(error))
        reason, words = meant
        found = f"{error.found}: {words.format(kind=there.kind.value)}"
        clear = RemoteError(error.tried, error.path, reason, found=found, status=error.status)
        return Outcome(request.path, clear)
