"""The dashboard of a development instance with the array card, which the component registered itself."""

import asyncio
from importlib.util import find_spec

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


def test_card_shows_panels_and_stores_their_arrangement(development_instance: str) -> None:
    """Move a panel, reload the page, open the dialog of the panel, and open the editor of the card."""
    tokens, _ = asyncio.run(log_in_and_list_devices(development_instance))
    with logged_in(tokens) as page:
        page.goto("/solar-panels")
        first = page.locator(".panel").first
        first.wait_for()
        serial = first.get_attribute("data-serial")
        panel = page.locator(f'.panel[data-serial="{serial}"]')
        assert (panel.locator(".value").text_content() or "").isdecimal()

        page.get_by_role("button", name="Edit arrangement").click()
        box = panel.locator(".cell").bounding_box()
        assert box
        page.mouse.move(box["x"] + 20, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 20 - 1.2 * box["width"], box["y"] + 25, steps=4)
        page.mouse.up()
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Arrangement saved").wait_for()
        places = "(nodes) => nodes.map((node) => [node.dataset.serial, node.getAttribute('transform')])"
        saved = page.locator(".panel").evaluate_all(places)
        # All are in one row; the first one is a column further to the left than before.
        assert dict(saved)[serial].startswith("translate(0 ")
        page.reload()
        panel.wait_for()
        assert sorted(page.locator(".panel").evaluate_all(places)) == sorted(saved)

        panel.click()
        page.locator("ha-more-info-info").wait_for()

        page.goto("/solar-panels/0?edit=1")
        panel.wait_for()
        page.get_by_role("button", name="Edit", exact=True).last.click()
        page.locator("ha-form").get_by_text("Show the slider of the day").first.wait_for()
