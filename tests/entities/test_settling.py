"""States after a change, and the requests that confirm it."""

import asyncio
from collections import Counter
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import issue_registry as ir
import pytest

from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.integration import Installation, SetUp, entity_id
from tests.simulator import Status
from tests.simulator.gateway import Gateway as SimulatedGateway
from tests.simulator.writes import WRITES, Refused

ENPOWER = "202226050419"
ACB = "122116046628_acb"
TARIFF = "/admin/lib/tariff"


class StatusAfterWrite(Status):
    """A status once the reserve was changed."""

    def applies(self, gateway: SimulatedGateway) -> bool:
        """Whether it was changed."""
        return gateway.house.settings.reserve != 20


async def set_reserve(hass: HomeAssistant, value: int) -> str:
    """Set the reserve of the batteries, and return the entity id."""
    entity = entity_id(hass, "number", f"{ENPOWER}_reserve_soc")
    await hass.services.async_call("number", "set_value", {"entity_id": entity, "value": value}, blocking=True)
    return entity


async def test_change_is_shown_within_half_a_minute_when_reading_it_back_fails(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    installation = await set_up("full_battery")
    issue = (DOMAIN, f"setting_reserved_soc_{installation.entry.entry_id}")
    with installation.gateway.fault(TARIFF, StatusAfterWrite(503)):
        entity = await set_reserve(hass, 45)
    assert installation.gateway.house.settings.reserve == 45
    assert not ir.async_get(hass).async_get_issue(*issue)
    for seconds in (4, 8, 20):
        await installation.pass_time(seconds)
    assert float(installation.states()[entity]) == 45
    await installation.poll()
    for _ in range(8):
        await installation.pass_time(60)
    assert float(installation.states()[entity]) == 45
    assert not ir.async_get(hass).async_get_issue(*issue)


async def test_no_issue_while_the_controller_was_not_polled_since_a_change(hass: HomeAssistant, set_up: SetUp) -> None:
    """With a long poll interval the setting is read more often than the controller."""
    installation = await set_up("full_battery")
    hass.config_entries.async_update_entry(installation.entry, options={"poll_interval": 300})
    await hass.config_entries.async_reload(installation.entry.entry_id)
    await hass.async_block_till_done()
    entity = await set_reserve(hass, 45)
    for seconds in (4, 8, 20, 30, 60, 60):
        await installation.pass_time(seconds)
        assert float(installation.states()[entity]) == 45
    assert not ir.async_get(hass).async_get_issue(DOMAIN, f"setting_reserved_soc_{installation.entry.entry_id}")


async def test_quick_changes_of_one_setting_are_confirmed_together(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    installation.gateway.requests.clear()
    for value in range(21, 26):
        await set_reserve(hass, value)
    for seconds in (4, 7, 20):
        await installation.pass_time(seconds)
    methods = Counter(request.method for request in installation.gateway.requests if request.path.startswith(TARIFF))
    assert methods["PUT"] == 5
    assert methods["GET"] <= 5 * 2 + 3, "each is read before and after, and all are confirmed by three reads"


async def select_band(hass: HomeAssistant, band: str) -> str:
    """Select the band of charge to sleep in, and return the entity id."""
    entity = entity_id(hass, "select", f"{ACB}_sleep_soc")
    await hass.services.async_call("select", "select_option", {"entity_id": entity, "option": band}, blocking=True)
    return entity


def bands(installation: Installation) -> set[Any]:
    """Return the bands set in the simulated batteries."""
    return {(battery.sleep_min_soc, battery.sleep_max_soc) for battery in installation.gateway.house.batteries}


async def press_sleep(hass: HomeAssistant) -> None:
    """Press the button that sends the batteries to sleep."""
    entity = entity_id(hass, "button", f"{ACB}_sleep")
    await hass.services.async_call("button", "press", {"entity_id": entity}, blocking=True)


async def test_batteries_sleep_in_the_band_selected_just_before(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("ac_batteries")
    entity, _ = await asyncio.gather(select_band(hass, "45-50"), press_sleep(hass))
    assert bands(installation) == {(45, 50)}
    assert installation.states()[entity] == "45-50"


async def test_rejected_band_is_not_shown_as_selected(
    hass: HomeAssistant, set_up: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = await set_up("ac_batteries")
    entity = await select_band(hass, "45-50")
    await press_sleep(hass)
    await installation.pass_time(120)
    assert installation.states()[entity_id(hass, "sensor", f"{ACB}_aggregate_sleep_state")] == "asleep"

    def refuse(*_: object) -> None:
        raise Refused("rejected")

    monkeypatch.setitem(WRITES, ("PUT", "/admin/lib/acb_config"), refuse)
    with pytest.raises(HomeAssistantError):
        await select_band(hass, "10-15")
    await installation.poll()
    assert installation.states()[entity] == "45-50"
    assert bands(installation) == {(45, 50)}


RELAY = f"{ENPOWER}_relay_NC1"


async def set_cutoff(hass: HomeAssistant) -> None:
    """Change a setting of a relay."""
    entity = entity_id(hass, "number", f"{RELAY}_soc_low")
    await hass.services.async_call("number", "set_value", {"entity_id": entity, "value": 25}, blocking=True)


@pytest.mark.parametrize("settling_time", [5, 45, 89])
async def test_relays_stay_closed_while_the_gateway_reports_them_as_open(
    hass: HomeAssistant, set_up: SetUp, settling_time: int
) -> None:
    """After a change of settings, of one or another relay, none of them moves."""
    installation = await set_up("full_battery")
    installation.gateway.gateway.settling_time = settling_time
    relays = {entity_id(hass, "switch", f"{ENPOWER}_relay_{name}_relay_status") for name in ("NC1", "NC2", "NO1")}
    changes: list[str] = []
    hass.bus.async_listen("state_changed", lambda event: changes.append(event.data["entity_id"]))
    await set_cutoff(hass)
    for seconds in (0, 4, 7, 20, 15, 15, 31, 30, 60, 60):
        await installation.pass_time(seconds)
        assert {installation.states()[entity] for entity in relays} == {"on"}
    assert not relays & set(changes)


async def test_relay_that_opens_after_a_change_of_settings_is_shown_within_91_seconds(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    """By reads of their own: positions are polled every two minutes."""
    installation = await set_up("full_battery")
    entity = entity_id(hass, "switch", f"{RELAY}_relay_status")
    await set_cutoff(hass)
    installation.gateway.house.switch_relay(installation.gateway.house.relay("NC1"), closed=False)
    for seconds in (4, 7, 20, 31):
        await installation.pass_time(seconds)
    assert installation.states()[entity] == "on"
    await installation.pass_time(30)
    assert installation.states()[entity] == "off"


async def test_relay_that_is_switched_after_a_change_of_settings_is_shown_at_once(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    installation = await set_up("full_battery")
    entity = entity_id(hass, "switch", f"{RELAY}_relay_status")
    await set_cutoff(hass)
    await hass.services.async_call("switch", "turn_off", {"entity_id": entity}, blocking=True)
    assert installation.states()[entity] == "off"


async def test_grid_relay_is_shown_as_moving_until_it_has_moved(hass: HomeAssistant, set_up: SetUp) -> None:
    """The switch is the requested position, the grid status the actual one."""
    installation = await set_up("full_battery")
    switch = entity_id(hass, "switch", f"{ENPOWER}_mains_admin_state")
    entities = (
        switch,
        entity_id(hass, "binary_sensor", f"{ENPOWER}_mains_oper_state"),
        entity_id(hass, "binary_sensor", f"{ENPOWER}_grid_relay"),
    )

    def states() -> list[str]:
        return [installation.states()[entity] for entity in entities]

    assert states() == ["on", "on", "off"]
    await hass.services.async_call("switch", "turn_off", {"entity_id": switch}, blocking=True)
    assert states() == ["off", "on", "on"]
    for seconds in (4, 7):
        await installation.pass_time(seconds)
        assert states() == ["off", "on", "on"]
    # At 31 s it is read again.
    await installation.pass_time(20)
    assert states() == ["off", "off", "off"]
    await hass.services.async_call("switch", "turn_on", {"entity_id": switch}, blocking=True)
    assert states() == ["on", "off", "on"]
    await installation.pass_time(14)
    assert states() == ["on", "on", "off"]


async def test_grid_relay_is_read_45_seconds_after_a_change(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    switch = entity_id(hass, "switch", f"{ENPOWER}_mains_admin_state")
    await hass.services.async_call("switch", "turn_off", {"entity_id": switch}, blocking=True)
    # It does not open.
    installation.gateway.house.grid.at += 600
    for seconds in (4, 7, 20):
        await installation.pass_time(seconds)
    moving = entity_id(hass, "binary_sensor", f"{ENPOWER}_grid_relay")
    assert installation.states()[moving] == "on"
    installation.gateway.requests.clear()
    await installation.pass_time(15)
    assert "/ivp/ensemble/inventory" in installation.polled_paths()
    assert installation.states()[moving] == "off"
    assert installation.states()[entity_id(hass, "binary_sensor", f"{ENPOWER}_mains_oper_state")] == "on"


@pytest.mark.parametrize("action", ["grid_action", "microgrid_action", "generator_action"])
async def test_action_of_a_relay_without_a_load_is_refused(hass: HomeAssistant, set_up: SetUp, action: str) -> None:
    """The gateway would store and ignore it; the other settings of the relay can be changed."""
    installation = await set_up("full_battery")
    select = entity_id(hass, "select", f"{ENPOWER}_relay_NO2_{action}")
    before = installation.states()[select]
    with pytest.raises(HomeAssistantError) as raised:
        await hass.services.async_call(
            "select", "select_option", {"entity_id": select, "option": "not_powered"}, blocking=True
        )
    assert raised.value.translation_key == "relay_action_ignored"
    assert (state := hass.states.get(select))
    assert str(raised.value).startswith(f"{state.name}: ")
    assert "load" in str(raised.value)
    assert not installation.gateway.writes
    assert installation.states()[select] == before
    number = entity_id(hass, "number", f"{ENPOWER}_relay_NO2_soc_low")
    await hass.services.async_call("number", "set_value", {"entity_id": number, "value": 25}, blocking=True)
    assert len(installation.gateway.writes) == 1
