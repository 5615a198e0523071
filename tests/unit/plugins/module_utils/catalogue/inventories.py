# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The shipped catalogues as Ansible's own variable loading and templating give them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.catalogue import parse
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.model import Catalogue
from ansible_collections.homelab.backup.plugins.plugin_utils._catalogue import plain

INVENTORIES = Path(__file__).resolve().parents[5] / "inventories"


def load_variables(name: str, host: str) -> dict[str, Any]:
    """The variables of a host: ``backup_catalogue`` and ``ansible_host``, templated."""
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(INVENTORIES / name)])
    manager = VariableManager(loader=loader, inventory=inventory)
    raw = manager.get_vars(host=inventory.get_host(host))
    templar = Templar(loader=loader, variables=raw)
    wanted = ("backup_catalogue", "ansible_host")
    return {key: plain(templar.template(raw[key])) for key in wanted if key in raw}


variables = functools.cache(load_variables)


def hosts(name: str) -> dict[str, list[str]]:
    """Group to hosts, as hosts.yml has them."""
    inventory = InventoryManager(loader=DataLoader(), sources=[str(INVENTORIES / name)])
    return {group: inventory.get_groups_dict()[group] for group in ("storage", "nas")} | {
        "k8s_nodes": inventory.get_groups_dict().get("k8s_nodes", [])
    }


@functools.cache
def catalogue(name: str) -> Catalogue:
    """The parsed catalogue of an inventory."""
    host = hosts(name)["storage"][0]
    return parse(variables(name, host)["backup_catalogue"])
