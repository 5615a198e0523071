# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Big files through ``rclone rcat``: it reads them from us, so that the source is read once.

rclone gets no file names of the source and no configuration file, only the
waiting place's plain name; what a name may hold is never its business.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    SourceError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    clean_environment,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ssh import SshTarget
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Source,
    UploadItem,
    UploadOutcome,
)

CHUNK = 1 << 20
# lib/exitcode/exitcode.go of rclone
EXIT_WORDS = {
    2: "its arguments are wrong",
    3: "the directory is missing at the destination",
    5: "a temporary error, even when tried again",
    7: "a fatal error",
    8: "a transfer limit was reached",
}


class RcloneBulk:
    """The port :class:`BulkUpload` by rclone.

    Args:
        target: the SFTP server.
        binary: rclone's path.
        parallel: how many files at a time.
        inherit: descriptors that every rclone keeps open (the run's lock).
    """

    def __init__(
        self, target: SshTarget, binary: str, *, parallel: int = 4, inherit: Sequence[int] = ()
    ) -> None:
        self._target = target
        self._binary = binary
        self._parallel = parallel
        self._inherit = tuple(inherit)

    def upload_many(
        self, items: Iterable[UploadItem], on_done: Callable[[UploadOutcome], None]
    ) -> None:
        """See :class:`BulkUpload`; outcomes are told in the caller's thread."""
        waiting: set[Future[UploadOutcome]] = set()
        source = iter(items)
        with ThreadPoolExecutor(self._parallel) as threads:
            for item in source:
                waiting.add(threads.submit(self._upload, item))
                if len(waiting) >= self._parallel:
                    waiting = _tell(waiting, on_done)
            while waiting:
                waiting = _tell(waiting, on_done)

    def _argv(self, item: UploadItem) -> list[str]:
        target = self._target
        options = {
            "--sftp-host": target.host,
            "--sftp-port": str(target.port),
            "--sftp-user": target.user,
            "--sftp-key-file": target.key_file,
            "--sftp-known-hosts-file": target.known_hosts_file,
            "--sftp-shell-type": "none",
            "--config": "/dev/null",
            "--retries": "1",
            "--size": str(item.size),
        }
        argv = [self._binary, "rcat", f":sftp:{os.fsdecode(item.target)}"]
        for name, value in options.items():
            argv += [name, value]
        return [*argv, "--sftp-disable-hashcheck", "--sftp-set-modtime=false", "--inplace"]

    def _upload(self, item: UploadItem) -> UploadOutcome:
        digest = hashlib.sha256()
        sent = 0
        try:
            with tempfile.TemporaryFile() as complaints:
                process = self._start(item, complaints.fileno())
                if process.stdin is None:
                    raise TransportError("run rclone", found="it has no standard input")
                try:
                    with process.stdin as pipe:
                        for chunk in _chunks(item.source, item.size):
                            digest.update(chunk)
                            sent += len(chunk)
                            pipe.write(chunk)
                except BrokenPipeError:
                    sent = -1
                except BaseException:
                    process.kill()
                    process.wait()
                    raise
                status = process.wait()
                complaints.seek(0)
                said = " ".join(complaints.read(4000).decode("utf-8", errors="replace").split())
            self._check(item, status, sent, said)
        except BackupError as error:
            return UploadOutcome(item, "", max(sent, 0), error=error)
        except OSError as error:
            return UploadOutcome(item, "", max(sent, 0), error=_unreadable(item, str(error)))
        return UploadOutcome(item, digest.hexdigest(), sent)

    def _start(self, item: UploadItem, complaints: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self._argv(item),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                env=clean_environment(),
                pass_fds=self._inherit,
            )
        except OSError as error:
            raise TransportError(
                "run rclone",
                on=self._binary,
                found=str(error),
                remedy="let the role truenas install rclone, or set bulk.program to 'sftp'",
            ) from error

    def _check(self, item: UploadItem, status: int, sent: int, said: str) -> None:
        if status != 0 or sent == -1:
            why = EXIT_WORDS.get(status, f"exit status {status}")
            raise TransportError(
                "send a big file by rclone",
                on=f"{self._target}:{printable(item.target)}",
                found=f"{why}: {said}" if said else why,
                remedy="look at free space and the way to the NAS; the next run sends it again",
            )
        if sent != item.size:
            raise _unreadable(item, f"it gave {sent} bytes instead of {item.size}")


def _tell(
    waiting: set[Future[UploadOutcome]], on_done: Callable[[UploadOutcome], None]
) -> set[Future[UploadOutcome]]:
    done, rest = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        on_done(future.result())
    return rest


def _chunks(source: Source, size: int) -> Iterator[bytes]:
    """The content, at most one byte more than there should be."""
    descriptor = (
        os.open(source, os.O_RDONLY | os.O_NOFOLLOW) if isinstance(source, bytes) else source()
    )
    with os.fdopen(descriptor, "rb", buffering=0) as handle:
        left = size + 1
        while left and (chunk := handle.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk


def _unreadable(item: UploadItem, found: str) -> SourceError:
    return SourceError("read a file of the snapshot", on=printable(item.target), found=found)
