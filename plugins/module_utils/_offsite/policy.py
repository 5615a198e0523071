# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The offsite policy of one host: what is copied, where to, when, within which limits.

The document is derived from the catalogue on the controller; its shape is in
docs/catalogue.md. Times of day are cron lines in ``timezone``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._core.formats import Format

FORMAT = Format("offsite-policy", 1)
JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
BULK_PROGRAMS = ("sftp", "rclone")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a job's copy lies, and how the run reaches it.

    ``directory`` and ``control_directory`` are absolute paths as the SFTP
    server shows them (on DSM ``/Share/dir``, not ``/volume1/Share/dir``).
    """

    host: str
    port: int
    user: str
    key_file: str
    known_hosts_file: str
    directory: str
    control_directory: str
    pruner_user: str | None = None
    pruner_key_file: str | None = None


@dataclass(frozen=True, slots=True)
class Exclude:
    """A pattern with rclone's meaning, and why what it matches needs no copy."""

    pattern: str
    reason: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What stops a run, and how long things are kept.

    ``max_changed_share`` is the share (0 to 1) of the files that one run may
    change or delete once at least ``min_guard_files`` are concerned;
    ``full_threshold`` the number of changed objects above which the whole
    dataset is compared instead; ``free_space_reserve_bytes`` what has to stay
    free at the destination.
    """

    max_changed_share: float = 0.3
    min_guard_files: int = 1000
    full_threshold: int = 100_000
    versions_days: int = 30
    readback_days: int = 90
    free_space_reserve_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Bulk:
    """Which program sends files of ``threshold_bytes`` or more."""

    program: str = "sftp"
    rclone: str = "rclone"
    threshold_bytes: int = 64 << 20
    transfers: int = 4


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a host runs a job by itself: two cron lines and their time zone."""

    incremental: str = "0 */6 * * *"
    reconcile: str = "0 9 * * 0"
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Job:
    """One pool's (or dataset tree's) copy."""

    name: str
    root: str
    destination: Destination
    excludes: tuple[Exclude, ...] = ()
    schedule: Schedule = Schedule()
    limits: Limits = Limits()
    bulk: Bulk = Bulk()
    adopt: bool = False


@dataclass(frozen=True, slots=True)
class OffsitePolicy:
    """Everything of one storage host."""

    host: str
    state_dir: Path
    log_file: Path
    jobs: tuple[Job, ...]

    def job(self, name: str) -> Job:
        """The job called ``name``.

        Raises:
            ConfigError: there is none; the error lists those there are.
        """
        for job in self.jobs:
            if job.name == name:
                return job
        known = ", ".join(job.name for job in self.jobs) or "none"
        raise ConfigError("find the offsite job", on=name, found=f"the policy has: {known}")


class _Reader:
    """Reads a mapping key by key and collects every error with the key's whole name."""

    def __init__(self, where: str, errors: list[str]) -> None:
        self._where = where
        self.errors = errors

    def complain(self, key: str, text: str) -> None:
        self.errors.append(f"{self._where}{key}: {text}")

    def mapping(self, value: object, key: str, known: Sequence[str]) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self.complain(key, f"should be a mapping with {', '.join(known)}")
            return {}
        for name in value:
            if name not in known:
                self.complain(
                    f"{key}.{name}" if key else str(name), f"is unknown; known: {', '.join(known)}"
                )
        return value

    def text(self, source: Mapping[str, Any], key: str, at: str, default: str | None = None) -> str:
        value = source.get(key, default)
        if not isinstance(value, str) or not value:
            self.complain(f"{at}.{key}", f"should be a text, it is {value!r}")
            return ""
        return value

    def number(
        self, source: Mapping[str, Any], key: str, at: str, default: float, low: float, high: float
    ) -> float:
        value = source.get(key, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            self.complain(
                f"{at}.{key}", f"should be a number from {low:g} to {high:g}, it is {value!r}"
            )
            return default
        return value

    def whole(
        self, source: Mapping[str, Any], key: str, at: str, default: int, low: int, high: int
    ) -> int:
        value = self.number(source, key, at, default, low, high)
        if not isinstance(value, int):
            self.complain(f"{at}.{key}", f"should be a whole number, it is {value!r}")
            return default
        return value

    def directory(self, source: Mapping[str, Any], key: str, at: str) -> str:
        value = self.text(source, key, at)
        if value and (
            not value.startswith("/") or posixpath.normpath(value) != value or value == "/"
        ):
            self.complain(
                f"{at}.{key}",
                f"should be an absolute path without '..' or a final '/', it is {value!r}",
            )
        return value


def _destination(reader: _Reader, value: object, at: str) -> Destination:
    keys = (
        "host",
        "port",
        "user",
        "key_file",
        "known_hosts_file",
        "directory",
        "control_directory",
        "pruner",
    )
    source = reader.mapping(value, at, keys)
    directory = reader.directory(source, "directory", at)
    control = directory + ".homelab-backup"
    if source.get("control_directory") is not None:
        control = reader.directory(source, "control_directory", at)
    if (
        control == directory
        or control.startswith(directory + "/")
        or directory.startswith(control + "/")
    ):
        reader.complain(
            f"{at}.control_directory", "may not lie inside 'directory', nor the other way round"
        )
    pruner = reader.mapping(source.get("pruner") or {}, f"{at}.pruner", ("user", "key_file"))
    return Destination(
        host=reader.text(source, "host", at),
        port=reader.whole(source, "port", at, 22, 1, 65535),
        user=reader.text(source, "user", at),
        key_file=reader.text(source, "key_file", at),
        known_hosts_file=reader.text(source, "known_hosts_file", at),
        directory=directory,
        control_directory=control,
        pruner_user=reader.text(pruner, "user", f"{at}.pruner") if pruner else None,
        pruner_key_file=reader.text(pruner, "key_file", f"{at}.pruner") if pruner else None,
    )


def _limits(reader: _Reader, value: object, at: str) -> Limits:
    default = Limits()
    keys = tuple(Limits.__slots__)
    source = reader.mapping(value, at, keys)
    return Limits(
        max_changed_share=reader.number(
            source, "max_changed_share", at, default.max_changed_share, 0, 1
        ),
        min_guard_files=reader.whole(
            source, "min_guard_files", at, default.min_guard_files, 0, 1 << 40
        ),
        full_threshold=reader.whole(
            source, "full_threshold", at, default.full_threshold, 0, 1 << 40
        ),
        versions_days=reader.whole(source, "versions_days", at, default.versions_days, 1, 36500),
        readback_days=reader.whole(source, "readback_days", at, default.readback_days, 1, 36500),
        free_space_reserve_bytes=reader.whole(
            source, "free_space_reserve_bytes", at, default.free_space_reserve_bytes, 0, 1 << 60
        ),
    )


def _bulk(reader: _Reader, value: object, at: str) -> Bulk:
    default = Bulk()
    source = reader.mapping(value, at, tuple(Bulk.__slots__))
    program = reader.text(source, "program", at, default.program)
    if program and program not in BULK_PROGRAMS:
        reader.complain(
            f"{at}.program", f"should be one of {', '.join(BULK_PROGRAMS)}, it is {program!r}"
        )
    return Bulk(
        program=program,
        rclone=reader.text(source, "rclone", at, default.rclone),
        threshold_bytes=reader.whole(
            source, "threshold_bytes", at, default.threshold_bytes, 0, 1 << 50
        ),
        transfers=reader.whole(source, "transfers", at, default.transfers, 1, 64),
    )


def _excludes(reader: _Reader, value: object, at: str) -> tuple[Exclude, ...]:
    if not isinstance(value, list):
        reader.complain(at, "should be a list of {pattern, reason}")
        return ()
    found = []
    for number, item in enumerate(value):
        here = f"{at}[{number}]"
        source = reader.mapping(item, here, ("pattern", "reason"))
        found.append(
            Exclude(reader.text(source, "pattern", here), reader.text(source, "reason", here))
        )
    return tuple(found)


def _job(reader: _Reader, value: object, at: str) -> Job:
    keys = ("name", "root", "destination", "excludes", "schedule", "limits", "bulk", "adopt")
    source = reader.mapping(value, at, keys)
    name = reader.text(source, "name", at)
    if name and not JOB_NAME.match(name):
        reader.complain(
            f"{at}.name", f"should be letters, digits, '_', '.', '-', at most 64: {name!r}"
        )
    adopt = source.get("adopt", False)
    if not isinstance(adopt, bool):
        reader.complain(f"{at}.adopt", f"should be true or false, it is {adopt!r}")
    default = Schedule()
    times = reader.mapping(source.get("schedule", {}), f"{at}.schedule", tuple(Schedule.__slots__))
    return Job(
        name=name,
        root=reader.text(source, "root", at),
        destination=_destination(reader, source.get("destination"), f"{at}.destination"),
        excludes=_excludes(reader, source.get("excludes", []), f"{at}.excludes"),
        schedule=Schedule(
            reader.text(times, "incremental", f"{at}.schedule", default.incremental),
            reader.text(times, "reconcile", f"{at}.schedule", default.reconcile),
            reader.text(times, "timezone", f"{at}.schedule", default.timezone),
        ),
        limits=_limits(reader, source.get("limits", {}), f"{at}.limits"),
        bulk=_bulk(reader, source.get("bulk", {}), f"{at}.bulk"),
        adopt=adopt is True,
    )


def parse_policy(document: object, where: str) -> OffsitePolicy:
    """The typed policy in ``document``.

    Args:
        document: parsed JSON, format ``homelab.backup.offsite-policy/1``.
        where: the file's name, for errors.

    Raises:
        ConfigError: with every error of the file at once, each naming its key.
    """
    FORMAT.read_major(document, where)
    errors: list[str] = []
    reader = _Reader("", errors)
    source = reader.mapping(document, "", ("format", "host", "state_dir", "log_file", "jobs"))
    items = source.get("jobs")
    if not isinstance(items, list):
        reader.complain("jobs", "should be a list")
        items = []
    jobs = tuple(_job(reader, item, f"jobs[{number}]") for number, item in enumerate(items))
    _check_apart(reader, jobs)
    policy = OffsitePolicy(
        host=reader.text(source, "host", "policy"),
        state_dir=Path(reader.directory(source, "state_dir", "policy")),
        log_file=Path(reader.directory(source, "log_file", "policy")),
        jobs=jobs,
    )
    if errors:
        raise ConfigError(
            "use the offsite policy",
            on=where,
            found="; ".join(errors),
            remedy="correct the catalogue and run the playbook again",
        )
    return policy


def _check_apart(reader: _Reader, jobs: Sequence[Job]) -> None:
    """Two jobs must not share a name, nor write into one another's directories."""
    for number, job in enumerate(jobs):
        for other in jobs[:number]:
            if job.name == other.name:
                reader.complain(f"jobs[{number}].name", f"{job.name!r} is taken")
            if job.destination.host != other.destination.host:
                continue
            for mine in (job.destination.directory, job.destination.control_directory):
                for theirs in (other.destination.directory, other.destination.control_directory):
                    if (mine + "/").startswith(theirs + "/") or (theirs + "/").startswith(
                        mine + "/"
                    ):
                        reader.complain(
                            f"jobs[{number}].destination",
                            f"{mine} and job {other.name!r}'s {theirs} lie in one another",
                        )
