# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The ssh command line, what its last words mean, and what an unspecific failure meant."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.homelab.backup.plugins.module_utils._sftp.connection import (
    Connection,
    Tuning,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.diagnosis import (
    OTHER,
    describe_end,
    last_words,
    remedy_for,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.explain import Explainer
from ansible_collections.homelab.backup.plugins.module_utils._sftp.failures import (
    ConnectionLostError,
    Reason,
    RemoteError,
    refusal,
)
from ansible_collections.homelab.backup.plugins.module_utils._sftp.ssh import SshTarget, ssh_argv

TARGET = SshTarget("nas.example", "offsite", "/keys/id", "/etc/known hosts", port=2222)

CHANGED = b"""@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Host key for nas has changed and you have requested strict checking.\r
Host key verification failed.\r
"""


def effective(target: SshTarget) -> dict[str, list[str]]:
    """What the real ssh makes of the command line (``ssh -G`` prints it and connects nowhere)."""
    argv = ssh_argv(target)
    done = subprocess.run(
        [argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True, timeout=30
    )
    options: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        name, dummy, value = line.partition(" ")
        options.setdefault(name, []).append(value)
    return options


def test_ssh_itself_reads_the_options_as_meant() -> None:
    options = effective(TARGET)
    expected = {
        "hostname": "nas.example",
        "user": "offsite",
        "port": "2222",
        "batchmode": "yes",
        "stricthostkeychecking": "true",
        "identitiesonly": "yes",
        "updatehostkeys": "false",
        "globalknownhostsfile": "/dev/null",
        "requesttty": "false",
        "controlmaster": "false",
        "forwardagent": "no",
    }
    assert {name: options[name] for name in expected} == {
        name: [value] for name, value in expected.items()
    }
    [ciphers] = options["ciphers"]
    assert ciphers.startswith("aes128-gcm@openssh.com,")
    assert "chacha20-poly1305@openssh.com" in ciphers, "the others are still offered"


def test_only_the_given_key_is_tried_even_when_it_is_missing() -> None:
    """With ``-i`` ssh would fall back to ~/.ssh/id_*, which may be allowed more."""
    assert not Path(TARGET.key_file).exists()
    assert effective(TARGET)["identityfile"] == ["/keys/id"]


@pytest.mark.parametrize("name", ["/a b/c", '/quo"te', "/back\\slash", "/per%cent"])
def test_any_file_name_is_one_word(name: str) -> None:
    options = effective(dataclasses.replace(TARGET, key_file=name, known_hosts_file=name))
    # ssh prints the one before and the other after it has put its tokens in.
    assert options["identityfile"] == [name.replace("%", "%%")]
    assert options["userknownhostsfile"] == [name]


def test_a_host_can_not_become_an_option() -> None:
    argv = ssh_argv(dataclasses.replace(TARGET, host="-oProxyCommand=touch /tmp/x"))
    assert argv[-3:] == ["--", "-oProxyCommand=touch /tmp/x", "sftp"]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (CHANGED, "pin the new one"),
        (
            b"No ED25519 host key is known for nas\r\nHost key verification failed.\r\n",
            "isn't pinned",
        ),
        (b"offsite@nas: Permission denied (publickey).\r\n", "authorized_keys"),
        (b"ssh: connect to host nas port 22: Connection refused\r\n", "correct the port"),
        (b"ssh: connect to host nas port 22: No route to host\r\n", "firewall"),
        (b"ssh: connect to host nas port 22: Connection timed out\r\n", "firewall"),
        (b"Timeout, server nas not responding.\r\n", "firewall"),
        (b"ssh: Could not resolve hostname nas: Name or service not known\r\n", "host name"),
        (b"subsystem request failed on channel 0\r\n", "no SFTP subsystem"),
        (b"kex_exchange_identification: read: Connection reset by peer\r\n", "Auto Block"),
        (b"Unable to negotiate: no matching host key type found.\r\n", "update the older"),
        (b"WARNING: UNPROTECTED PRIVATE KEY FILE!\r\nPermission denied (publickey).", "mode 0600"),
        (b"something new", OTHER),
    ],
)
def test_last_words_have_a_remedy(said: bytes, remedy: str) -> None:
    assert remedy in remedy_for(last_words(said))


def test_last_words_on_one_line() -> None:
    assert last_words(CHANGED).startswith("WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! | Host")
    assert last_words(b"a\na\n\n\xff\n") == "a | \ufffd"


@pytest.mark.parametrize(
    ("status", "words"), [(255, "status 255"), (-9, "signal 9"), (None, "by the other side")]
)
def test_how_it_ended(status: int | None, words: str) -> None:
    assert words in describe_end(b"", status)[0]
    assert describe_end(b"last\n", status)[0].startswith("last (")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (2, Reason.MISSING),
        (3, Reason.PERMISSION),
        (4, Reason.OTHER),
        (5, Reason.NAME),
        (8, Reason.UNSUPPORTED),
        (11, Reason.OTHER),
        (2**32 - 1, Reason.OTHER),
    ],
)
def test_status_codes(code: int, reason: Reason) -> None:
    error = refusal("write", b"/a\n", code, "words")
    assert error.reason is reason
    assert error.on == "/a\\x0a"
    assert error.found.startswith("words")
    assert error.remedy


def test_unknown_requests_are_counted_not_all_shown() -> None:
    error = ConnectionLostError("go on", unknown=tuple(("make", b"/%d" % n) for n in range(50)))
    assert error.facts()["unknown"].endswith("; and 30 more")


@pytest.fixture
def odd() -> Iterator[Connection]:
    """A server that says 1.6 MB are free and names have at most 143 bytes."""
    server = str(Path(__file__).with_name("odd_server.py"))
    connection = Connection.open(
        [sys.executable, "-I", server], where="odd", tuning=Tuning(stall_timeout=20)
    )
    yield connection
    connection.close()


def test_a_failure_with_little_space_left_means_full(odd: Connection) -> None:
    error = Explainer(odd).explain(refusal("write", b"/a", 4, "Failure"))
    assert error.reason is Reason.FULL
    assert "1.6 MiB are free" in error.found
    assert "raise the quota" in error.remedy


def test_a_specific_refusal_stays_as_it_is(odd: Connection) -> None:
    error = refusal("write", b"/a", 3, "Permission denied")
    assert Explainer(odd).explain(error, needed=10**12) is error


def test_a_failure_of_a_long_name_without_statvfs(odd: Connection) -> None:
    odd.extensions = frozenset()
    explainer = Explainer(odd)
    assert explainer.explain(refusal("write", b"/" + b"n" * 144, 4, "")).reason is Reason.NAME
    short = refusal("write", b"/" + b"n" * 143, 4, "")
    assert explainer.explain(short) is short
    assert isinstance(short, RemoteError)
