"""Recorded gateways, where recordings exist: each must give the entities of its contract.

The recordings are not part of this repository. Without them these tests are skipped.
"""

import os
from pathlib import Path
import re
import subprocess
import sys

import pytest

ROOT = Path(__file__).parents[2]
COMPAT = Path(os.environ.get("ENVOY_RECORDINGS", ROOT.parent / "shared" / "compat"))
RECORDINGS = sorted(path.name for path in (COMPAT / "recordings").glob("*")) if COMPAT.is_dir() else []


@pytest.fixture(scope="module")
def comparison() -> str:
    """Compare all recordings with their contracts in one process."""
    done = subprocess.run(
        [sys.executable, COMPAT / "compare.py"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200
    )
    return done.stdout + done.stderr


@pytest.mark.skipif(not RECORDINGS, reason=f"no recordings of gateways in {COMPAT}")
@pytest.mark.parametrize("name", RECORDINGS or ["none"])
def test_recorded_gateway_gives_the_entities_of_its_contract(comparison: str, name: str) -> None:
    """Devices, unique ids, names, units, classes and states are those of Home Assistant's own integration."""
    line = re.search(rf"^{re.escape(name)}: (\d+) entities, (\d+) differences.*(\n    .*)*", comparison, re.MULTILINE)
    assert line, comparison
    assert int(line[1]) > 0
    assert line[2] == "0", line[0]
