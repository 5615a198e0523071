# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``zfs_incremental_sync``: converge a host's offsite policy and timer, run jobs."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    ConfigError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.files import (
    canonical_json,
    read_json,
    write_atomically,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import (
    human_bytes,
    printable,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.document import (
    changes,
    to_document,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.host import (
    HostPorts,
    job_lock,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.planning import (
    OffsitePlan,
    plan,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import (
    Job,
    OffsitePolicy,
    parse_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.run import (
    MODES,
    OffsiteRun,
    Options,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.timer import (
    RunnerPaths,
    render,
)
from ansible_collections.homelab.backup.plugins.module_utils._schedule.zones import host_zone
from ansible_collections.homelab.backup.plugins.module_utils._zfs.mounts import (
    enter_mount_namespace,
)

# A diff names so many files; the result counts all of them.
NAMED_CHANGES = 500

ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "state_dir": {"type": "path", "required": True},
    "policy": {"type": "dict"},
    "timer": {"type": "path", "default": "/etc/cron.d/homelab-backup-offsite"},
    "runner": {"type": "path"},
    "python": {"type": "path", "default": "/usr/bin/python3"},
    "run": {"type": "str", "choices": ["none", *MODES], "default": "none"},
    "jobs": {"type": "list", "elements": "str", "default": []},
    "accept": {"type": "str"},
}


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A file's content before and after; empty for no file."""

    path: Path
    before: str
    after: str


class Silent:
    """A module shows no progress; its result says what was done."""

    def step(self, text: str) -> None:
        """See :class:`run.Progress`."""

    def sent(self, files: int, size: int) -> None:
        """See :class:`run.Progress`."""


def run_module() -> NoReturn:
    """Converge, then plan or run the jobs."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = _Work(module).result()
    except BackupError as error:
        module.fail_json(msg=str(error), error=error.facts())
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


class _Work:
    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._options: dict[str, Any] = module.params
        self._state_dir = Path(self._options["state_dir"])
        self._policy_file = self._state_dir / "etc" / "offsite.json"

    def result(self) -> dict[str, Any]:
        present = self._options["state"] == "present"
        before = self._current()
        after = self._desired(before) if present else None
        rewrites = self._rewrites(after)
        sentences = list(changes(before, after))
        if not self._module.check_mode:
            self._apply(rewrites)
        result: dict[str, Any] = {
            "changed": bool(rewrites),
            "changes": sentences,
            "policy_file": str(self._policy_file),
        }
        diff = self._diffs(rewrites, sentences)
        if after is not None and self._options["run"] != "none":
            self._jobs(after, result, diff)
        if self._module._diff:
            result["diff"] = diff
        return result

    def _diffs(self, rewrites: list[Rewrite], sentences: list[str]) -> list[dict[str, str]]:
        """The policy in sentences, which say all that its JSON would; other files as they are."""
        diff = []
        if sentences:
            diff.append({"prepared": "".join(f"{sentence}\n" for sentence in sentences)})
        for item in rewrites:
            if item.path == self._policy_file and sentences:
                continue
            diff.append(
                {
                    "before_header": str(item.path) if item.before else "(no file)",
                    "after_header": str(item.path) if item.after else "(no file)",
                    "before": item.before,
                    "after": item.after,
                }
            )
        return diff

    def _current(self) -> OffsitePolicy | None:
        """The policy on the host; an unreadable one counts as none when a new one is given."""
        if not self._policy_file.exists():
            return None
        try:
            return parse_policy(read_json(self._policy_file), str(self._policy_file))
        except ConfigError:
            if self._options["policy"] is None and self._options["state"] == "present":
                raise
            return None

    def _desired(self, current: OffsitePolicy | None) -> OffsitePolicy:
        given = self._options["policy"]
        if given is not None:
            desired = parse_policy(given, "option 'policy'")
            if desired.state_dir != self._state_dir:
                raise ConfigError(
                    "use the offsite policy",
                    on="option 'policy'",
                    found=f"its state_dir is {desired.state_dir}, not {self._state_dir}",
                    remedy="give the same directory in both",
                )
            return desired
        if current is None:
            raise ConfigError(
                "use the offsite policy",
                on=str(self._policy_file),
                found="it does not exist and the option 'policy' is not given",
                remedy="give the option 'policy' once",
            )
        return current

    def _rewrites(self, desired: OffsitePolicy | None) -> list[Rewrite]:
        timer = Path(self._options["timer"])
        policy_text = timer_text = ""
        if desired is not None:
            policy_text = canonical_json(to_document(desired)).decode("utf-8")
            runner = self._options["runner"] or str(self._state_dir / "bin" / "homelab-backup.pyz")
            paths = RunnerPaths(
                self._options["python"], runner, str(self._policy_file), str(desired.log_file)
            )
            timer_text = render(desired, paths, host_zone(), int(time.time()))
        wanted = [(self._policy_file, policy_text), (timer, timer_text)]
        if desired is None:
            # A removed policy must not leave a timer that looks for it.
            wanted.reverse()
        found = [
            Rewrite(path, path.read_text("utf-8") if path.exists() else "", text)
            for path, text in wanted
        ]
        return [item for item in found if item.before != item.after]

    def _apply(self, rewrites: list[Rewrite]) -> None:
        for item in rewrites:
            if not item.after:
                item.path.unlink()
                continue
            if item.path == self._policy_file:
                if not self._state_dir.is_dir():
                    raise ConfigError(
                        "write the offsite policy",
                        on=str(self._state_dir),
                        found="the state directory does not exist",
                        remedy="create it on a pool (the role truenas does), or mount its dataset",
                    )
                item.path.parent.mkdir(mode=0o700, exist_ok=True)
            write_atomically(item.path, item.after.encode("utf-8"), 0o644)

    def _jobs(
        self, policy: OffsitePolicy, result: dict[str, Any], diff: list[dict[str, str]]
    ) -> None:
        names = self._options["jobs"]
        jobs = [policy.job(name) for name in names] if names else list(policy.jobs)
        try:
            enter_mount_namespace()
        except OSError as error:
            raise BackupError(
                "make a mount namespace", found=str(error), remedy="run the task as root"
            ) from error
        result["runs"] = []
        result["plans"] = []
        for job in jobs:
            if self._module.check_mode:
                self._plan(policy, job, result, diff)
            else:
                self._run(policy, job, result)

    def _plan(
        self, policy: OffsitePolicy, job: Job, result: dict[str, Any], diff: list[dict[str, str]]
    ) -> None:
        with open("/dev/null", "rb") as nothing:
            found = plan(policy, job, HostPorts(job, nothing.fileno()))
        result["changed"] = result["changed"] or bool(found)
        result["plans"].append(
            {
                "job": job.name,
                "first": found.first,
                **found.extent.as_record(),
                "changes": [_change(found, number) for number in range(len(found.changes))],
                "problems": list(found.problems),
            }
        )
        if found.changes:
            diff.append(_plan_diff(job, found))

    def _run(self, policy: OffsitePolicy, job: Job, result: dict[str, Any]) -> None:
        options = Options(mode=self._options["run"], accept=self._options["accept"])
        with job_lock(policy, job) as lock:
            record = OffsiteRun(policy, job, HostPorts(job, lock), options, Silent()).run()
        document = record.as_document()
        result["runs"].append(document)
        counts = record.counts
        done = sum(
            counts[key] for key in ("sent", "linked", "moved", "deleted", "directories_made")
        )
        result["changed"] = result["changed"] or bool(done) or any(record.reconciled.values())
        for finding in record.findings:
            self._module.warn(f"{job.name}: {finding}")
        if record.problems:
            result["failed"] = True
            result["msg"] = f"the copy of {job.name!r} is incomplete: " + "; ".join(
                record.problems[:10]
            )


def _change(found: OffsitePlan, number: int) -> dict[str, object]:
    fields = dataclasses.asdict(found.changes[number])
    fields["path"] = printable(found.changes[number].path)
    old = found.changes[number].old
    fields["old"] = None if old is None else printable(old)
    return fields


def _plan_diff(job: Job, found: OffsitePlan) -> dict[str, str]:
    extent = found.extent
    first = (
        f"{job.name}: {extent.new} new, {extent.changed} changed, {extent.moved} moved, "
        f"{extent.deleted} deleted, {human_bytes(extent.send_bytes)} to send"
    )
    lines = [first]
    for item in found.changes[:NAMED_CHANGES]:
        old = f"{printable(item.old)} -> " if item.old is not None else ""
        lines.append(f"  {item.act:6} {old}{printable(item.path)}")
    if len(found.changes) > NAMED_CHANGES:
        lines.append(f"  … {len(found.changes) - NAMED_CHANGES} more")
    return {"prepared": "\n".join(lines) + "\n"}
