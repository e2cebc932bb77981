"""The entities of counters."""

from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er

from custom_components.enphase_envoy.statistics.entities import async_counter_entities, async_energy_sensors
from tests.helpers.integration import SetUp


async def test_filtered_counters_have_entities(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("full_battery")
    snapshot, serial = house.coordinator.data, house.gateway.serial
    counters = async_counter_entities(hass, snapshot)
    assert (
        counters[("system_production",), "watt_hours_lifetime"] == f"sensor.envoy_{serial}_lifetime_energy_production"
    )
    assert {field for _, field in counters} == {
        *("watt_hours_lifetime", "lifetime_energy", "energy_delivered", "energy_received", "consumed"),
    }
    assert len(set(counters.values())) == len(counters)
    for (address, field), entity_id in counters.items():
        assert isinstance(getattr(snapshot.objects[address].value, field), int)
        entity = er.async_get(hass).async_get(entity_id)
        assert entity
        # The registry contains the state class; net counters may fall.
        is_net = address[0].startswith("system_net")
        assert (entity.capabilities or {})["state_class"] == ("total" if is_net else "total_increasing")
    daily = {entity_id for _, row, entity_id in async_energy_sensors(hass, snapshot) if row.counter is None}
    assert f"sensor.envoy_{serial}_energy_production_today" in daily


async def test_counters_without_an_entity_are_left_out(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("full_battery")
    snapshot = house.coordinator.data
    before = async_counter_entities(hass, snapshot)
    removed = before[("system_production",), "watt_hours_lifetime"]
    er.async_get(hass).async_remove(removed)
    assert set(before.values()) - set(async_counter_entities(hass, snapshot).values()) == {removed}
