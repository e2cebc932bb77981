"""Tokens, looked at without asking anybody."""

import jwt
import pytest

from custom_components.enphase_envoy.client.auth import Credentials, verify_token
from custom_components.enphase_envoy.client.errors import GatewayError, Reason

SERIAL = "122334455667"
NOW = 1_800_000_000.0


def token(**claims: object) -> str:
    """Return a token as the cloud makes them, with some claims changed."""
    given = {"aud": SERIAL, "exp": NOW + 3600, "enphaseUser": "owner"} | claims
    return jwt.encode({key: value for key, value in given.items() if value is not None}, "k" * 32, "HS256")


@pytest.mark.parametrize("claims", [{}, {"aud": [SERIAL]}, {"aud": None}], ids=["plain", "list", "no audience"])
def test_a_good_token_passes(claims: dict[str, object]) -> None:
    """The audience may be a list, or missing."""
    verify_token(token(**claims), SERIAL, NOW)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.TOKEN_MALFORMED),
        ("not a token", Reason.TOKEN_MALFORMED),
        (token()[:-60], Reason.TOKEN_MALFORMED),
        (token(exp=None), Reason.TOKEN_MALFORMED),
        (token(exp=NOW), Reason.TOKEN_EXPIRED),
        (token(exp=NOW - 1), Reason.TOKEN_EXPIRED),
        (token(aud="999999999999"), Reason.TOKEN_OTHER_GATEWAY),
    ],
    ids=["empty", "text", "cut off", "without end", "ends now", "ended", "other gateway"],
)
def test_what_is_wrong_with_a_token_is_told_apart(text: str, reason: Reason) -> None:
    """Each has its own reason, so that the owner knows what to do."""
    with pytest.raises(GatewayError) as raised:
        verify_token(text, SERIAL, NOW)
    assert raised.value.reason is reason


def test_credentials_are_never_printed() -> None:
    """They may end up in a log by way of an object that holds them."""
    shown = repr(Credentials("owner@example.com", "sunshine", "abc"))
    assert not any(secret in shown for secret in ("owner@example.com", "sunshine", "abc"))
