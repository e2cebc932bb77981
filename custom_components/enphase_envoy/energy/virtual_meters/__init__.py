"""Energy that no counter of the gateway shows, but that follows from those it has: grid, batteries, house.

How, and with which error, is told in `docs/energy.md`. No Home Assistant here.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from ...model.json_data import Json
from ...model.snapshot import Address, CounterKey, TimedValue, oldest
from ..counter_filter import CounterFilter
from ..pipeline import Objects, ProcessingContext
from .balance import BalanceMeter
from .battery import BATTERY, BatteryMeter
from .grid import GRID, GridMeter
from .house import HOUSE, HouseMeter
from .meters import STORAGE

#: Seconds between two readings of power above which nobody knows what was between them, if a few polls are not longer.
_GAP: Final = 210.0
_GAP_POLLS: Final = 3.5


class VirtualMeters:
    """The step of the books that adds grid, batteries and house."""

    name = "ledger"

    def __init__(self, guard: CounterFilter, poll_interval: float = 60.0) -> None:
        """Begin at zero, with so many seconds between polls, and follow the steps that the guard lets through."""
        self._guard = guard
        gap = max(_GAP, _GAP_POLLS * poll_interval)
        grid, house = GridMeter(gap), HouseMeter(gap)
        self._balances = (grid, house)
        #: Batteries first: the others build on them.
        self._books: dict[Address, BatteryMeter | BalanceMeter] = {BATTERY: BatteryMeter(gap), GRID: grid, HOUSE: house}
        #: What was shown last.
        self._shown: dict[Address, TimedValue] = {}
        #: What is added to the times in the books to get seconds since the epoch; None: that is what they are.
        self._offset: float | None = None

    def process(self, objects: Objects, _addresses: Collection[Address], context: ProcessingContext) -> Objects:
        """Return the leaves that this adds: what was read before is none the less, and none the later, for it."""
        if self._offset is None:
            for book in self._books.values():
                book.shift(-context.offset)
        self._offset = context.offset
        for counter, step in self._guard.steps.items():
            for balance in self._balances:
                balance.follow(counter, step)
        known, added = dict(objects), dict[Address, TimedValue]()
        for address, book in self._books.items():
            # A CT that measures the batteries does so whether it can be read or not.
            if address == BATTERY and STORAGE in context.unread_meters:
                continue
            if entered := book.enter(known):
                known[address] = added[address] = self._leaf(address, *entered)
        return added

    def _leaf(self, address: Address, value: object, parts: Sequence[TimedValue]) -> TimedValue:
        """Return a leaf as old as the oldest of its parts: the same object, and of the same value, while it can be."""
        freshness = oldest(part.freshness for part in parts)
        old = self._shown.get(address)
        if old is None or old.value != value:
            old = TimedValue(value, freshness)
        elif old.freshness is not freshness:
            old = TimedValue(old.value, freshness)
        self._shown[address] = old
        return old

    def resume(self, counter: CounterKey, watt_hours: float) -> None:
        """Go on from what a counter of this is known to have reached, where its memory was lost."""
        address, name = counter
        if address in self._books:
            self._books[address].totals.raise_to(name, watt_hours)

    def dump(self) -> dict[str, Json]:
        """Return all that has to be remembered."""
        return {address[0]: book.dump(self._offset or 0.0) for address, book in self._books.items()}

    def load(self, memory: Mapping[str, Json]) -> None:
        """Go on from what was remembered; what can't be understood is left out."""
        self._offset = None
        for address, book in self._books.items():
            if isinstance(part := memory.get(address[0]), dict):
                book.load(part)
