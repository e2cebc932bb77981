"""Two gateways that list the same inverters: one entity, which shows the newest report."""

from dataclasses import replace
import gc
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from pyenphase.const import URL_DEVICE_DATA
from pyenphase.models.inverter import EnvoyInverter
import pytest

from custom_components.enphase_envoy.coordinator import EnvoyCoordinator
from custom_components.enphase_envoy.entity import EnvoyEntity
from tests.helpers.integration import Installation, SetUp, Simulate, entity_id, entry_for
from tests.simulator.faults import Change
from tests.simulator.profiles import PROFILES

PROFILE = "metered_1phase"
#: Another gateway whose inverters have the same serial numbers.
OTHER = replace(PROFILES[PROFILE], serial="122303027887")


async def two_gateways(hass: HomeAssistant, set_up: SetUp, simulate: Simulate) -> tuple[Installation, Installation]:
    """Set up two gateways with the same inverters."""
    first = await set_up(PROFILE)
    gateway = await simulate(OTHER)
    entry = entry_for(gateway)
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    return first, Installation(hass, gateway, entry)


async def test_one_entity_shows_the_newest_report(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await two_gateways(hass, set_up, simulate)
    inverter = first.gateway.house.inverters[0].serial
    assert inverter == second.gateway.house.inverters[0].serial
    power = entity_id(hass, "sensor", inverter)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]

    def watts(house: Installation) -> float:
        value = house.coordinator.data.objects["inverters", inverter].value
        return float(getattr(value, "last_report_watts"))  # noqa: B009

    # Both entries use the clock of the first gateway.
    for house in (first, second):
        house.gateway.clock.advance(3 * 3600)
    await second.poll()
    assert watts(first) != watts(second)
    assert (state := hass.states.get(power))
    assert float(state.state) == watts(second)

    for house in (first, second):
        house.gateway.clock.advance(4 * 3600)
    await first.poll()
    assert (state := hass.states.get(power))
    assert float(state.state) == watts(first)
    await hass.config_entries.async_unload(second.entry.entry_id)


async def test_the_entity_stays_when_one_entry_is_removed(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await two_gateways(hass, set_up, simulate)
    inverter = first.gateway.house.inverters[0].serial
    power = entity_id(hass, "sensor", inverter)
    er.async_get(hass).async_update_entity(power, name="Left panel")
    await hass.config_entries.async_remove(first.entry.entry_id)
    await hass.async_block_till_done()
    second.gateway.clock.advance(300)
    await second.poll()
    assert entity_id(hass, "sensor", inverter) == power
    assert (state := hass.states.get(power))
    assert state.name == "Left panel"
    assert float(state.state) > 0
    assert second.device(inverter)
    assert er.async_get(hass).entities[power].config_entry_id == second.entry.entry_id
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    await hass.config_entries.async_unload(second.entry.entry_id)


async def test_entities_that_are_disabled_take_no_memory(hass: HomeAssistant, set_up: SetUp) -> None:
    """A system with hundreds of inverters has thousands of them."""
    house = await set_up(PROFILE)
    gc.collect()
    kept = [
        each for each in gc.get_objects() if isinstance(each, EnvoyEntity) and each.coordinator is house.coordinator
    ]
    registered = er.async_entries_for_config_entry(er.async_get(hass), house.entry.entry_id)
    assert any(entry.disabled for entry in registered)
    assert {each.unique_id for each in kept} == {entry.unique_id for entry in registered if not entry.disabled}


@pytest.mark.parametrize("reloaded", [0, 1])
async def test_reloads_of_either_entry_leave_no_objects_behind(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate, reloaded: int
) -> None:
    houses = await two_gateways(hass, set_up, simulate)
    for _ in range(3):
        assert await hass.config_entries.async_reload(houses[reloaded].entry.entry_id)
        await hass.async_block_till_done()
    # The other entry then has the entities of both.
    await houses[1 - reloaded].poll()
    gc.collect()
    coordinators = [each for each in gc.get_objects() if type(each) is EnvoyCoordinator]
    assert len(coordinators) == 2
    assert {id(each) for each in coordinators} == {id(house.coordinator) for house in houses}


async def test_a_report_that_lacked_an_inverter_for_a_while_keeps_it_shared(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    first, second = await two_gateways(hass, set_up, simulate)
    inverter = first.gateway.house.inverters[0].serial
    power = entity_id(hass, "sensor", inverter)
    address = ("inverters", inverter)

    def without_it(document: Any) -> Any:
        if isinstance(document, list):
            return [each for each in document if each["serialNumber"] != inverter]
        return {key: each for key, each in document.items() if not isinstance(each, dict) or each["sn"] != inverter}

    change = Change(without_it)
    with first.gateway.fault("/api/v1/production/inverters", change), first.gateway.fault(URL_DEVICE_DATA, change):
        for _ in range(10):
            await first.poll_all()
        assert address not in first.coordinator.data.objects
    await first.poll_all()
    assert address in first.coordinator.data.objects
    assert await hass.config_entries.async_reload(second.entry.entry_id)
    await hass.async_block_till_done()
    second.gateway.clock.advance(3 * 3600)
    first.gateway.clock.advance(3 * 3600)
    await second.poll()
    value = second.coordinator.data.objects[address].value
    assert isinstance(value, EnvoyInverter)
    assert (state := hass.states.get(power))
    assert float(state.state) == value.last_report_watts
    shown = first.coordinator.data.objects[address].value
    assert isinstance(shown, EnvoyInverter)
    assert shown.last_report_watts != value.last_report_watts
    await hass.config_entries.async_unload(second.entry.entry_id)
