"""Availability of entities while endpoints fail, or return invalid documents, for minutes."""

import aiohttp
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from pyenphase.const import URL_INVENTORY
import pytest

from custom_components.enphase_envoy import async_remove_config_entry_device
from custom_components.enphase_envoy.client.endpoints import Document
from tests.helpers.integration import Installation, SetUp, entity_id
from tests.helpers.log import warnings
from tests.simulator import Change, EmptyList, Replace, Silent, Status
from tests.simulator.faults import Fault

ENPOWER = "202226050419"
BATTERY = "492309017302"
INVENTORY = "/ivp/ensemble/inventory"


async def unavailable_during(installation: Installation, fault: Fault, *paths: str, minutes: int = 5) -> set[str]:
    """Return the entities that are unavailable after some minutes with a fault, and check that all recover."""
    for path in paths:
        installation.gateway.fault(path, fault)
    for _ in range(minutes):
        await installation.pass_time(60)
    unavailable = installation.unavailable()
    installation.gateway.faults.clear()
    for _ in range(10):
        if not installation.unavailable():
            break
        await installation.pass_time(300)
    assert not installation.unavailable()
    return unavailable


def without(kind: str) -> Change:
    """Remove a type of hardware from the inventory."""
    return Change(lambda groups: [group for group in groups if group["type"] != kind])


@pytest.mark.parametrize(
    "pair",
    [
        ("/admin/lib/tariff", "/api/v1/production/inverters"),
        ("/ivp/ensemble/inventory", "/ivp/ensemble/power"),
        ("/ivp/ensemble/secctrl", "/ivp/meters/readings"),
        ("/ivp/pdm/device_data", "/production.json"),
        ("/ivp/ensemble/power", "/production.json"),
    ],
    ids=" and ".join,
)
@pytest.mark.slow
async def test_two_endpoints_that_never_answer_make_no_more_unavailable_than_two_that_fail(
    set_up: SetUp, virtual_clock: None, pair: tuple[str, str]
) -> None:
    """They occupy both slots for requests."""
    installation = await set_up("full_battery")
    expected = await unavailable_during(installation, Status(503), *pair)
    assert len(expected) < len(installation.states()) / 2
    assert await unavailable_during(installation, Silent(), *pair) <= expected


async def test_one_failed_connection_does_not_stop_the_other_requests(
    set_up: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = await set_up("full_battery")
    gateway = installation.coordinator.gateway
    installation.gateway.requests.clear()
    await installation.poll_all()
    paths = [request.path for request in installation.gateway.requests]
    get = gateway.envoy.get
    failed: list[str] = []

    async def fail_first(path: str) -> Document:
        if not failed:
            failed.append(path)
            raise aiohttp.ConnectionTimeoutError("no connection")
        return await get(path)

    monkeypatch.setattr(gateway.envoy, "get", fail_first)
    installation.gateway.requests.clear()
    await installation.poll_all()
    assert installation.coordinator.last_update_success
    requested = {request.path for request in installation.gateway.requests} - {"/info"}
    # The inventory is due in every second of these polls.
    assert requested - {URL_INVENTORY} == set(paths) - {URL_INVENTORY, *failed}
    await installation.poll()
    assert not installation.unavailable()


async def test_inventory_without_system_controller_makes_no_more_unavailable_than_a_failing_one(
    set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    installation = await set_up("full_battery")
    expected = await unavailable_during(installation, Status(503), INVENTORY)
    caplog.clear()
    assert await unavailable_during(installation, without("ENPOWER"), INVENTORY) <= expected
    (warning,) = warnings(caplog)
    assert INVENTORY in warning
    assert not [record for record in caplog.records if record.exc_info]


async def test_counter_keeps_its_value_while_its_meter_is_reported_as_inactive(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    installation = await set_up("full_battery")
    counter = f"sensor.envoy_{installation.gateway.serial}_lifetime_energy_production"
    before = installation.states()[counter]
    installation.gateway.fault("/production.json", Replace("production.1.activeCount", 0))
    for _ in range(14):
        await installation.pass_time(60)
        assert installation.states()[counter] == before
    installation.gateway.faults.clear()
    await installation.pass_time(60)
    assert float(installation.states()[counter]) >= float(before)


@pytest.mark.parametrize(
    ("profile", "battery", "path", "fault"),
    [
        ("collar", "492516021833", INVENTORY, EmptyList()),
        ("ac_batteries", "121917031187", "/inventory.json", EmptyList()),
        ("full_battery", BATTERY, INVENTORY, without("ENCHARGE")),
        # With a system controller the library rejects an empty list, however long it lasts.
        ("full_battery", BATTERY, INVENTORY, EmptyList()),
    ],
    ids=["empty, collar", "empty, AC batteries", "without batteries", "empty, system controller"],
)
@pytest.mark.slow
async def test_battery_that_is_missing_for_an_hour_can_be_deleted(
    hass: HomeAssistant, set_up: SetUp, profile: str, battery: str, path: str, fault: Fault
) -> None:
    installation = await set_up(profile)
    device = installation.device(battery)
    assert device
    # Without batteries they are missing from all endpoints.
    installation.gateway.fault(path, fault)
    installation.gateway.fault("/ivp/ensemble/power", Replace("devices:", []))
    installation.gateway.fault(
        "/api/v1/production/inverters",
        Change(lambda listed: [inverter for inverter in listed if inverter["serialNumber"] != battery]),
    )
    await installation.pass_time(60)
    assert not await async_remove_config_entry_device(hass, installation.entry, device), "missing from one answer only"
    for _ in range(66):
        await installation.pass_time(60)
    assert await async_remove_config_entry_device(hass, installation.entry, device)


@pytest.mark.parametrize(
    ("path", "domain", "unique_id"),
    [
        ("/admin/lib/tariff", "switch", f"{ENPOWER}_charge_from_grid"),
        ("/admin/lib/tariff", "select", f"{ENPOWER}_storage_mode"),
        ("/admin/lib/tariff", "number", f"{ENPOWER}_reserve_soc"),
        ("/production.json", "sensor", "202328041177_lifetime_production"),
        ("/production.json", "sensor", "202328041177_seven_days_production"),
        ("/production.json", "sensor", "202328041177_daily_production"),
    ],
)
@pytest.mark.slow
async def test_settings_and_counters_stay_available_for_fifteen_minutes(
    hass: HomeAssistant, set_up: SetUp, path: str, domain: str, unique_id: str
) -> None:
    installation = await set_up("full_battery")
    entity = entity_id(hass, domain, unique_id)
    before = installation.states()[entity]
    installation.gateway.fault(path, Status(503))
    for _ in range(14):
        await installation.pass_time(60)
    assert installation.states()[entity] == before
    for _ in range(10):
        await installation.pass_time(60)
    assert installation.states()[entity] == STATE_UNAVAILABLE


async def test_values_do_not_expire_while_polling_is_left_to_an_automation(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("metered_1phase")
    hass.config_entries.async_update_entry(installation.entry, pref_disable_polling=True)
    await hass.config_entries.async_reload(installation.entry.entry_id)
    await hass.async_block_till_done()
    for _ in range(6):
        installation.gateway.requests.clear()
        for _ in range(10):
            await installation.pass_time(30)
            assert not installation.unavailable()
        await installation.poll()
        assert installation.gateway.requests
