# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key `backup` of a service: layer 2."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.engines import (
    ENGINES,
    SPECIAL_KEYS,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    AppBackup,
    Keep,
    Tls,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    InvalidError,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape import (
    Key,
    Shape,
    list_of,
    scalar,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape_common import secret
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.values import (
    Duration,
    absolute_path,
    boolean,
    choice,
    cluster_cron,
    database_name,
    days_of_month,
    duration,
    plain_name,
    share,
    size,
    time_zone,
    user_name,
    whole,
)

MIB = 1024**2
# A CronJob's name: its Jobs get 11 characters more and a name has at most 63
# (kubernetes/api batch/v1, validation of CronJob).
LONGEST_CRONJOB = 52
ALL_DAYS = tuple(range(1, 32))


def cronjob_name(value: object) -> str:
    """The name of a CronJob."""
    name = plain_name(value)
    if len(name) > LONGEST_CRONJOB:
        raise InvalidError(
            f"{name!r} has {len(name)} characters, a CronJob's name has at most {LONGEST_CRONJOB}",
            "shorten it",
        )
    return name


def _keep(age: Duration | None, copies: int | None, minimum: int) -> Keep:
    if (age is None) == (copies is None):
        raise InvalidError("it needs one of age and copies", "write {age: 14d} or {copies: 2}")
    return Keep(age, copies, min(minimum, copies or minimum))


KEEP = Shape(
    "Retention of sets",
    _keep,
    (
        Key("age", scalar(duration), "sets stay until they are this old", default=None),
        Key("copies", scalar(whole(1, 10000)), "this many sets stay", default=None),
        Key(
            "minimum",
            scalar(whole(1, 10000)),
            "verified sets that always stay, however old",
            default=3,
            default_text="3, or `copies` where that is less",
        ),
    ),
)

TLS = Shape(
    "Client TLS",
    Tls,
    (
        Key("ca", secret, "reference to the authority's certificate"),
        Key("certificate", secret, "reference to the client's certificate"),
        Key("key", secret, "reference to the client's key"),
    ),
)


def _backup(**values: Any) -> AppBackup:
    engine = values["engine"]
    known = ENGINES[engine]
    for key in known.needs:
        if not values[key]:
            raise InvalidError(f"engine {engine} needs {key!r}", f"add {key}")
    for key in SPECIAL_KEYS:
        if values[key] and key not in (*known.needs, *known.may):
            raise InvalidError(f"engine {engine} knows no {key!r}", "remove it")
    return AppBackup(**values)


BACKUP = Shape(
    "Application backup",
    _backup,
    (
        Key("engine", scalar(choice(*ENGINES)), "the kind of data source"),
        Key("schedule", scalar(cluster_cron), "when, as a cron line"),
        Key(
            "days_of_month",
            scalar(days_of_month),
            "only on these days; with a weekly schedule, `1-7` is the first such day of a month",
            default=ALL_DAYS,
            default_text="all",
        ),
        Key("timezone", scalar(time_zone), "of `schedule`", default="", default_text="`timezone`"),
        Key("directory", scalar(absolute_path), "where its sets lie, on the storage host"),
        Key(
            "keep",
            KEEP,
            "which sets stay",
            default=None,
            default_text="SQL databases 14 days, Prometheus 2 copies, others 30 days",
        ),
        Key("databases", list_of(scalar(database_name)), "those expected (SQL)", default=()),
        Key(
            "source",
            scalar(absolute_path),
            "in the volume: the database file (sqlite), the data directory (vaultwarden)",
            default="",
        ),
        Key("user", scalar(user_name), "who logs in", default="", default_text="the engine's own"),
        Key("credentials", secret, "reference to the password", default=None),
        Key("auth_role", scalar(plain_name), "the Kubernetes-auth role (vault)", default=""),
        Key("tls", TLS, "client certificates (etcd and others)", default=None),
        Key(
            "integrity_check",
            scalar(cluster_cron),
            "when the live database is checked (sqlite, vaultwarden)",
            default=None,
            default_text="only with each backup",
        ),
        Key("min_size", scalar(size), "a set smaller than this is refused", default=1),
        Key(
            "max_drop",
            scalar(share),
            "a set that is smaller than the median of the last ones by more than this is suspect",
            default=0.5,
        ),
        Key("deadline", scalar(duration), "a run is ended after this time", default=Duration(3600)),
        Key(
            "memory",
            scalar(size),
            "memory limit of the pod",
            default=512 * MIB,
            default_text="512MiB",
        ),
        Key(
            "job",
            scalar(cronjob_name),
            "the CronJob's name",
            default="",
            default_text="`<service>-backup`",
        ),
        Key("suspended", scalar(boolean), "the CronJob is there and doesn't run", default=False),
    ),
)
