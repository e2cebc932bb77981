"""A quick read or a write beside a slow poll, and parsing without requests."""

import asyncio

import aiohttp
from pyenphase.models.envoy import EnvoyData
from pyenphase.updaters.base import EnvoyUpdater
import pytest

from custom_components.enphase_envoy.client.auth import Credentials
from custom_components.enphase_envoy.client.gateway import Gateway
from custom_components.enphase_envoy.model.snapshot import Address
from tests.helpers.integration import SetUp, Simulate
from tests.simulator import Held

RESERVE = "number.enpower_202226050419_reserve_battery_level"


async def test_write_does_not_wait_for_a_slow_poll(set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    installation.gateway.clock.advance(601)
    held = Held()
    with installation.gateway.fault("/production*", held):
        poll = asyncio.create_task(installation.coordinator.async_refresh())
        await held.waiting.wait()
        await installation.hass.services.async_call(
            "number", "set_value", {"entity_id": RESERVE, "value": 45}, blocking=True
        )
        assert installation.states()[RESERVE] == "45.0"
        assert not poll.done()
        held.release()
        await poll
    assert installation.states()[RESERVE] == "45.0"
    assert installation.coordinator.last_update_success


async def test_older_document_of_a_poll_does_not_replace_the_one_read_after_a_write(set_up: SetUp) -> None:
    """The poll has read the settings, and waits for another endpoint, when they are written."""
    installation = await set_up("full_battery")
    before = installation.states()[RESERVE]
    installation.gateway.clock.advance(601)
    held, settings = Held(), Held()
    settings.release()
    faults = installation.gateway.fault
    with faults("/ivp/pdm/device_data", held), faults("/admin/lib/tariff", settings):
        poll = asyncio.create_task(installation.coordinator.async_refresh())
        await held.waiting.wait()
        await settings.waiting.wait()
        await installation.hass.services.async_call(
            "number", "set_value", {"entity_id": RESERVE, "value": 55}, blocking=True
        )
        held.release()
        await poll
    assert before != installation.states()[RESERVE] == "55.0"


async def test_read_of_one_field_does_not_wait_for_a_slow_poll(set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    gateway = installation.coordinator.gateway
    address: Address = ("encharge_aggregate",)
    before = gateway.snapshot().objects[address].updated_at
    installation.gateway.clock.advance(601)
    held = Held()
    with installation.gateway.fault("/production*", held):
        poll = asyncio.create_task(installation.coordinator.async_refresh())
        await held.waiting.wait()
        await gateway.refresh("encharge_aggregate")
        assert not poll.done()
        assert gateway.snapshot().objects[address].updated_at == before + 601
        held.release()
        await poll


async def test_nothing_is_requested_or_parsed_after_close(set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    gateway = installation.coordinator.gateway
    changed: list[object] = []
    gateway.add_listener(changed.append)
    installation.gateway.clock.advance(601)
    held = Held()
    with installation.gateway.fault("*", held):
        poll = asyncio.create_task(installation.coordinator.async_refresh())
        await held.waiting.wait()
        gateway.close()
        held.release()
        await poll
    installation.gateway.requests.clear()
    await gateway.refresh("encharge_aggregate")
    assert not installation.gateway.requests
    assert not changed


class WaitingUpdater(EnvoyUpdater):
    """An updater that waits for something else than a document."""

    async def probe(self, discovered_features: object) -> None:
        """Find nothing."""

    async def update(self, envoy_data: EnvoyData) -> None:  # noqa: ARG002
        """Wait."""
        await asyncio.sleep(0)


async def test_parsing_can_not_wait(simulate: Simulate) -> None:
    simulator = await simulate("metered_1phase")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
        gateway = Gateway(simulator.host, session)
        await gateway.identify()
        await gateway.log_in(Credentials(token=simulator.token()))
        envoy = gateway.envoy
        updater = WaitingUpdater(envoy.firmware, envoy.get, envoy.get, None)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="made a request"):
            envoy.parse(updater, {})
