# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""One SFTP connection over a child process' pipes: many requests in flight.

Nothing here blocks but :meth:`Connection.pump`, and that only until the server
or the pipe moves. Handlers of replies run inside ``pump`` and only note what
came; whoever waits acts on it afterwards. So any operation may be suspended
while another one pumps (a caller's loop over one may start another).
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import TransportError
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import human_seconds
from ansible_collections.homelab.backup.plugins.module_utils._sftp import diagnosis
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    ConnectionLostError,
    ProtocolError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.frames import FrameBuffer, frame
from ansible_collections.homelab.backup.plugins.module_utils._sftp.protocol import (
    U32,
    VERSION,
    Extension,
    Limits,
    Packet,
    decode_limits,
    decode_version,
    extended_body,
    understood,
)

Handler = Callable[[int, memoryview], None]
"""Called with a reply's type and body; the body holds for the call only."""

IO_VECTORS: Final = 64
STDERR_KEPT: Final = 16384
GRACE: Final = 10.0
"""Seconds that the child gets to end by itself after its input was closed."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How much may be under way at once, and how long to wait.

    The byte limits bound this process' memory; the OpenSSH channel has a window
    of 2 MiB of its own, so more than the default brings nothing over ssh.
    """

    requests: int = 512
    bytes_in_flight: int = 8 * 1024 * 1024
    files: int = 128
    """Files open at the server at once."""
    large_files: int = 2
    """How many of them may be large (see upload.LARGE_BLOCKS)."""
    directories: int = 64
    block: int | None = None
    """Bytes in one READ or WRITE; None takes the server's limit, else 32 KiB."""
    fsync: bool = True
    """Ask the server to make each upload durable, where it offers fsync@openssh.com."""
    stall_timeout: float = 300.0
    """Seconds without any movement until the server counts as stuck. One fsync of a
    large file on a slow NAS must fit in."""
    connect_timeout: float = 60.0
    """Seconds until the first answer, the login included."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request to send: its type, body and what it does to which path."""

    kind: Packet
    body: bytes
    verb: str
    path: bytes
    data: memoryview | None = None
    """The payload of a WRITE; it must stay as it is until it was sent."""
    weight: int = 0
    """Bytes of payload that it or its reply carries."""
    old: bytes = b""
    """Of a rename or link: the name that ``path`` is made from."""


class Connection:
    """The pipes, what waits to be sent, and who waits for which reply."""

    def __init__(self, process: subprocess.Popen[bytes], where: str, tuning: Tuning) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("the process needs pipes on stdin, stdout and stderr")
        self.where = where
        self.tuning = tuning
        self.extensions: frozenset[Extension] = frozenset()
        self.limits = Limits()
        self.backlog = 0
        """Bytes that wait to be written into the pipe."""
        self._process = process
        self._input = process.stdin.fileno()
        self._output = process.stdout.fileno()
        self._errors = process.stderr.fileno()
        self._outgoing: deque[memoryview] = deque()
        self._frames = FrameBuffer()
        self._pending: dict[int, tuple[Handler, Request]] = {}
        self._weight = 0
        self._next_id = 0
        self._said = b""
        self._greeting: bytes | None = None
        self._failure: TransportError | None = None
        self._poll = select.poll()
        for descriptor in (self._input, self._output, self._errors):
            os.set_blocking(descriptor, False)
        self._poll.register(self._output, select.POLLIN)
        self._poll.register(self._errors, select.POLLIN)

    @classmethod
    def open(
        cls, argv: Sequence[str], *, where: str, tuning: Tuning, inherit: Sequence[int] = ()
    ) -> Connection:
        """Start ``argv`` and agree on the protocol.

        Raises:
            TransportError: not startable, unreachable, refused, or no SFTP there.
        """
        process = SubprocessCommands(inherit).start(argv)
        connection = cls(process, where, tuning)
        try:
            connection._greet()
        except BaseException:
            connection.close()
            raise
        return connection

    # --- sending ------------------------------------------------------------------------

    def room(self, weight: int = 0) -> bool:
        """True when one more request with ``weight`` bytes fits into the window."""
        if len(self._pending) >= self.tuning.requests:
            return False
        return not self._weight or self._weight + weight <= self.tuning.bytes_in_flight

    @property
    def open_files(self) -> int:
        """How many files or directories one operation may have open at once.

        Half of the server's handles, so that an operation inside another has some.
        """
        files = self.tuning.files
        return min(files, max(self.limits.handles // 2, 1)) if self.limits.handles else files

    @property
    def usable(self) -> bool:
        """False once it failed or was closed."""
        return self._failure is None

    @property
    def in_flight(self) -> int:
        """Requests without a reply yet."""
        return len(self._pending)

    def send(self, request: Request, handler: Handler) -> None:
        """Queue a request; ``handler`` gets its reply during a later :meth:`pump`.

        Raises:
            TransportError: the connection has failed before or was closed.
        """
        if self._failure is not None:
            raise self._failure
        request_id = self._next_id
        self._next_id = (request_id + 1) & 0xFFFFFFFF
        self._pending[request_id] = (handler, request)
        self._weight += request.weight
        data = request.data
        if data is None:
            self._queue(frame(request.kind, request_id, request.body))
        else:
            self._queue(frame(request.kind, request_id, request.body, len(data)))
            self._outgoing.append(data)
            self.backlog += len(data)

    def ask(self, request: Request) -> tuple[int, bytes]:
        """Send one request and wait for its reply's type and body."""
        answer: list[tuple[int, bytes]] = []
        self.send(request, lambda kind, body: answer.append((kind, bytes(body))))
        while not answer:
            self.pump()
        return answer[0]

    def _queue(self, packet: bytes) -> None:
        self._outgoing.append(memoryview(packet))
        self.backlog += len(packet)

    def _flush(self) -> bool:
        """Write what the pipe takes; True when something is left."""
        outgoing = self._outgoing
        while outgoing:
            parts = [outgoing[index] for index in range(min(len(outgoing), IO_VECTORS))]
            try:
                written = os.writev(self._input, parts)
            except BlockingIOError:
                return True
            except BrokenPipeError:
                self._lost()
            self.backlog -= written
            while outgoing and written >= len(outgoing[0]):
                written -= len(outgoing.popleft())
            if written:
                outgoing[0] = outgoing[0][written:]
        return False

    # --- waiting ------------------------------------------------------------------------

    def pump(self) -> None:
        """Write and read what can be, waiting until something moved; run reply handlers.

        Raises:
            ConnectionLostError: the other side has gone, or hasn't moved for too long.
            ProtocolError: it sent what is not SFTP.
        """
        if self._failure is not None:
            raise self._failure
        if not self._pending:
            raise RuntimeError("nothing is under way that could be waited for")
        self._wait(self.tuning.stall_timeout)

    def _wait(self, timeout: float) -> None:
        if self._flush():
            self._poll.register(self._input, select.POLLOUT)
        else:
            with contextlib.suppress(KeyError):
                self._poll.unregister(self._input)
        events = self._poll.poll(timeout * 1000)
        if not events:
            self._stuck(timeout)
        ready = {descriptor for descriptor, dummy in events}
        if self._errors in ready:
            self._read_errors()
        if self._input in ready:
            self._flush()
        if self._output in ready:
            self._receive()

    def _receive(self) -> None:
        try:
            count = os.readv(self._output, [self._frames.room()])
        except BlockingIOError:
            return
        if not count:
            self._lost()
        self._frames.filled(count)
        try:
            for kind, body in self._frames.packets():
                self._dispatch(kind, body)
        except ProtocolError as exc:
            self._fail(exc)

    def _dispatch(self, kind: int, body: memoryview) -> None:
        if self._greeting is None:
            if kind != Packet.VERSION:
                raise ProtocolError(
                    "agree on the protocol",
                    on=self.where,
                    found=f"the server's first packet has type {kind}",
                )
            self._greeting = bytes(body)
            return
        if len(body) < 4:
            raise ProtocolError("understand the server", found=f"a packet of type {kind} is cut")
        (request_id,) = U32.unpack_from(body, 0)
        waiting = self._pending.pop(request_id, None)
        if waiting is None:
            raise ProtocolError(
                "understand the server",
                found=f"a reply of type {kind} to request {request_id}, which nobody sent",
                remedy="look whether something between prints into the connection",
            )
        handler, request = waiting
        self._weight -= request.weight
        handler(kind, body[4:])

    def _read_errors(self) -> None:
        with contextlib.suppress(BlockingIOError, KeyError):
            said = os.read(self._errors, 65536)
            if not said:
                self._poll.unregister(self._errors)
            self._said = (self._said + said)[-STDERR_KEPT:]

    # --- beginning ----------------------------------------------------------------------

    def _greet(self) -> None:
        """INIT and VERSION, then the server's limits."""
        self._queue(U32.pack(5) + bytes((Packet.INIT,)) + U32.pack(VERSION))
        deadline = time.monotonic() + self.tuning.connect_timeout
        while self._greeting is None:
            self._wait(max(deadline - time.monotonic(), 0.001))
        version, extensions = decode_version(self._greeting)
        if version < VERSION:
            self._fail(
                TransportError(
                    "agree on the protocol",
                    on=self.where,
                    found=f"the server speaks SFTP version {version}, 3 is needed",
                    remedy="update the server",
                )
            )
        self.extensions = understood(extensions)
        if Extension.LIMITS in self.extensions:
            body = extended_body(Extension.LIMITS)
            kind, reply = self.ask(Request(Packet.EXTENDED, body, "ask the limits of", b""))
            if kind == Packet.EXTENDED_REPLY:
                self.limits = decode_limits(reply)

    # --- ending -------------------------------------------------------------------------

    def close(self) -> None:
        """End the child: close its input, wait, and only then signal it. Repeatable."""
        if self._failure is None:
            with contextlib.suppress(TransportError):
                self._flush()
            self._failure = TransportError(
                "use the connection", on=self.where, found="it was closed before"
            )
        self._end_process(GRACE)

    def _end_process(self, patience: float) -> int | None:
        """Let the child end within ``patience`` seconds, else kill it; its exit status."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        for stop in (process.terminate, process.kill):
            try:
                process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                stop()
        status = process.wait()
        if process.stderr is not None and not process.stderr.closed:
            self._read_errors()
            process.stderr.close()
        self._outgoing.clear()
        return status

    def _fail(self, error: TransportError) -> NoReturn:
        self._failure = error
        self._end_process(0.1)
        raise error

    def _lost(self) -> NoReturn:
        """The child closed its output or input: say why."""
        status = self._end_process(GRACE)
        found, remedy = diagnosis.describe_end(self._said, status)
        if self._greeting is None:
            self._failure = TransportError("connect", on=self.where, found=found, remedy=remedy)
        else:
            self._failure = self._interrupted(found, remedy)
        raise self._failure

    def _stuck(self, waited: float) -> NoReturn:
        """Nothing has moved for ``waited`` seconds."""
        said = diagnosis.last_words(self._said)
        found = f"no answer for {human_seconds(waited)}" + (f"; {said}" if said else "")
        if self._greeting is None:
            found = f"no answer within {human_seconds(self.tuning.connect_timeout)}"
            self._fail(
                TransportError(
                    "connect",
                    on=self.where,
                    found=found + (f"; {said}" if said else ""),
                    remedy="look whether the server hangs (disks, memory) and whether that port "
                    "is its SSH service",
                )
            )
        self._fail(
            self._interrupted(
                found,
                "look whether the server hangs (failing disk, full pool), then run again; "
                "if it is only slow, raise the stall timeout",
            )
        )

    def _interrupted(self, found: str, remedy: str) -> ConnectionLostError:
        unknown = tuple((request.verb, request.path) for dummy, request in self._pending.values())
        if unknown:
            found += f"; {len(unknown)} requests were on their way"
        return ConnectionLostError(
            "go on", on=self.where, found=found, remedy=remedy, unknown=unknown
        )
