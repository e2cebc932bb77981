"""Credentials and tokens.

Firmware 7 and later requires a JSON web token: `exp` is its end (epoch seconds), `aud` the serial number of the gateway
it is for. Enlighten issues them for a user name and a password, or the user pastes one.
"""

from dataclasses import dataclass, field
import math
import time
from typing import Final

import jwt

from .errors import GatewayError, Reason

#: Seconds that a token of an installer is valid (a homeowner's: a year). Used where a token has no issue time.
INSTALLER_TOKEN_LIFETIME: Final = 12 * 3600.0
#: Seconds before the end of a token at which a new one is fetched.
RENEW_AHEAD: Final = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account, a token, or both (a token fetched with the account). None of them appears in `repr`."""

    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def has_account(self) -> bool:
        """True when tokens can be fetched with these."""
        return bool(self.username and self.password)


@dataclass(frozen=True, slots=True)
class TokenValidity:
    """From when until when a token is valid, in epoch seconds."""

    begins: float
    ends: float

    @property
    def renew_from(self) -> float:
        """When to fetch the next one: 30 days before the end, or in the last quarter of a short validity."""
        return self.ends - min(RENEW_AHEAD, (self.ends - self.begins) / 4)


def token_validity(token: str, serial: str) -> TokenValidity:
    """Return how long a token is valid. Raises GatewayError when it is malformed or for another gateway.

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
    """Raise GatewayError for a token that the gateway can't accept, without a request."""
    if token_validity(token, serial).ends <= (time.time() if now is None else now):
        raise GatewayError(Reason.TOKEN_EXPIRED)
