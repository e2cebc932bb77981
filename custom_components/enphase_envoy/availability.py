"""How long values are shown: each expires by the age of its own source, whatever happens to the poll."""

from collections.abc import Callable, Collection, Mapping
from enum import IntEnum
import time
from types import MappingProxyType
from typing import Final, NamedTuple

from .model.snapshot import Address, Freshness, Snapshot, TimedValue

#: Seconds that a value is shown after its last update, if three polls are not longer.
_SHORT: Final = 210.0
_LONG: Final = 900.0

_NO_FIELDS: Final[Mapping[str, int]] = MappingProxyType({})


class HoldTime(IntEnum):
    """How long the last value of an entity is held; shorter ones come first."""

    #: Power, and states.
    SHORT = 0
    #: Counters and settings, which lose nothing by waiting.
    LONG = 1


class Published(NamedTuple):
    """An object as the entities show it."""

    value: object
    #: How many of the hold times are over: the entities with the remaining ones are available.
    expired: int
    #: The same for fields with a source of their own.
    fields: Mapping[str, int] = _NO_FIELDS

    def is_available(self, hold: HoldTime, field: str | None) -> bool:
        """Return whether an entity with a hold time that shows a field is available."""
        return self.fields.get(field or "", self.expired) <= hold


#: What is published of an object that is missing.
MISSING: Final = Published(None, len(HoldTime))


class PublishedObjects:
    """The objects that the entities show, compared with those they showed before."""

    def __init__(self, poll_interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Publish nothing yet. `clock` returns seconds, on the clock of the polls."""
        self._clock = clock
        self._holds = (max(3 * poll_interval, _SHORT), max(3 * poll_interval, _LONG))
        self.objects: dict[Address, Published] = {}
        #: Where there is an object: a new set only when that changes.
        self.addresses: frozenset[Address] = frozenset()

    def get(self, address: Address) -> Published:
        """Return what is published at an address."""
        return self.objects.get(address, MISSING)

    def update(
        self, snapshot: Snapshot, addresses: Collection[Address] | None = None, *, hold_all: bool = False
    ) -> set[Address]:
        """Publish a snapshot, or of it what changed at some addresses; return where it differs from before.

        With `hold_all` no value expires.
        """
        objects = snapshot.objects
        selected = objects if addresses is None else addresses
        # Hundreds of objects share a dozen documents: the age of each document is evaluated once.
        levels: dict[int, int] = {}
        changed = set()
        for address in selected:
            before = self.objects.get(address)
            if (timed := objects.get(address)) is None:
                if before is not None:
                    del self.objects[address]
                    changed.add(address)
                continue
            freshness = timed.freshness
            if (level := levels.get(id(freshness))) is None:
                level = levels[id(freshness)] = 0 if hold_all else self._expired(freshness)
            fields = self._fields(timed, hold_all=hold_all) if timed.field_freshness else _NO_FIELDS
            if before is None or before[0] is not timed.value or before[1] != level or before[2] != fields:
                self.objects[address] = Published(timed.value, level, fields)
                changed.add(address)
        if addresses is None and len(self.objects) != len(objects):
            for address in self.objects.keys() - objects.keys():
                del self.objects[address]
                changed.add(address)
        if self.addresses != self.objects.keys():
            self.addresses = frozenset(self.objects)
        return changed

    def _fields(self, timed: TimedValue, *, hold_all: bool) -> Mapping[str, int]:
        return {
            field: 0 if hold_all else self._expired(freshness) for field, freshness in timed.field_freshness.items()
        }

    def _expired(self, freshness: Freshness) -> int:
        """Return how many of the hold times are over."""
        age = self._clock() - freshness.updated_at
        return sum(age >= hold for hold in self._holds)

    def seconds_to_next_expiry(self, objects: Collection[TimedValue]) -> float | None:
        """Return when the next value of the objects expires, in seconds from now; None when all have."""
        now = self._clock()
        times = {timed.freshness.updated_at for timed in objects}
        times |= {
            freshness.updated_at
            for timed in objects
            if timed.field_freshness
            for freshness in timed.field_freshness.values()
        }
        return min((at + hold - now for at in times for hold in self._holds if at + hold > now), default=None)
