"""How much energy a counter can count: the first assumption about each, before its own readings refute it.

Generous on purpose: a wrong reading is off by megawatt-hours, and a correct one must not be rejected.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.meters import CtType

from ..model.snapshot import Address, TimedValue

#: Factor by which anything may exceed its rating.
_MARGIN: Final = 1.5
#: Watts of one inverter: the largest, an IQ8X, delivers 384 VA.
_INVERTER: Final = 400.0
#: Watts of the largest plausible maximum of an inverter: the reported maximum may be wrong as well.
_LARGEST_INVERTER: Final = 1000.0
#: Watts that every system without CTs can produce: the list of inverters may be incomplete.
_INVERTERS: Final = 10_000.0
#: Watts that a CT of 200 A measures at 240 V, per phase.
_CT: Final = 200.0 * 240.0
#: Seconds by which inverters may report late, as long as their powerline communication fails, and a CT meter.
_INVERTERS_LATE: Final = 30 * 86400.0
_METER_LATE: Final = 7200.0

_PRODUCTION: Final = ("ctmeters", CtType.PRODUCTION)
_TOTAL_CONSUMPTION: Final = ("ctmeters", CtType.TOTAL_CONSUMPTION)


class Direction(Enum):
    """In which directions a counter may move."""

    #: Energy is added up.
    UP = auto()
    #: Production + import - export, as gateways compute consumption, falls while batteries feed the grid.
    UP_COMPUTED = auto()
    #: Import - export.
    BOTH = auto()


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a counter can count."""

    watts: float
    #: Seconds by which it may be late with what it counted.
    late: float
    direction: Direction
    #: True where it counts what inverters report: it may begin anew at 2^32 joules, and stand still between reports.
    by_inverters: bool


def capacity_of(objects: Mapping[Address, TimedValue], address: Address) -> Capacity:
    """Return what the counters at an address can count, as far as it follows from the hardware."""
    by_inverters = _is_by_inverters(objects, address)
    late = _INVERTERS_LATE if by_inverters else _METER_LATE
    return Capacity(watts(objects, address), late, _direction(objects, address), by_inverters)


def watts(objects: Mapping[Address, TimedValue], address: Address) -> float:
    """Return the power in W that the counters at an address count at most, with a margin.

    The range of a CT is its own: it measures whatever is wired through it, not only the system's inverters.
    """
    if address[0] == "inverters":
        return _MARGIN * _rating(objects[address].value)
    if _is_by_inverters(objects, address):
        ratings = [_rating(timed.value) for other, timed in objects.items() if other[0] == "inverters"]
        if ratings:
            return _MARGIN * max(sum(ratings), _INVERTERS)
    return _MARGIN * _CT * _phases(objects, address)


def _is_by_inverters(objects: Mapping[Address, TimedValue], address: Address) -> bool:
    return address[0] == "inverters" or (address[0] == "system_production" and _PRODUCTION not in objects)


def _direction(objects: Mapping[Address, TimedValue], address: Address) -> Direction:
    if address[0].startswith("system_net_consumption"):
        return Direction.BOTH
    if address[0].startswith("system_consumption") and _TOTAL_CONSUMPTION not in objects:
        return Direction.UP_COMPUTED
    return Direction.UP


def _rating(inverter: object) -> float:
    """Return the rating of an inverter in W: at least that of the usual ones, or the maximum that it reached."""
    reached = inverter.max_report_watts if isinstance(inverter, EnvoyInverter) else 0
    return max(_INVERTER, min(reached or 0, _LARGEST_INVERTER))


def _phases(objects: Mapping[Address, TimedValue], address: Address) -> int:
    """Return the number of phases that a counter adds up; 2 where it is not known, as in a split-phase system."""
    if address[0].endswith("_phases"):
        return 1
    above = (f"{address[0]}_phases", *address[1:])
    return sum(other[: len(above)] == above for other in objects) or 2
