# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
"""``make demo``: the lab, the two playbooks, awkward changes, and one file brought back.

Everything is real but the addresses: OpenZFS in a guest, OpenSSH as the NAS, Ansible on this
machine. The comparison at the end reads the snapshot in the guest and the NAS over SFTP by code
that the runner does not share.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.integration.offsite.remote_tree import read_remote
from tests.integration.offsite.source_tree import compare, read_source
from tests.lab.errors import LabError
from tests.lab.guest import Guest
from tests.lab.instance import Lab
from tests.lab.settings import load

ROOT = Path(__file__).resolve().parents[1]
STATE = "/mnt/main/homelab-backup"
RUNNER = f"python3 {STATE}/bin/homelab-backup.pyz"
DIRECTORY = "/Backup/Viki/truenas"
# What the inventory of the lab excludes and this demo writes.
EXCLUDED = ["*.log", "clickhouse"]

FIRST = r"""
set -e
zfs create main/documents
zfs create main/photos
cd /mnt/main/documents
echo 'last will, third version' > will.txt
chown 1000:100 will.txt; chmod 640 will.txt
mkdir -p taxes/2024 taxes/2025; for y in 2024 2025; do echo "$y" > taxes/$y/return.pdf; done
mkdir -p /mnt/main/clickhouse; echo regenerable > /mnt/main/clickhouse/part.bin
cd /mnt/main/photos
mkdir -p 2025/summer; for n in $(seq 1 200); do echo "photo $n" > 2025/summer/$n.jpg; done
head -c 3000000 /dev/urandom > 2025/summer/film.mov
ln 2025/summer/film.mov 2025/best.mov
ln -s 2025/best.mov favourite
"""
SECOND = r"""
set -e
cd /mnt/main/photos
mv 2025/summer 2025/croatia         # a directory renamed: 'zfs diff' doesn't name its files
mkdir 2025/summer; echo new > 2025/summer/1.jpg  # and a new one under its old name
rm 2025/croatia/7.jpg
ln 2025/croatia/8.jpg 2025/link.jpg; rm 2025/link.jpg
printf 'PHOTO 8' | dd of=2025/croatia/8.jpg conv=notrunc status=none   # 'zfs diff': nothing
cd /mnt/main/documents
touch -r will.txt /tmp/t; sed -i s/third/FINAL/ will.txt; touch -r /tmp/t will.txt
chown 1000:100 will.txt; chmod 640 will.txt      # same size, same time, other content
mv taxes/2024 t; mv taxes/2025 taxes/2024; mv t taxes/2025             # two directories swapped
echo odd > "$(printf 'new\nline and \337')"
zfs create main/photos/raw; echo raw > /mnt/main/photos/raw/a.dng
"""


def say(text: str) -> None:
    """A step, above what it prints."""
    print(f"\n== {text}", flush=True)


def shell(guest: Guest, command: str) -> str:
    """Run a command in the guest and show it with what it printed."""
    print(f"truenas# {command}", flush=True)
    result = guest.run(command, check=True)
    output = (result.stdout + result.stderr).rstrip()
    if output:
        print(output, flush=True)
    return result.stdout


def play(lab: Lab, *arguments: str) -> None:
    """Run a playbook inside the lab's network.

    :raises subprocess.CalledProcessError: it failed.
    """
    argv = ["ansible-playbook", "-i", "inventories/lab", *arguments]
    print("$ " + " ".join(argv), flush=True)
    subprocess.run(lab.inside(*argv), cwd=ROOT, check=True)


def copy(guest: Guest) -> dict[str, object]:
    """Run the offsite job as its timer would; returns the run record."""
    shell(guest, f"{RUNNER} offsite run main --quiet")
    record: dict[str, object] = json.loads(
        guest.run(["cat", f"{STATE}/records/offsite/main/last.json"], check=True).out
    )
    return record


def show_equal(lab: Lab, record: dict[str, object]) -> bool:
    """Compare snapshot and NAS, name by name and byte by byte."""
    expected, dummy_index = read_source(lab.guest, record, "main", EXCLUDED)
    wrong = compare(expected, read_remote(lab.nas, DIRECTORY, list(expected)))
    files = sum(found.kind == "f" for found in expected.values())
    for path, text in wrong[:20]:
        print(f"  {path!r}: {text}")
    print(
        f"{files} files and {len(expected) - files} directories compared: "
        + (f"{len(wrong)} DIFFER" if wrong else "the copy equals the snapshot"),
        flush=True,
    )
    return not wrong


def demo(lab: Lab) -> bool:
    """The whole demonstration; True when both comparisons found no difference."""
    say("The lab: a storage host with OpenZFS, a NAS with SFTP")
    lab.up()
    lab.reset()
    guest = lab.guest
    say("Write down the estate, converge it: one playbook")
    play(lab, "site.yml")
    say("Data")
    guest.run(FIRST, check=True)
    shell(guest, "cd /mnt/main && du -sh documents photos && ls -l documents/will.txt")
    say("Snapshots and the first copy, as the timers would make them")
    shell(guest, f"{RUNNER} snapshots run --state-dir {STATE}")
    good = show_equal(lab, copy(guest))
    say("The changes that usual scripts lose")
    print(SECOND.strip())
    guest.run(SECOND, check=True)
    say("What the next run would do")
    shell(guest, "zfs snapshot -r main@look")
    shell(guest, f"{RUNNER} offsite plan main")
    say("The second copy: changes only")
    record = copy(guest)
    good = show_equal(lab, record) and good
    say("One file back from the NAS, with owner and mode, on a host that lost it")
    shell(guest, "rm /mnt/main/documents/will.txt")
    shell(guest, f"{RUNNER} offsite fetch --job main documents/will.txt --to /mnt/main --quiet")
    restored = shell(guest, "ls -ln /mnt/main/documents/will.txt; cat /mnt/main/documents/will.txt")
    good = good and "1000 100" in " ".join(restored.split()) and "FINAL" in restored
    say("Where everything is")
    shell(guest, "cat /etc/cron.d/homelab-backup-offsite | grep -v '^#' | tail -n 4")
    print(
        f"policy, index, records: {STATE} on the storage host\n"
        f"the copy:               sftp://192.168.1.13{DIRECTORY} (here: {lab.nas.share}/truenas)\n"
        f"deleted and replaced:   {DIRECTORY}.homelab-backup/versions\n"
        "log:                    /var/log/cloudsync-copy.log\n"
        "a shell there:          make lab-ssh      stop the lab: make lab-down"
    )
    return good


def main() -> int:
    """Entry point."""
    started = time.monotonic()
    try:
        good = demo(Lab(load()))
    except (LabError, subprocess.CalledProcessError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    words = "The copy equalled the snapshot both times" if good else "The copy DIFFERED"
    print(f"\n{words}; {time.monotonic() - started:.0f} s.")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
