"""Documents of firmware that the library does not support: keys that devices no longer have, and words that are new.

Each such key or word is the value of one field, and costs that field alone. Firmware changed both several times a year:
batteries without `led_status`, relays of the type `3RD-PV`, a storage mode `economy`.
"""

from enum import StrEnum
from typing import Any, Final

from pyenphase.models.acb import ACBChargeStatus, ACBSleepState
from pyenphase.models.dry_contacts import DryContactAction, DryContactMode, DryContactStatus, DryContactType
from pyenphase.models.meters import CtMeterStatus, CtState, CtStatusFlags, EnvoyPhaseMode
from pyenphase.models.tariff import EnvoyStorageMode

#: Keys that identify a device in a list, in order of preference.
IDENTIFIERS: Final = ("serial_num", "serialNumber", "sn", "eid", "id")

_WORDS: Final[tuple[type[StrEnum], ...]] = (
    *(ACBChargeStatus, ACBSleepState, CtMeterStatus, CtState, CtStatusFlags),
    *(DryContactAction, DryContactMode, DryContactStatus, DryContactType, EnvoyPhaseMode, EnvoyStorageMode),
)


class _Record(dict[str, object]):
    """A record of a device whose missing keys are null."""

    def __missing__(self, key: str) -> None:
        """Return null."""


def with_optional_keys(document: object) -> object:
    """Return a copy of a document in which the records of devices may lack any key. A document is not that deep."""
    if isinstance(document, list):
        return [with_optional_keys(item) for item in document]
    if not isinstance(document, dict):
        return document
    items = {key: with_optional_keys(value) for key, value in document.items()}
    return _Record(items) if any(isinstance(items.get(key), str | int) for key in IDENTIFIERS) else items


def accept_unknown_words() -> None:
    """Let the library's enumerations have members for words that they do not contain."""
    for words in _WORDS:
        words._missing_ = classmethod(_unknown)  # type: ignore[method-assign, assignment]


def _unknown(words: type[StrEnum], value: object) -> Any:  # noqa: ANN401  (of the enumeration's type)
    """Return a member for an unknown word, None for anything else but a word."""
    if not isinstance(value, str):
        return None
    member: Any = str.__new__(words, value)
    member._name_ = member._value_ = value
    return member
