# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""A storage host without ZFS, for whole offsite runs in milliseconds.

Datasets are directories of this machine's file system and a snapshot is the directory itself:
nothing writes between a run's snapshot and its end. What a send stream would tell comes from
comparing every file with what was there at the base. The destination is OpenSSH's own
sftp-server without ssh. What only real ZFS can show is tested in the lab.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import stat
import time
import traceback
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import (
    OffsitePolicy,
    parse_policy,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.records import RunRecord
from ansible_collections.homelab.backup.plugins.module_utils._offsite.run import (
    OffsiteRun,
    Options,
    index_path,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import (
    Dataset,
    Destroyed,
    Snapshot,
)
from tests.integration.offsite.in_guest import warm_runner
from tests.integration.offsite.in_guest.read_snapshots import IndexCheck, Reading, clamp
from tests.unit.plugins.module_utils.offsite.remote import NO_REMOVAL, server

ROOT = "main"


class Changes:
    """What a send stream says, and now and then more than that."""

    def __init__(self, old: Mapping[str, list], new: Mapping[str, list], seed: int) -> None:
        rng = random.Random(seed)
        self.length = 0
        numbers = old.keys() | new.keys()
        self._differ = {
            int(number)
            for number in numbers
            if rng.random() < 0.02 or old.get(number, [0])[0] != new.get(number, [0])[0]
        }
        self.objects: Set[int] = {
            int(number)
            for number in numbers
            if rng.random() < 0.05 or old.get(number) != new.get(number)
        } | self._differ
        # Neighbours of what changed: some show that they did not change themselves.
        cleared = {int(number) for number in numbers if rng.random() < 0.7}
        self._really = (
            self.objects - {int(number) for number in numbers if old.get(number) == new.get(number)}
            | (self.objects - cleared)
            | self._differ
        )
        self.changed_directories: Set[int] = {
            int(number)
            for number in numbers
            if number in new and new[number][1] and old.get(number) != new[number]
        }

    def content_may_differ(self, number: int, size: int) -> bool:
        return size > 0 and number in self._differ

    def is_unchanged(self, number: int, known: int, size: int) -> bool:
        return number not in self._really


def look(top: Path) -> dict[str, list]:
    """Object number to [content, is directory, metadata] of everything below ``top``."""
    found: dict[str, list] = {}
    waiting = [os.fsencode(top)]
    while waiting:
        path = waiting.pop()
        info = os.lstat(path)
        content = ""
        if stat.S_ISDIR(info.st_mode):
            with os.scandir(path) as listing:
                entries = sorted((entry.name, entry.inode()) for entry in listing)
            waiting.extend(path + b"/" + name for name, dummy in entries)
            content = repr(entries)
        elif stat.S_ISREG(info.st_mode):
            content = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
        metadata = [info.st_mode, info.st_uid, info.st_size, info.st_mtime_ns, info.st_ctime_ns]
        found[str(info.st_ino)] = [content, stat.S_ISDIR(info.st_mode), metadata]
    return found


class World:
    """One job's host and destination below ``base``; all that lasts is in files there.

    :ivar tops: where each dataset's files are, by its name.
    """

    def __init__(self, base: Path, **job: Any) -> None:
        self.base = base
        self.clock = self
        self.streams = self
        self.zfs = self
        self.mounts = self
        self._state = base / "zfs.json"
        self.tree = base / "nas" / "tree"
        (base / "nas").mkdir()
        destination = {
            "host": "nas",
            "user": "offsite",
            "key_file": "/key",
            "known_hosts_file": "/hosts",
            "directory": str(self.tree),
        }
        limits = {"max_changed_share": 1, "free_space_reserve_bytes": 0, **job.pop("limits", {})}
        document = {
            "name": "main",
            "root": ROOT,
            "destination": destination,
            "bulk": {"program": "sftp"},
            "limits": limits,
            **job,
        }
        self.policy: OffsitePolicy = parse_policy(
            {
                "format": "homelab.backup.offsite-policy/1",
                "host": "host",
                "state_dir": str(base / "state"),
                "log_file": str(base / "log"),
                "jobs": [document],
            },
            "policy",
        )
        self._write({"datasets": {}, "snapshots": {}, "guid": 100, "txg": 10})
        self.create(ROOT)

    # --- what lasts

    def _read(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self._state.read_text())
        return loaded

    def _write(self, state: dict[str, Any]) -> None:
        new = self._state.with_suffix(".new")
        new.write_text(json.dumps(state))
        new.rename(self._state)

    # --- datasets, as a person makes them

    def create(self, name: str) -> Path:
        """Like ``zfs create``."""
        state = self._read()
        state["guid"] += 1
        top = self.base / "pool" / str(state["guid"])
        top.mkdir(parents=True)
        state["datasets"][name] = state["guid"]
        self._write(state)
        return top

    def destroy(self, name: str) -> None:
        """Like ``zfs destroy -r``; the files stay, so that no inode comes back by chance."""
        state = self._read()
        for known in list(state["datasets"]):
            if known == name or known.startswith(name + "/"):
                del state["datasets"][known]
        for known in list(state["snapshots"]):
            dataset = known.partition("@")[0]
            if dataset == name or dataset.startswith(name + "/"):
                del state["snapshots"][known]
        self._write(state)

    def rename(self, old: str, new: str) -> None:
        """Like ``zfs rename``."""

        def renamed(name: str) -> str:
            dataset, at, short = name.partition("@")
            if dataset == old or dataset.startswith(old + "/"):
                dataset = new + dataset[len(old) :]
            return dataset + at + short

        state = self._read()
        for table in ("datasets", "snapshots"):
            state[table] = {renamed(name): value for name, value in state[table].items()}
        self._write(state)

    @property
    def tops(self) -> dict[str, Path]:
        return {
            name: self.base / "pool" / str(guid) for name, guid in self._read()["datasets"].items()
        }

    # --- the ports

    def now(self) -> float:
        return time.time()

    def connect(self, job: object) -> SftpClient:
        return SftpClient.connect([server(), *NO_REMOVAL])

    def bulk(self, job: object, store: SftpClient) -> tuple[SftpClient, dict[str, object]]:
        return store, {"big_files": "sftp"}

    def pool_guid(self, pool: str) -> int:
        return 7

    def datasets(self, *roots: str, recursive: bool = True) -> tuple[Dataset, ...]:
        return tuple(
            Dataset(name, guid, "filesystem", f"/nowhere/{name}", True, "on", "-", 0, 0)
            for name, guid in sorted(self._read()["datasets"].items())
        )

    def snapshots(
        self, roots: Sequence[str], *, recursive: bool = True, user_properties: Sequence[str] = ()
    ) -> tuple[Snapshot, ...]:
        found: list[Snapshot] = []
        latest: dict[str, object] = {}
        known = sorted(self._read()["snapshots"].items(), key=lambda pair: pair[1]["txg"])
        for name, item in known:
            dataset = name.partition("@")[0]
            # Against the one before it that is still there, as ZFS counts it.
            written = 0 if latest.get(dataset) == item["seen"] else 4096
            latest[dataset] = item["seen"]
            numbers = (item["guid"], item["txg"], item["creation"], 0, written, item["holds"])
            found.append(Snapshot(name, *numbers, (), item["properties"]))
        return tuple(found)

    def snapshot(self, names: Sequence[str], properties: Mapping[str, str]) -> None:
        state = self._read()
        state["txg"] += 1
        for name in names:
            dataset = name.partition("@")[0]
            state["guid"] += 1
            seen = look(self.base / "pool" / str(state["datasets"][dataset]))
            state["snapshots"][name] = {
                "guid": state["guid"],
                "txg": state["txg"],
                "creation": int(time.time()),
                "holds": 0,
                "properties": dict(properties),
                "seen": seen,
            }
        self._write(state)

    def hold(self, tag: str, names: Sequence[str]) -> None:
        self._holds(names, 1)

    def release(self, tag: str, names: Sequence[str]) -> None:
        self._holds(names, 0)

    def _holds(self, names: Sequence[str], count: int) -> None:
        state = self._read()
        for name in names:
            state["snapshots"][name]["holds"] = count
        self._write(state)

    def destroy_snapshots(self, dataset: str, shorts: Sequence[str]) -> Destroyed:
        state = self._read()
        for short in shorts:
            del state["snapshots"][f"{dataset}@{short}"]
        self._write(state)
        return Destroyed(tuple(f"{dataset}@{short}" for short in shorts))

    def changes(
        self,
        base: str,
        new: str,
        limits: object = None,
        *,
        from_guid: int | None = None,
        to_guid: int | None = None,
    ) -> Changes:
        known = self._read()["snapshots"]
        return Changes(known[base]["seen"], known[new]["seen"], known[new]["guid"])

    def __enter__(self) -> World:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def mount(self, snapshot: str) -> Path:
        state = self._read()
        return self.base / "pool" / str(state["datasets"][snapshot.partition("@")[0]])

    # --- runs

    def step(self, text: str) -> None:
        """Progress."""

    def sent(self, files: int, size: int) -> None:
        """Progress."""

    def run(self, **options: Any) -> RunRecord:
        """One run of the job."""
        job = self.policy.jobs[0]
        return OffsiteRun(self.policy, job, self, Options(**options), self).run()

    def killed_run(self, at: int, **options: Any) -> str:
        """A run that is killed at its external step ``at``; the last step that it came to."""
        log = self.base / "steps"
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                warm_runner.install_kills(at, str(log))
                self.run(**options)
                status = 0
            finally:
                if status:
                    traceback.print_exc()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status not in (0, -signal.SIGKILL):
            raise AssertionError(f"the run ended with {status}")
        return log.read_text().splitlines()[-1]

    def differences(self) -> list[str]:
        """Where the destination or the index is not what the datasets hold."""
        reading = Reading([])
        prefixes = {name: os.fsencode(name[len(ROOT) + 1 :]) for name in self.tops}
        for name, top in sorted(self.tops.items()):
            if prefixes[name]:
                reading.note(os.fsencode(top), prefixes[name], os.lstat(top), name)
            reading.dataset(os.fsencode(top), prefixes[name], name, set(prefixes.values()))
        want = {}
        for path, (kind, info, digest, *dummy) in reading.found.items():
            if kind == "d":
                want[path] = ("d",)
            elif kind == "f":
                want[path] = ("f", info.st_size, clamp(info.st_mtime_ns), digest)
        have = Reading([])
        have.dataset(os.fsencode(self.tree), b"", "", set())
        got = {}
        for path, (kind, info, digest, *dummy) in have.found.items():
            got[path] = (kind,) if kind != "f" else ("f", info.st_size, int(info.st_mtime), digest)
        wrong = [
            f"{path!r}: source {want.get(path)}, destination {got.get(path)}"
            for path in sorted(want.keys() | got.keys())
            if want.get(path) != got.get(path)
        ]
        index = str(index_path(self.policy, self.policy.jobs[0]))
        return wrong + [f"index: {text!r}" for text in IndexCheck(index).check(reading.found)]
