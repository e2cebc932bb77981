"""Everything that a user does with a gateway, in a browser and with a simulated gateway and cloud."""

from contextlib import suppress
from importlib.util import find_spec
import json
from pathlib import Path
import re
import time

import pytest

pytest.importorskip("playwright", reason="Playwright is missing: run scripts/setup")

from playwright.sync_api import Locator, Page, TimeoutError as PlaywrightTimeoutError, expect

from custom_components.enphase_envoy.const import CONF_FINGERPRINT
from scripts.browser import executable
from scripts.develop import ARRAY_DASHBOARD, add_array_dashboard
from scripts.screenshot import device_path

from .home import Home

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.slow,
    pytest.mark.skipif(not executable(), reason="Chromium is missing: scripts/get-browser gets it"),
    pytest.mark.skipif(
        not find_spec("hass_frontend"), reason="Home Assistant's frontend is missing: run scripts/setup"
    ),
]


def field(page: Page, name: str) -> Locator:
    """Return the input of a field of the open dialog."""
    return page.locator(f'ha-form input[name="{name}"]')


def submit(page: Page, **fields: str) -> None:
    """Fill fields of the open dialog, and submit it."""
    for name, value in fields.items():
        field(page, name).fill(value)
    page.get_by_role("button", name="Submit").click()


def toggle(page: Page, name: str) -> None:
    """Change a checkbox with the keyboard, because its input is below its drawing."""
    page.get_by_role("checkbox", name=name).press("Space")


def expect_text(page: Page, text: str) -> None:
    """Wait until the page shows a text."""
    page.get_by_text(text).first.wait_for()


def choose_in_menu(home: Home, page: Page, item: str) -> None:
    """Choose an item in the menu of the entry."""
    row = entry_row(home, page)
    row.locator("ha-dropdown").first.click()
    row.get_by_role("menuitem", name=item, exact=True).first.click()


def choose_in_configure(home: Home, page: Page, item: str) -> None:
    """Choose an item in the menu of the options."""
    entry_row(home, page).get_by_role("button", name="Configure").first.click()
    page.locator("step-flow-menu").get_by_text(item, exact=True).click()


def open_until_shown(page: Page, path: str, part: Locator) -> None:
    """Open a page of Home Assistant, and wait for a part of it.

    On a busy machine pages lack a part now and then, until they are opened again: the list of entries shows that there
    are none, and the editor of a dashboard has no texts.
    """
    for _ in range(3):
        page.goto(path)
        with suppress(PlaywrightTimeoutError):
            part.wait_for()
            return


def entry_row(home: Home, page: Page) -> Locator:
    """Open the page of the integration, and return the row of the entry."""
    row = page.locator("ha-config-entry-row", has_text=f"Envoy {home.facts['serial']}").first
    open_until_shown(page, "/config/integrations/integration/enphase_envoy", row)
    return row


def open_device(home: Home, page: Page, name: str) -> None:
    """Open the page of a device."""
    home.loaded_entry()
    page.goto(device_path(next(device for device in home.devices() if device["name"] == name)))


def new_fingerprint(home: Home, *earlier: str) -> str:
    """Return the fingerprint of the trusted certificate once it is another one, and the entry is loaded."""
    home.wait_for(lambda: home.stored_entry()["data"].get(CONF_FINGERPRINT) not in (None, *earlier))
    home.loaded_entry()
    fingerprint: str = home.stored_entry()["data"][CONF_FINGERPRINT]
    return fingerprint


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

    assert home.loaded_entry()["title"] == f"Envoy {facts['serial']}"
    home.wait_for(lambda: home.stored_entry()["options"] == {"live_power": 5})
    assert not home.system.sent_elsewhere()


def test_discovery(home: Home, page: Page) -> None:
    """Add a gateway that announced itself: its address is known, so the dialog starts with the login."""
    home.remove_entries()
    facts = home.facts
    address, _, port = facts["host"].partition(":")
    page.goto("/config/integrations/dashboard")
    page.get_by_role("button", name="Add integration").wait_for()
    home.call(
        lambda instance: instance.command("announce_gateway", address=address, port=int(port), serial=facts["serial"])
    )
    card = page.locator("ha-config-flow-card", has_text=f"Envoy {facts['serial']} ({facts['host']})")
    card.get_by_role("button", name="Add").click()

    expect_text(page, f"Envoy {facts['serial']} with firmware {facts['firmware']} responds at {facts['host']}.")
    page.get_by_text("With a token").click()
    submit(page, token="abc")
    expect_text(page, "The token is incomplete.")
    submit(page, token=home.system.new_token())
    toggle(page, "Read power every five seconds")
    submit(page)
    page.get_by_role("button", name="Skip and finish").click()
    card.wait_for(state="detached")
    home.loaded_entry()
    home.wait_for_stored(host=facts["host"], username="")
    assert home.stored_entry()["options"] == {}


def test_device_page_shows_production(home: Home, page: Page) -> None:
    """Open the page of the gateway: the power is the one that it reports."""
    open_device(home, page, f"Envoy {home.facts['serial']}")
    row = page.locator("hui-generic-entity-row", has_text="Current power production").first
    expect(row).to_contain_text(re.compile(r"\d\s*(W|kW)\b"))


def test_array_card_shows_panels_and_stores_their_arrangement(home: Home, page: Page) -> None:
    """Move a panel, reload the page, open the dialog of the panel, and open the editor of the card."""
    home.loaded_entry()
    home.call(add_array_dashboard)
    page.goto(f"/{ARRAY_DASHBOARD}")
    first = page.locator(".panel").first
    first.wait_for()
    serial = first.get_attribute("data-serial")
    panel = page.locator(f'.panel[data-serial="{serial}"]')
    expect(panel.locator(".value")).to_have_text(re.compile(r"^\d+$"))

    page.get_by_role("button", name="Edit arrangement").click()
    box = panel.locator(".cell").bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 20 - 1.2 * box["width"], box["y"] + 25, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Save").click()
    expect_text(page, "Arrangement saved")
    places = "(nodes) => nodes.map((node) => [node.dataset.serial, node.getAttribute('transform')])"
    saved = page.locator(".panel").evaluate_all(places)
    # All are in one row; the first one is a column further to the left than before.
    assert dict(saved)[serial].startswith("translate(0 ")
    page.reload()
    panel.wait_for()
    assert sorted(page.locator(".panel").evaluate_all(places)) == sorted(saved)

    panel.click()
    page.locator("ha-more-info-info").wait_for()

    button = page.get_by_role("button", name="Edit", exact=True).last
    open_until_shown(page, f"/{ARRAY_DASHBOARD}/0?edit=1", button)
    button.click()
    expect_text(page, "Show the slider of the day")


def test_turn_off_relay(home: Home, page: Page) -> None:
    """Turn a relay off: the one of the gateway opens."""
    open_device(home, page, "Pool pump")
    row = page.locator("hui-toggle-entity-row", has_text="Pool pump")
    # The input is below the drawing of the switch.
    control, switch = row.locator("ha-entity-toggle"), row.get_by_role("switch")
    assert home.system.closed_relays()["Pool pump"]
    expect(switch).to_be_checked()
    control.click()
    home.wait_for(lambda: not home.system.closed_relays()["Pool pump"])
    expect(switch).not_to_be_checked()
    control.click()
    home.wait_for(lambda: home.system.closed_relays()["Pool pump"])
    expect(switch).to_be_checked()


def test_set_reserve(home: Home, page: Page) -> None:
    """Enter another reserve: the gateway stores it."""
    device = next(device["name"] for device in home.devices() if device["model"] == "Enpower")
    open_device(home, page, device)
    value = page.locator("hui-number-entity-row", has_text="Reserve battery level").locator("input")
    wanted = int(home.system.reserve()) + 7
    value.fill(str(wanted))
    value.press("Enter")
    home.wait_for(lambda: home.system.reserve() == wanted)
    page.reload()
    expect(value).to_have_value(str(wanted))


def test_reconfigure(home: Home, page: Page) -> None:
    """Change the address alone, and then to a token."""
    home.remove_entries()
    home.loaded_entry()
    facts = home.facts
    choose_in_menu(home, page, "Reconfigure")
    submit(page, host=facts["other_host"])
    expect_text(page, f"The device at {facts['other_host']} is not an Enphase gateway.")
    moved = facts["host"].replace("127.0.0.1", "localhost")
    submit(page, host=moved)
    page.get_by_text("As before").click()
    expect_text(page, "Reconfiguration was successful")
    home.wait_for_stored(host=moved, username=facts["username"])
    home.loaded_entry()

    token = home.system.new_token()
    choose_in_menu(home, page, "Reconfigure")
    submit(page, host=facts["host"])
    page.get_by_text("With a token").click()
    submit(page, token=token)
    expect_text(page, "Reconfiguration was successful")
    home.wait_for_stored(host=facts["host"], token=token, password="")
    home.loaded_entry()


@pytest.mark.logs(r"can't be read \(token_rejected: HTTP 401\); stored values are shown meanwhile$")
def test_reauth(home: Home, page: Page) -> None:
    """Enter a new token after the stored one was revoked."""
    home.remove_entries()
    old = home.system.new_token()
    entry = home.loaded_entry(old)
    home.system.revoke(old)
    home.reload(entry)
    # A gateway that restarts refuses access for some time: several refusals in a row are required.
    sensor = home.entity_id(f"{home.facts['serial']}_lifetime_production")
    home.wait_for(lambda: home.is_reauthenticating_after_poll(sensor))
    page.goto("/config/integrations/dashboard")
    card = page.locator("ha-config-flow-card", has_text=f"Envoy {home.facts['serial']}")
    card.get_by_role("button", name="Reconfigure").click()
    expect_text(page, f"The gateway at {home.facts['host']} does not accept the token.")
    submit(page, token=old)
    expect_text(page, f"The gateway at {home.facts['host']} does not accept the token.")
    new = home.system.new_token()
    submit(page, token=new)
    expect_text(page, "Re-authentication was successful")
    home.wait_for_stored(token=new)
    home.loaded_entry()


def test_diagnostics(home: Home, page: Page) -> None:
    """Download diagnostics: nothing in them identifies the system or the user."""
    home.loaded_entry()
    home.wait_for_stored(host=home.facts["host"])
    with page.expect_download() as download:
        choose_in_menu(home, page, "Download diagnostics")
    text = Path(download.value.path()).read_text()
    assert json.loads(text)["data"]
    facts, data = home.facts, home.stored_entry()["data"]
    secret = {facts["host"], facts["username"], facts["password"], data["token"], data["token"].split(".")[1]}
    # Other names are those of kinds of devices.
    names = {device["name"] for device in home.devices() if device["name"] != "Generator"}
    assert {name for name in secret | names | home.system.serial_numbers() if name in text} == set()


def test_repair_statistics(home: Home, page: Page) -> None:
    """Correct a jump of a recorded counter in the dialog of the options."""
    home.remove_entries()
    home.loaded_entry()
    counter = home.entity_id(f"{home.facts['serial']}_lifetime_production")
    start = int(time.time()) // 3600 * 3600 - 24 * 3600
    home.import_counter(counter, start, [2, 2, 2, 2, 2, 10_002, 2, 2, 2])
    choose_in_configure(home, page, "Repair statistics")
    expect_text(page, "Lifetime energy production: 10\N{NARROW NO-BREAK SPACE}002.0 kWh → 2.0 kWh")
    submit(page)
    expect_text(page, "Changes corrected in the statistics: ")
    page.get_by_role("button", name="Close").last.click()
    choose_in_configure(home, page, "Repair statistics")
    expect_text(page, "The statistics contain no implausible change.")


def test_energy_dashboard(home: Home, page: Page) -> None:
    """Add the sources in the dialog, and see them in the Energy dashboard."""
    home.remove_entries()
    home.loaded_entry()
    home.call(lambda instance: instance.command("energy/save_prefs", energy_sources=[]))
    choose_in_configure(home, page, "Add to the Energy dashboard")
    for name in ("Solar panels", "Grid", "Battery"):
        expect(page.locator("ha-form").get_by_role("checkbox", name=name)).to_be_checked()
    submit(page)
    page.get_by_role("link", name="Energy dashboard").click()
    distribution = page.locator("hui-energy-distribution-card")
    for name in ("Solar", "Grid", "Battery"):
        distribution.get_by_text(name, exact=True).wait_for()
    choose_in_configure(home, page, "Add to the Energy dashboard")
    expect_text(page, "The Energy dashboard already contains all sources of this system.")


@pytest.mark.logs(r"Error fetching Envoy \d+ data: ")
def test_certificate_change(home: Home, page: Page) -> None:
    """Pin the certificate; trust the next ones in the repair, and while reconfiguring. A poll may be due meanwhile."""
    home.remove_entries()
    entry = home.loaded_entry()
    choose_in_configure(home, page, "Options")
    toggle(page, "Trust only the stored certificate")
    submit(page)
    expect_text(page, "Options successfully saved.")

    first = new_fingerprint(home)
    home.system.change_certificate()
    home.reload(entry)
    page.goto("/config/repairs")
    page.get_by_text(f"The certificate of {entry['title']} has changed").first.click()
    expect_text(page, first)
    submit(page)
    expect_text(page, "The issue is repaired")
    second = new_fingerprint(home, first)

    home.system.change_certificate()
    choose_in_menu(home, page, "Reconfigure")
    submit(page, host=home.facts["host"])
    expect_text(page, second)
    submit(page)
    page.get_by_text("As before").click()
    expect_text(page, "Reconfiguration was successful")
    new_fingerprint(home, first, second)


def test_delete(home: Home, page: Page) -> None:
    """Delete the entry: its devices, its issues and its stored files are removed."""
    home.loaded_entry()
    choose_in_menu(home, page, "Delete")
    expect_text(page, "Its devices and entities will be permanently deleted.")
    page.get_by_role("button", name="Delete", exact=True).last.click()
    home.wait_for(lambda: not home.entries())
    assert not any("Envoy" in device["name"] for device in home.rows("config/device_registry/list"))
    assert not [row for row in home.rows("config/entity_registry/list") if row["platform"] == "enphase_envoy"]
    page.locator("ha-config-entry-row").wait_for(state="detached")
