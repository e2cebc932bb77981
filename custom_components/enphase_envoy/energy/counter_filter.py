"""Energy counters that only tell the truth. No Home Assistant here; time comes with the readings.

Counters of gateways read zero, half or the triple for a poll, wrap, or come back from a firmware upgrade with another
value. The statistics book each such reading as energy that flowed. So a reading has to be possible: a counter never
falls, and rises by no more than the system can carry in the time since the last reading. What is not possible is held
back, and the last true value stays, until the counter comes back or the new value proves to last. Then it is published
as the gateway says it, and what has to be corrected in the statistics is told.

Whatever stays between those limits is passed on. A reading that lies by less than the system could have carried in one
poll is believed, and booked only once: the counter then stands still until the truth has caught up with it.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.meters import EnvoyMeterData
from pyenphase.models.system_consumption import EnvoySystemConsumption
from pyenphase.models.system_production import EnvoySystemProduction

from ..model.json_data import Json, json_number
from ..model.snapshot import Address, CounterKey, TimedValue, from_key, to_key
from .limits import watts
from .pipeline import Objects, ProcessingContext

#: The fields that count energy, in Wh. The net of consumption may fall, and `energy_produced` is no counter.
COUNTERS: Final[Mapping[type, tuple[str, ...]]] = {
    EnvoySystemProduction: ("watt_hours_lifetime",),
    EnvoySystemConsumption: ("watt_hours_lifetime",),
    EnvoyMeterData: ("energy_delivered", "energy_received"),
    EnvoyInverter: ("lifetime_energy",),
}
_NET: Final = frozenset({"system_net_consumption", "system_net_consumption_phases"})

#: Wh at which counters without CTs begin anew: 2^32 joules.
WRAP: Final = 2**32 / 3600
#: Wh that a counter may be behind itself, from rounding and from sums of phases.
_NOISE: Final = 100.0
#: Seconds that a reading may be older or younger than it says.
_SLACK: Final = 120.0
#: Seconds for which a counter may stand still and then tell all at once: some inverters report once an hour.
_BURST: Final = 7200.0
#: Seconds that a reading's own time is believed to be ahead of the last one's.
_LONGEST: Final = 86400.0
#: Seconds and readings after which a step has proved to last, alone and with a second endpoint that says the same.
_PROVEN: Final = (3600.0, 12)
_AGREED: Final = (600.0, 8)
#: Seconds after which it is worked out anew what a system can carry.
_LIMITED: Final = 900.0
#: Seconds of the gap before a step that are filled with what flowed after it.
_FILLED: Final = 600.0


class StepCause(StrEnum):
    """Why a counter went to another value."""

    LASTING = "lasting"
    WRAPPED = "wrapped"
    #: The last reading that was believed turned out to be the lie.
    TAKEN_BACK = "taken back"


@dataclass(frozen=True, slots=True)
class CounterStep:
    """A counter that was published with another value than energy can explain."""

    counter: CounterKey
    cause: StepCause
    #: Seconds since the epoch at which it was published.
    at: float
    #: Wh before and after.
    before: float
    after: float
    #: Wh that flowed in between, as far as it is known.
    gained: float


@dataclass(slots=True)
class _Claim:
    """Readings that contradict the last true one, but not each other."""

    began: float
    began_at: float
    value: float
    at: float
    readings: int = 1


@dataclass(slots=True)
class _State:
    """What is known of one counter; times in seconds since the epoch."""

    value: float
    #: When this was last read, by our clock and by the reading's own.
    at: float
    own: float | None
    #: When it last moved.
    moved: float
    claim: _Claim | None = None
    #: What it read before it last moved.
    before: float | None = None


def evaluate(state: _State, new: float, at: float, own: float | None, limit: float) -> StepCause | None:
    """Take a reading in, and return why it was taken although energy can't explain it, if so.

    `limit` is what the system carries, in W. What was not taken is left as a claim.
    """
    span = max(at - state.at, min(at - state.moved, _BURST))
    if own is not None and state.own is not None:
        span = max(span, min(own - state.own, _LONGEST))
    if -_NOISE <= new - state.value <= _carried(span, limit):
        _accept(state, max(new, state.value), at, own)
        return None
    if 0 <= new <= state.value <= WRAP and new + WRAP - state.value <= _carried(span, limit):
        _accept(state, new, at, own)
        return StepCause.WRAPPED
    claim = state.claim
    if claim is None or not -_NOISE <= new - claim.value <= _carried(at - claim.at, limit):
        state.claim = _Claim(new, at, new, at)
    elif at > claim.at:
        claim.value, claim.at = max(new, claim.value), at
        claim.readings += 1
    return None


def _carried(seconds: float, limit: float) -> float:
    """Return the Wh that can flow in a time."""
    return limit * (max(seconds, 0.0) + _SLACK) / 3600


def _accept(state: _State, value: float, at: float, own: float | None) -> None:
    if value != state.value:
        state.moved, state.before = at, state.value
    state.value, state.at, state.own, state.claim = value, max(at, state.at), own, None


def _lasts(claim: _Claim, needed: tuple[float, int]) -> bool:
    """Return whether a claim has been repeated for long enough. Nothing at all is no value until it moves."""
    seconds, readings = needed
    return claim.at - claim.began_at >= seconds and claim.readings >= readings and claim.value > 0


def _why(state: _State, claim: _Claim) -> StepCause:
    """Return why a claim is taken: where it goes on from before the last move, that move was the lie."""
    is_before = state.before is not None and state.before - _NOISE <= claim.began < state.value
    return StepCause.TAKEN_BACK if is_before else StepCause.LASTING


def _flowed(state: _State, claim: _Claim) -> float:
    """Return the Wh that flowed since the last true reading: what the claim counted, and its mean for the gap."""
    counted = claim.value - claim.began
    gap = min(claim.began_at - state.at, _FILLED)
    return counted * (1 + max(gap, 0.0) / (claim.at - claim.began_at))


class CounterFilter:
    """Holds back what can't be true. A step of the books."""

    name = "counters"

    def __init__(self) -> None:
        """Know no counter yet."""
        self._states: dict[CounterKey, _State] = {}
        #: The leaves as last given, and those of them that were not passed on as they were.
        self._given: dict[Address, TimedValue] = {}
        self._held: dict[Address, TimedValue] = {}
        #: What the counters at an address count at most, as worked out last, and when that was.
        self._limits: dict[Address, float] = {}
        self._limited_at = 0.0
        #: What was published with a leap in the last pass.
        self.steps: list[CounterStep] = []

    def process(self, objects: Objects, addresses: Collection[Address], context: ProcessingContext) -> Objects:
        """Return the leaves whose counters are not what the gateway says."""
        self.steps = []
        for address in addresses:
            timed = objects.get(address)
            fields = COUNTERS.get(type(timed.value)) if timed else None
            if timed is None or fields is None or address[0] in _NET:
                continue
            given = self._given.get(address)
            if given is timed and address not in self._held:
                continue
            self._given[address] = timed
            if given is not None and given.value is timed.value and address not in self._held:
                continue
            self._look(objects, address, fields, context, given)
        if gone := self._given.keys() - objects.keys():
            for address in gone:
                del self._given[address]
                self._held.pop(address, None)
        return self._held

    def limit(self, objects: Mapping[Address, TimedValue], address: Address, context: ProcessingContext) -> float:
        """Return the watts that the counters at an address count at most, as of some minutes ago."""
        if abs(context.now - self._limited_at) >= _LIMITED:
            self._limits, self._limited_at = {}, context.now
        if (limit := self._limits.get(address)) is None:
            limit = self._limits[address] = watts(objects, address)
        return limit

    @property
    def held_counters(self) -> list[CounterKey]:
        """The counters whose last reading was not believed."""
        counters = ((address, field) for address, timed in self._held.items() for field in COUNTERS[type(timed.value)])
        return [counter for counter in counters if (state := self._states.get(counter)) and state.claim]

    def _look(
        self,
        objects: Mapping[Address, TimedValue],
        address: Address,
        fields: tuple[str, ...],
        context: ProcessingContext,
        given: TimedValue | None,
    ) -> None:
        """Judge the counters of one object."""
        timed = objects[address]
        at, own = context.updated_at(timed), _own_time(timed.value)
        true: dict[str, float] = {}
        for field in fields:
            reading = getattr(timed.value, field)
            counter = (address, field)
            state = self._states.get(counter)
            if not isinstance(reading, int | float):
                continue
            if state is None:
                self._states[counter] = _State(reading, at, own, at)
                continue
            if given is not None and state.claim is None:
                # The same value was given again and again since it was looked at.
                state.at = max(state.at, context.updated_at(given))
            limit = self.limit(objects, address, context)
            before, gained = state.value, reading + WRAP - state.value
            cause = evaluate(state, reading, at, own, limit)
            if state.claim and self._has_proved(objects, counter, state.claim):
                cause, gained = _why(state, state.claim), _flowed(state, state.claim)
                _accept(state, state.claim.value, at, own)
            if cause:
                self.steps.append(CounterStep(counter, cause, context.now, before, state.value, gained))
            if state.value != reading:
                true[field] = state.value
        self._hold(address, timed, true)

    def _hold(self, address: Address, timed: TimedValue, true: dict[str, Any]) -> None:
        """Note what to say instead of a leaf, keeping the object where nothing is new."""
        if not true:
            self._held.pop(address, None)
            return
        value: Any = timed.value
        honest = replace(value, **true)
        held = self._held.get(address)
        self._held[address] = TimedValue(held.value if held and held.value == honest else honest, timed.freshness)

    def _has_proved(self, objects: Mapping[Address, TimedValue], counter: CounterKey, claim: _Claim) -> bool:
        """Return whether a claim lasts: for long enough, or for a while if another endpoint claims the same."""
        if _lasts(claim, _PROVEN):
            return True
        # Nothing is what old firmware says after a start, until it knows better.
        return _lasts(claim, _AGREED) and (self._states[counter].value == 0 or self._agrees(objects, counter, claim))

    def _agrees(self, objects: Mapping[Address, TimedValue], counter: CounterKey, claim: _Claim) -> bool:
        """Return whether a counter from another document said the same until now, and says the same as this claim."""
        document, value = objects[counter[0]].freshness, self._states[counter].value
        for (address, _), other in self._states.items():
            if (timed := objects.get(address)) is None or timed.freshness is document:
                continue
            if (rival := other.claim) and _lasts(rival, _AGREED):
                was: float | None = other.value
                says = rival.value
            else:
                # It may have been believed already, in this very pass.
                was, says = other.before, other.value
            if was is not None and _is_close(was, value) and _is_close(says, claim.value):
                return True
        return False

    # Memory

    def unread(self, objects: Mapping[Address, TimedValue], since: float) -> Iterator[CounterKey]:
        """Yield the counters among the leaves that were not read since then, in seconds since the epoch."""
        for address, timed in objects.items():
            for field in COUNTERS.get(type(timed.value), ()) if address[0] not in _NET else ():
                state = self._states.get((address, field))
                if state is None or state.at < since:
                    yield address, field

    def resume(self, counter: CounterKey, value: float, at: float) -> None:
        """Take over what the statistics last recorded of a counter, in Wh, when there is nothing newer."""
        state = self._states.get(counter)
        # What was held back was recorded again and again: that is no news.
        if state is None or (state.at < at and abs(value - state.value) > _NOISE):
            self._states[counter] = _State(value, at, None, at)

    def dump(self) -> dict[str, Json]:
        """Return the states, each under the address and the field."""
        return {
            to_key((*address, field)): [
                *(state.value, round(state.at), state.own, round(state.moved)),
                [claim.began, claim.began_at, claim.value, claim.at, claim.readings]
                if (claim := state.claim)
                else None,
                state.before,
            ]
            for (address, field), state in self._states.items()
        }

    def load(self, memory: Mapping[str, Json]) -> None:
        """Go on from such states."""
        entry: Any
        for key, entry in memory.items():
            *address, field = from_key(key)
            try:
                value, at, own, moved, claim, before = entry
                state = _State(
                    json_number(value), json_number(at), None if own is None else json_number(own), json_number(moved)
                )
                state.before = None if before is None else json_number(before)
                if claim:
                    began, began_at, claimed, claimed_at, readings = map(json_number, claim)
                    state.claim = _Claim(began, began_at, claimed, claimed_at, int(readings))
            except TypeError, ValueError, IndexError:
                continue
            if state.value < 0:
                continue
            self._states[tuple(address), field] = state


def _own_time(value: object) -> float | None:
    """Return when a reading was taken, where that may be long before it is read.

    Meters are read at once; their time leaps when a gateway learns what time it is.
    """
    return value.last_report_date if isinstance(value, EnvoyInverter) else None


def _is_close(one: float, other: float) -> bool:
    return abs(one - other) <= _NOISE + 0.001 * abs(one)
