# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""The driver of the tiers counts right, above all what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import run

# As Molecule 26.10 prints it, with its colours; `third` was not reached.
RECAP = (
    "INFO     SCENARIO RECAP is printed below\n"
    "\x1b[1m\x1b[4mSCENARIO RECAP                         \x1b[0m\n"
    "\x1b[32mdefault      \x1b[0m: \x1b[33mactions=1\x1b[0m  \x1b[32msuccessful=1\x1b[0m  "
    "disabled=0  skipped=0  missing=0  failed=0\n"
    "\x1b[32mfirst        \x1b[0m: \x1b[33mactions=3\x1b[0m  \x1b[32msuccessful=3\x1b[0m  "
    "disabled=0  skipped=0  missing=0  failed=0\n"
    "\x1b[32msecond       \x1b[0m: \x1b[33mactions=3\x1b[0m  \x1b[32msuccessful=2\x1b[0m  "
    "disabled=0  skipped=0  missing=0  \x1b[31mfailed=1\x1b[0m\n"
    "\x1b[32mempty        \x1b[0m: actions=2  successful=0  "
    "disabled=0  skipped=0  missing=2  failed=0\n"
)


def test_a_scenario_passed_only_when_it_did_something_and_nothing_failed() -> None:
    scenarios = ["first", "second", "third", "empty"]
    assert run.scenarios_passed(RECAP, scenarios) == {"first"}


def test_output_without_a_summary_passes_nothing() -> None:
    assert run.scenarios_passed("first: successful=3 failed=0 crashed", ["first"]) == set()


def test_an_error_in_a_fixture_counts_as_a_failure(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10"/>'
        "</testsuites>"
    )
    assert run.pytest_counts(report) == (4, 3, 3)


def test_pytest_without_a_test_is_a_failure(tmp_path: Path) -> None:
    assert run.run_pytest("nothing", str(tmp_path)).failed == 1


def test_a_gate_that_exits_with_another_status_fails() -> None:
    good, output = run.run_gate(run.Gate("good", (sys.executable, "-c", "print('said')")))
    assert (good.passed, good.failed, output) == (1, 0, "said\n")
    bad, output = run.run_gate(run.Gate("bad", (sys.executable, "-c", "exit('why')")))
    assert (bad.passed, bad.failed, output) == (0, 1, "why\n")


@pytest.mark.parametrize(("failed", "status"), [(0, 0), (2, 1)])
def test_the_last_line_sums_all_runners(
    failed: int,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def first() -> Iterator[run.Outcome]:
        yield run.Outcome("a", 3, 0, 1, 0.1)
        yield run.Outcome("b", 4, failed, 0, 0.1)

    def second() -> Iterator[run.Outcome]:
        yield run.Outcome("c", 5, 0, 0, 0.1)

    monkeypatch.setattr(run, "TIERS", {"first": first, "second": second})
    assert run.main(["first", "second"]) == status
    assert capsys.readouterr().out.splitlines()[-1] == f"12 passed, {failed} failed"


def test_an_unknown_tier_is_wrong_usage() -> None:
    assert run.main(["storge"]) == 2
    assert run.main([]) == 2
