# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing the policy document, ``homelab.backup.snapshot-policy/1``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import ConfigError
from ansible_collections.homelab.backup.plugins.module_utils._core.formats import Format
from ansible_collections.homelab.backup.plugins.module_utils._schedule.cron import (
    CronSchedule,
    parse,
)
from ansible_collections.homelab.backup.plugins.module_utils._schedule.zones import load_zone
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.naming import (
    EXAMPLE,
    Naming,
    parse_naming,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import (
    Policy,
    Schedule,
    parse_lifetime,
)

POLICY_FORMAT = Format("snapshot-policy", 1)
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")
# zfs(8): a component begins with a letter or digit and has these characters.
DATASET = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*(/[A-Za-z0-9_.:][A-Za-z0-9_.: -]*)*\Z")
GLOB = re.compile(r"[^/@#\s]+(/[^/@#\s]+)*\Z")
REQUIRED = ("id", "datasets", "cron", "timezone", "naming", "lifetime")
OPTIONAL = ("recursive", "exclude", "keep_min", "enabled")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the key, what was found, what to write instead."""

    key: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key}: {self.found} -> {self.remedy}"


class PolicyError(ConfigError):
    """Everything that is wrong with a policy, at once."""

    def __init__(self, where: str, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        count = len(problems)
        super().__init__(
            "use the snapshot policy",
            on=where,
            found=f"{count} error{'' if count == 1 else 's'}:\n"
            + "\n".join(str(problem) for problem in problems),
            remedy="correct the keys named",
        )


def parse_policy(document: object, where: str) -> Policy:
    """The policy in ``document``.

    Args:
        document: the parsed JSON or YAML; see docs/snapshots.md for its shape.
        where: the file's or option's name, for errors.

    Raises:
        ConfigError: not this format, or too new.
        PolicyError: names each wrong key with its remedy.
    """
    POLICY_FORMAT.read_major(document, where)
    reader = Reader()
    content = document if isinstance(document, Mapping) else {}
    reader.unknown("", content, ("format", "schedules"))
    entries = content.get("schedules")
    schedules: list[tuple[str, Schedule]] = []
    if not isinstance(entries, list):
        reader.add("schedules", "it is not a list", "write a list of schedules, [] for none")
    else:
        for index, entry in enumerate(entries):
            key = f"schedules[{index}]"
            schedule = reader.schedule(key, entry)
            if schedule is not None:
                schedules.append((key, schedule))
    reader.conflicts(schedules)
    if reader.problems:
        raise PolicyError(where, tuple(reader.problems))
    return Policy(tuple(schedule for dummy_key, schedule in schedules))


def to_document(policy: Policy) -> dict[str, Any]:
    """The document of ``policy``, with every key written out; the inverse of parse_policy."""
    return {
        "format": POLICY_FORMAT.tag,
        "schedules": [
            {
                "id": one.id,
                "datasets": list(one.datasets),
                "recursive": one.recursive,
                "exclude": list(one.exclude),
                "cron": one.cron.text,
                "timezone": one.timezone,
                "naming": one.naming.pattern,
                "lifetime": one.lifetime,
                "keep_min": one.keep_min,
                "enabled": one.enabled,
            }
            for one in policy.schedules
        ],
    }


class Reader:
    """Reads schedules and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, key: str, found: str, remedy: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(key, found, remedy))

    def unknown(self, key: str, entry: Mapping[str, Any], known: tuple[str, ...]) -> None:
        """Note keys that nothing reads."""
        for name in entry:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, 1)
                remedy = f"did you mean {close[0]!r}?" if close else f"use {', '.join(known)}"
                self.add(f"{key}.{name}".lstrip("."), "no such key", remedy)

    def schedule(self, key: str, entry: object) -> Schedule | None:
        """The schedule in ``entry``, or None after noting what is wrong with it."""
        before = len(self.problems)
        if not isinstance(entry, Mapping):
            self.add(key, f"{entry!r} is not a mapping", f"give it {', '.join(REQUIRED)}")
            return None
        self.unknown(key, entry, REQUIRED + OPTIONAL)
        for name in REQUIRED:
            if entry.get(name) is None:
                self.add(f"{key}.{name}", "it is missing", f"every schedule needs {name!r}")
        recursive = self._flag(key, entry, "recursive", default=False)
        schedule = Schedule(
            id=self._id(key, entry),
            datasets=self._datasets(key, entry),
            recursive=recursive,
            exclude=self._exclude(key, entry, recursive),
            cron=self._cron(key, entry),
            timezone=self._timezone(key, entry),
            naming=self._naming(key, entry),
            lifetime=self._lifetime(key, entry),
            keep_min=self._keep_min(key, entry),
            enabled=self._flag(key, entry, "enabled", default=True),
        )
        if len(self.problems) > before:
            return None
        for root in schedule.datasets:
            if schedule.excludes(root):
                self.add(f"{key}.exclude", f"it excludes the root {root!r}", "take one of them out")
        return schedule

    def conflicts(self, schedules: list[tuple[str, Schedule]]) -> None:
        """Note ids that come twice and names that two schedules could both have made."""
        for index, (key, schedule) in enumerate(schedules):
            for other_key, other in schedules[:index]:
                if schedule.id == other.id:
                    remedy = "give each schedule an id of its own"
                    self.add(f"{key}.id", f"{schedule.id!r} is that of {other_key} too", remedy)
                if schedule.overlaps(other) and schedule.naming.may_equal(other.naming):
                    self.add(
                        f"{key}.naming",
                        f"names of {schedule.naming.pattern!r} could be those of schedule"
                        f" {other.id!r} ({other.naming.pattern!r}) on the same dataset",
                        "put the schedule's id into its naming, or let them cover other datasets",
                    )

    def _text(self, key: str, entry: Mapping[str, Any], name: str, remedy: str) -> str | None:
        value = entry.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            return value
        self.add(f"{key}.{name}", f"{value!r} is not a text", remedy)
        return None

    def _list(self, key: str, entry: Mapping[str, Any], name: str) -> list[str]:
        value = entry.get(name)
        if value is None:
            return []
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return list(value)
        self.add(f"{key}.{name}", f"{value!r} is not a list of texts", "write a list of names")
        return []

    def _flag(self, key: str, entry: Mapping[str, Any], name: str, *, default: bool) -> bool:
        value = entry.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.add(f"{key}.{name}", f"{value!r} is neither true nor false", "write true or false")
        return value is True

    def _id(self, key: str, entry: Mapping[str, Any]) -> str:
        remedy = "use letters, digits, '_' and '-', at most 63, such as '12h'"
        value = self._text(key, entry, "id", remedy)
        if value is not None and not ID.match(value):
            self.add(f"{key}.id", f"{value!r} is no id", remedy)
        return value or ""

    def _datasets(self, key: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
        names = self._list(key, entry, "datasets")
        if entry.get("datasets") == []:
            self.add(f"{key}.datasets", "it is empty", "name at least one dataset or pool")
        for name in names:
            if not DATASET.match(name):
                remedy = "write pool or pool/dataset, without a leading '/' and without '@'"
                self.add(f"{key}.datasets", f"{name!r} is no dataset name", remedy)
            elif names.count(name) > 1:
                self.add(f"{key}.datasets", f"{name!r} is there twice", "name it once")
        return tuple(names)

    def _exclude(self, key: str, entry: Mapping[str, Any], recursive: bool) -> tuple[str, ...]:
        globs = self._list(key, entry, "exclude")
        if globs and not recursive:
            remedy = "set 'recursive: true' or take the excludes out"
            self.add(f"{key}.exclude", "the schedule isn't recursive", remedy)
        for glob in globs:
            if not GLOB.match(glob):
                remedy = "write full dataset names, '*' for one level: 'main/*/tmp'"
                self.add(f"{key}.exclude", f"{glob!r} is no pattern for dataset names", remedy)
        return tuple(globs)

    def _cron(self, key: str, entry: Mapping[str, Any]) -> CronSchedule:
        value = self._text(key, entry, "cron", "write a cron line such as '0 */12 * * *'")
        if value is not None:
            try:
                return parse(value)
            except ConfigError as exc:
                self.add(f"{key}.cron", f"{value!r}: {exc.found}", exc.remedy)
        return parse("@daily")

    def _timezone(self, key: str, entry: Mapping[str, Any]) -> str:
        value = self._text(key, entry, "timezone", "write a name such as 'Europe/Vienna'")
        if value is not None:
            try:
                load_zone(value)
            except ConfigError as exc:
                self.add(f"{key}.timezone", f"{value!r}: {exc.found}", exc.remedy)
        return value or "UTC"

    def _naming(self, key: str, entry: Mapping[str, Any]) -> Naming:
        value = self._text(key, entry, "naming", EXAMPLE)
        if value is not None:
            try:
                return parse_naming(value)
            except ValueError as exc:
                self.add(f"{key}.naming", f"{value!r}: {exc}", EXAMPLE)
        return Naming("%Y%m%d%H%M")

    def _lifetime(self, key: str, entry: Mapping[str, Any]) -> str:
        value = entry.get("lifetime")
        if isinstance(value, int) and not isinstance(value, bool):
            value = f"{value}h"
        if value is not None:
            try:
                parse_lifetime(str(value))
            except ValueError as exc:
                remedy = "write '24h', '21d' or '3w', or a number of hours"
                self.add(f"{key}.lifetime", f"{entry.get('lifetime')!r}: {exc}", remedy)
        return str(value or "24h")

    def _keep_min(self, key: str, entry: Mapping[str, Any]) -> int:
        value = entry.get("keep_min")
        if value is None:
            return 1
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10000:
            remedy = "write a number from 1; the newest snapshot always stays"
            self.add(f"{key}.keep_min", f"{value!r} is not 1 to 10000", remedy)
            return 1
        return value
