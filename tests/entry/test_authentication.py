"""Tokens, passwords and whom they are shown to when something is odd."""

from ipaddress import ip_address
import logging
import time

from aiohttp import web
from homeassistant.config_entries import SOURCE_ZEROCONF, ConfigEntryState
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo
import jwt
from pyenphase.auth import EnvoyTokenAuth
import pytest

from custom_components.enphase_envoy.client.auth import token_validity
from custom_components.enphase_envoy.client.errors import GatewayError, Reason
from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.integration import LONG, Installation, SetUp, Simulate, entry_for
from tests.simulator import Cloud, Status, cloud as simulated_cloud

PROFILE = "metered_1phase"
SERIAL = "122303027790"
HOUR = 3600.0
DAY = 24 * HOUR
#: All that is not open to everybody.
EVERYTHING = ("/auth/*", "/ivp/*", "/production*", "/api/*", "/admin/*", "/inventory*", "/home")


def token(**claims: float) -> str:
    """Return a token for the gateway."""
    return jwt.encode({"aud": SERIAL, "iss": "Entrez", "enphaseUser": "owner", **claims}, "k" * 32, "HS256")


@pytest.mark.parametrize(("begun", "left"), [(None, 12 * HOUR), (350 * DAY, 15 * DAY)], ids=["half a day", "old"])
async def test_a_cloud_whose_tokens_are_always_to_be_renewed_is_asked_ever_more_rarely(
    set_up: SetUp, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, begun: float | None, left: float
) -> None:
    now = time.time()
    given = token(exp=now + left, **({"iat": now - begun} if begun else {}))
    monkeypatch.setattr(simulated_cloud, "make_token", lambda *_args, **_options: given)
    # What the gateway had before is near its end, so that the first is asked for at once.
    house = await set_up(PROFILE, token=token(iat=now - 364 * DAY, exp=now + HOUR))
    asked = []
    for _ in range(120):
        await house.pass_time(60)
        asked.append(cloud.requests["login"])
    assert asked[0] <= 1
    assert 1 <= asked[-1] <= 8, "in two hours"
    assert house.coordinator.last_update_success


def test_a_token_without_an_end_is_none() -> None:
    for claims in ({"exp": float("nan")}, {"exp": float("inf")}, {"exp": 4e9, "iat": float("nan")}, {}):
        with pytest.raises(GatewayError) as caught:
            token_validity(token(**claims), SERIAL)
        assert caught.value.reason is Reason.TOKEN_MALFORMED


async def with_another_certificate(hass: HomeAssistant, house: Installation) -> list[str]:
    """Pin the certificate, put another at the address, and return a list that fills with what it is told."""
    hass.config_entries.async_update_entry(house.entry, options={"pin_certificate": True})
    await hass.config_entries.async_reload(house.entry.entry_id)
    await hass.async_block_till_done()
    assert house.entry.data["certificate_fingerprint"]
    await house.gateway.upgrade("D8.3.5433")
    told: list[str] = []
    refuse = house.gateway._refuse

    def listen(request: web.Request) -> object:
        told.append(request.path)
        assert "Authorization" not in request.headers
        return refuse(request)

    house.gateway._refuse = listen  # type: ignore[method-assign, assignment]
    return told


async def test_a_dialog_about_lost_access_sends_no_token_to_another_certificate(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud
) -> None:
    house = await set_up(PROFILE)
    told = await with_another_certificate(hass, house)
    house.entry.async_start_reauth(hass)
    await hass.async_block_till_done()
    (flow,) = hass.config_entries.flow.async_progress()
    form = await hass.config_entries.flow.async_configure(flow["flow_id"])
    assert form["errors"] == {"base": "certificate_changed"}
    form = await hass.config_entries.flow.async_configure(
        flow["flow_id"], {"host": house.gateway.host, "token": house.entry.data["token"]}
    )
    assert form["errors"] == {"base": "certificate_changed"}
    assert set(told) <= {"/info"}
    assert not cloud.requests


async def test_a_change_of_address_sends_no_token_to_another_certificate(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud
) -> None:
    house = await set_up(PROFILE)
    told = await with_another_certificate(hass, house)
    opened = await house.entry.start_reconfigure_flow(hass)
    form = await hass.config_entries.flow.async_configure(
        opened["flow_id"], {"host": house.gateway.host, "token": house.gateway.token(days=LONG)}
    )
    assert form["errors"] == {"base": "certificate_changed"}
    assert set(told) <= {"/info"}
    assert not cloud.requests


@pytest.mark.parametrize("minutes", [2, 6])
@pytest.mark.parametrize("pasted", [True, False], ids=["pasted token", "account"])
async def test_a_gateway_that_lets_nobody_in_for_minutes_is_read_again_by_itself(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud, pasted: bool, minutes: int
) -> None:
    house = await set_up(PROFILE, use_manual_token=pasted)
    for path in EVERYTHING:
        house.gateway.fault(path, Status(401))
    for _ in range(minutes):
        house.gateway.requests.clear()
        await house.pass_time(60)
        assert house.gateway.requests, "polling goes on"
    assert not house.coordinator.last_update_success
    house.gateway.faults.clear()
    for _ in range(2):
        await house.pass_time(60)
    assert STATE_UNAVAILABLE not in house.states().values()
    assert not hass.config_entries.flow.async_progress()


async def test_a_gateway_that_refuses_every_token_is_no_reason_to_ask_for_one_with_each_poll(
    set_up: SetUp, cloud: Cloud
) -> None:
    """Who logs in too often is locked out, and the app with it."""
    house = await set_up(PROFILE)
    for path in EVERYTHING:
        house.gateway.fault(path, Status(401))
    for _ in range(60):
        await house.pass_time(60)
    assert cloud.requests["login"] <= 10, "in an hour"


async def test_nothing_that_a_cloud_says_gets_into_the_log(
    hass: HomeAssistant,
    set_up: SetUp,
    cloud: Cloud,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reply that is cut off is no JSON, and what fails to read it quotes it."""
    caplog.set_level(logging.DEBUG, "custom_components.enphase_envoy")
    house = await set_up(PROFILE)

    async def login(_request: web.Request) -> web.Response:
        text = '{"message":"success","session_id":"SECRETSESSION","manager_token":"SECRETMANAGER","is_con'
        return web.Response(text=text, content_type="application/json")

    app = web.Application()
    app.router.add_post("/login", login)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setattr(EnvoyTokenAuth, "JSON_LOGIN_URL", f"http://127.0.0.1:{runner.addresses[0][1]}/login")
    house.gateway.revoke(house.entry.data["token"])
    await house.poll()
    await runner.cleanup()
    assert not house.coordinator.last_update_success
    lines = [logging.Formatter().format(record) for record in caplog.records]
    assert lines
    for secret in ("SECRETSESSION", "SECRETMANAGER", house.entry.data["token"], house.entry.data["password"]):
        assert not [line for line in lines if secret in line]


async def test_an_entry_of_the_first_years_gets_a_unique_id(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate(PROFILE)
    entry = entry_for(gateway)
    entry.add_to_hass(hass)
    hass.config_entries.async_update_entry(entry, unique_id=None)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    assert entry.state is ConfigEntryState.LOADED
    assert entry.unique_id == gateway.serial
    await hass.config_entries.async_unload(entry.entry_id)


async def test_what_announces_itself_without_a_serial_number_is_no_gateway(hass: HomeAssistant) -> None:
    address = ip_address("192.0.2.1")
    announced = ZeroconfServiceInfo(
        ip_address=address,
        ip_addresses=[address],
        hostname="envoy.local.",
        name="envoy._enphase-envoy._tcp.local.",
        port=80,
        properties={},
        type="_enphase-envoy._tcp.local.",
    )
    result = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_ZEROCONF}, data=announced)
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "not_a_gateway")
