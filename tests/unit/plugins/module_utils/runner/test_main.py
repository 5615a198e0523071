# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The runner's command line: exit status, error text, usage."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.homelab.backup.plugins.module_utils._core.errors import (
    BackupError,
    ClockError,
    ConfigError,
    DestinationError,
    ExitCode,
    GuardError,
    LockedError,
    SourceError,
    TransportError,
)
from ansible_collections.homelab.backup.plugins.module_utils._runner.main import (
    DOMAINS,
    build_parser,
    domains_for,
    error_block,
    run,
)
from ansible_collections.homelab.backup.plugins.module_utils._runner.registration import (
    Register,
    Subparsers,
    runs,
)
from ansible_collections.homelab.backup.plugins.module_utils._runner.version import VERSION

ROOT = Path(__file__).resolve().parents[5]


def domain(outcome: ExitCode | BaseException) -> Register:
    """A domain with one subcommand ``act --name NAME`` that returns or raises ``outcome``."""

    def act(arguments: argparse.Namespace) -> ExitCode:
        if isinstance(outcome, BaseException):
            raise outcome
        print(f"acted on {arguments.name}")
        return outcome

    def register(subparsers: Subparsers) -> None:
        parser = subparsers.add_parser("act", help="do it")
        parser.add_argument("--name", required=True)
        runs(parser, act)

    return register


def test_result_and_status_are_the_subcommands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["act", "--name", "tank"], [domain(ExitCode.INCOMPLETE)]) == 10
    captured = capsys.readouterr()
    assert captured.out == "acted on tank\n"
    assert captured.err == ""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BackupError, 1),
        (GuardError, 11),
        (LockedError, 12),
        (SourceError, 13),
        (DestinationError, 14),
        (TransportError, 15),
        (ConfigError, 16),
        (ClockError, 17),
    ],
)
def test_each_error_has_its_status(
    error: type[BackupError], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    raised = error("list the snapshots", on="tank/data", found="no such pool", remedy="import it")
    assert run(["act", "--name", "x"], [domain(raised)]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"homelab-backup: {error.__name__}: could not list the snapshots\n"
        "  on:    tank/data\n"
        "  found: no such pool\n"
        "  do:    import it\n"
    )


def test_parts_that_an_error_lacks_are_left_out() -> None:
    assert error_block(SourceError("mount it")) == (
        "homelab-backup: SourceError: could not mount it"
    )


def test_a_found_text_of_many_lines_stays_under_its_label() -> None:
    block = error_block(SourceError("mount it", found="one\ntwo"))
    assert block.splitlines()[1:] == ["  found: one", "         two"]


def test_interrupt_is_a_clear_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["act", "--name", "x"], [domain(KeyboardInterrupt())]) == ExitCode.INTERRUPTED
    assert "interrupted" in capsys.readouterr().err


def test_full_disk_is_named_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/mnt/main/state")
    assert run(["act", "--name", "x"], [domain(full)]) == ExitCode.FAILED
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert "/mnt/main/state" in error


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(["act", "--name", "x"], [domain(ZeroDivisionError())])


@pytest.mark.parametrize(
    "argv", [[], ["act"], ["nothing-of-the-kind"], ["act", "--nam", "x", "--name", "y"]]
)
def test_wrong_usage_has_status_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        run(argv, [domain(ExitCode.OK)])
    assert exit_info.value.code == ExitCode.USAGE


def test_help_lists_every_exit_status() -> None:
    text = " ".join(build_parser(domains_for([])).format_help().split())
    for code in ExitCode:
        assert f"{code.value} {code.name}" in text


def test_version_is_the_collections(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        run(["--version"], domains_for(["--version"]))
    assert exit_info.value.code == 0
    assert capsys.readouterr().out == f"homelab-backup {VERSION}\n"
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == VERSION


def test_only_the_domain_that_is_meant_is_loaded() -> None:
    assert [len(domains_for([name, "run"])) for name in DOMAINS] == [1] * len(DOMAINS)
    assert len(domains_for(["--help"])) == len(DOMAINS)
    code = f"""
import sys
from {RUNNER}.main import domains_for
domains_for(["snapshots", "run"])
sys.exit(any("._offsite." in name or "._sftp." in name for name in sys.modules))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".cache/collections")}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )


RUNNER = "ansible_collections.homelab.backup.plugins.module_utils._runner"
# A program whose subcommand ``act`` has the given body.
PROGRAM = f"""
import sys, time
from {RUNNER} import main
from {RUNNER}.registration import runs

def act(arguments):
    BODY

def register(subparsers):
    runs(subparsers.add_parser("act"), act)

main.domains_for = lambda argv: (register,)
sys.argv = ["homelab-backup", "act"]
main.main()
"""


def program(body: str, **environment: str) -> subprocess.Popen[bytes]:
    """The program, started."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("BODY", body)],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".cache/collections"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_sigterm_ends_a_run_with_its_status() -> None:
    with program("sys.stdout.write('started\\n'); time.sleep(60)") as process:
        if process.stdout is None:
            raise AssertionError("no pipe")
        assert process.stdout.readline() == b"started\n"
        process.send_signal(signal.SIGTERM)
        _out, error = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    assert error.startswith(b"homelab-backup: interrupted")


def test_a_name_that_the_locale_lacks_is_escaped() -> None:
    with program(
        "sys.stdout.write('caf\\u00e9 \\udcff\\n'); return 0",
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
        PYTHONIOENCODING="ascii",
    ) as process:
        out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (0, b"caf\\xe9 \\udcff\n", b"")


def test_a_reader_that_went_away_is_no_crash() -> None:
    with program("time.sleep(0.5)\n    while True: sys.stdout.write('x' * 5000)") as process:
        if process.stdout is None or process.stderr is None:
            raise AssertionError("no pipe")
        process.stdout.close()
        error = process.stderr.read()
        process.wait(timeout=20)
    assert (process.returncode, error) == (ExitCode.FAILED, b"")
