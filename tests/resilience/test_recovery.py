"""What a bad moment at set-up, or during an upgrade, leaves behind: nothing, before long."""

import asyncio
from collections.abc import AsyncIterator
import logging

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
import pytest

from custom_components.enphase_envoy.client import gateway as gateway_module
from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.integration import Installation, SetUp, Simulate, entry_for, use_clock_of
from tests.simulator import Body, Change, EmptyList, Replace, Slow, Status
from tests.simulator.faults import Fault

#: What every gateway is asked before it is asked for anything it has.
DOOR = {"/info", "/auth/check_jwt", "/auth/check_jwt?"}


@pytest.fixture
async def set_up_with(hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SetUp]:
    """Set Home Assistant up with a gateway that has a fault from the first request on."""
    entries = []

    async def start(profile: str, path: str, fault: Fault) -> Installation:
        gateway = await simulate(profile)
        gateway.fault(path, fault)
        use_clock_of(gateway, monkeypatch)
        entry = entry_for(gateway)
        entry.add_to_hass(hass)
        entries.append(entry)
        await hass.config_entries.async_setup(entry.entry_id)
        await hass.async_block_till_done()
        return Installation(hass, gateway, entry)

    yield start
    for entry in entries:
        await hass.config_entries.async_unload(entry.entry_id)
    await hass.async_block_till_done()


def asked(house: Installation) -> set[str]:
    """Return the paths that were asked, without who is asked at the door."""
    return {request.path.partition("?")[0] for request in house.gateway.requests} - DOOR


async def reload(hass: HomeAssistant, house: Installation) -> None:
    """Set up again, with timers of its own."""
    house.elapsed = 0
    await hass.config_entries.async_reload(house.entry.entry_id)
    await hass.async_block_till_done()


@pytest.mark.parametrize("profile", ["full_battery", "total_consumption", "ac_batteries"])
async def test_whichever_endpoint_fails_at_set_up_all_entities_are_there_minutes_after_it_answers(
    hass: HomeAssistant, set_up: SetUp, profile: str
) -> None:
    house = await set_up(profile)
    healthy, paths = house.states().keys(), asked(house)
    assert len(paths) > 5
    left = {}
    for path in sorted(paths):
        with house.gateway.fault(path, Status(503)):
            await reload(hass, house)
        for _ in range(5):
            await house.pass_time(60)
        if house.states().keys() != healthy or house.unavailable() or house.entry.state is not ConfigEntryState.LOADED:
            left[path] = (house.entry.state, house.unavailable(), healthy - house.states().keys())
    assert not left


@pytest.mark.parametrize(
    ("profile", "path"),
    [
        ("standard_7_6", "/api/v1/production"),
        ("legacy_5", "/api/v1/production"),
        ("three_phase", "/ivp/meters"),
        ("full_battery", "/production.json"),
    ],
)
async def test_no_other_source_is_taken_for_counters_while_their_own_fails(
    hass: HomeAssistant, set_up_with: SetUp, profile: str, path: str
) -> None:
    house = await set_up_with(profile, path, Status(503))
    assert house.entry.state.name == "SETUP_RETRY"
    assert not house.states()
    house.gateway.faults.clear()
    await house.pass_time(60)
    assert house.entry.state.name == "LOADED"
    late = house.states()
    await reload(hass, house)
    assert house.states() == late


@pytest.mark.parametrize(
    ("profile", "path"),
    [
        ("full_battery", "/ivp/ensemble/inventory"),
        ("full_battery", "/ivp/ss/gen_config"),
        ("ac_batteries", "/inventory.json"),
        ("total_consumption", "/api/v1/production/inverters"),
    ],
)
async def test_new_kinds_of_hardware_are_found_within_an_hour(
    hass: HomeAssistant, set_up_with: SetUp, profile: str, path: str
) -> None:
    house = await set_up_with(profile, path, EmptyList())
    assert house.entry.state is ConfigEntryState.LOADED
    before = house.states().keys()
    house.gateway.faults.clear()
    for _ in range(12):
        await house.pass_time(300)
    found = house.states().keys()
    assert found > before
    await reload(hass, house)
    assert house.states().keys() == found, "a new set-up finds no more"
    assert not house.unavailable()


async def test_hardware_whose_list_failed_at_the_first_set_up_is_found(hass: HomeAssistant, set_up_with: SetUp) -> None:
    """Nobody knows of entities that were never there: they come by themselves."""
    house = await set_up_with("full_battery", "/ivp/ensemble/inventory", Status(503))
    before = house.states().keys()
    house.gateway.faults.clear()
    for _ in range(5):
        await house.pass_time(60)
    found = house.states().keys()
    assert len(found - before) > 20
    await reload(hass, house)
    assert house.states().keys() == found


@pytest.mark.parametrize(
    "path", ["/ivp/ensemble/inventory", "/admin/lib/tariff", "/ivp/meters", "/production.json", "/ivp/ss/gen_config"]
)
async def test_an_upgrade_during_which_an_endpoint_fails_takes_nothing_for_good(set_up: SetUp, path: str) -> None:
    house = await set_up("full_battery")
    before = house.states()
    await house.gateway.upgrade("D8.3.5433")
    with house.gateway.fault(path, Status(503)):
        await house.coordinator.async_identify()
        await house.pass_time(60)
        await house.pass_time(60)
    for _ in range(12):
        await house.pass_time(300)
    assert house.coordinator.data.firmware == "8.3.5433"
    assert house.states().keys() == before.keys()
    assert not house.unavailable()


async def test_what_is_connected_is_told_anew_after_an_upgrade(hass: HomeAssistant, set_up_with: SetUp) -> None:
    """A meter that was installed meanwhile belongs to the model."""
    house = await set_up_with("metered_1phase", "/ivp/meters", Change(lambda meters: meters[:1]))

    def device() -> dr.DeviceEntry:
        found = dr.async_get(hass).async_get_device_by_identifier((DOMAIN, house.gateway.serial), house.entry.entry_id)
        assert found
        return found

    before = device().model
    house.gateway.faults.clear()
    await house.gateway.upgrade("D8.3.5433")
    await house.coordinator.async_identify()
    await house.pass_time(60)
    assert device().sw_version == "8.3.5433"
    assert before != device().model == house.coordinator.data.model
    await reload(hass, house)
    assert device().model == house.coordinator.data.model


@pytest.mark.parametrize("path", ["/ivp/ensemble/power", "/ivp/ensemble/secctrl", "/ivp/ensemble/dry_contacts"])
async def test_at_set_up_only_the_endpoint_that_fails_is_said_to(
    set_up_with: SetUp, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """Those that feed the same objects have done nothing wrong."""
    house = await set_up_with("full_battery", path, Status(503))
    await house.pass_time(60)
    failing = [record.getMessage() for record in caplog.records if " fails (" in record.getMessage()]
    assert [f" {path} fails (HTTP 503)" in line for line in failing] == [True]


@pytest.mark.parametrize(("fault", "answers"), [(Slow(0), True), (Status(503), False)])
async def test_when_all_pause_one_is_asked_and_its_answer_makes_the_others_due(
    set_up: SetUp, fault: Fault, answers: bool
) -> None:
    house = await set_up("full_battery")
    gateway = house.coordinator.gateway
    for _, endpoint in gateway._asker.endpoints():
        endpoint.failure, endpoint.slow_failures, endpoint.asked = "too slow", 3, house.gateway.clock.now
    house.gateway.requests.clear()
    house.gateway.clock.advance(60)
    house.gateway.fault("*", fault)
    await house.poll()
    assert len(house.gateway.requests) == (len(gateway._reader.in_use) if answers else 1)
    assert house.coordinator.last_update_success == answers


async def test_answers_that_are_all_late_are_no_loss(
    set_up: SetUp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody is there, and what they say is shown when it comes."""
    monkeypatch.setattr(gateway_module, "_PATIENCE", 0.1)
    house = await set_up("full_battery")
    caplog.clear()
    house.gateway.clock.advance(60)
    shown = house.states()
    with house.gateway.fault("/ivp/*", Slow(0.5)), house.gateway.fault("/production*", Slow(0.5)):
        await house.poll()
        assert house.states() == shown
    await asyncio.sleep(1)
    await house.hass.async_block_till_done()
    assert house.states() != shown
    assert house.coordinator.last_update_success
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_what_was_found_out_from_an_odd_document_is_found_out_anew_soon(set_up_with: SetUp) -> None:
    """Meters are looked up once in each probe: what was odd then can't be read by, however right it is later."""
    house = await set_up_with("full_battery", "/ivp/meters", Replace("0.measurementType", []))
    house.gateway.faults.clear()
    for _ in range(2):
        await house.pass_time(60)
    assert house.coordinator.data.members("ctmeters")
    assert not house.coordinator.gateway._asker.failures()


@pytest.mark.parametrize("fault", [Status(503), Body("\ufeff[]"), Change(lambda readings: readings[:2])])
async def test_batteries_with_a_meter_are_not_counted_otherwise_while_it_can_not_be_read(
    set_up_with: SetUp, fault: Fault
) -> None:
    """What counts them meanwhile would have entities of its own, and the names of the meter's."""
    house = await set_up_with("full_battery", "/ivp/meters/readings", fault)
    assert ("battery_energy",) not in house.coordinator.data.objects
    house.gateway.faults.clear()
    for _ in range(3):
        await house.pass_time(60)
    assert not house.unavailable()
    assert not [name for name in house.states() if name.endswith("_2")]


@pytest.mark.parametrize(("for_good", "meters"), [(False, 3), (True, 2)])
async def test_what_a_probe_finds_otherwise_is_believed_when_it_lasts(
    set_up: SetUp, for_good: bool, meters: int
) -> None:
    house = await set_up("full_battery")
    gateway = house.coordinator.gateway
    gateway.forget_probe()
    await house.pass_time(60)
    house.gateway.fault("/ivp/meters", Replace("2.state", "disabled"))
    gateway.forget_probe()
    await house.pass_time(60)
    assert len(gateway._common_properties.meter_types) == 3
    if not for_good:
        house.gateway.faults.clear()
    for _ in range(20):
        await house.pass_time(60)
    assert len(gateway._common_properties.meter_types) == meters
