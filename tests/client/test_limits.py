"""Answers that no gateway sends: too large, too complex, redirected, or quoting the token."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
import gzip
import logging
import traceback
from typing import Any
from unittest.mock import Mock, patch

from aiohttp import ClientResponseError, web
from homeassistant.config_entries import SOURCE_USER
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from pyenphase.auth import EnvoyTokenAuth
import pytest

from custom_components.enphase_envoy.client import lenient, limits
from custom_components.enphase_envoy.client.envoy import LibraryEnvoy
from custom_components.enphase_envoy.client.limits import is_too_complex
from custom_components.enphase_envoy.client.timeouts import Timeouts
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.live_flow import async_source_text
from tests.entities.test_controls import CONTROLS, use
from tests.helpers.flows import fill_in
from tests.helpers.integration import LONG, Installation, SetUp, Simulate
from tests.simulator import Body, Cloud, access
from tests.simulator.faults import Answer, Change, Fault
from tests.simulator.gateway import Json

INVENTORY = "/ivp/ensemble/inventory"
PROFILE = "metered_1phase"


@dataclass
class Compressed(Fault):
    """Another body, compressed."""

    body: bytes

    def spoil(self, answer: Answer) -> None:
        """Replace the answer."""
        answer.status, answer.content_type, answer.body = 200, "application/json", gzip.compress(self.body)
        answer.headers["Content-Encoding"] = "gzip"


@dataclass
class Redirect(Fault):
    """A redirect instead of the answer."""

    status: int
    location: str

    def spoil(self, answer: Answer) -> None:
        """Replace the answer."""
        answer.status, answer.body = self.status, b""
        answer.headers["Location"] = self.location


@pytest.fixture
async def live_envoy(hass: HomeAssistant) -> LibraryEnvoy:
    """Return a client of no gateway."""
    return LibraryEnvoy("127.0.0.1", async_get_clientsession(hass), Timeouts())


@asynccontextmanager
async def serve(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve all paths on loopback, and return the address."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


class Endless:
    """A server that sends chunks until the connection is closed."""

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self.sent = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Send at most 100 MB."""
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"[" * 100_000)
            self.sent += 100_000
        return response


@pytest.mark.parametrize(
    "fault",
    [
        Body("[" + "{}," * 600_000 + "{}]"),
        Body("[" + "{}," * 6_000 + "{}]"),
        Body("[" + "1," * 60_001 + "1]"),
        Body('["' + "a" * limits.DOCUMENT + '"]'),
        Compressed(b'["' + b"a" * limits.DOCUMENT + b'"]'),
    ],
    ids=["2 MB of objects", "objects", "values", "text", "compressed"],
)
async def test_an_answer_larger_than_any_gateways_is_a_failure_of_its_endpoint(
    set_up: SetUp, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    house = await set_up("full_battery")
    house.gateway.fault(INVENTORY, fault)
    caplog.clear()
    house.gateway.clock.advance(125)
    await house.poll()
    await house.poll()
    assert house.coordinator.last_update_success
    assert not house.unavailable()
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1, warnings
    assert INVENTORY in warnings[0]


@pytest.mark.parametrize(
    ("path", "count", "is_accepted"),
    [
        ("/ivp/ss/dry_contact_settings", 4, True),
        ("/ivp/ss/dry_contact_settings", 1000, False),
        ("/ivp/ensemble/dry_contacts", 1000, False),
        ("/ivp/ensemble/inventory", 60, True),
        ("/ivp/ensemble/inventory", 201, False),
        ("/ivp/ensemble/power", 60, True),
        ("/ivp/ensemble/power", 201, False),
        ("/inventory.json?deleted=1", 600, True),
        ("/inventory.json?deleted=1", 1001, False),
    ],
)
async def test_more_of_a_kind_than_any_gateway_has_is_no_document(
    hass: HomeAssistant, set_up: SetUp, path: str, count: int, *, is_accepted: bool
) -> None:
    house = await set_up("full_battery")
    entry_id, devices = house.entry.entry_id, dr.async_get(hass)
    before = len(dr.async_entries_for_config_entry(devices, entry_id))
    house.gateway.fault(f"{path.partition('?')[0]}*", Change(lambda document: with_many(document, count)))
    for _ in range(2):
        house.gateway.clock.advance(901)
        await house.poll()
    assert (house.coordinator.gateway._scheduler.endpoints[path].failure is None) == is_accepted
    assert is_accepted or len(dr.async_entries_for_config_entry(devices, entry_id)) == before


def with_many(document: Json, count: int) -> Json:
    """Return a document that lists its first device many times, each with another identifier."""
    members = document if isinstance(document, list) else document.get("dry_contacts") or document["devices:"]
    members = members[0].get("devices", members)
    key = next(key for key in ("serial_num", "serialNumber", "eid", "id") if key in members[0])
    kind = type(members[0][key])
    members[:] = [members[0] | {key: kind(482230010000 + number)} for number in range(count)]
    return document


def test_a_list_of_what_a_gateway_has_few_of_is_not_read_when_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its objects alone would block the event loop."""
    contacts = [{"id": f"NC{number}"} for number in range(5000)]
    monkeypatch.setattr(lenient, "Records", pytest.fail)
    with pytest.raises(TypeError):
        lenient.read("/ivp/ss/dry_contact_settings", {"dry_contacts": contacts})


async def test_an_endless_info_document_is_not_read_to_its_end(hass: HomeAssistant) -> None:
    endless = Endless()
    async with serve(endless) as host:
        flow = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
        result = await fill_in(hass, flow, host=host, token="x")
    assert result["errors"] == {"host": "cannot_connect"}
    assert endless.sent < 20_000_000


@pytest.mark.parametrize("path", ["/inventory", "/api/v1/production/inverters", "/ivp/pdm/device_data"])
async def test_the_documents_of_600_inverters_are_half_of_the_limits_at_most(simulate: Simulate, path: str) -> None:
    gateway = await simulate("full_battery", inverters=600)
    answer = gateway._answer(FakeRequest(path), b"", [])  # type: ignore[arg-type]
    assert len(answer.body) < limits.DOCUMENT / 2
    assert not is_too_complex(answer.body + answer.body)


@dataclass
class FakeRequest:
    """A request as the simulator reads it."""

    path: str
    method: str = "GET"

    @property
    def query(self) -> dict[str, Any]:
        """Return no parameters."""
        return {}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    ("path", "error"), [("/info", {"host": "not_a_gateway"}), ("/auth/check_jwt", {"base": "cannot_connect"})]
)
async def test_no_redirect_of_a_gateway_is_followed(
    hass: HomeAssistant, simulate: Simulate, status: int, path: str, error: dict[str, str]
) -> None:
    requests: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append(request.path)
        return web.Response(text="<h2>Valid token.</h2>")

    gateway = await simulate(PROFILE)
    async with serve(answer) as elsewhere:
        gateway.fault(path, Redirect(status, f"http://{elsewhere}{path}"))
        flow = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
        result = await fill_in(hass, flow, host=gateway.host, token=gateway.token(LONG))
    assert result["errors"] == error
    assert not requests


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("service", ["JSON_LOGIN_URL", "TOKEN_URL"])
async def test_no_redirect_of_the_cloud_is_followed(
    hass: HomeAssistant,
    simulate: Simulate,
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    service: str,
) -> None:
    """It would send user name and password, or the session, to any host."""
    received: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/start":
            return web.Response(status=status, headers={"Location": "/elsewhere"})
        received.append(await request.text())
        return web.Response(status=401)

    gateway = await simulate(PROFILE)
    async with serve(answer) as host:
        monkeypatch.setattr(EnvoyTokenAuth, service, f"http://{host}/start")
        flow = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
        result = await fill_in(hass, flow, host=gateway.host, username="owner@example.com", password="sunshine")
    assert result["errors"] == {"base": "cloud_unreachable"}
    assert not received


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_compressed_stream_is_not_read(live_envoy: LibraryEnvoy, encoding: str) -> None:
    """Some kB can be decompressed to as many MB as they want, which no limit stops."""
    requested: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        requested.append(request.headers["Accept-Encoding"])
        return web.Response(body=gzip.compress(b"\n\n" * 1000), headers={"Content-Encoding": encoding})

    async with serve(answer) as host:
        live_envoy.auth = EnvoyTokenAuth(host, token="x")
        live_envoy.auth.get_endpoint_url = lambda path: f"http://{host}{path}"  # type: ignore[method-assign, assignment]
        with pytest.raises(OSError, match="compressed"):
            async with live_envoy.stream("/stream/meter"):
                pass
    assert requested == ["identity"]


async def test_a_token_in_an_invalid_header_after_a_write_is_not_logged(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor is it in the exception, which Home Assistant logs with its causes where the caller does not wait."""
    house = await set_up("full_battery")
    token: str = house.entry.data["token"]
    request = LibraryEnvoy._request

    async def answer(envoy: LibraryEnvoy, path: str, data: Any = None, method: str | None = None) -> Any:
        if data:
            raise ClientResponseError(Mock(), (), status=400, message=f"X [here](https://example.com) {token}")
        return await request(envoy, path, data, method)

    reserve = next(each for each in CONTROLS if each.unique_id.endswith("_reserve_soc"))
    with patch.object(LibraryEnvoy, "_request", answer), pytest.raises(HomeAssistantError) as raised:
        await use(hass, reserve)
    assert "failed: /admin/lib/tariff: ClientResponseError" in caplog.text
    shown = "".join(traceback.format_exception(raised.value))
    assert token[:40] not in caplog.text + shown
    logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "[here]" not in shown + "".join(logged)


@pytest.mark.parametrize("level", [logging.WARNING, logging.DEBUG])
async def test_a_token_in_an_invalid_header_is_not_logged(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    """The error of aiohttp quotes the header. Neither do dialogs show it, nor what it would be in Markdown."""
    house = await set_up(PROFILE, options={"live_power": 5})
    token: str = house.entry.data["token"]
    for _ in range(3):
        await house.pass_time(5)
    caplog.clear()
    caplog.set_level(level)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nX [here](https://example.com) {token}\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    context = access.tls(access.make_certificate("1"))
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        gateway = house.coordinator.gateway
        assert isinstance(gateway.envoy.auth, EnvoyTokenAuth)
        gateway.envoy.auth.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for _ in range(3):
            house.gateway.clock.advance(61)
            await gateway.read_live()
            await house.poll()
        shown = await async_source_text(gateway.live)
        gateway.envoy.auth.host = house.gateway.host
    assert any("live power from" in record.getMessage() for record in caplog.records)
    assert token[:40] not in caplog.text
    assert token[:40] not in shown
    assert "[here]" not in caplog.text + shown


@pytest.mark.parametrize("status", [200, 401, 403, 404, 500])
async def test_a_token_that_the_gateway_quotes_is_not_logged(
    set_up: SetUp, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    house = await set_up(PROFILE)
    token: str = house.entry.data["token"]
    caplog.set_level(logging.DEBUG)
    page = Quote(status, f"<html>Token {token} is not valid, nor is x-{token[:90]}</html>")
    house.gateway.fault("*", page)
    await house.poll_all()
    await house.poll_all()
    await log_in(house)
    logged = [logging.Formatter().format(r) for r in caplog.records if r.name.startswith(("pyenphase", "custom"))]
    assert logged
    assert not [line for line in logged if token[:40] in line]


async def log_in(house: Installation) -> None:
    """Log in again, whatever the result."""
    gateway = house.coordinator.gateway
    await gateway.raw_responses(capture=True)
    await gateway.mac_address()


@dataclass
class Quote(Fault):
    """A page with any status."""

    status: int
    text: str

    def spoil(self, answer: Answer) -> None:
        """Replace the answer."""
        answer.status, answer.content_type, answer.body = self.status, "text/html", self.text.encode()
