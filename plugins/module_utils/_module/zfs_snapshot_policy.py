# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wiring of the module ``zfs_snapshot_policy``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import SystemClock
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import BackupError
from ansible_collections.homelab.backup.plugins.module_utils._core.process import (
    SubprocessCommands,
)
from ansible_collections.homelab.backup.plugins.module_utils._schedule.zones import host_zone
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.backend import (
    ZfsBackend,
    require_zfs_backend,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.converge import (
    Current,
    PolicyPlan,
    snapshot_line,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.document import (
    POLICY_FORMAT,
    parse_policy,
    to_document,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ownership import made
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.policy import Policy
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.ports import (
    SnapshotBackend,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.retention import Decision
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.store import (
    StateDirectory,
)
from ansible_collections.homelab.backup.plugins.module_utils._snapshots.timer import Paths
from ansible_collections.homelab.backup.plugins.module_utils._zfs.cli import ZfsCli
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Refusal


def run_module(module: AnsibleModule) -> NoReturn:
    """Read, plan, and outside of check mode apply; the same plan makes the diff."""
    try:
        desired = desired_policy(module.params, host_zone())
        backend = choose_backend(module.params, desired)
        current = backend.read()
        plan = backend.plan(current, desired)
        refused: tuple[Refusal, ...] = ()
        if plan and not module.check_mode:
            refused = backend.apply(plan)
    except BackupError as error:
        module.fail_json(msg=str(error), error=error.facts())
    except OSError as error:
        module.fail_json(msg=f"could not converge the snapshot policy: {error}")
    for warning in warnings(module.params, backend, current, desired):
        module.warn(warning)
    module.exit_json(**result(plan, refused, desired, check_mode=module.check_mode))


def desired_policy(params: Mapping[str, Any], default_zone: str) -> Policy | None:
    """The policy that the options describe; None for ``state: absent``.

    Raises:
        ConfigError: the options are wrong; names each key.
    """
    if params["state"] == "absent":
        return None
    if params["policy"] is not None:
        return parse_policy(params["policy"], "the option 'policy'")
    zone = params["timezone"] or default_zone
    entries = [{"timezone": zone, **given(entry)} for entry in params["schedules"]]
    document = {"format": POLICY_FORMAT.tag, "schedules": entries}
    return parse_policy(document, "the option 'schedules'")


def given(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of an option's entry that the user gave."""
    return {key: value for key, value in entry.items() if value is not None}


def choose_backend(params: Mapping[str, Any], desired: Policy | None) -> SnapshotBackend:
    """The backend for this host.

    Raises:
        ConfigError: it is a TrueNAS, whose backend isn't there yet.
    """
    require_zfs_backend(params["backend"])
    state = StateDirectory(Path(params["state_dir"]))
    return ZfsBackend(
        ZfsCli(SubprocessCommands()),
        SystemClock(),
        state=state,
        cron_file=Path(params["cron_file"]),
        paths=Paths(
            python=params["python"],
            runner=runner_path(params),
            state_directory=params["state_dir"],
            log=params["log"],
        ),
        host_zone=host_zone(),
        pools=desired.pools if desired else (),
        prune=params["prune"],
    )


def runner_path(params: Mapping[str, Any]) -> str:
    """Where the runner lies on the host."""
    return params["runner"] or f"{params['state_dir']}/bin/homelab-backup.pyz"


def warnings(
    params: Mapping[str, Any], backend: SnapshotBackend, current: Current, desired: Policy | None
) -> Iterator[str]:
    """What a user should know although nothing failed."""
    yield from backend.warnings
    yield from dict.fromkeys(current.clock.doubts(made(current.host), current.now).values())
    if desired is not None and not Path(runner_path(params)).exists():
        yield f"{runner_path(params)} is not there yet: no snapshot is taken until it is installed"


def result(
    plan: PolicyPlan, refused: Iterable[Refusal], desired: Policy | None, *, check_mode: bool
) -> dict[str, Any]:
    """The module's result."""
    kept = {refusal.snapshot: refusal.reason for refusal in refused}
    going = [*plan.doomed, *plan.announced]
    return {
        "changed": bool(plan),
        "changes": list(plan.sentences),
        "snapshots": [
            snapshot(one, destroyed=one in plan.doomed and not check_mode, kept=kept)
            for one in going
        ],
        "policy": to_document(desired) if desired else None,
        "diff": list(diffs(plan)),
    }


def snapshot(decision: Decision, *, destroyed: bool, kept: Mapping[str, str]) -> dict[str, Any]:
    """A snapshot that goes, for the result."""
    shot = decision.made.snapshot
    return {
        "name": shot.name,
        "schedule": decision.made.schedule,
        "reason": decision.reason,
        "used": shot.used,
        "destroyed": destroyed and shot.name not in kept,
        "refused": kept.get(shot.name, ""),
    }


def diffs(plan: PolicyPlan) -> Iterator[dict[str, str]]:
    """The plan as sections of a diff: files, then snapshots."""
    for one in plan.rewrites:
        yield {
            "before_header": one.path,
            "after_header": one.path,
            "before": one.before,
            "after": one.after,
        }
    titles = {
        "snapshots that go now": plan.doomed,
        "snapshots that go with the next run": plan.announced,
    }
    for title, decisions in titles.items():
        if decisions:
            lines = "".join(f"{snapshot_line(one)}\n" for one in decisions)
            yield {"before_header": title, "after_header": title, "before": lines, "after": ""}
