"""Availability of entities and log messages while the gateway or one of its endpoints fails."""

from typing import Any

from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
import pytest

from tests.helpers.integration import SetUp
from tests.helpers.log import component_log, tracebacks
from tests.simulator import Body, Cloud, Drop, EmptyList, EmptyObject, Html, Null, Status, Truncated
from tests.simulator.faults import Fault

POWER = "sensor.envoy_{}_current_power_production"
COUNTER = "sensor.envoy_{}_lifetime_energy_production"


async def test_unreachable_gateway_makes_power_unavailable_in_four_minutes_and_counters_later(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    """One log message when it fails, one when it answers again; the first poll restores all states."""
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
    assert state.state == power.state, "three failed polls make nothing unavailable"
    await installation.pass_time(40)
    assert hass.states.is_state(power.entity_id, STATE_UNAVAILABLE), "between two polls"
    assert not hass.states.is_state(counter.entity_id, STATE_UNAVAILABLE)
    for _ in range(12):
        await installation.pass_time(60)
    assert hass.states.is_state(counter.entity_id, STATE_UNAVAILABLE)
    assert len(component_log(caplog)) == 1, component_log(caplog)
    assert "Failed to connect to" in component_log(caplog)[0]

    await installation.gateway.come_back()
    await installation.poll()
    assert not [name for name, state in installation.states().items() if state == STATE_UNAVAILABLE]
    state = hass.states.get(power.entity_id)
    assert state
    assert float(state.state) == pytest.approx(installation.gateway.house.power("production") / 1000, abs=0.002)
    assert len(component_log(caplog)) == 2, component_log(caplog)


@pytest.mark.parametrize(
    "fault",
    [
        *(Status(500), Status(404), Status(401), Drop(), Drop(0.5), Html(), Truncated()),
        *(EmptyObject(), EmptyList(), Null(), Body("5"), Body('{"a": 1}'), Body('[1, null, "x"]')),
    ],
    ids=lambda fault: getattr(fault, "text", "") or repr(fault),
)
@pytest.mark.slow
async def test_one_invalid_answer_of_any_endpoint_changes_no_state(
    set_up: SetUp,
    entity_registry_enabled_by_default: None,
    caplog: pytest.LogCaptureFixture,
    all_in_every_poll: None,
    fault: Fault,
) -> None:
    """An endpoint affects only the entities that it feeds, and these keep their last values."""
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
    warned = [line for line in component_log(caplog) if " fails " in line]
    back = [line for line in component_log(caplog) if " answers again" in line]
    assert len(warned) == len(back)
    assert len(warned) == len(paths), (warned, paths)


async def test_set_up_is_retried_until_the_gateway_answers(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture, hass_storage: dict[str, Any]
) -> None:
    """Without stored data the entry is loaded once the gateway is switched on."""
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


async def test_session_that_the_gateway_discarded_is_renewed(hass: HomeAssistant, set_up: SetUp) -> None:
    """A gateway discards its sessions when it restarts: one new login, without the user."""
    installation = await set_up("metered_1phase")
    await installation.poll()
    for pattern in ("/ivp/*", "/production*", "/api/*"):
        installation.gateway.fault(pattern, Status(401), count=1)
    await installation.poll()
    assert installation.coordinator.last_update_success
    assert not hass.config_entries.flow.async_progress()


async def test_revoked_token_is_replaced_through_the_account(hass: HomeAssistant, set_up: SetUp, cloud: Cloud) -> None:
    installation = await set_up("metered_1phase")
    revoked = installation.entry.data["token"]
    installation.gateway.revoke(revoked)
    await installation.poll()
    assert installation.coordinator.last_update_success
    assert installation.entry.data["token"] == cloud.tokens[0] != revoked
    assert not hass.config_entries.flow.async_progress()


async def test_revoked_pasted_token_starts_one_reauth_flow(hass: HomeAssistant, set_up: SetUp, cloud: Cloud) -> None:
    installation = await set_up("metered_1phase", use_manual_token=True)
    installation.gateway.revoke(installation.entry.data["token"])
    for _ in range(3):
        await installation.poll()
    assert [flow["context"]["source"] for flow in hass.config_entries.flow.async_progress()] == ["reauth"]
    assert not cloud.requests
