# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single values of a catalogue. Each function reads one or raises :class:`InvalidError`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    InvalidError,
    one_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.secrecy import shown
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._schedule.cron import (
    CronSchedule,
    parse,
)
from ansible_collections.homelab.backup.plugins.module_utils._schedule.zones import load_zone
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.naming import (
    EXAMPLE,
    parse_naming,
)

UNIT_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
UNIT_NAMES = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "week", "weeks"), "w"),
}
SIZE_UNITS: dict[str, int] = {
    "B": 1,
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", start=1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", start=1)},
}


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time; equal and ordered by its seconds."""

    seconds: int
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        """As it was written, or in the largest unit that gives a whole number."""
        if self.text:
            return self.text
        for unit in ("w", "d", "h", "min"):
            if self.seconds % UNIT_SECONDS[unit] == 0:
                return f"{self.seconds // UNIT_SECONDS[unit]}{unit}"
        return f"{self.seconds}s"


def _matching(pattern: str, what: str, remedy: str, longest: int = 255) -> Callable[[object], str]:
    """A reader of text that matches the whole of ``pattern``."""
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        content = text(value)
        if len(content) > longest:
            raise InvalidError(
                f"{shown(content)} has {len(content)} characters", f"use at most {longest}"
            )
        if not compiled.fullmatch(content):
            raise InvalidError(f"{shown(content)} is not {what}", remedy)
        return content

    return read


def text(value: object) -> str:
    """One line of text that isn't empty."""
    if not isinstance(value, str):
        raise InvalidError(f"{shown(value)} is not text", "put it in quotes")
    if not value.strip():
        raise InvalidError("the text is empty", "write it, or leave out the key")
    if not value.strip().isprintable():
        raise InvalidError(
            "the text holds a line break or another control character", "use one line"
        )
    return value.strip()


def boolean(value: object) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise InvalidError(f"{shown(value)} is not true or false", "write true or false, unquoted")
    return value


def whole(low: int, high: int) -> Callable[[object], int]:
    """A reader of a whole number from ``low`` to ``high``."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidError(
                f"{shown(value)} is not a whole number", f"use {low} to {high}, unquoted"
            )
        if not low <= value <= high:
            raise InvalidError(f"{value} is out of range", f"use {low} to {high}")
        return int(value)

    return read


def share(value: object) -> float:
    """A share above 0 and up to 1, as ``0.3`` or ``30%``."""
    remedy = "use a share like 0.3 or 30%"
    number = value
    if isinstance(value, str) and re.fullmatch(r"\d{1,3}(\.\d+)?\s*%", value.strip()):
        number = float(value.strip()[:-1]) / 100
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise InvalidError(f"{shown(value)} is not a share", remedy)
    if not 0 < number <= 1:
        raise InvalidError(f"{shown(value)} is not above 0 and up to 1 (100%)", remedy)
    return float(number)


def duration(value: object) -> Duration:
    """A length of time, as ``24h``, ``3 weeks``, ``15min``."""
    remedy = "write number and unit: 30s, 15min, 24h, 14d, 3w"
    if not isinstance(value, str):
        raise InvalidError(f"{shown(value)} has no unit", remedy)
    found = re.fullmatch(r"(\d{1,9})\s*([a-z]+)", value.strip())
    unit = UNIT_NAMES.get(found[2]) if found else None
    if not found or not unit:
        raise InvalidError(f"{shown(value)} is not a duration", remedy)
    seconds = int(found[1]) * UNIT_SECONDS[unit]
    if seconds == 0:
        raise InvalidError("the duration is zero", remedy)
    return Duration(seconds, f"{int(found[1])}{unit}")


def lifetime(value: object) -> Duration:
    """How long a snapshot stays: whole hours, days or weeks."""
    found = duration(value)
    if found.seconds % UNIT_SECONDS["h"]:
        raise InvalidError(f"{shown(value)} is not a whole number of hours", "write 24h, 14d or 3w")
    return found if found.text.endswith(("h", "d", "w")) else Duration(found.seconds)


def whole_days(value: object) -> Duration:
    """A length of time of whole days."""
    found = duration(value)
    if found.seconds % UNIT_SECONDS["d"]:
        raise InvalidError(f"{shown(value)} is not a whole number of days", "write 30d or 4w")
    return found


def size(value: object) -> int:
    """A number of bytes, as ``10GiB``, ``500 MB`` or a plain number of bytes."""
    remedy = f"write number and unit ({', '.join(SIZE_UNITS)}), as 10GiB"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return int(value)
    found = (
        re.fullmatch(r"(\d{1,15})\s*([A-Za-z]+)", value.strip()) if isinstance(value, str) else None
    )
    factor = SIZE_UNITS.get(found[2].replace("KB", "kB")) if found else None
    if not found or not factor:
        raise InvalidError(f"{shown(value)} is not a size", remedy)
    return int(found[1]) * factor


def choice(*words: str) -> Callable[[object], str]:
    """A reader of one of ``words``."""

    def read(value: object) -> str:
        if value not in words:
            meant = one_of(words, value if isinstance(value, str) else "")
            raise InvalidError(f"{shown(value)} is not known here", meant)
        return str(value)

    return read


def time_zone(value: object) -> str:
    """A name of the IANA time zone database, as ``Europe/London``."""
    name = text(value)
    try:
        load_zone(name)
    except ConfigError as exc:
        raise InvalidError(f"{shown(name)}: {exc.found}", exc.remedy) from exc
    return name


def cron(value: object) -> CronSchedule:
    """A cron line."""
    if not isinstance(value, str):
        raise InvalidError(f"{shown(value)} is not a cron line", "put it in quotes: '0 */6 * * *'")
    try:
        return parse(value)
    except ConfigError as exc:
        raise InvalidError(f"{shown(value)} is not a cron line: {exc.found}", exc.remedy) from exc


def cluster_cron(value: object) -> CronSchedule:
    """A cron line that means the same to cron and to Kubernetes.

    Both run a line whose two day fields are restricted when either matches.
    They differ on what counts as restricted: to cron a field that begins with
    ``*`` never is (crontab(5)), to Kubernetes ``*/7`` is (robfig/cron, getRange
    drops the star bit when the step exceeds 1). "The first Sunday" can't be
    written as a line, so it has a key of its own.
    """
    schedule = cron(value)
    fields = schedule.text.split(" ")
    if len(fields) == 5 and "*" not in (fields[2], fields[4]):
        raise InvalidError(
            f"{shown(value)} restricts both day-of-month and day-of-week, and runs when either "
            "matches",
            "for the first Sunday write '0 4 * * 0' and beside it days_of_month: 1-7",
        )
    return schedule


def days_of_month(value: object) -> tuple[int, ...]:
    """Days of the month as in a cron line, ``1-7``."""
    line = str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value)
    try:
        return parse(f"0 0 {line} * *").days
    except ConfigError as exc:
        raise InvalidError(f"{shown(value)} is not a list of days", "write it like 1-7") from exc


def absolute_path(value: object) -> str:
    """An absolute path without ``.``, ``..`` and doubled slashes; a final slash is dropped."""
    path = text(value)
    if not path.startswith("/"):
        raise InvalidError(f"{shown(path)} is not an absolute path", "begin it with '/'")
    trimmed = path.rstrip("/")
    parts = trimmed.split("/")[1:]
    if not trimmed:
        raise InvalidError("'/' is the whole file system", "name a directory in it")
    if any(part in ("", ".", "..") for part in parts):
        raise InvalidError(
            f"{shown(path)} holds an empty part, '.' or '..'", "write the plain path"
        )
    return trimmed


POOL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*")
DATASET_PART = re.compile(r"[A-Za-z0-9_.:-][A-Za-z0-9_.: -]*")
RESERVED_POOLS = re.compile(r"(?:mirror|raidz|draid|spare).*|log|c[0-9].*")


def pool_name(value: object) -> str:
    """The name of a pool, by the rules of zpool-create(8)."""
    name = text(value)
    if not POOL_NAME.fullmatch(name) or RESERVED_POOLS.fullmatch(name) or len(name) > 255:
        raise InvalidError(
            f"{shown(name)} can't be a pool's name",
            "begin with a letter; use letters, digits, '_', '-', '.', ':'; "
            "mirror…, raidz…, draid…, spare… and log are ZFS' own words",
        )
    return name


def dataset_name(value: object) -> str:
    """The full name of a dataset or volume, by the rules of zfs(8) and zpool-create(8)."""
    name = text(value)
    pool, *rest = name.split("/")
    if name.startswith("/"):
        raise InvalidError(f"{shown(name)} is a path", "write the dataset's name, as main/photos")
    if "@" in name or "#" in name:
        raise InvalidError(f"{shown(name)} is a snapshot or bookmark", "name the dataset alone")
    pool_name(pool)
    if len(name) > 255 or not all(DATASET_PART.fullmatch(part) for part in rest):
        raise InvalidError(
            f"{shown(name)} is not a dataset's name",
            "write pool/dataset with letters, digits, '_', '-', '.', ':', at most 255 in all",
        )
    return name


def snapshot_naming(value: object) -> str:
    """A strftime pattern for snapshots' names that can be read back."""
    pattern = text(value)
    try:
        return parse_naming(pattern).pattern
    except ValueError as exc:
        raise InvalidError(f"{shown(pattern)}: {exc}", EXAMPLE) from exc


schedule_id = _matching(
    r"[A-Za-z0-9][A-Za-z0-9_-]*",
    "a schedule's name",
    "use letters, digits, '_' and '-'",
    longest=63,
)
plain_name = _matching(
    r"[a-z0-9]([a-z0-9-]*[a-z0-9])?",
    "a plain name",
    "use lower-case letters, digits and '-', beginning and ending with a letter or digit",
    longest=63,
)
inventory_name = _matching(
    r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?",
    "an inventory host's name",
    "write it as in hosts.yml",
)
user_name = _matching(
    r"[A-Za-z_][A-Za-z0-9_.-]*\$?",
    "a user's name",
    "use letters, digits, '_', '-', '.'",
    longest=64,
)
workload = _matching(
    r"[a-z][a-z0-9.-]*/[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
    "a workload",
    "write kind/name, as deployment/nextcloud or statefulset/vault",
)
subdomain = _matching(
    r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
    "a Kubernetes name (RFC 1123 subdomain)",
    "use lower-case letters, digits, '-' and '.'",
    longest=253,
)
image = _matching(
    r"[a-z0-9][A-Za-z0-9._/:@-]*", "an image reference", "write it as registry/name:tag"
)
database_name = _matching(
    r"[^\0/\\'\"`]+",
    "a database's name that a file can bear",
    "leave out slashes, backslashes and quotes",
    longest=64,
)
vault_path = _matching(
    r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*",
    "a Vault path",
    "write it as secret/team/name, no leading '/'",
)
url = _matching(
    r"https?://[A-Za-z0-9.\[\]:_-]+(/\S*)?",
    "an http or https address",
    "write it as http://host:9091",
)
channel = _matching(r"#[A-Za-z0-9_-]+", "a channel", "write it in quotes, as '#infra-alerts'")
alert_name = _matching(
    r"[A-Z][A-Za-z0-9]*", "an alert's name", "use CamelCase, as VaultBackupStale"
)
