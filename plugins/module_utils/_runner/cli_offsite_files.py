# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``homelab-backup offsite fetch|versions|prune|index``: what lies at the destination.

They work with the host's policy, and without one: on a new machine that has
only the NAS' address, a key and its host key.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import stat
import sys
import time
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import utc_stamp
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    ConfigError,
    DestinationError,
    ExitCode,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import (
    human_bytes,
    printable,
    to_json,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.download import Fetched
from ansible_collections.homelab.backup.plugins.module_utils._offsite.entry import SYMLINK
from ansible_collections.homelab.backup.plugins.module_utils._offsite.fetch import Fetch
from ansible_collections.homelab.backup.plugins.module_utils._offsite.fetch_versions import (
    REASONS,
    FetchVersion,
    find_versions,
    list_runs,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index_walk import (
    Listed,
    find,
    walk,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.target import TargetTree
from ansible_collections.homelab.backup.plugins.module_utils._runner.cli_offsite_prune import (
    add_prune,
)
from ansible_collections.homelab.backup.plugins.module_utils._runner.offsite_place import (
    add_destination_options,
    check_marker,
    connected,
    local_index,
    open_index,
    place_of,
    rebuilt,
    tree_path,
)
from ansible_collections.homelab.backup.plugins.module_utils._runner.registration import (
    Subparsers,
    runs,
)

NAMED = 50
"""So many problems are shown; the rest is counted."""

FORMAT_CHARACTERS = {
    "f": stat.S_IFREG,
    "d": stat.S_IFDIR,
    "l": stat.S_IFLNK,
    "b": stat.S_IFBLK,
    "c": stat.S_IFCHR,
    "p": stat.S_IFIFO,
    "s": stat.S_IFSOCK,
}


def register(subparsers: Subparsers) -> None:
    """Add the subcommands to those of ``offsite``."""
    _add_fetch(subparsers)
    _add_versions(subparsers)
    add_prune(subparsers)
    _add_index(subparsers)


def _add_fetch(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "fetch",
        help="restore files from the destination",
        description="Restore files and directories from the destination, with owner, mode, times, "
        "links, xattrs and ACLs. What is there is not overwritten. Run again after an "
        "interruption, it goes on.",
    )
    add_destination_options(parser)
    _index_options(parser)
    parser.add_argument(
        "path", nargs="+", help="path in the copy, a directory with all beneath it; . for all"
    )
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DIR", help="where the copy's paths begin"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what is there, unless it is newer than the copy",
    )
    parser.add_argument(
        "--version", metavar="RUN", help="take what this run moved out of the tree (see versions)"
    )
    parser.add_argument(
        "--reason",
        choices=[reason.decode("ascii") for reason in REASONS],
        default="deleted",
        help="why it was moved out (default: deleted)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, only the outcome")
    runs(parser, fetch_command)


def _add_versions(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "versions",
        help="list what runs have deleted or replaced",
        description="Without a path, "
        "list the runs that have versions; with one, the versions of that path.",
    )
    add_destination_options(parser)
    parser.add_argument("path", nargs="?", help="path as it was in the copy")
    runs(parser, versions_command)


def _add_index(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("index", help="look into the index, or rebuild it")
    commands = parser.add_subparsers(metavar="ACTION", required=True)
    show = commands.add_parser("show", help="list what the copy holds")
    add_destination_options(show)
    _index_options(show)
    show.add_argument("path", nargs="?", default=".", help="path in the copy (default: all)")
    show.add_argument("--json", action="store_true", help="one JSON object a line, with sha256")
    runs(show, index_show_command)
    restore = commands.add_parser("restore", help="rebuild the index from the destination")
    add_destination_options(restore)
    restore.add_argument("file", type=Path, help="the SQLite file to make; it must not exist")
    restore.add_argument(
        "--skip-damaged", action="store_true", help="use what is good of a damaged copy"
    )
    runs(restore, index_restore_command)


def _index_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--remote-index",
        action="store_true",
        help="use the index at the destination although this host has one",
    )
    parser.add_argument(
        "--skip-damaged", action="store_true", help="use what is good of a damaged index"
    )


class _Progress:
    """Counts in place, on a terminal only."""

    def __init__(self, *, quiet: bool) -> None:
        self._show = not quiet and sys.stderr.isatty()
        self._shown = 0.0

    def __call__(self, files: int, size: int) -> None:
        now = time.monotonic()
        if self._show and now - self._shown >= 0.5:
            self._shown = now
            sys.stderr.write(f"fetched {files} files, {human_bytes(size)}\r")
            sys.stderr.flush()


def fetch_command(arguments: argparse.Namespace) -> ExitCode:
    """``offsite fetch``: exits with INCOMPLETE when something could not be restored."""
    place = place_of(arguments)
    paths = [tree_path(path) for path in arguments.path]
    progress = _Progress(quiet=arguments.quiet)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(connected(place, arguments))
        check_marker(store, place)
        target = TargetTree(arguments.to)
        finished = False
        try:
            if arguments.version is not None:
                result = FetchVersion(
                    store,
                    place.layout,
                    target,
                    run=os.fsencode(arguments.version),
                    reason=arguments.reason.encode("ascii"),
                    overwrite=arguments.overwrite,
                    progress=progress,
                ).run(paths)
            else:
                index = stack.enter_context(open_index(store, place, arguments))
                result = Fetch(
                    store,
                    place.layout,
                    index,
                    target,
                    overwrite=arguments.overwrite,
                    progress=progress,
                ).run(paths)
            finished = True
        finally:
            target.close(finished=finished)
    _tell(result, arguments.to)
    return ExitCode.OK if result.complete else ExitCode.INCOMPLETE


def _tell(result: Fetched, target: Path) -> None:
    counts = [
        (result.files, "files"),
        (result.directories, "directories"),
        (result.symlinks, "symlinks"),
        (result.linked, "hard links"),
        (result.special, "special files"),
    ]
    made = ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing"
    line = f"restored {made} ({human_bytes(result.size)}) into {target}"
    if result.present:
        line += f"; {result.present} were there already"
    if result.problem_count:
        line += f"; {result.problem_count} problems"
    sys.stdout.write(line + "\n")
    for path, text in result.problems[:NAMED]:
        sys.stdout.write(f"  problem: {printable(path) or '.'}: {text}\n")
    if result.problem_count > NAMED:
        sys.stdout.write(f"  problem: … {result.problem_count - NAMED} more\n")
    for note in result.notes:
        sys.stdout.write(f"  note: {note}\n")


def versions_command(arguments: argparse.Namespace) -> ExitCode:
    """``offsite versions``."""
    place = place_of(arguments)
    with connected(place, arguments) as store:
        check_marker(store, place)
        if arguments.path is None:
            for run in list_runs(store, place.layout):
                sys.stdout.write(printable(run) + "\n")
            return ExitCode.OK
        found = False
        for version in find_versions(store, place.layout, tree_path(arguments.path)):
            found = True
            what = "directory" if version.is_directory else human_bytes(version.size)
            sys.stdout.write(
                f"{printable(version.run)}  {printable(version.reason):8}  {what:>10}  "
                f"{utc_stamp(version.mtime)}\n"
            )
    if not found:
        sys.stdout.write("no run has moved that path out of the tree\n")
    return ExitCode.OK


def index_show_command(arguments: argparse.Namespace) -> ExitCode:
    """``offsite index show``."""
    place = place_of(arguments)
    with contextlib.ExitStack() as stack:
        local = local_index(place, arguments)
        if local is not None:
            index = stack.enter_context(contextlib.closing(local))
        else:
            store = stack.enter_context(connected(place, arguments))
            check_marker(store, place)
            index = stack.enter_context(open_index(store, place, arguments))
        start = find(index, tree_path(arguments.path))
        if start is None:
            raise DestinationError(
                "show the index",
                on=arguments.path,
                found="the copy has no such name",
                remedy="paths begin at the copy's directory, without a slash",
            )
        for listed in walk(index, start):
            sys.stdout.write((_json_line(listed) if arguments.json else _line(listed)) + "\n")
    return ExitCode.OK


def _line(listed: Listed) -> str:
    attributes = listed.attributes
    name = printable(listed.path) or "."
    if attributes is None:
        return f"?????????? {name}"
    if attributes.kind == SYMLINK:
        name += " -> " + printable(attributes.target or b"")
    mode = stat.filemode(FORMAT_CHARACTERS[attributes.kind] | attributes.mode)
    missing = "" if listed.stored is not None or attributes.kind != "f" else "  (not sent yet)"
    return (
        f"{mode} {attributes.uid:>6} {attributes.gid:>6} {attributes.size:>12} "
        f"{utc_stamp(attributes.mtime_ns // 1_000_000_000)} {name}{missing}"
    )


def _json_line(listed: Listed) -> str:
    document: dict[str, object] = {"path": to_json(listed.path)}
    attributes = listed.attributes
    if attributes is not None:
        document.update(
            kind=attributes.kind,
            mode=f"{attributes.mode:04o}",
            uid=attributes.uid,
            gid=attributes.gid,
            size=attributes.size,
            mtime_ns=attributes.mtime_ns,
        )
        if attributes.target is not None:
            document["target"] = to_json(attributes.target)
    if listed.stored is not None:
        document["sha256"] = listed.stored.sha256.hex()
    return json.dumps(document)


def index_restore_command(arguments: argparse.Namespace) -> ExitCode:
    """``offsite index restore``."""
    place = place_of(arguments)
    if arguments.file.exists():
        raise ConfigError(
            "rebuild the index",
            on=str(arguments.file),
            found="the file exists",
            remedy="move it away, or name another file",
        )
    with connected(place, arguments) as store:
        check_marker(store, place)
        index = rebuilt(store, place, arguments.file, skip_damaged=arguments.skip_damaged)
        with contextlib.closing(index):
            files = index.count_files()
    sys.stdout.write(f"{arguments.file}: {files} files\n")
    return ExitCode.OK
