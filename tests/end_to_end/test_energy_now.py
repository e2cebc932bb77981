"""The *Now* tab of the Energy dashboard in a browser, with live power from the simulated gateway."""

import asyncio
from importlib.util import find_spec
from itertools import pairwise
from typing import Final

import pytest

pytest.importorskip("playwright", reason="Playwright is missing: run scripts/setup")

from scripts.browser import executable, logged_in
from scripts.screenshot import log_in_and_list_devices

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.slow,
    pytest.mark.skipif(not executable(), reason="Chromium is missing: scripts/get-browser gets it"),
    pytest.mark.skipif(
        not find_spec("hass_frontend"), reason="Home Assistant's frontend is missing: run scripts/setup"
    ),
]

#: Seconds in which the power is read six times.
OBSERVED: Final = 30


def test_now_tab_moves_every_five_seconds(development_instance: str) -> None:
    """Watch the power usage for half a minute; the load of the simulated house changes every five seconds."""
    tokens, _ = asyncio.run(log_in_and_list_devices(development_instance))
    with logged_in(tokens) as page:
        page.goto("/energy/now")
        badge = page.locator("ha-badge", has_text="Power usage")
        badge.wait_for()
        shown = []
        for _ in range(OBSERVED):
            shown.append(badge.inner_text())
            page.wait_for_timeout(1000)
    changes = sum(before != after for before, after in pairwise(shown))
    assert changes >= OBSERVED / 5 - 2, shown
