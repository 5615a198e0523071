# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections `nas` and `offsite`: layer 3."""

from __future__ import annotations

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Bulk,
    Limits,
    Nas,
    Offsite,
    Pruner,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.network import (
    address,
    host_key,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    InvalidError,
    Problems,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape import (
    Key,
    Shape,
    list_of,
    map_of,
    scalar,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape_common import (
    excludes,
    secret,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.values import (
    Duration,
    absolute_path,
    boolean,
    choice,
    cron,
    duration,
    inventory_name,
    share,
    size,
    time_zone,
    user_name,
    whole,
    whole_days,
)
from ansible_collections.homelab.backup.plugins.module_utils._schedule.cron import parse

MIB = 1024**2
GIB = 1024**3
DAY = 86400


def _pruner(run_key: bool, user: str, key_file: str) -> Pruner:
    if run_key and (user or key_file):
        raise InvalidError("run_key: true and a user or key_file of its own", "choose one of them")
    if not run_key and not (user and key_file):
        raise InvalidError("it needs both user and key_file", "give both, or run_key: true")
    return Pruner(run_key, user, key_file)


PRUNER = Shape(
    "Pruner",
    _pruner,
    (
        Key("user", scalar(user_name), "a user at the NAS that may remove versions", default=""),
        Key("key_file", scalar(absolute_path), "its private key, where pruning runs", default=""),
        Key(
            "run_key",
            scalar(boolean),
            "prune with the run's own key; reported in each run, because then a stolen key can "
            "remove versions",
            default=False,
        ),
    ),
)

NAS = Shape(
    "NAS",
    Nas,
    (
        Key("address", scalar(address), "its IP address or host name"),
        Key("port", scalar(whole(1, 65535)), "of its SFTP service", default=22),
        Key("user", scalar(user_name), "the user that the copy logs in as"),
        Key(
            "host_keys",
            list_of(scalar(host_key)),
            "its pinned host keys, one `type key` a line; a run refuses any other",
            default=(),
            default_text="none: no run starts until one is pinned",
        ),
        Key(
            "key",
            secret,
            "reference to the private key to put at `key_file` of the storage host",
            default=None,
            default_text="the storage host makes its own key, which never leaves it",
        ),
        Key(
            "pruner",
            PRUNER,
            "what removes old versions",
            default=None,
            default_text="nothing: versions stay until someone prunes",
        ),
    ),
    named=True,
)

LIMITS = Shape(
    "Limits of an offsite run",
    Limits,
    (
        Key(
            "max_changed_share",
            scalar(share),
            "stop before anything is applied when more than this share of the files changed or "
            "went (ransomware, wrong mount, empty pool)",
            default=0.3,
        ),
        Key(
            "min_guard_files",
            scalar(whole(0, 10**9)),
            "the guard looks only at changes of more files than this",
            default=1000,
        ),
        Key(
            "full_threshold",
            scalar(whole(1, 10**9)),
            "more changes than this are handled as a full comparison",
            default=100_000,
        ),
        Key(
            "versions_kept",
            scalar(whole_days),
            "how long replaced and deleted files stay",
            default=Duration(30 * DAY),
        ),
        Key(
            "read_back_within",
            scalar(whole_days),
            "every remote file is read and compared within this time",
            default=Duration(90 * DAY),
        ),
        Key(
            "free_space_reserve",
            scalar(size),
            "bytes that stay free at the NAS",
            default=GIB,
            default_text="1GiB",
        ),
    ),
)

BULK = Shape(
    "Transport of the bulk",
    Bulk,
    (
        Key(
            "program",
            scalar(choice("sftp", "rclone")),
            "what uploads large files: the runner itself, or rclone",
            default="sftp",
        ),
        Key(
            "rclone",
            scalar(absolute_path),
            "the rclone binary on the storage host, if it is used",
            default="",
            default_text="`<state_directory>/bin/rclone`",
        ),
        Key(
            "threshold",
            scalar(size),
            "files of at least this size count as large",
            default=64 * MIB,
            default_text="64MiB",
        ),
        Key("transfers", scalar(whole(1, 64)), "files in transfer at once", default=4),
    ),
)

OFFSITE = Shape(
    "Offsite copy",
    Offsite,
    (
        Key(
            "nas",
            scalar(inventory_name),
            "the NAS that pools are copied to",
            default="",
            default_text="the only one",
        ),
        Key(
            "schedule",
            scalar(cron),
            "when the incremental copy runs",
            default=parse("0 */6 * * *"),
            default_text="`0 */6 * * *`",
        ),
        Key(
            "reconcile",
            scalar(cron),
            "when the remote is listed and compared as a whole",
            default=parse("0 9 * * 0"),
            default_text="`0 9 * * 0`",
        ),
        Key(
            "timezone",
            scalar(time_zone),
            "of both schedules",
            default="",
            default_text="`timezone`",
        ),
        Key(
            "rpo",
            scalar(duration),
            "objective: how old the newest copied snapshot may be",
            default=None,
            default_text="the longest time between two runs",
        ),
        Key(
            "log_file",
            scalar(absolute_path),
            "the log on the storage host, bounded in size",
            default="/var/log/cloudsync-copy.log",
        ),
        Key("excludes", excludes, "what is not copied, for all pools", default=()),
        Key("limits", LIMITS, "guards and windows", default=LIMITS({}, "", Problems())),
        Key("bulk", BULK, "transport", default=BULK({}, "", Problems())),
    ),
)

NAS_SECTION = map_of(inventory_name, NAS)
