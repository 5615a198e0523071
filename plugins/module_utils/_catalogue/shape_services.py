# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section `services`: what is protected, and how."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.engines import (
    ENGINES,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Alert,
    AppBackup,
    Escrow,
    Objective,
    Service,
    Workload,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.network import endpoint
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
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.shape_backup import (
    BACKUP,
    cronjob_name,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.values import (
    Duration,
    absolute_path,
    alert_name,
    boolean,
    channel,
    choice,
    dataset_name,
    duration,
    image,
    inventory_name,
    plain_name,
    subdomain,
    text,
    whole,
    workload,
)


def offsite_layer(value: object) -> bool:
    """true, or the word excluded."""
    if value is True:
        return True
    if value in (False, "excluded"):
        return False
    return bool(choice("true", "excluded")(value) == "true")


KUBERNETES = Shape(
    "Place in the cluster",
    Workload,
    (
        Key("namespace", scalar(plain_name), "where it runs"),
        Key(
            "workloads",
            list_of(scalar(workload)),
            "what writes its data, as kind/name; stopped for a restore",
            default=(),
        ),
        Key("pvcs", list_of(scalar(subdomain)), "its volume claims", default=()),
        Key("endpoint", scalar(endpoint), "where it listens: host:port or a URL", default=""),
        Key("image", scalar(image), "the image with the engine's own tools", default=""),
        Key("uid", scalar(whole(0, 2**31 - 1)), "user id that reads its data", default=None),
        Key("gid", scalar(whole(0, 2**31 - 1)), "group id", default=None),
        Key(
            "service_account",
            scalar(subdomain),
            "of the backup pods",
            default="",
            default_text="one made for them, without rights",
        ),
    ),
)

OBJECTIVE = Shape(
    "Objective",
    Objective,
    (
        Key(
            "rpo",
            scalar(duration),
            "how much work may be lost",
            default=None,
            default_text="the longest time between two backups",
        ),
        Key("rto", scalar(duration), "how long a restore may take", default=Duration(30 * 60)),
    ),
)

ALERT = Shape(
    "Alert",
    Alert,
    (
        Key(
            "name",
            scalar(alert_name),
            "its name",
            default="",
            default_text="the title in CamelCase and BackupStale",
        ),
        Key(
            "stale_after",
            scalar(duration),
            "the backup is stale after this time",
            default=None,
            default_text="one and a half times the schedule's longest gap, at most a day more",
        ),
        Key(
            "channel",
            scalar(channel),
            "who hears of it",
            default="",
            default_text="`monitoring.channel`",
        ),
    ),
)

ESCROW = Shape(
    "Secret in escrow",
    Escrow,
    (
        Key("what", scalar(text), "which secret a restore needs (its name, not the secret)"),
        Key("kept", scalar(text), "where it is kept, outside the estate"),
    ),
)


def _service(
    name: str,
    title: str,
    group: str,
    owner: str,
    host: str,
    storage: Any,
    datasets: tuple[str, ...],
    zvols: tuple[str, ...],
    paths: tuple[str, ...],
    snapshots: bool,
    offsite: bool,
    backup: AppBackup | None,
    kubernetes: Workload | None,
    objective: Objective,
    depends_on: tuple[str, ...],
    alert: Alert,
    escrow: tuple[Escrow, ...],
) -> Service:
    service = Service(
        name,
        title or name,
        group,
        owner,
        host,
        storage,
        datasets,
        zvols,
        paths,
        snapshots,
        offsite,
        backup,
        kubernetes,
        objective,
        depends_on,
        alert,
        escrow,
    )
    _check_storage(service)
    _check_backup(service)
    return service


def _check_storage(service: Service) -> None:
    """Each storage kind has its live data in one key, and only in that one."""
    places = {"nfs": "datasets", "iscsi": "zvols", "local": "paths"}
    wanted = places[service.storage]
    if not getattr(service, wanted):
        raise InvalidError(f"storage {service.storage} needs {wanted!r}", f"add {wanted}")
    for key in places.values():
        if key != wanted and getattr(service, key):
            raise InvalidError(
                f"storage {service.storage} has its data in {wanted!r}, not in {key!r}",
                "correct storage, or move the entries",
            )
    if service.storage != "nfs" and service.backup is None:
        raise InvalidError(
            f"storage {service.storage} is opaque to the storage host and there is no 'backup'",
            "add backup, or list it under 'unprotected' with the reason",
        )


def _check_backup(service: Service) -> None:
    backup = service.backup
    if backup is None:
        return
    if service.kubernetes is None:
        raise InvalidError("it has 'backup' but no 'kubernetes'", "add where its CronJob runs")
    for key in ENGINES[backup.engine].needs_kubernetes:
        if not getattr(service.kubernetes, key):
            raise InvalidError(
                f"engine {backup.engine} needs kubernetes.{key}", f"add kubernetes.{key}"
            )
    for job in job_names(service):
        cronjob_name(job)


def job_names(service: Service) -> tuple[str, ...]:
    """The names of a service's CronJobs: the backup's, and the integrity check's if any."""
    if service.backup is None:
        return ()
    names = [service.backup.job or f"{service.name}-backup"]
    if service.backup.integrity_check is not None:
        names.append(f"{service.name}-integrity-check")
    return tuple(names)


SERVICE = Shape(
    "Service",
    _service,
    (
        Key("title", scalar(text), "its name for people", default="", default_text="its key"),
        Key("group", scalar(text), "heading in the protection matrix", default="Applications"),
        Key("owner", scalar(text), "who answers for it"),
        Key(
            "host",
            scalar(inventory_name),
            "the storage host",
            default="",
            default_text="the one that has its pools",
        ),
        Key("storage", scalar(choice("nfs", "iscsi", "local")), "where its live data lie"),
        Key("datasets", list_of(scalar(dataset_name)), "its file systems (nfs)", default=()),
        Key("zvols", list_of(scalar(dataset_name)), "its volumes (iscsi)", default=()),
        Key(
            "paths", list_of(scalar(absolute_path)), "its directories on nodes (local)", default=()
        ),
        Key("snapshots", scalar(boolean), "layer 1 covers it", default=True),
        Key(
            "offsite",
            scalar(offsite_layer),
            "layer 3 covers it: true or excluded",
            default=True,
        ),
        Key("backup", BACKUP, "layer 2", default=None, default_text="not needed"),
        Key("kubernetes", KUBERNETES, "its place in the cluster", default=None),
        Key("objective", OBJECTIVE, "what may be lost", default=OBJECTIVE({}, "", Problems())),
        Key(
            "depends_on",
            list_of(scalar(plain_name)),
            "services that must be restored before it",
            default=(),
        ),
        Key("alert", ALERT, "when it counts as stale", default=ALERT({}, "", Problems())),
        Key("escrow", list_of(ESCROW), "secrets that a restore needs", default=()),
    ),
    named=True,
)

SERVICES = map_of(plain_name, SERVICE)
