"""Objects of live power that no document of a poll contains."""

from dataclasses import dataclass
from typing import Final

from .snapshot import Address

#: Where the power of all batteries together is found, that of the generator, and the number of inverters.
LIVE_BATTERY: Final[Address] = ("live_battery",)
LIVE_GENERATOR: Final[Address] = ("live_generator",)
LIVE_INVERTERS: Final[Address] = ("live_inverters",)


@dataclass(frozen=True, slots=True)
class LiveBattery:
    """Power of all batteries together."""

    #: Watts, + is discharge.
    power: int


@dataclass(frozen=True, slots=True)
class LiveGenerator:
    """Power of the generator."""

    #: Watts.
    power: int


@dataclass(frozen=True, slots=True)
class LiveInverters:
    """Number of inverters, and of those that produce."""

    running: int
    total: int
