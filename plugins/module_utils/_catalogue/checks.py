# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a catalogue's entries mean together.

Each check looks at entries that were read without a problem; what depends on a
section with problems is checked once those are mended, so that one mistake
isn't reported twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.check_objectives import (
    check_objectives,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.check_offsite import (
    check_destinations,
    check_layer_3,
    check_nas,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.check_services import (
    check_alerts,
    check_dependencies,
    check_jobs,
    check_rhythms,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.check_snapshots import (
    check_layer_1,
    check_snapshot_datasets,
    read_policies,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.check_storage import (
    check_directories,
    check_places,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import (
    Catalogue,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    Problems,
    one_of,
)


def check_together(catalogue: Catalogue, document: Mapping[str, Any], problems: Problems) -> None:
    """Note every problem between entries of ``catalogue``.

    Args:
        catalogue: the entries that could be read.
        document: what they were read from, for the names of those that could not.
        problems: where to note them.
    """
    storage_is_read = not problems.under("storage")
    snapshots_are_read = storage_is_read and not problems.under("snapshots")
    offsite_is_read = storage_is_read and not problems.under("offsite")
    nas_is_read = not problems.under("nas")
    check_dependencies(catalogue, _names(document, "services"), problems)
    check_jobs(catalogue, problems)
    check_alerts(catalogue, problems)
    check_inventory_names(catalogue, problems)
    check_rhythms(catalogue, problems)
    if storage_is_read:
        check_places(catalogue, problems)
        check_directories(catalogue, problems)
        check_cluster(catalogue, problems)
        check_destinations(catalogue, problems)
    if storage_is_read and offsite_is_read and nas_is_read:
        check_nas(catalogue, problems)
    if snapshots_are_read:
        check_snapshot_datasets(catalogue, problems)
        policies = read_policies(catalogue, problems)
        check_layer_1(catalogue, policies, problems)
        check_objectives(catalogue, policies, problems)
    if offsite_is_read:
        check_layer_3(catalogue, problems)


def _names(document: Mapping[str, Any], section: str) -> list[str]:
    entries = document.get(section)
    return [str(name) for name in entries] if isinstance(entries, Mapping) else []


def check_inventory_names(catalogue: Catalogue, problems: Problems) -> None:
    """An inventory name stands for one machine."""
    nodes = catalogue.cluster.nodes if catalogue.cluster else {}
    sections = {"storage": catalogue.storage, "nas": catalogue.nas, "cluster.nodes": nodes}
    owners: dict[str, str] = {}
    for section, entries in sections.items():
        for name in entries:
            other = owners.setdefault(name, section)
            if other != section:
                problems.add(
                    f"{section}.{name}",
                    f"the name stands under {other!r} already",
                    "give each machine a name of its own",
                )


def check_cluster(catalogue: Catalogue, problems: Problems) -> None:
    """The cluster's storage host is known; backups in it have a cluster."""
    cluster = catalogue.cluster
    if cluster is not None:
        if cluster.storage_host and cluster.storage_host not in catalogue.storage:
            problems.add(
                "cluster.storage_host",
                f"there is no storage host {cluster.storage_host!r}",
                one_of(sorted(catalogue.storage), cluster.storage_host),
            )
        elif not cluster.storage_host and len(catalogue.storage) > 1:
            problems.add(
                "cluster.storage_host",
                "there are several storage hosts",
                f"say which pods write to: {', '.join(sorted(catalogue.storage))}",
            )
    if cluster is None and not problems.under("cluster"):
        for service in catalogue.services.values():
            if service.kubernetes is not None:
                problems.add(
                    f"services.{service.name}.kubernetes",
                    "there is no section 'cluster'",
                    "add the cluster with its nodes",
                )
