"""The simulator: a house and its gateway behind HTTP(S) on loopback."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
import json
from pathlib import Path
import time
from typing import TYPE_CHECKING, Any, Final, Self, override

from aiohttp import web

from . import access, state as states
from .clock import Clock
from .documents import ENDPOINTS
from .documents.meters import stream
from .faults import Answer, Fault, Faults
from .gateway import Gateway, Json
from .house import House
from .listener import GatewayServer, listen, port_of
from .profiles import DEFAULT, PROFILES, Profile
from .text_document import TextDocument
from .writes import WRITES, NotHere, Refused

if TYPE_CHECKING:
    from .faults import Active

TOKENS_SINCE: Final = (7,)
#: Seconds of real time between writes of the state file.
SAVE_PERIOD: Final = 30.0
REQUESTS_KEPT: Final = 20_000
#: Iterations of the event loop after which a request counts as in flight: a client that closes its connection and sends
#: the next request on another one at once is not detected sooner.
COUNTED_AFTER: Final = 50


@dataclass(frozen=True, slots=True)
class Request:
    """A request that the gateway received."""

    method: str
    path: str
    status: int
    at: float


@dataclass(frozen=True, slots=True)
class Write:
    """A write that the gateway received."""

    method: str
    path: str
    body: Json
    status: int
    at: float


class Simulator(GatewayServer):
    """A simulated system; an async context manager that serves it."""

    def __init__(
        self,
        profile: str | Profile = DEFAULT,
        *,
        seed: int | None = None,
        inverters: int | None = None,
        clock: Clock | None = None,
        port: int = 0,
        state: Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        """Create a system of a profile, or restore it from a state file."""
        self.profile = PROFILES[profile] if isinstance(profile, str) else profile
        super().__init__(host, port)
        self._state = state
        saved = self._saved()
        self.clock = clock or Clock()
        if saved is None:
            house = House.at(self.profile, self.clock.now, seed=1 if seed is None else seed, inverters=inverters)
        else:
            house = states.load_house(self.profile, saved["house"])
            # The clock continues where it was saved; a running one has advanced since.
            since = max(0.0, time.time() - saved["saved_at"]) if self.clock.running else 0.0
            # With real time both agree to within the time that this takes, and the clock must not be set back.
            self.clock.advance(max(0.0, house.now + since - self.clock.now))
        self.gateway = Gateway(self.profile, house, self.clock)
        if saved is not None:
            self.gateway.load(saved["gateway"])
        self.certificate = saved["certificate"] if saved else access.make_certificate(self.profile.serial)
        self.faults = Faults(self.clock)
        self.requests: deque[Request] = deque(maxlen=REQUESTS_KEPT)
        self.writes: list[Write] = []
        self.revoked: set[str] = set()
        #: Paths of requests in progress, the maximum of their number, and the maximum for one path.
        self._in_flight: list[str] = []
        self.most_in_flight = self.most_to_one = 0
        #: Seconds of real time between two events of the stream.
        self.stream_period = 1.0
        self._digest = access.Digest(self.profile.serial)
        self._runner: web.AppRunner | None = None
        self._stopping = asyncio.Event()
        self._saver: asyncio.Task[None] | None = None

    # -- properties ---------------------------------------------------------------------------------------------

    @property
    def serial(self) -> str:
        """Serial number of the gateway."""
        return self.gateway.serial

    @property
    def firmware(self) -> str:
        """Firmware as numbers: `8.2.4382`."""
        return self.gateway.firmware[1:]

    @property
    def house(self) -> House:
        """The house, simulated up to the clock's time."""
        return self.gateway.house

    @property
    def requested_paths(self) -> set[str]:
        """Paths of all requests, without their queries."""
        return {request.path.partition("?")[0] for request in self.requests}

    @property
    @override
    def uses_tokens(self) -> bool:
        """Whether it uses HTTPS and tokens, rather than HTTP and digest authentication."""
        return self.gateway.version >= TOKENS_SINCE

    def token(self, days: float = 300, user: str = "owner", serial: str | None = None) -> str:
        """Return a token for this gateway: expired with days < 0, for another gateway with another serial."""
        return access.make_token(serial or self.serial, now=self.clock.now, days=days, user=user)

    # -- faults and restarts ------------------------------------------------------------------------------------

    def fault(self, pattern: str, fault: Fault, *, seconds: float | None = None, count: int | None = None) -> Active:
        """Add a fault; in a `with` statement it ends with the block."""
        return self.faults.add(pattern, fault, seconds=seconds, count=count)

    def revoke(self, token: str) -> None:
        """Reject a token from now on."""
        self.revoked.add(token)

    async def go_away(self) -> None:
        """Close the listener and all connections: connections are refused."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def come_back(self) -> None:
        """Listen on the same port again."""
        self._stopping = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        # A request is cancelled when its client closes the connection.
        certificate = self.certificate if self.uses_tokens else None
        self._runner = await listen(app, self._address, self.port, certificate=certificate, handler_cancellation=True)
        self.port = port_of(self._runner)

    async def upgrade(self, firmware: str) -> None:
        """Install another firmware (`D8.3.5433`): the gateway restarts with a new certificate."""
        await self.go_away()
        self.gateway.firmware = firmware
        self.certificate = access.make_certificate(self.serial)
        await self.come_back()

    async def __aenter__(self) -> Self:
        """Start serving."""
        await self.come_back()
        if self._state is not None:
            self.save()
            self._saver = asyncio.create_task(self._keep_saving())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop serving, and save the state."""
        if self._saver is not None:
            self._saver.cancel()
            with suppress(asyncio.CancelledError):
                await self._saver
        await self.go_away()
        self.save()

    # -- state --------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the state file, if there is one, atomically."""
        if self._state is None:
            return
        document = {
            "profile": self.profile.name,
            "saved_at": time.time(),
            "house": states.dump_house(self.house),
            "gateway": self.gateway.dump(),
            "certificate": self.certificate,
        }
        self._state.parent.mkdir(parents=True, exist_ok=True)
        new = self._state.with_suffix(self._state.suffix + ".new")
        new.write_text(json.dumps(document))
        new.chmod(0o600)
        new.replace(self._state)

    def _saved(self) -> dict[str, Any] | None:
        if self._state is None or not self._state.exists():
            return None
        saved: dict[str, Any] = json.loads(self._state.read_text())
        if saved["profile"] != self.profile.name:
            raise ValueError(f"{self._state} contains a system of profile {saved['profile']}, not {self.profile.name}")
        return saved

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(SAVE_PERIOD)
            self.save()

    # -- requests -----------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._in_flight.append(request.path_qs)
        counter = asyncio.create_task(self._count(request.path_qs))
        try:
            return await self._reply(request)
        finally:
            counter.cancel()
            self._in_flight.remove(request.path_qs)

    async def _count(self, path: str) -> None:
        for _ in range(COUNTED_AFTER):
            await asyncio.sleep(0)
        self.most_in_flight = max(self.most_in_flight, len(self._in_flight))
        self.most_to_one = max(self.most_to_one, self._in_flight.count(path))

    async def _reply(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        faults = self.faults.meet(request.path_qs, self.gateway)
        if request.path == "/stream/meter" and request.method == "GET" and not any(fault.replaces for fault in faults):
            refusal = self._refuse(request) or (None if self.profile.metered else _error(404))
            if refusal is None:
                self._record(request, 200)
                return await self._stream(request, faults)
        answer = self._refuse(request) or self._answer(request, body, faults)
        for fault in faults:
            fault.spoil(answer)
        self._record(request, answer.status)
        if request.method != "GET":
            self.writes.append(Write(request.method, request.path, _parse(body), answer.status, self.clock.now))
        return await self._send(request, answer)

    def _record(self, request: web.Request, status: int) -> None:
        self.requests.append(Request(request.method, request.path_qs, status, self.clock.now))

    def _refuse(self, request: web.Request) -> Answer | None:
        """Return 401 for a request that is not authorized."""
        endpoint = ENDPOINTS.get(request.path)
        if endpoint is not None and endpoint.public:
            return None
        header = request.headers.get("Authorization", "")
        if self.uses_tokens:
            token = header.removeprefix("Bearer ")
            good = token not in self.revoked and access.token_is_good(header, self.serial, self.clock.now)
            return None if good else _error(401)
        if endpoint is not None and endpoint.open and request.method == "GET":
            return None
        user = self._digest.user(header, request.method)
        if user is None or (request.path == "/stream/meter" and user != "installer"):
            answer = _error(401)
            answer.headers["WWW-Authenticate"] = self._digest.challenge()
            return answer
        return None

    def _answer(self, request: web.Request, body: bytes, faults: list[Fault]) -> Answer:
        path, method = request.path, request.method
        if path == "/auth/check_jwt" and self.uses_tokens:
            cookie = {"Set-Cookie": "sessionId=sim0123456789; Path=/"}
            return Answer(200, "text/html", b"<!DOCTYPE html><h2>Valid token.</h2>\n", cookie)
        try:
            if method == "GET":
                document = self._document(path, dict(request.query))
            elif any(fault.blocks for fault in faults):
                document = {}
            elif (method, path) in WRITES:
                document = WRITES[method, path](self.gateway, json.loads(body))
            else:
                return _error(405 if path in ENDPOINTS else 404)
        except (Refused, json.JSONDecodeError, UnicodeDecodeError) as err:
            return Answer(400, "application/json", json.dumps({"error": f"400 - Bad Request: {err}"}).encode())
        except NotHere:
            document = None
        if document is None:
            return _error(404)
        if isinstance(document, TextDocument):
            return Answer(document.status, document.content_type, document.text.encode())
        document = deepcopy(document) if faults else document
        for fault in faults:
            document = fault.edit(path, document, self.gateway)
        return Answer(200, "application/json", json.dumps(document).encode())

    def _document(self, path: str, query: dict[str, str]) -> Json:
        endpoint = ENDPOINTS.get(path)
        if endpoint is None or self.gateway.version < endpoint.since:
            return None
        return endpoint.render(self.gateway, query)

    async def _send(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        stopping = self._stopping
        if answer.hold is not None:
            await _first(stopping, answer.hold)
        if answer.delay is None or answer.delay > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(answer.delay):
                    await stopping.wait()
        if stopping.is_set():
            # Requests in progress get no answer when the gateway stops.
            answer.cut = -1
        response: web.StreamResponse = web.Response(
            status=answer.status, body=answer.body, content_type=answer.content_type, headers=answer.headers
        )
        if answer.cut is None:
            return response
        if answer.cut >= 0:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            response.content_length = len(answer.body)
            await response.prepare(request)
            await response.write(answer.body[: answer.cut])
        if request.transport is not None:
            request.transport.abort()
        return response

    async def _stream(self, request: web.Request, faults: list[Fault]) -> web.StreamResponse:
        """Server-sent events, about one a second of real time. Faults of streams apply to what it sends."""
        stopping = self._stopping
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        count = 0
        with suppress(ConnectionError):
            while not stopping.is_set():
                event: Json = stream(self.gateway)
                for fault in faults:
                    event = fault.edit(request.path, event, self.gateway)
                await response.write(f"data: {json.dumps(event)}\n\n".encode())
                count += 1
                stalls = [seconds for fault in faults if (seconds := fault.stall(count)) is not None]
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(stalls, default=self.stream_period)):
                        await stopping.wait()
        return response


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of several events is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _error(status: int) -> Answer:
    if status == 401:
        return Answer(401, "text/html", b"<html><head><title>401 Authorization Required</title></head></html>")
    text = {404: "404 - Not Found", 405: "405 - Method Not Allowed"}[status]
    return Answer(status, "application/json", json.dumps({"error": text}).encode())


def _parse(body: bytes) -> Json:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
