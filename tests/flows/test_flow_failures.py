"""Each start of the config flow with each failure: the same errors everywhere, and the flow can be finished."""

from collections.abc import Awaitable, Callable
from typing import Any

from homeassistant.config_entries import SOURCE_USER, SOURCE_ZEROCONF, ConfigFlowResult
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from pyenphase.auth import EnvoyTokenAuth
import pytest

from custom_components.enphase_envoy.const import DOMAIN
from tests.flows.test_config_flow import announcement
from tests.helpers.flows import fill_in
from tests.helpers.integration import LONG, Simulate, choose_live_power, entry_for
from tests.simulator import Cloud, OtherServer, Simulator, Status

type Way = Callable[[HomeAssistant, Simulator], Awaitable[ConfigFlowResult]]

ACCOUNT = {"username": "owner@example.com", "password": "sunshine"}


async def by_hand(hass: HomeAssistant, _gateway: Simulator) -> ConfigFlowResult:
    return await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})


async def by_discovery(hass: HomeAssistant, gateway: Simulator) -> ConfigFlowResult:
    found = announcement(gateway)
    return await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_ZEROCONF}, data=found)


async def by_reauth(hass: HomeAssistant, gateway: Simulator) -> ConfigFlowResult:
    entry = entry_for(gateway)
    entry.add_to_hass(hass)
    with gateway.fault("/auth/check_jwt", Status(401)):
        opened: ConfigFlowResult = await entry.start_reauth_flow(hass)
    assert opened["errors"] == {"token": "token_rejected"}
    return opened


async def by_reconfiguring(hass: HomeAssistant, gateway: Simulator) -> ConfigFlowResult:
    entry = entry_for(gateway)
    entry.add_to_hass(hass)
    opened: ConfigFlowResult = await entry.start_reconfigure_flow(hass)
    return opened


WAYS = [by_hand, by_discovery, by_reauth, by_reconfiguring]

#: Input besides the host, and the errors of the form. `None` stands for a valid token.
FAILURES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "nothing there": ({"token": None}, {"host": "cannot_connect"}),
    "no gateway": ({"token": None}, {"host": "not_a_gateway"}),
    "wrong password": (ACCOUNT | {"password": "rain"}, {"base": "invalid_auth"}),
    "multi-factor account": (ACCOUNT, {"base": "multi_factor"}),
    "cloud down": (ACCOUNT, {"base": "cloud_unreachable"}),
    "account without this gateway": (ACCOUNT, {"base": "not_your_gateway"}),
    "expired token": ({"token": -LONG}, {"token": "token_expired"}),
    "token of another gateway": ({"token": "999999999999"}, {"token": "token_other_gateway"}),
    "no token at all": ({"token": "hello"}, {"token": "token_malformed"}),
    "rejected token": ({"token": None}, {"token": "token_rejected"}),
    "no password": ({"username": "other@example.com"}, {"base": "credentials_missing"}),
}


def token_of(gateway: Simulator, typed: int | str | None) -> str:
    """Return a token: a valid one, one of a number of days, one for another serial number, or no token at all."""
    if isinstance(typed, str):
        return gateway.token(LONG, serial=typed) if typed.isdigit() else typed
    return gateway.token(LONG if typed is None else typed)


@pytest.mark.parametrize(
    ("way", "failure"),
    [
        (way, failure)
        for way in WAYS
        for failure, (_, expected) in FAILURES.items()
        # The others do not request the address.
        if way in (by_hand, by_reconfiguring) or "host" not in expected
    ],
)
async def test_errors_of_the_form(
    hass: HomeAssistant,
    simulate: Simulate,
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    unused_tcp_port: int,
    way: Way,
    failure: str,
) -> None:
    gateway = await simulate("metered_1phase")
    opened = await way(hass, gateway)
    assert opened["type"] in (FlowResultType.FORM, FlowResultType.MENU)
    typed, expected = FAILURES[failure]
    form = {"host": gateway.host, **typed}
    if "token" in form:
        form["token"] = token_of(gateway, form["token"])
    if failure == "nothing there":
        form["host"] = f"127.0.0.1:{unused_tcp_port}"
    elif failure == "multi-factor account":
        cloud.trouble = "mfa"
    elif failure == "cloud down":
        monkeypatch.setattr(EnvoyTokenAuth, "JSON_LOGIN_URL", f"http://127.0.0.1:{unused_tcp_port}/?")
    elif failure == "account without this gateway":
        cloud.trouble = "refused"
    elif failure == "rejected token":
        gateway.fault("/auth/check_jwt", Status(401))
    async with OtherServer() as server:
        if failure == "no gateway":
            form["host"] = server.host
        result = await fill_in(hass, opened, **form)
    assert (result["type"], result["errors"]) == (FlowResultType.FORM, expected)

    # The same flow can be finished.
    gateway.faults.clear()
    result = await fill_in(hass, result, host=gateway.host, token=gateway.token(LONG))
    result = await choose_live_power(hass, result)
    assert result["type"] in (FlowResultType.CREATE_ENTRY, FlowResultType.ABORT)
    assert result.get("reason", "") in ("", "reauth_successful", "reconfigure_successful")
    await hass.async_block_till_done()


@pytest.mark.parametrize("way", [by_hand, by_discovery], ids=lambda way: way.__name__)
async def test_a_configured_gateway_aborts_the_flow(hass: HomeAssistant, simulate: Simulate, way: Way) -> None:
    gateway = await simulate("metered_1phase")
    opened = await way(hass, gateway)
    entry_for(gateway).add_to_hass(hass)
    result = await fill_in(hass, opened, host=gateway.host, token=gateway.token(LONG))
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "already_configured")


async def test_a_flow_by_the_user_ends_the_discovery_flow(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("metered_1phase")
    await by_discovery(hass, gateway)
    opened = await by_hand(hass, gateway)
    again = await by_hand(hass, gateway)
    form = {"host": gateway.host, "token": gateway.token(LONG)}
    result = await choose_live_power(hass, await fill_in(hass, opened, **form))
    assert result["type"] is FlowResultType.CREATE_ENTRY
    await hass.async_block_till_done()
    assert not [
        flow for flow in hass.config_entries.flow.async_progress() if flow["context"]["source"] == SOURCE_ZEROCONF
    ]
    if again["flow_id"] in {flow["flow_id"] for flow in hass.config_entries.flow.async_progress()}:
        result = await fill_in(hass, again, **form)
        assert result["reason"] == "already_configured"
