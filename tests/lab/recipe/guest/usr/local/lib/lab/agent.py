# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command agent inside the guest: runs commands for the controller over one TCP connection.

A new SSH session costs an emulated guest a second or more, a message to this agent milliseconds,
and it answers at once after a saved state was loaded. It is part of the lab only.

A message, both ways, is one line of JSON followed by ``sizes`` binary parts:

* request ``{"op": "run", "argv": [...], "env": {...}, "cwd": ..., "timeout": s, "sizes": [n]}``
  with standard input as its part;
* request ``{"op": "python", "argv": [...], "timeout": s, "sizes": [n, m]}`` with source code and
  standard input: run in a fork of this process, so the interpreter's start is not paid;
* reply ``{"rc": n, "timed_out": bool, "sizes": [n, m]}`` with standard output and error; ``rc``
  is negative for a signal, as in ``subprocess``.

One process for each connection; when the controller hangs up, what it started is killed.
"""

import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import traceback
from typing import Any

# What code sent with "python" commonly uses, loaded once, before any fork.
LOADED = [
    importlib.import_module(name)
    for name in (
        "contextlib",
        "errno",
        "fcntl",
        "hashlib",
        "pathlib",
        "random",
        "shutil",
        "sqlite3",
        "stat",
        "struct",
        "subprocess",
        "time",
    )
]


def main() -> None:
    controller, port = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    server = socket.create_server(("0.0.0.0", port), backlog=32)
    children: set[int] = set()
    while True:
        connection, (peer, dummy_port) = server.accept()
        children -= {pid for pid in children if os.waitpid(pid, os.WNOHANG)[0]}
        if peer == controller:
            pid = os.fork()
            if pid == 0:
                server.close()
                serve(connection)
                os._exit(0)
            children.add(pid)
        connection.close()


def serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = connection.makefile("rb")
    while line := stream.readline():
        request = json.loads(line)
        parts = [stream.read(size) for size in request["sizes"]]
        status, timed_out, out, err = execute(request, parts, connection)
        header = {"rc": status, "timed_out": timed_out, "sizes": [len(out), len(err)]}
        connection.sendall(json.dumps(header).encode() + b"\n" + out + err)


def execute(
    request: dict[str, Any], parts: list[bytes], connection: socket.socket
) -> tuple[int, bool, bytes, bytes]:
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(parts[-1])
        given.seek(0)
        files = given.fileno(), out.fileno(), err.fileno()
        pid = start(request, parts[0], files)
        status, timed_out = wait(pid, request.get("timeout"), connection)
        out.seek(0)
        err.seek(0)
        return status, timed_out, out.read(), err.read()


def environment(request: dict[str, Any]) -> dict[str, str]:
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "USER": "root",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        **request.get("env", {}),
    }


def start(request: dict[str, Any], first: bytes, files: tuple[int, int, int]) -> int:
    """Fork; the child, in a session of its own, becomes the command or runs the code."""
    pid = os.fork()
    if pid:
        return pid
    status = 127 if request["op"] == "run" else 1
    try:
        os.setsid()
        for number, descriptor in enumerate(files):
            os.dup2(descriptor, number)
        os.chdir(request.get("cwd") or "/root")
        if request["op"] == "python":
            status = run_python(request, first)
        else:
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.execvpe(request["argv"][0], request["argv"], environment(request))
    except OSError as error:
        os.write(2, f"{request['argv'][:1]}: {error}\n".encode())
    finally:
        os._exit(status)


def run_python(request: dict[str, Any], source: bytes) -> int:
    os.environ.clear()
    os.environ.update(environment(request))
    sys.argv = ["-", *request["argv"]]
    status = 1
    try:
        exec(compile(source, "<lab>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
        if isinstance(leave.code, str):
            print(leave.code, file=sys.stderr)
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    return status


def wait(pid: int, timeout: float | None, connection: socket.socket) -> tuple[int, bool]:
    """Exit status and whether it was killed for its time; leaves if the controller hangs up."""
    handle = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    poller.register(connection, select.POLLRDHUP | select.POLLHUP)
    try:
        events = poller.poll(None if timeout is None else timeout * 1000)
        if not events or all(number != handle for number, dummy_event in events):
            os.killpg(pid, signal.SIGKILL)
            if events:
                os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status, not events
    finally:
        os.close(handle)


if __name__ == "__main__":
    main()
