"""Entries of Home Assistant's own integration and of other custom components of the same domain."""

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er, issue_registry as ir
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.migration import async_adopt_entities
from tests.helpers.integration import SetUp, Simulate, entity_id, use_clock_of
from tests.simulator import Cloud
from tests.simulator.profiles import PROFILES


async def test_a_wrong_local_password_costs_the_inverters_alone(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("legacy_5", username="envoy", password="wrong")
    assert house.entry.state is ConfigEntryState.LOADED
    production = hass.states.get(entity_id(hass, "sensor", f"{house.gateway.serial}_production"))
    assert production
    assert float(production.state) > 0
    assert not any(house.coordinator.data.members("inverters"))
    issue = f"local_password_{house.entry.entry_id}"
    assert ir.async_get(hass).async_get_issue(DOMAIN, issue)
    await house.poll_all()
    assert house.coordinator.last_update_success
    assert not hass.config_entries.flow.async_progress()
    hass.config_entries.async_update_entry(
        house.entry, data={**house.entry.data, "username": "installer", "password": ""}
    )
    await hass.config_entries.async_reload(house.entry.entry_id)
    await hass.async_block_till_done()
    # Two good answers have to contain what is new.
    await house.poll_all()
    assert any(house.coordinator.data.members("inverters"))
    assert not ir.async_get(hass).async_get_issue(DOMAIN, issue)


@pytest.mark.parametrize("username", ["envoy", "owner", None])
@pytest.mark.parametrize("password", ["", None, "no key"])
async def test_an_entry_without_a_local_password_loads(
    hass: HomeAssistant,
    simulate: Simulate,
    monkeypatch: pytest.MonkeyPatch,
    username: str | None,
    password: str | None,
) -> None:
    """The well-known passwords are used; a user that has none sees no inverters, which is reported once."""
    gateway = await simulate("legacy_5")
    use_clock_of(gateway, monkeypatch)
    data = {"host": gateway.host, "name": "Envoy", "username": username, "password": password}
    if password == "no key":
        del data["password"]
    entry = MockConfigEntry(domain=DOMAIN, unique_id=gateway.serial, data=data)
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    assert entry.state is ConfigEntryState.LOADED
    assert hass.states.get(entity_id(hass, "sensor", f"{gateway.serial}_production"))
    assert not hass.config_entries.flow.async_progress()
    is_reported = ir.async_get(hass).async_get_issue(DOMAIN, f"local_password_{entry.entry_id}") is not None
    assert is_reported == (username == "owner")
    assert any(entry.runtime_data.data.members("inverters")) != is_reported
    assert await hass.config_entries.async_unload(entry.entry_id)


async def test_an_entry_of_another_component(
    hass: HomeAssistant, simulate: Simulate, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await simulate("metered_1phase")
    use_clock_of(gateway, monkeypatch)
    options = {"time_between_update": 60, "disable_negative_production": True, "enable_realtime_updates": False}
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Envoy",
        unique_id=gateway.serial,
        data={
            "host": gateway.host,
            "serial": gateway.serial,
            "username": "owner@example.com",
            "password": "sunshine",
            "token_source": "cloud",
            "name": "Envoy",
        },
        options=options,
    )
    entry.add_to_hass(hass)
    inverter, second, *_ = (each.serial for each in gateway.house.inverters)
    registry = er.async_get(hass)

    def register(unique_id: str, name: str, domain: str = "sensor") -> str:
        return registry.async_get_or_create(
            domain, DOMAIN, unique_id, config_entry=entry, suggested_object_id=name
        ).entity_id

    watts = register(f"{inverter}_inverter_data_watts", "panel_on_the_left")
    registry.async_update_entity(watts, name="Left panel")
    collides = register(f"{second}_inverter_data_watts", "old_panel")
    register(second, "new_panel")
    production = register(f"{gateway.serial}_production", "envoy_power")
    yesterday = register(f"{inverter}_inverter_data_watt_hours_yesterday", "panel_yesterday")
    register(f"{second}_inverter_data_watt_hours_yesterday", "panel_2_yesterday")
    switch = register(f"{gateway.serial}_production_power", "production_switch", "switch")

    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    assert entry.data["token"]
    assert entry.options == options
    assert entity_id(hass, "sensor", inverter) == watts
    states = [hass.states.get(entity) for entity in (watts, production)]
    assert all(state and float(state.state) > 0 for state in states)
    assert states[0]
    assert states[0].name == "Left panel"
    assert registry.entities[collides].unique_id == f"{second}_inverter_data_watts"
    issue = ir.async_get(hass).async_get_issue(DOMAIN, f"no_successor_{entry.entry_id}")
    assert issue
    assert issue.translation_placeholders
    listed = issue.translation_placeholders["entities"].splitlines()
    assert sorted(listed) == sorted([f"- `{collides}`", f"- `{yesterday}` (+1)", f"- `{switch}`"])
    for entity in er.async_entries_for_config_entry(registry, entry.entry_id):
        if entity.entity_id in (collides, yesterday, switch) or entity.entity_id.endswith("panel_2_yesterday"):
            registry.async_remove(entity.entity_id)
    await hass.config_entries.async_reload(entry.entry_id)
    assert not ir.async_get(hass).async_get_issue(DOMAIN, f"no_successor_{entry.entry_id}")
    await hass.config_entries.async_unload(entry.entry_id)


@pytest.mark.parametrize("profile", PROFILES)
async def test_no_entity_of_this_component_counts_as_foreign(
    hass: HomeAssistant, set_up: SetUp, profile: str, entity_registry_enabled_by_default: None
) -> None:
    house = await set_up(profile)
    assert not ir.async_get(hass).async_get_issue(DOMAIN, f"no_successor_{house.entry.entry_id}")
    async_adopt_entities(hass, house.entry)
    assert not ir.async_get(hass).async_get_issue(DOMAIN, f"no_successor_{house.entry.entry_id}")
