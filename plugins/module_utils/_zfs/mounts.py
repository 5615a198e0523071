# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading snapshots through mounts of our own (mount(8), mount.zfs of OpenZFS).

A snapshot can be mounted anywhere by ``mount -t zfs pool/ds@snap DIR``, whatever
its dataset's mountpoint, canmount and snapdir say (cmd/mount_zfs.c treats
snapshots as legacy mounts). Unlike the automount under ``.zfs/snapshot`` such a
mount doesn't expire while it is read, needs no mounted dataset, and is not
subject to the automounter's path look-ups.

In a mount namespace of the run's own (mount_namespaces(7)) the kernel removes
the mounts with the run's last process, even when that was killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from pathlib import Path
from types import TracebackType

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    SourceError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.ports import Commands, Completed
from ansible_collections.homelab.backup.plugins.module_utils._zfs.errors import from_complaint

OPTIONS = "ro,nosuid,nodev,noexec"
MOUNTINFO = Path("/proc/self/mountinfo")
SECONDS = 300.0

# include/uapi/linux/sched.h and include/uapi/linux/mount.h
CLONE_NEWNS = 0x00020000
MS_REC = 0x4000
MS_SLAVE = 1 << 19


def enter_mount_namespace() -> None:
    """Move this process into a mount namespace of its own, for good (unshare(2)).

    What it mounts is seen by it and its children only. What the host mounts and
    unmounts still shows (slave propagation), so the copies of the host's mounts
    in here keep no dataset busy once the host unmounts it. Must be called while
    the process has one thread: others would stay outside.

    Raises:
        OSError: not permitted (not root, or a container without CAP_SYS_ADMIN).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise _os_error("unshare")
    if libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_SLAVE), None) != 0:
        raise _os_error("mount --make-rslave /")


def _os_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def unescape(field: bytes) -> bytes:
    """A path of /proc/self/mountinfo, where blank, tab, newline and ``\\`` are octal (proc(5))."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)


def mount_points_below(base: Path, mountinfo: bytes) -> list[Path]:
    """The mount points in ``mountinfo`` that lie below ``base``, in the order to unmount them."""
    points = [Path(os.fsdecode(unescape(line.split()[4]))) for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if base in point.parents]


class SnapshotMounts:
    """Snapshots mounted read-only below one directory, until the context is left.

    Args:
        commands: runs mount and umount.
        base: a directory for nothing else. What is mounted in it when the
            context is entered was left by a killed run and is unmounted, so
            the run's lock must be held.
        mount: the mount program.
        umount: the umount program.
    """

    def __init__(
        self, commands: Commands, base: Path, *, mount: str = "mount", umount: str = "umount"
    ) -> None:
        self._commands = commands
        self._base = base
        self._mount = mount
        self._umount = umount
        self._mounted: dict[str, Path] = {}
        self._made = 0

    def __enter__(self) -> SnapshotMounts:
        self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._base = self._base.resolve()
        for point in mount_points_below(self._base, MOUNTINFO.read_bytes()):
            self._detach(point)
        for entry in self._base.iterdir():
            self._remove(entry)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(SourceError, OSError):
            self.close()

    def mount(self, snapshot: str) -> Path:
        """Mount ``snapshot`` ("main/a@x"); the second time the same path is returned.

        Raises:
            SourceError: the snapshot, dataset or pool is gone, or its key isn't loaded.
        """
        if snapshot in self._mounted:
            return self._mounted[snapshot]
        self._made += 1
        point = self._base / f"{self._made:04d}"
        point.mkdir(mode=0o700)
        argv = [self._mount, "-t", "zfs", "-o", OPTIONS, snapshot, str(point)]
        try:
            self._check(self._run("mount the snapshot", snapshot, argv), snapshot)
        except SourceError:
            point.rmdir()
            raise
        self._mounted[snapshot] = point
        return point

    def unmount(self, snapshot: str) -> None:
        """Unmount ``snapshot``, lazily when something still reads it.

        Raises:
            SourceError: umount(8) refused.
        """
        point = self._mounted.pop(snapshot, None)
        if point is not None:
            self._detach(point)
            self._remove(point)

    def close(self) -> None:
        """Unmount everything.

        Raises:
            SourceError: at least one could not be unmounted; the others were.
        """
        errors: list[SourceError] = []
        for snapshot in reversed(list(self._mounted)):
            try:
                self.unmount(snapshot)
            except SourceError as exc:
                errors.append(exc)
        if errors:
            raise errors[0]

    def _detach(self, point: Path) -> None:
        done = self._run("unmount the snapshot", str(point), [self._umount, str(point)])
        if not done.ok:
            lazily = [self._umount, "--lazy", str(point)]
            done = self._run("unmount the snapshot", str(point), lazily)
        if not done.ok:
            raise from_complaint("unmount the snapshot", str(point), done.complaint)

    def _remove(self, entry: Path) -> None:
        """Remove an empty directory of ours, and nothing else (rmdir(2))."""
        try:
            entry.rmdir()
        except OSError as exc:
            raise SourceError(
                "clear the directory for mounts",
                on=str(entry),
                found=exc.strerror or str(exc),
                remedy="move what isn't ours out of it; it is for mounts only",
            ) from exc

    def _check(self, done: Completed, snapshot: str) -> None:
        if done.ok:
            return
        if "key not loaded" in done.complaint or "encryption key" in done.complaint:
            raise SourceError(
                "mount the snapshot",
                on=snapshot,
                found=done.complaint,
                remedy=f"load the key: 'zfs load-key {snapshot.partition('@')[0]}'",
            )
        if "unable to open the dataset" in done.complaint:
            raise SourceError(
                "mount the snapshot",
                on=snapshot,
                found=done.complaint,
                remedy="it is gone or its pool was exported: see 'zfs list -t all'",
            )
        raise from_complaint("mount the snapshot", snapshot, done.complaint)

    def _run(self, tried: str, on: str, argv: list[str]) -> Completed:
        try:
            return self._commands.run(argv, timeout=SECONDS)
        except TransportError as exc:
            raise SourceError(tried, on=on, found=exc.found, remedy=exc.remedy) from exc
