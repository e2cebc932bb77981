"""The panels in Home Assistant: status, problems, issues, the stored state and the report."""

from datetime import timedelta
from typing import Any, Final

from homeassistant.components.recorder.statistics import async_import_statistics
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr, entity_registry as er, issue_registry as ir
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.common import async_fire_time_changed
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.roof.health import Problem, RoofHealth
from tests.helpers.integration import Installation, SetUp, Simulate, entity_id, entry_for, use_clock_of
from tests.helpers.statistics import Statistics

OVERHEATED: Final = "envoy.cond_flags.pcu_ctrl.overtemperature"


@pytest.fixture(autouse=True)
async def _place(hass: HomeAssistant) -> None:
    """Put Home Assistant where the sun of the simulated gateways is."""
    await hass.config.async_update(latitude=52.37, longitude=4.9, time_zone="Europe/Amsterdam")


def serials(installation: Installation) -> list[str]:
    """Return the serial numbers of the panels."""
    return [inverter.serial for inverter in installation.gateway.house.inverters]


def health_of(installation: Installation) -> RoofHealth:
    """Return the health of the panels."""
    return installation.coordinator.roof.monitor.health


def state(hass: HomeAssistant, domain: str, unique_id: str) -> tuple[str, dict[str, Any]]:
    """Return state and attributes of an entity."""
    found = hass.states.get(entity_id(hass, domain, unique_id))
    assert found
    return found.state, dict(found.attributes)


async def test_status_has_the_most_severe_condition_and_all_codes(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("metered_1phase")
    hot, *_ = serials(installation)
    assert state(hass, "sensor", f"{hot}_status")[0] == "normal"
    installation.gateway.house.change_inverter(hot, conditions=(OVERHEATED, "envoy.cond_flags.obs_strs.new"))
    await installation.pass_time(901)
    text, attributes = state(hass, "sensor", f"{hot}_status")
    assert text == "over_temperature"
    assert attributes["codes"] == [OVERHEATED, "envoy.cond_flags.obs_strs.new"]
    assert (attributes["producing"], attributes["communicating"]) == (True, True)
    # Another code of the same status changes the attribute alone.
    installation.gateway.house.change_inverter(hot, conditions=(OVERHEATED,))
    await installation.pass_time(901)
    assert state(hass, "sensor", f"{hot}_status")[1]["codes"] == [OVERHEATED]


async def test_panels_sleep_at_night_and_one_that_lost_its_connection_counts(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    installation = await set_up("metered_1phase")
    gateway = installation.gateway.serial
    lost, other, *_ = serials(installation)
    installation.gateway.house.change_inverter(lost, silent_since=installation.gateway.clock.now)
    await installation.pass_time(901)
    assert [state(hass, "sensor", f"{gateway}_panels_{kind}")[0] for kind in ("total", "producing", "reporting")] == [
        "12",
        "12",
        "11",
    ]
    await installation.pass_time(12 * 3600)
    assert state(hass, "sensor", f"{other}_status")[0] == "sleeping"
    assert state(hass, "sensor", f"{gateway}_panels_producing")[0] == "0"


async def test_panel_that_fails_is_a_problem_and_an_issue_after_three_days(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("metered_1phase")
    broken, other, *_ = serials(installation)
    health = health_of(installation)
    health.panels[broken].set(Problem.NOT_PRODUCING, health.day - 2)
    await installation.pass_time(301)
    assert state(hass, "binary_sensor", f"{broken}_problem")[0] == "on"
    assert state(hass, "binary_sensor", f"{broken}_problem")[1]["reason"] == "not_producing"
    assert state(hass, "binary_sensor", f"{other}_problem")[0] == "off"
    text, attributes = state(hass, "binary_sensor", f"{installation.gateway.serial}_roof_problem")
    assert (text, attributes["panels"]) == ("on", {broken: "not_producing"})
    issues, issue = ir.async_get(hass), f"panels_not_producing_{installation.entry.entry_id}"
    assert not issues.async_get_issue(DOMAIN, issue)
    health.panels[broken].since -= 1
    device = installation.device(broken)
    assert device
    dr.async_get(hass).async_update_device(device.id, name_by_user="Garage")
    await installation.pass_time(301)
    found = issues.async_get_issue(DOMAIN, issue)
    assert found
    assert found.translation_placeholders
    assert found.translation_placeholders["panels"] == "- Garage"
    health.panels[broken].set(None, health.day)
    await installation.pass_time(301)
    assert state(hass, "binary_sensor", f"{broken}_problem")[0] == "off"
    assert not issues.async_get_issue(DOMAIN, issue)


@pytest.mark.parametrize(("interval", "is_reported"), [(3600.0, True), (900.0, True), (300.0, False)])
async def test_rare_reports_are_an_issue(
    hass: HomeAssistant, set_up: SetUp, interval: float, is_reported: bool
) -> None:
    installation = await set_up("metered_1phase")
    issues, issue = ir.async_get(hass), f"slow_reports_{installation.entry.entry_id}"
    health_of(installation).report_interval = interval
    await installation.pass_time(60)
    assert (issues.async_get_issue(DOMAIN, issue) is not None) is is_reported
    health_of(installation).report_interval = 300.0
    await installation.pass_time(60)
    assert not issues.async_get_issue(DOMAIN, issue)


async def test_state_is_stored_over_a_reload_and_removed_with_the_entry(
    hass: HomeAssistant, set_up: SetUp, hass_storage: dict[str, Any]
) -> None:
    installation = await set_up("metered_1phase")
    first, *_ = serials(installation)
    health_of(installation).panels[first].set(Problem.DEGRADED, 5)
    assert await hass.config_entries.async_reload(installation.entry.entry_id)
    await hass.async_block_till_done()
    assert health_of(installation).panels[first].problem is Problem.DEGRADED
    assert state(hass, "binary_sensor", f"{first}_problem")[0] == "on"
    assert await hass.config_entries.async_remove(installation.entry.entry_id)
    await hass.async_block_till_done()
    assert not [key for key in hass_storage if installation.entry.entry_id in key]


@pytest.mark.parametrize(("panels", "is_enabled"), [(50, True), (51, False)])
async def test_entities_of_many_panels_are_disabled(
    hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch, panels: int, is_enabled: bool
) -> None:
    gateway = await simulate("full_battery", inverters=panels)
    use_clock_of(gateway, monkeypatch)
    entry = entry_for(gateway)
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    registry = er.async_get(hass)
    for inverter in gateway.house.inverters:
        for domain, key in (("binary_sensor", "problem"), ("sensor", "status")):
            registered = registry.async_get(entity_id(hass, domain, f"{inverter.serial}_{key}"))
            assert registered
            assert (registered.disabled_by is None) is is_enabled
    assert state(hass, "binary_sensor", f"{gateway.serial}_roof_problem")[0] == "off"
    assert state(hass, "sensor", f"{gateway.serial}_panels_total")[0] == str(panels)
    await hass.config_entries.async_unload(entry.entry_id)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["W", "kWh"])
async def test_report_of_the_panels(hass: HomeAssistant, statistics: Statistics, set_up: SetUp, unit: str) -> None:
    """A month of statistics of power, or of energy with a first panel that made half as much."""
    installation = await set_up("metered_1phase")
    first, *others = serials(installation)
    start = dt_util.as_utc(dt_util.start_of_local_day() - timedelta(days=35))
    hours = int((dt_util.utcnow() - start) / timedelta(hours=1))
    for serial in (first, *others[:3]):
        watts = 50.0 if serial == first else 100.0
        unique_id = serial if unit == "W" else f"{serial}_lifetime_energy"
        metadata: Any = {
            "source": "recorder",
            "statistic_id": entity_id(hass, "sensor", unique_id),
            "unit_of_measurement": unit,
            "unit_class": "power" if unit == "W" else "energy",
            "has_sum": unit != "W",
            "mean_type": 1 if unit == "W" else 0,
            "name": None,
        }
        rows: Any = [
            {"start": start + timedelta(hours=hour)}
            | ({"mean": watts} if unit == "W" else {"state": hour * watts / 1000, "sum": hour * watts / 1000})
            for hour in range(hours)
        ]
        async_import_statistics(hass, metadata, rows)
    await async_wait_recording_done(hass)
    health_of(installation).panels[first].set(Problem.DEGRADED, health_of(installation).day)
    response = await hass.services.async_call(
        DOMAIN, "panel_report", {"config_entry_id": installation.entry.entry_id}, blocking=True, return_response=True
    )
    assert response
    panels: Any = response["panels"]
    assert panels.keys() == {first, *others}
    now = (dt_util.utcnow() - dt_util.start_of_local_day()) / timedelta(hours=1)
    today = int(now) * 50.0
    assert panels[first] == {
        "name": f"Inverter {first}",
        "energy_today": today,
        "energy_7_days": today + 6 * 24 * 50.0,
        "energy_30_days": today + 29 * 24 * 50.0,
        "share": 0.5,
        "problem_days": 1,
    }
    assert panels[others[0]]["share"] == 1.0
    assert panels[others[5]]["energy_7_days"] is None
    assert panels[others[5]]["share"] is None


async def test_report_without_a_recorder(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("metered_1phase")
    response = await hass.services.async_call(
        DOMAIN, "panel_report", {"config_entry_id": installation.entry.entry_id}, blocking=True, return_response=True
    )
    assert response
    panels: Any = response["panels"]
    assert all(panel["energy_30_days"] is None and panel["share"] is None for panel in panels.values())


async def test_file_of_a_removed_entry_without_panels_stays_removed(
    hass: HomeAssistant, set_up: SetUp, hass_storage: dict[str, Any]
) -> None:
    """A save was scheduled while there were panels."""
    installation = await set_up("metered_1phase")
    health_of(installation).panels.clear()
    await hass.config_entries.async_remove(installation.entry.entry_id)
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(hours=2))
    await hass.async_block_till_done(wait_background_tasks=True)
    assert not [key for key in hass_storage if installation.entry.entry_id in key]
