# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The saved state that every instance starts from: booted, pools made, memory tidied."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

from . import network, processes, qemu
from .cache import Step
from .guest import Guest
from .settings import RUN_ROOT, Settings

NAME = "golden"
SIZES = {"main": "6G", "ssd": "2G"}
_BOOT_S = 400.0

_POOLS = """set -e
for pool in main ssd; do
  zpool create -o ashift=12 -o autotrim=on -O atime=off -O compression=lz4 -O xattr=sa \\
    -O acltype=posix -O aclmode=discard -O mountpoint=/mnt/$pool $pool /dev/disk/by-id/virtio-$pool
done
zpool status -x
"""

# Boot is over when no job is left. Freed memory is filled with zeros, which the saved state
# leaves out: half the size, half the time to load.
_TIDY = """set -e
systemctl is-system-running --wait || true
systemctl list-jobs --no-legend
sync
echo 3 >/proc/sys/vm/drop_caches
mkdir /run/lab-zero
mount -t tmpfs -o size=100%,mode=700 lab-zero /run/lab-zero
free=$(awk '/MemAvailable/ {print int($2 / 1024) - 192}' /proc/meminfo)
dd if=/dev/zero of=/run/lab-zero/zero bs=1M count=$free status=none
umount /run/lab-zero
rmdir /run/lab-zero
sync
"""


def step(settings: Settings, image: Step, accel: str) -> Step:
    """The cached step that boots the image once and saves it."""

    def build(out: Path, log: Path) -> None:
        _build(settings, image, accel, out, log)

    parts = (
        str(settings.memory_mib).encode(),
        repr(sorted(SIZES.items())).encode(),
        (_POOLS + _TIDY).encode(),
        *(Path(str(module.__file__)).read_bytes() for module in (qemu, network)),
        qemu.identity(accel),
    )
    return Step("golden", 90, parts, (image,), build)


def _build(settings: Settings, image: Step, accel: str, out: Path, log: Path) -> None:
    _remove_abandoned()
    mine = dataclasses.replace(settings, instance=f"golden-{os.getpid()}")
    mine.run.mkdir(parents=True)
    network.create(mine.namespace)
    try:
        root = image.path(settings.cache) / "root.raw"
        qemu.make_overlay(out / "root.qcow2", root)
        for name, size in SIZES.items():
            qemu.make_disk(out / f"{name}.qcow2", size)
        qemu.start(mine, image.path(settings.cache), out, accel, saved=None, tied=True)
        with Guest(mine) as guest:
            guest.wait_ready(_BOOT_S)
            guest.set_clock()
            for script in (_POOLS, _TIDY):
                result = guest.run(script)
                log.write_text(result.stdout + result.stderr)
        with qemu.Monitor(mine.run / "qmp.sock") as monitor:
            monitor.execute("stop")
            monitor.human(f"savevm {NAME}")
            monitor.execute("quit")
        processes.wait_gone(mine.run / "qemu.pid", 60.0)
    finally:
        if (mine.run / "console.log").exists():
            shutil.copyfile(mine.run / "console.log", log.with_suffix(".console"))
        _remove(mine.run)
    # The result moves to a directory beside the image's; the path between them is relative.
    final = os.path.relpath(root, settings.cache)
    processes.run(
        ["qemu-img", "rebase", "-u", "-F", "raw", "-b", f"../{final}", str(out / "root.qcow2")]
    )


def _remove_abandoned() -> None:
    """What a killed build left: its machine died with it, its namespace didn't."""
    for run in RUN_ROOT.glob("golden-*"):
        if not Path("/proc", run.name.partition("-")[2]).exists():
            _remove(run)


def _remove(run: Path) -> None:
    processes.stop(run / "qemu.pid")
    network.remove(f"lab-{run.name}")
    shutil.rmtree(run, ignore_errors=True)
