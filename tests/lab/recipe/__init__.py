# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe: which step runs which script, and what its result depends on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import keys
from ..cache import Step
from ..errors import LabError
from ..processes import isolated, run
from ..settings import Settings

SUITE = "trixie"
_HERE = Path(__file__).parent
_GUEST = _HERE / "guest"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The steps that are shell scripts; the saved state is made from ``image`` elsewhere."""

    base: Step
    zfs_modules: Step
    storage_root: Step
    image: Step
    nas_root: Step

    @property
    def steps(self) -> tuple[Step, ...]:
        return (self.base, self.zfs_modules, self.storage_root, self.image, self.nas_root)


def load(settings: Settings) -> Recipe:
    """The recipe for these settings; the lab's keys are made if they aren't there."""
    keys.ensure(settings.keys)
    origin = (settings.mirror.encode(), SUITE.encode())
    base = _step(settings, "base", 40, origin, {})
    zfs_modules = _step(settings, "zfs-modules", 300, (), {"BASE": base})
    storage_root = _step(settings, "storage-root", 60, (), {"BASE": base, "ZFS": zfs_modules})
    public = tuple(
        (settings.keys / f"{name}.pub").read_bytes() for name in ("controller", "guest_host")
    )
    image = _step(
        settings, "storage-image", 15, (*_files(_GUEST), *public), {"STORAGE_ROOT": storage_root}
    )
    nas_root = _step(settings, "nas-root", 20, (), {"BASE": base})
    return Recipe(base, zfs_modules, storage_root, image, nas_root)


def _step(
    settings: Settings,
    name: str,
    usual_s: int,
    parts: tuple[bytes, ...],
    needs: Mapping[str, Step],
) -> Step:
    script = _HERE / f"{name}.sh"
    common = _HERE / "common.sh"
    return Step(
        name=name,
        usual_s=usual_s,
        parts=(script.read_bytes(), common.read_bytes(), *parts),
        needs=tuple(needs.values()),
        build=_builder(settings, script, needs),
    )


def _builder(
    settings: Settings, script: Path, needs: Mapping[str, Step]
) -> Callable[[Path, Path], None]:
    def build(out: Path, log: Path) -> None:
        if not settings.mirror:
            raise LabError(
                "this machine's apt uses no Debian mirror; name one: HOMELAB_LAB_MIRROR=http://..."
            )
        env = {
            "OUT": str(out),
            "RECIPE": str(_HERE),
            "MIRROR": settings.mirror,
            "SUITE": SUITE,
            "KEYS": str(settings.keys),
            "GUEST": str(_GUEST),
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            **{name: str(step.path(settings.cache)) for name, step in needs.items()},
        }
        run(isolated(["sh", str(script)]), env=env, cwd=out, log=log, timeout_s=3600)

    return build


def _files(directory: Path) -> tuple[bytes, ...]:
    """Names and contents of all files below a directory, in a fixed order."""
    parts: list[bytes] = []
    for root, names, files in os.walk(directory):
        names.sort()
        for name in sorted(files):
            path = Path(root, name)
            parts += [str(path.relative_to(directory)).encode(), path.read_bytes()]
    return tuple(parts)
