# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``sftp_destination``: a NAS' directories, by paramiko from the controller."""

from __future__ import annotations

import posixpath
import socket
import stat
import tempfile
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, cast

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    DestinationError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import human_bytes

try:
    import paramiko
except ImportError:
    HAS_PARAMIKO = False
    PARAMIKO_ERROR = traceback.format_exc()
else:
    HAS_PARAMIKO = True
    PARAMIKO_ERROR = ""

ARGUMENTS: dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "default": 22},
    "user": {"type": "str", "required": True},
    "key_file": {"type": "path"},
    "key": {"type": "str", "no_log": True},
    "password": {"type": "str", "no_log": True},
    "host_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
    "directories": {"type": "list", "elements": "str", "required": True},
    "authorized_keys": {"type": "str", "no_log": False},
    "public_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "minimum_free": {"type": "int", "default": 0},
    "timeout": {"type": "int", "default": 30},
}
CMD_EXTENDED, CMD_EXTENDED_REPLY = 200, 201


@dataclass(frozen=True, slots=True)
class Plan:
    """What is missing at the NAS: directories, parents first, and lines of authorized_keys."""

    directories: tuple[str, ...]
    keys: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.directories or self.keys)

    def describe(self, authorized_keys: str | None) -> list[str]:
        """In words."""
        words = [f"create the directory {path}" for path in self.directories]
        words += [f"add to {authorized_keys}: {' '.join(key.split()[-2:])}" for key in self.keys]
        return words


def run_module() -> NoReturn:
    """Connect, look, and make what is missing."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        mutually_exclusive=[("key_file", "key", "password")],
        required_one_of=[("key_file", "key", "password")],
    )
    if not HAS_PARAMIKO:
        module.fail_json(msg=missing_required_lib("paramiko"), exception=PARAMIKO_ERROR)
    try:
        with _Nas(module.params) as nas:
            result = _converge(module, nas)
    except BackupError as error:
        module.fail_json(msg=str(error), error=error.facts())
    module.exit_json(**result)


def _converge(module: AnsibleModule, nas: _Nas) -> dict[str, Any]:
    options: dict[str, Any] = module.params
    plan = nas.plan(options["directories"], options["authorized_keys"], options["public_keys"])
    if not module.check_mode:
        nas.apply(plan, options["authorized_keys"])
    there = options["directories"][0] if options["directories"] else "/"
    free = nas.free(there if not module.check_mode else nas.nearest(there))
    if free is not None and free < options["minimum_free"]:
        raise DestinationError(
            "use the NAS",
            on=f"{options['host']}:{there}",
            found=f"{human_bytes(free)} are free, {human_bytes(options['minimum_free'])} should be",
            remedy="free space there, or raise the user's quota",
        )
    words = plan.describe(options["authorized_keys"])
    result: dict[str, Any] = {"changed": bool(plan), "steps": words, "free_bytes": free}
    if module._diff and words:
        result["diff"] = {"prepared": "".join(f"{word}\n" for word in words)}
    return result


class _Requests(Protocol):
    """The part of paramiko's client that sends any request; it has no method for statvfs."""

    def _request(self, kind: int, *arguments: object) -> tuple[int, paramiko.Message]: ...


class _Nas:
    """One SFTP connection with a pinned host key."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._where = f"{options['user']}@{options['host']}:{options['port']}"

    def __enter__(self) -> _Nas:
        options = self._options
        try:
            connection = socket.create_connection(
                (options["host"], options["port"]), options["timeout"]
            )
        except OSError as error:
            raise TransportError(
                "reach the NAS",
                on=self._where,
                found=str(error),
                remedy="look whether it is up and its SFTP service is on",
            ) from error
        self._transport = paramiko.Transport(connection)
        try:
            self._log_in()
        except (paramiko.SSHException, EOFError) as error:
            self._transport.close()
            raise TransportError(
                "log in to the NAS",
                on=self._where,
                found=str(error) or type(error).__name__,
                remedy="look whether the key is authorized for this user and SFTP is allowed",
            ) from error
        except BackupError:
            self._transport.close()
            raise
        return self

    def _log_in(self) -> None:
        options = self._options
        if not options["host_keys"]:
            raise TransportError(
                "trust the NAS",
                on=self._where,
                found="no host key of it is pinned",
                remedy=(
                    f"put what 'ssh-keyscan -t ed25519 -p {options['port']} {options['host']}' "
                    "prints behind the address under host_keys of this NAS in the catalogue, "
                    "after comparing it with the NAS' own"
                ),
            )
        pinned = [tuple(line.split()[:2]) for line in options["host_keys"]]
        kinds = {kind for kind, dummy in pinned}
        security = self._transport.get_security_options()
        # Ask for the kinds that are pinned: a server with several keys may show any of them.
        known = [
            kind for kind in security.key_types if kind in kinds or kind.startswith("rsa-sha2")
        ]
        security.key_types = known or security.key_types
        self._transport.start_client(timeout=options["timeout"])
        shown = self._transport.get_remote_server_key()
        if (shown.get_name(), shown.get_base64()) not in pinned:
            raise TransportError(
                "trust the NAS",
                on=self._where,
                found=f"it shows {shown.get_name()} {shown.get_base64()}, which is not pinned",
                remedy=(
                    "compare that key with the NAS' own; if it is right, put it under host_keys "
                    "of this NAS in the catalogue, if not, something stands in between"
                ),
            )
        if options["key_file"] or options["key"]:
            self._transport.auth_publickey(options["user"], self._private_key())
        else:
            self._transport.auth_password(options["user"], options["password"] or "")
        client = paramiko.SFTPClient.from_transport(self._transport)
        if client is None:
            raise paramiko.SSHException("the server opened no SFTP channel")
        self._sftp = client

    def _private_key(self) -> paramiko.PKey:
        options = self._options
        try:
            if options["key_file"]:
                return paramiko.PKey.from_path(options["key_file"])
            # paramiko finds out a key's type from a file only.
            with tempfile.NamedTemporaryFile("w", encoding="ascii") as handle:
                handle.write(options["key"].strip() + "\n")
                handle.flush()
                return paramiko.PKey.from_path(handle.name)
        except (OSError, ValueError, paramiko.SSHException) as error:
            raise TransportError(
                "read the private key",
                on=options["key_file"] or "option 'key'",
                found=f"{type(error).__name__}: {error}",
                remedy="give an OpenSSH private key without a passphrase",
            ) from error

    def __exit__(self, *dummy: object) -> None:
        self._transport.close()

    def _is_directory(self, path: str) -> bool:
        try:
            found = self._sftp.stat(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._refused("look at the directory", path, error) from error
        if not stat.S_ISDIR(found.st_mode or 0):
            raise DestinationError(
                "use the directory", on=f"{self._where}{path}", found="it is a file"
            )
        return True

    def _refused(self, tried: str, path: str, error: OSError) -> DestinationError:
        return DestinationError(
            tried,
            on=f"{self._where} {path}",
            found=str(error) or type(error).__name__,
            remedy=(
                "create the share at the NAS and give this user write access; on DSM the SFTP "
                "path is /Share/dir, without /volume1"
            ),
        )

    def plan(
        self, directories: Iterable[str], authorized_keys: str | None, public_keys: Iterable[str]
    ) -> Plan:
        missing: list[str] = []
        for directory in directories:
            chain = []
            path = directory
            while path not in ("/", "") and path not in missing and not self._is_directory(path):
                chain.append(path)
                path = posixpath.dirname(path)
            missing.extend(reversed(chain))
        keys: list[str] = []
        if authorized_keys:
            present = {_key_of(line) for line in self._lines(authorized_keys)}
            keys = [key for key in public_keys if _key_of(key) not in present]
        return Plan(tuple(missing), tuple(keys))

    def _lines(self, path: str) -> list[str]:
        try:
            with self._sftp.open(path) as handle:
                return handle.read().decode("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._refused("read the authorized keys", path, error) from error

    def apply(self, plan: Plan, authorized_keys: str | None) -> None:
        for path in plan.directories:
            try:
                self._sftp.mkdir(path)
            except OSError as error:
                raise self._refused("create the directory", path, error) from error
        if plan.keys and authorized_keys:
            lines = [*self._lines(authorized_keys), *plan.keys]
            new = authorized_keys + ".homelab-backup"
            try:
                with self._sftp.open(new, "w") as handle:
                    handle.write("".join(f"{line}\n" for line in lines).encode())
                self._sftp.chmod(new, 0o600)
                self._sftp.posix_rename(new, authorized_keys)
            except OSError as error:
                raise self._refused("write the authorized keys", authorized_keys, error) from error

    def nearest(self, path: str) -> str:
        """The path, or the first directory above it that is there."""
        while path not in ("/", "") and not self._is_directory(path):
            path = posixpath.dirname(path)
        return path or "/"

    def free(self, path: str) -> int | None:
        """Bytes that this user may still write (statvfs@openssh.com); None when not told."""
        try:
            requests = cast(_Requests, self._sftp)
            kind, message = requests._request(CMD_EXTENDED, "statvfs@openssh.com", path)
        except OSError:
            return None
        if kind != CMD_EXTENDED_REPLY:
            return None
        dummy_block, fragment, dummy_blocks, dummy_free, available = (
            message.get_int64() for dummy in range(5)
        )
        return int(fragment * available)


def _key_of(line: str) -> tuple[str, ...]:
    """Type and base64 of a public key line, options and comment aside."""
    words = line.split()
    for number, word in enumerate(words):
        if word.startswith(("ssh-", "ecdsa-", "sk-")):
            return tuple(words[number : number + 2])
    return tuple(words[:2])
