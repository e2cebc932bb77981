"""The issue about a permanent step of a counter: its correction is kept or reverted."""

from copy import deepcopy
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.common import async_fire_time_changed, flush_store
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.enphase_envoy import issues
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.energy_manager import _Report
from custom_components.enphase_envoy.statistics.recorder import Correction, async_correct, async_recorder
from custom_components.enphase_envoy.storage import COUNTERS
from tests.helpers.flows import repair_dialog
from tests.helpers.integration import Installation, SetUp
from tests.helpers.statistics import START, Statistics

SOLAR = "sensor.solar"
#: Start of the row that contains the step.
STEP = START + timedelta(minutes=5)
CORRECTION = Correction(SOLAR, STEP.timestamp(), -18_999_950.0)


def message(hass: HomeAssistant) -> ir.IssueEntry | None:
    """Return the issue."""
    return next((it for (domain, _), it in ir.async_get(hass).issues.items() if domain == DOMAIN), None)


async def answer(hass: HomeAssistant, client: ClientSessionGenerator, choice: str) -> tuple[dict[str, Any], str]:
    """Start the repair flow and choose; return its first step and its result."""
    shown = message(hass)
    assert shown
    http, flow = await repair_dialog(hass, client, shown.issue_id)
    done = await http.post(f"/api/repairs/issues/fix/{flow['flow_id']}", json={"next_step_id": choice})
    return flow, (await done.json())["type"]


@pytest.fixture
async def house(statistics: Statistics, hass: HomeAssistant, set_up: SetUp) -> Installation:
    """A system whose production counter has stepped, which was corrected and reported, in the second row."""
    statistics.freezer.move_to(START)
    house = await set_up("metered_1phase")
    for state in (65_000_000, 84_000_000, 84_000_050):
        await statistics.row({SOLAR: state})
    recorder = async_recorder(hass)
    assert recorder
    async_correct(recorder, CORRECTION)
    await async_wait_recording_done(hass)
    assert await statistics.changes(SOLAR) == [0, 50, 50]
    issues.async_report_step(hass, house.entry, asdict(CORRECTION), 65_000_000, 84_000_000)
    return house


@pytest.mark.parametrize(("choice", "change"), [("keep", 50), ("book", 19_000_000)])
async def test_the_user_keeps_or_reverts_the_correction(
    statistics: Statistics,
    hass: HomeAssistant,
    house: Installation,
    hass_client: ClientSessionGenerator,
    choice: str,
    change: float,
) -> None:
    flow, end = await answer(hass, hass_client, choice)
    assert (flow["type"], flow["menu_options"]) == ("menu", ["keep", "book"])
    texts = flow["description_placeholders"]
    assert (texts["before"], texts["after"], texts["correction"]) == (
        "65\N{NARROW NO-BREAK SPACE}000 kWh",
        "84\N{NARROW NO-BREAK SPACE}000 kWh",
        "-19\N{NARROW NO-BREAK SPACE}000 kWh",
    )
    assert end == "create_entry"
    for _ in range(2):
        await statistics.apply_corrections()
        assert await statistics.changes(SOLAR) == [0, change, 50]
        assert await statistics.changes(SOLAR, "hour") == []
    assert message(hass) is None


@pytest.mark.parametrize("is_applied", [True, False], ids=["after", "before"])
async def test_a_power_failure_after_the_answer_does_not_revert_it_twice(
    statistics: Statistics,
    hass: HomeAssistant,
    house: Installation,
    hass_client: ClientSessionGenerator,
    hass_storage: dict[str, Any],
    is_applied: bool,
) -> None:
    """Home Assistant saves ten seconds after the answer that the issue is deleted: the issue is there again."""
    shown = message(hass)
    assert shown
    assert (await answer(hass, hass_client, "book"))[1] == "create_entry"
    async_fire_time_changed(hass, dt_util.utcnow())
    await hass.async_block_till_done()
    if is_applied:
        await statistics.apply_corrections()
    key = f"{DOMAIN}.{house.entry.entry_id}.{COUNTERS}"
    saved = deepcopy(hass_storage[key])
    assert await hass.config_entries.async_unload(house.entry.entry_id)
    hass_storage[key] = saved
    registry = ir.async_get(hass)
    registry.issues = {**registry.issues, (DOMAIN, shown.issue_id): shown}
    client, dialog = await repair_dialog(hass, hass_client, shown.issue_id)
    assert await hass.config_entries.async_setup(house.entry.entry_id)
    assert message(hass) is None
    # Nor in the dialog that was opened before.
    registry.issues = {**registry.issues, (DOMAIN, shown.issue_id): shown}
    done = await client.post(f"/api/repairs/issues/fix/{dialog['flow_id']}", json={"next_step_id": "book"})
    assert (await done.json())["type"] == "create_entry"
    for _ in range(3):
        await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 19_000_000, 50]


async def test_two_open_dialogs_revert_a_correction_once(
    statistics: Statistics, hass: HomeAssistant, house: Installation, hass_client: ClientSessionGenerator
) -> None:
    shown = message(hass)
    assert shown
    dialogs = [await repair_dialog(hass, hass_client, shown.issue_id) for _ in range(2)]
    ends = []
    for http, dialog in dialogs:
        done = await http.post(f"/api/repairs/issues/fix/{dialog['flow_id']}", json={"next_step_id": "book"})
        ends.append((await done.json())["type"])
    await statistics.apply_corrections()
    assert ends == ["create_entry", "abort"]
    assert await statistics.changes(SOLAR) == [0, 19_000_000, 50]


@pytest.mark.parametrize("end", ["unload", "remove"])
@pytest.mark.parametrize("choice", ["keep", "book"])
async def test_the_dialog_of_an_entry_that_was_unloaded_or_removed_changes_nothing(
    statistics: Statistics,
    hass: HomeAssistant,
    house: Installation,
    hass_client: ClientSessionGenerator,
    choice: str,
    end: str,
) -> None:
    shown = message(hass)
    assert shown
    http, flow = await repair_dialog(hass, hass_client, shown.issue_id)
    if end == "remove":
        await hass.config_entries.async_remove(house.entry.entry_id)
    else:
        await hass.config_entries.async_unload(house.entry.entry_id)
    done = await http.post(f"/api/repairs/issues/fix/{flow['flow_id']}", json={"next_step_id": choice})
    assert done.status == 200
    await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 50, 50]


async def test_a_reversal_is_not_taken_for_the_correction_of_another_step(
    statistics: Statistics, hass: HomeAssistant, house: Installation, hass_client: ClientSessionGenerator
) -> None:
    """The counter has stepped once more, and that correction waits for its row."""
    manager = house.coordinator.energy_manager
    report = _Report(84_000_050, 99_000_000, 0.0)
    manager._reports[SOLAR] = report
    assert (await answer(hass, hass_client, "book"))[1] == "create_entry"
    await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 19_000_000, 50]
    assert report.correction is None
    assert message(hass) is None


async def test_without_a_recorder_nothing_can_be_reverted(
    hass: HomeAssistant, set_up: SetUp, hass_client: ClientSessionGenerator
) -> None:
    house = await set_up("full_battery")
    issues.async_report_step(hass, house.entry, asdict(CORRECTION), 65_000_000, 84_000_000)
    assert (await answer(hass, hass_client, "book"))[1] == "abort"
    assert message(hass)


async def test_an_issue_persists_over_a_restart_until_its_entry_is_removed(
    hass: HomeAssistant, set_up: SetUp, hass_storage: dict[str, Any]
) -> None:
    """The step is not detected again; repeated reports of a step create one issue."""
    house = await set_up("full_battery")
    for _ in range(2):
        issues.async_report_step(hass, house.entry, asdict(CORRECTION), 400, 0)
    registry = ir.async_get(hass)
    assert len([domain for domain, _ in registry.issues if domain == DOMAIN]) == 1
    await flush_store(registry._store)
    registry.issues.clear()
    await registry._async_load()
    kept = message(hass)
    assert kept
    assert kept.data == {
        "entry_id": house.entry.entry_id,
        "entity_id": SOLAR,
        "at": STEP.timestamp(),
        "watt_hours": -18_999_950.0,
    }
    await hass.config_entries.async_remove(house.entry.entry_id)
    assert message(hass) is None
