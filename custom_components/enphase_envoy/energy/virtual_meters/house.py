"""Consumption of the house itself, where the gateway's own figure is another: production, grid and batteries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, override

from ...model.json_data import Json
from ...model.snapshot import Address, Objects
from ...model.validation import is_number
from .balance import BalanceMeter
from .battery import storage
from .meters import NET_CONSUMPTION, meter, production
from .totals import Counting

#: Address of the object.
HOUSE: Final[Address] = ("house_energy",)

#: Wh that counters which were read at different times can be apart. More than that comes from sources without a meter.
_OWED_AT_MOST: Final = 1000.0


@dataclass(frozen=True, slots=True)
class HouseEnergy(Counting):
    """Consumption of the house: production, import and discharge less export and charge."""

    #: Wh since the first reading.
    consumed: int
    #: Watts; None where unknown.
    power: int | None


class HouseMeter(BalanceMeter):
    """Consumption of the house: a sum of counters, held where it would fall until that is caught up."""

    def __init__(self, gap: float) -> None:
        """Begin at zero."""
        super().__init__(gap, "consumed")
        #: Wh by which the sum fell since its highest.
        self._owed = 0.0

    @override
    def _terms_of(self, objects: Objects) -> Mapping[Address, int]:
        """Return nothing where the gateway's own consumption is that of the house."""
        produced, stored = production(objects), storage(objects)
        if not meter(objects, NET_CONSUMPTION) or produced is None or stored is None:
            return {}
        return {produced: 1, NET_CONSUMPTION: 1, stored: 1}

    @override
    def _record(self, net: float) -> bool:
        """Add a net energy less what the sum fell by before."""
        self.totals.add("consumed", net - self._owed)
        self._owed = min(max(0.0, self._owed - net), _OWED_AT_MOST)
        return True

    @override
    def _energy(self, watts: int | None) -> HouseEnergy:
        return HouseEnergy(self.totals.shown("consumed"), None if watts is None else max(0, watts))

    @override
    def dump(self, offset: float) -> dict[str, Json]:
        """Return the state to store, in seconds since the epoch."""
        return super().dump(offset) | {"owed": self._owed}

    @override
    def load(self, data: Mapping[str, Json]) -> None:
        """Restore the state; what is not valid is left out."""
        super().load(data)
        owed = data.get("owed")
        self._owed = min(max(0.0, owed), _OWED_AT_MOST) if is_number(owed) else 0.0
