"""What is left while a part of the gateway says nothing, or nonsense, for minutes."""

import logging

import aiohttp
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr, entity_registry as er
import pytest

from custom_components.enphase_envoy import async_remove_config_entry_device
from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.integration import Installation, SetUp
from tests.simulator import Change, EmptyList, Replace, Silent, Status
from tests.simulator.faults import Fault

ENPOWER = "202226050419"
BATTERY = "492309017302"
INVENTORY = "/ivp/ensemble/inventory"


async def lost(installation: Installation, fault: Fault, *paths: str, minutes: int = 5) -> set[str]:
    """Return what is unavailable after some minutes with a fault, and let everything come back."""
    for path in paths:
        installation.gateway.fault(path, fault)
    for _ in range(minutes):
        await installation.pass_time(60)
    gone = installation.unavailable()
    installation.gateway.faults.clear()
    for _ in range(10):
        if not installation.unavailable():
            break
        await installation.pass_time(300)
    assert not installation.unavailable()
    return gone


def without(kind: str) -> Change:
    """Leave a kind of hardware out of a list."""
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
async def test_two_endpoints_that_never_answer_make_no_more_unavailable_than_two_that_fail(
    set_up: SetUp, virtual_clock: None, pair: tuple[str, str]
) -> None:
    """They occupy both slots for requests."""
    installation = await set_up("full_battery")
    expected = await lost(installation, Status(503), *pair)
    assert len(expected) < len(installation.states()) / 2
    assert await lost(installation, Silent(), *pair) <= expected


async def test_a_connection_that_is_not_made_keeps_nobody_else_from_being_asked(
    set_up: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = await set_up("full_battery")
    gateway = installation.coordinator.gateway
    installation.gateway.requests.clear()
    await installation.poll_all()
    paths = [request.path for request in installation.gateway.requests]
    request = gateway._asker._request
    refused: list[str] = []

    async def refuse_the_first(path: str) -> aiohttp.ClientResponse:
        if not refused:
            refused.append(path)
            raise aiohttp.ConnectionTimeoutError("no connection")
        return await request(path)

    monkeypatch.setattr(gateway._asker, "_request", refuse_the_first)
    installation.gateway.requests.clear()
    await installation.poll_all()
    assert installation.coordinator.last_update_success
    asked = {request.path for request in installation.gateway.requests} - {"/info"}
    assert asked == set(paths) - set(refused)
    await installation.poll()
    assert not installation.unavailable()


async def test_an_inventory_without_its_system_controller_takes_no_more_than_one_that_fails(
    set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    installation = await set_up("full_battery")
    expected = await lost(installation, Status(503), INVENTORY)
    caplog.clear()
    assert await lost(installation, without("ENPOWER"), INVENTORY) <= expected
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1, warnings
    assert INVENTORY in warnings[0]
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_report_of_a_meter_that_is_not_active_keeps_the_counter(hass: HomeAssistant, set_up: SetUp) -> None:
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
        # With a system controller an empty list is nonsense to the library, however long it stays.
        ("full_battery", BATTERY, INVENTORY, EmptyList()),
    ],
    ids=["empty, collar", "empty, AC batteries", "without batteries", "empty, system controller"],
)
async def test_a_battery_that_is_gone_for_good_can_be_deleted(
    hass: HomeAssistant, set_up: SetUp, profile: str, battery: str, path: str, fault: Fault
) -> None:
    installation = await set_up(profile)
    device = dr.async_get(hass).async_get_device_by_identifier((DOMAIN, battery), installation.entry.entry_id)
    assert device
    # Who has none has none anywhere.
    installation.gateway.fault(path, fault)
    installation.gateway.fault("/ivp/ensemble/power", Replace("devices:", []))
    installation.gateway.fault(
        "/api/v1/production/inverters",
        Change(lambda listed: [inverter for inverter in listed if inverter["serialNumber"] != battery]),
    )
    await installation.pass_time(60)
    assert not await async_remove_config_entry_device(hass, installation.entry, device), "one bad list proves nothing"
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
async def test_settings_and_counters_are_held_for_a_quarter_of_an_hour(
    hass: HomeAssistant, set_up: SetUp, path: str, domain: str, unique_id: str
) -> None:
    installation = await set_up("full_battery")
    entity = er.async_get(hass).async_get_entity_id(domain, DOMAIN, unique_id)
    assert entity
    before = installation.states()[entity]
    installation.gateway.fault(path, Status(503))
    for _ in range(14):
        await installation.pass_time(60)
    assert installation.states()[entity] == before
    for _ in range(10):
        await installation.pass_time(60)
    assert installation.states()[entity] == STATE_UNAVAILABLE


async def test_who_polls_by_an_automation_decides_how_old_a_value_may_be(hass: HomeAssistant, set_up: SetUp) -> None:
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
