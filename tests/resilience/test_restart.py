"""Restarts of Home Assistant and of the gateway keep entities, states and sources while endpoints fail."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
import logging
from typing import Any

from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
import pytest

from custom_components.enphase_envoy.client.envoy import Discovery, Fetch, LibraryEnvoy
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.storage import DOCUMENTS
from tests.helpers.integration import Installation, SetUp
from tests.helpers.log import component_log, tracebacks
from tests.helpers.mutants import sources
from tests.simulator import Body, Cloud, Drop, Held, Html, Silent, Status
from tests.simulator.faults import Fault

PROFILES = ("full_battery", "three_phase", "metered_1phase", "total_consumption", "standard_7_6", "legacy_5")
FAULTS: tuple[Callable[[], Fault], ...] = (lambda: Status(503), Silent, Drop, Html, lambda: Body("{}"))


pytestmark = pytest.mark.usefixtures("virtual_clock")


def unique_ids(installation: Installation) -> set[tuple[str, str]]:
    """Return domains and unique ids of the entities that have a state."""
    registry = er.async_get(installation.hass)
    entries = (registry.async_get(entity_id) for entity_id in installation.states())
    return {(entry.domain, entry.unique_id) for entry in entries if entry}


async def stop(installation: Installation) -> None:
    """Unload the entry, as Home Assistant does when it stops."""
    assert await installation.hass.config_entries.async_unload(installation.entry.entry_id)
    await installation.hass.async_block_till_done()


async def start(installation: Installation) -> None:
    """Set the entry up again, and restart the count of elapsed time."""
    installation.elapsed = 0
    await installation.hass.config_entries.async_setup(installation.entry.entry_id)
    await installation.hass.async_block_till_done()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.slow
async def test_restart_keeps_states_and_sources_while_any_one_endpoint_fails(
    set_up: SetUp, entity_registry_enabled_by_default: None, caplog: pytest.LogCaptureFixture, profile: str
) -> None:
    installation = await set_up(profile)
    await installation.poll()
    paths, states, ids, updaters = (
        installation.polled_paths(),
        installation.states(),
        unique_ids(installation),
        sources(installation),
    )
    assert len(paths) >= 2
    assert updaters
    assert STATE_UNAVAILABLE not in states.values()
    wrong = {}
    for path in sorted(paths):
        for fault in FAULTS:
            await stop(installation)
            with installation.gateway.fault(path, fault()):
                await start(installation)
                found = installation.states(), unique_ids(installation), sources(installation)
            if found != (states, ids, updaters):
                wrong[path, repr(fault())] = states.keys() - found[0].keys() | installation.unavailable()
    assert not wrong
    assert not tracebacks(caplog)


@pytest.mark.parametrize("path", ["/ivp/pdm/device_data", "/ivp/meters/readings", "/ivp/meters"])
async def test_answer_that_arrives_during_the_probe_removes_nothing(
    set_up: SetUp, entity_registry_enabled_by_default: None, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """It arrives too late for the poll, and is not parsed yet."""
    installation = await set_up("total_consumption")
    await installation.poll()
    states, updaters = installation.states(), sources(installation)
    held, discover = Held(), LibraryEnvoy.discover

    async def discover_later(envoy: LibraryEnvoy, fetch: Fetch) -> Discovery:
        held.release()
        await asyncio.sleep(1)
        return await discover(envoy, fetch)

    monkeypatch.setattr(LibraryEnvoy, "discover", discover_later)
    await stop(installation)
    with installation.gateway.fault(path, held):
        await start(installation)
    assert (installation.states(), sources(installation)) == (states, updaters)


async def power_off(installation: Installation) -> None:
    await installation.gateway.go_away()


async def never_answer(installation: Installation) -> None:
    installation.gateway.fault("*", Silent())


async def answer_503(installation: Installation) -> None:
    installation.gateway.fault("*", Status(503))


async def reject_tokens(installation: Installation) -> None:
    installation.gateway.fault("/auth/check_jwt", Status(401))


@pytest.mark.parametrize("failure", [power_off, never_answer, answer_503, reject_tokens])
async def test_restart_while_the_gateway_fails_restores_the_states(
    set_up: SetUp,
    cloud: Cloud,
    caplog: pytest.LogCaptureFixture,
    failure: Callable[[Installation], Awaitable[None]],
) -> None:
    """Values that have not expired are shown at once; the first poll after the failure updates all of them."""
    installation = await set_up("full_battery")
    states, ids, updaters = installation.states(), unique_ids(installation), sources(installation)
    await stop(installation)
    await failure(installation)
    installation.gateway.clock.advance(60)
    caplog.clear()
    await start(installation)
    assert installation.entry.state is ConfigEntryState.LOADED
    assert installation.states() == states
    assert (unique_ids(installation), sources(installation)) == (ids, updaters)
    for _ in range(4):
        await installation.pass_time(60)
    shown = installation.states()
    power = f"sensor.envoy_{installation.gateway.serial}_current_power_production"
    counter = f"sensor.envoy_{installation.gateway.serial}_lifetime_energy_production"
    assert shown[power] == STATE_UNAVAILABLE
    assert shown[counter] == states[counter]
    warned = component_log(caplog, logging.WARNING)
    assert len(warned) == 1, warned
    installation.gateway.faults.clear()
    if failure is power_off:
        await installation.gateway.come_back()
    await installation.pass_time(60)
    assert installation.states().keys() == states.keys()
    assert not installation.unavailable()
    assert float(installation.states()[power]) > 0
    assert (unique_ids(installation), sources(installation)) == (ids, updaters)
    await installation.pass_time(60)
    assert not installation.unavailable()
    assert not tracebacks(caplog)


async def test_restart_after_the_gateway_started_to_reject_requests_restores_the_states(
    set_up: SetUp, cloud: Cloud
) -> None:
    """The user restarts Home Assistant because values are no longer updated, while the gateway rejects all requests."""
    installation = await set_up("full_battery")
    states = installation.states()
    rejections = [
        installation.gateway.fault(path, Status(401)) for path in (*installation.polled_paths(), "/auth/check_jwt")
    ]
    await installation.pass_time(60)
    await stop(installation)
    await start(installation)
    assert installation.entry.state is ConfigEntryState.LOADED
    assert installation.states() == states
    for fault in rejections:
        fault.remove()
    await installation.pass_time(60)
    assert installation.states().keys() == states.keys()
    assert not installation.unavailable()


async def test_restored_values_keep_their_age(set_up: SetUp) -> None:
    """An endpoint that fails after an hour without Home Assistant makes its entities unavailable, and removes none."""
    installation = await set_up("full_battery")
    states = installation.states()
    await stop(installation)
    installation.gateway.clock.advance(3600)
    with installation.gateway.fault("/ivp/ensemble/power", Status(503)):
        await start(installation)
        assert installation.states().keys() == states.keys()
        unavailable = installation.unavailable()
        assert unavailable
        assert len(unavailable) < len(states) / 4
    await installation.poll()
    assert not installation.unavailable()


async def test_values_saved_by_a_clock_that_was_ahead_have_expired(set_up: SetUp) -> None:
    """A computer without a battery-backed clock starts with a wrong time."""
    installation = await set_up("full_battery")
    await stop(installation)
    installation.gateway.clock._base -= 86400
    await installation.gateway.go_away()
    await start(installation)
    assert installation.entry.state is ConfigEntryState.LOADED
    assert set(installation.states().values()) <= {STATE_UNAVAILABLE, "unknown"}
    installation.gateway.clock.advance(86400)
    await installation.gateway.come_back()


async def test_endpoint_that_failed_at_a_restart_is_probed_with_growing_pauses(set_up: SetUp) -> None:
    """Endpoints in use are requested in each poll; those that may become useful are probed again."""
    installation = await set_up("metered_1phase")
    await stop(installation)
    installation.gateway.fault("/ivp/ensemble/inventory", Status(503))
    await start(installation)
    times = []
    for _ in range(40):
        installation.gateway.requests.clear()
        await installation.pass_time(60)
        if "/ivp/ensemble/inventory" in installation.polled_paths():
            times.append(installation.elapsed)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(pauses) >= 3
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 8 * 60


async def test_restart_without_cloud_and_valid_token_restores_states_and_limits_requests_to_the_cloud(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud
) -> None:
    installation = await set_up("metered_1phase")
    states = installation.states()
    await stop(installation)
    hass.config_entries.async_update_entry(
        installation.entry, data={**installation.entry.data, "token": installation.gateway.token(-4000)}
    )
    cloud.trouble = "error"
    await start(installation)
    assert installation.states() == states
    for _ in range(60):
        await installation.pass_time(60)
    assert cloud.requests.total() <= 7
    assert not hass.config_entries.flow.async_progress()
    cloud.trouble = None
    for _ in range(60):
        await installation.pass_time(60)
    assert not installation.unavailable()
    assert installation.entry.data["token"] == cloud.tokens[0]


async def test_rejected_token_at_a_restart_starts_a_reauth_flow(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud
) -> None:
    installation = await set_up("metered_1phase", use_manual_token=True)
    await stop(installation)
    installation.gateway.revoke(installation.entry.data["token"])
    await start(installation)
    assert installation.entry.state is ConfigEntryState.LOADED
    for _ in range(3):
        await installation.pass_time(60)
    assert [flow["context"]["source"] for flow in hass.config_entries.flow.async_progress()] == ["reauth"]


async def test_restart_of_the_gateway_makes_nothing_unavailable_for_three_minutes_and_causes_one_poll(
    set_up: SetUp,
) -> None:
    installation = await set_up("full_battery")
    await installation.pass_time(60)
    installation.gateway.requests.clear()
    await installation.poll_all()
    complete_poll = len(installation.gateway.requests)
    await installation.gateway.go_away()
    for seconds in (60, 60, 50):
        await installation.pass_time(seconds)
        assert not installation.unavailable()
    await installation.gateway.come_back()
    installation.gateway.requests.clear()
    await installation.pass_time(30)
    assert len(installation.gateway.requests) <= complete_poll + 2  # identification and login
    assert not installation.unavailable()


async def test_changed_source_of_counters_is_logged_once(set_up: SetUp, caplog: pytest.LogCaptureFixture) -> None:
    installation = await set_up("standard_7_6")
    before = sources(installation)["system_production"]
    await stop(installation)
    installation.gateway.fault("/api/v1/production", Status(404))
    caplog.clear()
    await start(installation)
    after = sources(installation)["system_production"]
    assert after != before
    await installation.pass_time(60)
    logged = [record.getMessage() for record in caplog.records if "counters came from" in record.getMessage()]
    assert len(logged) == 1
    assert before in logged[0]
    assert after in logged[0]


async def test_stored_file_contains_no_secret_and_is_removed_with_the_entry(
    hass: HomeAssistant, set_up: SetUp, hass_storage: dict[str, Any]
) -> None:
    installation = await set_up("full_battery")
    await stop(installation)
    key = f"{DOMAIN}.{installation.entry.entry_id}.{DOCUMENTS}"
    saved = str(hass_storage[key])
    for secret in (
        installation.entry.data["token"],
        installation.entry.data["password"],
        installation.entry.data["username"],
    ):
        assert secret not in saved
    await start(installation)
    await hass.config_entries.async_remove(installation.entry.entry_id)
    await hass.async_block_till_done()
    assert key not in hass_storage


@pytest.mark.parametrize("pair", [("/ivp/meters", "/ivp/meters/readings"), ("/production.json", "/ivp/meters")])
@pytest.mark.parametrize("profile", ["total_consumption", "full_battery", "three_phase"])
async def test_stored_documents_under_wrong_paths_do_not_prevent_set_up(
    set_up: SetUp, hass_storage: dict[str, Any], profile: str, pair: tuple[str, str]
) -> None:
    installation = await set_up(profile)
    states, updaters = installation.states(), sources(installation)
    await stop(installation)
    documents = hass_storage[f"{DOMAIN}.{installation.entry.entry_id}.{DOCUMENTS}"]["data"]["documents"]
    one, other = (next(path for path in documents if path.partition("?")[0] == name) for name in pair)
    documents[one], documents[other] = documents[other], documents[one]
    await start(installation)
    assert installation.entry.state is ConfigEntryState.LOADED
    await installation.poll()
    assert (installation.states(), sources(installation)) == (states, updaters)
