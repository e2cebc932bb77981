"""The *Now* tab of the Energy dashboard in a browser, with live power from the simulated gateway."""

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
import signal
import subprocess
import sys
import threading
from typing import Final

import pytest

pytest.importorskip("playwright", reason="Playwright is missing: run scripts/setup")

from playwright.sync_api import Browser

from scripts.browser import executable, logged_in
from scripts.develop import free_port
from scripts.screenshot import log_in_and_list_devices

from .home import run_in_thread

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.slow,
    pytest.mark.skipif(not executable(), reason="Chromium is missing: scripts/get-browser gets it"),
    pytest.mark.skipif(
        not find_spec("hass_frontend"), reason="Home Assistant's frontend is missing: run scripts/setup"
    ),
]

#: Seconds within which the development instance is ready, also on a busy machine.
READY_WITHIN: Final = 900
#: Seconds in which the power is read four times.
OBSERVED: Final = 20


@pytest.fixture
def development_instance(tmp_path: Path) -> Iterator[str]:
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


def test_now_tab_moves_every_five_seconds(development_instance: str, browser: Browser) -> None:
    """Watch the power usage for a while; the load of the simulated house changes every five seconds."""
    tokens, _ = run_in_thread(log_in_and_list_devices(development_instance))
    with logged_in(browser, tokens) as page:
        page.goto("/energy/now")
        badge = page.locator("ha-badge", has_text="Power usage")
        badge.wait_for()
        shown = []
        for _ in range(OBSERVED):
            shown.append(badge.inner_text())
            page.wait_for_timeout(1000)
    changes = sum(before != after for before, after in pairwise(shown))
    assert changes >= OBSERVED / 5 - 2, shown
