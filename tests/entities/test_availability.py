"""What is shown when the gateway fails, in part or altogether, and what is said about it."""

import logging
from typing import Any

from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
import pytest

from custom_components.enphase_envoy.client import endpoints
from tests.helpers.integration import SetUp
from tests.helpers.mutants import tracebacks
from tests.simulator import Body, Cloud, Drop, EmptyList, EmptyObject, Html, Null, Status, Truncated
from tests.simulator.faults import Fault

POWER = "sensor.envoy_{}_current_power_production"
COUNTER = "sensor.envoy_{}_lifetime_energy_production"


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines of the log that the component wrote for the owner."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("custom_components") and record.levelno >= logging.INFO
    ]


async def test_a_gateway_that_is_gone_takes_power_in_four_minutes_and_counters_later(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when it goes, one when it is back; right again with the first poll."""
    installation = await set_up("metered_1phase")
    power, counter = (hass.states.get(name.format(installation.gateway.serial)) for name in (POWER, COUNTER))
    assert power
    assert counter
    caplog.clear()

    await installation.gateway.go_away()
    for _ in range(3):
        await installation.pass_time(60)
    state = hass.states.get(power.entity_id)
    assert state
    assert state.state == power.state, "one bad poll, or three, make nothing unavailable"
    await installation.pass_time(40)
    assert hass.states.is_state(power.entity_id, STATE_UNAVAILABLE), "without waiting for a poll"
    assert not hass.states.is_state(counter.entity_id, STATE_UNAVAILABLE)
    for _ in range(12):
        await installation.pass_time(60)
    assert hass.states.is_state(counter.entity_id, STATE_UNAVAILABLE)
    assert len(ours(caplog)) == 1, ours(caplog)
    assert "Nothing answers at" in ours(caplog)[0]

    await installation.gateway.come_back()
    await installation.poll()
    assert not [name for name, state in installation.states().items() if state == STATE_UNAVAILABLE]
    state = hass.states.get(power.entity_id)
    assert state
    assert float(state.state) == pytest.approx(installation.gateway.house.power("production") / 1000, abs=0.002)
    assert len(ours(caplog)) == 2, ours(caplog)


@pytest.mark.parametrize(
    "fault",
    [
        *(Status(500), Status(404), Status(401), Drop(), Drop(0.5), Html(), Truncated()),
        *(EmptyObject(), EmptyList(), Null(), Body("5"), Body('{"a": 1}'), Body('[1, null, "x"]')),
    ],
    ids=lambda fault: getattr(fault, "text", "") or repr(fault),
)
async def test_one_bad_answer_of_any_endpoint_changes_nothing(
    set_up: SetUp,
    entity_registry_enabled_by_default: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    """What one endpoint says can only hurt what it feeds, and that keeps its last values."""
    monkeypatch.setattr(endpoints, "PERIODS", {})
    installation = await set_up("full_battery")
    installation.gateway.requests.clear()
    await installation.poll()
    paths = {request.path for request in installation.gateway.requests}
    assert len(paths) > 8
    before = installation.states()
    assert STATE_UNAVAILABLE not in before.values()
    caplog.clear()
    for path in sorted(paths):
        with installation.gateway.fault(path, fault):
            await installation.poll()
        assert installation.states() == before, path
        assert installation.coordinator.last_update_success, path
    await installation.poll()
    assert not tracebacks(caplog)
    warned = [line for line in ours(caplog) if " fails " in line]
    assert len(warned) == len(paths)
    assert len([line for line in ours(caplog) if " answers again" in line]) == len(paths)


async def test_set_up_waits_for_a_gateway_that_is_not_there_yet(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture, hass_storage: dict[str, Any]
) -> None:
    """A start of Home Assistant while a gateway is off of which nothing is remembered ends well when it is on again."""
    installation = await set_up("metered_1phase")
    await hass.config_entries.async_unload(installation.entry.entry_id)
    hass_storage.clear()
    await installation.gateway.go_away()
    assert not await hass.config_entries.async_setup(installation.entry.entry_id)
    assert installation.entry.state.name == "SETUP_RETRY"
    assert installation.entry.reason is not None
    assert installation.gateway.host in installation.entry.reason
    await installation.gateway.come_back()
    await hass.config_entries.async_reload(installation.entry.entry_id)
    await hass.async_block_till_done()
    assert installation.entry.state.name == "LOADED"
    assert not tracebacks(caplog)


async def test_a_session_that_the_gateway_forgot_is_renewed(hass: HomeAssistant, set_up: SetUp) -> None:
    """A gateway that restarts knows no session: one new login, no bother for the owner."""
    installation = await set_up("metered_1phase")
    await installation.poll()
    for pattern in ("/ivp/*", "/production*", "/api/*"):
        installation.gateway.fault(pattern, Status(401), count=1)
    await installation.poll()
    assert installation.coordinator.last_update_success
    assert not hass.config_entries.flow.async_progress()


async def test_a_token_that_was_revoked_is_replaced_with_the_account(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud
) -> None:
    installation = await set_up("metered_1phase")
    old = installation.entry.data["token"]
    installation.gateway.revoke(old)
    await installation.poll()
    assert installation.coordinator.last_update_success
    assert installation.entry.data["token"] == cloud.tokens[0] != old
    assert not hass.config_entries.flow.async_progress()


async def test_a_pasted_token_that_was_revoked_leads_to_the_owner_once(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud
) -> None:
    installation = await set_up("metered_1phase", use_manual_token=True)
    installation.gateway.revoke(installation.entry.data["token"])
    for _ in range(3):
        await installation.poll()
    assert [flow["context"]["source"] for flow in hass.config_entries.flow.async_progress()] == ["reauth"]
    assert not cloud.requests
