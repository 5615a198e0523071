# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running programs: the adapter behind :class:`Commands`."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import TransportError
from ansible_collections.homelab.backup.plugins.module_utils._core.ports import Completed

ENVIRONMENT = {"LC_ALL": "C", "LANG": "C"}
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def clean_environment() -> dict[str, str]:
    """This process's environment with messages in English and sbin on the path.

    cron starts jobs with a PATH that lacks /usr/sbin, where Debian has zfs.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LC_")}
    environment.update(ENVIRONMENT)
    environment["PATH"] = environment.get("PATH", "") + ":" + SEARCH_PATH
    return environment


class SubprocessCommands:
    """Runs programs with :mod:`subprocess`.

    Args:
        inherit: file descriptors that every child keeps open. A run's lock is
            among them: a child that outlives its killed parent keeps the lock.
    """

    def __init__(self, inherit: Sequence[int] = ()) -> None:
        self._inherit = tuple(inherit)

    @property
    def inherit(self) -> tuple[int, ...]:
        """The file descriptors that children keep."""
        return self._inherit

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float | None = None
    ) -> Completed:
        """See :meth:`Commands.run`."""
        process = self.start(argv)
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired as exc:
            process.kill()
            process.communicate()
            raise TransportError(
                f"run {argv[0]}",
                on=" ".join(argv),
                found=f"it had not ended after {timeout:g} s and was killed",
                remedy="look at what it waits for (dmesg, zpool status), then run again",
            ) from exc
        except BaseException:
            process.send_signal(signal.SIGTERM)
            raise
        return Completed(tuple(argv), process.returncode, stdout, stderr)

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start ``argv`` with pipes on stdin, stdout and stderr.

        Raises:
            TransportError: the program is missing or not executable.
        """
        environment = clean_environment()
        try:
            return subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                pass_fds=self._inherit,
            )
        except (FileNotFoundError, PermissionError) as exc:
            raise TransportError(
                f"run {argv[0]}",
                on=" ".join(argv),
                found=exc.strerror or "it cannot be started",
                remedy=f"install {argv[0]} or correct its configured path",
            ) from exc
