"""The array card in a browser, with simulated states."""

from collections.abc import Iterator
import json
from pathlib import Path
import re
from typing import Any

import pytest

pytest.importorskip("playwright", reason="Playwright is missing: run scripts/setup")

from playwright.sync_api import Browser, Locator, Page

from custom_components.enphase_envoy.frontend.arrangement import ARRANGEMENT
from scripts.browser import executable

from .array_page import empty_page, settle, show_card, stored

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.slow,
    pytest.mark.skipif(not executable(), reason="Chromium is missing: scripts/get-browser gets it"),
]

FIRST = 482243030000


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page."""
    with empty_page(browser, viewport={"width": 1280, "height": 900}, accept_downloads=True) as page:
        yield page


def panel(page: Page, number: int) -> Locator:
    """Return the panel with a number from 0 on, as soon as the card shows all changes."""
    settle(page)
    return page.locator(f'.panel[data-serial="{FIRST + 7 * number}"]')


def place(page: Page, number: int) -> dict[str, Any]:
    """Return the stored place of a panel, with the number of its array."""
    serial = str(FIRST + 7 * number)
    return next(
        {**found, "array": at}
        for at, array in enumerate(stored(page)["arrays"])
        for found in array["panels"]
        if found["serial"] == serial
    )


def drag(page: Page, number: int, right: float, down: float) -> None:
    """Drag a panel by a number of widths and heights of a panel."""
    box = panel(page, number).locator(".cell").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right * box["width"] / 2, y + down * box["height"] / 2)
    page.mouse.move(x + right * box["width"], y + down * box["height"], steps=3)
    page.mouse.up()


def edit(page: Page) -> None:
    """Start to edit."""
    page.get_by_role("button", name="Edit arrangement").click()


def save(page: Page) -> None:
    """Save the arrangement, and check that the component accepts it."""
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Arrangement saved").wait_for()
    if arrangement := stored(page):
        ARRANGEMENT(arrangement)


def colour(page: Page, number: int) -> str:
    """Return the colour of a panel."""
    found = panel(page, number).locator(".cell").get_attribute("fill")
    assert found
    return found


def test_panels_show_power_energy_and_health_as_colour_and_number(page: Page) -> None:
    show_card(page, 24)
    assert page.locator(".total").inner_text().endswith(" kW")
    powers = [page.evaluate("(at) => hass.states[Object.keys(hass.states)[4 * at]].state", at) for at in range(22)]
    assert [panel(page, at).locator(".value").text_content() for at in range(22)] == powers
    assert colour(page, 5) != colour(page, 1)
    assert panel(page, 23).locator(".value").text_content() == "\N{EN DASH}"

    page.get_by_role("radio", name="Energy").click()
    assert re.fullmatch(r"\d\.\d\d", panel(page, 0).locator(".value").text_content() or "")
    assert page.locator(".total").inner_text().endswith(" kWh")

    page.get_by_role("radio", name="Health").click()
    marks = [panel(page, at).locator(".mark").text_content() for at in (0, 21, 22, 23)]
    assert marks == ["✓", "!", "✕", "?"]
    assert len({colour(page, at) for at in (0, 21, 22, 23)}) == 4
    labels = [str(panel(page, at).get_attribute("aria-label")) for at in (21, 22, 23)]
    assert "Too hot" in labels[0]
    assert "Does not produce" in labels[1]
    assert "No data" in labels[2]
    assert page.locator(".total").inner_text() == "1 Problem · 1 Warning · 1 No data"


def test_only_panels_with_changed_states_are_written(page: Page) -> None:
    show_card(page, 24)
    written = page.evaluate("""async () => {
      const card = document.querySelector("enphase-array-card"), writes = observePanels(card);
      const id = "sensor.inverter_482243030007";
      card.hass = { ...hass, states: { ...hass.states, [id]: { ...hass.states[id], state: "12" } } };
      do await new Promise(requestAnimationFrame); while (card._frame || card._idle);
      return [...new Set(writes().map(({ serial }) => serial))];
    }""")
    assert written == [str(FIRST + 7)]
    assert panel(page, 1).locator(".value").text_content() == "12"


def test_arrangement_that_another_user_stores_is_shown(page: Page) -> None:
    show_card(page, 4)
    send = "(arrangement) => subscribed({ arrangement })"
    panels = [{"serial": str(FIRST + 7 * number), "x": 3 * number, "y": 0, "landscape": False} for number in range(4)]
    arrays = [{"name": name, "azimuth": None, "panels": panels[at : at + 2]} for name, at in (("East", 0), ("West", 2))]
    page.evaluate(send, {"version": 1, "arrays": arrays})
    page.get_by_text("West", exact=True).wait_for()
    assert page.get_by_text("East", exact=True).is_visible()

    # A card that is being edited shows it afterwards.
    edit(page)
    page.evaluate(send, None)
    assert page.get_by_role("button", name="Save").is_visible()
    page.get_by_role("button", name="Cancel").click()
    assert page.get_by_text("East", exact=True).count() == 0

    page.evaluate("document.querySelector('enphase-array-card').remove()")
    assert page.evaluate("subscribed") is None


def test_click_and_keyboard_open_the_dialog_of_a_panel(page: Page) -> None:
    show_card(page, 24)
    panel(page, 3).click()
    panel(page, 0).focus()
    # The panel that has the focus is the only one that the Tab key reaches.
    assert page.locator('.panel[tabindex="0"]').count() == 1
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    opened = [f"sensor.inverter_{FIRST + 7 * number}" for number in (3, 9)]
    assert page.evaluate("opened") == opened
    stroke = "(node) => getComputedStyle(node).strokeWidth"
    focused, other = (panel(page, number).locator(".cell").evaluate(stroke) for number in (9, 10))
    assert focused != other
    assert "Inverter" in page.locator(".detail").inner_text()


def test_names_and_roles_for_screen_readers(page: Page) -> None:
    show_card(page, 24)
    assert re.search(r"^Inverter \d+: \d+ W$", str(panel(page, 0).get_attribute("aria-label")))
    group = page.get_by_role("group", name=re.compile(r"24 panels, .* kW"))
    assert group.get_by_role("button").count() == 24
    radio = page.get_by_role("radio", name="Power")
    radio.focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="Energy").get_attribute("aria-checked") == "true"
    assert page.locator("input[type=range]").get_attribute("aria-valuetext") == "Now"
    for button in page.locator("button:visible").all():
        assert button.get_attribute("aria-label") or button.inner_text()


def test_dragged_panel_snaps_is_saved_and_shown_again(page: Page) -> None:
    show_card(page, 24)
    edit(page)
    # A third of a panel beside the place right of the first row.
    drag(page, 0, 8.15, 0.1)
    save(page)
    box = panel(page, 7).locator(".cell").bounding_box()
    moved = panel(page, 0).locator(".cell").bounding_box()
    assert box
    assert moved
    assert moved["y"] == pytest.approx(box["y"], abs=0.5)
    assert place(page, 0)["x"] == place(page, 7)["x"] + 3
    page.evaluate("create()")
    page.locator(".panel").nth(23).wait_for()
    assert panel(page, 0).locator(".cell").bounding_box() == moved


def test_panel_dropped_on_another_exchanges_places(page: Page) -> None:
    show_card(page, 24)
    edit(page)
    drag(page, 0, 2, 1)
    save(page)
    assert (place(page, 0)["x"], place(page, 0)["y"]) == (6, 5)
    assert (place(page, 10)["x"], place(page, 10)["y"]) == (0, 0)


def test_panels_never_overlap(page: Page) -> None:
    show_card(page, 24)
    edit(page)
    drag(page, 0, 0.4, 0.6)
    panel(page, 12).click()
    page.get_by_role("button", name="Rotate").click()
    save(page)
    taken: set[tuple[int, int]] = set()
    for found in (panel for array in stored(page)["arrays"] for panel in array["panels"]):
        width, height = (5, 3) if found["landscape"] else (3, 5)
        squares = {(found["x"] + x, found["y"] + y) for x in range(width) for y in range(height)}
        assert not squares & taken
        taken |= squares
    assert place(page, 12)["landscape"] is True


def test_selected_panels_form_a_new_array_with_name_and_azimuth(page: Page) -> None:
    show_card(page, 24)
    edit(page)
    first = panel(page, 16).bounding_box()
    last = panel(page, 18).bounding_box()
    assert first
    assert last
    page.mouse.move(first["x"] - 10, first["y"] + 30)
    page.mouse.down()
    page.mouse.move(last["x"] + 10, last["y"] + 110, steps=3)
    page.mouse.up()
    page.get_by_text("3 selected").wait_for()
    page.get_by_role("button", name="New array").click()
    page.get_by_label("Name", exact=True).nth(1).fill("Garage")
    page.get_by_label("Azimuth").nth(1).fill("225")
    # Another panel is dragged into the new array.
    box = page.locator('svg[data-array="1"]').bounding_box()
    source = panel(page, 0).locator(".cell").bounding_box()
    assert box
    assert source
    page.mouse.move(source["x"] + 10, source["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    save(page)
    assert [len(array["panels"]) for array in stored(page)["arrays"]] == [20, 4]
    assert place(page, 0)["array"] == 1
    label = page.locator(".label").nth(1).inner_text()
    assert "Garage" in label
    assert "225° SW" in label
    assert label.rstrip().endswith("W")


def test_arrangement_is_edited_with_the_keyboard(page: Page) -> None:
    show_card(page, 24)
    edit(page)
    panel(page, 23).focus()
    page.keyboard.press("r")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowDown")
    save(page)
    assert place(page, 23)["landscape"] is True
    assert place(page, 22)["y"] > 10


def test_cancelled_changes_are_discarded(page: Page) -> None:
    show_card(page, 24)
    before = panel(page, 0).bounding_box()
    edit(page)
    drag(page, 0, 0, -1)
    page.get_by_role("button", name="Cancel").click()
    assert panel(page, 0).bounding_box() == before
    assert stored(page) is None


def test_arrangement_is_exported_and_imported(page: Page, tmp_path: Path) -> None:
    show_card(page, 24)
    edit(page)
    drag(page, 0, 0, -1.2)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    exported = json.loads(download.value.path().read_text())
    ARRANGEMENT(exported)
    page.get_by_role("button", name="Automatic").click()
    save(page)
    assert stored(page) is None
    edit(page)
    broken = tmp_path / "broken.json"
    broken.write_text("[]")
    page.locator("input[type=file]").set_input_files(broken)
    page.get_by_text("contains no arrangement").wait_for()
    page.locator("input[type=file]").set_input_files(download.value.path())
    page.wait_for_function("!document.querySelector('enphase-array-card')._automatic")
    save(page)
    assert stored(page) == exported


def test_fingers_select_panels_one_after_another_and_drag_them(browser: Browser) -> None:
    """On a phone there is no key for a selection."""
    with empty_page(browser, viewport={"width": 390, "height": 844}, has_touch=True) as page:
        show_card(page, 24)
        edit(page)
        for number in (0, 5, 5, 6):
            panel(page, number).tap()
        page.get_by_text("2 selected").wait_for()
        page.get_by_role("button", name="Rotate").tap()
        save(page)
        assert [place(page, number)["landscape"] for number in (0, 5, 6)] == [True, False, True]


def test_card_that_is_attached_again_follows_the_width(page: Page) -> None:
    """Views of a dashboard are detached while another one is open."""
    show_card(page, 24)
    page.evaluate(
        "{ const card = document.querySelector('enphase-array-card'); card.remove(); document.body.append(card); }"
    )
    page.set_viewport_size({"width": 390, "height": 844})
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    reads = "calls.filter((call) => call.type === 'enphase_envoy/array/get').length"
    assert page.evaluate(reads) == 2


def test_day_without_data_is_read_once(page: Page) -> None:
    show_card(page, 24, history=False)
    page.get_by_role("button", name="Previous day").click()
    page.get_by_text("No history of this day").wait_for()
    for slot in ("10", "20", "30"):
        page.locator("input[type=range]").fill(slot)
    settle(page)
    assert page.evaluate("calls.filter((call) => call.type.startsWith('recorder/')).length") == 1


def test_energy_of_the_report_is_used_where_the_sensor_is_disabled(page: Page) -> None:
    show_card(page, 3, report={str(FIRST): {"energy_today": 432, "share": 0.87}})
    page.get_by_role("radio", name="Energy").click()
    # The others have produced more than a kilowatt-hour by noon.
    assert panel(page, 0).locator(".value").text_content() == "0.43"
    page.get_by_role("radio", name="Health").click()
    assert panel(page, 0).locator(".value").text_content() == "87"


def test_new_and_removed_panels_beside_a_stored_arrangement(page: Page) -> None:
    serials = [str(FIRST), "999"]
    panels = [{"serial": serial, "x": 0, "y": 5 * at, "landscape": False} for at, serial in enumerate(serials)]
    arrays = [{"name": "South", "azimuth": 180, "panels": panels}]
    show_card(page, 6, arrangement={"version": 1, "arrays": arrays})
    assert page.locator(".panel").count() == 6
    assert page.locator(".label").all_inner_texts()[1].startswith("New panels")


def test_users_without_administrator_rights_do_not_edit(page: Page) -> None:
    show_card(page, 24, admin=False)
    assert not page.get_by_role("button", name="Edit arrangement").count()


@pytest.mark.parametrize("statistics", [True, False])
def test_slider_shows_and_plays_a_day(page: Page, statistics: bool) -> None:
    show_card(page, 24, statistics=statistics)
    now = panel(page, 0).locator(".value").text_content()
    page.get_by_role("button", name="Previous day").click()
    page.wait_for_function("document.querySelector('enphase-array-card')._at !== null")
    slider = page.locator("input[type=range]")
    assert slider.get_attribute("max") == "287"
    slider.fill("150")
    expected = 'document.querySelector("enphase-array-card")._at === 150'
    page.wait_for_function(expected)
    shown = panel(page, 0).locator(".value").text_content()
    assert shown == "123" if not statistics else int(shown or 0) > 200
    slider.fill("0")
    assert panel(page, 0).locator(".value").text_content() == "0"
    page.get_by_role("button", name="Play the day").click()
    page.wait_for_function(f"{expected.replace('=== 150', '> 130')}")
    page.get_by_role("button", name="Pause").click()
    assert panel(page, 0).locator(".value").text_content() != "0"
    for _ in range(2):
        if (following := page.get_by_role("button", name="Next day")).is_enabled():
            following.click()
            settle(page)
    slider.fill(str(slider.get_attribute("max")))
    page.wait_for_function(expected.replace("=== 150", "=== null"))
    assert panel(page, 0).locator(".value").text_content() == now


@pytest.mark.parametrize("count", [24, 60])
def test_phone_shows_numbers_without_scrolling_sideways(page: Page, count: int) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    show_card(page, count)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = panel(page, 0).locator(".cell").bounding_box()
    assert box
    assert box["width"] >= 28
    assert panel(page, 0).locator(".value").is_visible()


def test_text_is_readable_in_dark_and_light_themes(page: Page) -> None:
    colours = {}
    for dark in (False, True):
        show_card(page, 24, dark=dark)
        colours[dark] = page.locator(".total").evaluate("(node) => getComputedStyle(node).color")
    assert colours == {False: "rgb(33, 33, 33)", True: "rgb(225, 225, 225)"}
    contrasts = page.evaluate("""() => {
      const light = (rgb) => {
        const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return [...document.querySelector("enphase-array-card").shadowRoot.querySelectorAll(".panel")].map((panel) => {
        const fill = panel.querySelector(".cell").getAttribute("fill").match(/\\d+/g).map(Number);
        return contrast(light(fill), panel.querySelector(".value").getAttribute("fill") === "#fff" ? 1 : 0.0056);
      });
    }""")
    assert min(contrasts) > 4.0


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Leistung"),
        ("fr", "Puissance"),
        ("nl", "Vermogen"),
        ("es", "Potencia"),
        ("it", "Potenza"),
        ("pt-BR", "Power"),
    ],
)
def test_texts_are_in_the_language_of_the_user(page: Page, language: str, text: str) -> None:
    show_card(page, 6, language=language)
    page.get_by_role("radio", name=text).wait_for()


def test_all_languages_have_all_texts() -> None:
    source = (
        Path(__file__).parents[2] / "custom_components/enphase_envoy/frontend/www/enphase-array-card.js"
    ).read_text()
    table = source.partition("const TEXTS = {")[2].partition("\n};")[0]
    languages = {
        language: re.findall(r"(\w+): \"", texts)
        for language, texts in re.findall(r"^  (\w\w): \{(.*?)^  \},", table, re.MULTILINE | re.DOTALL)
    }
    assert sorted(languages) == ["de", "en", "es", "fr", "it", "nl"]
    assert all(keys == languages["en"] for keys in languages.values())
    assert len(set(languages["en"])) == len(languages["en"])


def test_an_update_of_600_panels_writes_each_once(page: Page) -> None:
    """What an update costs is what it writes; docs/array_card.md has the times."""
    show_card(page, 600)
    panels, times = page.evaluate("""async () => {
      const card = document.querySelector("enphase-array-card"), writes = observePanels(card);
      const ids = Object.keys(hass.states).filter((id) => hass.states[id].attributes.unit_of_measurement === "W");
      const times = new Map(), panels = new Set();
      for (let at = 1; at <= 5; at++) {
        const states = { ...hass.states };
        ids.forEach((id, n) => { states[id] = { ...states[id], state: String((at * 37 + n * 11) % 349) }; });
        card.hass = { ...hass, states };
        do await new Promise(requestAnimationFrame); while (card._frame);
        // Labels are written when the browser is idle.
        for (const { serial, place, attributeName } of writes()) {
          if (attributeName === "aria-label") continue;
          panels.add(serial);
          times.set(`${at} ${place}`, (times.get(`${at} ${place}`) ?? 0) + 1);
        }
      }
      return [panels.size, [...times.values()]];
    }""")
    assert panels == 600
    assert set(times) == {1}
    # Colour, class and number of each panel in each of five updates.
    assert 5 * 600 < len(times) <= 5 * 600 * 3
