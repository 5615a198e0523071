# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Runs in the guest: what the stream and what a walk find between base and newest snapshot.

Arguments: the unpacked runner and the policy. Prints for each strategy the tables of the
comparison: names that came, names that went, and changed nodes with their attributes.
"""

import importlib
import json
import os
import sys
from pathlib import Path

PACKAGE = "ansible_collections.homelab.backup.plugins.module_utils"


def load(name):
    return importlib.import_module(f"{PACKAGE}.{name}")


def shown(value):
    return value.hex() if isinstance(value, bytes) else value


def find(policy, job, strategy):
    ports = load("_offsite.host").HostPorts(job, os.open(os.devnull, os.O_RDONLY))
    index = load("_offsite.index").Index(
        load("_offsite.run").index_path(policy, job), readonly=True
    )
    datasets = ports.zfs.datasets(job.root)
    own = load("_offsite.scope").own_state_pattern(policy.state_dir, datasets, job.root)
    excludes = load("_filter.patterns").compile_patterns([own])
    scope = load("_offsite.scope").members_of(datasets, job.root, excludes.prunes_directory)
    snapshots = load("_offsite.bases").Bases(ports.zfs, job.name, job.root).all()
    with ports.mounts as mounts:
        survey = load("_offsite.survey").Survey(
            index, scope, snapshots, "", mounts, forced=strategy
        )
        longest = load("_offsite.compare").Longest()
        detector = load("_offsite.detect").Detector(
            index, ports.streams, excludes, longest, job.limits.full_threshold
        )
        problems = []
        used = [item.strategy for item in survey.detect(detector, problems.append)]
        tables = {
            table: [
                [shown(value) for value in row]
                for row in index.db.execute(f"SELECT * FROM temp.{table} ORDER BY 1, 2")
            ]
            for table in ("came", "gone", "changed")
        }
        survey.close()
    index.close()
    return {"used": used, "problems": problems, **tables}


def main():
    sys.path.insert(0, sys.argv[1])
    load("_zfs.mounts").enter_mount_namespace()
    policy = load("_offsite.host").load_policy(Path(sys.argv[2]))
    job = policy.jobs[0]
    json.dump({name: find(policy, job, name) for name in ("stream", "walk")}, sys.stdout)


main()
