"""Why a gateway can't be talked to, told apart as a person would."""

from enum import StrEnum


class Reason(StrEnum):
    """What stands in the way; each is a key of the translations, in the form (`error`) and at set-up (`exceptions`)."""

    #: Nothing answers at this address.
    CANNOT_CONNECT = "cannot_connect"
    #: Something answers, but it is no Envoy.
    NOT_A_GATEWAY = "not_a_gateway"
    #: A gateway answers, but another one than before.
    OTHER_GATEWAY = "other_gateway"
    #: The gateway shows another certificate than the one that was remembered, or none.
    CERTIFICATE_CHANGED = "certificate_changed"
    #: Firmware before 3.9 has no interface to ask.
    FIRMWARE_TOO_OLD = "firmware_too_old"
    #: Enlighten, or the gateway's own user list, does not know this user with this password.
    INVALID_AUTH = "invalid_auth"
    #: Enlighten wants a second factor, which only a person can give.
    MULTI_FACTOR = "multi_factor"
    #: The account is fine, but this gateway is not among its systems.
    NOT_YOUR_GATEWAY = "not_your_gateway"
    #: Enlighten or its token service does not answer as it should.
    CLOUD_UNREACHABLE = "cloud_unreachable"
    TOKEN_MALFORMED = "token_malformed"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_OTHER_GATEWAY = "token_other_gateway"  # noqa: S105
    TOKEN_REJECTED = "token_rejected"  # noqa: S105
    #: Neither an account nor a token was given.
    CREDENTIALS_MISSING = "credentials_missing"
    #: All endpoints failed, or what they said made no sense.
    NO_DATA = "no_data"


#: What may pass by itself, or has a message of its own: everything else needs new credentials.
TEMPORARY = frozenset(
    {
        Reason.CANNOT_CONNECT,
        Reason.NOT_A_GATEWAY,
        Reason.OTHER_GATEWAY,
        Reason.CERTIFICATE_CHANGED,
        Reason.CLOUD_UNREACHABLE,
        Reason.NO_DATA,
    }
)


class GatewayError(Exception):
    """A gateway can't be used just now, and why."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        """Keep the reason, and a detail for the log that holds no secret."""
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail

    @property
    def passes(self) -> bool:
        """True when waiting helps, False when only the owner can."""
        return self.reason in TEMPORARY


class GatewayBusyError(Exception):
    """The gateway is still at something else: the change was not made, and may be tried again."""
