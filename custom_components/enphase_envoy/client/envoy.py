"""pyenphase's classes, adapted: all that this integration uses of the library beyond its public interface.

The names with a leading underscore that are read, called or overridden here belong to the library. Each is pinned by a
contract test (`tests/client/test_library.py`), so that a new version of it is a decision and not a surprise.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
import logging
from typing import Any, Final, override

import aiohttp
from awesomeversion import AwesomeVersion
from awesomeversion.exceptions import AwesomeVersionException
from orjson import dumps as json_dumps
from pyenphase import Envoy
from pyenphase.auth import EnvoyTokenAuth
from pyenphase.const import (
    AUTH_TOKEN_MIN_VERSION,
    ENDPOINT_URL_METERS,
    LEGACY_ENVOY_VERSION,
    LOCAL_TIMEOUT,
    URL_AUTH_CHECK_JWT,
    URL_ENSEMBLE_INVENTORY,
    SupportedFeatures,
)
from pyenphase.envoy import DEFAULT_HEADERS
from pyenphase.exceptions import (
    EnvoyAuthenticationError,
    EnvoyAuthenticationRequired,
    EnvoyClientClosedError,
    EnvoyError,
    EnvoyFirmwareCheckError,
    EnvoyFirmwareFatalCheckError,
)
from pyenphase.firmware import EnvoyFirmware
from pyenphase.json import json_loads
from pyenphase.models.common import CommonProperties
from pyenphase.updaters.base import EnvoyUpdater
from pyenphase.updaters.production import EnvoyProductionUpdater

from ..model.json_data import is_deep
from ..model.text import LONGEST_NAME, clean
from ..model.validation import is_serial_number
from . import limits
from .auth import verify_token
from .endpoints import Document, Documents
from .errors import GatewayBusyError, GatewayError, Reason
from .firmware import GatewayInfo, is_firmware
from .inventory import grouped
from .lenient import accept_unknown_words, with_optional_keys
from .limits import read_body
from .log_filter import library_warnings_suppressed
from .models import GatewayData
from .paths import REPORTS, URL_INFO
from .production import CountingMeters, ProductionReader, arranged
from .timeouts import Timeouts
from .updaters import UPDATERS

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

#: Occupies a slot of the scheduler while an endpoint is requested; raises GatewayBusyError.
type Slot = Callable[[str], AbstractAsyncContextManager[object]]
#: Returns the document of an endpoint for a probe. Raises aiohttp.ClientError or EnvoyAuthenticationRequired.
type Fetch = Callable[[str], Awaitable[Document]]


class Firmware(EnvoyFirmware):
    """pyenphase's request of `/info`, made once: the caller decides about the next attempt."""

    __slots__ = ()

    @override
    async def _get_info(self) -> tuple[int, bytes]:  # type: ignore[override]  # the library's is wrapped by its retries
        """Request `/info` over HTTPS, and over plain HTTP where that is not possible, without redirects."""
        try:
            return await self._request_info("https")
        except aiohttp.ClientConnectorError, TimeoutError:
            return await self._request_info("http")

    async def _request_info(self, scheme: str) -> tuple[int, bytes]:
        self._url = f"{scheme}://{self._host}{URL_INFO}"
        with _closed_translated(self._client):
            async with self._client.get(self._url, timeout=LOCAL_TIMEOUT, allow_redirects=False) as response:
                return response.status, await read_body(response, limits.INFO)

    @property
    def info(self) -> GatewayInfo:
        """What `/info` contained. Raises GatewayError when that is no gateway with readable firmware."""
        version = self.version
        if not (isinstance(version, AwesomeVersion) and is_firmware(str(version)) and is_serial_number(self.serial)):
            raise GatewayError(Reason.NOT_A_GATEWAY, "/info has no serial number or no firmware version")
        if self.version < LEGACY_ENVOY_VERSION:
            raise GatewayError(Reason.FIRMWARE_TOO_OLD, str(self.version))
        secure = self._url.startswith("https://")
        part_number = clean(self.part_number, LONGEST_NAME) if self.part_number else None
        return GatewayInfo(self.serial or "", str(self.version), part_number, self.is_metered, secure)

    async def identify(self, seconds: float) -> GatewayInfo:
        """Request `/info` within some seconds. Raises GatewayError when no gateway with readable firmware answers."""
        try:
            async with asyncio.timeout(seconds):
                await self.setup()
            info = self.info
        except (EnvoyFirmwareFatalCheckError, EnvoyClientClosedError, TimeoutError) as err:
            raise GatewayError(Reason.CANNOT_CONNECT, type(err).__name__) from err
        except EnvoyFirmwareCheckError as err:
            if isinstance(err.__cause__, aiohttp.ServerFingerprintMismatch):
                raise GatewayError(Reason.CERTIFICATE_CHANGED) from err
            busy = err.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
            reason = Reason.CANNOT_CONNECT if busy else Reason.NOT_A_GATEWAY
            # Not chained: the library's message contains the page.
            raise GatewayError(reason, f"/info: HTTP {err.status_code}") from None
        except (SyntaxError, ValueError, TypeError, AwesomeVersionException) as err:
            # lxml raises SyntaxError for anything that is no XML.
            raise GatewayError(Reason.NOT_A_GATEWAY, type(err).__name__) from err
        return info

    def restore(self, info: GatewayInfo) -> None:
        """Set what `/info` contained in an earlier session."""
        self._firmware_version = AwesomeVersion(info.firmware)
        self._serial_number = info.serial
        self._part_number = info.part_number
        self._metered = info.metered
        self._url = f"{'https' if info.secure else 'http'}://{self._host}/info"


@dataclass(frozen=True, slots=True)
class _CloudResponse:
    """An answer of the cloud, completely read. The library takes it in place of aiohttp's response."""

    status: int
    body: bytes

    async def text(self) -> str:
        """Return the body, as a response does."""
        return self.body.decode(errors="replace")


class TokenAuth(EnvoyTokenAuth):
    """pyenphase's token authentication, with one attempt at each step and distinguishable errors.

    The library's own repeats its requests without end while the cloud or the gateway does not answer, and has one
    exception for a wrong password, a second factor and a refused token.
    """

    def __init__(self, host: str, username: str | None, password: str | None, serial: str, token: str | None) -> None:
        """Authenticate at the gateway with this serial number."""
        super().__init__(host, username, password, serial, token)
        self.slot: Slot = nullcontext
        self.timeouts = Timeouts()

    @override
    async def setup(self, client: aiohttp.ClientSession) -> None:
        """Fetch a token if there is none, then have the gateway check it. Raises GatewayError."""
        if not self._token:
            await self.refresh()
        verify_token(self.token, self.envoy_serial or "")
        await self._check_jwt(client)

    @override
    async def refresh(self) -> None:
        """Fetch a new token from the cloud. Raises GatewayError."""
        if not (self.cloud_username and self.cloud_password):
            raise GatewayError(Reason.CREDENTIALS_MISSING)
        try:
            async with asyncio.timeout(self.timeouts.cloud):
                token = await self._obtain_token()
            verify_token(token, self.envoy_serial or "")
        except EnvoyAuthenticationError as err:
            # The HTTP status was checked before: what is left is a login whose answer has no session id.
            # Nothing is chained: the library's messages contain the cloud's answer with its session ids.
            multi_factor = isinstance(err.__cause__, KeyError)
            raise GatewayError(Reason.MULTI_FACTOR if multi_factor else Reason.CLOUD_UNREACHABLE) from None
        except GatewayError as err:
            if err.reason is not Reason.TOKEN_MALFORMED:
                raise
            raise GatewayError(Reason.CLOUD_UNREACHABLE, "the token service sent no token") from None
        except (aiohttp.ClientError, TimeoutError, AttributeError, TypeError, ValueError) as err:
            # AttributeError and TypeError: valid JSON that is not an object.
            raise GatewayError(Reason.CLOUD_UNREACHABLE, type(err).__name__) from None
        self._token = token

    @override
    async def _post_json_with_cloud_client(  # type: ignore[override]  # the library's is wrapped by its retries
        self,
        cloud_client: aiohttp.ClientSession,
        url: str,
        data: dict[str, Any] | None = None,
        json: dict[str, Any] | None = None,
    ) -> _CloudResponse:
        # A redirect would send user and password to any host.
        async with cloud_client.post(url, json=json, data=data, allow_redirects=False) as answer:
            response = _CloudResponse(answer.status, await read_body(answer, limits.CLOUD))
        if HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST:
            raise GatewayError(Reason.CLOUD_UNREACHABLE, f"redirected (HTTP {response.status})")
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise GatewayError(Reason.CLOUD_UNREACHABLE, f"HTTP {response.status}")
        if response.status != HTTPStatus.OK:
            login = url == self.JSON_LOGIN_URL
            raise GatewayError(Reason.INVALID_AUTH if login else Reason.NOT_YOUR_GATEWAY, f"HTTP {response.status}")
        return response

    @override
    async def _check_jwt(self, client: aiohttp.ClientSession) -> None:  # type: ignore[override]
        limit = aiohttp.ClientTimeout(total=self.timeouts.token_check)
        if client.closed:
            raise GatewayError(Reason.CANNOT_CONNECT, "closed")
        try:
            async with (
                self.slot(URL_AUTH_CHECK_JWT),
                # A redirect proves nothing about the token.
                client.get(
                    self.get_endpoint_url(URL_AUTH_CHECK_JWT),
                    headers=self.headers,
                    timeout=limit,
                    allow_redirects=False,
                ) as response,
            ):
                if response.status == HTTPStatus.OK:
                    self._cookies = {name: morsel.value for name, morsel in response.cookies.items()}
                    return
        except (GatewayBusyError, aiohttp.ClientError, TimeoutError) as err:
            raise GatewayError(Reason.CANNOT_CONNECT, type(err).__name__) from err
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise GatewayError(Reason.TOKEN_REJECTED, f"HTTP {response.status}")
        raise GatewayError(Reason.CANNOT_CONNECT, f"{URL_AUTH_CHECK_JWT}: HTTP {response.status}")


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a probe found: the updaters to use, and the features and properties of the gateway."""

    updaters: Sequence[EnvoyUpdater]
    features: SupportedFeatures | None
    properties: CommonProperties

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

    #: None when a document was missing, or was not as the updater expects it.
    data: GatewayData | None
    #: Endpoints that it read, and those of them without a document.
    read: frozenset[str]
    missing: frozenset[str]
    error: Exception | None = None


class _DocumentAccess:
    """What the library's requests are answered with: documents while parsing, fetched ones in a probe."""

    def __init__(self) -> None:
        self.documents: Documents = {}
        self.fetch: Fetch | None = None
        self.read: set[str] = set()
        self.counting = CountingMeters()
        #: Whether the records of devices may lack any key.
        self.is_lenient = False


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
        #: The inventory as received last, and as the library reads it.
        self._inventory: tuple[Document, Document] | None = None
        self.slot: Slot = nullcontext

    # Identification

    def new_firmware(self) -> Firmware:
        """Return a new request of `/info`, which changes nothing here."""
        return Firmware(self._client, self.host)

    def use_firmware(self, firmware: Firmware) -> None:
        """Use the result of such a request."""
        self._firmware = firmware
        self._interface_settings = None

    @property
    def info(self) -> GatewayInfo:
        """What `/info` contained. Raises GatewayError when that is no gateway with readable firmware."""
        return self._firmware.info

    def restore_info(self, info: GatewayInfo) -> None:
        """Set what `/info` contained in an earlier session."""
        self._firmware.restore(info)

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

    async def get(self, path: str) -> Document:
        """Request an endpoint, and read its answer. Raises what aiohttp and the library raise."""
        return await self._request(path)

    async def check_reachable(self) -> None:
        """Request `/info`, which needs no authentication. Raises aiohttp.ClientError, OSError or TimeoutError."""
        url = f"{'https' if self.uses_tokens else 'http'}://{self.host}{URL_INFO}"
        async with asyncio.timeout(self._timeouts.poll):
            with _closed_translated(self._client):
                async with self._client.get(url, allow_redirects=False):
                    pass

    # Probing

    async def discover(self, fetch: Fetch) -> Discovery:
        """Have the library, and the updaters of this integration, find out what the gateway offers.

        Nothing changes here until the result is adopted. Raises EnvoyProbeFailed, EnvoyAuthenticationRequired or one
        of PARSE_ERRORS.
        """
        candidate = LibraryEnvoy(self.host, self._client, self._timeouts)
        candidate._firmware = self._firmware
        candidate._access = access = _DocumentAccess()
        access.fetch = fetch
        return await candidate._discover(self._access)

    async def _discover(self, access: _DocumentAccess) -> Discovery:
        """Probe with the documents that are fetched, then have the updaters parse those of `access`."""
        with library_warnings_suppressed():
            await self.probe()
            self._updaters = [
                ProductionReader(updater, access.counting, lists_meters=self._lists_meters)
                if isinstance(updater, EnvoyProductionUpdater)
                else updater
                for updater in self._updaters
            ]
            features = self._supported_features or SupportedFeatures(0)
            for updater in UPDATERS:
                own = updater(self.firmware, self.probe_request, self.request, self._common_properties)  # type: ignore[arg-type]
                if await own.probe(features) is not None:
                    self._updaters.append(own)
            for used in self._updaters:
                # Documented by the library for updaters.
                used._json_request = partial(self._read, used)  # type: ignore[method-assign]  # noqa: SLF001
        self._access = access
        return Discovery(self._updaters, self._supported_features, self._common_properties)

    async def _read(self, updater: EnvoyUpdater, endpoint: str) -> object:
        """Return what a document contains, for an updater."""
        content: object = await type(updater)._json_request(updater, endpoint)  # noqa: SLF001
        return with_optional_keys(content) if self._access.is_lenient and not is_deep(content) else content

    def adopt(self, found: Discovery) -> None:
        """Use what a probe found."""
        self._updaters = list(found.updaters)
        self._supported_features = found.features
        self._common_properties = found.properties
        # The library caches its description of the model for good.
        self.__dict__.pop("envoy_model", None)

    @property
    def meter_types(self) -> set[str]:
        """The types of the CT meters that the probe found."""
        return {kind for kind in self._common_properties.meter_types if isinstance(kind, str)}

    # Parsing

    def parse(self, updater: EnvoyUpdater, documents: Documents, *, is_lenient: bool = False) -> Parsed:
        """Have an updater parse documents. It gets them at once: parsing makes no requests and never waits.

        With `is_lenient` the records of devices may lack any key.
        """
        self._access.documents, self._access.read, self._access.is_lenient = documents, set(), is_lenient
        data, error = GatewayData(), None
        try:
            with library_warnings_suppressed():
                _run(updater.update(data))
            self._validate_update(data)
            _check_count(data)
        except PARSE_ERRORS as err:
            error = err
        read = frozenset(self._access.read)
        return Parsed(None if error else data, read, frozenset(read - documents.keys()), error)

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
        with _closed_translated(self._client):
            async with self._client.request(
                method or ("POST" if data else "GET"),
                url,
                headers={**DEFAULT_HEADERS, **self.auth.headers},
                timeout=self._timeouts.http,
                data=json_dumps(data) if data else None,
                middlewares=(self.auth.auth,) if self.auth.auth else None,
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
            return await super()._json_request(end_point, data, method)

    @override
    async def _make_cached_request(  # type: ignore[override]
        self, request_func: Callable[[str], Awaitable[Document]], endpoint: str
    ) -> Document:
        """Pass through: documents are kept by their endpoints, and for longer than one update."""
        return await request_func(endpoint)

    @override
    async def probe_request(self, endpoint: str) -> Document:  # type: ignore[override]
        """Answer an updater that probes."""
        if self._access.fetch is None:
            raise aiohttp.ClientError("no probe is under way")
        document = await self._access.fetch(endpoint)
        if endpoint == ENDPOINT_URL_METERS:
            self._lists_meters = document.body.strip() not in (b"[]", b"")
        return _arranged(endpoint, document, arranged) if endpoint in REPORTS else self._for_library(endpoint, document)

    @override
    async def request(  # type: ignore[override]
        self, endpoint: str, data: dict[str, Any] | None = None, method: str | None = None
    ) -> Document:
        """Answer an updater that parses, without a request."""
        if data is not None:
            return await self._request(endpoint, data, method)
        self._access.read.add(endpoint)
        if (document := self._access.documents.get(endpoint)) is None:
            raise aiohttp.ClientError(f"no document of {endpoint}")
        return self._for_library(endpoint, document)

    def _for_library(self, endpoint: str, document: Document) -> Document:
        """Return a document as the library reads it; one that several updaters read is arranged once."""
        if endpoint != URL_ENSEMBLE_INVENTORY:
            return document
        if self._inventory is None or self._inventory[0] is not document:
            self._inventory = document, _arranged(endpoint, document, grouped)
        return self._inventory[1]


def _arranged(endpoint: str, document: Document, arrange: Callable[[object], object]) -> Document:
    """Return a document in another arrangement of the same values; one that is no JSON as it is."""
    try:
        content = json_loads(endpoint, document.body)
    except PARSE_ERRORS:
        return document
    result = content if is_deep(content) else arrange(content)
    return document if result is content else replace(document, body=json_dumps(result))


def _check_count(data: GatewayData) -> None:
    """Raise ValueError for more devices of a kind than any gateway has."""
    for name, limit in limits.DEVICES.items():
        if len(getattr(data, name) or ()) > limit:
            raise ValueError(f"more than {limit} {name}")


@contextmanager
def _closed_translated(client: aiohttp.ClientSession) -> Iterator[None]:
    """Raise EnvoyClientClosedError in place of aiohttp's RuntimeError when the session is closed."""
    try:
        yield
    except RuntimeError as err:
        if client.closed:
            raise EnvoyClientClosedError("session closed") from err
        raise


def _run(coroutine: Coroutine[object, None, None]) -> None:
    """Run a coroutine that never waits to its end. Raises what it raises, and RuntimeError if it waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("parsing made a request")
