"""Recovery from faults during set-up or a firmware upgrade: soon after, all entities exist and are available."""

import asyncio
from collections.abc import AsyncIterator

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
import pytest

from custom_components.enphase_envoy.client.endpoints import Failure, FailureKind
from tests.helpers.integration import Installation, SetUp, Simulate, entry_for, use_clock_of
from tests.helpers.log import warnings
from tests.simulator import Body, Change, EmptyList, Held, Replace, Slow, Status
from tests.simulator.faults import Fault


@pytest.fixture
async def set_up_with(hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SetUp]:
    """Set up an entry for a gateway that has a fault from the first request on."""
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


async def reload(hass: HomeAssistant, installation: Installation) -> None:
    """Reload the entry, and restart the count of elapsed time."""
    installation.elapsed = 0
    await hass.config_entries.async_reload(installation.entry.entry_id)
    await hass.async_block_till_done()


@pytest.mark.parametrize("profile", ["full_battery", "total_consumption", "ac_batteries"])
@pytest.mark.slow
async def test_all_entities_exist_five_minutes_after_an_endpoint_failed_at_set_up(
    hass: HomeAssistant, set_up: SetUp, profile: str
) -> None:
    installation = await set_up(profile)
    healthy, paths = installation.states().keys(), installation.polled_paths()
    assert len(paths) > 5
    wrong = {}
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
            wrong[path] = (installation.entry.state, installation.unavailable(), healthy - installation.states().keys())
    assert not wrong


@pytest.mark.parametrize(
    ("profile", "path"),
    [
        ("standard_7_6", "/api/v1/production"),
        ("legacy_5", "/api/v1/production"),
        ("three_phase", "/ivp/meters"),
        ("full_battery", "/production.json"),
    ],
)
async def test_counters_do_not_use_another_source_while_their_own_fails(
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
async def test_new_types_of_hardware_are_found_within_an_hour(
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
    assert installation.states().keys() == found, "a reload finds no more"
    assert not installation.unavailable()


async def test_hardware_is_found_after_its_inventory_failed_at_the_first_set_up(
    hass: HomeAssistant, set_up_with: SetUp
) -> None:
    """Entities that were never created are added without a reload."""
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
@pytest.mark.slow
async def test_endpoint_that_fails_during_an_upgrade_removes_no_entity(set_up: SetUp, path: str) -> None:
    installation = await set_up("full_battery")
    before = installation.states()
    await installation.gateway.upgrade("D8.3.5433")
    with installation.gateway.fault(path, Status(503)):
        await installation.coordinator.authentication.async_identify()
        await installation.pass_time(60)
        await installation.pass_time(60)
    for _ in range(12):
        await installation.pass_time(300)
    assert installation.coordinator.data.firmware == "8.3.5433"
    assert installation.states().keys() == before.keys()
    assert not installation.unavailable()


async def test_model_of_the_device_is_updated_after_an_upgrade(hass: HomeAssistant, set_up_with: SetUp) -> None:
    """The model names the meters, one of which was installed meanwhile."""
    installation = await set_up_with("metered_1phase", "/ivp/meters", Change(lambda meters: meters[:1]))

    def device() -> dr.DeviceEntry:
        found = installation.device(installation.gateway.serial)
        assert found
        return found

    before = device().model
    installation.gateway.faults.clear()
    await installation.gateway.upgrade("D8.3.5433")
    await installation.coordinator.authentication.async_identify()
    await installation.pass_time(60)
    assert device().sw_version == "8.3.5433"
    assert before != device().model == installation.coordinator.data.model
    await reload(hass, installation)
    assert device().model == installation.coordinator.data.model


@pytest.mark.parametrize("path", ["/ivp/ensemble/power", "/ivp/ensemble/secctrl", "/ivp/ensemble/dry_contacts"])
async def test_only_the_failing_endpoint_is_logged_at_set_up(
    set_up_with: SetUp, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """Endpoints that feed the same objects are not logged."""
    installation = await set_up_with("full_battery", path, Status(503))
    await installation.pass_time(60)
    failing = [record.getMessage() for record in caplog.records if " fails (" in record.getMessage()]
    assert [f" {path} fails (HTTP 503)" in line for line in failing] == [True]


@pytest.mark.parametrize(("fault", "answers"), [(Slow(0), True), (Status(503), False)])
async def test_one_endpoint_is_polled_while_all_are_paused_and_its_answer_makes_the_others_due(
    set_up: SetUp, fault: Fault, answers: bool
) -> None:
    installation = await set_up("full_battery")
    gateway = installation.coordinator.gateway
    for endpoint in gateway._scheduler.endpoints.values():
        endpoint.failure, endpoint.backoff.failures = Failure(FailureKind.NETWORK), 3
        endpoint.requested_at = installation.gateway.clock.now
    installation.gateway.requests.clear()
    installation.gateway.clock.advance(60)
    installation.gateway.fault("*", fault)
    await installation.poll()
    assert len(installation.gateway.requests) == (len(gateway._parser.paths) if answers else 1)
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
    assert not warnings(caplog)


async def test_probe_is_repeated_soon_after_an_invalid_document(set_up_with: SetUp) -> None:
    """The types of meters are read in a probe only: while they are invalid, later valid documents can't be parsed."""
    installation = await set_up_with("full_battery", "/ivp/meters", Replace("0.measurementType", []))
    installation.gateway.faults.clear()
    for _ in range(2):
        await installation.pass_time(60)
    assert installation.coordinator.data.members("ctmeters")
    endpoints = installation.coordinator.gateway._scheduler.endpoints.values()
    assert not [endpoint for endpoint in endpoints if endpoint.is_failing]


@pytest.mark.parametrize("fault", [Status(503), Body("\ufeff[]"), Change(lambda readings: readings[:2])])
async def test_virtual_battery_meter_is_not_created_while_the_real_meter_fails(
    set_up_with: SetUp, fault: Fault
) -> None:
    """The entities of a virtual meter would take the names of the meter's."""
    installation = await set_up_with("full_battery", "/ivp/meters/readings", fault)
    assert ("battery_energy",) not in installation.coordinator.data.objects
    installation.gateway.faults.clear()
    for _ in range(3):
        await installation.pass_time(60)
    assert not installation.unavailable()
    assert not [name for name in installation.states() if name.endswith("_2")]


@pytest.mark.parametrize(("lasts", "meters"), [(False, 3), (True, 2)])
async def test_changed_probe_result_is_accepted_when_it_lasts(set_up: SetUp, lasts: bool, meters: int) -> None:
    installation = await set_up("full_battery")
    gateway = installation.coordinator.gateway
    gateway.request_probe(keep_confirmed=True)
    await installation.pass_time(60)
    installation.gateway.fault("/ivp/meters", Replace("2.state", "disabled"))
    gateway.request_probe(keep_confirmed=True)
    await installation.pass_time(60)
    assert len(gateway.envoy.meter_types) == 3
    if not lasts:
        installation.gateway.faults.clear()
    for _ in range(20):
        await installation.pass_time(60)
    assert len(gateway.envoy.meter_types) == meters
