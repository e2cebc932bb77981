"""scripts/setup, with a uv that only records what it is to install."""

from importlib.metadata import version
from pathlib import Path
import shutil
import subprocess
import sys

import pytest

from custom_components.enphase_envoy.const import DOMAIN

ROOT = Path(__file__).parents[2]


def add_program(path: Path, text: str) -> None:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def set_up(folder: Path, requirement: str) -> Path:
    """Run scripts/setup twice in a checkout with one requirement, and return the file with what uv was to install."""
    for name in ("scripts/setup", f"custom_components/{DOMAIN}/manifest.json"):
        (folder / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "scripts" / "instance.py").touch()
    (folder / "scripts" / "frontend_requirements.py").touch()
    (folder / "requirements_test.txt").write_text(f"# A comment.\n{requirement}\n")
    recorded = folder / "installed"
    add_program(folder / ".python/tools/bin/uv", f'echo "$@" >>{recorded}')
    add_program(folder / ".python/tools/bin/g++", "")
    add_program(folder / ".venv/bin/python", f'exec {sys.executable} "$@"')
    for _ in range(2):
        subprocess.run([folder / "scripts" / "setup"], check=True, capture_output=True)
    return recorded


@pytest.mark.parametrize(("pinned", "times"), [(version("pyenphase"), 1), ("0.0.1", 2)])
def test_packages_are_installed_again_only_if_others_are_there(tmp_path: Path, pinned: str, times: int) -> None:
    """Home Assistant's own integration requires another pyenphase than the component."""
    installed = set_up(tmp_path, f"pyenphase=={pinned}").read_text()
    assert installed.count("-r requirements_test.txt") == times
