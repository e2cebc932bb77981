"""pyenphase's client, adapted: with `login.py` all that this integration uses of it beyond its public interface.

The names with a leading underscore that are read, called or overridden here belong to the library. Each is pinned by a
contract test (`tests/client/test_library.py`), so that a new version of it is a decision and not a surprise.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, fields
from functools import cached_property
from http import HTTPStatus
import logging
from typing import Any, Final, NoReturn, override

import aiohttp
from aiohttp.hdrs import ACCEPT_ENCODING, CONTENT_ENCODING
from orjson import dumps as json_dumps
from pyenphase import Envoy
from pyenphase.const import AUTH_TOKEN_MIN_VERSION, ENDPOINT_URL_METERS, URL_ENSEMBLE_INVENTORY, SupportedFeatures
from pyenphase.envoy import DEFAULT_HEADERS, get_updaters
from pyenphase.exceptions import EnvoyAuthenticationRequired, EnvoyCommunicationError, EnvoyError, EnvoyProbeFailed
from pyenphase.models.common import CommonProperties
from pyenphase.updaters.base import EnvoyUpdater
from pyenphase.updaters.production import EnvoyProductionUpdater

from . import lenient, limits
from .endpoints import Document, Documents
from .errors import description
from .firmware import GatewayInfo
from .lenient import accept_unknown_words
from .limits import read_body
from .log_filter import library_warnings_suppressed
from .login import Firmware, Slot, TokenAuth, closed_translated
from .models import GatewayData
from .paths import URL_INFO
from .production import CountingMeters, ProductionReader
from .timeouts import Timeouts
from .updaters import REPLACED, UPDATERS

_LOGGER: Final = logging.getLogger(__name__)

#: What pyenphase's updaters raise on a document that is not as they expect it.
PARSE_ERRORS: Final = (
    EnvoyError,
    aiohttp.ClientError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    NameError,
)

accept_unknown_words()

#: Returns the document of an endpoint for a probe. Raises aiohttp.ClientError or EnvoyAuthenticationRequired.
type Fetch = Callable[[str], Awaitable[Document]]


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a probe found: the updaters to use, and the features and properties of the gateway."""

    updaters: Sequence[EnvoyUpdater]
    features: SupportedFeatures | None
    properties: CommonProperties
    #: False while the list of meters, which only a probe reads, contains an invalid one.
    is_complete: bool

    @property
    def fingerprint(self) -> str:
        """All of it as one string, to be compared: which updaters read what, and how."""
        notes = {
            type(updater).__name__: {
                name: value
                for name, value in vars(updater).items()
                if not callable(value) and not isinstance(value, CommonProperties)
            }
            for updater in self.updaters
        }
        return repr((notes, self.properties))


@dataclass(frozen=True, slots=True)
class Parsed:
    """The result of one updater's run over documents."""

    #: None when a document was not as the updater expects it.
    data: GatewayData | None
    #: Endpoints that it read.
    read: frozenset[str]
    error: Exception | None = None


class _DocumentAccess:
    """What the library's requests are answered with: documents while parsing, fetched ones in a probe."""

    def __init__(self) -> None:
        self.documents: Documents = {}
        self.fetch: Fetch | None = None
        self.read: set[str] = set()
        self.counting = CountingMeters()


class LibraryEnvoy(Envoy):
    """pyenphase's Envoy without its own way to poll: it probes and parses with the documents that it is given.

    Of its writing calls only commands are used: see `writing.py`.
    """

    def __init__(self, host: str, session: aiohttp.ClientSession, timeouts: Timeouts) -> None:
        """Prepare to read the gateway at `host` (`host:port` is fine) through a session of the caller."""
        super().__init__(host, session, timeouts.http)
        self._firmware: Firmware = Firmware(session, host)
        self._timeouts = timeouts
        self._access = _DocumentAccess()
        self._lists_meters = False
        self._has_valid_meters = True
        self.slot: Slot = nullcontext

    # Identification

    def new_firmware(self) -> Firmware:
        """Return a new request of `/info`, which changes nothing here."""
        return Firmware(self._client, self.host)

    def use_firmware(self, firmware: Firmware) -> None:
        """Use the result of such a request."""
        self._firmware = firmware
        self._interface_settings = None
        self.__dict__.pop("info", None)

    @cached_property
    def info(self) -> GatewayInfo:
        """What `/info` contained. Raises GatewayError when that is no gateway with readable firmware."""
        return self._firmware.info

    def restore_info(self, info: GatewayInfo) -> None:
        """Set what `/info` contained in an earlier session."""
        firmware = self.new_firmware()
        firmware.restore(info)
        self.use_firmware(firmware)

    @property
    def uses_tokens(self) -> bool:
        """True from firmware 7 on, which is read over HTTPS with a token; older firmware uses plain HTTP and digest."""
        return bool(self.firmware >= AUTH_TOKEN_MIN_VERSION)

    @property
    def token(self) -> str | None:
        """The token in use, None below firmware 7."""
        return self.auth.token if isinstance(self.auth, TokenAuth) else None

    async def log_in_with_token(self, username: str | None, password: str | None, token: str | None) -> None:
        """Authenticate with a token, and fetch one with the account if there is none. Raises GatewayError."""
        auth = TokenAuth(self.host, username, password, self.serial_number or "", token)
        auth.slot, auth.timeouts = self.slot, self._timeouts
        await auth.setup(self._client)
        self.auth = auth

    # Requests

    async def get(self, path: str, data: dict[str, Any] | None = None) -> Document:
        """Request an endpoint, and read its answer. Raises what aiohttp and the library raise."""
        return await self._request(path, data)

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[aiohttp.StreamReader]:
        """Request an endpoint whose answer does not end, and provide it. Raises as `get` does, OSError for a status."""
        if self.auth is None:
            raise EnvoyAuthenticationRequired("not logged in")
        with closed_translated(self._client):
            async with self._client.get(
                self.auth.get_endpoint_url(path),
                # What is decompressed has no limit, unlike what is received.
                headers={**DEFAULT_HEADERS, **self.auth.headers, ACCEPT_ENCODING: "identity"},
                timeout=aiohttp.ClientTimeout(total=None, connect=self._timeouts.connect),
                middlewares=(self.auth.auth,) if self.auth.auth else None,
                allow_redirects=False,
            ) as response:
                if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    raise EnvoyAuthenticationRequired(f"{path}: HTTP {response.status}")
                if response.status != HTTPStatus.OK:
                    raise OSError(f"HTTP {response.status}")
                if response.headers.get(CONTENT_ENCODING, "identity") != "identity":
                    raise OSError("the answer is compressed")
                yield response.content

    async def check_reachable(self) -> None:
        """Request `/info`, which needs no authentication. Raises aiohttp.ClientError, OSError or TimeoutError."""
        url = f"{'https' if self.uses_tokens else 'http'}://{self.host}{URL_INFO}"
        async with asyncio.timeout(self._timeouts.poll):
            with closed_translated(self._client):
                async with self._client.get(url, allow_redirects=False):
                    pass

    # Probing

    async def discover(self, fetch: Fetch) -> Discovery:
        """Have the library, and the updaters of this integration, find out what the gateway offers.

        Nothing changes here until the result is adopted. Raises EnvoyProbeFailed, EnvoyAuthenticationRequired, or what
        `fetch` raises when the gateway was closed.
        """
        candidate = LibraryEnvoy(self.host, self._client, self._timeouts)
        candidate._firmware = self._firmware
        candidate._access = access = _DocumentAccess()
        access.fetch = fetch
        return await candidate._discover(self._access)

    async def _discover(self, access: _DocumentAccess) -> Discovery:
        """Probe with the documents that are fetched, then have the updaters parse those of `access`.

        As the library does, but an updater whose probe fails costs no other, and a gateway may have no production.
        """
        properties, features = self._common_properties, SupportedFeatures(0)
        properties.reset_probe_properties(is_metered=self.is_metered, v2_acb_mode=self._v2_acb_mode)
        updaters: list[EnvoyUpdater] = []
        for kind in (*get_updaters(), *UPDATERS):
            updater = REPLACED.get(kind, kind)(self.firmware, self._unused, self._unused, properties)
            # Documented by the library for updaters.
            updater._json_request = self._read  # type: ignore[method-assign,assignment]  # noqa: SLF001
            updater._json_probe_request = self._probe  # type: ignore[method-assign,assignment]  # noqa: SLF001
            try:
                with library_warnings_suppressed():
                    found = await updater.probe(features)
            except EnvoyAuthenticationRequired:
                raise
            except PARSE_ERRORS as err:
                _LOGGER.debug("%s: %s: %r", self.host, kind.__name__, err)
                continue
            if found or (found is not None and kind in UPDATERS):
                features |= found
                if isinstance(updater, EnvoyProductionUpdater):
                    updater = ProductionReader(updater, access.counting, lists_meters=self._lists_meters)
                updaters.append(updater)
        if not features:
            raise EnvoyProbeFailed("the gateway has no data")
        self._access = access
        return Discovery(updaters, features, properties, is_complete=self._has_valid_meters)

    async def _unused(self, endpoint: str) -> NoReturn:
        """Fail: updaters make no requests, they get what documents contain."""
        raise aiohttp.ClientError(f"request of {endpoint}")

    async def _probe(self, endpoint: str) -> object:
        """Return what a document contains, for an updater that probes."""
        if self._access.fetch is None:
            raise aiohttp.ClientError("no probe is under way")
        document = await self._access.fetch(endpoint)
        if endpoint == ENDPOINT_URL_METERS:
            self._lists_meters = bool(document.content)
            words = [meter[key] for meter in document.content for key in ("state", "measurementType")]
            self._has_valid_meters = all(isinstance(word, str) for word in words)
            return lenient.with_known_states(document.content)
        return document.content

    async def _read(self, endpoint: str) -> object:
        """Return what a document contains, for an updater that parses; an empty one where there is none."""
        self._access.read.add(endpoint)
        document = self._access.documents.get(endpoint)
        content = document.content if document else lenient.read(endpoint, None)
        return lenient.with_controller(content) if endpoint == URL_ENSEMBLE_INVENTORY else content

    def adopt(self, found: Discovery) -> None:
        """Use what a probe found."""
        self._updaters = list(found.updaters)
        self._supported_features = found.features
        self._common_properties = found.properties
        # The library caches its description of the model for good.
        self.__dict__.pop("envoy_model", None)

    @property
    def counting(self) -> CountingMeters:
        """The sources of which the production meter has counted."""
        return self._access.counting

    @property
    def meter_types(self) -> set[str]:
        """The types of the CT meters that the probe found."""
        return {kind for kind in self._common_properties.meter_types if isinstance(kind, str)}

    # Parsing

    def parse(self, updater: EnvoyUpdater, documents: Documents) -> Parsed:
        """Have an updater parse documents. It gets them at once: parsing makes no requests and never waits."""
        self._access.documents, self._access.read = documents, set()
        data, error = GatewayData(), None
        try:
            with library_warnings_suppressed():
                _run(updater.update(data))
            _check_count(data)
            with suppress(TypeError):
                # Production with an invalid value is not zero.
                self._validate_update(data)
        except PARSE_ERRORS as err:
            error = err
        return Parsed(None if error else data, frozenset(self._access.read), error)

    # Writing

    async def send(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> object:
        """Send a body, or without one request what is not polled, and return the answer.

        Raises GatewayBusyError, or what the library raises.
        """
        answer: object = await self._json_request(path, body, method)
        return answer

    # Overrides

    @override
    async def _request(  # type: ignore[override]
        self, endpoint: str, data: dict[str, Any] | None = None, method: str | None = None
    ) -> Document:
        """Make a request, and read its answer within the limits. The answer, which may quote the token, is not logged.

        Raises EnvoyAuthenticationRequired, EnvoyClientClosedError, TimeoutError or aiohttp.ClientError.
        """
        if self.auth is None:
            raise EnvoyAuthenticationRequired("not logged in")
        url = self.auth.get_endpoint_url(endpoint)
        method = method or ("POST" if data else "GET")
        login = (self.auth.auth,) if self.auth.auth else ()
        with closed_translated(self._client):
            async with self._client.request(
                method,
                url,
                headers={**DEFAULT_HEADERS, **self.auth.headers},
                timeout=self._timeouts.http,
                data=json_dumps(data) if data else None,
                middlewares=login if method == "GET" else (*login, _send_once),
                allow_redirects=False,
            ) as response:
                if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    raise EnvoyAuthenticationRequired(f"{endpoint}: HTTP {response.status}")
                body = await read_body(response, limits.DOCUMENT)
        _LOGGER.debug("%s: %s: HTTP %s, %s bytes", self.host, endpoint, response.status, len(body))
        return Document(endpoint, body, response.status)

    @override
    async def _json_request(self, end_point: str, data: dict[str, Any] | None, method: str | None = None) -> Any:
        """Write, or request what is not polled. Raises GatewayBusyError, or what the library raises."""
        async with self.slot(end_point):
            try:
                return await super()._json_request(end_point, data, method)
            except EnvoyCommunicationError as err:
                # Its text, and that of its cause, may quote what was received.
                raise EnvoyCommunicationError(f"{end_point}: {description(err.__cause__ or err)}") from None


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request, as a middleware of aiohttp, which sends a PUT or DELETE again after the errors handled here.

    The gateway may have carried out what was sent before the connection broke.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as err:
        raise aiohttp.ClientConnectionError(description(err)) from err


#: Fields of objects and dictionaries; `raw` contains documents.
_FIELDS: Final = tuple(field.name for field in fields(GatewayData) if field.name != "raw")


def _check_count(data: GatewayData) -> None:
    """Raise ValueError for more devices of a kind than any gateway has."""
    for name in _FIELDS:
        limit = limits.DEVICES.get(name, limits.OTHER_DEVICES)
        if isinstance(members := getattr(data, name), dict) and len(members) > limit:
            raise ValueError(f"more than {limit} {name}")


def _run(coroutine: Coroutine[object, None, None]) -> None:
    """Run a coroutine that never waits to its end. Raises what it raises, and RuntimeError if it waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("parsing made a request")
