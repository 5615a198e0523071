# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself: what the other integration tests take for granted."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.lab.guest import Guest, GuestError
from tests.lab.instance import Lab
from tests.lab.nas import SHARE, Nas

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("pristine")]

KEY = "/root/.ssh/lab-nas"


def sftp(guest: Guest, nas: Nas, user: str, batch: str, address: str = "") -> tuple[int, str]:
    """Run a batch of sftp(1) from the guest; exit status and everything it said."""
    guest.put(nas.key(user), KEY, 0o600)
    guest.put(nas.known_hosts, "/root/.ssh/known_hosts")
    target = f"{user}@{address or nas.address}"
    result = guest.run(
        ["sftp", "-q", "-o", "IdentitiesOnly=yes", "-i", KEY, "-b", "-", target],
        stdin=f"cd {SHARE}\n{batch}",
        check=False,
    )
    return result.rc, result.stdout + result.stderr


def test_pools_are_there_and_empty(guest: Guest) -> None:
    listed = guest.zfs("list", "-Hp", "-o", "name,mountpoint,mounted", "-t", "all")
    assert listed == ["main\t/mnt/main\tyes", "ssd\t/mnt/ssd\tyes"]
    assert guest.run(["zpool", "status", "-x"]).stdout == "all pools are healthy\n"


def test_openzfs_is_a_current_one(guest: Guest) -> None:
    userland, kernel = guest.run(["zfs", "version"]).lines
    assert userland.startswith("zfs-2.3.")
    assert kernel == userland.replace("zfs-", "zfs-kmod-", 1)


def test_recursive_snapshot(guest: Guest) -> None:
    guest.zfs("create", "-p", "main/snapshots/child")
    guest.zfs("create", "-V", "64M", "main/snapshots/volume")
    guest.put(b"kept", "/mnt/main/snapshots/child/file")
    guest.zfs("snapshot", "-r", "main/snapshots@now")
    guest.run(["rm", "/mnt/main/snapshots/child/file"])
    names = guest.zfs("list", "-H", "-o", "name", "-t", "snapshot", "-r", "main/snapshots")
    assert names == [
        "main/snapshots@now",
        "main/snapshots/child@now",
        "main/snapshots/volume@now",
    ]
    assert guest.get("/mnt/main/snapshots/child/.zfs/snapshot/now/file") == b"kept"


def test_posix_acl_and_xattr_are_kept(guest: Guest) -> None:
    guest.run(
        "zfs create main/acl && cd /mnt/main/acl && touch f"
        " && setfacl -m u:1234:r f && setfattr -n user.colour -v blue f"
    )
    assert "user:1234:r--" in guest.run("getfacl -cn /mnt/main/acl/f").lines
    said = guest.run("getfattr --only-values -n user.colour /mnt/main/acl/f").stdout
    assert said == "blue"


def test_a_command_of_any_bytes(guest: Guest) -> None:
    name = b"/mnt/main/\xff\r\n'\" name"
    guest.put(bytes(range(256)), name)
    assert guest.get(name) == bytes(range(256))
    assert guest.run([b"ls", b"-N", b"/mnt/main"]).out.endswith(b"\xff\r\n'\" name\n")
    guest.run([b"rm", name])


def test_failure_and_time_limit_of_a_command(guest: Guest) -> None:
    assert guest.run("echo out; echo err >&2; exit 7", check=False).rc == 7
    with pytest.raises(GuestError, match=r"exit 7: err"):
        guest.run("echo out; echo err >&2; exit 7")
    assert guest.run("kill -9 $$", check=False).rc == -9
    start = time.monotonic()
    with pytest.raises(GuestError, match=r"killed after 0\.5 s"):
        guest.run("sleep 60", timeout=0.5)
    assert time.monotonic() - start < 10
    assert guest.run(["no-such-program"], check=False).rc == 127


def test_python_code(guest: Guest) -> None:
    said = guest.python("import sys; print(sys.argv[1:], sys.stdin.read())", "a", stdin=b"b")
    assert said.stdout == "['a'] b\n"
    with pytest.raises(GuestError, match="ZeroDivisionError"):
        guest.python("1 / 0")
    assert guest.python("raise SystemExit(3)", check=False).rc == 3


def test_answers_belong_to_their_commands(guest: Guest) -> None:
    start = time.monotonic()
    answers = [guest.run(["echo", str(number)]).stdout for number in range(20)]
    assert answers == [f"{number}\n" for number in range(20)]
    print(f"one command in the guest: {(time.monotonic() - start) / 20 * 1000:.1f} ms")


def test_clock_and_time_zone(guest: Guest) -> None:
    assert abs(guest.clock() - time.time()) < 5
    guest.set_timezone("Australia/Lord_Howe")
    # The clocks there go back by half an hour at 2026-04-04T15:00Z.
    said = []
    for moment in (1775314800 - 600, 1775314800):
        guest.set_clock(moment)
        said.append(guest.run("date '+%H:%M %z'").stdout)
    assert said == ["01:50 +1100\n", "01:30 +1030\n"]
    guest.set_timezone("Etc/UTC")
    guest.set_clock()


def test_the_guest_reaches_the_nas_by_key(guest: Guest, nas: Nas) -> None:
    status, said = sftp(guest, nas, "backup", "put /etc/hostname a\nrename a b\nls\nrm b\n")
    assert status == 0, said
    assert not (nas.share / "a").exists()
    assert not (nas.share / "b").exists()


def test_the_run_s_user_can_write_and_rename_but_not_remove(guest: Guest, nas: Nas) -> None:
    status, said = sftp(
        guest,
        nas,
        "offsite",
        "put /etc/hostname kept\nrename kept renamed\nmkdir d\n-rm renamed\n-rmdir d\n",
    )
    assert status == 0, said
    assert said.count("Permission denied") == 2
    assert (nas.share / "renamed").read_text() == "truenas\n"
    assert (nas.share / "d").is_dir()
    status, said = sftp(guest, nas, "pruner", "rm renamed\nrmdir d\n")
    assert status == 0, said
    assert list(nas.share.iterdir()) == []


def test_the_chroot_and_the_key_are_enforced(guest: Guest, nas: Nas) -> None:
    status, said = sftp(guest, nas, "offsite", "cd /\nls -1\n")
    assert status == 0, said
    assert said.split("ls -1")[1].split() == ["Backup"]
    command = ["ssh", "-o", "BatchMode=yes", "-i", KEY, f"backup@{nas.address}", "true"]
    assert guest.run(command, check=False).rc == 255
    shell = ["ssh", "-o", "BatchMode=yes", "-i", KEY, f"offsite@{nas.address}", "echo", "shell"]
    assert "shell" not in guest.run(shell, check=False, timeout=20, stdin=b"\0\0\0\1\0").stdout


def test_a_full_nas(guest: Guest, nas: Nas) -> None:
    guest.run("head -c 3M /dev/urandom >/root/large")
    nas.resize(2)
    status, said = sftp(guest, nas, "offsite", "put /root/large large\n")
    assert status != 0
    assert "Failure" in said
    nas.resize(64)
    status, said = sftp(guest, nas, "offsite", "put /root/large large\n")
    assert status == 0, said
    assert (nas.share / "large").stat().st_size == 3 * 2**20


def shortest_round_trip(lab: Lab, host: str) -> float:
    """Seconds for one line to a cat(1) behind SSH and back, the best of 20."""
    took = []
    command = lab.ssh("-o", "ControlPath=none", host, "cat")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as cat:
        assert cat.stdin is not None
        assert cat.stdout is not None
        for dummy in range(20):
            start = time.monotonic()
            cat.stdin.write(b"x")
            assert cat.stdout.read(1) == b"x"
            took.append(time.monotonic() - start)
        cat.stdin.close()
    return min(took)


def test_the_far_nas_has_a_round_trip(lab: Lab) -> None:
    near, far = (shortest_round_trip(lab, host) for host in ("nas-shell", "nas-far-shell"))
    print(f"round trip: {near * 1000:.1f} ms near, {far * 1000:.1f} ms far")
    assert near < 0.020 <= far


def test_the_guest_reaches_the_far_nas(guest: Guest, nas: Nas) -> None:
    status, said = sftp(guest, nas, "backup", "ls\n", nas.far_address)
    assert status == 0, said


def test_a_cut_link(guest: Guest, nas: Nas) -> None:
    nas.cut()
    probe = ["timeout", "3", "bash", "-c", f"exec 3<>/dev/tcp/{nas.address}/22; head -c 4 <&3"]
    assert guest.run(probe, check=False).rc == 124
    nas.mend()
    assert guest.run(probe).stdout == "SSH-"


def test_other_options_of_the_server(guest: Guest, nas: Nas) -> None:
    nas.restart(sftp={"offsite": "-R"})
    status, said = sftp(guest, nas, "offsite", "put /etc/hostname a\n")
    assert status != 0
    assert "Permission denied" in said
    nas.restart()
    status, said = sftp(guest, nas, "offsite", "put /etc/hostname a\n")
    assert status == 0, said


def test_reset_brings_the_pristine_state_back(lab: Lab, guest: Guest, nas: Nas) -> None:
    guest.zfs("create", "-p", "main/gone/soon")
    guest.run("echo x >/root/gone; zpool export ssd; sync")
    (nas.share / "gone").write_text("x")
    nas.resize(8)
    took = lab.reset()
    print(f"reset: {took:.2f} s")
    assert guest.zfs("list", "-H", "-o", "name") == ["main", "ssd"]
    assert guest.run(["test", "-e", "/root/gone"], check=False).rc == 1
    assert list(nas.share.iterdir()) == []
    assert abs(guest.clock() - time.time()) < 5
    guest.run("head -c 12M /dev/zero >/root/twelve")
    status, said = sftp(guest, nas, "backup", "put /root/twelve a\n")
    assert status == 0, said


def test_a_saved_state(lab: Lab, guest: Guest, nas: Nas) -> None:
    guest.put(b"before", "/mnt/main/file")
    (nas.share / "file").write_text("before")
    lab.save("before")
    guest.put(b"after", "/mnt/main/file")
    (nas.share / "file").write_text("after")
    took = lab.reset("before")
    print(f"saved state loaded: {took:.2f} s")
    assert guest.get("/mnt/main/file") == b"before"
    assert (nas.share / "file").read_text() == "before"
