"""A gateway was replaced: its entry, devices, entities and counters continue with another serial number."""

from dataclasses import fields, replace

from homeassistant.config_entries import ConfigEntryState, ConfigFlowResult
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import device_registry as dr, entity_registry as er, issue_registry as ir
import pytest
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from custom_components.enphase_envoy import config_flow
from custom_components.enphase_envoy.const import DOMAIN
from tests.flows.test_pinning import pin
from tests.helpers.flows import fill_in
from tests.helpers.integration import LONG, Installation, SetUp, Simulate, entity_id
from tests.helpers.statistics import Statistics
from tests.simulator import Simulator
from tests.simulator.profiles import PROFILES

PROFILE = "metered_1phase"
#: A new gateway with the same inverters; its meters start anew.
NEW = replace(
    PROFILES[PROFILE],
    serial="122303027887",
    lifetime=replace(PROFILES[PROFILE].lifetime, production=5_000, load=7_000, exported=2_000),
)


async def reconfigure(hass: HomeAssistant, house: Installation, gateway: Simulator) -> ConfigFlowResult:
    """Reconfigure an entry with the address of another gateway."""
    opened = await house.entry.start_reconfigure_flow(hass)
    return await fill_in(hass, opened, host=gateway.host, token=gateway.token(LONG))


async def test_an_entry_that_is_removed_during_the_take_over_is_not_changed(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await set_up(PROFILE)
    form = await reconfigure(hass, house, await simulate(NEW))
    assert form["step_id"] == "take_over"

    async def remove_entry(*_arguments: object) -> None:
        await hass.config_entries.async_remove(house.entry.entry_id)

    monkeypatch.setattr(config_flow, "async_take_over", remove_entry)
    result = await hass.config_entries.flow.async_configure(form["flow_id"], {})
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "removed")


async def test_a_replaced_gateway_is_taken_over(hass: HomeAssistant, set_up: SetUp, simulate: Simulate) -> None:
    house = await set_up(PROFILE)
    old, registry = house.gateway.serial, er.async_get(hass)
    production = entity_id(hass, "sensor", f"{old}_lifetime_production")
    registry.async_update_entity(production, name="Yield")
    before = {each.entity_id: each for each in er.async_entries_for_config_entry(registry, house.entry.entry_id)}
    devices = {each.id for each in dr.async_entries_for_config_entry(dr.async_get(hass), house.entry.entry_id)}
    gateway = await simulate(NEW)
    form = await reconfigure(hass, house, gateway)
    assert (form["type"], form["step_id"]) == (FlowResultType.FORM, "take_over")
    placeholders = form["description_placeholders"]
    assert placeholders
    assert placeholders["count"] == str(len(gateway.house.inverters))
    result = await hass.config_entries.flow.async_configure(form["flow_id"], {})
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "reconfigure_successful")
    await hass.async_block_till_done()
    assert house.entry.state is ConfigEntryState.LOADED
    assert house.entry.unique_id == gateway.serial
    assert house.entry.title == house.entry.data["name"] == f"Envoy {gateway.serial}"
    after = {each.entity_id: each for each in er.async_entries_for_config_entry(registry, house.entry.entry_id)}
    assert after.keys() == before.keys()
    assert not [each.unique_id for each in after.values() if old in each.unique_id]
    assert {each.id for each in dr.async_entries_for_config_entry(dr.async_get(hass), house.entry.entry_id)} == devices
    assert not house.device(old)
    assert entity_id(hass, "sensor", f"{gateway.serial}_lifetime_production") == production
    assert (state := hass.states.get(production))
    assert state.name == "Yield"
    assert 0 < float(state.state) < 1
    assert not house.unavailable()
    # The entry is loaded again with the new serial number.
    assert await hass.config_entries.async_reload(house.entry.entry_id)
    assert house.coordinator.data.serial == gateway.serial


async def test_the_certificate_of_the_new_gateway_is_pinned(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    house = await set_up(PROFILE)
    old = await pin(hass, house)
    gateway = await simulate(NEW)
    trust = await reconfigure(hass, house, gateway)
    assert trust["step_id"] == "trust"
    shown = trust["description_placeholders"]
    assert shown
    login = await hass.config_entries.flow.async_configure(trust["flow_id"], {})
    form = await fill_in(hass, login, token=gateway.token(LONG))
    assert form["step_id"] == "take_over"
    assert house.entry.data["certificate_fingerprint"] == old != shown["new"]
    await hass.config_entries.flow.async_configure(form["flow_id"], {})
    await hass.async_block_till_done()
    assert house.entry.state is ConfigEntryState.LOADED
    assert house.entry.unique_id == gateway.serial
    assert house.entry.options["pin_certificate"]
    assert house.entry.data["certificate_fingerprint"] == shown["new"]
    await house.poll()
    assert house.coordinator.last_update_success


async def test_another_certificate_than_the_confirmed_one_is_not_pinned(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    """It changes between the last step and the reload."""
    house = await set_up(PROFILE)
    await pin(hass, house)
    gateway = await simulate(NEW)
    trust = await reconfigure(hass, house, gateway)
    shown = trust["description_placeholders"]
    assert shown
    login = await hass.config_entries.flow.async_configure(trust["flow_id"], {})
    form = await fill_in(hass, login, token=gateway.token(LONG))
    assert form["step_id"] == "take_over"
    await gateway.upgrade("D8.3.5433")
    gateway.requests.clear()
    await hass.config_entries.flow.async_configure(form["flow_id"], {})
    await hass.async_block_till_done()
    assert house.entry.data["certificate_fingerprint"] == shown["new"]
    assert house.entry.state is ConfigEntryState.SETUP_RETRY
    assert not gateway.requests


@pytest.mark.parametrize("profile", ["full_battery", "battery_total", "three_phase"])
async def test_virtual_meters_and_days_have_no_step(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate, profile: str
) -> None:
    """The meters of the new gateway start anew. Simulated inverters have serial numbers by that of it modulo 97."""
    house = await set_up(profile)
    old = house.gateway.serial
    for _ in range(5):
        await house.pass_time(60)
    meters = ("battery_energy", "grid_energy", "house_energy")
    before = {address: timed.value for address, timed in house.coordinator.data.objects.items() if address[0] in meters}
    days = {
        key: float(state.state)
        for key in ("daily_production", "daily_consumption")
        if (state := hass.states.get(entity_id(hass, "sensor", f"{old}_{key}")))
    }
    system = PROFILES[profile]
    lifetime = replace(system.lifetime, production=5_000, load=7_000, exported=2_000, charged=500, discharged=100)
    gateway = await simulate(replace(system, serial=str(int(system.serial) + 97), lifetime=lifetime))
    gateway.clock.advance(300)
    form = await reconfigure(hass, house, gateway)
    assert form["step_id"] == "take_over"
    await hass.config_entries.flow.async_configure(form["flow_id"], {})
    await hass.async_block_till_done()
    for _ in range(5):
        gateway.clock.advance(60)
        await house.pass_time(60)
    after = house.coordinator.data.objects
    for address, value in before.items():
        for field in fields(value):  # type: ignore[arg-type]
            then, now = getattr(value, field.name), getattr(after[address].value, field.name)
            assert field.name == "power" or 0 <= now - then < 200, (address, field.name, then, now)
    for key, then in days.items():
        state = hass.states.get(entity_id(hass, "sensor", f"{gateway.serial}_{key}"))
        assert state
        assert abs(float(state.state) - then) < 1, key


async def test_the_gateway_of_another_entry_is_not_taken_over(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    house = await set_up(PROFILE)
    gateway = await simulate(replace(NEW, serial="122303027984"))
    hass.config_entries.async_update_entry(house.entry, unique_id="122303027111")
    other = await set_up(PROFILE)
    assert other.entry.unique_id != house.entry.unique_id
    form = await reconfigure(hass, house, other.gateway)
    assert form["errors"] == {"host": "other_gateway"}
    assert gateway.serial != other.gateway.serial


async def test_the_statistics_have_no_step(
    statistics: Statistics, hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    house = await set_up(PROFILE)
    counter = entity_id(hass, "sensor", f"{house.gateway.serial}_lifetime_production")
    await async_wait_recording_done(hass)
    await statistics.row({})
    gateway = await simulate(NEW)
    form = await reconfigure(hass, house, gateway)
    await hass.config_entries.flow.async_configure(form["flow_id"], {})
    await hass.async_block_till_done()
    await async_wait_recording_done(hass)
    await statistics.row({}, announce=True)
    assert (await statistics.changes(counter))[-1] > 5_000, "before the correction"
    await statistics.apply_corrections()
    changes = await statistics.changes(counter)
    assert len(changes) == 2
    assert changes[-1] == 0
    assert not [issue for domain, issue in ir.async_get(hass).issues if domain == DOMAIN]
