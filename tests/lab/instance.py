# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One running lab: up, reset, saved states, down. Several instances share the cached images."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import cache, golden, host, network, processes, qemu, recipe, ssh_config
from .cache import Step
from .errors import LabError
from .guest import Guest
from .nas import Nas
from .progress import Progress
from .settings import CONTROLLER, NAS, NAS_FAR, RUN_ROOT, STORAGE, Settings

_READY_S = 120.0
_NAS_CONTENT = "nas.tar"
_FORMAT = "homelab.backup.lab/2"


@dataclass(frozen=True, slots=True)
class Built:
    """What an instance starts from: the image, the NAS' tree, the saved state's step."""

    accel: str
    recipe: recipe.Recipe
    golden: Step

    @property
    def steps(self) -> tuple[Step, ...]:
        return (*self.recipe.steps, self.golden)


class Lab:
    """One instance of the lab, named by its settings."""

    def __init__(self, settings: Settings, progress: Progress | None = None) -> None:
        self.settings = settings
        self.progress = progress or Progress()
        self.guest = Guest(settings)
        self.nas = Nas(settings)

    # Building

    def build(self) -> Built:
        """Build what isn't cached and say how long each part took.

        :raises LabError: no root, too little room, packages that can't be had, a failed step.
        """
        host.require_root()
        host.require_packages(self.progress)
        made = recipe.load(self.settings)
        for step in (made.image, made.nas_root):
            self._ensure(step)
        accel = qemu.choose_accelerator(self.settings, made.image)
        state = golden.step(self.settings, made.image, accel)
        built = Built(accel, made, state)
        if not state.path(self.settings.cache).exists():
            self._ensure(state)
            self.progress.summary()
            cache.prune(
                built.steps, self.settings.cache, _in_use(self.settings.cache), self.progress
            )
            used = cache.disk_use(self.settings.cache) // 2**20
            self.progress.say(f"{self.settings.cache} uses {used} MiB")
        else:
            self._ensure(state)
        return built

    def _ensure(self, step: Step) -> Path:
        space = self.settings.cache
        return cache.ensure(
            step,
            space,
            self.progress,
            before=lambda: host.require_space(space, host.BUILD_MIB, "a build"),
        )

    # Life of the instance

    def up(self) -> None:
        """Bring the instance up in its pristine state; one that is up stays as it is."""
        host.require_root()
        with self._alone():
            if self.is_up():
                self.progress.say(f"lab {self.settings.instance!r} is up already")
                return
            built = self.build()
            self._remove()
            self._start(built)

    def reset(self, state: str = golden.NAME) -> float:
        """Load the pristine or a saved state, guest and NAS; returns the seconds it took.

        :raises LabError: no such state.
        """
        host.require_root()
        start = time.monotonic()
        with self._alone():
            if not self.is_up():
                if state != golden.NAME:
                    raise LabError(
                        f"lab {self.settings.instance!r} isn't up, so it has no state {state!r}"
                    )
                built = self.build()
                self._remove()
                self._start(built)
            else:
                self._load(state)
        return time.monotonic() - start

    def save(self, state: str) -> None:
        """Keep guest and NAS as they are now under a name; `down` forgets it."""
        if not state.isidentifier() or state == golden.NAME:
            raise LabError(f"{state!r} can't name a state: letters, digits and underscores only")
        with self._alone():
            self.require_up()
            self.guest.run(["sync"])
            kept = self._saved(state)
            shutil.rmtree(kept, ignore_errors=True)
            with self._monitor() as monitor:
                monitor.execute("stop")
                monitor.human(f"savevm {state}")
                monitor.execute("quit")
            processes.wait_gone(self.settings.run / "qemu.pid", 60.0)
            unfinished = kept.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            _copy_disks(self.settings.disks, unfinished)
            self.nas.save(unfinished / _NAS_CONTENT)
            unfinished.rename(kept)
            self._start_machine(self._built_from(), kept, state)
            self._wake()

    def down(self) -> None:
        """Stop everything and forget the instance; the cache stays."""
        host.require_root()
        with self._alone():
            self._remove()

    def is_up(self) -> bool:
        """Whether it was brought up completely and its machine and NAS still run."""
        return (
            self._built_from().get("format") == _FORMAT
            and processes.alive(self.settings.run / "qemu.pid") is not None
            and self.nas.running()
            and network.exists(self.settings.namespace)
        )

    def environment(self) -> dict[str, str]:
        """Variables for programs that work with this instance, such as Ansible's inventory."""
        return {
            "HOMELAB_LAB": self.settings.instance,
            "HOMELAB_LAB_RUN": str(self.settings.run),
            "HOMELAB_LAB_KEYS": str(self.settings.keys),
        }

    def inside(self, *argv: str) -> list[str]:
        """A command of this machine, to be run in the instance's namespace."""
        self.require_up()
        return network.inside(self.settings.namespace, argv)

    def ssh(self, *arguments: str) -> list[str]:
        """The ``ssh`` command line; host names: truenas, nas-backup, nas-offsite, ..."""
        self.require_up()
        return ["ssh", "-F", str(self.settings.run / ssh_config.NAME), *arguments]

    # Steps

    def _start(self, built: Built) -> None:
        settings = self.settings
        host.require_space(settings.cache, host.START_MIB, "a running instance")
        settings.run.mkdir(parents=True)
        settings.disks.mkdir()
        used = {
            "format": _FORMAT,
            "accel": built.accel,
            "image": str(built.recipe.image.path(settings.cache)),
            "nas_root": str(built.recipe.nas_root.path(settings.cache)),
            "golden": str(built.golden.path(settings.cache)),
        }
        self.progress.say(f"starting lab {settings.instance!r} ({built.accel})")
        network.create(settings.namespace)
        self._start_machine(used, Path(used["golden"]), golden.NAME)
        self.nas.create(Path(used["nas_root"]) / "root")
        ssh_config.write(settings, self.nas)
        self._wake()
        unfinished = settings.run / "state.json.new"
        unfinished.write_text(json.dumps(used))
        unfinished.rename(settings.run / "state.json")
        self.progress.say(f"lab {settings.instance!r} is up")

    def _load(self, state: str) -> None:
        used = self._built_from()
        source = Path(used["golden"]) if state == golden.NAME else self._saved(state)
        if not source.exists():
            raise LabError(f"lab {self.settings.instance!r} has no saved state {state!r}")
        network.mend(self.settings.namespace)
        self._start_machine(used, source, state)
        self.nas.wipe()
        if state != golden.NAME:
            self.nas.load(source / _NAS_CONTENT)
        self._wake()

    def _start_machine(self, used: dict[str, str], source: Path, state: str) -> None:
        """Start the machine from a saved state, in place of the one that runs.

        Always in a new process: a running QEMU doesn't let an emulated processor's time stamp
        counter go back at `loadvm`, so the guest's clocks jump by the time that it ran since and
        its kernel reports stalls (seen with 7.2: 110 s). A new process has no such memory, works
        on a guest that hangs, and takes a second.
        """
        self.guest.close()
        ssh_config.disconnect(self.settings.run)
        processes.stop(self.settings.run / "qemu.pid")
        _copy_disks(source, self.settings.disks)
        qemu.start(
            self.settings, Path(used["image"]), self.settings.disks, used["accel"], saved=state
        )

    def _wake(self) -> None:
        self.guest.wait_ready(_READY_S)
        self.guest.set_clock()

    def _remove(self) -> None:
        run = self.settings.run
        self.guest.close()
        ssh_config.disconnect(self.settings.run)
        self.nas.stop()
        processes.stop(run / "qemu.pid")
        self.nas.unmount()
        network.remove(self.settings.namespace)
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(self.settings.disks, ignore_errors=True)

    def _saved(self, state: str) -> Path:
        return self.settings.disks / f"state-{state}"

    def _built_from(self) -> dict[str, str]:
        """What the instance was started from; empty if it wasn't brought up completely."""
        path = self.settings.run / "state.json"
        used: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        return used

    def _monitor(self) -> qemu.Monitor:
        return qemu.Monitor(self.settings.run / "qmp.sock")

    def require_up(self) -> None:
        """
        :raises LabError: the instance isn't up.
        """
        if not self.is_up():
            raise LabError(
                f"lab {self.settings.instance!r} isn't up: python -m tests.lab up (or make lab-up)"
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = RUN_ROOT / "locks" / self.settings.instance
        with cache.locked(lock, lambda: self.progress.say("waiting for another lab command")):
            yield


def _copy_disks(source: Path, target: Path) -> None:
    disks = [str(source / f"{name}.qcow2") for name in qemu.DISKS]
    processes.run(["cp", "--reflink=auto", "--sparse=always", *disks, str(target)], timeout_s=600)


def _in_use(directory: Path) -> frozenset[Path]:
    """Results in this cache that a running instance names, whichever version started it."""
    states = [state.read_text() for state in RUN_ROOT.glob("*/state.json")]
    return frozenset(
        path for path in directory.iterdir() if any(f'"{path}"' in state for state in states)
    )


def status(settings: Settings) -> str:
    """Where everything is, as lines of text."""
    lab = Lab(settings)
    lines = [
        f"lab {settings.instance}: {'up' if lab.is_up() else 'down'}",
        f"  cache         {settings.cache}",
        f"  namespace     {settings.namespace}, this machine is {CONTROLLER} in it",
        f"  truenas       root@{STORAGE}, key {settings.keys / 'controller'}",
        f"  nas           {NAS}:22, with 20 ms round trip {NAS_FAR}:22",
        f"  nas volume    {lab.nas.volume}",
        f"  nas keys      {settings.keys}/nas_{{{','.join(lab.nas.users)}}}",
        f"  ssh config    {settings.run / 'ssh_config'}",
        f"  console       {settings.run / 'console.log'}",
    ]
    return "\n".join(lines)
