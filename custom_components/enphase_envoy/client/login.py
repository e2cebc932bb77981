"""pyenphase's identification of a gateway and its authentication by token, adapted: one attempt at each step.

As in `envoy.py`, the private names of the library that are used here are pinned by a contract test.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, override

import aiohttp
from awesomeversion import AwesomeVersion
from awesomeversion.exceptions import AwesomeVersionException
from pyenphase.auth import EnvoyTokenAuth
from pyenphase.const import LEGACY_ENVOY_VERSION, LOCAL_TIMEOUT, URL_AUTH_CHECK_JWT
from pyenphase.exceptions import (
    EnvoyAuthenticationError,
    EnvoyClientClosedError,
    EnvoyFirmwareCheckError,
    EnvoyFirmwareFatalCheckError,
)
from pyenphase.firmware import EnvoyFirmware

from ..model.text import LONGEST_NAME, clean
from ..model.validation import is_serial_number
from . import limits
from .auth import verify_token
from .errors import GatewayBusyError, GatewayError, Reason
from .firmware import GatewayInfo, is_firmware
from .limits import read_body
from .paths import URL_INFO
from .timeouts import Timeouts

#: Occupies a slot of the scheduler while an endpoint is requested; raises GatewayBusyError.
type Slot = Callable[[str], AbstractAsyncContextManager[object]]


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
        with closed_translated(self._client):
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
        try:
            async with self.slot(URL_AUTH_CHECK_JWT):
                # A redirect proves nothing about the token.
                with closed_translated(client):
                    async with client.get(
                        self.get_endpoint_url(URL_AUTH_CHECK_JWT),
                        headers=self.headers,
                        timeout=limit,
                        allow_redirects=False,
                    ) as response:
                        if response.status == HTTPStatus.OK:
                            self._cookies = {name: morsel.value for name, morsel in response.cookies.items()}
                            return
        except (GatewayBusyError, aiohttp.ClientError, EnvoyClientClosedError, TimeoutError) as err:
            raise GatewayError(Reason.CANNOT_CONNECT, type(err).__name__) from err
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise GatewayError(Reason.TOKEN_REJECTED, f"HTTP {response.status}")
        raise GatewayError(Reason.CANNOT_CONNECT, f"{URL_AUTH_CHECK_JWT}: HTTP {response.status}")


@contextmanager
def closed_translated(client: aiohttp.ClientSession) -> Iterator[None]:
    """Raise EnvoyClientClosedError when the session is closed.

    aiohttp raises RuntimeError, and one of the others when the session is closed between two steps of a request.
    """
    try:
        yield
    except (RuntimeError, AttributeError, AssertionError) as err:
        if client.closed:
            raise EnvoyClientClosedError("session closed") from err
        raise
