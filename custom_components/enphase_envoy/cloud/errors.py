"""Why the cloud did not do what was requested, distinguished as a user would."""

from enum import StrEnum
from typing import Final


class CloudReason(StrEnum):
    """The obstacle; each is a key of the translations, in dialogs (`error`) and of controls (`exceptions`)."""

    #: No answer, an answer of another kind than expected, or an error of the service.
    UNREACHABLE = "cloud_unavailable"
    #: The service refused a request as too many or forbidden: nothing is requested for some minutes.
    PAUSED = "cloud_paused"
    #: The account's user name or password is wrong, or the account is blocked.
    INVALID_AUTH = "cloud_invalid_auth"
    #: A code was sent to the user, and has to be entered.
    CODE_REQUIRED = "cloud_code_required"
    CODE_INVALID = "cloud_code_invalid"
    #: The account has no site.
    NO_SITE = "cloud_no_site"
    #: The service understood the change and refused it.
    REFUSED = "cloud_refused"
    #: A schedule that is to be stored overlaps another one.
    OVERLAP = "cloud_overlap"
    #: The site does not offer this setting, or does not let the user change it.
    NOT_OFFERED = "cloud_not_offered"
    #: There is no schedule with this id.
    UNKNOWN_SCHEDULE = "cloud_unknown_schedule"


#: Obstacles that only the user can remove.
_PERMANENT: Final = frozenset({CloudReason.INVALID_AUTH, CloudReason.CODE_REQUIRED, CloudReason.NO_SITE})


class CloudError(Exception):
    """The cloud did not do what was requested."""

    def __init__(self, reason: CloudReason, detail: str = "") -> None:
        """Keep the reason, and a detail for the log, which contains no secret."""
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail

    @property
    def is_permanent(self) -> bool:
        """True when the user has to act before any other request can succeed."""
        return self.reason in _PERMANENT
