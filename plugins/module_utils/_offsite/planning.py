# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run would do, found out without changing anything, here or at the destination.

The comparison is with the newest snapshot of each dataset that there is; a run
takes new ones. It reads the index, and neither locks nor connects.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from ansible_collections.homelab.backup.plugins.module_utils._filter.patterns import (
    compile_patterns,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.bases import Bases
from ansible_collections.homelab.backup.plugins.module_utils._offsite.compare import Longest
from ansible_collections.homelab.backup.plugins.module_utils._offsite.detect import (
    Detection,
    Detector,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.extent import (
    PlannedChange,
    measure,
    planned_changes,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.guards import Extent
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import (
    Job,
    OffsitePolicy,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.run import (
    Ports,
    index_path,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.scope import (
    members_of,
    own_state_pattern,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.structure import settle
from ansible_collections.homelab.backup.plugins.module_utils._offsite.survey import Survey


@dataclass(frozen=True, slots=True)
class OffsitePlan:
    """What a run of the job would do.

    ``changes`` are sorted by path, ``problems`` name what could not be looked
    at, ``first`` is True when nothing was ever copied.
    """

    job: str
    changes: tuple[PlannedChange, ...]
    extent: Extent
    detection: tuple[Detection, ...]
    problems: tuple[str, ...]
    first: bool

    def __bool__(self) -> bool:
        return bool(self.changes)


def plan(policy: OffsitePolicy, job: Job, ports: Ports) -> OffsitePlan:
    """The plan of ``job`` now.

    Raises:
        BackupError: the pool or its snapshots can't be read.
    """
    with ExitStack() as stack:
        path = index_path(policy, job)
        first = not path.exists()
        index = Index(path, readonly=True)
        stack.callback(index.close)
        datasets = ports.zfs.datasets(job.root)
        patterns = [item.pattern for item in job.excludes]
        own = own_state_pattern(policy.state_dir, datasets, job.root)
        if own is not None:
            patterns.append(own)
        excludes = compile_patterns(patterns)
        scope = members_of(datasets, job.root, excludes.prunes_directory)
        problems = [f"{name}: its key is not loaded" for name in scope.locked]
        survey = Survey(
            index,
            scope,
            Bases(ports.zfs, job.name, job.root).all(),
            "",
            stack.enter_context(ports.mounts),
            excludes_changed=index.get("excludes") not in (None, excludes.fingerprint),
        )
        stack.callback(survey.close)
        detector = Detector(index, ports.streams, excludes, Longest(), job.limits.full_threshold)
        found = tuple(survey.detect(detector, problems.append))
        survey.plan_root()
        settle(index)
        changes = sorted(planned_changes(index), key=lambda item: (item.path, item.act))
        return OffsitePlan(job.name, tuple(changes), measure(index), found, tuple(problems), first)
