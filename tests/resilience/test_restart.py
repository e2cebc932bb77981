"""What a restart of Home Assistant, or of the gateway, leaves as it was, whatever fails meanwhile."""

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

from custom_components.enphase_envoy.client.gateway import Gateway
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.storage import DOCUMENTS
from tests.helpers.integration import Installation, SetUp
from tests.helpers.mutants import sources, tracebacks
from tests.simulator import Body, Cloud, Drop, Held, Html, Silent, Status
from tests.simulator.faults import Fault

PROFILES = ("full_battery", "three_phase", "metered_1phase", "total_consumption", "standard_7_6", "legacy_5")
FAULTS: tuple[Callable[[], Fault], ...] = (lambda: Status(503), Silent, Drop, Html, lambda: Body("{}"))
#: What every gateway is asked before it is asked for anything it has.
DOOR = {"/info", "/auth/check_jwt", "/home"}


pytestmark = pytest.mark.usefixtures("virtual_clock")


def asked(installation: Installation) -> set[str]:
    """Return the paths that were asked, without who is asked at the door."""
    return {request.path.partition("?")[0] for request in installation.gateway.requests} - DOOR


def unique_ids(installation: Installation) -> set[tuple[str, str]]:
    """Return what entities are known by, of those that are there."""
    registry = er.async_get(installation.hass)
    entries = (registry.async_get(entity_id) for entity_id in installation.states())
    return {(entry.domain, entry.unique_id) for entry in entries if entry}


async def stop(installation: Installation) -> None:
    """Unload the entry, as Home Assistant does to restart it."""
    assert await installation.hass.config_entries.async_unload(installation.entry.entry_id)
    await installation.hass.async_block_till_done()


async def start(installation: Installation) -> None:
    """Set the entry up again, with timers of its own."""
    installation.elapsed = 0
    await installation.hass.config_entries.async_setup(installation.entry.entry_id)
    await installation.hass.async_block_till_done()


@pytest.mark.parametrize("profile", PROFILES)
async def test_whichever_endpoint_fails_during_a_restart_nothing_is_lost(
    set_up: SetUp, entity_registry_enabled_by_default: None, caplog: pytest.LogCaptureFixture, profile: str
) -> None:
    installation = await set_up(profile)
    await installation.poll()
    paths, states, ids, fed_by = (
        asked(installation),
        installation.states(),
        unique_ids(installation),
        sources(installation),
    )
    assert len(paths) >= 2
    assert fed_by
    assert STATE_UNAVAILABLE not in states.values()
    wrong = {}
    for path in sorted(paths):
        for fault in FAULTS:
            await stop(installation)
            with installation.gateway.fault(path, fault()):
                await start(installation)
                found = installation.states(), unique_ids(installation), sources(installation)
            if found != (states, ids, fed_by):
                wrong[path, repr(fault())] = states.keys() - found[0].keys() | installation.unavailable()
    assert not wrong
    assert not tracebacks(caplog)


@pytest.mark.parametrize("path", ["/ivp/pdm/device_data", "/ivp/meters/readings", "/ivp/meters"])
async def test_an_answer_that_comes_while_it_is_found_out_what_there_is_takes_nothing(
    set_up: SetUp, entity_registry_enabled_by_default: None, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """It is late for the poll, and not read yet."""
    installation = await set_up("total_consumption")
    await installation.poll()
    states, fed_by = installation.states(), sources(installation)
    held, probe = Held(), Gateway.probe

    async def probe_later(gateway: Gateway) -> None:
        held.release()
        await asyncio.sleep(1)
        await probe(gateway)

    monkeypatch.setattr(Gateway, "probe", probe_later)
    await stop(installation)
    with installation.gateway.fault(path, held):
        await start(installation)
    assert (installation.states(), sources(installation)) == (states, fed_by)


async def power_off(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    await installation.gateway.go_away()


async def hang(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    installation.gateway.fault("*", Silent())


async def answer_503(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    installation.gateway.fault("*", Status(503))


async def refuse_everybody(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    installation.gateway.fault("/auth/check_jwt", Status(401))


@pytest.mark.parametrize("trouble", [power_off, hang, answer_503, refuse_everybody])
async def test_a_gateway_that_is_silent_during_a_restart_is_shown_as_it_was(
    set_up: SetUp,
    cloud: Cloud,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[Installation, pytest.MonkeyPatch], Awaitable[None]],
) -> None:
    """What is young enough is shown at once; all of it is right one poll after the gateway is back."""
    installation = await set_up("full_battery")
    states, ids, fed_by = installation.states(), unique_ids(installation), sources(installation)
    await stop(installation)
    with monkeypatch.context() as patched:
        await trouble(installation, patched)
        installation.gateway.clock.advance(60)
        caplog.clear()
        await start(installation)
        assert installation.entry.state is ConfigEntryState.LOADED
        assert installation.states() == states
        assert (unique_ids(installation), sources(installation)) == (ids, fed_by)
        for _ in range(4):
            await installation.pass_time(60)
        shown = installation.states()
        power = f"sensor.envoy_{installation.gateway.serial}_current_power_production"
        counter = f"sensor.envoy_{installation.gateway.serial}_lifetime_energy_production"
        assert shown[power] == STATE_UNAVAILABLE
        assert shown[counter] == states[counter]
        warned = [r for r in caplog.records if r.name.startswith("custom_components") and r.levelno >= logging.WARNING]
        assert len(warned) == 1, warned
    installation.gateway.faults.clear()
    if trouble is power_off:
        await installation.gateway.come_back()
    await installation.pass_time(60)
    assert installation.states().keys() == states.keys()
    assert not installation.unavailable()
    assert float(installation.states()[power]) > 0
    assert (unique_ids(installation), sources(installation)) == (ids, fed_by)
    await installation.pass_time(60)
    assert not installation.unavailable()
    assert not tracebacks(caplog)


async def test_a_gateway_that_refuses_everything_before_and_during_a_restart_is_shown_as_it_was(
    set_up: SetUp, cloud: Cloud
) -> None:
    """Whoever sees that nothing comes any more starts anew, while nobody is let in."""
    installation = await set_up("full_battery")
    states = installation.states()
    refused = [installation.gateway.fault(path, Status(401)) for path in (*asked(installation), "/auth/check_jwt")]
    await installation.pass_time(60)
    await stop(installation)
    await start(installation)
    assert installation.entry.state is ConfigEntryState.LOADED
    assert installation.states() == states
    for fault in refused:
        fault.remove()
    await installation.pass_time(60)
    assert installation.states().keys() == states.keys()
    assert not installation.unavailable()


async def test_what_is_remembered_is_as_old_as_it_is(set_up: SetUp) -> None:
    """An endpoint that fails after an hour in which nobody ran feeds entities that are there, and show nothing."""
    installation = await set_up("full_battery")
    states = installation.states()
    await stop(installation)
    installation.gateway.clock.advance(3600)
    with installation.gateway.fault("/ivp/ensemble/power", Status(503)):
        await start(installation)
        assert installation.states().keys() == states.keys()
        gone = installation.unavailable()
        assert gone
        assert len(gone) < len(states) / 4
    await installation.poll()
    assert not installation.unavailable()


async def test_a_clock_that_was_ahead_makes_nothing_young(set_up: SetUp) -> None:
    """A computer without a battery does not know the time when it starts."""
    installation = await set_up("full_battery")
    await stop(installation)
    installation.gateway.clock._base -= 86400
    await installation.gateway.go_away()
    await start(installation)
    assert installation.entry.state is ConfigEntryState.LOADED
    assert set(installation.states().values()) <= {STATE_UNAVAILABLE, "unknown"}
    installation.gateway.clock.advance(86400)
    await installation.gateway.come_back()


async def test_an_endpoint_that_fails_at_a_restart_is_looked_at_again_with_growing_pauses(set_up: SetUp) -> None:
    """Who offers something is asked for it in each poll anyway; who may offer something is not forgotten."""
    installation = await set_up("metered_1phase")
    await stop(installation)
    installation.gateway.fault("/ivp/ensemble/inventory", Status(503))
    await start(installation)
    times = []
    for _ in range(40):
        installation.gateway.requests.clear()
        await installation.pass_time(60)
        if "/ivp/ensemble/inventory" in asked(installation):
            times.append(installation.elapsed)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(pauses) >= 3
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 8 * 60


async def test_without_a_cloud_and_a_token_what_is_remembered_is_shown_and_the_cloud_is_spared(
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


async def test_credentials_that_are_refused_still_lead_to_the_owner(
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


async def test_a_gateway_that_restarts_at_night_takes_nothing_for_three_minutes_and_is_not_stormed(
    set_up: SetUp,
) -> None:
    installation = await set_up("full_battery")
    await installation.pass_time(60)
    installation.gateway.requests.clear()
    await installation.poll_all()
    round_of_all = len(installation.gateway.requests)
    await installation.gateway.go_away()
    for seconds in (60, 60, 50):
        await installation.pass_time(seconds)
        assert not installation.unavailable()
    await installation.gateway.come_back()
    installation.gateway.requests.clear()
    await installation.pass_time(30)
    assert len(installation.gateway.requests) <= round_of_all + 2  # and who is there, and may we come in
    assert not installation.unavailable()


async def test_counters_that_come_from_elsewhere_after_an_upgrade_are_told_once(
    set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    installation = await set_up("standard_7_6")
    before = sources(installation)["system_production"]
    await stop(installation)
    installation.gateway.fault("/api/v1/production", Status(404))
    caplog.clear()
    await start(installation)
    after = sources(installation)["system_production"]
    assert after != before
    await installation.pass_time(60)
    told = [record.getMessage() for record in caplog.records if "counters came from" in record.getMessage()]
    assert len(told) == 1
    assert before in told[0]
    assert after in told[0]


async def test_no_secret_is_remembered_and_nothing_after_the_end(
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
async def test_documents_that_changed_places_in_memory_do_not_keep_a_gateway_out(
    set_up: SetUp, hass_storage: dict[str, Any], profile: str, pair: tuple[str, str]
) -> None:
    installation = await set_up(profile)
    states, fed_by = installation.states(), sources(installation)
    await stop(installation)
    documents = hass_storage[f"{DOMAIN}.{installation.entry.entry_id}.{DOCUMENTS}"]["data"]["documents"]
    one, other = (next(path for path in documents if path.partition("?")[0] == name) for name in pair)
    documents[one], documents[other] = documents[other], documents[one]
    await start(installation)
    assert installation.entry.state is ConfigEntryState.LOADED
    await installation.poll()
    assert (installation.states(), sources(installation)) == (states, fed_by)
