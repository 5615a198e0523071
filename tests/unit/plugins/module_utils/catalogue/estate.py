# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""A small estate that is valid and holds one of everything, and ways to break it."""

from __future__ import annotations

import copy
from typing import Any

import yaml

B64 = "AAAAC3NzaC1lZDI1NTE5AAAAIJdJUs2aN4y2ZPRbaUdQxXJ0T1bXLSWDRb2gkqyvGCFM"
HOST_KEY = f"ssh-ed25519 {B64}"

TEXT = f"""
format: homelab.backup.catalogue/1
timezone: Europe/London
storage:
  truenas:
    address: 10.0.10.15
    pools:
      main:
        offsite: {{directory: /Backup/truenas}}
      ssd:
        offsite: {{directory: /Backup/ssd}}
nas:
  synology:
    address: 192.168.1.13
    user: backup
    host_keys: [{HOST_KEY}]
    key: {{vault: secret/me, key: nas_key}}
offsite:
  rpo: 6h
  excludes:
    - {{pattern: "iscsi/**", reason: Raw volumes}}
    - {{pattern: "prometheus/**", reason: Regenerable}}
    - {{pattern: "/prometheus-backup/**", reason: Too large}}
cluster:
  nodes:
    node1: {{address: 10.0.10.21, control_plane: true}}
    node2: {{address: 10.0.10.22}}
services:
  postgresql:
    title: PostgreSQL
    group: Databases
    owner: me
    storage: iscsi
    zvols: [main/iscsi/pg]
    kubernetes: {{namespace: dbaas, workloads: [statefulset/pg], endpoint: "pg.dbaas:5432"}}
    backup:
      engine: postgresql
      schedule: "0 0 * * *"
      directory: /mnt/main/dbaas-backups/postgresql
      credentials: {{kubernetes_secret: pg, key: password}}
      databases: [one, two]
    objective: {{rpo: 24h, rto: 5min}}
    alert: {{stale_after: 36h}}
  vault:
    owner: me
    storage: iscsi
    zvols: [main/iscsi/vault]
    kubernetes: {{namespace: vault, endpoint: "http://vault.vault:8200"}}
    backup:
      engine: vault
      schedule: "0 2 * * 0"
      directory: /mnt/main/vault-backup
      auth_role: backup
    depends_on: [postgresql]
  passwords:
    owner: me
    storage: iscsi
    zvols: [main/iscsi/passwords]
    kubernetes: {{namespace: passwords, pvcs: [data]}}
    backup:
      engine: vaultwarden
      schedule: "0 */6 * * *"
      integrity_check: "0 * * * *"
      source: /data
      directory: /mnt/main/passwords-backup
  prometheus:
    owner: me
    storage: nfs
    datasets: [main/prometheus]
    offsite: excluded
    kubernetes: {{namespace: monitoring, pvcs: [p], endpoint: "http://prometheus:9090"}}
    backup:
      engine: prometheus
      schedule: "0 4 * * 0"
      days_of_month: "1-7"
      directory: /mnt/main/prometheus-backup
    objective: {{rpo: 35d}}
  photos:
    owner: family
    storage: nfs
    datasets: [main/photos]
    objective: {{rpo: 12h}}
"""


class Delete:
    """Take the key away."""


DELETE = Delete()


def estate() -> dict[str, Any]:
    """The document, a new one each time."""
    document = yaml.safe_load(TEXT)
    assert isinstance(document, dict)
    return document


def changed(*changes: tuple[str, Any], base: dict[str, Any] | None = None) -> dict[str, Any]:
    """The document with values at dotted paths replaced; numbers are list indexes."""
    document = copy.deepcopy(base) if base is not None else estate()
    for path, given in changes:
        value = given if given is DELETE else copy.deepcopy(given)
        *way, last = path.split(".")
        target: Any = document
        for part in way:
            target = target[int(part)] if isinstance(target, list) else target.setdefault(part, {})
        if value is DELETE:
            del target[int(last) if isinstance(target, list) else last]
        elif isinstance(target, list):
            if int(last) == len(target):
                target.append(value)
            else:
                target[int(last)] = value
        else:
            target[last] = value
    return document
