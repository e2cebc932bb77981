"""What `/info` contains, which needs no authentication: serial number, firmware, part number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from awesomeversion import AwesomeVersion, AwesomeVersionStrategy


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """Identification of a gateway."""

    serial: str
    #: Such as `8.2.4345`.
    firmware: str
    part_number: str | None
    #: Whether it is a model with meters.
    metered: bool
    #: Whether it was requested over HTTPS.
    secure: bool

    @classmethod
    def load(cls, stored: Mapping[str, object]) -> Self:
        """Return what was stored. Raises LookupError, TypeError or ValueError."""
        serial, firmware, part_number = stored["serial"], stored["firmware"], stored["part_number"]
        if not (isinstance(serial, str) and isinstance(firmware, str) and isinstance(part_number, str | None)):
            raise TypeError
        if AwesomeVersion(firmware).strategy is AwesomeVersionStrategy.UNKNOWN:
            raise ValueError(firmware)
        return cls(serial, firmware, part_number, stored["metered"] is True, stored["secure"] is True)
