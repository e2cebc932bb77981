"""All AC batteries of a gateway together, which it does not report but controls together."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from pyenphase.models.acb import ACBSleepState

from .snapshot import Address

#: Where the state of charge is found that was chosen for the next sleep.
SLEEP_BAND: Final[Address] = ("acb_sleep_band",)
#: Where all batteries together are found.
FLEET: Final[Address] = ("acb_fleet",)


class SleepBand(NamedTuple):
    """Lowest and highest state of charge to sleep at, in percent."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class AcbFleet:
    """All AC batteries of a gateway, which are sent to sleep and woken together."""

    serials: tuple[str, ...]
    #: Sleep state of all of them, None where they differ.
    sleep_state: ACBSleepState | None
    #: The band that was chosen for the next sleep, or the one that all of them have; None where they differ.
    sleep_band: SleepBand | None
