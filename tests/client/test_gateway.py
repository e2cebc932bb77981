"""A quick read or a write beside a slow poll, and parsing without requests."""

import asyncio
from dataclasses import replace

import aiohttp
from homeassistant.exceptions import HomeAssistantError
from pyenphase.models.envoy import EnvoyData
from pyenphase.updaters.base import EnvoyUpdater
import pytest

from custom_components.enphase_envoy.client.auth import Credentials
from custom_components.enphase_envoy.client.errors import GatewayError
from custom_components.enphase_envoy.client.gateway import Gateway
from custom_components.enphase_envoy.model.snapshot import Address
from tests.helpers.integration import SetUp, Simulate
from tests.simulator import Body, Held

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
    with pytest.raises(GatewayError, match="closed"):
        await gateway.refresh("encharge_aggregate")
    assert not installation.gateway.requests
    assert not changed


async def test_nothing_is_written_when_the_document_read_before_is_invalid(set_up: SetUp) -> None:
    """The last good document may lack a change that the user made in the app."""
    installation = await set_up("full_battery")
    installation.gateway.requests.clear()
    with installation.gateway.fault("/admin/lib/tariff", Body('{"tariff": 5}')), pytest.raises(HomeAssistantError):
        await installation.hass.services.async_call(
            "number", "set_value", {"entity_id": RESERVE, "value": 45}, blocking=True
        )
    assert {request.method for request in installation.gateway.requests} == {"GET"}


async def test_valid_document_is_not_rejected_for_an_invalid_one_of_another_cycle(set_up: SetUp) -> None:
    """The poll has read an invalid inventory, and still waits for another endpoint."""
    installation = await set_up("full_battery")
    gateway = installation.coordinator.gateway
    installation.gateway.clock.advance(601)
    held, invalid = Held(), Body('[{"type": "ENPOWER", "devices": 5}]')
    faults = installation.gateway.fault
    with faults("/production*", held), faults("/ivp/ensemble/inventory", invalid):
        poll = asyncio.create_task(installation.coordinator.async_refresh())
        await held.waiting.wait()
        await gateway.refresh("generator_mode")
        await gateway.refresh("dry_contact_status")
        objects = gateway.snapshot().objects
        assert objects["dry_contact_status", "NC1"].updated_at == installation.gateway.clock.now
        held.release()
        await poll


async def test_late_answer_expires_without_another_poll(set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    coordinator = installation.coordinator
    coordinator._stop_expiry()
    coordinator.publish({("encharge_aggregate",)})
    assert coordinator._cancel_expiry


async def test_error_that_no_library_declares_is_a_failure_of_the_endpoint(
    set_up: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = await set_up("full_battery")
    gateway = installation.coordinator.gateway

    async def fail(path: str) -> aiohttp.ClientResponse:
        raise ZeroDivisionError(path)

    monkeypatch.setattr(gateway.envoy, "get", fail)
    with pytest.raises(GatewayError):
        await gateway.poll()


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


async def test_snapshot_has_the_firmware_of_the_last_identification(set_up: SetUp) -> None:
    installation = await set_up("standard_7_6")
    gateway: Gateway = installation.coordinator.gateway
    before = gateway.snapshot()
    installation.gateway.gateway.firmware = "D8.3.5167"
    assert gateway.snapshot().firmware == before.firmware
    await gateway.identify()
    after = gateway.snapshot()
    assert (before.firmware, after.firmware) == (installation.gateway.profile.firmware[1:], "8.3.5167")
    gateway.envoy.restore_info(replace(gateway.envoy.info, firmware="8.2.4345", part_number="800-00654-r08"))
    restored = gateway.snapshot()
    assert (restored.firmware, restored.part_number) == ("8.2.4345", "800-00654-r08")


async def test_session_that_is_closed_in_the_middle_of_a_request_is_a_failed_connection(simulate: Simulate) -> None:
    """The entry is unloaded while Home Assistant's middleware has control."""
    house = await simulate("standard_7_6")

    async def close(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        await session.close()
        return await handler(request)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False), middlewares=(close,)) as session:
        gateway = Gateway(house.host, session)
        with pytest.raises(GatewayError, match="cannot_connect"):
            await gateway.identify()
