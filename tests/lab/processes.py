# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running programs on this machine: in the foreground, or left running with a pid file."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import LabError


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    timeout_s: float = 120.0,
) -> str:
    """Run a program to its end and return its standard output (empty if ``log`` takes it).

    The program is killed when this process dies, so a killed build leaves nothing running.

    :raises LabError: not found, non-zero exit or time-out, with the last lines it wrote.
    """
    command = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
    merged = {**_environment(), **(env or {})}
    try:
        if log is None:
            done = subprocess.run(
                command,
                env=merged,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
            output, tail = done.stdout, (done.stderr or done.stdout)
        else:
            with log.open("ab") as stream:
                done = subprocess.run(
                    command,
                    env=merged,
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    text=True,
                    timeout=timeout_s,
                    check=False,
                )
            output, tail = "", log.read_text(errors="replace")
    except FileNotFoundError as error:
        raise LabError("setpriv (package util-linux) isn't there") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{_brief(argv)}: not finished after {timeout_s:.0f} s") from error
    if done.returncode != 0:
        last = "\n  ".join(tail.strip().splitlines()[-15:])
        where = f" (whole log: {log})" if log else ""
        raise LabError(f"{_brief(argv)}: exit {done.returncode}{where}\n  {last}")
    return output


def isolated(argv: Sequence[str]) -> list[str]:
    """The command in mount and process namespaces of its own.

    Mounts vanish and every descendant is killed with it, however it ends.
    """
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--", *argv]


def _environment() -> dict[str, str]:
    """This process' environment; the system's directories are on PATH even after a plain su."""
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": f"{path}:/usr/local/sbin:/usr/sbin:/sbin"}


def _brief(argv: Sequence[str]) -> str:
    return " ".join(argv)[:200]


# The program writes its own pid file before it starts, so a caller killed at that moment
# leaves nothing that the next one can't find.
_RECORD_AND_START = """read -r stat <"/proc/$$/stat"
started=$(set -- ${stat##*) }; echo "${20}")
echo "$$ $started" >"$1.new" && mv "$1.new" "$1" && shift && exec "$@"
"""


def start_daemon(argv: Sequence[str], pid_file: Path, log: Path) -> None:
    """Start a program that outlives this process; its output goes to ``log``.

    Returns when the pid file is there: process id and start time in clock ticks.
    """
    pid_file.unlink(missing_ok=True)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            ["sh", "-c", _RECORD_AND_START, "-", str(pid_file), *argv],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    while not pid_file.exists():
        if process.poll() is not None:
            raise LabError(f"{_brief(argv)}: can't be started, see {log}")
        time.sleep(0.002)


def alive(pid_file: Path) -> int | None:
    """The process of a pid file, if it still is that very process (same start time)."""
    try:
        pid, started = pid_file.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if _started(int(pid)) == started else None


def stop(pid_file: Path, patience_s: float = 10.0) -> None:
    """Kill the process of a pid file, wait until it is gone, remove the file.

    :raises LabError: it is still there after ``patience_s``.
    """
    pid = alive(pid_file)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid_file, patience_s)
    pid_file.unlink(missing_ok=True)


def wait_gone(pid_file: Path, patience_s: float) -> None:
    """Return when the process of a pid file has ended.

    :raises LabError: it is still there after ``patience_s``.
    """
    deadline = time.monotonic() + patience_s
    while (pid := alive(pid_file)) is not None:
        _reap(pid)
        if time.monotonic() > deadline:
            raise LabError(f"process {pid} ({pid_file}) is still there after {patience_s:.0f} s")
        time.sleep(0.02)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _started(pid: int) -> str:
    """Start time in clock ticks (field 22 of proc_pid_stat(5)); empty if gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] == "Z" else fields[19]
