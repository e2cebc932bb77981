"""Tokens and passwords, and the hosts to which they are sent when something fails."""

from ipaddress import ip_address
import logging
import time

from aiohttp import web
from homeassistant.config_entries import SOURCE_USER, SOURCE_ZEROCONF, ConfigEntryState
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo
import jwt
from pyenphase.auth import EnvoyTokenAuth
import pytest

from custom_components.enphase_envoy.client.auth import token_validity
from custom_components.enphase_envoy.client.errors import GatewayError, Reason
from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.flows import fill_in
from tests.helpers.integration import LONG, Installation, SetUp, Simulate, entry_for
from tests.simulator import Cloud, Simulator, Status, cloud as simulated_cloud

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
    assert form["step_id"] == "trust"
    assert set(paths) <= {"/info"}
    assert not cloud.requests


async def test_reconfiguration_sends_no_token_to_another_certificate(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud
) -> None:
    house = await set_up(PROFILE)
    paths = await with_another_certificate(hass, house)
    opened = await house.entry.start_reconfigure_flow(hass)
    form = await fill_in(hass, opened, host=house.gateway.host, token=house.gateway.token(days=LONG))
    assert form["step_id"] == "trust"
    assert set(paths) <= {"/info"}
    assert not cloud.requests


def authorizations(gateway: Simulator) -> list[str]:
    """Return a list that collects the Authorization headers that a simulated gateway receives from now on."""
    headers: list[str] = []
    refuse = gateway._refuse

    def listen(request: web.Request) -> object:
        headers.append(request.headers.get("Authorization", ""))
        return refuse(request)

    gateway._refuse = listen  # type: ignore[method-assign, assignment]
    return headers


@pytest.mark.parametrize("username", ["owner@example.com", "owner"])
@pytest.mark.parametrize("firmware", ["D5.0.62", "R3.9.36", "D6.9.9"])
async def test_the_account_is_not_sent_to_a_device_with_firmware_before_7(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud, firmware: str, username: str
) -> None:
    """An impostor of the gateway would be sent a digest of the password, with a nonce that it chose."""
    house = await set_up(PROFILE, username=username)
    await house.gateway.upgrade(firmware)
    headers = authorizations(house.gateway)
    for _ in range(3):
        await house.poll()
    await house.pass_time(4 * HOUR + 1)
    await hass.config_entries.async_reload(house.entry.entry_id)
    assert house.entry.state is ConfigEntryState.SETUP_RETRY
    assert "older than 7" in (house.entry.reason or "")
    issue = ir.async_get(hass).async_get_issue(DOMAIN, f"firmware_before_tokens_{house.entry.entry_id}")
    assert issue
    # Nor by the dialogs, of which reauthentication tries the stored credentials by itself.
    house.entry.async_start_reauth(hass)
    await hass.async_block_till_done()
    (flow,) = hass.config_entries.flow.async_progress()
    form = await hass.config_entries.flow.async_configure(flow["flow_id"])
    assert form["errors"] == {"base": "firmware_before_tokens"}
    form = await fill_in(hass, form, username=username, password="sunshine")
    assert form["errors"] == {"base": "firmware_before_tokens"}
    hass.config_entries.flow.async_abort(flow["flow_id"])
    assert not any(headers)
    assert not cloud.requests
    # The true gateway is used again, and the issue is removed.
    await house.gateway.upgrade("D8.2.4264")
    await hass.config_entries.async_reload(house.entry.entry_id)
    assert house.entry.state.name == "LOADED"
    assert not ir.async_get(hass).async_get_issue(DOMAIN, issue.issue_id)


async def test_an_account_is_not_sent_to_a_device_that_reports_firmware_before_7_later(
    hass: HomeAssistant, simulate: Simulate, cloud: Cloud
) -> None:
    """It reported firmware 8 when the user chose how to log in. Not each user name is an email address."""
    gateway = await simulate(PROFILE)
    flow = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    menu = await fill_in(hass, flow, host=gateway.host)
    form = await hass.config_entries.flow.async_configure(menu["flow_id"], {"next_step_id": "account"})
    await gateway.upgrade("D5.0.62")
    headers = authorizations(gateway)
    form = await fill_in(hass, form, username="owner", password="sunshine")
    assert form["errors"] == {"base": "firmware_before_tokens"}
    assert not any(headers)
    assert not cloud.requests


async def test_a_clock_that_is_ahead_after_a_start_does_not_end_the_entry(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For five minutes the pasted token seems to have expired; the stored values are shown."""
    pasted = token(iat=time.time(), exp=time.time() + 300 * DAY)
    house = await set_up(PROFILE, use_manual_token=True, token=pasted)
    await house.pass_time(60)
    assert await hass.config_entries.async_unload(house.entry.entry_id)
    real = time.time
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: real() + 365 * DAY)
        await hass.config_entries.async_setup(house.entry.entry_id)
        await hass.async_block_till_done()
        for _ in range(5):
            await house.pass_time(60)
        assert house.entry.state is ConfigEntryState.LOADED
        assert len(hass.config_entries.flow.async_progress()) == 1
    for _ in range(2):
        await house.pass_time(60)
    assert house.coordinator.last_update_success
    assert STATE_UNAVAILABLE not in house.states().values()
    assert not hass.config_entries.flow.async_progress()


async def test_an_email_address_is_not_used_for_digest(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("legacy_5")
    headers = authorizations(gateway)
    flow = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    form = await fill_in(hass, flow, host=gateway.host, username="owner@example.com", password="sunshine")
    assert form["errors"] == {"username": "cloud_account"}
    assert not any(headers)


async def test_an_email_address_of_an_entry_is_not_used_for_digest(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("legacy_5")
    headers = authorizations(gateway)
    entry = entry_for(gateway, username="owner@example.com", password="sunshine")
    entry.add_to_hass(hass)
    await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    assert entry.state is ConfigEntryState.LOADED
    assert headers
    assert not [header for header in headers if "owner" in header]
    await hass.config_entries.async_unload(entry.entry_id)


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


async def test_a_twin_without_a_unique_id_does_not_take_that_of_the_other(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up(PROFILE)
    twin = entry_for(house.gateway)
    twin.add_to_hass(hass)
    hass.config_entries.async_update_entry(twin, unique_id=None)
    await hass.config_entries.async_setup(twin.entry_id)
    await hass.async_block_till_done()
    assert twin.state is ConfigEntryState.SETUP_RETRY
    assert "already set up" in (twin.reason or "")
    assert twin.unique_id is None
    assert house.entry.unique_id == house.gateway.serial
    # When the other is removed, it is the one.
    await hass.config_entries.async_remove(house.entry.entry_id)
    await hass.config_entries.async_reload(twin.entry_id)
    assert twin.unique_id == house.gateway.serial
    await hass.config_entries.async_unload(twin.entry_id)


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
