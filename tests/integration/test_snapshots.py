# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots on real pools: the runner as cron starts it, and the modules as Ansible runs them."""

from __future__ import annotations

import calendar
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._runner import zipapp
from tests.lab.guest import Guest, Result
from tests.lab.instance import Lab

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("pristine")]

STATE = "/mnt/main/hb"
RUNNER = f"{STATE}/bin/homelab-backup.pyz"
# What is in the runner, unpacked: Python keeps compiled files for that, and the guest is slow.
UNPACKED = "/opt/runner"
LOG = "/var/log/hb.log"
CRON = "/etc/cron.d/homelab-backup-snapshots"
REPOSITORY = Path(__file__).resolve().parents[2]
DAY = 86400
DATASETS = ("main", "main/a", "main/a/deep", "main/b", "main/vol", "ssd", "ssd/c")


def at(text: str) -> int:
    """Seconds since 1970 of a time in UTC."""
    return calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


def schedule(name: str, cron: str, lifetime: str, **more: object) -> dict[str, Any]:
    prefix = "auto" if name == "daily" else f"auto-{name}"
    return {
        "id": name,
        "datasets": ["main", "ssd"],
        "recursive": True,
        "cron": cron,
        "timezone": "UTC",
        "naming": f"{prefix}-%Y-%m-%d_%H-%M",
        "lifetime": lifetime,
    } | more


TWELVE = schedule("12h", "0 */12 * * *", "24h")
DAILY = schedule("daily", "0 0 * * *", "3d")


@pytest.fixture(scope="module", autouse=True)
def installed(guest: Guest, pristine: float) -> None:
    """The runner, as it is deployed, and datasets of both kinds."""
    guest.run("systemctl stop systemd-timesyncd 2>/dev/null; systemctl stop cron", check=False)
    for name in DATASETS[1:]:
        if name == "main/vol":
            guest.zfs("create", "-s", "-V", "16M", name)
        elif "/" in name:
            guest.zfs("create", name)
    guest.run(["mkdir", "-p", f"{STATE}/bin", f"{STATE}/etc"])
    guest.put(zipapp.build(REPOSITORY / "plugins/module_utils"), RUNNER, 0o755)
    guest.run(["python3", "-m", "zipfile", "-e", RUNNER, UNPACKED])


@pytest.fixture(autouse=True)
def clean(guest: Guest, installed: None) -> None:
    """No snapshots, no memory of runs, no policy."""
    guest.run("zpool import ssd", check=False)
    guest.run(
        "zfs list -Hpo name,userrefs -t snapshot | awk '$2 {print $1}' |"
        " while read s; do zfs release keep $s; zfs release now $s; done 2>/dev/null;"
        " zfs destroy main/clone 2>/dev/null; zfs destroy -r ssd/received 2>/dev/null;"
        " zfs destroy -r main@% 2>/dev/null; zfs destroy -r ssd@% 2>/dev/null;"
        f" rm -rf {STATE}/state {STATE}/records {STATE}/etc/* {CRON} {LOG} /opt/wrap;"
        ' test -z "$(zfs list -H -t snapshot)"'
    )
    guest.set_clock(at("2027-05-05 12:00:01"))


def put_policy(guest: Guest, *schedules: dict[str, Any]) -> None:
    document = {"format": "homelab.backup.snapshot-policy/1", "schedules": list(schedules)}
    guest.put(json.dumps(document), f"{STATE}/etc/snapshots.json")


def everywhere(short: str, datasets: tuple[str, ...] = DATASETS) -> set[str]:
    return {f"{name}@{short}" for name in datasets}


def runner(guest: Guest, *words: str, wrap: bool = False, check: bool = True) -> Result:
    env = {"PATH": "/opt/wrap:/usr/bin:/bin"} if wrap else {"PATH": "/usr/bin:/bin"}
    argv = ["python3", UNPACKED, "snapshots", *words, "--state-dir", STATE]
    return guest.run(argv, env=env, check=check)


def take(guest: Guest, *words: str, **options: Any) -> dict[str, Any]:
    """A run's record; ``rc`` is its exit status."""
    result = runner(guest, "run", "--json", *words, check=False, **options)
    assert result.stdout, result.stderr
    return {**json.loads(result.stdout), "rc": result.rc}


def snapshots(guest: Guest, dataset: str = "") -> list[str]:
    """Names of snapshots, oldest first; of one dataset the part behind the @."""
    where = ["-d", "1", dataset] if dataset else []
    names = guest.zfs("list", "-H", "-t", "snapshot", "-o", "name", "-s", "createtxg", *where)
    return [name.partition("@")[2] for name in names] if dataset else names


def wrapper(guest: Guest, body: str) -> None:
    """A program ``zfs`` that comes first on the path: ``body``, then the real one."""
    guest.run(["mkdir", "-p", "/opt/wrap"])
    real = guest.run("command -v zfs").stdout.strip()
    text = f'#!/bin/bash\nREAL={real}\n{textwrap.dedent(body)}\nexec $REAL "$@"\n'
    guest.put(text, "/opt/wrap/zfs", 0o755)


def history(guest: Guest, days: int, until: str, roots: tuple[str, ...] = ("main", "ssd")) -> None:
    """A daily snapshot for each of ``days`` days as the runner would have made it."""
    guids = dict(line.split() for line in guest.run("zpool get -Hpo name,value guid").lines)
    lines: list[str] = []
    for age in range(days - 1, -1, -1):
        slot = at(until) - age * DAY
        stamp = time.strftime("auto-%Y-%m-%d_%H-%M", time.gmtime(slot))
        lines += [
            f"date -s @{slot + 1} >/dev/null; zfs snapshot -r"
            f" -o homelab.backup:schedule=daily -o homelab.backup:slot={slot}"
            f" -o homelab.backup:naming=auto-%Y-%m-%d_%H-%M"
            f" -o homelab.backup:pool={guids[root.partition('/')[0]]} {root}@{stamp}"
            for root in roots
        ]
    guest.run("\n".join(lines))


def test_all_datasets_and_volumes_in_one_transaction(guest: Guest) -> None:
    put_policy(guest, TWELVE)
    record = take(guest)
    assert (record["rc"], record["verdict"]) == (0, "ok")
    assert [sorted(one["datasets"]) for one in record["taken"]] == [
        ["main", "main/a", "main/a/deep", "main/b", "main/vol"],
        ["ssd", "ssd/c"],
    ]
    assert set(snapshots(guest)) == everywhere("auto-12h-2027-05-05_12-00")
    txgs = guest.run("zfs get -Hpo value createtxg -t snapshot -r main").lines
    assert len(set(txgs)) == 1
    assert len(txgs) == 5
    assert take(guest)["taken"] == []


def test_excludes_and_the_others_still_in_one_transaction(guest: Guest) -> None:
    put_policy(guest, TWELVE | {"exclude": ["main/a", "*/c"]})
    record = take(guest)
    assert record["rc"] == 0
    assert set(snapshots(guest)) == everywhere(
        "auto-12h-2027-05-05_12-00", ("main", "main/b", "main/vol", "ssd")
    )
    assert len(set(guest.run("zfs get -Hpo value createtxg -t snapshot -r main").lines)) == 1


def test_what_is_not_ours_stays(guest: Guest) -> None:
    history(guest, 5, "2027-05-05 00:00:00")
    guest.run(
        "zfs snapshot main@auto-2027-01-01_00-00; zfs rename main/b@auto-2027-05-01_00-00 precious;"
        " zfs send -p main/a@auto-2027-05-01_00-00 | zfs recv ssd/received"
    )
    put_policy(guest, DAILY)
    guest.set_clock(at("2027-05-05 00:05:00"))
    record = take(guest)
    assert (record["rc"], record["taken"]) == (0, [])
    gone = sorted(one["snapshot"] for one in record["pruned"])
    # Five days, of which three stay; the renamed one leaves one less to go in main/b.
    assert len(gone) == 2 * len(DATASETS) - 1
    left = snapshots(guest)
    assert "main@auto-2027-01-01_00-00" in left
    assert "main/b@precious" in left
    assert "ssd/received@auto-2027-05-01_00-00" in left
    for name in DATASETS:
        ours = [short for short in snapshots(guest, name) if short.startswith("auto-2027-05")]
        assert ours == [f"auto-2027-05-0{day}_00-00" for day in (3, 4, 5)]
    said = runner(guest, "list", "ssd/received").stdout
    assert "made on another pool and received here" in said


def test_held_and_cloned_ones_stay_and_the_rest_goes(guest: Guest) -> None:
    history(guest, 5, "2027-05-05 00:00:00")
    guest.run(
        "zfs hold keep main/a@auto-2027-05-01_00-00;"
        " zfs clone main/a@auto-2027-05-02_00-00 main/clone"
    )
    put_policy(guest, DAILY | {"exclude": ["main/clone"]})
    guest.set_clock(at("2027-05-05 00:05:00"))
    planned = runner(guest, "plan").stdout
    assert "main/b@auto-2027-05-01_00-00" in planned
    assert "main/a@" not in planned
    record = take(guest)
    assert (record["rc"], record["refused"]) == (0, [])
    assert snapshots(guest, "main/a") == [f"auto-2027-05-0{day}_00-00" for day in range(1, 6)]
    assert snapshots(guest, "main/b") == [f"auto-2027-05-0{day}_00-00" for day in (3, 4, 5)]


def test_a_hold_that_comes_while_the_run_works(guest: Guest) -> None:
    history(guest, 5, "2027-05-05 00:00:00")
    put_policy(guest, DAILY)
    guest.set_clock(at("2027-05-05 00:05:00"))
    wrapper(
        guest,
        """
        case "$1 $2" in
        "destroy main/a@"*) $REAL hold now main/a@auto-2027-05-01_00-00 ;;
        esac
        """,
    )
    record = take(guest, wrap=True)
    assert (record["rc"], record["verdict"]) == (10, "incomplete")
    assert [one["snapshot"] for one in record["refused"]] == ["main/a@auto-2027-05-01_00-00"]
    assert "being held" in record["refused"][0]["reason"]
    assert len(record["pruned"]) == 2 * len(DATASETS) - 1


def test_one_dataset_that_fails_in_the_middle(guest: Guest) -> None:
    put_policy(guest, TWELVE)
    wrapper(
        guest,
        """
        case "$*" in
        *"snapshot -r"*main@*)
            [ -e /opt/wrap/done ] || $REAL snapshot main/b@auto-12h-2027-05-05_12-00
            touch /opt/wrap/done ;;
        esac
        """,
    )
    record = take(guest, wrap=True)
    assert (record["rc"], record["verdict"]) == (10, "incomplete")
    assert [one["on"] for one in record["failures"]] == ["main/b@auto-12h-2027-05-05_12-00"]
    assert "already exists" in record["failures"][0]["found"]
    assert record["taken"][0]["datasets"] == ["main", "main/a", "main/a/deep", "main/vol"]
    assert (
        len(
            set(
                guest.run(
                    "zfs get -Hpo value createtxg main@auto-12h-2027-05-05_12-00"
                    " main/a/deep@auto-12h-2027-05-05_12-00"
                ).lines
            )
        )
        == 1
    )
    assert snapshots(guest, "ssd/c") == ["auto-12h-2027-05-05_12-00"]


def test_a_dataset_that_is_destroyed_in_the_middle(guest: Guest) -> None:
    guest.zfs("create", "main/gone")
    put_policy(guest, TWELVE | {"exclude": ["main/none"]})
    wrapper(
        guest,
        """
        case "$1" in
        snapshot) $REAL list main/gone >/dev/null 2>&1 && $REAL destroy main/gone ;;
        esac
        """,
    )
    record = take(guest, wrap=True)
    assert (record["rc"], record["failures"]) == (0, [])
    assert set(snapshots(guest)) == everywhere("auto-12h-2027-05-05_12-00")


def test_an_exported_pool_is_caught_up_with(guest: Guest) -> None:
    put_policy(guest, TWELVE)
    guest.run(["zpool", "export", "ssd"])
    record = take(guest)
    assert record["rc"] == 10
    assert [one["pool"] for one in record["taken"]] == ["main"]
    assert record["failures"][0]["pool"] == "ssd"
    assert "does not exist" in record["failures"][0]["found"]
    guest.run(["zpool", "import", "ssd"])
    guest.set_clock(at("2027-05-05 13:07:00"))
    record = take(guest)
    assert record["rc"] == 0
    assert [(one["pool"], one["name"]) for one in record["taken"]] == [
        ("ssd", "auto-12h-2027-05-05_13-07")
    ]


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_each_change(guest: Guest, when: str) -> None:
    put_policy(guest, DAILY | {"lifetime": "2d", "datasets": ["main/a", "ssd"]})
    history(guest, 3, "2027-05-04 00:00:00", ("main/a", "ssd"))
    guest.set_clock(at("2027-05-05 00:00:02"))
    real = '$REAL "$@"' if when == "after" else ":"
    wrapper(
        guest,
        f"""
        case "$1" in
        snapshot|destroy)
            n=$(cat /opt/wrap/left); echo $((n - 1)) >/opt/wrap/left
            if [ $n -eq 0 ]; then {real}; kill -9 $PPID; exit 0; fi ;;
        esac
        """,
    )
    kills = 0
    # Six changes: a take for each pool, a destroy for each of four datasets. Killed after each
    # one; or before the first, the second and the third in turn, so that the sixth run ends.
    for dummy in range(20):
        guest.put(f"{0 if when == 'after' else kills % 3}\n", "/opt/wrap/left")
        result = runner(guest, "run", wrap=True, check=False)
        if result.rc == 0:
            break
        assert result.rc == -9
        kills += 1
    else:
        pytest.fail("it never came to an end")
    assert kills == (6 if when == "after" else 5)
    for name in ("main/a", "main/a/deep", "ssd", "ssd/c"):
        assert snapshots(guest, name) == ["auto-2027-05-04_00-00", "auto-2027-05-05_00-00"]
    assert take(guest)["taken"] == []


def test_a_clock_that_was_put_back(guest: Guest) -> None:
    put_policy(guest, TWELVE, DAILY)
    history(guest, 5, "2027-05-05 00:00:00")
    guest.set_clock(at("2027-05-03 12:00:01"))
    record = take(guest)
    assert (record["rc"], record["verdict"]) == (17, "clock")
    assert record["pruned"] == []
    assert "in the future" in record["clock"][0]["reason"]
    assert {one["schedule"] for one in record["taken"]} == {"12h", "daily"}
    accepted = take(guest, "--accept-clock")
    assert accepted["rc"] == 0


def test_a_lock_that_is_held(guest: Guest) -> None:
    put_policy(guest, TWELVE)
    wrapper(guest, '[ "$1" = snapshot ] && sleep 3')
    guest.run(
        f"PATH=/opt/wrap:$PATH {RUNNER} snapshots run >/tmp/first 2>&1 &"
        f" until [ -e {STATE}/state/snapshots.lock ]; do sleep 0.2; done;"
        f" {RUNNER} snapshots run; wait; grep -q took /tmp/first"
    )
    assert set(snapshots(guest)) == everywhere("auto-12h-2027-05-05_12-00")


# --- through Ansible and cron ----------------------------------------------------------------


class Play:
    """Runs one module task against the guest and returns its result."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory

    def __call__(self, module: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
        answer = self.directory / "answer.json"
        answer.unlink(missing_ok=True)
        play = [
            {
                "hosts": "truenas",
                "gather_facts": False,
                "tasks": [
                    {
                        f"homelab.backup.{module}": options,
                        "check_mode": check,
                        "diff": True,
                        "register": "answer",
                        "ignore_errors": True,
                    },
                    {
                        "ansible.builtin.copy": {
                            "content": "{{ answer | to_json }}",
                            "dest": str(answer),
                            "mode": "0600",
                        },
                        "delegate_to": "localhost",
                        "connection": "local",
                    },
                ],
            }
        ]
        run = self.lab.settings.run
        inventory = {
            "all": {
                "hosts": {
                    "truenas": {
                        "ansible_user": "root",
                        "ansible_python_interpreter": "/usr/bin/python3",
                        "ansible_ssh_common_args": f"-F {run}/ssh_config",
                        "ansible_ssh_args": f"-o ControlMaster=auto -o ControlPath={run}/ssh-%C",
                    },
                    "localhost": {"ansible_python_interpreter": sys.executable},
                }
            }
        }
        (self.directory / "play.yml").write_text(json.dumps(play))
        (self.directory / "hosts.yml").write_text(json.dumps(inventory))
        argv = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(self.directory / "hosts.yml"),
            str(self.directory / "play.yml"),
        ]
        done = subprocess.run(
            self.lab.inside(*argv),
            cwd=REPOSITORY,
            env=os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".cache/collections")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        result: dict[str, Any] = json.loads(answer.read_text())
        return result


@pytest.fixture
def play(lab: Lab, tmp_path: Path) -> Play:
    return Play(lab, tmp_path)


def options(*schedules: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"state_dir": STATE, "log": LOG, "schedules": list(schedules)} | more


def test_the_module_converges_and_shows_what_goes(guest: Guest, play: Play) -> None:
    guest.set_timezone("Etc/UTC")
    guest.run(["systemctl", "stop", "cron"])
    history(guest, 5, "2027-05-05 00:00:00")
    guest.set_clock(at("2027-05-05 12:10:00"))
    specified = options(TWELVE, DAILY | {"lifetime": "5d"})

    checked = play("zfs_snapshot_policy", check=True, **specified)
    assert checked["changed"]
    assert [section["before_header"] for section in checked["diff"]] == [
        f"{STATE}/etc/snapshots.json",
        CRON,
    ]
    assert "0 */12 * * * root /usr/bin/python3" in checked["diff"][1]["after"]
    assert guest.run(["test", "-e", CRON], check=False).rc == 1

    applied = play("zfs_snapshot_policy", **specified)
    assert applied["changed"]
    assert applied["diff"] == checked["diff"]
    assert guest.get(CRON).decode() == applied["diff"][1]["after"]
    again = play("zfs_snapshot_policy", **specified)
    assert (again["changed"], again["diff"], again["changes"]) == (False, [], [])

    shorter = options(TWELVE, DAILY | {"lifetime": "2d"})
    checked = play("zfs_snapshot_policy", check=True, **shorter)
    going = [one["name"] for one in checked["snapshots"]]
    assert len(going) == 3 * len(DATASETS)
    assert not any(one["destroyed"] for one in checked["snapshots"])
    assert checked["changes"] == ["schedule 'daily': lifetime '5d' becomes '2d'"]
    named = checked["diff"][-1]
    assert named["before_header"] == "snapshots that go now"
    assert "main/vol@auto-2027-05-01_00-00 (0 B of its own): its lifetime of 2d" in named["before"]
    before = set(snapshots(guest))
    applied = play("zfs_snapshot_policy", **shorter)
    assert all(one["destroyed"] for one in applied["snapshots"])
    assert before - set(snapshots(guest)) == set(going)
    assert not play("zfs_snapshot_policy", **shorter)["changed"]

    info = play(
        "zfs_snapshot_info",
        state_dir=STATE,
        services={"photos": ["main/a"], "vm": ["main/vol"], "lost": ["main/nowhere"]},
    )
    assert info["missing"] == ["main/nowhere"]
    assert (info["services"]["photos"]["count"], info["services"]["vm"]["count"]) == (4, 2)
    assert info["services"]["lost"]["newest_age"] is None
    newest = [one for one in info["snapshots"] if one["dataset"] == "main/vol"][-1]
    assert (newest["schedule"], newest["services"]) == ("daily", ["vm"])
    assert newest["expires"] == "2027-05-07T00:00:00Z"

    count = len(snapshots(guest))
    assert play("zfs_snapshot_policy", state="absent", state_dir=STATE)["changed"]
    assert guest.run(["test", "-e", CRON], check=False).rc == 1
    assert len(snapshots(guest)) == count


def test_a_wrong_policy_names_every_key(play: Play) -> None:
    answer = play("zfs_snapshot_policy", **options(TWELVE | {"cron": "0 25 * * *", "naming": "x"}))
    assert answer["failed"]
    assert "schedules[0].cron" in answer["msg"]
    assert "schedules[0].naming" in answer["msg"]
    assert answer["error"]["remedy"]


def test_a_truenas_is_refused_clearly(guest: Guest, play: Play) -> None:
    guest.run("touch /usr/bin/midclt /etc/version")
    try:
        answer = play("zfs_snapshot_policy", check=True, **options(TWELVE))
        assert "backend for its middleware is not there yet" in answer["msg"]
        forced = play("zfs_snapshot_policy", check=True, **options(TWELVE, backend="zfs"))
        assert forced["changed"]
    finally:
        guest.run("rm /usr/bin/midclt /etc/version")


@pytest.mark.parametrize(
    ("zone", "clock", "expected"),
    [
        ("Etc/UTC", "2027-06-01 11:59:50", "auto-12h-2027-06-01_12-00"),
        # Noon in New York is 16:00 in UTC: cron's own clock is another one.
        ("America/New_York", "2027-06-01 15:59:50", "auto-12h-2027-06-01_12-00"),
    ],
)
def test_the_hosts_own_cron_takes_them(
    guest: Guest, play: Play, zone: str, clock: str, expected: str
) -> None:
    guest.set_timezone("Etc/UTC")
    guest.run(["systemctl", "stop", "cron"])
    guest.set_clock(at(clock) - 60)
    assert play("zfs_snapshot_policy", **options(TWELVE | {"timezone": zone}))["changed"]
    guest.set_clock(at(clock))
    # cron reads new files at the beginning of a minute, and runs @reboot lines once after a boot.
    guest.run("touch /run/crond.reboot; systemctl start cron")
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and len(snapshots(guest)) < len(DATASETS):
        time.sleep(1)
    guest.run(["systemctl", "stop", "cron"])
    assert set(snapshots(guest)) == everywhere(expected)
    assert "ended: ok" in guest.get(LOG).decode()
