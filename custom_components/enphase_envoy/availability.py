"""How long values are shown: each expires by the age of its own source, whatever happens to the poll."""

from collections.abc import Callable, Collection, Mapping
from enum import IntEnum
import time
from types import MappingProxyType
from typing import Final, NamedTuple

from .model.snapshot import Address, Freshness, Snapshot

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
        #: How many of the hold times are over, of each document of the last update.
        self._levels: dict[Freshness, int] = {}

    def get(self, address: Address) -> Published:
        """Return what is published at an address."""
        return self.objects.get(address, MISSING)

    def update(
        self, snapshot: Snapshot, addresses: Collection[Address] | None = None, *, hold_all: bool = False
    ) -> set[Address]:
        """Publish a snapshot, or of it what changed at some addresses; return where it differs from before.

        With `hold_all` no value expires.
        """
        objects, published = snapshot.objects, self.objects
        # Hundreds of objects share a dozen documents: the age of each document is evaluated once.
        levels = self._levels = dict[Freshness, int]()
        changed = set()
        for address in objects if addresses is None else addresses:
            before = published.get(address)
            if (timed := objects.get(address)) is None:
                if before is not None:
                    del published[address]
                    changed.add(address)
                continue
            freshness, fields = timed.freshness, _NO_FIELDS
            if (level := levels.get(freshness)) is None:
                level = self._level(freshness, hold_all=hold_all)
            if timed.field_freshness:
                fields = {name: self._level(each, hold_all=hold_all) for name, each in timed.field_freshness.items()}
            if (
                before is None
                or before[0] is not timed.value
                or before[1] != level
                or (before[2] is not fields and before[2] != fields)
            ):
                published[address] = Published(timed.value, level, fields)
                changed.add(address)
        if addresses is None and len(published) != len(objects):
            for address in published.keys() - objects.keys():
                del published[address]
                changed.add(address)
        if self.addresses != published.keys():
            self.addresses = frozenset(published)
        return changed

    def _level(self, freshness: Freshness, *, hold_all: bool) -> int:
        """Return how many of the hold times are over."""
        age = 0.0 if hold_all else self._clock() - freshness.updated_at
        level = self._levels[freshness] = sum(age >= hold for hold in self._holds)
        return level

    def seconds_to_next_expiry(self) -> float | None:
        """Return when the next value of those in the last update expires, in seconds from now; None when all have."""
        now = self._clock()
        times = {freshness.updated_at for freshness in self._levels}
        return min((at + hold - now for at in times for hold in self._holds if at + hold > now), default=None)
