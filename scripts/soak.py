"""Simulate days in which an endpoint fails every half an hour, and print a report.

Runs tests/resilience/test_soak.py, which takes part in the other tests for some hours of simulated time. The same seed
gives the same faults.
"""

import argparse
import os
from pathlib import Path
import sys
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run the test with the options; the exit code is 1 when a check failed."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--days", type=float, default=7, help="simulated days (default 7; each takes 1 to 6 minutes)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the faults (default 1)")
    parser.add_argument("--profile", default="full_battery", help="simulated system (default full_battery)")
    parser.add_argument("--live", type=int, default=0, help="seconds between readings of live power (default: off)")
    options = parser.parse_args()
    variables = {"LIVE": options.live, "DAYS": options.days, "SEED": options.seed, "PROFILE": options.profile}
    environment = os.environ | {f"ENVOY_SOAK_{name}": str(value) for name, value in variables.items()}
    test = ["tests/resilience/test_soak.py", "-n0", "-q", "--capture=no", "--show-capture=no", "--tb=short"]
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, "-m", "pytest", *test], environment)  # noqa: S606


if __name__ == "__main__":
    main()
