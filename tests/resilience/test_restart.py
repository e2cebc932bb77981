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

from custom_components.enphase_envoy.client import firmware as identity, gateway as gateway_module
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.storage import DOCUMENTS
from tests.helpers.integration import Installation, SetUp
from tests.helpers.mutants import sources, tracebacks
from tests.simulator import Body, Cloud, Drop, Html, Silent, Slow, Status
from tests.simulator.faults import Fault

PROFILES = ("full_battery", "three_phase", "metered_1phase", "total_consumption", "standard_7_6", "legacy_5")
FAULTS: tuple[Callable[[], Fault], ...] = (lambda: Status(503), Silent, Drop, Html, lambda: Body("{}"))
#: What every gateway is asked before it is asked for anything it has.
DOOR = {"/info", "/auth/check_jwt", "/home"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_module, "_PATIENCE", 0.2)


def asked(house: Installation) -> set[str]:
    """Return the paths that were asked, without who is asked at the door."""
    return {request.path.partition("?")[0] for request in house.gateway.requests} - DOOR


def unique_ids(house: Installation) -> set[tuple[str, str]]:
    """Return what entities are known by, of those that are there."""
    registry = er.async_get(house.hass)
    entries = (registry.async_get(entity_id) for entity_id in house.states())
    return {(entry.domain, entry.unique_id) for entry in entries if entry}


async def stop(house: Installation) -> None:
    """Unload the entry, as Home Assistant does to restart it."""
    assert await house.hass.config_entries.async_unload(house.entry.entry_id)
    await house.hass.async_block_till_done()


async def start(house: Installation) -> None:
    """Set the entry up again, with timers of its own."""
    house.elapsed = 0
    await house.hass.config_entries.async_setup(house.entry.entry_id)
    await house.hass.async_block_till_done()


@pytest.mark.parametrize("profile", PROFILES)
async def test_whichever_endpoint_fails_during_a_restart_nothing_is_lost(
    set_up: SetUp, entity_registry_enabled_by_default: None, caplog: pytest.LogCaptureFixture, profile: str
) -> None:
    house = await set_up(profile)
    await house.poll()
    paths, states, ids, fed_by = asked(house), house.states(), unique_ids(house), sources(house)
    assert len(paths) >= 2
    assert fed_by
    assert STATE_UNAVAILABLE not in states.values()
    wrong = {}
    for path in sorted(paths):
        for fault in FAULTS:
            await stop(house)
            with house.gateway.fault(path, fault()):
                await start(house)
                found = house.states(), unique_ids(house), sources(house)
            if found != (states, ids, fed_by):
                wrong[path, repr(fault())] = states.keys() - found[0].keys() | house.unavailable()
    assert not wrong
    assert not tracebacks(caplog)


@pytest.mark.parametrize("path", ["/ivp/pdm/device_data", "/ivp/meters/readings", "/ivp/meters"])
async def test_an_answer_that_comes_while_it_is_found_out_what_there_is_takes_nothing(
    set_up: SetUp, entity_registry_enabled_by_default: None, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """It is late for the poll, and not read yet."""
    house = await set_up("total_consumption")
    await house.poll()
    states, fed_by = house.states(), sources(house)
    probe = gateway_module.Gateway.probe

    async def probe_later(gateway: gateway_module.Gateway) -> None:
        await asyncio.sleep(0.4)
        await probe(gateway)

    monkeypatch.setattr(gateway_module.Gateway, "probe", probe_later)
    await stop(house)
    with house.gateway.fault(path, Slow(0.4)):
        await start(house)
    assert (house.states(), sources(house)) == (states, fed_by)


async def power_off(house: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.gateway.go_away()


async def hang(house: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "IDENTIFY_LIMIT", 0.3)
    house.gateway.fault("*", Silent())


async def answer_503(house: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    house.gateway.fault("*", Status(503))


async def refuse_everybody(house: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    house.gateway.fault("/auth/check_jwt", Status(401))


@pytest.mark.parametrize("trouble", [power_off, hang, answer_503, refuse_everybody])
async def test_a_gateway_that_is_silent_during_a_restart_is_shown_as_it_was(
    set_up: SetUp,
    cloud: Cloud,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[Installation, pytest.MonkeyPatch], Awaitable[None]],
) -> None:
    """What is young enough is shown at once; all of it is right one poll after the gateway is back."""
    house = await set_up("full_battery")
    states, ids, fed_by = house.states(), unique_ids(house), sources(house)
    await stop(house)
    with monkeypatch.context() as patched:
        await trouble(house, patched)
        house.gateway.clock.advance(60)
        caplog.clear()
        await start(house)
        assert house.entry.state is ConfigEntryState.LOADED
        assert house.states() == states
        assert (unique_ids(house), sources(house)) == (ids, fed_by)
        for _ in range(4):
            await house.pass_time(60)
        shown = house.states()
        power = f"sensor.envoy_{house.gateway.serial}_current_power_production"
        counter = f"sensor.envoy_{house.gateway.serial}_lifetime_energy_production"
        assert shown[power] == STATE_UNAVAILABLE
        assert shown[counter] == states[counter]
        warned = [r for r in caplog.records if r.name.startswith("custom_components") and r.levelno >= logging.WARNING]
        assert len(warned) == 1, warned
    house.gateway.faults.clear()
    if trouble is power_off:
        await house.gateway.come_back()
    await house.pass_time(60)
    assert house.states().keys() == states.keys()
    assert not house.unavailable()
    assert float(house.states()[power]) > 0
    assert (unique_ids(house), sources(house)) == (ids, fed_by)
    await house.pass_time(60)
    assert not house.unavailable()
    assert not tracebacks(caplog)


async def test_a_gateway_that_refuses_everything_before_and_during_a_restart_is_shown_as_it_was(
    set_up: SetUp, cloud: Cloud
) -> None:
    """Whoever sees that nothing comes any more starts anew, while nobody is let in."""
    house = await set_up("full_battery")
    states = house.states()
    refused = [house.gateway.fault(path, Status(401)) for path in (*asked(house), "/auth/check_jwt")]
    await house.pass_time(60)
    await stop(house)
    await start(house)
    assert house.entry.state is ConfigEntryState.LOADED
    assert house.states() == states
    for fault in refused:
        fault.remove()
    await house.pass_time(60)
    assert house.states().keys() == states.keys()
    assert not house.unavailable()


async def test_what_is_remembered_is_as_old_as_it_is(set_up: SetUp) -> None:
    """An endpoint that fails after an hour in which nobody ran feeds entities that are there, and show nothing."""
    house = await set_up("full_battery")
    states = house.states()
    await stop(house)
    house.gateway.clock.advance(3600)
    with house.gateway.fault("/ivp/ensemble/power", Status(503)):
        await start(house)
        assert house.states().keys() == states.keys()
        gone = house.unavailable()
        assert gone
        assert len(gone) < len(states) / 4
    await house.poll()
    assert not house.unavailable()


async def test_a_clock_that_was_ahead_makes_nothing_young(set_up: SetUp) -> None:
    """A computer without a battery does not know the time when it starts."""
    house = await set_up("full_battery")
    await stop(house)
    house.gateway.clock._base -= 86400
    await house.gateway.go_away()
    await start(house)
    assert house.entry.state is ConfigEntryState.LOADED
    assert set(house.states().values()) <= {STATE_UNAVAILABLE, "unknown"}
    house.gateway.clock.advance(86400)
    await house.gateway.come_back()


async def test_an_endpoint_that_fails_at_a_restart_is_looked_at_again_with_growing_pauses(set_up: SetUp) -> None:
    """Who offers something is asked for it in each poll anyway; who may offer something is not forgotten."""
    house = await set_up("metered_1phase")
    await stop(house)
    house.gateway.fault("/ivp/ensemble/inventory", Status(503))
    await start(house)
    times = []
    for _ in range(40):
        house.gateway.requests.clear()
        await house.pass_time(60)
        if "/ivp/ensemble/inventory" in asked(house):
            times.append(house.elapsed)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(pauses) >= 3
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 8 * 60


async def test_without_a_cloud_and_a_token_what_is_remembered_is_shown_and_the_cloud_is_spared(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud
) -> None:
    house = await set_up("metered_1phase")
    states = house.states()
    await stop(house)
    hass.config_entries.async_update_entry(house.entry, data={**house.entry.data, "token": house.gateway.token(-4000)})
    cloud.trouble = "error"
    await start(house)
    assert house.states() == states
    for _ in range(60):
        await house.pass_time(60)
    assert cloud.requests.total() <= 7
    assert not hass.config_entries.flow.async_progress()
    cloud.trouble = None
    for _ in range(60):
        await house.pass_time(60)
    assert not house.unavailable()
    assert house.entry.data["token"] == cloud.tokens[0]


async def test_credentials_that_are_refused_still_lead_to_the_owner(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud
) -> None:
    house = await set_up("metered_1phase", use_manual_token=True)
    await stop(house)
    house.gateway.revoke(house.entry.data["token"])
    await start(house)
    assert house.entry.state is ConfigEntryState.LOADED
    for _ in range(3):
        await house.pass_time(60)
    assert [flow["context"]["source"] for flow in hass.config_entries.flow.async_progress()] == ["reauth"]


async def test_a_gateway_that_restarts_at_night_takes_nothing_for_three_minutes_and_is_not_stormed(
    set_up: SetUp,
) -> None:
    house = await set_up("full_battery")
    await house.pass_time(60)
    house.gateway.requests.clear()
    await house.poll_all()
    round_of_all = len(house.gateway.requests)
    await house.gateway.go_away()
    for seconds in (60, 60, 50):
        await house.pass_time(seconds)
        assert not house.unavailable()
    await house.gateway.come_back()
    house.gateway.requests.clear()
    await house.pass_time(30)
    assert len(house.gateway.requests) <= round_of_all + 2  # and who is there, and may we come in
    assert not house.unavailable()


async def test_counters_that_come_from_elsewhere_after_an_upgrade_are_told_once(
    set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    house = await set_up("standard_7_6")
    before = sources(house)["system_production"]
    await stop(house)
    house.gateway.fault("/api/v1/production", Status(404))
    caplog.clear()
    await start(house)
    after = sources(house)["system_production"]
    assert after != before
    await house.pass_time(60)
    told = [record.getMessage() for record in caplog.records if "counters came from" in record.getMessage()]
    assert len(told) == 1
    assert before in told[0]
    assert after in told[0]


async def test_no_secret_is_remembered_and_nothing_after_the_end(
    hass: HomeAssistant, set_up: SetUp, hass_storage: dict[str, Any]
) -> None:
    house = await set_up("full_battery")
    await stop(house)
    key = f"{DOMAIN}.{house.entry.entry_id}.{DOCUMENTS}"
    saved = str(hass_storage[key])
    for secret in (house.entry.data["token"], house.entry.data["password"], house.entry.data["username"]):
        assert secret not in saved
    await start(house)
    await hass.config_entries.async_remove(house.entry.entry_id)
    await hass.async_block_till_done()
    assert key not in hass_storage


@pytest.mark.parametrize("pair", [("/ivp/meters", "/ivp/meters/readings"), ("/production.json", "/ivp/meters")])
@pytest.mark.parametrize("profile", ["total_consumption", "full_battery", "three_phase"])
async def test_documents_that_changed_places_in_memory_do_not_keep_a_gateway_out(
    set_up: SetUp, hass_storage: dict[str, Any], profile: str, pair: tuple[str, str]
) -> None:
    house = await set_up(profile)
    states, fed_by = house.states(), sources(house)
    await stop(house)
    documents = hass_storage[f"{DOMAIN}.{house.entry.entry_id}.{DOCUMENTS}"]["data"]["documents"]
    one, other = (next(path for path in documents if path.partition("?")[0] == name) for name in pair)
    documents[one], documents[other] = documents[other], documents[one]
    await start(house)
    assert house.entry.state is ConfigEntryState.LOADED
    await house.poll()
    assert (house.states(), sources(house)) == (states, fed_by)
