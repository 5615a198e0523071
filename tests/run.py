# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors

"""Runs the tiers of tests named on the command line and counts what passed.

``python tests/run.py lint unit storage``. Each runner says what it runs and how long it
took; its output is never held back. The last line is ``N passed, N failed`` over all runners
(a lint gate counts as one test, a Molecule scenario as one). The exit status is 1 when
anything failed, also when a runner found nothing to run.

Standard library only, so that it can tell what is missing. Run by the Makefile, which makes
the environment first.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
COLLECTIONS = CACHE / "collections"
BIN = Path(sys.prefix) / "bin"
PLUGINS_PACKAGE = "ansible_collections.homelab.backup.plugins"
# What ansible-test of ansible-core 2.19 calls the file (pip 24.2).
GET_PIP = "get_pip_24_2.py"


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What one runner did."""

    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float

    def line(self) -> str:
        """One line for the summary."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        counts = f"{self.passed} passed, {self.failed} failed{skipped}"
        mark = "FAILED" if self.failed else "ok"
        return f"{mark:6}  {self.name:28} {counts:40} {self.seconds:7.1f} s"


@dataclasses.dataclass(frozen=True, slots=True)
class Gate:
    """One lint gate: a command that exits with 0 when all is well."""

    name: str
    argv: tuple[str, ...]
    cwd: Path = ROOT
    prepare: Callable[[], None] | None = None
    home: Path | None = None


def environment(home: Path | None = None) -> dict[str, str]:
    """The environment of every runner: the venv's programs first, the collection importable.

    Tools call each other by name (molecule runs ansible-config), and pyenv's shims on PATH
    would answer otherwise. Variables of a surrounding git command are dropped.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env["PATH"] = f"{BIN}:{env.get('PATH', os.defpath)}"
    env["VIRTUAL_ENV"] = sys.prefix
    env["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
    env["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
    env["ANSIBLE_HOME"] = str(CACHE / "ansible")
    # Not under ANSIBLE_HOME: the path of a socket holds 107 bytes only.
    env.setdefault("ANSIBLE_SSH_CONTROL_PATH_DIR", "~/.ansible/cp")
    env["PYTHONPATH"] = f"{ROOT}:{COLLECTIONS}"
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    env.setdefault("LC_ALL", "C.UTF-8")
    if not sys.stdout.isatty():
        env["NO_COLOR"] = "1"
    # git refuses a checkout of another user, which root's often is.
    env["GIT_CONFIG_COUNT"] = "1"
    env["GIT_CONFIG_KEY_0"] = "safe.directory"
    env["GIT_CONFIG_VALUE_0"] = str(ROOT)
    if home is not None:
        env["HOME"] = str(home)
    return env


def say(text: str) -> None:
    """Print at once: the output of subprocesses follows."""
    print(text, flush=True)


def shown(argv: Sequence[str]) -> str:
    """A command as one would type it in the repository."""
    return shlex.join(argv).replace(f"{ROOT}/", "")


# --- lint -----------------------------------------------------------------------------------


def tracked_files() -> list[Path]:
    """Files that git tracks or would track, relative to the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        env=environment(),
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    names = [Path(os.fsdecode(name)) for name in listed.split(b"\0") if name]
    return sorted({name for name in names if (ROOT / name).is_symlink() or (ROOT / name).exists()})


def shell_scripts() -> Iterator[Path]:
    """Shell scripts by suffix or by first line."""
    for name in tracked_files():
        path = ROOT / name
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as stream:
            first = stream.readline(100)
        if name.suffix == ".sh" or re.match(rb"#!.*\b(sh|bash)\b", first):
            yield name


def copy_if_changed(source: Path, target: Path) -> None:
    """Copy a file or link unless the target has its content, so that times stay for caches."""
    if source.is_symlink():
        if target.is_symlink() and target.readlink() == source.readlink():
            return
        target.unlink(missing_ok=True)
        target.symlink_to(source.readlink())
        return
    if target.is_file() and target.read_bytes() == source.read_bytes():
        shutil.copymode(source, target)
        return
    target.unlink(missing_ok=True)
    shutil.copy2(source, target)


def stage_sanity_copy() -> None:
    """Put the tree under a path that ansible-test accepts, as a git repository of its own.

    ansible-test tells a collection by its path and its files by ``git ls-files``. Its home
    directory is ours, because it keeps virtual environments there; the user's pip settings
    are linked into it. ansible-test would download get-pip.py from a host that isn't a
    package registry; Python's own ensurepip does the same without it.
    """
    copy = CACHE / "sanity/ansible_collections/homelab/backup"
    wanted = set(tracked_files())
    for name in wanted:
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_if_changed(ROOT / name, target)
    for path in sorted(copy.rglob("*"), reverse=True):
        relative = path.relative_to(copy)
        if relative.parts[0] == ".git" or relative.parts[:2] == ("tests", "output"):
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif relative not in wanted:
            path.unlink()
    env = environment()
    if not (copy / ".git").is_dir():
        subprocess.run(["git", "init", "--quiet"], cwd=copy, env=env, check=True)
    subprocess.run(["git", "add", "--all", "--force", "."], cwd=copy, env=env, check=True)

    home = CACHE / "ansible-test"
    get_pip = home / ".ansible/test/cache" / GET_PIP
    get_pip.parent.mkdir(parents=True, exist_ok=True)
    get_pip.write_text("import ensurepip\n\nensurepip.bootstrap(upgrade=True)\n")
    for settings in (".config/pip", ".pip"):
        link = home / settings
        if (Path.home() / settings).is_dir() and not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path.home() / settings)


def lint_gates() -> list[Gate]:
    """The gates, those that take longest first."""
    copy = CACHE / "sanity/ansible_collections/homelab/backup"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    typed_tests = ["tests/run.py", *(["tests/lab"] if (ROOT / "tests/lab").is_dir() else [])]
    return [
        Gate(
            "ansible-test sanity",
            (str(BIN / "ansible-test"), "sanity", "--python", version, "--color", "no"),
            cwd=copy,
            prepare=stage_sanity_copy,
            home=CACHE / "ansible-test",
        ),
        Gate("ansible-lint", (str(BIN / "ansible-lint"), "--offline", "--profile", "production")),
        Gate("mypy plugins", (str(BIN / "mypy"), "-p", PLUGINS_PACKAGE)),
        Gate("mypy tests", (str(BIN / "mypy"), *typed_tests)),
        Gate(
            "antsibull-docs",
            (
                str(BIN / "antsibull-docs"),
                "lint-collection-docs",
                "--plugin-docs",
                "--validate-collection-refs",
                "all",
                "--skip-rstcheck",
                ".",
            ),
        ),
        Gate("antsibull-changelog", (str(BIN / "antsibull-changelog"), "lint")),
        Gate("yamllint", (str(BIN / "yamllint"), "--strict", ".")),
        Gate("ruff check", (str(BIN / "ruff"), "check", ".")),
        Gate("ruff format", (str(BIN / "ruff"), "format", "--check", ".")),
        Gate(
            "shellcheck",
            (str(BIN / "shellcheck"), *map(str, shell_scripts())),
        ),
    ]


def run_gate(gate: Gate) -> tuple[Outcome, str]:
    """Run one gate to its end; its whole output is returned for printing in one piece."""
    started = time.monotonic()
    if gate.prepare is not None:
        gate.prepare()
    done = subprocess.run(
        gate.argv,
        cwd=gate.cwd,
        env=environment(gate.home),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    bad = int(done.returncode != 0)
    outcome = Outcome(f"lint: {gate.name}", 1 - bad, bad, 0, time.monotonic() - started)
    return outcome, done.stdout


def lint() -> Iterator[Outcome]:
    """All gates, two at a time."""
    gates = lint_gates()
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        running = {pool.submit(run_gate, gate): gate for gate in gates}
        for future in concurrent.futures.as_completed(running):
            outcome, output = future.result()
            say(f"\n--- {shown(running[future].argv)}")
            say(output.rstrip())
            say(f"--- {outcome.line()}")
            yield outcome


# --- pytest ---------------------------------------------------------------------------------


def pytest_counts(report: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped of a JUnit report. An error in a fixture is a failure."""
    passed = failed = skipped = 0
    for suite in ET.parse(report).getroot().iter("testsuite"):
        bad = int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
        left_out = int(suite.get("skipped", "0"))
        failed += bad
        skipped += left_out
        passed += int(suite.get("tests", "0")) - bad - left_out
    return passed, failed, skipped


def run_pytest(name: str, tests: str, settings: str = "pyproject.toml") -> Outcome:
    """Run pytest with its output as it comes; no test at all is a failure.

    The settings are named, not searched: they also say which plugins may load.
    """
    started = time.monotonic()
    report = CACHE / "reports" / f"{re.sub('[^a-z]+', '-', name)}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        f"--junitxml={report}",
        "--durations=5",
        "--continue-on-collection-errors",
    ]
    argv += ["-c", settings, tests]
    say(f"\n--- {shown(argv)}")
    status = subprocess.run(argv, cwd=ROOT, env=environment(), check=False).returncode
    passed, failed, skipped = pytest_counts(report) if report.is_file() else (0, 0, 0)
    if status != 0 and failed == 0:
        say(f"pytest ended with status {status} without a failed test (5: no tests found)")
        failed = 1
    outcome = Outcome(name, passed, failed, skipped, time.monotonic() - started)
    say(f"--- {outcome.line()}")
    return outcome


def unit() -> Iterator[Outcome]:
    """Tests that need neither lab nor root."""
    yield run_pytest("unit: pytest", "tests/unit")
    yield run_pytest("unit: pytest-ansible", "tests/adhoc", "tests/adhoc/pytest.ini")


# --- storage --------------------------------------------------------------------------------


def run_step(name: str, argv: list[str]) -> Outcome:
    """Run a command with its output as it comes; it counts as one test."""
    started = time.monotonic()
    say(f"\n--- {shown(argv)}")
    bad = int(subprocess.run(argv, cwd=ROOT, env=environment(), check=False).returncode != 0)
    outcome = Outcome(name, 1 - bad, bad, 0, time.monotonic() - started)
    say(f"--- {outcome.line()}")
    return outcome


def molecule_scenarios() -> list[str]:
    """Names of the scenarios that test something; ``default`` owns the shared lab."""
    return sorted(
        path.parent.name
        for path in ROOT.glob("molecule/*/molecule.yml")
        if path.parent.name != "default"
    )


def scenarios_passed(output: str, scenarios: Sequence[str]) -> set[str]:
    """Scenarios that passed, by Molecule's closing summary.

    A scenario passed when the summary says that it did something and that nothing failed. One
    that was never reached, because an earlier one failed, did not pass.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    dummy_before, found, recap = plain.rpartition("SCENARIO RECAP")
    passed = set()
    for line in recap.splitlines() if found else ():
        name, separator, states = line.partition(":")
        counts = dict(re.findall(r"(\w+)=(\d+)", states))
        if separator and counts.get("failed") == "0" and counts.get("successful", "0") != "0":
            passed.add(name.strip())
    return passed & set(scenarios)


def run_molecule() -> Outcome:
    """All scenarios in one run, which shares the lab's state."""
    started = time.monotonic()
    scenarios = molecule_scenarios()
    # Inside the lab's network, where modules of the controller reach the NAS.
    argv = [sys.executable, "-m", "tests.lab", "inside", "--"]
    argv += [str(BIN / "molecule"), "test", "--all", "--report"]
    say(f"\n--- {shown(argv)}")
    if not scenarios:
        say("no scenario under molecule/")
        outcome = Outcome("storage: molecule", 0, 1, 0, time.monotonic() - started)
        say(f"--- {outcome.line()}")
        return outcome
    lines: list[str] = []
    with subprocess.Popen(
        argv,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    passed = scenarios_passed("".join(lines), scenarios)
    for scenario in scenarios:
        say(f"{'passed' if scenario in passed else 'failed or not reached'}: {scenario}")
    failed = len(scenarios) - len(passed)
    if process.returncode != 0 and failed == 0:
        say(f"molecule ended with status {process.returncode}")
        failed = 1
    outcome = Outcome("storage: molecule", len(passed), failed, 0, time.monotonic() - started)
    say(f"--- {outcome.line()}")
    return outcome


SEEDS = {"HISTORY_SEED": "973611", "KILL_SEED": "109836"}


def storage() -> Iterator[Outcome]:
    """Tests on the storage lab; without a lab there is nothing to try the rest on."""
    # What decides over a change must be repeatable; `make soak` is for new histories.
    for name, seed in SEEDS.items():
        os.environ.setdefault(name, seed)
        say(f"{name}={os.environ[name]}")
    lab = run_step("storage: lab", [sys.executable, "-m", "tests.lab", "up"])
    yield lab
    if lab.failed:
        return
    yield run_pytest("storage: pytest", "tests/integration")
    yield run_molecule()


TIERS: dict[str, Callable[[], Iterator[Outcome]]] = {
    "lint": lint,
    "unit": unit,
    "storage": storage,
}


def main(names: list[str]) -> int:
    """Run the tiers in the order given; returns the exit status."""
    unknown = [name for name in names if name not in TIERS]
    if unknown or not names:
        print(f"usage: run.py TIER...; tiers: {' '.join(TIERS)}", file=sys.stderr)
        return 2
    started = time.monotonic()
    outcomes: list[Outcome] = []
    for name in names:
        say(f"\n=== {name}")
        outcomes += TIERS[name]()
    say("\n=== summary")
    for outcome in outcomes:
        say(outcome.line())
    skipped = sum(outcome.skipped for outcome in outcomes)
    if skipped:
        say(f"{skipped} skipped (reasons are in the output above)")
    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    say(f"{', '.join(names)}: {time.monotonic() - started:.0f} s")
    say(f"{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
