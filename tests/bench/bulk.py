# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""One file of 1 GiB: the run's own client, rclone rcat, and sftp(1)."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ansible_collections.homelab.backup.plugins.module_utils._rclone.bulk import RcloneBulk
from ansible_collections.homelab.backup.plugins.module_utils._sftp.client import SftpClient
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ports import BulkUpload
from ansible_collections.homelab.backup.plugins.module_utils._sftp.values import (
    UploadItem,
    UploadOutcome,
)
from tests.bench.context import FAR, NEAR, RCLONE, BenchError, Context, seconds, write
from tests.bench.report import Row, median
from tests.lab import network

ROUNDS = 3
WAYS = ("sftp client", "rclone rcat", "sftp(1)")


def bulk(context: Context) -> None:
    """Each way in turn, near and far."""
    size = context.count(1 << 30, 1 << 20)
    context.work.mkdir(parents=True, exist_ok=True)
    source = context.work / "bulk.img"
    write(source, size)
    (context.share("bench-bulk")).mkdir(mode=0o777, exist_ok=True)
    context.share("bench-bulk").chmod(0o777)
    for address, words in ((NEAR, "without delay"), (FAR, "at 20 ms")):
        took: dict[str, list[float]] = {way: [] for way in WAYS}
        for turn in range(ROUNDS):
            for way in WAYS[turn:] + WAYS[:turn]:
                took[way].append(_once(context, way, address, source, size))
                context.say(f"  {way} {words}: {took[way][-1]:.2f} s")
        case = f"one file of {size >> 20} MiB {words}"
        for way in WAYS[1:]:
            context.report.rows.append(
                Row("bulk", case, WAYS[0], median(took[WAYS[0]]), way, median(took[way]))
            )


def _once(context: Context, way: str, address: str, source: Path, size: int) -> float:
    name = f"{context.remote('bench-bulk')}/{os.urandom(4).hex()}"
    item = UploadItem(os.fsencode(source), os.fsencode(name), size)
    started = time.monotonic()
    if way == "sftp client":
        with SftpClient.connect(context.sftp(address)) as client:
            _upload(client, item)
        taken = time.monotonic() - started
    elif way == "rclone rcat":
        target = context.target(address, "backup")
        with (
            SftpClient.connect(context.sftp(address)) as client,
            network.entered(context.lab.settings.namespace),
        ):
            # The thread pool's threads are made in here, and with them rclone.
            _upload(RcloneBulk(target, str(RCLONE), store=client), item)
        taken = time.monotonic() - started
    else:
        taken = _by_sftp(context, address, source, name)
    for left in context.share("bench-bulk").iterdir():
        left.unlink()
    return taken


def _upload(transport: BulkUpload, item: UploadItem) -> None:
    outcomes: list[UploadOutcome] = []
    transport.upload_many([item], outcomes.append)
    for outcome in outcomes:
        if outcome.error is not None:
            raise BenchError(str(outcome.error))


def _by_sftp(context: Context, address: str, source: Path, name: str) -> float:
    target = context.target(address)
    batch = context.work / "batch"
    batch.write_text(f"put {source} {name}\n", encoding="utf-8")
    options = {
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": target.known_hosts_file,
        "User": target.user,
    }
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    argv = ["sftp", "-F", "none", "-q", *words, "-i", target.key_file, "-b", str(batch)]
    return seconds(context.lab.inside(*argv, target.host))
