"""Counters that add up to an energy which none of them counts."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from pyenphase.models.meters import EnvoyMeterData
from pyenphase.models.system_production import EnvoySystemProduction

from ...model.json_data import Json, restored
from ...model.snapshot import Address, CounterKey, TimedValue, from_key, to_key
from ...model.validation import is_number
from .. import limits as capacity
from ..counter import Step
from .battery import BATTERY, BatteryEnergy
from .meters import ANEW, Objects
from .totals import Totals

#: Seconds that a counter may be late with what it counted: microinverters report every five minutes.
_LATE: Final = 300.0
#: Wh that ought to have moved a counter: one that stands still nevertheless is held back.
_MOVING: Final = 3.0
#: Seconds after which it is believed.
_HELD_AT_MOST: Final = 7200.0
#: Wh that come of rounding alone: the library rounds every counter to whole ones.
_ROUNDING: Final = 2.0


class _Reading(NamedTuple):
    """What a term of a balance counted and shows."""

    address: Address
    #: 1 where it is added, -1 where it is taken away.
    sign: int
    #: Seconds of the clock of the polls.
    updated_at: float
    #: Wh.
    delivered: float
    received: float
    #: Watts, + is delivering.
    watts: float


def _readings(objects: Objects, terms: Mapping[Address, int]) -> list[_Reading] | None:
    """Return what every term reads, None where a part of one of them is not known."""
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
        reads.append(_Reading(address, sign, timed.updated_at, *numbers))
    return reads


def _watts(reads: Sequence[_Reading]) -> float:
    """Return the power that the terms add up to."""
    return sum(read.sign * read.watts for read in reads)


@dataclass(slots=True)
class _Term:
    """A term of a balance while an interval is open."""

    #: Wh when the interval began.
    delivered: float
    received: float
    #: Watts at the last reading.
    watts: float
    #: Wh that went through since, either way, as power tells.
    flowed: float = 0.0


@dataclass(slots=True)
class _Span:
    """An interval of a balance."""

    #: When it began, and when the last reading was, in seconds of the clock of the polls.
    since: float
    at: float
    #: Watts at the last reading.
    watts: float
    #: Wh by which the sum was positive and negative, as power tells.
    inward: float = 0.0
    outward: float = 0.0
    #: Wh by which the net itself may be off.
    doubt: float = _ROUNDING


class BalanceMeter(ABC):
    """Counters that add up to a net energy, interval by interval, and when it was on which side as power tells.

    An interval ends when every counter was read anew and none stands still where power says that it ought to have
    moved: such a one is held back, and the others wait for it. What the power was between two readings nobody knows:
    each of them holds for half of the way to the other.
    """

    def __init__(self, gap: float, *names: str) -> None:
        """Begin at zero; two readings more than `gap` seconds apart say nothing of what was between them."""
        self.totals = Totals(*names)
        self._gap = gap
        self._terms: dict[Address, _Term] = {}
        self._span = _Span(0.0, 0.0, 0.0)

    @abstractmethod
    def _follows_from(self, objects: Objects) -> Mapping[Address, int]:
        """Return the terms, each with its sign; nothing where the system offers something better, or too little."""

    @abstractmethod
    def _book(self, net: float) -> bool:
        """Book the net Wh of the open interval; return whether it ends with that."""

    @abstractmethod
    def _energy(self, watts: int | None) -> object:
        """Return what was booked, and the power, None where it is not known."""

    def enter(self, objects: Objects) -> tuple[object, list[TimedValue]] | None:
        """Book what is new; return the energy and what it is made of, None where there is nothing to work out."""
        if not (terms := self._follows_from(objects)):
            return None
        reads = _readings(objects, terms)
        if reads and (net := self._net(objects, reads)) is not None and self._book(net):
            self._begin(reads)
        return self._energy(None if reads is None else round(_watts(reads))), [objects[address] for address in terms]

    def _net(self, objects: Objects, reads: Sequence[_Reading]) -> float | None:
        """Take a reading and return the net Wh since the interval began, None while it can't end."""
        at = max(read.updated_at for read in reads)
        if [read.address for read in reads] != list(self._terms) or at < self._span.at - ANEW:
            self._begin(reads)
            return None
        if min(read.updated_at for read in reads) <= self._span.at + ANEW:
            return None
        return self._take(objects, reads, at)

    def _take(self, objects: Objects, reads: Sequence[_Reading], at: float) -> float | None:
        """Take what all terms read at a time."""
        net, held = 0.0, False
        for read, term in zip(reads, self._terms.values(), strict=True):
            delivered, received = read.delivered - term.delivered, read.received - term.received
            most = capacity.watts(objects, read.address) * (at - self._span.since + _LATE) / 3600
            if delivered < 0 or received < 0 or delivered + received > most:
                self._begin(reads)
                return None
            if at - self._span.at <= self._gap:
                hours = (at - self._span.at) / 3600
                term.flowed += (abs(term.watts) + abs(read.watts)) / 2 * hours
                if read.address == BATTERY:
                    # Not counted, but guessed from the power before and after.
                    self._span.doubt += abs(term.watts - read.watts) / 2 * hours
            term.watts = read.watts
            held = held or (term.flowed > _MOVING and not delivered + received)
            net += read.sign * (delivered - received)
        self._flow(_watts(reads), at)
        return None if held and at - self._span.since < _HELD_AT_MOST else net

    def _flow(self, watts: float, at: float) -> None:
        """Note the power at a reading, and what flowed until then."""
        if at - self._span.at <= self._gap:
            for power in (self._span.watts, watts):
                watt_hours = power * (at - self._span.at) / 2 / 3600
                self._span.inward += max(0.0, watt_hours)
                self._span.outward += max(0.0, -watt_hours)
        self._span.watts, self._span.at = watts, at

    def _begin(self, reads: Sequence[_Reading]) -> None:
        """Begin an interval with what is read now."""
        self._terms = {read.address: _Term(read.delivered, read.received, read.watts) for read in reads}
        at = max(read.updated_at for read in reads)
        self._span = _Span(at, at, _watts(reads))

    def follow(self, counter: CounterKey, step: Step) -> None:
        """Leave the step of a counter out of the interval: only what flowed meanwhile counts."""
        address, field = counter
        if (term := self._terms.get(address)) is None:
            return
        if field == "energy_received":
            term.received += step.leap
        else:
            term.delivered += step.leap

    # Memory

    def shift(self, seconds: float) -> None:
        """Move on to another clock."""
        self._span.since += seconds
        self._span.at += seconds

    def dump(self, offset: float) -> dict[str, Json]:
        """Return all that has to be remembered, in seconds since the epoch."""
        span = asdict(self._span) | {"since": self._span.since + offset, "at": self._span.at + offset}
        terms: Json = {to_key(address): asdict(term) for address, term in self._terms.items()}
        return {"totals": self.totals.dump(), "balance": {"span": span, "terms": terms} if terms else None}

    def load(self, memory: Mapping[str, Json]) -> None:
        """Go on from what was remembered, with the interval that was open if all of it can be understood."""
        self.totals.load(memory.get("totals"))
        balance = memory.get("balance")
        if not isinstance(balance, dict) or not isinstance(terms := balance.get("terms"), dict):
            return
        span = restored(_Span, balance.get("span"))
        known = {from_key(key): term for key, value in terms.items() if (term := restored(_Term, value))}
        if span and len(known) == len(terms):
            self._span, self._terms = span, known
