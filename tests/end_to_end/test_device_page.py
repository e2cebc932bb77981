"""The page of the gateway in a browser, with values that came all the way from the simulated gateway."""

import asyncio
from importlib.util import find_spec
import re

import pytest

pytest.importorskip("playwright", reason="Playwright is missing: run scripts/setup")

from scripts.browser import executable, logged_in
from scripts.screenshot import device_name, device_path, log_in_and_list_devices

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.slow,
    pytest.mark.skipif(not executable(), reason="Chromium is missing: scripts/get-browser gets it"),
    pytest.mark.skipif(
        not find_spec("hass_frontend"), reason="Home Assistant's frontend is missing: run scripts/setup"
    ),
]


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
