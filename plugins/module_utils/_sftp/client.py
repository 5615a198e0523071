# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""A remote store over SFTP: see ports.RemoteStore for what each method promises."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType

from ansible_collections.homelab.backup.plugins.module_utils._sftp.batch import (
    stream,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.changes import (
    Changes,
    found_attributes,
    storable,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.connection import (
    Connection,
    Request,
    Tuning,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.explain import (
    Explainer,
    ask_space,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    Reason,
    RemoteError,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.listing import TreeReader
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import OnDone, Skip
from ansible_collections.homelab.backup.plugins.module_utils._sftp.protocol import (
    Extension,
    Limits,
    Packet,
    attributes_body,
    extended_body,
    string,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.reading import Reader
from ansible_collections.homelab.backup.plugins.module_utils._sftp.smallfile import (
    staging_name,
    write_new,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.upload import Uploader
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


class SftpClient:
    """Speaks SFTP over a child process' pipes; implements ports.RemoteStore.

    Not for threads. Use it in a ``with`` statement, or call :meth:`close`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._explainer = Explainer(connection)
        self._changes = Changes(connection, self._explainer)

    @classmethod
    def connect(
        cls,
        argv: Sequence[str],
        *,
        where: str = "",
        tuning: Tuning | None = None,
        inherit: Sequence[int] = (),
    ) -> SftpClient:
        """Start ``argv`` (ssh.ssh_argv, or an SFTP server itself) and greet the server.

        Args:
            argv: a program that speaks SFTP on its standard input and output.
            where: the server's name for messages; else the command line.
            tuning: sizes and time limits.
            inherit: descriptors that the program keeps open (a run's lock).

        Raises:
            TransportError: not startable, unreachable, host key or key refused, no
                SFTP there; the error has the program's own words and a remedy.
        """
        connection = Connection.open(
            argv, where=where or " ".join(argv), tuning=tuning or Tuning(), inherit=inherit
        )
        return cls(connection)

    def __enter__(self) -> SftpClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def extensions(self) -> frozenset[Extension]:
        """The server's extensions that are used here."""
        return self._connection.extensions

    @property
    def limits(self) -> Limits:
        """The server's limits."""
        return self._connection.limits

    def close(self) -> None:
        """See RemoteStore."""
        self._connection.close()

    # --- looking ------------------------------------------------------------------------

    def stat_many(self, paths: Iterable[bytes]) -> Iterator[StatOutcome]:
        """See RemoteStore."""
        requests = (Request(Packet.LSTAT, string(path), "look at", path) for path in paths)
        return stream(self._connection, requests, found_attributes)

    def list_dir(self, path: bytes) -> list[Entry]:
        """See RemoteStore."""
        reader = TreeReader(self._connection, path, recurse=False, skip=None, on_error=None)
        return list(reader.entries())

    def list_tree(
        self,
        root: bytes,
        *,
        skip: Skip | None = None,
        on_error: Callable[[RemoteError], None] | None = None,
    ) -> Iterator[Entry]:
        """See RemoteStore."""
        reader = TreeReader(self._connection, root, recurse=True, skip=skip, on_error=on_error)
        return reader.entries()

    def statvfs(self, path: bytes) -> Space | None:
        """See RemoteStore."""
        space = ask_space(self._connection, path)
        if isinstance(space, RemoteError):
            raise space
        return space

    # --- changing -----------------------------------------------------------------------

    def rename_many(
        self,
        pairs: Iterable[tuple[bytes, bytes]],
        *,
        overwrite: bool,
        on_done: OnDone | None = None,
    ) -> list[Outcome]:
        """See RemoteStore; ``overwrite`` needs posix-rename@openssh.com."""
        return self._changes.run((self._rename(old, new, overwrite) for old, new in pairs), on_done)

    def hardlink_many(
        self, pairs: Iterable[tuple[bytes, bytes]], *, on_done: OnDone | None = None
    ) -> list[Outcome]:
        """See RemoteStore; needs hardlink@openssh.com."""
        requests = (
            Request(
                Packet.EXTENDED,
                extended_body(Extension.HARDLINK, old, new),
                "link",
                new,
                old=old,
            )
            for old, new in pairs
        )
        return self._changes.run(requests, on_done)

    def mkdir_many(
        self, paths: Iterable[bytes], *, exist_ok: bool, on_done: OnDone | None = None
    ) -> list[Outcome]:
        """See RemoteStore."""
        none = attributes_body(Attributes())
        requests = (
            Request(Packet.MKDIR, string(path) + none, "make the directory", path) for path in paths
        )
        return self._changes.run(requests, on_done, accept_directory=exist_ok)

    def remove_many(
        self, paths: Iterable[bytes], *, on_done: OnDone | None = None
    ) -> list[Outcome]:
        """See RemoteStore."""
        requests = (Request(Packet.REMOVE, string(path), "remove", path) for path in paths)
        return self._changes.run(requests, on_done)

    def rmdir_many(self, paths: Iterable[bytes], *, on_done: OnDone | None = None) -> list[Outcome]:
        """See RemoteStore."""
        requests = (
            Request(Packet.RMDIR, string(path), "remove the directory", path) for path in paths
        )
        return self._changes.run(requests, on_done)

    def setstat_many(
        self,
        items: Iterable[tuple[bytes, Attributes]],
        *,
        on_done: OnDone | None = None,
    ) -> list[Outcome]:
        """See RemoteStore. It follows a symlink, as the protocol's SETSTAT does."""
        requests = (
            Request(
                Packet.SETSTAT,
                string(path) + attributes_body(storable(wanted)),
                "set the attributes of",
                path,
            )
            for path, wanted in items
        )
        return self._changes.run(requests, on_done)

    # --- content ------------------------------------------------------------------------

    def upload_many(
        self, items: Iterable[UploadItem], on_done: Callable[[UploadOutcome], None]
    ) -> None:
        """See BulkUpload."""
        for outcome in Uploader(self._connection).outcomes(items):
            error = outcome.error
            if isinstance(error, RemoteError):
                explained = self._explainer.explain(error, outcome.item.size)
                on_done(dataclasses.replace(outcome, error=explained))
            else:
                on_done(outcome)

    def read_many(self, items: Iterable[ReadItem]) -> Iterator[ReadOutcome]:
        """See RemoteStore."""
        return Reader(self._connection).outcomes(items)

    def download(self, path: bytes, sink: Callable[[memoryview], object]) -> tuple[Attributes, str]:
        """See RemoteStore."""
        outcome = Reader(self._connection).download(path, sink)
        if isinstance(outcome.error, RemoteError):
            raise outcome.error
        if outcome.attributes is None or outcome.sha256 is None:
            raise RemoteError("read the file", path, Reason.MISSING, found="there is no such file")
        return outcome.attributes, outcome.sha256

    def read_file(self, path: bytes, limit: int) -> bytes:
        """See RemoteStore."""
        content = bytearray()

        def take(data: memoryview) -> None:
            content.extend(data)
            if len(content) > limit:
                found = f"it has more than {limit} bytes"
                raise RemoteError("read the file", path, Reason.OTHER, found=found)

        self.download(path, take)
        return bytes(content)

    def write_file(self, path: bytes, content: bytes, mode: int = 0o600) -> None:
        """See RemoteStore."""
        staging = staging_name(path)
        write_new(self._connection, staging, content, mode, self._explainer)
        [renamed] = self.rename_many([(staging, path)], overwrite=True)
        if renamed.error is not None:
            raise renamed.error

    # --- how ----------------------------------------------------------------------------

    def _rename(self, old: bytes, new: bytes, overwrite: bool) -> Request:
        if overwrite:
            body = extended_body(Extension.POSIX_RENAME, old, new)
            return Request(Packet.EXTENDED, body, "rename to", new, old=old)
        return Request(Packet.RENAME, string(old) + string(new), "rename to", new, old=old)
