"""The page of the gateway in a browser, with values that came all the way from the simulated gateway."""

import asyncio
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
import re
import signal
import subprocess
import sys
import threading

import pytest

pytest.importorskip("playwright", reason="Playwright is missing: run scripts/setup")

from scripts.browser import executable, logged_in
from scripts.develop import free_port
from scripts.screenshot import device_name, device_path, log_in_and_list_devices

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.slow,
    pytest.mark.skipif(not executable(), reason="Chromium is missing: scripts/get-browser gets it"),
    pytest.mark.skipif(
        not find_spec("hass_frontend"), reason="Home Assistant's frontend is missing: run scripts/setup"
    ),
]

READY_WITHIN = 120


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


def test_device_page_shows_the_gateways_name_and_its_production(development_instance: str) -> None:
    """Open the page and find the name and the power."""
    tokens, devices = asyncio.run(log_in_and_list_devices(development_instance))
    gateway = next(device for device in devices if device["via_device_id"] is None)

    with logged_in(tokens) as page:
        page.goto(device_path(gateway))
        page.get_by_text(device_name(gateway)).first.wait_for()
        row = page.locator("hui-generic-entity-row", has_text="Current power production").first
        row.wait_for()
        assert re.search(r"-?[\d,.]+\s*(W|kW)\b", row.inner_text()), row.inner_text()
