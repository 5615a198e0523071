# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""Puts the runner as it is shipped into the guest, with a policy, and runs it there.

What is tested is the zipapp on the storage host, started as a timer or a person starts it;
nothing of the core runs in the test's own process.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._runner import zipapp
from tests.lab.guest import Guest, Result
from tests.lab.nas import SHARE, Nas

STATE = "/mnt/main/homelab-backup"
RUNNER = f"{STATE}/bin/homelab-backup.pyz"
# The same files out of the zipapp, compiled and loaded once: an emulated guest takes many
# seconds to do that anew for each of the hundreds of runs of the tests.
UNPACKED = "/root/homelab-backup-unpacked"
IN_GUEST = Path(__file__).resolve().parent / "in_guest"
KEY = "/root/.ssh/homelab-backup"
KNOWN_HOSTS = f"{STATE}/etc/known_hosts"
MODULE_UTILS = Path(__file__).resolve().parents[3] / "plugins" / "module_utils"
# Nothing stops a run but what a test sets: histories change most of what is stored.
LIMITS = {"max_changed_share": 1, "free_space_reserve_bytes": 0}

Document = dict[str, Any]


@functools.cache
def runner_bytes() -> bytes:
    """The zipapp, built once for a test run."""
    return zipapp.build(MODULE_UTILS)


@dataclass(frozen=True, slots=True)
class Ran:
    """One call of the runner: how it ended, what it said, and the record it left (if it did)."""

    result: Result
    record: Document | None

    @property
    def rc(self) -> int:
        return self.result.rc

    @property
    def said(self) -> str:
        return self.result.stdout + self.result.stderr

    @property
    def kept(self) -> Document:
        """The record, which must be there."""
        if self.record is None:
            raise AssertionError(f"exit {self.rc} and no new record: {self.said}")
        return self.record

    @property
    def strategies(self) -> dict[str, str]:
        """How each dataset was looked at."""
        return {item["dataset"]: item["strategy"] for item in self.kept["detection"]}

    @property
    def notes(self) -> str:
        """Notes, findings and problems, line by line."""
        kept = self.kept
        named = [*kept["findings"]["named"], *kept["problems"]["named"], *kept["notes"]]
        return "\n".join(named)


def job_document(name: str, root: str, **changes: Any) -> Document:
    """A job of the policy; ``changes`` are keys of it, ``destination`` is merged."""
    job: Document = {
        "name": name,
        "root": root,
        "destination": {
            "host": Nas.address,
            "port": Nas.port,
            "user": "offsite",
            "key_file": KEY,
            "known_hosts_file": KNOWN_HOSTS,
            "directory": f"{SHARE}/{name}",
        },
        "excludes": [],
        "limits": dict(LIMITS),
        "bulk": {"program": "sftp"},
    }
    job["destination"].update(changes.pop("destination", {}))
    job["limits"].update(changes.pop("limits", {}))
    job.update(changes)
    return job


@dataclass(slots=True)
class Installation:
    """The runner and one policy in the guest.

    :ivar shipped: start the zipapp itself, as cron does, not a fork of the loaded one.
    """

    guest: Guest
    nas: Nas
    jobs: list[Document]
    policy: str = f"{STATE}/etc/offsite.json"
    shipped: bool = False
    last: dict[str, str | None] = field(default_factory=dict)

    def install(self) -> None:
        """Runner, key, pinned host key and policy."""
        self.guest.run(["mkdir", "-p", f"{STATE}/bin", f"{STATE}/etc", "/root/.ssh"])
        self.guest.put(runner_bytes(), RUNNER, 0o755)
        self.guest.run(
            f"rm -rf {UNPACKED} && python3 -m zipfile -e {RUNNER} {UNPACKED}"
            f" && python3 -m compileall -q {UNPACKED}"
        )
        self.guest.python((IN_GUEST / "warm_runner.py").read_text(), UNPACKED)
        self.guest.put(self.nas.key("offsite"), KEY, 0o600)
        self.guest.put(self.nas.known_hosts, KNOWN_HOSTS, 0o600)
        self.configure()

    def configure(self) -> None:
        """Write the policy as ``jobs`` say now."""
        document = {
            "format": "homelab.backup.offsite-policy/1",
            "host": "truenas",
            "state_dir": STATE,
            "log_file": "/var/log/cloudsync-copy.log",
            "jobs": self.jobs,
        }
        self.guest.put(json.dumps(document), self.policy, 0o600)

    def changed(self, **changes: Any) -> None:
        """The policy with other keys in its (only) job from now on; ``None`` removes one."""
        job = copy.deepcopy(self.jobs[0])
        for key, value in changes.items():
            if value is None:
                job.pop(key, None)
            elif isinstance(value, dict):
                job[key] = {**job.get(key, {}), **value}
            else:
                job[key] = value
        self.jobs = [job, *self.jobs[1:]]
        self.configure()

    def argv(self, *arguments: str) -> list[str]:
        """The command line of ``homelab-backup offsite ARGUMENTS``."""
        return [RUNNER, "offsite", *arguments, "--policy", self.policy]

    def record(self, job: str | None = None) -> Document | None:
        """The newest record of a job on the storage host."""
        path = f"{STATE}/records/offsite/{job or self.jobs[0]['name']}/last.json"
        found = self.guest.run(["cat", path], check=False)
        return json.loads(found.out) if found.rc == 0 else None

    def run(
        self,
        *arguments: str,
        job: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 300.0,
    ) -> Ran:
        """``offsite run``, and the record it wrote; None when it wrote no new one."""
        name = job or self.jobs[0]["name"]
        result = self._start(self.argv("run", name, *arguments), env, timeout)
        return Ran(result, self._new_record(name))

    def _start(self, argv: Sequence[str], env: Mapping[str, str] | None, timeout: float) -> Result:
        if self.shipped:
            return self.guest.run(["python3", *argv], check=False, env=env, timeout=timeout)
        client = (IN_GUEST / "warm_client.py").read_text()
        return self.guest.python(
            client, json.dumps(dict(env or {})), *argv, check=False, timeout=timeout
        )

    def ok(self, *arguments: str, job: str | None = None) -> Ran:
        """A run that must end well."""
        ran = self.run(*arguments, job=job)
        if ran.rc != 0:
            raise AssertionError(f"exit {ran.rc}: {ran.said}")
        return ran

    def plan(self) -> Document:
        """``offsite plan --json`` of the first job."""
        result = self._start(self.argv("plan", self.jobs[0]["name"], "--json"), None, 300.0)
        if result.rc != 0:
            raise AssertionError(f"exit {result.rc}: {result.stderr}")
        plans: list[Document] = json.loads(result.out)
        return plans[0]

    def _new_record(self, job: str) -> Document | None:
        found = self.record(job)
        run = None if found is None else found["run"]
        if run == self.last.get(job):
            return None
        self.last[job] = run
        return found


def installed(guest: Guest, nas: Nas, jobs: Sequence[Document]) -> Installation:
    """The runner in the guest with a policy of these jobs."""
    made = Installation(guest, nas, list(jobs))
    made.install()
    return made
