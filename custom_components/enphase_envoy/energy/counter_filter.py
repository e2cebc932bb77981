"""The processor that replaces energy counters with what they can have counted.

Counters of gateways read zero, half or triple for a poll, begin anew, or come back from a firmware upgrade with another
value, and statistics record each such reading as energy. See `counter` for which readings are published instead.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import astuple, fields, replace
from math import inf, isfinite
from typing import Any, Final

from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.meters import EnvoyMeterData
from pyenphase.models.system_consumption import EnvoySystemConsumption
from pyenphase.models.system_production import EnvoySystemProduction

from ..model.json_data import Json, json_number
from ..model.production import is_production_empty
from ..model.snapshot import Address, CounterKey, Objects, TimedValue, from_key, to_key
from ..model.validation import is_number
from .counter import Candidate, Checkpoint, Counter, Reading, Step, StepCause
from .limits import Capacity, Direction, capacity_of
from .pipeline import ProcessingContext, Replacements

#: The fields that count energy, in Wh. `energy_produced` of inverters is no counter.
COUNTERS: Final[Mapping[type, tuple[str, ...]]] = {
    EnvoySystemProduction: ("watt_hours_lifetime",),
    EnvoySystemConsumption: ("watt_hours_lifetime",),
    EnvoyMeterData: ("energy_delivered", "energy_received"),
    EnvoyInverter: ("lifetime_energy",),
}
#: The fields with the power of the same objects, in W.
POWER: Final[Mapping[type, str]] = {
    EnvoySystemProduction: "watts_now",
    EnvoySystemConsumption: "watts_now",
    EnvoyMeterData: "active_power",
    EnvoyInverter: "last_report_watts",
}
#: Watts from which on a reported power is no evidence.
_IMPLAUSIBLE: Final = 1e6
#: Seconds for which a capacity is kept.
_CAPACITY_KEPT: Final = 900.0
#: Wh by which a recorded value may differ from the stored one.
_SAME: Final = 100.0
#: Key of a stored counter whose meter was replaced.
_REPLACED: Final = "replaced"


class CounterFilter:
    """Holds back readings that are implausible. A processor of the pipeline."""

    name = "counters"

    def __init__(self) -> None:
        """Start without any counter."""
        self._counters: dict[CounterKey, Counter] = {}
        #: Stored counters whose meter was replaced, and not read since.
        self._replaced_meters: set[CounterKey] = set()
        #: The objects as last given.
        self._given: dict[Address, TimedValue] = {}
        self._replaced = Replacements()
        self._capacities: dict[Address, Capacity] = {}
        self._capacities_from = 0.0
        #: The time of the last pass, in seconds since the epoch.
        self._latest = 0.0
        #: The steps that were published in the last pass.
        self.steps: dict[CounterKey, Step] = {}

    def process(self, objects: Objects, addresses: Collection[Address], context: ProcessingContext) -> Objects:
        """Return the objects whose counters are published with other values than reported."""
        self.steps = {}
        if context.now < self._latest:
            ahead = self._latest - context.now if isfinite(self._latest) else 0.0
            # The clock was ahead. Counters that are not read now must not count from a time of the future later.
            for counter in self._counters.values():
                counter.follow_clock(context.now, ahead)
        self._latest = context.now
        # Readings that are held back are evaluated again: the time decides about them as well.
        for address in {*addresses, *self._replaced.objects}:
            timed, given = objects.get(address), self._given.get(address)
            if timed is None or type(timed.value) not in COUNTERS:
                continue
            if given is timed and address not in self._replaced.objects:
                continue
            self._given[address] = timed
            if given is None or address in self._replaced.objects or _is_reading(timed, given, objects):
                self._filter(objects, address, context, given)
        for address in self._given.keys() - objects.keys():
            del self._given[address]
            self._replaced.discard(address)
        return self._replaced.objects

    def limit(self, objects: Objects, address: Address, context: ProcessingContext) -> float:
        """Return the power in W that the counters at an address count at most, as of some minutes ago."""
        capacity = self._capacity(objects, address, context)
        fields = COUNTERS.get(type(objects[address].value), ())
        counters = (self._counters.get((address, field)) for field in fields)
        return max((counter.limit(capacity) for counter in counters if counter), default=capacity.watts)

    def published(self, key: CounterKey) -> float | None:
        """Return the value of a counter as published last, None where it was not read yet."""
        counter = self._counters.get(key)
        return counter.value if counter else None

    @property
    def held_counters(self) -> list[CounterKey]:
        """The counters whose last readings were held back."""
        counters = (
            (address, field)
            for address, timed in self._replaced.objects.items()
            for field in COUNTERS[type(timed.value)]
        )
        return [key for key in counters if (counter := self._counters.get(key)) and counter.held_since]

    def _capacity(self, objects: Objects, address: Address, context: ProcessingContext) -> Capacity:
        if abs(context.now - self._capacities_from) >= _CAPACITY_KEPT:
            self._capacities, self._capacities_from = {}, context.now
        if (capacity := self._capacities.get(address)) is None:
            capacity = self._capacities[address] = capacity_of(objects, address)
        return capacity

    def _filter(self, objects: Objects, address: Address, context: ProcessingContext, given: TimedValue | None) -> None:
        """Read the counters of one object."""
        timed = objects[address]
        capacity = self._capacity(objects, address, context)
        at = context.updated_at(timed)
        own = _report_time(timed.value)
        published: dict[str, Json] = {}
        for field in COUNTERS[type(timed.value)]:
            if not isinstance(value := getattr(timed.value, field), int | float):
                continue
            reading = Reading(value, at, _power(timed.value, field, capacity.direction), own)
            if (shown := self._read((address, field), reading, capacity, context, given)) != value:
                published[field] = shown
        if is_production_empty(timed.value, objects):
            published["watts_now"] = None
        self._replaced.put(address, timed, published)

    def _read(
        self,
        key: CounterKey,
        reading: Reading,
        capacity: Capacity,
        context: ProcessingContext,
        given: TimedValue | None,
    ) -> float | None:
        """Return what to publish for a reading, None for nothing."""
        if (counter := self._counters.get(key)) is None:
            if reading.value < 0 and capacity.direction is Direction.UP:
                return None
            self._counters[key] = Counter(reading.value, reading.at, reading.at, reading.own, reading.power)
            return reading.value
        if key in self._replaced_meters:
            # No energy flowed between the last reading of the old meter and the first of the new one.
            self._replaced_meters.discard(key)
            self.steps[key] = Step(StepCause.LASTING, counter.value, reading.value, 0.0)
            self._counters[key] = Counter(
                reading.value, reading.at, reading.at, reading.own, reading.power, total=counter.total
            )
            return reading.value
        if given is not None and not counter.held_since:
            # The same value was given again and again since it was last read.
            counter.known_at(context.updated_at(given), capacity)
        if step := counter.read(reading, capacity):
            self.steps[key] = step
        return None if counter.is_missing(reading.at) else counter.value

    # Storage

    def unread(self, objects: Mapping[Address, TimedValue], since: float) -> Iterator[CounterKey]:
        """Yield the counters of the objects that were not read since then, in seconds since the epoch."""
        for address, timed in objects.items():
            for field in COUNTERS.get(type(timed.value), ()):
                counter = self._counters.get((address, field))
                if counter is None or counter.at < since:
                    yield address, field

    def resume(self, key: CounterKey, value: float, at: float) -> None:
        """Go on from what the statistics last recorded of a counter, in Wh, unless a newer value is stored."""
        counter = self._counters.get(key)
        # A value that was held back was recorded again and again: that is nothing new.
        if counter is None:
            self._counters[key] = Counter(value, at, at)
        elif counter.at < at and abs(value - counter.value) > _SAME:
            # What is added to its readings, and the power that it proved to count, are the same.
            self._counters[key] = replace(counter, value=value, at=at, moved=at, candidate=None, held_since=0.0)

    def dump(self) -> dict[str, Json]:
        """Return the counters, each under its address and field."""
        return {
            to_key((*key[0], key[1])): _dump(counter, key in self._replaced_meters)
            for key, counter in self._counters.items()
        }

    def load(self, data: Mapping[str, Json]) -> None:
        """Restore the counters; what is not valid is left out."""
        # Any of their times may be of the future.
        self._latest = inf
        for key, stored in data.items():
            try:
                counter = _load(stored)
            except TypeError, ValueError:
                continue
            *address, field = from_key(key)
            self._counters[tuple(address), field] = counter
            if isinstance(stored, dict) and stored.get(_REPLACED):
                self._replaced_meters.add((tuple(address), field))


def mark_replaced(stored: Mapping[str, object]) -> None:
    """Mark the meters of the gateway as replaced in the stored state of the pipeline; inverters keep their own.

    The first reading of each is then taken as that of a new meter, and its difference to the last one is no energy.
    """
    counters = stored.get(CounterFilter.name)
    for key, counter in counters.items() if isinstance(counters, dict) else ():
        if isinstance(counter, dict) and from_key(key)[0] != "inverters":
            counter[_REPLACED] = True


#: Fields of a counter that are numbers.
_NUMBERS: Final = tuple(each.name for each in fields(Counter) if each.type in (float, "float"))


def _dump(counter: Counter, is_replaced: bool) -> Json:
    return ({_REPLACED: True} if is_replaced else {}) | {
        "numbers": [getattr(counter, name) for name in _NUMBERS],
        "candidate": list(astuple(counter.candidate)) if counter.candidate else None,
        "checkpoints": [list(astuple(checkpoint)) for checkpoint in counter.checkpoints],
    }


def _load(stored: Json) -> Counter:
    """Return a stored counter. Raises TypeError or ValueError if it is not valid."""
    match stored:
        case {"numbers": list(numbers), "candidate": candidate, "checkpoints": list(checkpoints)}:
            # Earlier versions stored fewer numbers of each, and other checkpoints.
            known: dict[str, Any] = dict(zip(_NUMBERS[: len(numbers)], _numbers(numbers), strict=True))
            counter = Counter(
                **known,
                candidate=Candidate(*_numbers(candidate)) if candidate else None,
                checkpoints=[
                    Checkpoint(*_numbers(each))
                    for each in checkpoints
                    if not isinstance(each, list) or len(each) == len(fields(Checkpoint))
                ],
            )
            if counter.held_since:
                # Readings are held back since one was published: an earlier time is a wrong one.
                counter.held_since = max(counter.held_since, counter.at)
            return counter
        case [value, at, own, moved, candidate, before]:
            # Versions before 0.2 stored other candidates, and the value before the last change.
            value, at, own, moved, *_ = _numbers(
                [value, at, own or 0.0, moved, before or 0.0, *_numbers(candidate or [])]
            )
            if value >= 0:
                return Counter(value, at, moved, own)
    raise ValueError(stored)


def _numbers(data: Json) -> list[float]:
    if not isinstance(data, list):
        raise TypeError(data)
    return [json_number(number) for number in data]


def _power(value: object, field: str, direction: Direction) -> float:
    """Return the power in W that moves a counter of an object, as far as the object reports a plausible one."""
    power = getattr(value, POWER[type(value)])
    if not is_number(power) or abs(power) > _IMPLAUSIBLE:
        return 0.0
    if direction is Direction.BOTH:
        return abs(power)
    if direction is Direction.UP_COMPUTED:
        return power
    return max(0.0, -power if field == "energy_received" else power)


def _is_reading(timed: TimedValue, given: TimedValue, objects: Objects) -> bool:
    """Return whether an object has a reading that the one given before has not.

    With live power its power changes many times between two readings of its counters.
    """
    if timed.value is given.value:
        return False
    fields = COUNTERS[type(timed.value)]
    return (
        timed.freshness is not given.freshness
        or type(timed.value) is not type(given.value)
        or any(getattr(timed.value, field) != getattr(given.value, field) for field in fields)
        or is_production_empty(timed.value, objects)
    )


def _report_time(value: object) -> float:
    """Return when a reading was taken, where that may be long before it is read, and 0 elsewhere.

    Meters are read at once; their time leaps when a gateway learns what time it is.
    """
    return value.last_report_date or 0.0 if isinstance(value, EnvoyInverter) else 0.0
