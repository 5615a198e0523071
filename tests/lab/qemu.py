# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulated machine: its command line, its control socket, whether KVM really works."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from . import network, processes
from .cache import Step
from .errors import LabError
from .settings import Settings

PROGRAM = "qemu-system-x86_64"
DISKS = ("root", "main", "ssd")
_KERNEL = (
    "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet panic=10"
    # Protection that costs an emulated processor time and protects nothing here.
    " mitigations=off apparmor=0 audit=0 init_on_alloc=0"
)
_PROBE_S = 20.0


class Monitor:
    """QEMU's control socket (QMP). Every saved state goes through it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(120)
        try:
            self._socket.connect(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise LabError(f"QEMU's control socket {path}: {error}") from error
        self._lines = self._socket.makefile("rb")
        self._read()
        self.execute("qmp_capabilities")

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._socket.close()

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run one QMP command and return its result; events in between are skipped."""
        request = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = self._read()
            if "error" in answer:
                raise LabError(f"QEMU refused {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def human(self, line: str) -> None:
        """Run a monitor line such as ``loadvm NAME`` that says nothing when it worked."""
        output = self.execute("human-monitor-command", **{"command-line": line})
        if output.strip():
            raise LabError(f"QEMU refused {line!r}: {output.strip()}")

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise LabError(f"QEMU closed its control socket {self._path}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def make_overlay(disk: Path, backing: Path) -> None:
    """A disk that holds what differs from a raw image; the path to it is kept relative."""
    relative = os.path.relpath(backing, disk.parent)
    processes.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", relative, "-F", "raw", str(disk)]
    )


def make_disk(disk: Path, size: str) -> None:
    processes.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), size])


def start(
    settings: Settings, image: Path, disks: Path, accel: str, saved: str | None, tied: bool = False
) -> None:
    """Start the machine in the instance's namespace, from a saved state if one is named.

    A tied machine is killed when this process ends. Returns when the control socket answers;
    the guest may still be booting.
    """
    run_dir = settings.run
    (run_dir / "qmp.sock").unlink(missing_ok=True)
    argv = [
        PROGRAM,
        "-name",
        f"lab-{settings.instance}",
        "-nodefaults",
        "-display",
        "none",
        "-machine",
        "q35",
        *_accelerator(accel),
        "-smp",
        "2",
        "-m",
        str(settings.memory_mib),
        "-kernel",
        str(image / "vmlinuz"),
        "-initrd",
        str(image / "initrd.img"),
        "-append",
        _KERNEL,
        "-serial",
        f"file:{run_dir / 'console.log'}",
        "-netdev",
        f"tap,id=lan,ifname={network.TAP},script=no,downscript=no",
        "-device",
        "virtio-net-pci,netdev=lan,mac=52:54:00:0a:0a:0f",
        "-device",
        "virtio-rng-pci",
        "-qmp",
        f"unix:{run_dir / 'qmp.sock'},server=on,wait=off",
    ]
    for name in DISKS:
        argv += [
            "-drive",
            f"file={disks / name}.qcow2,if=none,id={name},cache=unsafe,discard=unmap",
            "-device",
            f"virtio-blk-pci,drive={name},serial={name}",
        ]
    if saved:
        argv += ["-loadvm", saved]
    if tied:
        argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
    log = run_dir / "qemu.log"
    log.unlink(missing_ok=True)
    pid_file = run_dir / "qemu.pid"
    processes.start_daemon(network.inside(settings.namespace, argv), pid_file, log)
    deadline = time.monotonic() + 60
    while True:
        if processes.alive(pid_file) is None:
            raise LabError(f"QEMU ended at once: {log.read_text(errors='replace').strip()[-500:]}")
        try:
            with Monitor(run_dir / "qmp.sock"):
                return
        except LabError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _accelerator(accel: str) -> list[str]:
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    # An old processor: what newer ones add (AVX, five-level page tables, larger contexts) is
    # dear to emulate. Against "max" forks and small files take a third less time.
    return ["-accel", "tcg,thread=multi,tb-size=384", "-cpu", "Westmere"]


def identity(accel: str) -> bytes:
    """What a saved state fits: this QEMU, this way of running and, with KVM, this processor."""
    parts = [processes.run([PROGRAM, "--version"]).splitlines()[0], accel]
    if accel == "kvm":
        cpu = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        parts += [line for line in cpu if line.startswith(("model name", "flags"))]
    return "\n".join(parts).encode()


def choose_accelerator(settings: Settings, image: Step) -> str:
    """``kvm`` if this machine boots the guest's kernel with it, else ``tcg``.

    The device alone proves nothing: some machines list it and then hang, so a kernel is booted
    without a root disk until it says that it found none. The answer is remembered until reboot.
    """
    if settings.accel != "auto":
        return settings.accel
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    settings.run.parent.mkdir(parents=True, exist_ok=True)
    remembered = settings.run.parent / f"accelerator-{image.key}"
    if not remembered.exists():
        answer = "kvm" if _boots_with_kvm(image.path(settings.cache)) else "tcg"
        unfinished = remembered.with_suffix(f".{os.getpid()}")
        unfinished.write_text(answer)
        unfinished.rename(remembered)
    return remembered.read_text()


def _boots_with_kvm(image: Path) -> bool:
    argv = [
        PROGRAM,
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-machine",
        "q35",
        *_accelerator("kvm"),
        "-m",
        "512",
        "-kernel",
        str(image / "vmlinuz"),
        "-append",
        "console=ttyS0 panic=-1",
        "-serial",
        "stdio",
    ]
    try:
        return "Unable to mount root" in processes.run(argv, timeout_s=_PROBE_S)
    except LabError:
        return False
