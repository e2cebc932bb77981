"""Verification of tokens without a request."""

import jwt
import pytest

from custom_components.enphase_envoy.client.auth import Credentials, verify_token
from custom_components.enphase_envoy.client.errors import GatewayError, Reason

SERIAL = "122334455667"
NOW = 1_800_000_000.0


def token(**claims: object) -> str:
    """Return a token with the claims that the cloud sets, some of them changed."""
    given = {"aud": SERIAL, "exp": NOW + 3600, "enphaseUser": "owner"} | claims
    return jwt.encode({key: value for key, value in given.items() if value is not None}, "k" * 32, "HS256")


@pytest.mark.parametrize("claims", [{}, {"aud": [SERIAL]}, {"aud": None}], ids=["plain", "list", "no audience"])
def test_verify_token_accepts_a_valid_token(claims: dict[str, object]) -> None:
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
def test_verify_token_reports_a_reason_for_each_defect(text: str, reason: Reason) -> None:
    """Each defect has a reason of its own, because each needs another action of the user."""
    with pytest.raises(GatewayError) as raised:
        verify_token(text, SERIAL, NOW)
    assert raised.value.reason is reason


def test_repr_of_credentials_contains_no_secret() -> None:
    """An object that holds credentials may be logged."""
    shown = repr(Credentials("owner@example.com", "sunshine", "abc"))
    assert not any(secret in shown for secret in ("owner@example.com", "sunshine", "abc"))
