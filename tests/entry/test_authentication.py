"""Tokens and passwords, and the hosts to which they are sent when something fails."""

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
#: All endpoints that require authentication.
EVERYTHING = ("/auth/*", "/ivp/*", "/production*", "/api/*", "/admin/*", "/inventory*", "/home")


def token(**claims: float) -> str:
    """Return a token for the gateway."""
    return jwt.encode({"aud": SERIAL, "iss": "Entrez", "enphaseUser": "owner", **claims}, "k" * 32, "HS256")


@pytest.mark.parametrize(("begun", "left"), [(None, 12 * HOUR), (350 * DAY, 15 * DAY)], ids=["half a day", "old"])
async def test_renewals_back_off_if_every_new_token_is_due_for_renewal(
    set_up: SetUp, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, begun: float | None, left: float
) -> None:
    now = time.time()
    given = token(exp=now + left, **({"iat": now - begun} if begun else {}))
    monkeypatch.setattr(simulated_cloud, "make_token", lambda *_args, **_options: given)
    # The first token is close to its expiry, so that a new one is requested at once.
    house = await set_up(PROFILE, token=token(iat=now - 364 * DAY, exp=now + HOUR))
    requested = []
    for _ in range(120):
        await house.pass_time(60)
        requested.append(cloud.requests["login"])
    assert requested[0] <= 1
    assert 1 <= requested[-1] <= 8, "in two hours"
    assert house.coordinator.last_update_success


def test_a_token_without_an_expiry_is_invalid() -> None:
    for claims in ({"exp": float("nan")}, {"exp": float("inf")}, {"exp": 4e9, "iat": float("nan")}, {}):
        with pytest.raises(GatewayError) as caught:
            token_validity(token(**claims), SERIAL)
        assert caught.value.reason is Reason.TOKEN_MALFORMED


async def with_another_certificate(hass: HomeAssistant, house: Installation) -> list[str]:
    """Pin the certificate, serve another at the address, and return a list that collects the requests to it."""
    hass.config_entries.async_update_entry(house.entry, options={"pin_certificate": True})
    await hass.config_entries.async_reload(house.entry.entry_id)
    await hass.async_block_till_done()
    assert house.entry.data["certificate_fingerprint"]
    await house.gateway.upgrade("D8.3.5433")
    paths: list[str] = []
    refuse = house.gateway._refuse

    def listen(request: web.Request) -> object:
        paths.append(request.path)
        assert "Authorization" not in request.headers
        return refuse(request)

    house.gateway._refuse = listen  # type: ignore[method-assign, assignment]
    return paths


async def test_reauthentication_sends_no_token_to_another_certificate(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud
) -> None:
    house = await set_up(PROFILE)
    paths = await with_another_certificate(hass, house)
    house.entry.async_start_reauth(hass)
    await hass.async_block_till_done()
    (flow,) = hass.config_entries.flow.async_progress()
    form = await hass.config_entries.flow.async_configure(flow["flow_id"])
    assert form["errors"] == {"base": "certificate_changed"}
    form = await hass.config_entries.flow.async_configure(
        flow["flow_id"], {"host": house.gateway.host, "token": house.entry.data["token"]}
    )
    assert form["errors"] == {"base": "certificate_changed"}
    assert set(paths) <= {"/info"}
    assert not cloud.requests


async def test_reconfiguration_sends_no_token_to_another_certificate(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud
) -> None:
    house = await set_up(PROFILE)
    paths = await with_another_certificate(hass, house)
    opened = await house.entry.start_reconfigure_flow(hass)
    form = await hass.config_entries.flow.async_configure(
        opened["flow_id"], {"host": house.gateway.host, "token": house.gateway.token(days=LONG)}
    )
    assert form["errors"] == {"base": "certificate_changed"}
    assert set(paths) <= {"/info"}
    assert not cloud.requests


@pytest.mark.parametrize("minutes", [2, 6])
@pytest.mark.parametrize("pasted", [True, False], ids=["pasted token", "account"])
async def test_a_gateway_that_rejects_all_tokens_for_minutes_recovers(
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


async def test_a_gateway_that_rejects_every_token_causes_few_log_ins(set_up: SetUp, cloud: Cloud) -> None:
    """The cloud locks an account that logs in too often, also for the Enphase app."""
    house = await set_up(PROFILE)
    for path in EVERYTHING:
        house.gateway.fault(path, Status(401))
    for _ in range(60):
        await house.pass_time(60)
    assert cloud.requests["login"] <= 10, "in an hour"


async def test_no_response_of_the_cloud_is_logged(
    hass: HomeAssistant,
    set_up: SetUp,
    cloud: Cloud,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A truncated reply is no JSON, and the error of the parser quotes it."""
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


async def test_an_old_entry_without_a_unique_id_gets_one(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate(PROFILE)
    entry = entry_for(gateway)
    entry.add_to_hass(hass)
    hass.config_entries.async_update_entry(entry, unique_id=None)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    assert entry.state is ConfigEntryState.LOADED
    assert entry.unique_id == gateway.serial
    await hass.config_entries.async_unload(entry.entry_id)


async def test_an_announcement_without_a_serial_number_is_no_gateway(hass: HomeAssistant) -> None:
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
