# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One offsite run, from the lock to the record.

    recover what an earlier run left
    snapshot all datasets in one transaction group, and hold
    detect what changed since the base
    guard: how much, and is there room
    reshape the remote tree, then send content
    read back this run's share
    write the index's records offsite
    commit: the new base, last
    release and destroy the old snapshots

Killed anywhere before the commit, the base is the old one and the index tells
what the destination holds, so the next run has all that is still to be done.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ansible_collections.homelab.backup.plugins.module_utils._core.clock import Clock, utc_stamp
from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    ConfigError,
    GuardError,
    SourceError,
)
from ansible_collections.homelab.backup.plugins.module_utils._core.text import printable
from ansible_collections.homelab.backup.plugins.module_utils._filter.patterns import (
    compile_patterns,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite import (
    bookkeeping,
    destination,
    indexcopy,
    indexread,
    readback,
    reconcile,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.bases import (
    Bases,
    short_name,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.compare import Longest
from ansible_collections.homelab.backup.plugins.module_utils._offsite.detect import (
    Detector,
    Streams,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.extent import (
    measure,
    special_files,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.guards import (
    Extent,
    check_extent,
    check_space,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.index import Index
from ansible_collections.homelab.backup.plugins.module_utils._offsite.layout import Layout
from ansible_collections.homelab.backup.plugins.module_utils._offsite.marker import Marker
from ansible_collections.homelab.backup.plugins.module_utils._offsite.policy import (
    Job,
    OffsitePolicy,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.records import (
    FAILED,
    INCOMPLETE,
    OK,
    STOPPED,
    RunRecord,
    write_record,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.scope import (
    members_of,
    own_state_pattern,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.sending import Sending, Sent
from ansible_collections.homelab.backup.plugins.module_utils._offsite.structure import (
    Reshaping,
    plan_steps,
    settle,
)
from ansible_collections.homelab.backup.plugins.module_utils._offsite.survey import (
    Mounts,
    Survey,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import (
    BulkUpload,
    RemoteStore,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    Attributes as RemoteAttributes,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import storable_mtime
from ansible_collections.homelab.backup.plugins.module_utils._zfs.ports import Zfs
from ansible_collections.homelab.backup.plugins.module_utils._zfs.values import Snapshot

INCREMENTAL, RECONCILE = "incremental", "reconcile"
MODES = (INCREMENTAL, RECONCILE)
# How often a comparison is repeated when the destination lacks what should move.
ATTEMPTS = 3
# Longer than any path below the control directory that a tree path is put under.
VERSION_OVERHEAD = 64


class Ports(Protocol):
    """What a run needs from the outside."""

    @property
    def zfs(self) -> Zfs:
        """ZFS on this host."""

    @property
    def streams(self) -> Streams:
        """Reads send streams."""

    @property
    def mounts(self) -> Mounts:
        """Mounts snapshots."""

    @property
    def clock(self) -> Clock:
        """The time."""

    def connect(self, job: Job) -> RemoteStore:
        """A connection to the job's destination.

        Raises:
            TransportError: unreachable, refused, or another host key.
        """

    def bulk(self, job: Job, store: RemoteStore) -> tuple[BulkUpload, dict[str, object]]:
        """What sends big files, and what the record says of it.

        Raises:
            TransportError: the configured program is missing or must not be used.
        """


@dataclass(frozen=True, slots=True)
class Options:
    """How a run was asked for.

    ``strategy`` forces a detection strategy, ``accept`` names a stopped run
    whose extent was found to be right, ``read_back`` False leaves that out.
    """

    mode: str = INCREMENTAL
    strategy: str | None = None
    accept: str | None = None
    read_back: bool = True


class Progress(Protocol):
    """Told what the run is at."""

    def step(self, text: str) -> None:
        """A new step began."""

    def sent(self, files: int, size: int) -> None:
        """So many files and bytes were sent."""


def new_run_id(now: float) -> str:
    """``YYYYMMDDTHHMMSSZ-xxxx``: sorts by time, and two runs of one second differ."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)) + "-" + secrets.token_hex(2)


def index_path(policy: OffsitePolicy, job: Job) -> Path:
    """Where the job's index lies."""
    return policy.state_dir / "state" / "offsite" / job.name / "index.sqlite"


class OffsiteRun:
    """One run of one job. The caller holds the job's lock.

    Args:
        policy: the host's policy.
        job: the job.
        ports: the outside.
        options: how it was asked for.
        progress: told what it is at.
    """

    def __init__(
        self,
        policy: OffsitePolicy,
        job: Job,
        ports: Ports,
        options: Options,
        progress: Progress,
    ) -> None:
        self._policy = policy
        self._job = job
        self._ports = ports
        self._options = options
        self._progress = progress
        self._run = new_run_id(ports.clock.now())
        self._bases = Bases(ports.zfs, job.name, job.root)
        target = job.destination
        self._layout = Layout(
            os.fsencode(target.directory), os.fsencode(target.control_directory), self._run
        )
        self.record = RunRecord(job.name, self._run, options.mode, ports.clock.now())

    def run(self) -> RunRecord:
        """Do everything, write the record, and raise what went wrong.

        Raises:
            BackupError: the run failed or was stopped; the record says so, too.
        """
        try:
            with ExitStack() as stack:
                self._whole(stack)
            verdict = INCOMPLETE if self.record.problems else OK
            self.record.finish(verdict, self._ports.clock.now())
        except GuardError as error:
            self._end(STOPPED, error)
            raise
        except BackupError as error:
            self._end(FAILED, error)
            raise
        except sqlite3.Error as failure:
            trouble = ConfigError(
                "keep the offsite index",
                on=str(index_path(self._policy, self._job)),
                found=str(failure),
                remedy="look at the free space of its pool; if the file is damaged move it away, "
                "the next run rebuilds it from the destination",
            )
            self._end(FAILED, trouble)
            raise trouble from failure
        except KeyboardInterrupt:
            self._end(FAILED, BackupError("finish the run", found="it was interrupted"))
            raise
        except Exception as error:
            self._end(
                FAILED, BackupError("finish the run", found=f"{type(error).__name__}: {error}")
            )
            raise
        write_record(self._policy.state_dir, self.record)
        return self.record

    def _end(self, verdict: str, error: BackupError) -> None:
        self.record.finish(verdict, self._ports.clock.now(), error)
        try:
            write_record(self._policy.state_dir, self.record)
        except OSError as failure:
            error.found += f"; nor could the run record be written: {failure}"

    def _whole(self, stack: ExitStack) -> None:
        store = self._ports.connect(self._job)
        stack.callback(store.close)
        marker = Marker(
            self._job.name,
            str(self._ports.zfs.pool_guid(self._job.root.partition("/")[0])),
            self._job.root,
            self._policy.host,
            utc_stamp(self._ports.clock.now()),
        )
        self._progress.step("checking the destination")
        opened = destination.open_destination(store, self._layout, marker, adopt=self._job.adopt)
        index = self._open_index(stack, store, opened.state)
        bulk, transport = self._ports.bulk(self._job, store)
        self.record.transport = transport
        work = Work(self._job, self._layout, index, store, bulk, self.record, self._progress)
        self._recover(work)
        self._replicate(stack, work, opened)

    def _open_index(self, stack: ExitStack, store: RemoteStore, state: str) -> Index:
        path = index_path(self._policy, self._job)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists() and state == destination.OURS:
            self._progress.step("rebuilding the index from the destination")
            restored = indexread.restore_index(store, self._layout, path)
            if restored is not None:
                restored.close()
                self.record.notes.append("the index was rebuilt from its copy at the destination")
        fresh = not path.exists()
        index = Index(path)
        stack.callback(index.close)
        if fresh and state != destination.FRESH:
            # What is there may be right; it is compared before it is sent again.
            with index.transaction():
                index.put("adopting", "1")
            self.record.notes.append("what the destination holds was taken over")
        return index

    def _recover(self, work: Work) -> None:
        """Finish the steps of a killed run, and clear its waiting files away."""
        if bookkeeping.structure_is_open(work.index):
            self._progress.step("finishing what a killed run had begun")
            earlier = str(work.index.get("structure_run"))
            layout = Layout(self._layout.tree, self._layout.control, earlier)
            reshaping = Reshaping(work.index, work.store, layout, work.finding)
            reshaping.make()
            lost = bookkeeping.finish_structure(work.index) or reshaping.incomplete
            self.record.notes.append(f"the steps of run {earlier} were finished")
            if lost:
                work.distrust("the destination lacked what a killed run was moving")
        swept = destination.sweep_incoming(work.store, self._layout, ())
        if swept:
            self.record.notes.append(f"{swept} waiting files of a killed run were set aside")

    def _replicate(self, stack: ExitStack, work: Work, opened: destination.Opened) -> None:
        index = work.index
        datasets = self._ports.zfs.datasets(self._job.root)
        patterns = [item.pattern for item in self._job.excludes]
        own = own_state_pattern(self._policy.state_dir, datasets, self._job.root)
        if own is not None:
            patterns.append(own)
        excludes = compile_patterns(patterns)
        scope = members_of(datasets, self._job.root, excludes.prunes_directory)
        for name in scope.locked:
            self.record.problems.append(
                f"{name}: its key is not loaded; what is stored of it stays"
            )
        short = self._take_snapshots([member.name for member in scope.members], index)
        snapshots = self._bases.all()
        self._forget_failed(index, snapshots, short)
        survey = Survey(
            index,
            scope,
            snapshots,
            short,
            stack.enter_context(self._ports.mounts),
            excludes_changed=index.get("excludes") not in (None, excludes.fingerprint),
            walk_all=self._options.mode == RECONCILE or index.get("distrusted") is not None,
            forced=self._options.strategy,
        )
        stack.callback(survey.close)
        longest = Longest(
            opened.name_limit,
            len(self._layout.versions) + len(self._run) + VERSION_OVERHEAD,
        )
        limits = self._job.limits
        detector = Detector(index, self._ports.streams, excludes, longest, limits.full_threshold)
        self._detect(survey, detector)
        extent = measure(index)
        self.record.extent = extent.as_record()
        if self._options.accept is None:
            self._guard(index, extent, short)
        check_space(
            extent.send_bytes,
            opened.available if index.get("adopting") is None else None,
            limits.free_space_reserve_bytes,
            f"{self._job.destination.host}:{self._job.destination.directory}",
        )
        work.survey = survey
        self._apply(work, survey, detector)
        if self._is_reconciled(index):
            self._reconcile(work)
        if self._options.read_back:
            self._read_back(work)
        self._conclude(work, survey, detector, excludes.fingerprint)

    def _is_reconciled(self, index: Index) -> bool:
        """Whether this run compares the whole destination with the index."""
        return self._options.mode == RECONCILE or any(
            index.get(key) is not None for key in ("adopting", "distrusted")
        )

    def _take_snapshots(self, names: list[str], index: Index) -> str:
        """The short name of the snapshots that this run copies."""
        stopped = json.loads(index.get("stopped") or "null")
        if self._options.accept is not None:
            if not stopped or stopped["run"] != self._options.accept:
                raise ConfigError(
                    "go on with the stopped run",
                    on=self._options.accept,
                    found=f"the run that is stopped is {stopped['run'] if stopped else 'none'}",
                    remedy="name that run, or start a new one without --accept",
                )
            self.record.notes.append(f"run {self._options.accept} was accepted")
            return str(stopped["short"])
        self._progress.step("taking snapshots")
        if not names:
            raise SourceError(
                "copy offsite",
                on=self._job.root,
                found="no dataset takes part",
                remedy="look at the root dataset, its key and the excludes",
            )
        self._bases.take(names, self._run)
        return short_name(self._run)

    def _forget_failed(self, index: Index, snapshots: Sequence[Snapshot], short: str) -> None:
        """Destroy what failed runs left; else every failure would keep its snapshot's space."""
        stopped = json.loads(index.get("stopped") or "null")
        wanted = {short, stopped["short"] if stopped else short}
        keep = self._base_guids(index) | {item.guid for item in snapshots if item.short in wanted}
        self.record.notes.extend(self._bases.clean(keep, snapshots))

    def _detect(self, survey: Survey, detector: Detector) -> None:
        self._progress.step("looking for changes")
        survey.index.forget_comparison()
        self.record.detection = [
            found.as_record() for found in survey.detect(detector, self.record.problems.append)
        ]
        self.record.snapshots = survey.as_record()
        settle(survey.index)

    def _guard(self, index: Index, extent: Extent, short: str) -> None:
        try:
            check_extent(extent, self._job.limits, self._run)
        except GuardError:
            with index.transaction():
                index.put("stopped", json.dumps({"run": self._run, "short": short}))
            self._clean(index, keep_short=short)
            raise

    def _apply(self, work: Work, survey: Survey, detector: Detector) -> None:
        """Reshape and send until nothing that should have moved is missing."""
        index = work.index
        with index.transaction():
            index.put("unfinished", self._run)
        for dummy_attempt in range(ATTEMPTS):
            work.hash_movers(survey)
            settle(index)
            survey.register()
            steps = plan_steps(index, self._layout)
            if steps:
                self._progress.step(f"moving and deleting ({steps} steps)")
                work.count_steps()
            work.reshaping.make()
            lost = bookkeeping.finish_structure(index)
            if work.reshaping.incomplete:
                work.distrust("the destination lacked a directory")
            if not lost:
                break
            work.distrust("the destination lacked what should have moved")
            survey.walk_all = True
            self._detect(survey, detector)
        touched = bookkeeping.take_names(index)
        work.set_times(touched)
        work.send(survey)
        survey.update_unstorable(self.record.problems.append)

    def _reconcile(self, work: Work) -> None:
        self._progress.step("comparing the whole destination")
        result = reconcile.Reconciling(
            work.index, work.store, self._layout, work.reshaping, work.finding
        ).run()
        for sentence in reconcile.describe(result):
            work.finding(sentence)
        self.record.reconciled = {
            "listed": result.listed,
            "strays": len(result.strays),
            "missing": len(result.missing),
            "different": len(result.different),
            "times": result.times,
        }
        work.send(work.survey)

    def _read_back(self, work: Work) -> None:
        self._progress.step("reading back")
        result = readback.read_back(
            work.index,
            work.store,
            self._layout,
            window_days=self._job.limits.readback_days,
            clock=self._ports.clock,
            keep_going=lambda: True,
        )
        self.record.read_back = {
            "files": result.files,
            "bytes": result.read_bytes,
            "damaged": len(result.damaged),
            "oldest_days": result.oldest_days,
        }
        for sentence in readback.describe(result):
            work.finding(sentence)
        if result.damaged:
            work.send(work.survey)

    def _conclude(self, work: Work, survey: Survey, detector: Detector, fingerprint: str) -> None:
        index = work.index
        pending = index.db.execute("SELECT count(*) FROM link WHERE version IS NULL").fetchone()[0]
        if pending and not self.record.problems:
            self.record.problems.append(f"{pending} files are still to be sent")
        self.record.notes.extend(work.describe_leftovers())
        self.record.special = [f"{printable(path)}: {kind}" for kind, path in special_files(index)]
        self._progress.step("writing the index offsite")
        if self._is_reconciled(index):
            # The index has just been compared with the destination, so it is written whole,
            # whatever state its copy is in.
            written = indexcopy.checkpoint(index, work.store, self._layout)
            self.record.notes.extend(written.left)
        else:
            indexcopy.flush(index, work.store, self._layout)
        self.record.finish(INCOMPLETE if self.record.problems else OK, self._ports.clock.now())
        name = f"{self._run}.json".encode("ascii")
        work.store.write_file(self._layout.records + b"/" + name, self.record.content())
        work.store.write_file(self._layout.records + b"/last.json", self.record.content())
        with index.transaction():
            survey.commit()
            index.put("excludes", fingerprint)
            index.put("stopped", None)
            index.put("adopting", None)
            index.put("distrusted", None)
            index.put("unfinished", None)
            for key, value in detector.measured.items():
                index.put(key, value)
        survey.close()
        self._clean(index)

    @staticmethod
    def _base_guids(index: Index) -> set[int]:
        rows = index.db.execute("SELECT base_guid FROM dataset WHERE base_guid IS NOT NULL")
        return {int(row[0]) for row in rows}

    def _clean(self, index: Index, keep_short: str = "") -> None:
        """Destroy our snapshots that no later run needs."""
        keep = self._base_guids(index)
        if keep_short:
            keep |= {item.guid for item in self._bases.all() if item.short == keep_short}
        self.record.notes.extend(self._bases.clean(keep))


class Work:
    """What the steps of a run share."""

    def __init__(
        self,
        job: Job,
        layout: Layout,
        index: Index,
        store: RemoteStore,
        bulk: BulkUpload,
        record: RunRecord,
        progress: Progress,
    ) -> None:
        self.index = index
        self.store = store
        self._job = job
        self._layout = layout
        self._bulk = bulk
        self._record = record
        self._progress = progress
        self.finding: Callable[[str], None] = record.findings.append
        # What a killed or failed run had placed without recording it is no finding.
        self.unfinished = index.get("unfinished")
        self._leftovers = 0
        self.reshaping = Reshaping(
            index,
            store,
            layout,
            self.finding,
            self.finding if self.unfinished is None else self._count_leftover,
        )
        self._waiting = 1_000_000_000
        self.survey: Survey
        record.counts = {
            "sent": 0,
            "sent_bytes": 0,
            "linked": 0,
            "unchanged": 0,
            "moved": 0,
            "deleted": 0,
            "directories_made": 0,
        }

    def _count_leftover(self, dummy_finding: str) -> None:
        self._leftovers += 1

    def describe_leftovers(self) -> list[str]:
        """A note of what was found of an unfinished run."""
        if not self._leftovers:
            return []
        note = (
            f"{self._leftovers} files that run {self.unfinished} had stored and not recorded "
            "were set aside and sent again"
        )
        return [note]

    def distrust(self, reason: str) -> None:
        """From now on until a run has ended well: walk, and look at the whole destination."""
        self.finding(f"{reason}; everything is compared")
        with self.index.transaction():
            self.index.put("distrusted", reason)

    def count_steps(self) -> None:
        """Add the planned steps to the record's counts."""
        rows = self.index.db.execute("SELECT act, count(*) FROM step GROUP BY act").fetchall()
        words = {"place": "moved", "retire": "deleted", "mkdir": "directories_made"}
        for act, count in rows:
            if act in words:
                self._record.counts[words[act]] += count

    def _sending(self, survey: Survey) -> Sending:
        return Sending(
            self.index,
            self.store,
            self._bulk,
            self._layout,
            survey,
            threshold=self._job.bulk.threshold_bytes,
            reshaping=self.reshaping,
            progress=self._progress.sent,
            first_waiting=self._waiting,
        )

    def hash_movers(self, survey: Survey) -> None:
        """After a walk: files that moved and may have changed are moves if they did not."""
        sending = self._sending(survey)
        sending.settle_movers()
        self._collect(sending.sent)

    def send(self, survey: Survey) -> None:
        """Send everything that the index marks as pending."""
        pending = self.index.db.execute(
            "SELECT EXISTS (SELECT 1 FROM link WHERE version IS NULL)"
        ).fetchone()[0]
        if not pending:
            return
        self._progress.step("sending")
        sending = self._sending(survey)
        try:
            sending.send_all()
        finally:
            self._waiting = sending.waiting
            self._collect(sending.sent)

    def _collect(self, sent: Sent) -> None:
        counts = self._record.counts
        counts["sent"] += sent.files
        counts["sent_bytes"] += sent.sent_bytes
        counts["linked"] += sent.linked
        counts["unchanged"] += sent.unchanged
        self._record.problems.extend(f"{printable(path)}: {why}" for path, why in sent.problems)
        if sent.homeless:
            # They are still pending, and sent when the directories are made again.
            named = printable(min(sent.homeless))
            self.distrust(f"the destination lacks the directory of {named}")

    def set_times(self, touched: list[tuple[bytes, int]]) -> None:
        """Give stored files the new times of files whose content stayed."""
        outcomes = self.store.setstat_many(
            (self._layout.path(path), RemoteAttributes(mtime=storable_mtime(mtime_ns / 1e9)))
            for path, mtime_ns in touched
        )
        for outcome in outcomes:
            if outcome.error is not None:
                with suppress(UnicodeError):
                    self.finding(f"the time could not be set: {outcome.error}")
