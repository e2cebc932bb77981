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
