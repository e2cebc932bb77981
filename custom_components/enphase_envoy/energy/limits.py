"""What a system can carry: the power that no true reading of a counter implies more than. Pure functions of leaves.

Generous on purpose: a counter that lies does so by megawatt-hours, and a true reading must never be doubted.
"""

from collections.abc import Mapping
from typing import Final

from pyenphase.models.encharge import EnvoyEncharge
from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.meters import CtType

from ..model.snapshot import Address, TimedValue

#: How much more than its rating anything is trusted with.
_MARGIN: Final = 1.5
#: Watts of one inverter: the largest, an IQ8X, gives 384 VA.
_INVERTER: Final = 400.0
#: Watts of a reported maximum that is believed: the report may lie as well.
_LARGEST_INVERTER: Final = 1000.0
#: Watts that any roof is trusted with: a list of inverters may be short.
_ROOF: Final = 10_000.0
#: Watts that one CT of 200 A measures at 240 V.
_CT: Final = 200.0 * 240.0
#: Watts that a battery charges and discharges with, per watt-hour that it holds: IQ batteries do with 0.4 to 0.8.
_BATTERY_RATE: Final = 1.0

_PRODUCTION: Final = frozenset({CtType.PRODUCTION, CtType.PV3P})


def watts(objects: Mapping[Address, TimedValue], address: Address) -> float:
    """Return the watts that the counters at an address count at most, with a margin."""
    field, *rest = address
    if field == "inverters":
        return _MARGIN * _of_inverter(objects[address].value)
    measured = _MARGIN * _CT * _phases(objects, address)
    if field in ("system_production", "system_production_phases") or (rest and rest[0] in _PRODUCTION):
        inverters = [_of_inverter(timed.value) for where, timed in objects.items() if where[0] == "inverters"]
        return _MARGIN * max(sum(inverters), _ROOF) if inverters else measured
    if rest and rest[0] == CtType.STORAGE:
        capacity = sum(
            timed.value.encharge_capacity for timed in objects.values() if isinstance(timed.value, EnvoyEncharge)
        )
        return _MARGIN * _BATTERY_RATE * capacity if capacity else measured
    return measured


def _of_inverter(inverter: object) -> float:
    """Return the rating of an inverter as far as it is known: at least that of the usual ones, or what it reached."""
    reached = inverter.max_report_watts if isinstance(inverter, EnvoyInverter) else 0
    return max(_INVERTER, min(reached or 0, _LARGEST_INVERTER))


def _phases(objects: Mapping[Address, TimedValue], address: Address) -> int:
    """Return over how many phases a counter adds up; 2 where that is not told, as in a split-phase system."""
    if address[0].endswith("_phases"):
        return 1
    above = (f"{address[0]}_phases", *address[1:])
    return sum(where[: len(above)] == above for where in objects) or 2
