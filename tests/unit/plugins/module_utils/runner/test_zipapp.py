# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The zipapp: the same bytes each time, and it runs on every supported Python."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._runner import zipapp
from ansible_collections.homelab.backup.plugins.module_utils._runner.version import VERSION

ROOT = Path(__file__).resolve().parents[5]
MODULE_UTILS = ROOT / "plugins" / "module_utils"
SUPPORTED = ("3.11", "3.12", "3.13")
TOO_OLD = ("3.9", "3.10")
# An interpreter that runs the file must find nothing of this checkout's environment.
BARE = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONDONTWRITEBYTECODE": "1"}


def interpreters(version: str) -> Iterator[str]:
    """Places where a Python of this version may be: on PATH, or one that pyenv keeps."""
    yield f"python{version}"
    found = shutil.which("pyenv", path=BARE["PATH"])
    root = os.environ.get("PYENV_ROOT") or (str(Path(found).parents[1]) if found else "")
    if root:
        for path in sorted(Path(root).glob(f"versions/{version}.*/bin/python{version}")):
            yield str(path)


def interpreter(version: str) -> str:
    """One that runs, or the test is skipped with the reason."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    for candidate in interpreters(version):
        program = shutil.which(candidate, path=BARE["PATH"])
        if (
            program
            and not subprocess.run(
                [program, "-c", "import zlib"], check=False, capture_output=True
            ).returncode
        ):
            return program
    pytest.skip(f"this machine has no Python {version} that runs")


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file as the command line builds it."""
    out = tmp_path_factory.mktemp("zipapp") / "homelab-backup.pyz"
    assert zipapp.main([str(out)]) == 0
    return out


def members(content: bytes) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.infolist()


def test_two_builds_are_the_same_bytes(pyz: Path) -> None:
    assert pyz.read_bytes() == zipapp.build(MODULE_UTILS)


def test_times_modes_and_creation_order_of_the_sources_do_not_matter(
    pyz: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "module_utils"
    packages = sorted(MODULE_UTILS.glob("_*"), reverse=True)
    for package in packages:
        shutil.copytree(package, copy / package.name, copy_function=shutil.copyfile)
    for path in copy.rglob("*.py"):
        path.chmod(0o600)
        os.utime(path, (1, 1))
    (copy / "_core" / "__pycache__").mkdir(exist_ok=True)
    (copy / "_core" / "__pycache__" / "x.pyc").write_bytes(b"not a source")
    assert zipapp.build(copy) == pyz.read_bytes()


def test_a_changed_source_changes_the_file(pyz: Path, tmp_path: Path) -> None:
    copy = tmp_path / "module_utils"
    shutil.copytree(MODULE_UTILS, copy)
    with (copy / "_runner" / "version.py").open("a") as stream:
        stream.write("# changed\n")
    assert zipapp.build(copy) != pyz.read_bytes()


def test_it_holds_the_core_without_what_needs_ansible(pyz: Path) -> None:
    held = {member.filename for member in members(pyz.read_bytes())}
    wanted = {
        f"{zipapp.PACKAGE}/{path.relative_to(MODULE_UTILS).as_posix()}"
        for path in MODULE_UTILS.glob("_*/**/*.py")
        if path.relative_to(MODULE_UTILS).parts[0] != "_module"
    }
    parents = {
        "/".join(zipapp.PACKAGE.split("/")[:depth]) + "/__init__.py" for depth in range(1, 6)
    }
    assert held == wanted | parents | {"__main__.py"}


def test_it_is_compressed_and_executable(pyz: Path) -> None:
    content = pyz.read_bytes()
    assert content.startswith(b"#!/usr/bin/env python3\n")
    assert pyz.stat().st_mode & 0o777 == 0o755
    for member in members(content):
        assert member.compress_type == zipfile.ZIP_DEFLATED
        assert member.date_time == (1980, 1, 1, 0, 0, 0)


@pytest.mark.parametrize("version", SUPPORTED)
def test_it_runs_on(version: str, pyz: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [interpreter(version), "-I", str(pyz), "--version"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=BARE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"homelab-backup {VERSION}\n", "")


@pytest.mark.parametrize("version", SUPPORTED)
def test_every_module_in_it_is_importable_on(version: str, pyz: Path, tmp_path: Path) -> None:
    """The command line imports only what it needs; the rest must work there as well."""
    names = [
        member.filename.removesuffix(".py").replace("/", ".")
        for member in members(pyz.read_bytes())
        if member.filename.startswith(zipapp.PACKAGE) and not member.filename.endswith("__.py")
    ]
    program = f"import sys, importlib; sys.path.insert(0, {str(pyz)!r})\n"
    program += "".join(f"importlib.import_module({name!r})\n" for name in names)
    done = subprocess.run(
        [interpreter(version), "-I", "-S", "-W", "error", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=BARE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("version", SUPPORTED)
def test_it_is_built_alike_by(version: str, pyz: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.pyz"
    done = subprocess.run(
        [interpreter(version), "-m", zipapp.__name__, str(out)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**BARE, "PYTHONPATH": str(ROOT / ".cache" / "collections")},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert out.read_bytes() == pyz.read_bytes()


@pytest.mark.parametrize("version", TOO_OLD)
def test_an_older_python_is_refused_in_plain_words(version: str, pyz: Path) -> None:
    done = subprocess.run(
        [interpreter(version), str(pyz), "--version"],
        check=False,
        capture_output=True,
        text=True,
        env=BARE,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("homelab-backup needs Python 3.11 or later, this is 3.")


def test_another_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no _runner/main\.py"):
        zipapp.build(tmp_path)
