# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time zones by their name in the IANA database."""

from __future__ import annotations

import datetime
import os
import zoneinfo
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError

LOCALTIME = Path("/etc/localtime")
TIMEZONE = Path("/etc/timezone")
COMPARED_DAYS = 3 * 366


def load_zone(name: str) -> zoneinfo.ZoneInfo:
    """The zone ``name`` ("Europe/Vienna"), from the host's /usr/share/zoneinfo.

    Raises:
        ConfigError: no zone of that name, or the host has no zone database.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as exc:
        if name != "UTC" and not any(Path(path, "UTC").exists() for path in zoneinfo.TZPATH):
            found = "this host has no time zone database"
            remedy = "install the package tzdata"
        else:
            found = "there is no time zone of that name"
            remedy = "use a name of the IANA database such as 'Europe/Vienna' or 'UTC'"
        raise ConfigError("find the time zone", on=repr(name), found=found, remedy=remedy) from exc


def host_zone(localtime: Path = LOCALTIME, timezone: Path = TIMEZONE) -> str:
    """The name of the zone that this host's cron uses; ``UTC`` when none is set (tzset(3)).

    /etc/localtime is a link into the zone database; where it is a copy,
    Debian's /etc/timezone has the name.
    """
    target = os.readlink(localtime) if localtime.is_symlink() else ""
    if "/zoneinfo/" in target:
        return target.partition("/zoneinfo/")[2]
    if timezone.is_file():
        return timezone.read_text(encoding="utf-8").strip() or "UTC"
    return "UTC"


def same_clock(one: str, other: str, since: int) -> bool:
    """True when both zones show the same time each noon and midnight for three years.

    So "UTC" is "Etc/UTC", and no wake-ups are needed for an alias.
    """
    if one == other:
        return True
    first, second = load_zone(one), load_zone(other)
    half_day = 43200
    start = since - since % half_day
    moments = range(start, start + COMPARED_DAYS * 2 * half_day, half_day)
    return all(_offset(moment, first) == _offset(moment, second) for moment in moments)


def _offset(epoch: int, zone: datetime.tzinfo) -> datetime.timedelta | None:
    return datetime.datetime.fromtimestamp(epoch, zone).utcoffset()
