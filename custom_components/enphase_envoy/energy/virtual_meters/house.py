"""What the house itself used, where the gateway's own consumption is another: production, grid and batteries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, override

from ...model.json_data import Json
from ...model.snapshot import Address
from ...model.validation import is_number
from .balance import BalanceMeter
from .battery import storage
from .meters import NET_CONSUMPTION, Objects, meter, production

#: Where it is found.
HOUSE: Final[Address] = ("house_energy",)

#: Wh that counters which were read at different times can be apart. More than that comes from what nobody measures.
_OWED_AT_MOST: Final = 1000.0


@dataclass(frozen=True, slots=True)
class HouseEnergy:
    """What the house itself used: what it produced, imported and discharged less what it exported and charged."""

    #: Wh since the first reading.
    consumed: int
    #: Watts; None where they are not known.
    power: int | None


class HouseMeter(BalanceMeter):
    """What the house used: a sum of counters, held where it would fall until that is caught up."""

    def __init__(self, gap: float) -> None:
        """Begin at zero."""
        super().__init__(gap, "consumed")
        #: Wh by which the sum fell since its highest.
        self._owed = 0.0

    @override
    def _follows_from(self, objects: Objects) -> Mapping[Address, int]:
        """Return nothing where the gateway's own consumption is the house's."""
        produced, stored = production(objects), storage(objects)
        if not meter(objects, NET_CONSUMPTION) or produced is None or stored is None:
            return {}
        return {produced: 1, NET_CONSUMPTION: 1, stored: 1}

    @override
    def _book(self, net: float) -> bool:
        """Book what is left of a net energy when what it fell by before is caught up."""
        self.totals.add("consumed", net - self._owed)
        self._owed = min(max(0.0, self._owed - net), _OWED_AT_MOST)
        return True

    @override
    def _energy(self, watts: int | None) -> HouseEnergy:
        return HouseEnergy(self.totals.shown("consumed"), None if watts is None else max(0, watts))

    @override
    def dump(self, offset: float) -> dict[str, Json]:
        """Return all that has to be remembered, in seconds since the epoch."""
        return super().dump(offset) | {"owed": self._owed}

    @override
    def load(self, memory: Mapping[str, Json]) -> None:
        """Go on from what was remembered."""
        super().load(memory)
        owed = memory.get("owed")
        self._owed = min(max(0.0, owed), _OWED_AT_MOST) if is_number(owed) else 0.0
