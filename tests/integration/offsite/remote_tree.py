# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""The remote tree as an independent reader sees it: paramiko over SFTP, from the controller.

paramiko's own listings decode names; these requests keep them as the bytes that the server
sent. Requests are sent many at a time, so that thousands of small files take seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import paramiko
from paramiko.message import Message
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_CLOSE,
    CMD_DATA,
    CMD_HANDLE,
    CMD_LSTAT,
    CMD_NAME,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    SFTP_FLAG_READ,
    int64,
)

from tests.lab import network
from tests.lab.nas import Nas
from tests.lab.settings import SSH_PORT, load

AT_ONCE = 48
READ_BYTES = 65_536
# OpenSSH's server leaves longer paths out of its listings.
LISTED_PATH = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of a tree: ``kind`` is d or f, ``mtime`` whole seconds."""

    kind: str
    size: int = 0
    mtime: int = 0
    sha256: str = ""

    def __str__(self) -> str:
        if self.kind != "f":
            return self.kind
        return f"f size={self.size} mtime={self.mtime} sha256={self.sha256[:12]}"


Tree = dict[bytes, Found]


class RawSftp(paramiko.SFTPClient):
    """SFTP requests by the batch, names as bytes."""

    def many(self, requests: Sequence[tuple[object, ...]]) -> list[tuple[int, Message]]:
        """Send all requests, return type and message of each answer, in the same order."""
        answers: list[tuple[int, Message]] = []
        for start in range(0, len(requests), AT_ONCE):
            numbers = [
                self._async_request(type(None), *request)
                for request in requests[start : start + AT_ONCE]
            ]
            got: dict[int, tuple[int, Message]] = {}
            while len(got) < len(numbers):
                kind, data = self._read_packet()
                message = Message(data)
                number = message.get_int()
                self._expecting.pop(number, None)
                got[number] = (kind, message)
            answers.extend(got[number] for number in numbers)
        return answers

    def entries(self, path: bytes) -> Iterator[tuple[bytes, paramiko.SFTPAttributes]]:
        """Everything in a directory but ``.`` and ``..``."""
        kind, message = self.many([(CMD_OPENDIR, path)])[0]
        if kind != CMD_HANDLE:
            raise OSError(f"opendir {path!r}: {_status(message)}")
        handle = message.get_binary()
        while True:
            kind, message = self.many([(CMD_READDIR, handle)])[0]
            if kind != CMD_NAME:
                break
            for dummy in range(message.get_int()):
                name = message.get_binary()
                message.get_binary()
                attributes = paramiko.SFTPAttributes._from_msg(message)
                if name not in (b".", b".."):
                    yield name, attributes
        self.many([(CMD_CLOSE, handle)])

    def lstats(self, paths: Sequence[bytes]) -> dict[bytes, paramiko.SFTPAttributes]:
        """What is there of ``paths``."""
        found = {}
        answers = self.many([(CMD_LSTAT, path) for path in paths])
        for path, (kind, message) in zip(paths, answers, strict=True):
            if kind == CMD_ATTRS:
                found[path] = paramiko.SFTPAttributes._from_msg(message)
        return found

    def digests(self, files: Sequence[tuple[bytes, int]]) -> list[str]:
        """sha256 of each (path, size), read to the end."""
        found: list[str] = []
        for start in range(0, len(files), AT_ONCE):
            found.extend(self._some(files[start : start + AT_ONCE]))
        return found

    def _some(self, files: Sequence[tuple[bytes, int]]) -> list[str]:
        empty = paramiko.SFTPAttributes()
        opened = self.many([(CMD_OPEN, path, SFTP_FLAG_READ, empty) for path, dummy in files])
        handles = []
        for (path, dummy), (kind, message) in zip(files, opened, strict=True):
            if kind != CMD_HANDLE:
                raise OSError(f"open {path!r}: {_status(message)}")
            handles.append(message.get_binary())
        digests = [hashlib.sha256() for dummy in files]
        waiting = [(number, 0) for number in range(len(files)) if files[number][1]]
        while waiting:
            requests = [
                (CMD_READ, handles[number], int64(offset), READ_BYTES) for number, offset in waiting
            ]
            following = []
            for (number, offset), (kind, message) in zip(waiting, self.many(requests), strict=True):
                data = message.get_binary() if kind == CMD_DATA else b""
                digests[number].update(data)
                if data and offset + len(data) < files[number][1]:
                    following.append((number, offset + len(data)))
            waiting = following
        self.many([(CMD_CLOSE, handle) for handle in handles])
        return [digest.hexdigest() for digest in digests]


def _status(message: Message) -> str:
    message.get_int()
    return message.get_binary().decode(errors="replace")


@contextlib.contextmanager
def connected(nas: Nas, user: str = "backup") -> Iterator[RawSftp]:
    """An SFTP session with the NAS, its host key checked against the pinned one."""
    with network.entered(load().namespace):
        sock = socket.create_connection((nas.address, SSH_PORT), 10)
    with paramiko.Transport(sock) as transport:
        pinned = nas.known_hosts.split()
        expected = paramiko.hostkeys.HostKeyEntry.from_line(" ".join(pinned[:3]))
        key = paramiko.Ed25519Key.from_private_key_file(str(nas.key(user)))
        transport.connect(
            hostkey=None if expected is None else expected.key, username=user, pkey=key
        )
        client = RawSftp.from_transport(transport)
        if client is None:
            raise OSError("no SFTP channel")
        with client:
            yield client


def read_remote(nas: Nas, directory: str, known: Sequence[bytes] = ()) -> Tree:
    """The whole tree below ``directory``, files read to the end.

    :param known: paths in the tree that may be too long for a listing; looked at by name.
    """
    root = directory.encode()
    tree: Tree = {}
    files: list[tuple[bytes, int, int]] = []

    def note(path: bytes, attributes: paramiko.SFTPAttributes) -> str:
        mode = attributes.st_mode or 0
        kind = "d" if stat.S_ISDIR(mode) else "f" if stat.S_ISREG(mode) else "?"
        if kind == "f":
            files.append((path, attributes.st_size or 0, attributes.st_mtime or 0))
        else:
            tree[path] = Found(kind)
        return kind

    with connected(nas) as client:
        waiting = [b""]
        while waiting:
            above = waiting.pop()
            for name, attributes in client.entries(root + (b"/" + above if above else b"")):
                path = above + b"/" + name if above else name
                if note(path, attributes) == "d":
                    waiting.append(path)
        seen = {path for path, dummy, dummy2 in files} | tree.keys()
        long = [path for path in known if len(root) + 1 + len(path) > LISTED_PATH]
        missing = [path for path in long if path not in seen]
        for path, attributes in client.lstats([root + b"/" + path for path in missing]).items():
            note(path[len(root) + 1 :], attributes)
        digests = client.digests([(root + b"/" + path, size) for path, size, dummy in files])
    for (path, size, mtime), digest in zip(files, digests, strict=True):
        tree[path] = Found("f", size, mtime, digest)
    return tree
