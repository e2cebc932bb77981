"""Fixtures: Home Assistant for tests in a browser, and pages of it."""

from collections.abc import Generator, Iterator
from pathlib import Path
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from pytest_socket import enable_socket

from scripts.develop import free_port
from scripts.instance import ROOT

from .home import Home, running_home

if TYPE_CHECKING:
    from playwright.sync_api import Page

READY_WITHIN = 120
#: Pictures of the pages of failed tests.
FAILURES = ROOT / ".develop" / "failures"


@pytest.fixture
def development_instance(socket_enabled: None, tmp_path: Path) -> Iterator[str]:
    """Run scripts/develop with a folder and ports of its own, and yield the address of its Home Assistant."""
    port, gateway_port = free_port(), free_port()
    arguments = ["--state", str(tmp_path), "--port", str(port), "--gateway-port", str(gateway_port)]
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.develop", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as develop:
        assert develop.stdout
        timer = threading.Timer(READY_WITHIN, develop.terminate)
        timer.start()
        lines = []
        try:
            for line in develop.stdout:
                lines.append(line)
                if "Press Ctrl-C to stop" in line:
                    break
            else:
                pytest.fail(f"not ready within {READY_WITHIN} s:\n{''.join(lines)}")
            yield f"http://127.0.0.1:{port}"
        finally:
            timer.cancel()
            develop.send_signal(signal.SIGINT)
            rest = develop.stdout.read()
    assert develop.returncode == 0, rest
    assert " ERROR " not in "".join(lines) + rest


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Run Home Assistant and a simulated system for all tests that share them."""
    # The test tools guard sockets before the first fixture of a test.
    enable_socket()
    with running_home(tmp_path_factory.mktemp("home")) as home:
        yield home


@pytest.fixture
def home(socket_enabled: None, shared_home: Home, request: pytest.FixtureRequest) -> Iterator[Home]:
    """Return the shared Home Assistant. The test logs no warning or error but those of its marker `logs`."""
    before = len(shared_home.problems())
    yield shared_home
    expected = [pattern for marker in request.node.iter_markers("logs") for pattern in marker.args]
    found = shared_home.problems()[before:]
    unexpected = [line for line in found if not any(re.search(pattern, line) for pattern in expected)]
    assert not unexpected, "\n".join(unexpected)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Save a picture of the page of a failed test."""
    report = yield
    page: Page | None = getattr(item, "funcargs", {}).get("page")
    if page is not None and report.when == "call" and report.failed:
        FAILURES.mkdir(parents=True, exist_ok=True)
        file = FAILURES / f"{item.name}.png"
        page.screenshot(path=file)
        report.sections.append(("Picture of the page", f"{file} (at {page.url})"))
    return report
