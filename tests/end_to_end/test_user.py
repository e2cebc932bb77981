"""Everything that a user does with a gateway, in a browser and with a simulated gateway and cloud."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

pytest.importorskip("playwright", reason="Playwright is missing: run scripts/setup")

from playwright.sync_api import Locator, Page

from scripts.browser import executable, logged_in

from .home import Home

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.slow,
    pytest.mark.skipif(not executable(), reason="Chromium is missing: scripts/get-browser gets it"),
    pytest.mark.skipif(
        not find_spec("hass_frontend"), reason="Home Assistant's frontend is missing: run scripts/setup"
    ),
]


@pytest.fixture
def page(home: Home) -> Iterator[Page]:
    """Return an empty page with a login."""
    with logged_in(home.tokens) as page:
        yield page


def field(page: Page, name: str) -> Locator:
    """Return the input of a field of the open dialog."""
    return page.locator(f'ha-form input[name="{name}"]')


def submit(page: Page, **fields: str) -> None:
    """Fill fields of the open dialog, and submit it."""
    for name, value in fields.items():
        field(page, name).fill(value)
    page.get_by_role("button", name="Submit").click()


def expect_text(page: Page, text: str) -> None:
    """Wait until the page shows a text."""
    page.get_by_text(text).first.wait_for()


def test_add_by_hand(home: Home, page: Page) -> None:
    """Enter wrong addresses and a wrong password, then the right ones."""
    home.remove_entries()
    facts = home.facts
    page.goto("/config/integrations/dashboard")
    page.get_by_role("button", name="Add integration").click()
    page.get_by_placeholder("Search for a brand name").fill("Enphase")
    page.get_by_text("Enphase Envoy").first.click()

    submit(page, host="127.0.0.1:1")
    expect_text(page, "Failed to connect to 127.0.0.1:1.")
    submit(page, host=facts["other_host"])
    expect_text(page, f"The device at {facts['other_host']} is not an Enphase gateway.")
    submit(page, host=facts["host"])
    expect_text(page, f"Envoy {facts['serial']} with firmware {facts['firmware']} responds at {facts['host']}.")

    page.get_by_text("With an Enlighten account").click()
    submit(page, username=facts["username"], password="moonshine")
    expect_text(page, "Enlighten does not accept the username and password.")
    assert field(page, "username").input_value() == facts["username"]
    assert not field(page, "password").input_value()
    submit(page, password=facts["password"])
    expect_text(page, "Read power every five seconds")
    submit(page)
    page.get_by_role("button", name="Skip and finish").click()

    entry = home.loaded_entry()
    assert entry["title"] == f"Envoy {facts['serial']}"
    assert home.stored_entry()["options"] == {"live_power": 5}
    assert not home.system.sent_elsewhere()
