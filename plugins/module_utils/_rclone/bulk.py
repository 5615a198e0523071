# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Big files through ``rclone rcat``: it reads them from us, so that the source is read once.

rclone gets no file names of the source and no configuration file, only the
waiting place's plain name; what a name may hold is never its business. What it
can't do (set a time from a stream, tell a full disk from other failures) is
done through the store. Facts: rclone's docs (rcat, sftp) and lib/exitcode.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import posixpath
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import IO, Final

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    SourceError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    clean_environment,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import (
    human_bytes,
    printable,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import RemoteStore
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ssh import SshTarget
from ansible_collections.homelab.backup.plugins.module_utils._sftp.upload import open_source
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Attributes,
    UploadItem,
    UploadOutcome,
    storable_mtime,
)

CHUNK: Final = 1 << 20
SAID: Final = 4000
"""Bytes of rclone's last words that are kept."""

# lib/exitcode/exitcode.go of rclone
EXIT_WORDS: Final = {
    2: "its arguments are wrong",
    3: "the directory is missing at the destination",
    4: "the file is missing at the destination",
    5: "a temporary error, even when tried again",
    6: "an error that trying again won't mend",
    7: "a fatal error",
    8: "a transfer limit was reached",
    10: "a time limit was reached",
}


class RcloneBulk:
    """The port :class:`BulkUpload` by rclone, one process for each file.

    Args:
        target: the SFTP server.
        binary: rclone's path.
        store: sets and reads what rclone can't; only used in the caller's thread.
        parallel: how many files at a time.
        inherit: descriptors that every rclone keeps open (the run's lock).
    """

    def __init__(
        self,
        target: SshTarget,
        binary: str,
        *,
        store: RemoteStore,
        parallel: int = 4,
        inherit: Sequence[int] = (),
    ) -> None:
        self._target = target
        self._binary = binary
        self._store = store
        self._parallel = parallel
        self._inherit = tuple(inherit)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = threading.Event()

    def upload_many(
        self, items: Iterable[UploadItem], on_done: Callable[[UploadOutcome], None]
    ) -> None:
        """See :class:`BulkUpload`; outcomes are told in the caller's thread.

        rclone makes missing directories above a target, and removes what it has
        written of a failed one where the server lets it.
        """
        waiting: set[Future[UploadOutcome]] = set()
        self._stopping.clear()
        with ThreadPoolExecutor(self._parallel) as threads:
            try:
                for item in items:
                    waiting.add(threads.submit(self._upload, item))
                    if len(waiting) >= self._parallel:
                        waiting = self._tell(waiting, on_done)
                while waiting:
                    waiting = self._tell(waiting, on_done)
            except BaseException:
                self._stop()
                raise

    def _tell(
        self, waiting: set[Future[UploadOutcome]], on_done: Callable[[UploadOutcome], None]
    ) -> set[Future[UploadOutcome]]:
        done, rest = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            on_done(self._finish(future.result()))
        return rest

    def _stop(self) -> None:
        """End every rclone, so that nothing goes on when the caller has given up."""
        self._stopping.set()
        for process in list(self._running):
            process.kill()

    # --- in a thread of its own -----------------------------------------------------------

    def _upload(self, item: UploadItem) -> UploadOutcome:
        digest = hashlib.sha256()
        sent = 0
        try:
            with (
                os.fdopen(open_source(item), "rb", buffering=0) as source,
                tempfile.TemporaryFile() as words,
            ):
                process = self._start(item, words.fileno())
                taken = True
                try:
                    for chunk in chunks(source, item):
                        digest.update(chunk)
                        taken = pass_on(process, chunk)
                        if not taken:
                            break
                        sent += len(chunk)
                finally:
                    status = self._end(process)
                if taken:
                    check_source(item, sent)
                words.seek(0, os.SEEK_END)
                words.seek(max(words.tell() - SAID, 0))
                self._check(item, status, words.read())
        except BackupError as error:
            return UploadOutcome(item, "", sent, error=error)
        except OSError as error:
            problem = SourceError(
                "read the file", on=printable(item.target), found=str(error.strerror)
            )
            return UploadOutcome(item, "", sent, error=problem)
        return UploadOutcome(item, digest.hexdigest(), sent)

    def _start(self, item: UploadItem, words: int) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                self.argv(item),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=words,
                env=environment(),
                pass_fds=self._inherit,
            )
        except OSError as error:
            raise TransportError(
                "run rclone",
                on=self._binary,
                found=str(error.strerror),
                remedy="let the role truenas install rclone, or set bulk.program to 'sftp'",
            ) from error
        self._running.add(process)
        if self._stopping.is_set():
            process.kill()
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        """Close rclone's input and wait for its end; its exit status."""
        if process.stdin is not None:
            # What it did not take any more shows in its exit status.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        status = process.wait()
        self._running.discard(process)
        return status

    def argv(self, item: UploadItem) -> list[str]:
        """rclone's command line for one file."""
        target = self._target
        options = {
            "--sftp-host": target.host,
            "--sftp-port": str(target.port),
            "--sftp-user": target.user,
            "--sftp-key-file": target.key_file,
            "--sftp-known-hosts-file": target.known_hosts_file,
            "--sftp-shell-type": "none",
            "--config": "/dev/null",
            "--contimeout": f"{target.connect_timeout}s",
            "--retries": "1",
            "--size": str(item.size),
        }
        argv = [self._binary, "rcat", f":sftp:{os.fsdecode(item.target)}"]
        for name, value in options.items():
            argv += [name, value]
        return [*argv, "--sftp-disable-hashcheck", "--sftp-set-modtime=false", "--inplace"]

    def _check(self, item: UploadItem, status: int, words: bytes) -> None:
        if status == 0:
            return
        said = " ".join(words.decode("utf-8", errors="replace").split())
        raise TransportError(
            "send a big file by rclone",
            on=f"{self._target}:{printable(item.target)}",
            found=f"{ending(status)}: {said}" if said else ending(status),
            remedy="look at free space and the way to the NAS; the next run sends it again",
        )

    # --- in the caller's thread -----------------------------------------------------------

    def _finish(self, outcome: UploadOutcome) -> UploadOutcome:
        """Set the time and look at what is stored; find out why it failed."""
        item = outcome.item
        if isinstance(outcome.error, TransportError):
            return dataclasses.replace(outcome, error=self._cause(item, outcome.error))
        if outcome.error is not None:
            return outcome
        mtime = None if item.mtime is None else storable_mtime(item.mtime)
        wanted = Attributes(mtime=mtime, permissions=item.mode)
        if wanted != Attributes():
            [changed] = self._store.setstat_many([(item.target, wanted)])
            if changed.error is not None:
                return dataclasses.replace(outcome, error=changed.error)
        [found] = self._store.stat_many([item.target])
        size = found.attributes.size if found.attributes is not None else None
        if size != outcome.size:
            words = "nothing is there" if size is None else f"the server holds {size} bytes"
            error = RemoteError(
                "upload the file",
                item.target,
                Reason.DIFFERS,
                found=f"{words} of {outcome.size} that were sent",
            )
            return dataclasses.replace(outcome, error=error)
        return dataclasses.replace(outcome, stored=found.attributes)

    def _cause(self, item: UploadItem, error: TransportError) -> BackupError:
        """A full destination is told as such, so that the run stops sending."""
        space = self._store.statvfs(posixpath.dirname(item.target) or b"/")
        if space is None or space.available >= item.size:
            return error
        free = human_bytes(space.available)
        found = f"{error.found}; {free} are free for this user at the destination"
        return RemoteError(error.tried, item.target, Reason.FULL, found=found)


def environment() -> dict[str, str]:
    """Ours without RCLONE_ variables, each of which would change an option."""
    return {key: value for key, value in clean_environment().items() if key[:7] != "RCLONE_"}


def ending(status: int) -> str:
    """rclone's exit status in words."""
    if status < 0:
        return f"it was killed by {signal.Signals(-status).name}"
    return EXIT_WORDS.get(status, f"exit status {status}")


def check_source(item: UploadItem, given: int) -> None:
    """Refuse a source that gave another number of bytes than it should have."""
    if given == item.size:
        return
    found = f"it ended after {given} of {item.size} bytes"
    if given > item.size:
        found = f"it has more than the expected {item.size} bytes"
    raise SourceError("read the file", on=printable(item.target), found=found)


def chunks(source: IO[bytes], item: UploadItem) -> Iterator[bytes]:
    """The content, at most one byte more than there should be."""
    left = item.size + 1
    while left and (chunk := source.read(min(CHUNK, left))):
        left -= len(chunk)
        yield chunk


def pass_on(process: subprocess.Popen[bytes], chunk: bytes) -> bool:
    """Give ``chunk`` to rclone; False when it reads no more."""
    if process.stdin is None:
        return False
    try:
        process.stdin.write(chunk)
    except BrokenPipeError:
        return False
    return True
