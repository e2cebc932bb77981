"""Energy through the grid connection, where no CT measures it: consumption less production, by direction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, override

from pyenphase.models.meters import CtType

from ...model.snapshot import Address, Objects
from .balance import BalanceMeter
from .battery import storage
from .meters import NET_CONSUMPTION, TOTAL_CONSUMPTION, meter, production
from .totals import Counting, exact

#: Addresses of the objects: where no CT measures the grid, and of all phases together where one measures each.
GRID: Final[Address] = ("grid_energy",)
BALANCED: Final[Address] = ("balanced_grid_energy",)


@dataclass(frozen=True, slots=True)
class GridEnergy(Counting):
    """Energy through the grid connection, calculated from consumption and production."""

    #: Wh since the first reading.
    imported: int
    exported: int
    #: Watts, + is import; None where unknown.
    power: int | None


class GridMeter(BalanceMeter):
    """Import and export: the net is exact, and its two directions follow from the power."""

    def __init__(self, gap: float) -> None:
        """Begin at zero."""
        super().__init__(gap, "imported", "exported")

    @override
    def _terms_of(self, objects: Objects) -> Mapping[Address, int]:
        """Return nothing where a CT measures the grid or none measures the house."""
        produced, stored = production(objects), storage(objects)
        if meter(objects, NET_CONSUMPTION) or not meter(objects, TOTAL_CONSUMPTION) or produced is None:
            return {}
        return {TOTAL_CONSUMPTION: 1, produced: -1} | ({stored: -1} if stored else {})

    @override
    def _record(self, net: float) -> bool:
        """Add a net energy to both directions, in the proportion of the power and with exactly that difference.

        Both directions are scaled by the same part. That is right whenever the power between two readings was either
        that of the one or that of the other, however often it changed.
        """
        inward, outward = self._span.inward, self._span.outward
        error = net - (inward - outward)
        if abs(error) <= inward + outward and inward + outward > 0:
            imported = max(exact(inward * (1 + error / (inward + outward))), net, 0.0)
        elif 0 < abs(net) <= self._span.uncertainty:
            # Within the uncertainty. If it is energy, it grows.
            return False
        else:
            imported = max(net, 0.0)
        self.totals.add("imported", imported)
        self.totals.add("exported", imported - net)
        return True

    @override
    def _energy(self, watts: int | None) -> GridEnergy:
        return GridEnergy(self.totals.shown("imported"), self.totals.shown("exported"), watts)


class BalancedGridMeter(GridMeter):
    """Import and export of three phases together, as utility meters in many countries count.

    The CT counts each phase by itself: what one phase exports while another one imports is in both of its counters.
    """

    @override
    def _terms_of(self, objects: Objects) -> Mapping[Address, int]:
        """Return nothing where there are fewer phases."""
        has_phases = ("ctmeters_phases", CtType.NET_CONSUMPTION, "L3") in objects
        return {NET_CONSUMPTION: 1} if has_phases and meter(objects, NET_CONSUMPTION) else {}
