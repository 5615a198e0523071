# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Builds ``homelab-backup.pyz``, one file that runs on any host with Python 3.11 or later.

The archive keeps the collection's package path inside, so that the absolute imports of the
core are the same in a module, in a test and on the host. Names, order, times, modes and the
compression level are fixed: the same sources give the same bytes (with the same zlib), and
deploying is idempotent.
Format: https://docs.python.org/3/library/zipapp.html#the-python-zip-application-archive-format

    python -m ansible_collections.homelab.backup.plugins.module_utils._runner.zipapp OUT
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    ConfigError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.files import write_atomically
from ansible_collections.homelab.backup.plugins.module_utils._runner.main import error_block

PACKAGE = "ansible_collections/homelab/backup/plugins/module_utils"
SHEBANG = b"#!/usr/bin/env python3\n"
# Needs Ansible, so it stays on the controller.
LEFT_OUT = frozenset({"_module"})
# The earliest time that a zip file can hold.
EPOCH = (1980, 1, 1, 0, 0, 0)
MAIN = f"""\
import sys

if sys.version_info < (3, 11):
    sys.exit("homelab-backup needs Python 3.11 or later, this is " + sys.version.split()[0])

from {PACKAGE.replace("/", ".")}._runner.main import main

main()
"""


def sources(module_utils: Path) -> Iterator[tuple[str, bytes]]:
    """Path inside the archive and content of each file, in the order of their names."""
    parts = PACKAGE.split("/")
    members = {"/".join(parts[: depth + 1]) + "/__init__.py": b"" for depth in range(len(parts))}
    members["__main__.py"] = MAIN.encode()
    for package in module_utils.glob("_*"):
        if package.is_dir() and package.name not in LEFT_OUT | {"__pycache__"}:
            for path in package.rglob("*.py"):
                name = path.relative_to(module_utils).as_posix()
                members[f"{PACKAGE}/{name}"] = path.read_bytes()
    yield from sorted(members.items())


def build(module_utils: Path) -> bytes:
    """The zipapp as bytes.

    Raises:
        ConfigError: ``module_utils`` isn't the collection's directory.
        OSError: a source can't be read.
    """
    if not (module_utils / "_runner" / "main.py").is_file():
        raise ConfigError(
            "build the zipapp",
            on=str(module_utils),
            found="no _runner/main.py in it",
            remedy="name the collection's directory plugins/module_utils",
        )
    archive = io.BytesIO()
    archive.write(SHEBANG)
    with zipfile.ZipFile(archive, "a") as packed:
        for name, content in sources(module_utils):
            member = zipfile.ZipInfo(name, date_time=EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o100644 << 16
            member.create_system = 3
            packed.writestr(member, content, compresslevel=9)
    return archive.getvalue()


def own_directory() -> Path:
    """The directory ``plugins/module_utils`` that this file is part of."""
    return Path(__file__).resolve().parent.parent


def main(argv: Sequence[str]) -> int:
    """Build the file that is named on the command line."""
    parser = argparse.ArgumentParser(prog="zipapp", description="Build homelab-backup.pyz.")
    parser.add_argument("out", type=Path, metavar="OUT", help="file to write")
    arguments = parser.parse_args(argv)
    try:
        write_atomically(arguments.out, build(own_directory()), mode=0o755)
    except BackupError as error:
        sys.stderr.write(error_block(error) + "\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
