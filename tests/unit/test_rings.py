# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The core's rings, file by file, and the rules that keep them.

1. values and pure functions; 2. ports; 3. adapters; 4. use cases; 5. entry points.
An inner ring never imports an outer one. The core imports the standard library and itself,
nothing else; only ``_module`` (ring 5) may import Ansible.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

CORE = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
CORE_NAME = "ansible_collections.homelab.backup.plugins.module_utils"

# One line for each file, `package/file` without the suffix. `package/*` is the ring of a
# package whose files are all alike; a line of a file goes before it. `__init__` files are
# empty and need no line.
RINGS = {
    "_catalogue/*": 1,
    "_core/clock": 2,
    "_core/errors": 1,
    "_core/files": 3,
    "_core/formats": 1,
    "_core/ports": 2,
    "_core/process": 3,
    "_core/text": 1,
    "_filter/glob": 1,
    "_filter/names": 1,
    "_filter/patterns": 1,
    "_module/*": 5,
    "_offsite/compare": 4,
    "_offsite/download": 4,
    "_offsite/entry": 1,
    "_offsite/fetch": 4,
    "_offsite/fetch_versions": 4,
    "_offsite/index": 3,
    "_offsite/index_walk": 3,
    "_offsite/indexcopy": 4,
    "_offsite/indexread": 4,
    "_offsite/layout": 1,
    "_offsite/marker": 1,
    "_offsite/pieces": 3,
    "_offsite/policy": 1,
    "_offsite/prune": 4,
    "_offsite/replay": 3,
    "_offsite/bases": 4,
    "_offsite/bookkeeping": 4,
    "_offsite/destination": 4,
    "_offsite/detect": 4,
    "_offsite/extent": 4,
    "_offsite/guards": 1,
    "_offsite/host": 4,
    "_offsite/planning": 4,
    "_offsite/readback": 4,
    "_offsite/reconcile": 4,
    "_offsite/records": 3,
    "_offsite/run": 4,
    "_offsite/scope": 1,
    "_offsite/sending": 4,
    "_offsite/structure": 4,
    "_offsite/target": 3,
    "_offsite/survey": 4,
    "_offsite/document": 1,
    "_offsite/timer": 1,
    "_offsite/tree": 3,
    "_rclone/bulk": 3,
    "_rclone/version": 3,
    "_runner/*": 5,
    "_schedule/cron": 1,
    "_schedule/slots": 1,
    "_schedule/zones": 1,
    "_sftp/batch": 3,
    "_sftp/changes": 3,
    "_sftp/client": 3,
    "_sftp/connection": 3,
    "_sftp/diagnosis": 1,
    "_sftp/explain": 3,
    "_sftp/failures": 1,
    "_sftp/frames": 1,
    "_sftp/listing": 3,
    "_sftp/ports": 2,
    "_sftp/protocol": 1,
    "_sftp/reading": 3,
    "_sftp/smallfile": 3,
    "_sftp/ssh": 3,
    "_sftp/upload": 3,
    "_sftp/values": 1,
    "_snapshots/backend": 4,
    "_snapshots/converge": 1,
    "_snapshots/document": 1,
    "_snapshots/listing": 4,
    "_snapshots/naming": 1,
    "_snapshots/ownership": 1,
    "_snapshots/plan": 1,
    "_snapshots/policy": 1,
    "_snapshots/ports": 2,
    "_snapshots/record": 1,
    "_snapshots/retention": 1,
    "_snapshots/run": 4,
    "_snapshots/store": 3,
    "_snapshots/timer": 1,
    "_zfs/cli": 3,
    "_zfs/errors": 1,
    "_zfs/mounts": 3,
    "_zfs/parse": 1,
    "_zfs/ports": 2,
    "_zfs/send": 3,
    "_zfs/sendstream": 1,
    "_zfs/streamlayout": 1,
    "_zfs/values": 1,
}


class Import(NamedTuple):
    """One imported module: its dotted name and the line that imports it."""

    name: str
    line: int


def core_files(core: Path = CORE) -> list[Path]:
    """All files of the core's packages (directories whose name begins with one underscore)."""
    return sorted(
        path
        for package in core.glob("_*")
        if package.is_dir() and package.name != "__pycache__"
        for path in package.rglob("*.py")
    )


def file_key(path: Path, core: Path = CORE) -> str:
    """``_zfs/names`` for ``.../module_utils/_zfs/names.py``."""
    return path.relative_to(core).with_suffix("").as_posix()


def ring_of(key: str) -> int | None:
    """The ring of a file, or None when the table has no line for it."""
    return RINGS.get(key, RINGS.get(key.split("/", maxsplit=1)[0] + "/*"))


def imports_of(source: str) -> Iterator[Import]:
    """Each module that a source imports, at whatever depth; ``from a import b`` gives ``a.b``.

    Imports for type checking count as well: a ring that needs an outer ring's type depends on it.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            for alias in node.names:
                yield Import(f"{prefix}.{alias.name}", node.lineno)


def core_key(name: str, core: Path = CORE) -> str | None:
    """The core file that a dotted name stands for, or None when it isn't in the core."""
    if not name.startswith(CORE_NAME + "."):
        return None
    parts = name.removeprefix(CORE_NAME + ".").split(".")
    for length in range(len(parts), 0, -1):
        if core.joinpath(*parts[:length]).with_suffix(".py").is_file():
            return "/".join(parts[:length])
    return "/".join(parts)


def foreign_imports(source: str) -> list[Import]:
    """Imports that are neither of the standard library nor of the core."""
    return [
        found
        for found in imports_of(source)
        if found.name.split(".", maxsplit=1)[0] not in sys.stdlib_module_names
        and not found.name.startswith(CORE_NAME + "._")
    ]


def outward_imports(key: str, source: str, core: Path = CORE) -> list[str]:
    """What a file imports from rings further out, as lines for a person."""
    own = ring_of(key)
    found = []
    for imported in imports_of(source):
        target = core_key(imported.name, core)
        if target is None or target.endswith("/__init__"):
            continue
        ring = ring_of(target)
        if own is not None and ring is not None and ring > own:
            found.append(f"{key}:{imported.line} (ring {own}) imports {target} (ring {ring})")
    return found


def test_every_core_file_has_a_ring() -> None:
    unlisted = [
        file_key(path)
        for path in core_files()
        if path.name != "__init__.py" and ring_of(file_key(path)) is None
    ]
    assert not unlisted, f"add a line to RINGS in {Path(__file__).name} for: {unlisted}"


def test_table_names_only_files_that_exist() -> None:
    keys = {file_key(path) for path in core_files()}
    packages = {"_module", "_runner"} | {key.split("/", maxsplit=1)[0] for key in keys}
    stale = [
        line
        for line in RINGS
        if (line.removesuffix("/*") not in packages if line.endswith("/*") else line not in keys)
    ]
    assert not stale, f"no such file: {stale}"


def test_packages_are_explicit() -> None:
    """Each directory of the core has an ``__init__.py`` without code."""
    for directory in {path.parent for path in core_files()}:
        init = directory / "__init__.py"
        assert init.is_file(), f"{init} is missing"
        code = [node for node in ast.parse(init.read_text()).body if not isinstance(node, ast.Expr)]
        assert not code, f"{init} must hold no code: importing one file must not import others"


def test_no_import_from_an_outer_ring() -> None:
    outward = [
        line for path in core_files() for line in outward_imports(file_key(path), path.read_text())
    ]
    assert not outward, "\n".join(outward)


def test_core_needs_the_standard_library_only() -> None:
    foreign = [
        f"{file_key(path)}:{found.line} imports {found.name}"
        for path in core_files()
        if path.relative_to(CORE).parts[0] != "_module"
        for found in foreign_imports(path.read_text())
    ]
    assert not foreign, "\n".join(foreign)


def test_imports_are_absolute_and_of_files() -> None:
    """Relative imports and ``from package import *`` would hide what a file depends on."""
    hidden = [
        f"{file_key(path)}:{found.line} imports {found.name}"
        for path in core_files()
        for found in imports_of(path.read_text())
        if found.name.startswith(".") or found.name.endswith(".*")
    ]
    assert not hidden, "\n".join(hidden)


def test_nothing_prints() -> None:
    """A module's standard output is its result, so a stray print breaks it.

    The command line writes to ``sys.stdout`` by name.
    """
    prints = [
        f"{file_key(path)}:{node.lineno}"
        for path in core_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not prints, "\n".join(prints)


@pytest.mark.parametrize(
    "source",
    [
        "import yaml",
        "from ansible.module_utils.basic import AnsibleModule",
        "def f():\n    import paramiko.client",
        "import ansible_collections.community.general",
        "from ansible_collections.homelab.backup.plugins.plugin_utils import x",
        "from . import names",
    ],
)
def test_a_foreign_import_is_found(source: str) -> None:
    assert len(foreign_imports(source)) == 1


def test_the_standard_library_and_the_core_are_not_foreign() -> None:
    source = f"import os.path\nfrom json import loads\nfrom {CORE_NAME}._zfs.names import Name"
    assert foreign_imports(source) == []


def test_an_outward_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RINGS, "_demo/inner", 1)
    monkeypatch.setitem(RINGS, "_demo/outer", 3)
    for name in ("inner", "outer"):
        file = tmp_path / "_demo" / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    outward = f"from {CORE_NAME}._demo.outer import thing"
    whole = f"from {CORE_NAME}._demo import outer"
    inward = f"import {CORE_NAME}._demo.inner"
    assert len(outward_imports("_demo/inner", outward, tmp_path)) == 1
    assert len(outward_imports("_demo/inner", whole, tmp_path)) == 1
    assert outward_imports("_demo/outer", inward, tmp_path) == []
