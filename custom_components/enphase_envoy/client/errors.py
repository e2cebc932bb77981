"""Why a gateway can't be used, distinguished as a user would."""

from enum import StrEnum
from typing import Final

from pyenphase.exceptions import EnvoyAuthenticationRequired


class Reason(StrEnum):
    """The obstacle; each is a key of the translations, in the form (`error`) and at set-up (`exceptions`)."""

    #: Nothing responds at this address.
    CANNOT_CONNECT = "cannot_connect"
    #: The device that responds is not an Envoy.
    NOT_A_GATEWAY = "not_a_gateway"
    #: A gateway responds, but not the one that was configured.
    OTHER_GATEWAY = "other_gateway"
    #: Another entry has this gateway.
    ALREADY_SET_UP = "already_set_up"
    #: The certificate is not the pinned one, or there is none.
    CERTIFICATE_CHANGED = "certificate_changed"
    #: Firmware before 3.9 has no usable interface.
    FIRMWARE_TOO_OLD = "firmware_too_old"
    #: A device that reports firmware before 7 answers for a gateway that uses tokens: it would be sent a password.
    FIRMWARE_BEFORE_TOKENS = "firmware_before_tokens"
    #: Firmware before 7 has users of its own; an Enlighten account is only for the cloud.
    CLOUD_ACCOUNT = "cloud_account"
    #: Enlighten refuses this user with this password.
    INVALID_AUTH = "invalid_auth"
    #: A gateway with firmware before 7 refuses this user with this password.
    PASSWORD_REJECTED = "password_rejected"  # noqa: S105
    #: Enlighten requires a second factor, which only a person can enter.
    MULTI_FACTOR = "multi_factor"
    #: The account is valid, but this gateway is not among its systems.
    NOT_YOUR_GATEWAY = "not_your_gateway"
    #: Enlighten or its token service does not answer as it should.
    CLOUD_UNREACHABLE = "cloud_unreachable"
    TOKEN_MALFORMED = "token_malformed"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_OTHER_GATEWAY = "token_other_gateway"  # noqa: S105
    TOKEN_REJECTED = "token_rejected"  # noqa: S105
    #: Neither an account nor a token was entered.
    CREDENTIALS_MISSING = "credentials_missing"
    #: All endpoints failed, or their documents could not be parsed.
    NO_DATA = "no_data"


#: Obstacles that may pass by themselves, or have a message of their own: the others need new credentials.
TEMPORARY: Final = frozenset(
    {
        Reason.CANNOT_CONNECT,
        Reason.NOT_A_GATEWAY,
        Reason.OTHER_GATEWAY,
        Reason.ALREADY_SET_UP,
        Reason.CERTIFICATE_CHANGED,
        Reason.FIRMWARE_BEFORE_TOKENS,
        Reason.CLOUD_UNREACHABLE,
        Reason.NO_DATA,
    }
)


class GatewayError(Exception):
    """A gateway can't be used at present."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        """Keep the reason, and a detail for the log, which contains no secret."""
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail

    @property
    def is_temporary(self) -> bool:
        """True when it may pass by itself, False when the user has to act."""
        return self.reason in TEMPORARY


class GatewayBusyError(Exception):
    """The gateway is still busy with other requests: nothing was written, and the caller may try again."""


class RelayTypeError(Exception):
    """The relay is of a type for which the gateway ignores the setting: nothing was written."""


class LiveError(ValueError):
    """A source of live power has no usable values; the text is the reason."""


#: Errors whose text is of this integration, or of the system. Others may quote the answer, which may quote the token.
_DESCRIBED: Final = (OSError, LiveError, EnvoyAuthenticationRequired)


def description(err: BaseException) -> str:
    """Return what happened as a text for logs and dialogs, without anything that was received."""
    return (isinstance(err, _DESCRIBED) and str(err)) or type(err).__name__
