"""Energy that no counter counts, but that follows from several counters."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
import math
from typing import Final, NamedTuple

from pyenphase.models.meters import EnvoyMeterData
from pyenphase.models.system_production import EnvoySystemProduction

from ...model.json_data import Json, restored
from ...model.snapshot import Address, CounterKey, Freshness, Objects, from_key, oldest, to_key
from ...model.validation import is_number
from ..counter import Step
from .battery import BATTERY, BatteryEnergy
from .meters import ANEW, power_freshness
from .totals import Counting, Totals, Update

#: Seconds by which a counter may be late: microinverters report every five minutes.
_LATE: Final = 300.0
#: Wh that should have moved a counter: one that stands still nevertheless is held back.
_MOVING: Final = 3.0
#: Seconds after which its reading is accepted.
_HELD_AT_MOST: Final = 7200.0
#: Seconds that an absence is assumed to last at least, since the clock may be wrong; also by the counter filter.
_ABSENT_AT_LEAST: Final = 7200.0
#: Wh that come from rounding alone: the library rounds every counter to whole ones.
_ROUNDING: Final = 2.0


class _Reading(NamedTuple):
    """Reading of a term of a balance."""

    address: Address
    #: 1 where it is added, -1 where it is subtracted.
    sign: int
    #: Seconds of the clock of the polls.
    updated_at: float
    #: Wh.
    delivered: float
    received: float
    #: Watts, + is delivering, and when it was measured: live power is newer than the counters.
    watts: float
    measured: Freshness


def _readings(objects: Objects, terms: Mapping[Address, int]) -> list[_Reading] | None:
    """Return the readings of all terms, None where a part of one of them is unknown."""
    reads = []
    for address, sign in terms.items():
        timed = objects[address]
        numbers: tuple[float, float, float]
        match timed.value:
            case EnvoyMeterData() as it:
                numbers = it.energy_delivered, it.energy_received, it.active_power
            case EnvoySystemProduction() as it:
                numbers = it.watt_hours_lifetime, 0, it.watts_now
            case BatteryEnergy() as it:
                numbers = it.discharged, it.charged, it.power
            case _:
                return None
        if not all(is_number(number) for number in numbers):
            return None
        reads.append(_Reading(address, sign, timed.updated_at, *numbers, power_freshness(timed)))
    return reads


def _watts(reads: Sequence[_Reading]) -> float:
    """Return the sum of the power of all terms."""
    return sum(read.sign * read.watts for read in reads)


class _Power(NamedTuple):
    """Sum of the power of all terms."""

    watts: int
    #: The terms, and when the first and the last of them were measured, in seconds of the clock of the polls.
    addresses: list[Address]
    since: float
    until: float
    #: When the oldest of them was measured.
    freshness: Freshness


def _power(reads: Sequence[_Reading], last: _Power | None) -> _Power:
    """Return the power of all terms: the last one until all were measured again, or closer together.

    Of live power and the power of batteries in the last poll the sum is one that never flowed.
    """
    addresses = [read.address for read in reads]
    times = [read.measured.updated_at for read in reads]
    since, until = min(times), max(times)
    if last and last.addresses == addresses and since <= last.until and until - since > last.until - last.since:
        return last
    # Where nothing changes, live power moves the one time that its terms share.
    shared = {read.measured for read in reads}
    freshness = shared.pop() if len(shared) == 1 else Freshness(since)
    return _Power(round(_watts(reads)), addresses, since, until, freshness)


@dataclass(slots=True)
class _Term:
    """A term of a balance while an interval is open."""

    #: Wh when the interval began.
    delivered: float
    received: float
    #: Watts at the last reading.
    watts: float
    #: Wh in both directions since then, from the power.
    flowed: float = 0.0


@dataclass(slots=True)
class _Span:
    """An interval of a balance."""

    #: When it began, and when power and counters were last read, in seconds of the clock of the polls.
    since: float
    at: float
    read_at: float
    #: Watts when power was last read.
    watts: float
    #: Wh by which the sum was positive and negative, from the power.
    inward: float = 0.0
    outward: float = 0.0
    #: Wh by which the net itself may be off.
    uncertainty: float = _ROUNDING
    #: Wh of the net that the totals contain already.
    counted: float = 0.0


class BalanceMeter(ABC):
    """Counters that add up to a net energy, interval by interval, and its direction from the power.

    An interval ends when every counter was read anew and none stands still although by its power it should have
    moved: such a counter is held back, and the others wait for it. The power between two readings is unknown: each
    reading is used for half of the time to the other.
    """

    def __init__(self, gap: float, *names: str) -> None:
        """Begin at zero; the power between two readings more than `gap` seconds apart is unknown."""
        self.totals = Totals(*names)
        self._gap = gap
        self._terms: dict[Address, _Term] = {}
        self._span = _Span(0.0, 0.0, 0.0, 0.0)
        #: Whether the interval was restored: if the clock was or is wrong, its length is unknown.
        self._is_restored = False
        #: When the terms were first read since then; None once a newer reading was taken.
        self._first: float | None = None
        #: The power that is shown.
        self._power: _Power | None = None

    @abstractmethod
    def _terms_of(self, objects: Objects) -> Mapping[Address, int]:
        """Return the terms, each with its sign; nothing where the system has something better, or too little."""

    @abstractmethod
    def _record(self, net: float) -> bool:
        """Add the net Wh of the open interval; return whether it ends with that."""

    @abstractmethod
    def _energy(self, watts: int | None) -> Counting:
        """Return the energy, and the power, None where unknown."""

    def update(self, objects: Objects, limit: Callable[[Address], float]) -> Update | None:
        """Add new energy; return it, None where there is nothing to calculate.

        `limit` returns the power in W that the counters at an address count at most.
        """
        if not (terms := self._terms_of(objects)):
            return None
        reads = _readings(objects, terms)
        if reads and (net := self._net(reads, limit)) is not None and self._record(net):
            self._begin(reads)
        parts = [objects[address] for address in terms]
        if not reads:
            return Update(self._energy(None), parts, oldest(map(power_freshness, parts)))
        self._power = _power(reads, self._power)
        return Update(self._energy(self._power.watts), parts, self._power.freshness)

    def _net(self, reads: Sequence[_Reading], limit: Callable[[Address], float]) -> float | None:
        """Take a reading and return the net Wh since the interval began, None while it can't end."""
        at = max(read.updated_at for read in reads)
        if [read.address for read in reads] != list(self._terms):
            self._begin(reads)
            return None
        oldest_at = min(read.updated_at for read in reads)
        if self._first is not None and oldest_at <= self._span.read_at + ANEW:
            if oldest_at <= self._first + ANEW:
                # The same again, or a restored snapshot, which may be older than the state of this meter.
                self._first = min(self._first, at)
                return None
            # A reading after the restart: the clock is behind, or was ahead before it.
            self._move_to(self._first, reads)
        if at < self._span.read_at - ANEW:
            self._begin(reads)
            return None
        measured_at = min(read.measured.updated_at for read in reads)
        if oldest_at > self._span.read_at + ANEW:
            self._first = None
            return self._take(reads, at, max(at, measured_at), limit)
        if measured_at > self._span.at + ANEW and measured_at > at:
            # Live power between two polls.
            self._flow_terms(reads, measured_at)
            self._flow(_watts(reads), measured_at)
        return None

    def _take(
        self, reads: Sequence[_Reading], at: float, measured_at: float, limit: Callable[[Address], float]
    ) -> float | None:
        """Take the readings of all terms, of counters and of power."""
        net, seconds = -self._span.counted, at - self._span.since
        # The time of an absence is unknown if the clock was wrong.
        hours = ((max(seconds, _ABSENT_AT_LEAST) if self._is_restored else seconds) + _LATE) / 3600
        for read, term in zip(reads, self._terms.values(), strict=True):
            delivered, received = read.delivered - term.delivered, read.received - term.received
            if delivered < 0 or received < 0 or delivered + received > limit(read.address) * hours:
                self._begin(reads)
                return None
            net += read.sign * (delivered - received)
        self._flow_terms(reads, measured_at)
        self._flow(_watts(reads), measured_at)
        self._span.read_at = at
        held = any(
            term.flowed > _MOVING and not read.delivered - term.delivered + read.received - term.received
            for read, term in zip(reads, self._terms.values(), strict=True)
        )
        return None if held and at - self._span.since < _HELD_AT_MOST else net

    def _flow_terms(self, reads: Sequence[_Reading], at: float) -> None:
        """Note the power of each term, and the energy until then."""
        seconds = at - self._span.at
        for read, term in zip(reads, self._terms.values(), strict=True):
            if 0 < seconds <= self._gap:
                term.flowed += (abs(term.watts) + abs(read.watts)) / 2 * seconds / 3600
                if read.address == BATTERY:
                    # Not counted, but calculated from the power before and after.
                    self._span.uncertainty += abs(term.watts - read.watts) / 2 * seconds / 3600
            term.watts = read.watts

    def _flow(self, watts: float, at: float) -> None:
        """Note the power of a reading, and the energy until then."""
        if 0 < at - self._span.at <= self._gap:
            for power in (self._span.watts, watts):
                watt_hours = power * (at - self._span.at) / 2 / 3600
                self._span.inward += max(0.0, watt_hours)
                self._span.outward += max(0.0, -watt_hours)
        self._span.watts, self._span.at = watts, max(at, self._span.at)

    def _move_to(self, at: float, reads: Sequence[_Reading]) -> None:
        """Let the restored interval go on from a time, with the power of these readings."""
        self._span.since = max(read.updated_at for read in reads)
        self._span.at = self._span.read_at = at
        self._span.watts = _watts(reads)
        for read, term in zip(reads, self._terms.values(), strict=True):
            term.watts = read.watts

    def _begin(self, reads: Sequence[_Reading]) -> None:
        """Begin an interval with these readings."""
        self._is_restored, self._first = False, None
        self._terms = {read.address: _Term(read.delivered, read.received, read.watts) for read in reads}
        at = max(read.updated_at for read in reads)
        self._span = _Span(at, at, at, _watts(reads))

    def resume(self, name: str, watt_hours: float) -> None:
        """Raise a total to its last recorded value.

        If a restored interval is still open, its net contains this energy too, and must not add it again.
        """
        gained = self.totals.raise_to(name, watt_hours)
        if self._is_restored:
            self._span.counted += -gained if name == "exported" else gained

    def follow(self, counter: CounterKey, step: Step) -> None:
        """Leave the step of a counter out of the interval: only what flowed meanwhile counts."""
        address, field = counter
        if (term := self._terms.get(address)) is None:
            return
        if field == "energy_received":
            term.received += step.leap
        else:
            term.delivered += step.leap

    # Storage

    def shift(self, seconds: float) -> None:
        """Move on to another clock."""
        self._span.since += seconds
        self._span.at += seconds
        self._span.read_at += seconds

    def dump(self, offset: float) -> dict[str, Json]:
        """Return the state to store, in seconds since the epoch."""
        span = asdict(self._span)
        span |= {name: span[name] + offset for name in ("since", "at", "read_at")}
        terms: Json = {to_key(address): asdict(term) for address, term in self._terms.items()}
        return {"totals": self.totals.dump(), "balance": {"span": span, "terms": terms} if terms else None}

    def load(self, data: Mapping[str, Json]) -> None:
        """Restore the state, with the interval that was open if all of it is valid."""
        self.totals.load(data.get("totals"))
        balance = data.get("balance")
        if not isinstance(balance, dict) or not isinstance(terms := balance.get("terms"), dict):
            return
        stored = balance.get("span")
        if isinstance(stored, dict) and "doubt" in stored:
            # The name of the field in versions before.
            stored = stored | {"uncertainty": stored["doubt"]}
        if isinstance(stored, dict):
            # Versions before read power together with the counters, and did not store what was counted.
            stored = {"read_at": stored.get("at"), "counted": 0.0, **stored}
        span = restored(_Span, stored)
        known = {from_key(key): term for key, value in terms.items() if (term := restored(_Term, value))}
        if span and len(known) == len(terms):
            self._span, self._terms, self._is_restored, self._first = span, known, True, math.inf
