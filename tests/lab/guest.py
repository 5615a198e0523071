# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest as the controller sees it: run commands, code, copy files, set its clock."""

from __future__ import annotations

import json
import os
import shlex
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from . import network
from .errors import LabError
from .settings import AGENT_PORT, STORAGE, Settings

Text = str | bytes | os.PathLike[str]


class GuestError(LabError):
    """A command in the guest failed; ``result`` has its output."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


class GuestGoneError(LabError):
    """The connection broke: the guest was reset, rebooted or stopped meanwhile."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a command in the guest ended; ``rc`` is negative for a signal."""

    rc: int
    out: bytes
    err: bytes
    seconds: float

    @property
    def stdout(self) -> str:
        return self.out.decode("utf-8", "surrogateescape")

    @property
    def stderr(self) -> str:
        return self.err.decode("utf-8", "surrogateescape")

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


class Guest:
    """One command channel. Not for several threads: open a second ``Guest`` instead."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._socket: socket.socket | None = None

    def __enter__(self) -> Guest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; a command that still runs is killed."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def wait_ready(self, patience_s: float) -> None:
        """Return as soon as the guest answers.

        :raises LabError: no answer within ``patience_s``.
        """
        deadline = time.monotonic() + patience_s
        while True:
            try:
                self._connect(timeout_s=1.0)
                self.run(["true"], timeout=30)
                return
            except (GuestGoneError, OSError) as error:
                self.close()
                if time.monotonic() > deadline:
                    console = self._settings.run / "console.log"
                    raise LabError(
                        f"the guest didn't answer within {patience_s:.0f} s ({error});"
                        f" its console is in {console}"
                    ) from error
                time.sleep(0.1)

    def run(
        self,
        command: str | Sequence[Text],
        *,
        check: bool = True,
        stdin: Text = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = 300.0,
    ) -> Result:
        """Run a command as root: text goes to ``bash -c``, a sequence is run as it is.

        :raises GuestError: ``check`` and the exit status isn't 0, or not finished in ``timeout`` s.
        :raises GuestGoneError: the guest was reset or stopped meanwhile.
        """
        argv = ["bash", "-c", command] if isinstance(command, str) else list(command)
        request = {
            "op": "run",
            "argv": [_text(part) for part in argv],
            "env": dict(env or {}),
            "cwd": cwd,
            "timeout": timeout,
        }
        shown = command if isinstance(command, str) else shlex.join(map(_text, argv))
        return self._ask(request, (_bytes(stdin),), shown, check)

    def python(
        self,
        code: str,
        *argv: str,
        check: bool = True,
        stdin: Text = b"",
        timeout: float | None = 300.0,
    ) -> Result:
        """Run Python code as root in an interpreter that is already up.

        :param argv: what the code finds in ``sys.argv[1:]``.
        :raises GuestError: as for `run`.
        """
        request = {"op": "python", "argv": list(argv), "timeout": timeout}
        return self._ask(request, (code.encode(), _bytes(stdin)), "python code", check)

    def zfs(self, *arguments: str, check: bool = True) -> list[str]:
        """Run ``zfs ARGUMENTS`` and return its lines: ``zfs("snapshot", "-r", "main@x")``."""
        return self.run(["zfs", *arguments], check=check).lines

    def put(self, content: Text | Path, path: Text, mode: int = 0o644) -> None:
        """Write a file: bytes or text as they are, a ``Path`` as the content of that file."""
        data = content.read_bytes() if isinstance(content, Path) else _bytes(content)
        self.run(["sh", "-c", 'cat >"$1" && chmod "$2" "$1"', "-", path, f"{mode:o}"], stdin=data)

    def get(self, path: Text) -> bytes:
        """The content of a file."""
        return self.run(["cat", "--", path]).out

    def clock(self) -> float:
        """The guest's time as seconds since the epoch."""
        return float(self.python("import time; print(time.time())").stdout)

    def set_clock(self, seconds: float | None = None) -> None:
        """Set the guest's time, by default to this machine's."""
        moment = time.time() if seconds is None else seconds
        self.python(f"import time; time.clock_settime(time.CLOCK_REALTIME, {moment!r})")

    def set_timezone(self, name: str) -> None:
        """Set the time zone, such as ``Europe/Berlin``, and let cron take notice."""
        self.run(
            'test -e "$FILE" && ln -sf "$FILE" /etc/localtime && echo "$ZONE" >/etc/timezone'
            " && systemctl restart cron",
            env={"ZONE": name, "FILE": f"/usr/share/zoneinfo/{name}"},
        )

    def _connect(self, timeout_s: float = 10.0) -> socket.socket:
        if self._socket is None:
            with network.entered(self._settings.namespace):
                connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            connection.settimeout(timeout_s)
            try:
                connection.connect((STORAGE, AGENT_PORT))
            except OSError:
                connection.close()
                raise
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = connection
        return self._socket

    def _ask(
        self, request: dict[str, Any], parts: tuple[bytes, ...], shown: str, check: bool
    ) -> Result:
        start = time.monotonic()
        limit = request["timeout"]
        try:
            connection = self._connect()
            connection.settimeout(None if limit is None else limit + 60)
            line = json.dumps({**request, "sizes": [len(part) for part in parts]})
            connection.sendall(line.encode() + b"\n" + b"".join(parts))
            with connection.makefile("rb") as stream:
                answer = json.loads(stream.readline() or "null")
                if answer is None:
                    raise ConnectionResetError("connection closed")
                out, err = (stream.read(size) for size in answer["sizes"])
        except OSError as error:
            self.close()
            raise GuestGoneError(f"the guest went away during {shown!r}: {error}") from error
        result = Result(answer["rc"], out, err, time.monotonic() - start)
        if answer["timed_out"]:
            raise GuestError(f"{shown!r} in the guest: killed after {limit} s", result)
        if check and result.rc != 0:
            said = (result.stderr or result.stdout).strip()[-2000:]
            raise GuestError(f"{shown!r} in the guest: exit {result.rc}: {said}", result)
        return result


def _text(value: Text) -> str:
    return os.fsdecode(value)


def _bytes(value: Text) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return os.fsencode(value)
