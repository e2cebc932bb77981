"""Unloading during a request. Home Assistant's test tools check that no timer and no task is left."""

import asyncio
from collections.abc import Awaitable
import gc
from typing import Any
from unittest.mock import AsyncMock

from aiohttp import TCPConnector
from aiohttp.client_proto import ResponseHandler
from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import EVENT_HOMEASSISTANT_CLOSE, STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import device_registry as dr, entity_registry as er
from homeassistant.util import dt as dt_util
from pyenphase.models.tariff import EnvoyStorageMode
import pytest
from pytest_homeassistant_custom_component.common import async_fire_time_changed

from custom_components.enphase_envoy import async_remove_config_entry_device
from custom_components.enphase_envoy.client.errors import GatewayBusyError, GatewayError
from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.integration import Installation, SetUp
from tests.helpers.log import tracebacks
from tests.simulator import Held

TARIFF = "/admin/lib/tariff"


async def unload(hass: HomeAssistant, house: Installation, held: Held, caplog: pytest.LogCaptureFixture) -> None:
    """Unload while an answer is held back, and set up again: nothing is left of the first time."""
    coordinator = house.coordinator
    caplog.clear()
    await held.waiting.wait()
    assert await hass.config_entries.async_unload(house.entry.entry_id)
    held.release()
    await hass.async_block_till_done(wait_background_tasks=True)
    assert coordinator._cancel_expiry is None
    assert not coordinator._rechecks
    assert coordinator._unsub_refresh is None
    assert not [task for task in asyncio.all_tasks() if "custom_components" in repr(task)]
    # asyncio logs each lost connection on the level DEBUG.
    assert not tracebacks(caplog)
    house.gateway.faults.clear()
    assert await hass.config_entries.async_setup(house.entry.entry_id)
    await hass.async_block_till_done()
    assert STATE_UNAVAILABLE not in house.states().values()


async def test_a_refresh_is_cancelled_with_the_entry(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    house = await set_up("full_battery")
    house.gateway.fault("/ivp/ensemble/power", held := Held())
    refresh = hass.async_create_task(house.coordinator.async_refresh())
    await unload(hass, house, held, caplog)
    await refresh


async def test_a_poll_is_cancelled_with_the_entry(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    house = await set_up("full_battery")
    house.gateway.fault("/ivp/ensemble/power", held := Held())
    house.gateway.clock.advance(61)
    async_fire_time_changed(hass, dt_util.utcnow() + dt_util.dt.timedelta(seconds=61))
    await unload(hass, house, held, caplog)


async def test_reading_a_setting_again_is_cancelled_with_the_entry(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    house = await set_up("full_battery")
    entity = er.async_get(hass).async_get_entity_id("number", DOMAIN, "202226050419_reserve_soc")
    await hass.services.async_call("number", "set_value", {"entity_id": entity, "value": 45}, blocking=True)
    house.gateway.fault(TARIFF, held := Held())
    async_fire_time_changed(hass, dt_util.utcnow() + dt_util.dt.timedelta(seconds=4))
    await unload(hass, house, held, caplog)


async def test_a_slow_request_is_cancelled_with_the_entry(
    hass: HomeAssistant, set_up: SetUp, virtual_clock: None, caplog: pytest.LogCaptureFixture
) -> None:
    house = await set_up("full_battery")
    house.gateway.fault("/ivp/ensemble/power", held := Held())
    # The poll does not wait for this answer to its end.
    await house.poll()
    await unload(hass, house, held, caplog)


async def test_no_device_can_be_deleted_while_the_gateway_is_unavailable(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("full_battery")
    await hass.config_entries.async_unload(house.entry.entry_id)
    await house.gateway.go_away()
    await hass.config_entries.async_setup(house.entry.entry_id)
    assert house.entry.state is ConfigEntryState.LOADED
    devices = dr.async_entries_for_config_entry(dr.async_get(hass), house.entry.entry_id)
    assert len(devices) > 5
    for device in devices:
        assert not await async_remove_config_entry_device(hass, house.entry, device)


async def test_a_write_that_waits_is_not_made_after_the_end(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("full_battery")
    gateway = house.coordinator.gateway
    held = Held()
    house.gateway.fault(TARIFF, held)
    entity = er.async_get(hass).async_get_entity_id("number", DOMAIN, "202226050419_reserve_soc")
    writing = hass.async_create_task(
        hass.services.async_call("number", "set_value", {"entity_id": entity, "value": 45}, blocking=True)
    )
    await held.waiting.wait()
    assert await hass.config_entries.async_unload(house.entry.entry_id)
    held.release()
    with pytest.raises(HomeAssistantError):
        await writing
    assert not house.gateway.writes
    # Nor is anything else that comes later.
    house.gateway.requests.clear()
    with pytest.raises(GatewayError):
        await gateway.identify()
    with pytest.raises(GatewayBusyError):
        await gateway.envoy.set_storage_mode(EnvoyStorageMode.BACKUP)
    assert await gateway.mac_address() is None
    await gateway.raw_responses(capture=True)
    assert not house.gateway.requests


async def test_a_reload_during_the_log_in_with_an_own_session_has_no_traceback(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    """The session is closed with the entry."""
    house = await set_up("metered_1phase")
    hass.config_entries.async_update_entry(house.entry, options={"disable_keep_alive": True})
    await hass.config_entries.async_reload(house.entry.entry_id)
    for path in ("/info", "/auth/check_jwt", "/ivp/meters/readings"):
        held = Held()
        with house.gateway.fault(path, held):
            house.coordinator.gateway.envoy.auth = None
            poll = hass.async_create_task(house.coordinator.async_refresh())
            await held.waiting.wait()
            coordinator = house.coordinator
            reload = hass.async_create_task(hass.config_entries.async_reload(house.entry.entry_id))
            await hass.async_add_executor_job(int)
            held.release()
            await poll
            await reload
        await hass.async_block_till_done()
        await coordinator.async_refresh()
        with pytest.raises(GatewayError):
            await coordinator.authentication.async_log_in()
    assert not tracebacks(caplog)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("action", ["poll", "write"])
async def test_a_connection_that_is_being_established_is_closed_with_the_entry(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """An error is logged when a connection is collected that was never closed."""
    house = await set_up("full_battery")
    gateway = house.coordinator.gateway
    connecting, connected = asyncio.Event(), asyncio.Event()
    connect = TCPConnector._create_connection

    async def connect_late(*args: Any) -> ResponseHandler:
        protocol = await connect(*args)
        connecting.set()
        await connected.wait()
        return protocol

    monkeypatch.setattr(TCPConnector, "_get", AsyncMock(return_value=None))
    monkeypatch.setattr(TCPConnector, "_create_connection", connect_late)
    if action == "poll":
        gateway.envoy.auth = None
    request: Awaitable[Any] = house.coordinator.async_refresh() if action == "poll" else gateway.envoy.go_off_grid()
    request = asyncio.ensure_future(request)
    await connecting.wait()
    unload = hass.async_create_task(hass.config_entries.async_unload(house.entry.entry_id))
    while house.entry.state is not ConfigEntryState.NOT_LOADED:
        await hass.async_add_executor_job(int)
    connected.set()
    await asyncio.gather(request, unload, return_exceptions=True)
    await hass.async_block_till_done()
    gc.collect()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_the_session_is_closed_when_home_assistant_stops(hass: HomeAssistant, set_up: SetUp) -> None:
    """Home Assistant does not unload its entries then, and an error is logged for a session that is still open."""
    house = await set_up("metered_1phase")
    session = house.coordinator.gateway.envoy._client
    hass.bus.async_fire(EVENT_HOMEASSISTANT_CLOSE)
    await hass.async_block_till_done()
    assert session.closed
