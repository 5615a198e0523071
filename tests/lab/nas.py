# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NAS stand-in: a real OpenSSH server in a tree of its own, its volume a tmpfs.

Four users share one user id (1026, the first one DSM gives) and see one tree:

=========== ========================================================================
``backup``  SFTP only, may do everything
``offsite`` SFTP only, the server refuses remove and rmdir: the sync's own credential
``pruner``  SFTP only, may do everything: for pruning versions
``shell``   a shell without chroot, for comparing with rsync; below ``/volume1``
=========== ========================================================================
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import keys, network, processes
from .errors import LabError
from .settings import FAR_ROUND_TRIP_MS, NAS, NAS_FAR, SSH_PORT, Settings

UID = 1026
GID = 100
SHARE = "/Backup/Viki"
"""The specified destination's parent, as an SFTP user sees it."""

_SFTP = {"backup": "", "offsite": "-P remove,rmdir", "pruner": ""}
_START = """set -e
mount --bind "$1" "$3/volume1"
mount --bind "$2" "$3/etc/lab"
mount --bind /dev "$3/dev"
mount -t proc proc "$3/proc"
exec chroot "$3" /usr/sbin/sshd -D -e -f /etc/lab/sshd_config
"""


class Nas:
    """The NAS of one instance.

    :ivar address: where it listens; ``far_address`` is the same with a round trip of 20 ms.
    :ivar volume: its whole volume on this machine, the chroot of the SFTP users.
    :ivar share: ``/Backup/Viki`` on this machine.
    :ivar log: the server's log.
    """

    address = NAS
    far_address = NAS_FAR
    port = SSH_PORT
    users = ("backup", "offsite", "pruner", "shell")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dir = settings.run / "nas"
        self.volume = self._dir / "volume"
        self.share = self.volume / SHARE.lstrip("/")
        self.log = self._dir / "sshd.log"

    def key(self, user: str) -> Path:
        """The private key of a user, on this machine."""
        return self._settings.keys / f"nas_{user}"

    @property
    def known_hosts(self) -> str:
        """The pinned host key of both addresses, as lines of a known_hosts file."""
        return f"{NAS},{NAS_FAR},nas,nas-far {keys.public(self._settings.keys, 'nas_host')}\n"

    def create(self, root: Path) -> None:
        """Mount the volume and start; ``root`` is the tree to run the server in."""
        self._dir.mkdir(parents=True, exist_ok=True)
        (self._dir / "root").unlink(missing_ok=True)
        (self._dir / "root").symlink_to(root)
        self._mount()
        self.restart()

    def running(self) -> bool:
        return processes.alive(self._dir / "sshd.pid") is not None

    def restart(self, options: Sequence[str] = (), sftp: Mapping[str, str] | None = None) -> None:
        """Stop all sessions and start the server anew.

        :param options: lines for sshd_config that come before the standing ones, so they win.
        :param sftp: arguments of internal-sftp by user, instead of the usual ones; for example
            ``{"offsite": "-P remove,rmdir,rename"}`` or ``{"offsite": "-R"}``.
        """
        self.stop()
        conf = self._dir / "etc"
        shutil.rmtree(conf, ignore_errors=True)
        conf.mkdir(mode=0o755)
        (conf / "sshd_config").write_text(_config(options, {**_SFTP, **(sftp or {})}))
        shutil.copyfile(self._settings.keys / "nas_host", conf / "host_key")
        (conf / "host_key").chmod(0o600)
        for user in self.users:
            (conf / f"{user}.keys").write_text(
                keys.public(self._settings.keys, f"nas_{user}") + "\n"
            )
        namespace = self._settings.namespace
        root = os.readlink(self._dir / "root")
        script = ["sh", "-c", _START, "-", str(self.volume), str(conf), root]
        processes.start_daemon(
            network.inside(namespace, processes.isolated(script)), self._dir / "sshd.pid", self.log
        )
        half = FAR_ROUND_TRIP_MS / 2
        relay = [
            sys.executable,
            "-I",
            str(Path(__file__).with_name("relay.py")),
            "--listen",
            f"{NAS_FAR}:{SSH_PORT}",
            "--to",
            f"{NAS}:{SSH_PORT}",
            "--one-way-ms",
            f"{half:g}",
        ]
        processes.start_daemon(
            network.inside(namespace, relay), self._dir / "relay.pid", self._dir / "relay.log"
        )
        self._wait(NAS)
        self._wait(NAS_FAR)

    def stop(self) -> None:
        """End the server and every session at once, as if the power went."""
        processes.stop(self._dir / "relay.pid")
        processes.stop(self._dir / "sshd.pid")

    def wipe(self) -> None:
        """An empty volume of the usual size, the server as it was configured first."""
        self.stop()
        self.unmount()
        self._mount()
        self.restart()

    def resize(self, mebibytes: int) -> None:
        """Change the volume's size: its quota. What it holds stays.

        :raises LabError: it holds more than that.
        """
        options = f"remount,size={mebibytes}m"
        processes.run(["mount", "-o", options, str(self.volume)])

    def cut(self) -> None:
        """Take the network between guest and NAS away; packets vanish without an answer."""
        network.cut(self._settings.namespace)

    def mend(self) -> None:
        network.mend(self._settings.namespace)

    def save(self, archive: Path) -> None:
        """Keep the volume's content in a tar archive."""
        processes.run(
            ["tar", "-C", str(self.volume), "--xattrs", "-cf", str(archive), "."], timeout_s=600
        )

    def load(self, archive: Path) -> None:
        """Put an archive of `save` into the volume, which was wiped before."""
        processes.run(
            ["tar", "-C", str(self.volume), "--xattrs", "-xpf", str(archive)], timeout_s=600
        )

    def unmount(self) -> None:
        if os.path.ismount(self.volume):
            processes.run(["umount", str(self.volume)])

    def _mount(self) -> None:
        self.volume.mkdir(exist_ok=True)
        if not os.path.ismount(self.volume):
            size = f"size={self._settings.nas_size_mib}m,nr_inodes=0,mode=755"
            processes.run(["mount", "-t", "tmpfs", "-o", size, "lab-nas", str(self.volume)])
        self.share.mkdir(parents=True, exist_ok=True)
        for path in (self.share, self.share.parent):
            os.chown(path, UID, GID)

    def _wait(self, address: str) -> None:
        deadline = time.monotonic() + 15
        while True:
            try:
                with network.entered(self._settings.namespace):
                    connection = socket.create_connection((address, SSH_PORT), 2)
                with connection:
                    if connection.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.02)
            if time.monotonic() > deadline:
                text = self.log.read_text(errors="replace").strip()[-500:]
                raise LabError(f"the NAS' SSH server doesn't answer at {address}: {text}")


def _config(options: Sequence[str], sftp: Mapping[str, str]) -> str:
    lines = [
        *options,
        f"ListenAddress {NAS}:{SSH_PORT}",
        "HostKey /etc/lab/host_key",
        "AuthorizedKeysFile /etc/lab/%u.keys",
        "StrictModes no",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "UseDNS no",
        # What DSM 7 negotiates (OpenSSH 8.2), and light work for an emulated client.
        "KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org",
        "PidFile none",
        "PrintMotd no",
        "DisableForwarding yes",
        "MaxStartups 200",
        "MaxSessions 100",
        "LogLevel VERBOSE",
        "# Tests break connections and fail to log in on purpose.",
        "PerSourcePenalties no",
        "Subsystem sftp internal-sftp",
    ]
    for user, arguments in sftp.items():
        lines += [
            f"Match User {user}",
            "  ChrootDirectory /volume1",
            f"  ForceCommand internal-sftp {arguments}".rstrip(),
        ]
    return "\n".join(lines) + "\n"
