"""Endpoints that pyenphase does not read: requested, parsed and expiring like all others."""

import pytest

from custom_components.enphase_envoy.client.models import LiveDataStatus
from custom_components.enphase_envoy.client.paths import PERIODS, URL_LIVE_DATA_STATUS
from tests.helpers.integration import Installation, SetUp, Simulate, entry_for, use_clock_of
from tests.simulator import Body, Status
from tests.simulator.faults import Fault

ADDRESS = ("live_data_status",)


async def test_live_data_status_is_an_object_of_the_snapshot(set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    found = installation.coordinator.data.get(LiveDataStatus, ADDRESS)
    assert found
    assert (found.stream, found.broker, found.main_relay_state) == ("disabled", "connected", 1)
    assert found.phase_count == 2


async def test_live_data_status_is_polled_at_its_period(set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    installation.gateway.requests.clear()
    for _ in range(30):
        await installation.pass_time(60)
    requests = [request for request in installation.gateway.requests if request.path == URL_LIVE_DATA_STATUS]
    assert len(requests) == 30 * 60 / PERIODS[URL_LIVE_DATA_STATUS]


async def test_live_data_status_is_not_requested_without_batteries(set_up: SetUp) -> None:
    installation = await set_up("metered_1phase")
    assert ADDRESS not in installation.coordinator.data.objects
    assert not [request for request in installation.gateway.requests if request.path == URL_LIVE_DATA_STATUS]


@pytest.mark.parametrize("fault", [Status(404), Status(401), Body("[]"), Body('{"connection": null}')], ids=repr)
async def test_failing_live_data_status_affects_no_other_object(
    set_up: SetUp, simulate: Simulate, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    whole = await set_up("full_battery")
    gateway = await simulate("full_battery")
    use_clock_of(gateway, monkeypatch)
    expected = whole.coordinator.data.objects.keys() - {ADDRESS}
    entry = entry_for(gateway)
    hass = whole.hass
    assert await hass.config_entries.async_unload(whole.entry.entry_id)
    await hass.config_entries.async_remove(whole.entry.entry_id)
    entry.add_to_hass(hass)
    with gateway.fault(URL_LIVE_DATA_STATUS, fault):
        assert await hass.config_entries.async_setup(entry.entry_id)
        await hass.async_block_till_done()
    without = Installation(hass, gateway, entry)
    assert without.coordinator.data.objects.keys() == expected
    assert await hass.config_entries.async_unload(entry.entry_id)
