# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""A destination that takes everything and keeps nothing but its small files.

It stands in for the NAS where the time or memory of the rest of a run is measured.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import OnDone, Skip
from ansible_collections.homelab.backup.plugins.module_utils._sftp.upload import open_source
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Attributes,
    Entry,
    Outcome,
    ReadItem,
    ReadOutcome,
    Space,
    StatOutcome,
    UploadItem,
    UploadOutcome,
)

READ_SIZE = 1 << 20


class Sink:
    """See the module's text; uploads are read and hashed as any transport does.

    Args:
        kept: where the small files are kept for the next process, if anywhere.
    """

    def __init__(self, kept: Path | None = None) -> None:
        self._kept = kept
        self.small: dict[bytes, bytes] = {}
        if kept is not None and kept.exists():
            rows: dict[str, str] = json.loads(kept.read_text(encoding="ascii"))
            self.small = {os.fsencode(path): text.encode() for path, text in rows.items()}
        self.uploaded = 0
        self.uploaded_bytes = 0

    def upload_many(
        self, items: Iterable[UploadItem], on_done: Callable[[UploadOutcome], None]
    ) -> None:
        """Read and hash each item."""
        for item in items:
            digest = hashlib.sha256()
            with os.fdopen(open_source(item), "rb", buffering=0) as handle:
                while chunk := handle.read(READ_SIZE):
                    digest.update(chunk)
            self.uploaded += 1
            self.uploaded_bytes += item.size
            on_done(UploadOutcome(item, digest.hexdigest(), item.size))

    def stat_many(self, paths: Iterable[bytes]) -> Iterator[StatOutcome]:
        """Only what was written with ``write_file`` is there."""
        for path in paths:
            content = self.small.get(path)
            found = None if content is None else Attributes(size=len(content))
            yield StatOutcome(path, found)

    def list_dir(self, path: bytes) -> list[Entry]:
        """Nothing."""
        return []

    def list_tree(
        self,
        root: bytes,
        *,
        skip: Skip | None = None,
        on_error: Callable[[RemoteError], None] | None = None,
    ) -> Iterator[Entry]:
        """Nothing."""
        return iter(())

    def rename_many(
        self,
        pairs: Iterable[tuple[bytes, bytes]],
        *,
        overwrite: bool,
        on_done: OnDone | None = None,
    ) -> list[Outcome]:
        """Done."""
        return self._done((new for dummy, new in pairs), on_done)

    def mkdir_many(
        self, paths: Iterable[bytes], *, exist_ok: bool, on_done: OnDone | None = None
    ) -> list[Outcome]:
        """Done."""
        return self._done(paths, on_done)

    def remove_many(
        self, paths: Iterable[bytes], *, on_done: OnDone | None = None
    ) -> list[Outcome]:
        """Done."""
        return self._done(paths, on_done)

    def rmdir_many(self, paths: Iterable[bytes], *, on_done: OnDone | None = None) -> list[Outcome]:
        """Done."""
        return self._done(paths, on_done)

    def hardlink_many(
        self, pairs: Iterable[tuple[bytes, bytes]], *, on_done: OnDone | None = None
    ) -> list[Outcome]:
        """Done."""
        return self._done((new for dummy, new in pairs), on_done)

    def setstat_many(
        self,
        items: Iterable[tuple[bytes, Attributes]],
        *,
        on_done: OnDone | None = None,
    ) -> list[Outcome]:
        """Done."""
        return self._done((path for path, dummy in items), on_done)

    def read_many(self, items: Iterable[ReadItem]) -> Iterator[ReadOutcome]:
        """Nothing is there."""
        return (ReadOutcome(item) for item in items)

    def download(self, path: bytes, sink: Callable[[memoryview], object]) -> tuple[Attributes, str]:
        """One of the small files."""
        content = self.read_file(path, 1 << 40)
        sink(memoryview(content))
        return Attributes(size=len(content)), hashlib.sha256(content).hexdigest()

    def read_file(self, path: bytes, limit: int) -> bytes:
        """One of the small files.

        Raises:
            RemoteError: it was not written here.
        """
        if path not in self.small:
            raise RemoteError("read the file", path, Reason.MISSING, found="no such file")
        return self.small[path][:limit]

    def write_file(self, path: bytes, content: bytes, mode: int = 0o600) -> None:
        """Keep one small file, unless it is a piece of the index."""
        if path.endswith(b".json"):
            self.small[path] = content

    def statvfs(self, path: bytes) -> Space | None:
        """It can't tell."""
        return None

    def close(self) -> None:
        """Keep the small files."""
        if self._kept is not None:
            rows = {os.fsdecode(path): content.decode() for path, content in self.small.items()}
            self._kept.write_text(json.dumps(rows), encoding="ascii")

    def _done(self, paths: Iterable[bytes], on_done: OnDone | None) -> list[Outcome]:
        outcomes = [Outcome(path) for path in paths]
        if on_done is not None:
            for outcome in outcomes:
                on_done(outcome)
        return outcomes
