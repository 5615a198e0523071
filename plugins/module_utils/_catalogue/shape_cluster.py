# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections `cluster`, `monitoring`, `drills` and `unprotected`."""

from __future__ import annotations

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Cluster,
    Drills,
    Iscsi,
    Monitoring,
    Node,
    Unprotected,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.network import address
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
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape_common import secret
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.values import (
    Duration,
    boolean,
    channel,
    choice,
    cluster_cron,
    dataset_name,
    duration,
    image,
    inventory_name,
    plain_name,
    text,
    url,
    whole,
)
from ansible_collections.homelab.backup.plugins.module_utils._schedule.cron import parse

HOUR = 3600
DAY = 86400
# The spellings that open-iscsi knows; any other is refused or ignored (usr/idbm.c).
DIGESTS = choice("None", "CRC32C", "CRC32C,None", "None,CRC32C")
FOREVER = 2**31 - 1


def _iscsi(
    replacement_timeout: int,
    noop_out_interval: int,
    noop_out_timeout: int,
    header_digest: str,
    data_digest: str,
) -> Iscsi:
    if bool(noop_out_interval) != bool(noop_out_timeout):
        raise InvalidError(
            "one of noop_out_interval and noop_out_timeout is 0 and the other isn't",
            "set both or neither to 0: iscsid would take its defaults for both",
        )
    return Iscsi(
        replacement_timeout, noop_out_interval, noop_out_timeout, header_digest, data_digest
    )


ISCSI = Shape(
    "iSCSI initiators",
    _iscsi,
    (
        Key(
            "replacement_timeout",
            scalar(whole(1, FOREVER)),
            "seconds until a lost session fails its I/O",
            default=300,
        ),
        Key(
            "noop_out_interval", scalar(whole(0, FOREVER)), "seconds between keepalives", default=10
        ),
        Key(
            "noop_out_timeout",
            scalar(whole(0, FOREVER)),
            "seconds until a keepalive counts as lost",
            default=15,
        ),
        Key("header_digest", scalar(DIGESTS), "checksums of headers", default="CRC32C,None"),
        Key("data_digest", scalar(DIGESTS), "checksums of data", default="CRC32C,None"),
    ),
)

NODE = Shape(
    "Node",
    Node,
    (
        Key("address", scalar(address), "its IP address or host name"),
        Key("control_plane", scalar(boolean), "it carries etcd and the API server", default=False),
    ),
    named=True,
)

CLUSTER = Shape(
    "Kubernetes cluster",
    Cluster,
    (
        Key("name", scalar(plain_name), "its name, as it stands in manifests", default="homelab"),
        Key(
            "kubeconfig",
            secret,
            "reference to the credentials",
            default=None,
            default_text="the controller's own",
        ),
        Key(
            "field_manager",
            scalar(plain_name),
            "the field manager of what is applied",
            default="homelab-backup",
        ),
        Key(
            "runner_image",
            scalar(image),
            "the Python image that runs the runner in pods",
            default="python:3.13-slim",
        ),
        Key(
            "storage_host",
            scalar(inventory_name),
            "the storage host whose directories pods write to",
            default="",
            default_text="the only one",
        ),
        Key("nodes", map_of(inventory_name, NODE, at_least=1), "its nodes by inventory name"),
        Key(
            "iscsi", ISCSI, "settings of every node's initiator", default=ISCSI({}, "", Problems())
        ),
    ),
)

MONITORING = Shape(
    "Monitoring",
    Monitoring,
    (
        Key("pushgateway", scalar(url), "where runs push their metrics", default=""),
        Key("channel", scalar(channel), "who hears of stale backups", default="#infra-alerts"),
        Key(
            "critical_channel",
            scalar(channel),
            "who hears of what needs action at once",
            default="#infra-critical",
        ),
        Key(
            "offsite_stale_after",
            scalar(duration),
            "the offsite copy is stale after this time without a good run",
            default=Duration(8 * DAY),
        ),
        Key(
            "offsite_never_run_after",
            scalar(duration),
            "a job that never had a good run is reported after this time",
            default=Duration(48 * HOUR),
        ),
        Key(
            "offsite_failing_for",
            scalar(duration),
            "a failing job is reported after this time",
            default=Duration(6 * HOUR),
        ),
    ),
)

DRILLS = Shape(
    "Restore drills",
    Drills,
    (
        Key(
            "schedule",
            scalar(cluster_cron),
            "when a drill runs, one service each time",
            default=parse("0 5 * * *"),
            default_text="`0 5 * * *`",
        ),
        Key(
            "each_within",
            scalar(duration),
            "each service has had a drill within this time",
            default=Duration(14 * DAY),
        ),
        Key(
            "attended_within",
            scalar(duration),
            "drills that need a person's keys (Vault) are asked for after this time",
            default=Duration(90 * DAY),
        ),
        Key("namespace", scalar(plain_name), "of the throw-away targets", default="backup-drill"),
    ),
)

UNPROTECTED_ENTRY = Shape(
    "Left unprotected on purpose",
    Unprotected,
    (
        Key("reason", scalar(text), "why its loss is acceptable"),
        Key("datasets", list_of(scalar(dataset_name)), "its file systems", default=()),
        Key("zvols", list_of(scalar(dataset_name)), "its volumes", default=()),
    ),
    named=True,
)

UNPROTECTED = map_of(plain_name, UNPROTECTED_ENTRY)
