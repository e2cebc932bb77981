"""Two requests at a time, whoever makes them and whatever is slow: the gateway is a small computer."""

import asyncio

import aiohttp
from homeassistant.core import HomeAssistant
import pytest

from custom_components.enphase_envoy.client import (
    auth as account,
    firmware as identity,
    gateway as gateway_module,
    scheduler as asking,
)
from tests.helpers.integration import Installation, SetUp
from tests.simulator import Silent, Slow
from tests.simulator.faults import Fault

RESERVE = "number.enpower_202226050419_reserve_battery_level"


async def do_everything_at_once(hass: HomeAssistant, house: Installation, seconds: float = 30) -> None:
    """Do all that asks the gateway for something, and give up after some time."""
    coordinator = house.coordinator
    house.gateway.clock.advance(601)
    asking_it = (
        coordinator.async_refresh(),
        coordinator.gateway.documents(ask=True),
        coordinator.gateway.mac_address(),
        coordinator.async_identify(),
        coordinator.async_renew_token(),
        hass.services.async_call("number", "set_value", {"entity_id": RESERVE, "value": 45}, blocking=True),
    )
    tasks = [asyncio.create_task(each) for each in asking_it]
    _, pending = await asyncio.wait(tasks, timeout=seconds)
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("profile", ["full_battery", "standard_7_6", "legacy_5"])
async def test_no_more_than_two_requests_at_a_time_and_one_to_an_endpoint(
    hass: HomeAssistant, set_up: SetUp, profile: str
) -> None:
    house = await set_up(profile)
    with house.gateway.fault("*", Slow(0.03)):
        await do_everything_at_once(hass, house)
    assert house.gateway.most_in_flight == 2
    assert house.gateway.most_to_one == 1


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("path", ["*", "/ivp/*", "/production*", "/info"])
@pytest.mark.parametrize("fault", [Slow(0.3), Silent()], ids=["slow", "silent"])
async def test_no_more_than_two_while_the_gateway_hangs(
    hass: HomeAssistant, set_up: SetUp, monkeypatch: pytest.MonkeyPatch, path: str, fault: Fault
) -> None:
    limit = aiohttp.ClientTimeout(total=0.4)
    monkeypatch.setattr(gateway_module, "_TIMEOUT", limit)
    monkeypatch.setattr(account, "_CHECK_TIMEOUT", limit)
    monkeypatch.setattr(identity, "IDENTIFY_LIMIT", 0.4)
    monkeypatch.setattr(asking, "_PLACE_LIMIT", 1)
    house = await set_up("full_battery")
    monkeypatch.setattr(gateway_module, "_PATIENCE", 0.1)
    with house.gateway.fault("*", Slow(0.03)), house.gateway.fault(path, fault):
        for _ in range(2):
            await do_everything_at_once(hass, house, 2)
    assert house.gateway.most_in_flight == 2
    assert house.gateway.most_to_one == 1
    # Whoever waits for nothing any more is soon answered.
    await do_everything_at_once(hass, house)
    assert house.coordinator.last_update_success
