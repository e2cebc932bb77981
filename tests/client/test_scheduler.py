"""Limits of the request scheduler: two requests at a time, one per endpoint, as the gateway is a small computer."""

import asyncio

from homeassistant.core import HomeAssistant
import pytest

from tests.helpers.integration import Installation, SetUp
from tests.simulator import Silent, Slow
from tests.simulator.faults import Fault

RESERVE = "number.enpower_202226050419_reserve_battery_level"

pytestmark = pytest.mark.usefixtures("cloud", "virtual_clock")


async def request_everything(hass: HomeAssistant, installation: Installation, timeout: float) -> None:  # noqa: ASYNC109
    """Start everything that sends requests to the gateway at once, and cancel what is left after the timeout."""
    coordinator = installation.coordinator
    installation.gateway.clock.advance(601)
    requests = (
        coordinator.async_refresh(),
        coordinator.gateway.raw_responses(capture=True),
        coordinator.gateway.mac_address(),
        coordinator.authentication.async_identify(),
        coordinator.authentication.async_renew_token(),
        hass.services.async_call("number", "set_value", {"entity_id": RESERVE, "value": 45}, blocking=True),
    )
    tasks = [asyncio.create_task(request) for request in requests]
    _, pending = await asyncio.wait(tasks, timeout=timeout)
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("profile", ["full_battery", "standard_7_6", "legacy_5"])
async def test_scheduler_limits_requests_to_two_at_a_time_and_one_per_endpoint(
    hass: HomeAssistant, set_up: SetUp, profile: str
) -> None:
    installation = await set_up(profile)
    with installation.gateway.fault("*", Slow(1)):
        await request_everything(hass, installation, 300)
    assert installation.gateway.most_in_flight == 2
    assert installation.gateway.most_to_one == 1


@pytest.mark.parametrize("path", ["*", "/ivp/*", "/production*", "/info"])
@pytest.mark.parametrize("fault", [Slow(20), Silent()], ids=["slow", "silent"])
@pytest.mark.slow
async def test_scheduler_keeps_its_limits_while_the_gateway_does_not_answer(
    hass: HomeAssistant, set_up: SetUp, path: str, fault: Fault
) -> None:
    installation = await set_up("full_battery")
    with installation.gateway.fault("*", Slow(1)), installation.gateway.fault(path, fault):
        for _ in range(2):
            await request_everything(hass, installation, 120)
    assert installation.gateway.most_in_flight == 2
    assert installation.gateway.most_to_one == 1
    # Requests that were cancelled have left their slots.
    await request_everything(hass, installation, 30)
    assert installation.coordinator.last_update_success
