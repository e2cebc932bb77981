"""Live through simulated days in which something goes wrong every half an hour, and tell what came of it.

The soak is a test, tests/resilience/test_soak.py, which lives for some hours among the others. The same seed brings the
same troubles.
"""

import argparse
import os
from pathlib import Path
import sys
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run the test as told; the exit code is 1 when something was not as it has to be."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--days", type=float, default=7, help="simulated days (default 7; one takes about a minute)")
    parser.add_argument("--seed", type=int, default=1, help="what goes wrong when (default 1)")
    parser.add_argument("--profile", default="full_battery", help="the house (default full_battery)")
    options = parser.parse_args()
    told = {"DAYS": options.days, "SEED": options.seed, "PROFILE": options.profile}
    environment = os.environ | {f"ENVOY_SOAK_{name}": str(value) for name, value in told.items()}
    test = ["tests/resilience/test_soak.py", "-n0", "-q", "--capture=no", "--show-capture=no", "--tb=short"]
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, "-m", "pytest", *test], environment)  # noqa: S606


if __name__ == "__main__":
    main()
