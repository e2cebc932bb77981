"""What `/info` contains, which needs no authentication: serial number, firmware, part number."""

from collections.abc import Mapping
from dataclasses import dataclass
import re
from typing import Final, Self

from awesomeversion import AwesomeVersion, AwesomeVersionStrategy

from ..model.validation import is_serial_number

#: Numbers, with a short addition at most. The library compares versions, and takes `latest` for the highest.
_FIRMWARE: Final = re.compile(r"\d{1,4}(\.\d{1,9}){0,4}[\w.+-]{0,16}", re.ASCII)


def is_firmware(text: str) -> bool:
    """Return whether this is a firmware version, which the library can compare with others."""
    is_version = _FIRMWARE.fullmatch(text) is not None
    return is_version and AwesomeVersion(text).strategy is not AwesomeVersionStrategy.UNKNOWN


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
        if not (is_firmware(firmware) and is_serial_number(serial)):
            raise ValueError(firmware)
        return cls(serial, firmware, part_number, stored["metered"] is True, stored["secure"] is True)
