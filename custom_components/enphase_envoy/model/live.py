"""Objects of live power that no document of a poll contains."""

from dataclasses import dataclass
from typing import Final

from .snapshot import Address

#: Where the power of all batteries together is found.
LIVE_BATTERY: Final[Address] = ("live_battery",)


@dataclass(frozen=True, slots=True)
class LiveBattery:
    """Power of all batteries together."""

    #: Watts, + is discharge.
    power: int
