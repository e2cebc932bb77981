"""Energy that no counter of the gateway shows, but that follows from those it has: grid, batteries, house.

`docs/energy.md` describes how, and with which error. No Home Assistant here.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
import math
from typing import Final

from ...model.json_data import Json
from ...model.snapshot import Address, CounterKey, Objects, TimedValue, oldest
from ...model.validation import is_number
from ..counter_filter import CounterFilter
from ..pipeline import ProcessingContext
from .balance import BalanceMeter
from .battery import BATTERY, BatteryMeter
from .grid import BALANCED, GRID, BalancedGridMeter, GridMeter
from .house import HOUSE, HouseMeter
from .meters import STORAGE
from .totals import Update

#: Seconds between two readings of power from which on the power between them is unknown, if a few polls are not longer.
_GAP: Final = 210.0
_GAP_POLLS: Final = 3.5


class VirtualMeters:
    """Adds grid, batteries and house. A processor of the pipeline, after the counter filter."""

    #: The key in storage; of the first version.
    name = "ledger"

    def __init__(self, counter_filter: CounterFilter, poll_interval: float = 60.0) -> None:
        """Begin at zero, with so many seconds between polls; `counter_filter` reports the steps of counters."""
        self._filter = counter_filter
        gap = max(_GAP, _GAP_POLLS * poll_interval)
        grid, balanced, house = GridMeter(gap), BalancedGridMeter(gap), HouseMeter(gap)
        self._balances = (grid, balanced, house)
        #: Batteries first: the others use them.
        self._meters: dict[Address, BatteryMeter | BalanceMeter] = {
            BATTERY: BatteryMeter(gap),
            GRID: grid,
            BALANCED: balanced,
            HOUSE: house,
        }
        #: When each began to count, in seconds since the epoch; None where that was not stored.
        self._since: dict[Address, float | None] = {}
        #: The objects that were returned last.
        self._shown: dict[Address, TimedValue] = {}
        #: What is added to the times of the meters to get seconds since the epoch; None while they are just that.
        self._offset: float | None = None

    def process(self, objects: Objects, _addresses: Collection[Address], context: ProcessingContext) -> Objects:
        """Return the objects that this adds, each as old as the oldest that it is made of."""
        if self._offset is None:
            for meter in self._meters.values():
                meter.shift(-context.offset)
        self._offset = context.offset
        for counter, step in self._filter.steps.items():
            for balance in self._balances:
                balance.follow(counter, step)
        limit = partial(self._limit, objects, context)
        known, added = dict(objects), dict[Address, TimedValue]()
        for address, meter in self._meters.items():
            # A CT that measures the batteries does so whether it can be read or not.
            if address == BATTERY and STORAGE in context.unread_meters:
                continue
            if updated := meter.update(known, limit):
                since = self._since.setdefault(address, context.now)
                # A time that is still to come is not valid.
                value = replace(updated.value, since=since if since and since <= context.now else None)
                known[address] = added[address] = self._timed(address, updated._replace(value=value))
        return added

    def _limit(self, objects: Objects, context: ProcessingContext, address: Address) -> float:
        """Return the power in W that the counters at an address count at most; infinity for a virtual meter."""
        return self._filter.limit(objects, address, context) if address in objects else math.inf

    def _timed(self, address: Address, update: Update) -> TimedValue:
        """Return an object as old as the oldest of its parts: the same object while nothing changes."""
        value, parts, measured = update
        freshness = oldest(part.freshness for part in parts)
        fields = {"power": measured} if any(part.field_freshness for part in parts) else {}
        old = self._shown.get(address) or TimedValue(value, freshness)
        self._shown[address] = timed = old.renewed(value, freshness, fields)
        return timed

    def resume(self, counter: CounterKey, watt_hours: float) -> None:
        """Go on from what a counter was recorded with, where its stored value was lost."""
        address, name = counter
        if address in self._meters:
            meter = self._meters[address]
            if not meter.totals and watt_hours > 0:
                self._since[address] = None
            meter.resume(name, watt_hours)

    def dump(self) -> dict[str, Json]:
        """Return the state to store."""
        return {
            address[0]: meter.dump(self._offset or 0.0) | {"since": self._since.get(address)}
            for address, meter in self._meters.items()
        }

    def load(self, data: Mapping[str, Json]) -> None:
        """Restore the state; what is not valid is left out."""
        self._offset = None
        for address, meter in self._meters.items():
            if isinstance(part := data.get(address[0]), dict):
                meter.load(part)
                if is_number(since := part.get("since")) and since > 0:
                    self._since[address] = since
                elif meter.totals:
                    self._since[address] = None
