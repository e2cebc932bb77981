"""What a bad moment at set-up, or during an upgrade, leaves behind: nothing, before long."""

import asyncio
from collections.abc import AsyncIterator
import logging

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
import pytest

from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.integration import Installation, SetUp, Simulate, entry_for, use_clock_of
from tests.simulator import Body, Change, EmptyList, Held, Replace, Slow, Status
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


def asked(installation: Installation) -> set[str]:
    """Return the paths that were asked, without who is asked at the door."""
    return {request.path.partition("?")[0] for request in installation.gateway.requests} - DOOR


async def reload(hass: HomeAssistant, installation: Installation) -> None:
    """Set up again, with timers of its own."""
    installation.elapsed = 0
    await hass.config_entries.async_reload(installation.entry.entry_id)
    await hass.async_block_till_done()


@pytest.mark.parametrize("profile", ["full_battery", "total_consumption", "ac_batteries"])
async def test_whichever_endpoint_fails_at_set_up_all_entities_are_there_minutes_after_it_answers(
    hass: HomeAssistant, set_up: SetUp, profile: str
) -> None:
    installation = await set_up(profile)
    healthy, paths = installation.states().keys(), asked(installation)
    assert len(paths) > 5
    left = {}
    for path in sorted(paths):
        with installation.gateway.fault(path, Status(503)):
            await reload(hass, installation)
        for _ in range(5):
            await installation.pass_time(60)
        if (
            installation.states().keys() != healthy
            or installation.unavailable()
            or installation.entry.state is not ConfigEntryState.LOADED
        ):
            left[path] = (installation.entry.state, installation.unavailable(), healthy - installation.states().keys())
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
    installation = await set_up_with(profile, path, Status(503))
    assert installation.entry.state.name == "SETUP_RETRY"
    assert not installation.states()
    installation.gateway.faults.clear()
    await installation.pass_time(60)
    assert installation.entry.state.name == "LOADED"
    late = installation.states()
    await reload(hass, installation)
    assert installation.states() == late


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
    installation = await set_up_with(profile, path, EmptyList())
    assert installation.entry.state is ConfigEntryState.LOADED
    before = installation.states().keys()
    installation.gateway.faults.clear()
    for _ in range(12):
        await installation.pass_time(300)
    found = installation.states().keys()
    assert found > before
    await reload(hass, installation)
    assert installation.states().keys() == found, "a new set-up finds no more"
    assert not installation.unavailable()


async def test_hardware_whose_list_failed_at_the_first_set_up_is_found(hass: HomeAssistant, set_up_with: SetUp) -> None:
    """Nobody knows of entities that were never there: they come by themselves."""
    installation = await set_up_with("full_battery", "/ivp/ensemble/inventory", Status(503))
    before = installation.states().keys()
    installation.gateway.faults.clear()
    for _ in range(5):
        await installation.pass_time(60)
    found = installation.states().keys()
    assert len(found - before) > 20
    await reload(hass, installation)
    assert installation.states().keys() == found


@pytest.mark.parametrize(
    "path", ["/ivp/ensemble/inventory", "/admin/lib/tariff", "/ivp/meters", "/production.json", "/ivp/ss/gen_config"]
)
async def test_an_upgrade_during_which_an_endpoint_fails_takes_nothing_for_good(set_up: SetUp, path: str) -> None:
    installation = await set_up("full_battery")
    before = installation.states()
    await installation.gateway.upgrade("D8.3.5433")
    with installation.gateway.fault(path, Status(503)):
        await installation.coordinator.async_identify()
        await installation.pass_time(60)
        await installation.pass_time(60)
    for _ in range(12):
        await installation.pass_time(300)
    assert installation.coordinator.data.firmware == "8.3.5433"
    assert installation.states().keys() == before.keys()
    assert not installation.unavailable()


async def test_what_is_connected_is_told_anew_after_an_upgrade(hass: HomeAssistant, set_up_with: SetUp) -> None:
    """A meter that was installed meanwhile belongs to the model."""
    installation = await set_up_with("metered_1phase", "/ivp/meters", Change(lambda meters: meters[:1]))

    def device() -> dr.DeviceEntry:
        found = dr.async_get(hass).async_get_device_by_identifier(
            (DOMAIN, installation.gateway.serial), installation.entry.entry_id
        )
        assert found
        return found

    before = device().model
    installation.gateway.faults.clear()
    await installation.gateway.upgrade("D8.3.5433")
    await installation.coordinator.async_identify()
    await installation.pass_time(60)
    assert device().sw_version == "8.3.5433"
    assert before != device().model == installation.coordinator.data.model
    await reload(hass, installation)
    assert device().model == installation.coordinator.data.model


@pytest.mark.parametrize("path", ["/ivp/ensemble/power", "/ivp/ensemble/secctrl", "/ivp/ensemble/dry_contacts"])
async def test_at_set_up_only_the_endpoint_that_fails_is_said_to(
    set_up_with: SetUp, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """Those that feed the same objects have done nothing wrong."""
    installation = await set_up_with("full_battery", path, Status(503))
    await installation.pass_time(60)
    failing = [record.getMessage() for record in caplog.records if " fails (" in record.getMessage()]
    assert [f" {path} fails (HTTP 503)" in line for line in failing] == [True]


@pytest.mark.parametrize(("fault", "answers"), [(Slow(0), True), (Status(503), False)])
async def test_when_all_pause_one_is_asked_and_its_answer_makes_the_others_due(
    set_up: SetUp, fault: Fault, answers: bool
) -> None:
    installation = await set_up("full_battery")
    gateway = installation.coordinator.gateway
    for _, endpoint in gateway._asker.endpoints():
        endpoint.failure, endpoint.slow_failures, endpoint.asked = "too slow", 3, installation.gateway.clock.now
    installation.gateway.requests.clear()
    installation.gateway.clock.advance(60)
    installation.gateway.fault("*", fault)
    await installation.poll()
    assert len(installation.gateway.requests) == (len(gateway._reader.in_use) if answers else 1)
    assert installation.coordinator.last_update_success == answers


async def test_answers_that_arrive_after_the_poll_update_the_states(
    set_up: SetUp, virtual_clock: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The gateway is reachable, so the poll does not fail."""
    installation = await set_up("full_battery")
    caplog.clear()
    installation.gateway.clock.advance(60)
    shown = installation.states()
    held = Held()
    with installation.gateway.fault("/ivp/*", held), installation.gateway.fault("/production*", held):
        await installation.poll()
        assert installation.states() == shown
    held.release()
    await asyncio.sleep(1)
    await installation.hass.async_block_till_done()
    assert installation.states() != shown
    assert installation.coordinator.last_update_success
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_what_was_found_out_from_an_odd_document_is_found_out_anew_soon(set_up_with: SetUp) -> None:
    """Meters are looked up once in each probe: what was odd then can't be read by, however right it is later."""
    installation = await set_up_with("full_battery", "/ivp/meters", Replace("0.measurementType", []))
    installation.gateway.faults.clear()
    for _ in range(2):
        await installation.pass_time(60)
    assert installation.coordinator.data.members("ctmeters")
    assert not installation.coordinator.gateway._asker.failures()


@pytest.mark.parametrize("fault", [Status(503), Body("\ufeff[]"), Change(lambda readings: readings[:2])])
async def test_batteries_with_a_meter_are_not_counted_otherwise_while_it_can_not_be_read(
    set_up_with: SetUp, fault: Fault
) -> None:
    """What counts them meanwhile would have entities of its own, and the names of the meter's."""
    installation = await set_up_with("full_battery", "/ivp/meters/readings", fault)
    assert ("battery_energy",) not in installation.coordinator.data.objects
    installation.gateway.faults.clear()
    for _ in range(3):
        await installation.pass_time(60)
    assert not installation.unavailable()
    assert not [name for name in installation.states() if name.endswith("_2")]


@pytest.mark.parametrize(("for_good", "meters"), [(False, 3), (True, 2)])
async def test_what_a_probe_finds_otherwise_is_believed_when_it_lasts(
    set_up: SetUp, for_good: bool, meters: int
) -> None:
    installation = await set_up("full_battery")
    gateway = installation.coordinator.gateway
    gateway.forget_probe()
    await installation.pass_time(60)
    installation.gateway.fault("/ivp/meters", Replace("2.state", "disabled"))
    gateway.forget_probe()
    await installation.pass_time(60)
    assert len(gateway._common_properties.meter_types) == 3
    if not for_good:
        installation.gateway.faults.clear()
    for _ in range(20):
        await installation.pass_time(60)
    assert len(gateway._common_properties.meter_types) == meters
