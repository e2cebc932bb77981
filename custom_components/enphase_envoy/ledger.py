"""Energy that no counter of the gateway shows, but that follows from those it has: grid, batteries, house.

How, and with which error, is told in `docs/energy.md`. No Home Assistant here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
import math
from typing import Final, NamedTuple

from pyenphase.models.acb import EnvoyACBPower
from pyenphase.models.encharge import EnvoyEnchargeAggregate, EnvoyEnchargePower
from pyenphase.models.meters import CtMeterStatus, CtState, CtType, EnvoyMeterData
from pyenphase.models.system_production import EnvoySystemProduction

from . import capacity
from .books import Counter, Json, Moment
from .counters import Guard, Stepped
from .snapshot import Address, Leaf, from_key, to_key

#: Where what follows is found.
GRID: Final[Address] = ("grid_energy",)
BATTERY: Final[Address] = ("battery_energy",)
HOUSE: Final[Address] = ("house_energy",)

#: Seconds between two readings of power above which nobody knows what was between them, if a few polls are not longer.
_GAP: Final = 210.0
_GAP_POLLS: Final = 3.5
#: Seconds by which a reading must be newer than the last one, to be one.
_ANEW: Final = 0.5
#: Seconds that a remembered reading may be older than what was booked of it; more, and the clock was put back.
_OLD: Final = 1800.0
#: Seconds that a counter may be late with what it counted: microinverters report every five minutes.
_LATE: Final = 300.0
#: Wh that ought to have moved a counter: one that stands still nevertheless is held back.
_MOVING: Final = 3.0
#: Seconds after which it is believed.
_HELD_AT_MOST: Final = 7200.0
#: Wh that come of rounding alone: the library rounds every counter to whole ones.
_ROUNDING: Final = 2.0
#: What of the energy that goes into a battery, or is taken from its store, arrives: a round trip loses a tenth.
_EFFICIENCY: Final = 0.95
#: Wh that an AC battery holds.
_ACB_SIZE: Final = 1240.0
#: Percent by which the energy in a battery may differ from what its state of charge says.
_CHARGE_TOLERANCE: Final = 10.0
#: Wh that counters which were read at different times can be apart. More than that comes from what nobody measures.
_OWED_AT_MOST: Final = 1000.0

type _Leaves = Mapping[Address, Leaf]
#: Objects that add up to something, each with its sign.
type _Terms = Sequence[tuple[Address, int]]


@dataclass(frozen=True, slots=True)
class GridEnergy:
    """What went through the grid connection, as it follows from consumption and production."""

    #: Wh since the first reading.
    imported: int
    exported: int
    #: Watts, + is import; None where it is not known.
    power: int | None


@dataclass(frozen=True, slots=True)
class BatteryEnergy:
    """What went into all batteries and came out of them, as it follows from their power."""

    #: Wh since the first reading.
    charged: int
    discharged: int
    #: Watts, + is discharge.
    power: int


@dataclass(frozen=True, slots=True)
class HouseEnergy:
    """What the house itself used: what it produced, imported and discharged less what it exported and charged."""

    #: Wh since the first reading.
    consumed: int
    #: Watts; None where they are not known.
    power: int | None


class _Reading(NamedTuple):
    """What an object counted and shows."""

    #: Wh.
    delivered: float
    received: float
    #: Watts, + is delivering.
    watts: float


def _reading(value: object) -> _Reading | None:
    """Return what an object counted and shows, None where a part of it is not known."""
    match value:
        case EnvoyMeterData():
            found = _Reading(value.energy_delivered, value.energy_received, value.active_power)
        case EnvoySystemProduction():
            found = _Reading(value.watt_hours_lifetime, 0, value.watts_now)
        case BatteryEnergy():
            found = _Reading(value.discharged, value.charged, value.power)
        case _:
            return None
    return found if all(_is_number(number) for number in found) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _exact(watt_hours: float) -> float:
    """Round to a multiple of 2^-20 Wh: such numbers add up without an error, for as long as a house may stand."""
    return round(watt_hours * 2**20) / 2**20


# Which terms a system has.


def _meter(leaves: _Leaves, kind: CtType) -> EnvoyMeterData | None:
    """Return a CT meter that is in use."""
    leaf = leaves.get(("ctmeters", kind))
    meter = leaf.value if leaf and isinstance(leaf.value, EnvoyMeterData) else None
    return None if meter is None or meter.state == CtState.DISABLED else meter


def _has_storage_meter(leaves: _Leaves) -> bool:
    """Return whether a CT measures the batteries: one that never counted anything and does not measure is none."""
    if (meter := _meter(leaves, CtType.STORAGE)) is None:
        return False
    counted = meter.energy_delivered or meter.energy_received
    return bool(counted) or meter.metering_status != CtMeterStatus.NOT_METERING


def _production(leaves: _Leaves) -> Address | None:
    """Return what counts the production best; None where a part of it is of third parties."""
    if _meter(leaves, CtType.PV3P):
        return None
    if _meter(leaves, CtType.PRODUCTION):
        return "ctmeters", CtType.PRODUCTION
    return ("system_production",) if ("system_production",) in leaves else None


def _storage(leaves: _Leaves) -> list[Address]:
    """Return what counts the energy of the batteries, nothing where there are none."""
    if _has_storage_meter(leaves):
        return [("ctmeters", CtType.STORAGE)]
    return [BATTERY] if BATTERY in leaves else []


def _grid_terms(leaves: _Leaves) -> _Terms:
    """Return what the grid's energy follows from, nothing where a CT measures it or none measures the house."""
    production = _production(leaves)
    if _meter(leaves, CtType.NET_CONSUMPTION) or not _meter(leaves, CtType.TOTAL_CONSUMPTION) or production is None:
        return ()
    return (("ctmeters", CtType.TOTAL_CONSUMPTION), 1), (production, -1), *((term, -1) for term in _storage(leaves))


def _house_terms(leaves: _Leaves) -> _Terms:
    """Return what the house's energy follows from, nothing where the gateway's own consumption is just that."""
    production, storage = _production(leaves), _storage(leaves)
    if not _meter(leaves, CtType.NET_CONSUMPTION) or production is None or not storage:
        return ()
    return (production, 1), (("ctmeters", CtType.NET_CONSUMPTION), 1), *((term, 1) for term in storage)


def _readings(leaves: _Leaves, terms: _Terms) -> list[_Reading] | None:
    """Return what every term reads, None where one of them is not known."""
    reads = [_reading(leaves[address].value) for address, _ in terms]
    found = [read for read in reads if read]
    return found if len(found) == len(reads) else None


def _sum(terms: _Terms, reads: Sequence[_Reading]) -> float:
    """Return the watts that terms add up to."""
    return sum(sign * read.watts for (_, sign), read in zip(terms, reads, strict=True))


def _power(leaves: _Leaves, terms: _Terms) -> int | None:
    """Return the watts that terms add up to now, None where one of them is not known."""
    reads = _readings(leaves, terms)
    return None if reads is None else round(_sum(terms, reads))


# The books. What they remember is made of numbers alone.


def _restored[T](kind: type[T], memory: Json) -> T | None:
    """Return an object whose fields are numbers as it was dumped, None where that can't be understood."""
    if not isinstance(memory, dict):
        return None
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    known = all(_is_number(memory.get(name)) for name in names)
    return kind(**{name: memory[name] for name in names}) if known else None


class _Totals:
    """Wh since the first reading, which never fall."""

    def __init__(self, *names: str) -> None:
        """Begin at zero."""
        self.watt_hours = dict.fromkeys(names, 0.0)

    def add(self, name: str, watt_hours: float) -> None:
        """Book what is not negative."""
        self.watt_hours[name] += max(0.0, _exact(watt_hours))

    def raise_to(self, name: str, watt_hours: float) -> None:
        """Go on from what was reached before; what there is no total of is left out."""
        if name in self.watt_hours and _is_number(watt_hours):
            self.watt_hours[name] = max(self.watt_hours[name], _exact(watt_hours))

    def shown(self, name: str) -> int:
        """Return whole Wh."""
        return math.floor(self.watt_hours[name])

    def load(self, memory: Json) -> None:
        """Go on from what was remembered."""
        for name, value in memory.items() if isinstance(memory, dict) else ():
            if isinstance(value, int | float):
                self.raise_to(name, value)


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


class _Balance:
    """Counters that add up to a net energy, interval by interval, and when it was on which side as power tells.

    An interval ends when every counter was read anew and none stands still where power says that it ought to have
    moved: such a one is held back, and the others wait for it. What the power was between two readings nobody knows:
    each of them holds for half of the way to the other.
    """

    def __init__(self, gap: float) -> None:
        """Begin without a reading; two that are more than `gap` seconds apart say nothing of what was between them."""
        self._gap = gap
        self._terms: dict[Address, _Term] = {}
        self.span = _Span(0.0, 0.0, 0.0)

    def read(self, leaves: _Leaves, terms: _Terms) -> float | None:
        """Take a reading and return the net Wh since the interval began, None while it can't end."""
        if (reads := _readings(leaves, terms)) is None:
            return None
        seen = [leaves[address].seen for address, _ in terms]
        if [address for address, _ in terms] != list(self._terms) or max(seen) < self.span.at - _ANEW:
            self.begin(leaves, terms)
            return None
        if min(seen) <= self.span.at + _ANEW:
            return None
        return self._take(leaves, terms, reads, max(seen))

    def _take(self, leaves: _Leaves, terms: _Terms, reads: Sequence[_Reading], at: float) -> float | None:
        """Take what all terms read at a time."""
        net, held = 0.0, False
        for (address, sign), term, read in zip(terms, self._terms.values(), reads, strict=True):
            delivered, received = read.delivered - term.delivered, read.received - term.received
            most = capacity.watts(leaves, address) * (at - self.span.since + _LATE) / 3600
            if delivered < 0 or received < 0 or delivered + received > most:
                self.begin(leaves, terms)
                return None
            if at - self.span.at <= self._gap:
                hours = (at - self.span.at) / 3600
                term.flowed += (abs(term.watts) + abs(read.watts)) / 2 * hours
                if address == BATTERY:
                    # Not counted, but guessed from the power before and after.
                    self.span.doubt += abs(term.watts - read.watts) / 2 * hours
            term.watts = read.watts
            held = held or (term.flowed > _MOVING and not delivered + received)
            net += sign * (delivered - received)
        self._flow(_sum(terms, reads), at)
        return None if held and at - self.span.since < _HELD_AT_MOST else net

    def _flow(self, watts: float, at: float) -> None:
        """Note the power at a reading, and what flowed until then."""
        if at - self.span.at <= self._gap:
            for power in (self.span.watts, watts):
                watt_hours = power * (at - self.span.at) / 2 / 3600
                self.span.inward += max(0.0, watt_hours)
                self.span.outward += max(0.0, -watt_hours)
        self.span.watts, self.span.at = watts, at

    def follow(self, step: Stepped) -> None:
        """Take what a counter leapt by out of the interval: only what flowed meanwhile counts."""
        address, field = step.counter
        if (term := self._terms.get(address)) is None:
            return
        leap = step.after - step.before - step.gained
        if field == "energy_received":
            term.received += leap
        else:
            term.delivered += leap

    def begin(self, leaves: _Leaves, terms: _Terms) -> None:
        """Begin an interval with what is read now."""
        if (reads := _readings(leaves, terms)) is not None:
            self._terms = {address: _Term(*read) for (address, _), read in zip(terms, reads, strict=True)}
            at = max(leaves[address].seen for address, _ in terms)
            self.span = _Span(at, at, _sum(terms, reads))

    def shift(self, seconds: float) -> None:
        """Move on to another clock."""
        self.span.since += seconds
        self.span.at += seconds

    def dump(self, offset: float) -> Json:
        """Return the open interval, in seconds since the epoch."""
        if not self._terms:
            return None
        span = asdict(self.span) | {"since": self.span.since + offset, "at": self.span.at + offset}
        return {"span": span, "terms": {to_key(address): asdict(term) for address, term in self._terms.items()}}

    def load(self, memory: Json) -> None:
        """Go on with the interval that was open."""
        if not isinstance(memory, dict) or not isinstance(terms := memory.get("terms"), dict):
            return
        span = _restored(_Span, memory.get("span"))
        restored = {from_key(key): term for key, value in terms.items() if (term := _restored(_Term, value))}
        if span and len(restored) == len(terms):
            self.span, self._terms = span, restored


class _Grid:
    """Import and export: the net is exact, and its two sides are as power tells."""

    def __init__(self, gap: float) -> None:
        """Begin at zero."""
        self.totals = _Totals("imported", "exported")
        self.balance = _Balance(gap)

    def enter(self, leaves: _Leaves, terms: _Terms) -> GridEnergy:
        """Book what is new."""
        if (net := self.balance.read(leaves, terms)) is not None:
            self._book(net, leaves, terms)
        return GridEnergy(self.totals.shown("imported"), self.totals.shown("exported"), _power(leaves, terms))

    def _book(self, net: float, leaves: _Leaves, terms: _Terms) -> None:
        """Book a net energy on both sides, in the proportion that power tells and with exactly that difference.

        Both sides are stretched and shrunk by the same part. That is right whenever the power between two readings was
        either what the one or what the other said, in however many turns.
        """
        inward, outward = self.balance.span.inward, self.balance.span.outward
        error = net - (inward - outward)
        if abs(error) <= inward + outward and inward + outward > 0:
            imported = max(_exact(inward * (1 + error / (inward + outward))), net, 0.0)
        elif 0 < abs(net) <= self.balance.span.doubt:
            # No more than it may be off by. If it is true, it grows.
            return
        else:
            imported = max(net, 0.0)
        self.totals.add("imported", imported)
        self.totals.add("exported", imported - net)
        self.balance.begin(leaves, terms)

    def shift(self, seconds: float) -> None:
        """Move on to another clock."""
        self.balance.shift(seconds)

    def dump(self, offset: float) -> dict[str, Json]:
        """Return all that has to be remembered."""
        return {"totals": {**self.totals.watt_hours}, "balance": self.balance.dump(offset)}

    def load(self, memory: Mapping[str, Json]) -> None:
        """Go on from what was remembered."""
        self.totals.load(memory.get("totals"))
        self.balance.load(memory.get("balance"))


class _House:
    """What the house used: a sum of counters, held where it would fall until that is caught up."""

    def __init__(self, gap: float) -> None:
        """Begin at zero."""
        self.totals = _Totals("consumed")
        self.balance = _Balance(gap)
        #: Wh by which the sum fell since its highest.
        self._owed = 0.0

    def enter(self, leaves: _Leaves, terms: _Terms) -> HouseEnergy:
        """Book what is new."""
        if (net := self.balance.read(leaves, terms)) is not None:
            self.totals.add("consumed", net - self._owed)
            self._owed = min(max(0.0, self._owed - net), _OWED_AT_MOST)
            self.balance.begin(leaves, terms)
        power = _power(leaves, terms)
        return HouseEnergy(self.totals.shown("consumed"), None if power is None else max(0, power))

    def shift(self, seconds: float) -> None:
        """Move on to another clock."""
        self.balance.shift(seconds)

    def dump(self, offset: float) -> dict[str, Json]:
        """Return all that has to be remembered."""
        balance = self.balance.dump(offset)
        return {"totals": {**self.totals.watt_hours}, "owed": self._owed, "balance": balance}

    def load(self, memory: Mapping[str, Json]) -> None:
        """Go on from what was remembered."""
        self.totals.load(memory.get("totals"))
        self.balance.load(memory.get("balance"))
        owed = memory.get("owed")
        self._owed = min(max(0.0, owed), _OWED_AT_MOST) if isinstance(owed, int | float) else 0.0


@dataclass(frozen=True, slots=True)
class _Charge:
    """What batteries of one kind say at a time."""

    #: Seconds of the clock of the polls.
    at: float
    #: Watts, + is discharge.
    watts: float
    #: Wh that are in them, and that they hold when full: 0 where that is not known.
    stored: float = 0.0
    size: float = 0.0


class _Batteries:
    """Energy into and out of the batteries, from their power, and over gaps from what is in them."""

    def __init__(self, gap: float) -> None:
        """Begin at zero."""
        self.totals = _Totals("charged", "discharged")
        self._gap = gap
        #: The last reading of each kind.
        self._last: dict[str, _Charge] = {}

    def enter(self, leaves: _Leaves) -> tuple[BatteryEnergy, list[Leaf]] | None:
        """Book what is new; return the energy and what it is made of, None where there are no batteries."""
        watts, parts = 0.0, []
        for kind, found, charge in (("iq", *_iq_batteries(leaves)), ("ac", *_ac_batteries(leaves))):
            parts += found
            if charge:
                self._read(kind, charge)
                watts += charge.watts
        if not parts:
            return None
        return BatteryEnergy(self.totals.shown("charged"), self.totals.shown("discharged"), round(watts)), parts

    def _read(self, kind: str, new: _Charge) -> None:
        """Book what flowed since the last reading of a kind of battery."""
        last = self._last.get(kind)
        if last and last.at - _OLD < new.at <= last.at + _ANEW:
            # The same again, or what was remembered of the gateway, which may be older than the books.
            return
        self._last[kind] = new
        if last is None or new.at < last.at:
            return
        if (seconds := new.at - last.at) <= self._gap:
            for watts in (last.watts, new.watts):
                self._book(watts * seconds / 2 / 3600)
        elif last.size and last.size == new.size:
            gained = new.stored - last.stored
            self._book(-gained / _EFFICIENCY if gained > 0 else -gained * _EFFICIENCY)

    def _book(self, discharged: float) -> None:
        self.totals.add("discharged", discharged)
        self.totals.add("charged", -discharged)

    def shift(self, seconds: float) -> None:
        """Move on to another clock."""
        self._last = {kind: replace(last, at=last.at + seconds) for kind, last in self._last.items()}

    def dump(self, offset: float) -> dict[str, Json]:
        """Return all that has to be remembered."""
        last: dict[str, Json] = {kind: asdict(last) | {"at": last.at + offset} for kind, last in self._last.items()}
        return {"totals": {**self.totals.watt_hours}, "last": last}

    def load(self, memory: Mapping[str, Json]) -> None:
        """Go on from what was remembered."""
        self.totals.load(memory.get("totals"))
        last = memory.get("last")
        found = last.items() if isinstance(last, dict) else ()
        self._last = {kind: charge for kind, value in found if (charge := _restored(_Charge, value))}


def _iq_batteries(leaves: _Leaves) -> tuple[list[Leaf], _Charge | None]:
    """Return all IQ batteries, and what they say together."""
    found = [leaf for address, leaf in leaves.items() if address[0] == "encharge_power"]
    powers = [leaf.value.real_power_mw for leaf in found if isinstance(leaf.value, EnvoyEnchargePower)]
    if not found or not all(_is_number(power) for power in powers):
        return found, None
    charge = _Charge(min(leaf.seen for leaf in found), sum(powers) / 1000)
    leaf = leaves.get(("encharge_aggregate",))
    if leaf and isinstance(together := leaf.value, EnvoyEnchargeAggregate):
        size = together.max_available_capacity
        charge = _filled(charge, leaf, together.available_energy, size, together.state_of_charge)
    return found, charge


def _ac_batteries(leaves: _Leaves) -> tuple[list[Leaf], _Charge | None]:
    """Return what stands for all AC batteries, and what they say together."""
    leaf = leaves.get(("acb_power",))
    if leaf is None or not isinstance(acb := leaf.value, EnvoyACBPower):
        return [], None
    if not _is_number(acb.power):
        return [leaf], None
    size = acb.batteries * _ACB_SIZE if _is_number(acb.batteries) else 0.0
    return [leaf], _filled(_Charge(leaf.seen, acb.power), leaf, acb.charge_wh, size, acb.state_of_charge)


def _filled(charge: _Charge, leaf: Leaf, stored: float, size: float, percent: float) -> _Charge:
    """Add what is in the batteries, where it was said at about the same time and agrees with their state of charge."""
    known = _is_number(stored) and _is_number(size) and _is_number(percent) and size > 0
    if not known or abs(leaf.seen - charge.at) > _GAP or abs(100 * stored / size - percent) > _CHARGE_TOLERANCE:
        return charge
    return replace(charge, stored=float(stored), size=float(size))


class Ledger:
    """The step of the books that adds grid, batteries and house."""

    name = "ledger"

    def __init__(self, guard: Guard, poll_interval: float = 60.0) -> None:
        """Begin at zero, with so many seconds between polls, and follow the steps that the guard lets through."""
        self._guard = guard
        gap = max(_GAP, _GAP_POLLS * poll_interval)
        self._grid, self._house, self._batteries = _Grid(gap), _House(gap), _Batteries(gap)
        self._books: dict[Address, _Grid | _House | _Batteries] = {
            GRID: self._grid,
            BATTERY: self._batteries,
            HOUSE: self._house,
        }
        #: What was shown last.
        self._shown: dict[Address, Leaf] = {}
        #: What is added to the times in the books to get seconds since the epoch; None: that is what they are.
        self._offset: float | None = None

    def enter(self, leaves: Mapping[Address, Leaf], moment: Moment) -> Mapping[Address, Leaf]:
        """Return the leaves that this adds: what was read before is none the less, and none the later, for it."""
        if self._offset is None:
            for book in self._books.values():
                book.shift(-moment.offset)
        self._offset = moment.offset
        for step in self._guard.steps:
            self._grid.balance.follow(step)
            self._house.balance.follow(step)
        added: dict[Address, Leaf] = {}
        if not _has_storage_meter(leaves) and (found := self._batteries.enter(leaves)):
            added[BATTERY] = self._leaf(BATTERY, *found)
            leaves = {**leaves, **added}
        if terms := _grid_terms(leaves):
            added[GRID] = self._leaf(GRID, self._grid.enter(leaves, terms), (leaves[where] for where, _ in terms))
        if terms := _house_terms(leaves):
            added[HOUSE] = self._leaf(HOUSE, self._house.enter(leaves, terms), (leaves[where] for where, _ in terms))
        return added

    def _leaf(self, address: Address, value: object, parts: Iterable[Leaf]) -> Leaf:
        """Return a leaf as old as the oldest of its parts: the same object, and of the same value, while it can be."""
        freshness = min((part.freshness for part in parts), key=lambda freshness: freshness.seen)
        old = self._shown.get(address)
        if old is None or old.value != value:
            old = Leaf(value, freshness)
        elif old.freshness is not freshness:
            old = Leaf(old.value, freshness)
        self._shown[address] = old
        return old

    def resume(self, counter: Counter, watt_hours: float) -> None:
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
