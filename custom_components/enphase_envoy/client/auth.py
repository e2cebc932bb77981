"""Tokens: check one, get one, and say what is wrong with it.

Firmware 7 and later wants a JSON web token: `exp` is its end (epoch seconds), `aud` the serial number of the gateway it
is for. Enlighten hands them out for a user name and a password, or the owner pastes one.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
import math
import time
from typing import Any, override

import aiohttp
import jwt
from pyenphase.auth import EnvoyTokenAuth
from pyenphase.const import URL_AUTH_CHECK_JWT
from pyenphase.exceptions import EnvoyAuthenticationError

from .errors import GatewayBusyError, GatewayError, Reason

#: Seconds that an installer's token lasts, an owner's lasts a year; a token that does not say counts as short-lived.
INSTALLER_TOKEN_LIFETIME = 12 * 3600.0
#: Seconds before the end of a token that a new one is asked for.
RENEW_AHEAD = 30 * 86400.0
#: Seconds to log in to the cloud and fetch a token.
CLOUD_TIMEOUT = 10
#: For the check of a token by the gateway, once it has answered before.
_CHECK_TIMEOUT = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the owner gave: an account, a token, or both (a token fetched with the account). None is ever printed."""

    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def account(self) -> bool:
        """True when tokens can be fetched with these."""
        return bool(self.username and self.password)


@dataclass(frozen=True, slots=True)
class TokenValidity:
    """How long a token is good for, in epoch seconds."""

    begins: float
    ends: float

    @property
    def renew_from(self) -> float:
        """When to begin to ask for the next one: 30 days before the end, or the last quarter of a short life."""
        return self.ends - min(RENEW_AHEAD, (self.ends - self.begins) / 4)


def token_validity(token: str, serial: str) -> TokenValidity:
    """Return how long a token is good for. Raises GatewayError when it is none, or for another gateway.

    The signature is not checked: only Enphase could.
    """
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        ends = float(claims["exp"])
        begins = float(claims.get("iat", ends - INSTALLER_TOKEN_LIFETIME))
        if not (math.isfinite(ends) and math.isfinite(begins)):
            raise GatewayError(Reason.TOKEN_MALFORMED, "no end")
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as err:
        raise GatewayError(Reason.TOKEN_MALFORMED, type(err).__name__) from err
    audience = claims.get("aud", serial)
    if serial not in (audience if isinstance(audience, list) else [audience]):
        raise GatewayError(Reason.TOKEN_OTHER_GATEWAY)
    return TokenValidity(begins, ends)


def verify_token(token: str, serial: str, now: float | None = None) -> None:
    """Raise GatewayError for a token that the gateway can't accept, without asking it."""
    if token_validity(token, serial).ends <= (time.time() if now is None else now):
        raise GatewayError(Reason.TOKEN_EXPIRED)


class TokenAuth(EnvoyTokenAuth):
    """pyenphase's token authentication, with one attempt at everything and errors that can be told apart.

    The library's own repeats without end while the cloud or the gateway is gone, and has one exception for a wrong
    password, a second factor and a refused token.
    """

    #: Held while the gateway is asked at a path; raises BusyError.
    place: Callable[[str], AbstractAsyncContextManager[object]] = nullcontext

    @override
    async def setup(self, client: aiohttp.ClientSession) -> None:
        """Fetch a token when there is none, then show it to the gateway. Raises GatewayError."""
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
            async with asyncio.timeout(CLOUD_TIMEOUT):
                token = await self._obtain_token()
            verify_token(token, self.envoy_serial or "")
        except EnvoyAuthenticationError as err:
            # The replies were looked at as they came in: what is left is a login without a session.
            # Nothing is chained: the library's messages hold what the cloud said, sessions and all.
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
    async def _post_json_with_cloud_client(  # type: ignore[override]  # the library's is wrapped by its retrying
        self,
        cloud_client: aiohttp.ClientSession,
        url: str,
        data: dict[str, Any] | None = None,
        json: dict[str, Any] | None = None,
    ) -> aiohttp.ClientResponse:
        response = await cloud_client.post(url, json=json, data=data)
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise GatewayError(Reason.CLOUD_UNREACHABLE, f"HTTP {response.status}")
        if response.status != HTTPStatus.OK:
            login = url == self.JSON_LOGIN_URL
            raise GatewayError(Reason.INVALID_AUTH if login else Reason.NOT_YOUR_GATEWAY, f"HTTP {response.status}")
        return response

    @override
    async def _check_jwt(self, client: aiohttp.ClientSession) -> None:  # type: ignore[override]
        try:
            async with (
                self.place(URL_AUTH_CHECK_JWT),
                client.get(
                    self.get_endpoint_url(URL_AUTH_CHECK_JWT), headers=self.headers, timeout=_CHECK_TIMEOUT
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
