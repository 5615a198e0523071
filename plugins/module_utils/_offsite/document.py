# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The offsite policy as it is written, and what differs between two of them, in words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import (
    FORMAT,
    Job,
    OffsitePolicy,
)


def to_document(policy: OffsitePolicy) -> dict[str, Any]:
    """The document that :func:`policy.parse_policy` reads."""
    return {
        "format": FORMAT.tag,
        "host": policy.host,
        "state_dir": str(policy.state_dir),
        "log_file": str(policy.log_file),
        "jobs": [_job(job) for job in policy.jobs],
    }


def _job(job: Job) -> dict[str, Any]:
    fields = dataclasses.asdict(job)
    destination = fields["destination"]
    user, key_file = destination.pop("pruner_user"), destination.pop("pruner_key_file")
    destination["pruner"] = {"user": user, "key_file": key_file} if user else None
    fields["excludes"] = list(fields["excludes"])
    return fields


def changes(before: OffsitePolicy | None, after: OffsitePolicy | None) -> Iterator[str]:
    """The differences between two policies, one sentence each."""
    old = {job.name: job for job in before.jobs} if before else {}
    new = {job.name: job for job in after.jobs} if after else {}
    for name in [*new, *(name for name in old if name not in new)]:
        if name not in old:
            job = new[name]
            yield (
                f"job {name!r} is new: {job.root} to {job.destination.host}:"
                f"{job.destination.directory} at '{job.schedule.incremental}', everything compared "
                f"at '{job.schedule.reconcile}' ({job.schedule.timezone}), without "
                f"{', '.join(exclude.pattern for exclude in job.excludes) or 'any exclude'}"
            )
        elif name not in new:
            yield f"job {name!r} goes; its copy and its base snapshot stay"
        else:
            yield from _job_changes(name, _job(old[name]), _job(new[name]))


def _job_changes(name: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for key, value in new.items():
        if value == old[key]:
            continue
        if key == "excludes":
            was = {item["pattern"] for item in old[key]}
            now = {item["pattern"] for item in value}
            yield from (f"job {name!r}: excludes {item!r}" for item in sorted(now - was))
            yield from (f"job {name!r}: copies {item!r} again" for item in sorted(was - now))
        elif isinstance(value, dict):
            for part, setting in value.items():
                if setting != old[key][part]:
                    yield (
                        f"job {name!r}: {key}.{part} {json.dumps(old[key][part])} becomes "
                        f"{json.dumps(setting)}"
                    )
        else:
            yield f"job {name!r}: {key} {json.dumps(old[key])} becomes {json.dumps(value)}"
