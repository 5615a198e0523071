# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""What every part of the bench works with: the lab, a work directory, timed programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._sftp.ssh import SshTarget, ssh_argv
from tests.bench.report import Report
from tests.lab.instance import Lab
from tests.lab.nas import GID, SHARE, UID, Nas

REPOSITORY = Path(__file__).resolve().parents[2]
RCLONE = REPOSITORY / ".venv" / "bin" / "rclone"
SFTP_SERVER = "/usr/lib/openssh/sftp-server"
NEAR, FAR = Nas.address, Nas.far_address
LONGEST = 3600.0


class BenchError(Exception):
    """A program of the bench failed."""


@dataclass(slots=True)
class Context:
    """One call of the bench."""

    lab: Lab
    work: Path
    scale: float
    report: Report

    def say(self, text: str) -> None:
        """Progress, on standard error."""
        sys.stderr.write(f"bench: {text}\n")
        sys.stderr.flush()

    def count(self, full: int, least: int = 1) -> int:
        """A number of things at this scale."""
        return max(least, round(full * self.scale))

    def target(self, address: str, user: str = "offsite") -> SshTarget:
        """An account on the lab's NAS."""
        known = self.work / "known_hosts"
        known.write_text(self.lab.nas.known_hosts, encoding="ascii")
        key = str(self.lab.nas.key(user))
        return SshTarget(address, user, key, str(known), Nas.port)

    def sftp(self, address: str, user: str = "offsite") -> list[str]:
        """The command line of the run's own client, inside the lab's network."""
        return self.lab.inside(*ssh_argv(self.target(address, user)))

    def rclone(self, address: str, *arguments: str) -> list[str]:
        """rclone with what reaches the NAS in the best way it has.

        The server gives no shell, so checksums by commands there are not to be tried.
        """
        target = self.target(address, "backup")
        options = {
            "--sftp-host": target.host,
            "--sftp-port": str(target.port),
            "--sftp-user": target.user,
            "--sftp-key-file": target.key_file,
            "--sftp-known-hosts-file": target.known_hosts_file,
            "--sftp-shell-type": "none",
            "--config": "/dev/null",
        }
        words = [word for pair in options.items() for word in pair]
        return self.lab.inside(str(RCLONE), *arguments, *words, "--sftp-disable-hashcheck")

    def rsync(self, address: str, source: Path, name: str) -> list[str]:
        """rsync over ssh, as a user with a shell at the NAS."""
        target = self.target(address, "shell")
        shell = " ".join(ssh_argv(target)[:-4]).replace('"', "")
        there = f"{target.host}:/volume1{SHARE}/{name}/"
        return self.lab.inside("rsync", "-rt", "--delete", "-e", shell, f"{source}/", there)

    def share(self, name: str) -> Path:
        """A directory of the NAS, on this machine."""
        return self.lab.nas.share / name

    def remote(self, name: str) -> str:
        """The same directory as the NAS' SFTP users name it."""
        return f"{SHARE}/{name}"

    def seed(self, source: Path, name: str) -> None:
        """Put a copy of ``source`` there without any transport."""
        place = self.share(name)
        run(["rm", "-rf", str(place)])
        run(["cp", "-r", "--preserve=timestamps", str(source), str(place)])
        run(["chown", "-R", f"{UID}:{GID}", str(place)])

    def clean(self) -> None:
        """Remove what the parts have made, at both ends."""
        shutil.rmtree(self.work, ignore_errors=True)
        for place in self.lab.nas.share.glob("bench-*"):
            shutil.rmtree(place, ignore_errors=True)

    def offsite(
        self,
        source: Path,
        state: Path,
        argv: list[str],
        directory: str,
        changed: Sequence[str] | None,
    ) -> dict[str, Any]:
        """A whole run of ours in its own process (see :mod:`plain`); ``wall`` counts all of it."""
        asked = {
            "source": str(source),
            "state": str(state),
            "argv": argv,
            "directory": directory,
            "changed": None if changed is None else list(changed),
        }
        place = self.work / "question.json"
        place.write_text(json.dumps(asked), encoding="utf-8")
        started = time.monotonic()
        out = run([sys.executable, "-m", "tests.bench.plain", str(place)])
        answer: dict[str, Any] = json.loads(out)
        answer["wall"] = time.monotonic() - started
        if answer["verdict"] != "ok":
            raise BenchError(f"the run ended {answer['verdict']}: {answer['problems']}")
        return answer


def environment() -> dict[str, str]:
    """This process's environment, with the core to be imported from."""
    path = [str(REPOSITORY), str(REPOSITORY / ".cache" / "collections")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "RCLONE_CONFIG": "/dev/null"}


def run(argv: Sequence[str]) -> bytes:
    """A program that must succeed; its output."""
    done = subprocess.run(
        argv, check=False, env=environment(), cwd=REPOSITORY, capture_output=True, timeout=LONGEST
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace")[-2000:]
        raise BenchError(f"{' '.join(argv)[:300]}: exit {done.returncode}: {said}")
    return done.stdout


def seconds(argv: Sequence[str]) -> float:
    """How long a program takes that must succeed."""
    started = time.monotonic()
    run(argv)
    return time.monotonic() - started


def write_tree(top: Path, files: int, directories: int, size: int) -> list[str]:
    """A tree of files of ``size`` bytes, spread evenly; their paths below ``top``."""
    names: list[str] = []
    each = max(1, files // directories)
    for number in range(directories):
        below = f"group-{number % 10}/directory-{number:05d}"
        (top / below).mkdir(parents=True)
        for place in range(each):
            name = f"{below}/file-{place:06d}.dat"
            write(top / name, size)
            names.append(name)
    return names


def write(path: Path, size: int) -> None:
    """A file of random bytes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with os.fdopen(descriptor, "wb", buffering=0) as handle:
        left = size
        while left > 0:
            left -= handle.write(os.urandom(min(left, 1 << 20)))


def touch_spread(top: Path, names: Sequence[str], changes: int, size: int) -> list[str]:
    """Rewrite so many files with another size, spread over the tree; which they were."""
    chosen = [names[number * len(names) // changes] for number in range(changes)]
    for name in chosen:
        write(top / name, size)
    return chosen
