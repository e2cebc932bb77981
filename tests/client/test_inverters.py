"""More inverters than one document has details of, and the inventory, which may take long."""

import asyncio
from dataclasses import replace
import json
from typing import Any, Final

import aiohttp
from homeassistant.core import HomeAssistant
from pyenphase.const import URL_DEVICE_DATA, URL_INVENTORY
from pyenphase.models.inverter import EnvoyInverter
import pytest

from custom_components.enphase_envoy.client.inverters import _combined, is_full
from custom_components.enphase_envoy.client.lenient import read
from custom_components.enphase_envoy.client.paths import PERIODS
from custom_components.enphase_envoy.model.panels import COUNTS, PanelCounts, PanelStatus
from tests.helpers.documents import FreshStarts
from tests.helpers.integration import Installation, SetUp, Simulate, entry_for, use_clock_of
from tests.simulator import Held, Simulator, Status

INVENTORY: Final = "/inventory.json"


async def start(hass: HomeAssistant, gateway: Simulator, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Set up an entry for a gateway."""
    use_clock_of(gateway, monkeypatch)
    entry = entry_for(gateway)
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    return Installation(hass, gateway, entry)


def details_of(installation: Installation) -> list[bool]:
    """Return of each inverter whether it has details."""
    return [inverter.dc_voltage is not None for inverter in installation.coordinator.data.all(EnvoyInverter)]


async def test_details_of_the_listed_inverters_are_kept(set_up: SetUp) -> None:
    installation = await set_up("sixty_inverters")
    assert sorted(details_of(installation)) == [False] * 10 + [True] * 50
    with installation.gateway.fault(URL_DEVICE_DATA, Status(503)):
        for _ in range(4):
            await installation.poll_all()
        inverters = list(installation.coordinator.data.all(EnvoyInverter))
        newest = max(inverter.last_report_date for inverter in inverters)
        assert all(inverter.last_report_date > newest - 400 for inverter in inverters)
        assert sum(details_of(installation)) == 50


async def test_inverter_beyond_the_limit_is_added(
    hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = await start(hass, await simulate("full_battery", inverters=49), monkeypatch)
    assert details_of(installation) == [True] * 49
    for _ in range(2):
        installation.gateway.house.add_inverter()
    for _ in range(5):
        await installation.poll_all()
    assert sorted(details_of(installation)) == [False] + [True] * 50
    await hass.config_entries.async_unload(installation.entry.entry_id)


def test_details_that_are_older_than_the_report() -> None:
    inverter = EnvoyInverter("1", 1000, 200, 300)
    assert _combined(inverter, EnvoyInverter("1", 1000, 190, 300, 30.0)).last_report_watts == 190
    combined = _combined(inverter, EnvoyInverter("1", 700, 190, 300, 30.0))
    assert (combined.last_report_watts, combined.last_report_date, combined.dc_voltage) == (200, 1000, 30.0)


def test_details_without_a_date_have_their_counters() -> None:
    details = EnvoyInverter("1", None, 190, 300, lifetime_energy=5000, energy_today=400)  # type: ignore[arg-type]
    combined = _combined(EnvoyInverter("1", 1000, 200, 300), details)
    assert (combined.last_report_watts, combined.last_report_date) == (200, 1000)
    assert (combined.lifetime_energy, combined.energy_today) == (5000, 400)
    without_date = EnvoyInverter("1", None, 200, 300)  # type: ignore[arg-type]
    assert _combined(without_date, replace(details, last_report_date=1000)).last_report_date == 1000


@pytest.mark.parametrize("device", [None, 50, {}, {"devName": "pcu", "active": 1}, {"active": False}])
async def test_a_record_of_no_inverter_in_use_costs_its_details(device: dict[str, Any] | None) -> None:
    async with aiohttp.ClientSession() as session:
        start = FreshStarts("sixty_inverters", session)
        document = json.loads(start.documents[URL_DEVICE_DATA].body)
        key, record = next((key, record) for key, record in document.items() if isinstance(record, dict))
        document[key] = record | device if device == {"active": False} else device
        before = await start.values()
        after = await start.values({URL_DEVICE_DATA: json.dumps(document).encode()})
    lost = before.keys() - after.keys()
    assert {address for address, _ in lost} == {("inverters", record["sn"])}
    assert {"dc_voltage", "temperature", "lifetime_energy"} <= {name for _, name in lost}
    assert (("inverters", record["sn"]), "last_report_watts") in after


@pytest.mark.parametrize("key", ["deviceCount", "deviceDataLimit"])
@pytest.mark.parametrize("invalid", [None, "unknown", 1e300])
async def test_an_invalid_count_or_limit_of_the_listed_inverters_costs_nothing(key: str, invalid: object) -> None:
    async with aiohttp.ClientSession() as session:
        for profile in ("sixty_inverters", "full_battery"):
            start = FreshStarts(profile, session)
            document = json.loads(start.documents[URL_DEVICE_DATA].body) | {key: invalid}
            assert await start.values() == await start.values({URL_DEVICE_DATA: json.dumps(document).encode()})


def test_document_is_full() -> None:
    others: Any = ({"deviceCount": 49, "deviceDataLimit": 50}, {}, {"deviceCount": None, "deviceDataLimit": 50})
    assert is_full(read(URL_DEVICE_DATA, {"deviceCount": 50, "deviceDataLimit": 50}))
    assert not any(is_full(read(URL_DEVICE_DATA, other)) for other in others)
    assert not is_full(None)


async def test_slow_inventory_delays_neither_set_up_nor_polls(
    hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch, virtual_clock: None
) -> None:
    gateway, held = await simulate("metered_1phase"), Held()
    with gateway.fault(f"{INVENTORY}*", held):
        installation = await start(hass, gateway, monkeypatch)
        assert len(details_of(installation)) == 12
        assert not [*installation.coordinator.data.all(PanelStatus)]
        for _ in range(3):
            gateway.clock.advance(300)
            await installation.poll()
            assert installation.coordinator.last_update_success
        arrived = asyncio.Event()
        installation.coordinator.gateway.add_listener(lambda _: arrived.set())
        held.release()
        await arrived.wait()
    assert installation.coordinator.data.get(PanelCounts, COUNTS) == PanelCounts(12, 12, 12)
    await hass.config_entries.async_unload(installation.entry.entry_id)


@pytest.mark.parametrize(("profile", "period"), [("metered_1phase", PERIODS[URL_INVENTORY]), ("ac_batteries", 300)])
async def test_inventory_is_requested_every_15_minutes(set_up: SetUp, profile: str, period: int) -> None:
    installation = await set_up(profile)
    installation.gateway.requests.clear()
    for _ in range(60):
        await installation.pass_time(60)
    requests = [request for request in installation.gateway.requests if request.path.startswith(INVENTORY)]
    assert len(requests) == 3600 / period


async def test_gateway_without_an_inventory(
    hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await simulate("metered_1phase")
    with gateway.fault(f"{INVENTORY}*", Status(404)):
        installation = await start(hass, gateway, monkeypatch)
        gateway.requests.clear()
        for _ in range(30):
            await installation.pass_time(60)
    requests = [request for request in gateway.requests if request.path.startswith(INVENTORY)]
    assert len(requests) == 2
    assert not [
        record for record in caplog.records if INVENTORY in record.getMessage() and record.levelname == "WARNING"
    ]
    assert not [*installation.coordinator.data.all(PanelStatus)]
    await hass.config_entries.async_unload(installation.entry.entry_id)
