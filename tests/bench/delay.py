# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""A link with a round trip: delays bytes without limiting how many.

    python tests/bench/delay.py exec 0.010 PROGRAM [ARGUMENT ...]
    python tests/bench/delay.py relay 0.010 LISTEN_PORT TARGET_HOST TARGET_PORT

``exec`` runs a program and delays its standard input and output; ``relay``
listens on 127.0.0.1 and delays each connection. The delay is for one way: 0.010
gives a round trip of 20 ms. What came within a moment travels together, and up
to 64 MiB are on their way in each direction.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

CHUNK = 256 * 1024
MOST = 64 * 1024 * 1024


class Link:
    """One direction: what is read now is written ``delay`` seconds later.

    Args:
        delay: seconds.
        read: gives the next bytes, empty at the end.
        write: writes all bytes given.
        end: called after the last byte was written, or when writing failed.
    """

    def __init__(
        self,
        delay: float,
        read: Callable[[int], bytes],
        write: Callable[[bytes], object],
        end: Callable[[], object],
    ) -> None:
        self._delay = delay
        self._read = read
        self._write = write
        self._end = end
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self._broken = False

    def start(self) -> threading.Thread:
        """Begin; the thread ends with the direction."""
        threading.Thread(target=self._receive, daemon=True).start()
        sender = threading.Thread(target=self._deliver, daemon=True)
        sender.start()
        return sender

    def _receive(self) -> None:
        data = b"."
        while data and not self._broken:
            try:
                data = self._read(CHUNK)
            except OSError:
                data = b""
            with self._changed:
                self._chunks.append((time.monotonic() + self._delay, data))
                self._size += len(data)
                self._changed.notify()
                while self._size > MOST and not self._broken:
                    self._changed.wait()

    def _deliver(self) -> None:
        try:
            while data := self._due():
                self._write(data)
        except OSError:
            self._broken = True
            with self._changed:
                self._changed.notify()
        self._end()

    def _due(self) -> bytes:
        """All that is due by now, after waiting for the first of it; empty at the end."""
        with self._changed:
            while not self._chunks:
                self._changed.wait()
            due = self._chunks[0][0]
        wait = due - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        parts: list[bytes] = []
        with self._changed:
            now = time.monotonic()
            while self._chunks and self._chunks[0][0] <= now:
                if not self._chunks[0][1] and parts:
                    break
                parts.append(self._chunks.popleft()[1])
            joined = b"".join(parts)
            self._size -= len(joined)
            self._changed.notify()
        return joined


def write_all(descriptor: int) -> Callable[[bytes], None]:
    """A function that writes to ``descriptor`` until nothing is left."""

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    return write


def run_program(delay: float, argv: list[str]) -> int:
    """Run ``argv`` with delayed input and output; gives its exit status."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise ValueError("no pipes")
        there, back = process.stdin.fileno(), process.stdout.fileno()
        Link(delay, lambda most: os.read(0, most), write_all(there), process.stdin.close).start()
        Link(delay, lambda most: os.read(back, most), write_all(1), lambda: None).start().join()
        return process.wait()


def half_close(end: socket.socket) -> Callable[[], None]:
    """A function that tells the other side that nothing more will come."""

    def close() -> None:
        try:
            end.shutdown(socket.SHUT_WR)
        except OSError:
            end.close()

    return close


def relay(delay: float, listener: socket.socket, target: tuple[str, int]) -> None:
    """Serve connections to ``listener`` until it is closed."""
    while True:
        try:
            near, dummy = listener.accept()
        except OSError:
            return
        try:
            far = socket.create_connection(target)
        except OSError:
            near.close()
            continue
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Link(delay, near.recv, far.sendall, half_close(far)).start()
        Link(delay, far.recv, near.sendall, half_close(near)).start()


def start_relay(delay: float, target: tuple[str, int]) -> tuple[int, socket.socket]:
    """Relay from a free port of 127.0.0.1 in a thread; gives the port, and what to close."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=relay, args=(delay, listener, target), daemon=True).start()
    return listener.getsockname()[1], listener


def main(arguments: list[str]) -> int:
    """The command line; see the module's text."""
    match arguments:
        case ["exec", delay, *argv] if argv:
            return run_program(float(delay), argv)
        case ["relay", delay, port, host, target_port]:
            listener = socket.create_server(("127.0.0.1", int(port)))
            relay(float(delay), listener, (host, int(target_port)))
            return 0
        case _:
            sys.stderr.write(__doc__ or "")
            return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
