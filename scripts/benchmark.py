"""Measure the component, Home Assistant's own integration and the library alone.

Each run is a process of its own with a simulated gateway in another one, subjects alternate, and medians over runs are
reported. docs/benchmark.md describes the measurements and the report.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
import json
import os
from pathlib import Path
import platform
import subprocess
import sys
import time
from typing import Any, Final

from .bench import freshness
from .bench.plan import POLLS, QUICK, ROUNDS, ROUNDS_QUICK, SUBJECTS, SYSTEMS, Case, Run, Subject, cases, order
from .bench.report import report

ROOT: Final = Path(__file__).resolve().parent.parent
#: Seconds for one run; the longest takes some ten.
LIMIT: Final = 300
ENTITIES: Final = {"default": (False,), "all": (True,), "both": (False, True)}


class Stop(Exception):  # noqa: N818
    """The benchmark can't continue; the message is for the user."""


def log(text: str) -> None:
    """Print progress to stderr, apart from the report."""
    print(f"benchmark: {text}", file=sys.stderr, flush=True)


def environment() -> dict[str, str]:
    """Return the environment of a run: modules stay compiled, so that a set-up does not include compiling them."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(ROOT / ".venv" / ".bytecode")}


def run(case: Case, subject: Subject, polls: int) -> Run:
    """Measure in a process of its own. Raises Stop when it fails."""
    command = [sys.executable, "-m", "scripts.bench.measure", subject, case.system, "--polls", str(polls)]
    if case.all_enabled:
        command.append("--all")
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise Stop(f"{subject}, {case.label}: not finished after {LIMIT} s") from err
    if done.returncode:
        raise Stop(f"{subject}, {case.label}: exit code {done.returncode}\n{done.stderr.strip()}")
    return Run(**json.loads(done.stdout))


def machine() -> dict[str, str]:
    """Describe the machine without its name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "Home Assistant": version("homeassistant"),
        "pyenphase": version("pyenphase"),
        "Python": f"{platform.python_version()} on {platform.system()} ({platform.machine()})",
        "on": f"{cores} cores of {processor()}",
    }


def processor(listed: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name of the processor."""
    if listed.exists():
        for line in listed.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "an unknown processor"


def measure(options: argparse.Namespace, measured: Callable[[Case, Subject, int], Run] = run) -> list[Run]:
    """Make all runs."""
    systems = options.system or (QUICK if options.quick else tuple(SYSTEMS))
    wanted = cases(systems, ENTITIES[options.entities or ("all" if options.quick else "both")])
    rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    runs = list(order(wanted, SUBJECTS, rounds))
    log("one run of each to warm up")
    for subject in SUBJECTS:
        measured(Case("metered", all_enabled=True), subject, 1)
    results = []
    for at, (_, case, subject) in enumerate(runs, 1):
        begin = time.monotonic()
        results.append(measured(case, subject, options.polls))
        log(f"{at} of {len(runs)}: {subject}, {case.label} ({time.monotonic() - begin:.0f} s)")
    return results


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two systems, all entities, two rounds: about a minute")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="only this system; may be repeated")
    parser.add_argument("--entities", choices=ENTITIES, help="enabled entities (default: both, one after the other)")
    parser.add_argument("--rounds", type=positive, metavar="N", help=f"runs of each (default: {ROUNDS})")
    parser.add_argument("--polls", type=positive, default=POLLS, metavar="N", help="polls a run (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw numbers there")
    parser.add_argument("--read", type=Path, metavar="FILE", help="show a file written by --json instead of measuring")
    parser.add_argument(
        "--freshness", action="store_true", help="only the seconds between a step of power and the state"
    )
    parser.add_argument(
        "--steps", type=positive, default=100, metavar="N", help="steps for that (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """Read a number above zero."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a report, and return an exit code."""
    options = parse(arguments)
    if options.freshness:
        print("\n\n".join(freshness.report(system, options.steps) for system in options.system or freshness.SENSORS))
        return 0
    if options.read:
        found: dict[str, Any] = json.loads(options.read.read_text())
    else:
        found = {"machine": machine(), "runs": [asdict(each) for each in measure(options)]}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    print(report(found["machine"], [Run(**each) for each in found["runs"]]))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Stop as stop:
        print(f"benchmark: {stop}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
