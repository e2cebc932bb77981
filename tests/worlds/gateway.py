"""The objects of one poll of a system: right as the hardware reports them, or with wrong readings."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
import random
from typing import Any, Final

from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.meters import CtType, EnvoyMeterData
from pyenphase.models.system_consumption import EnvoySystemConsumption
from pyenphase.models.system_production import EnvoySystemProduction

from custom_components.enphase_envoy.energy.counter import WRAP
from custom_components.enphase_envoy.energy.counter_filter import COUNTERS, POWER
from custom_components.enphase_envoy.model.snapshot import Address, CounterKey

from .system import DAY, REPORT, Plan, System

PRODUCTION: Final[Address] = ("system_production",)
CONSUMPTION: Final[Address] = ("system_consumption",)
NET: Final[Address] = ("system_net_consumption",)
#: Groups of inverters that report at the same second, and the inverters of each that are read one by one.
_GROUPS: Final = 12

type Objects = dict[Address, Any]
type Distort = Callable[[float, float], float]

#: Wrong readings of the catalogue, given the right one and the one when the fault began.
WRONG: Final[Mapping[str, Distort]] = {
    "zero": lambda _right, _first: 0.0,
    "half": lambda right, _first: right / 2,
    "third": lambda right, _first: right / 3,
    "triple": lambda right, _first: right * 3,
    "plus 2^32": lambda right, _first: right + 2**32,
    "plus 12 %": lambda right, _first: right * 1.12,
    "plus 5 %": lambda right, _first: right * 1.05,
    "minus 5 %": lambda right, _first: right * 0.95,
    "plus 700 Wh": lambda right, _first: right + 700,
    "plus 5 kWh": lambda right, _first: right + 5000,
    "minus 300 Wh": lambda right, _first: max(right - 300, 0.0),
    "negative": lambda right, _first: -right,
    "wrapped": lambda right, _first: right % WRAP,
    "frozen": lambda _right, first: first,
    "noise": lambda right, _first: right * (0.2 + (right * 7919.0) % 3),
}


@dataclass(frozen=True)
class Interval:
    """A time in which something happens, in seconds since the epoch."""

    start: float
    end: float

    def __contains__(self, time: float) -> bool:
        """Return whether a time is within."""
        return self.start <= time < self.end


@dataclass(frozen=True)
class Fault:
    """Wrong readings of all counters, or of those at one address."""

    when: Interval
    kind: str
    address: Address | None = None
    #: Right readings come in between: one of so many is wrong, every so many seconds.
    every: int = 1
    poll: float = 60.0
    #: The reported power is wrong as well, in the same way or in another.
    power: str | None = None

    def __contains__(self, time: float) -> bool:
        """Return whether a reading is wrong."""
        return time in self.when and int((time - self.when.start) / self.poll) % self.every == 0


@dataclass(frozen=True)
class NewMeter:
    """A counter that begins at another value."""

    at: float
    key: CounterKey
    begins: float


@dataclass
class Gateway:
    """Reads a system."""

    system: System
    silences: list[Interval] = field(default_factory=list)
    outages: list[Interval] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    meters: list[NewMeter] = field(default_factory=list)
    #: When the firmware begins to count modulo 2^32 J, after some minutes of zeros.
    upgrade: Interval | None = None
    #: The counters of the inverters are near 2^32 J.
    wraps: bool = False
    #: Seconds until the last inverter is back after a silence.
    spread: float = 600.0
    _reported: dict[int, float] = field(default_factory=dict)
    _inverters: Objects = field(default_factory=dict)
    _frozen: dict[tuple[Fault, CounterKey], float] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """The plan of the system."""
        return self.system.plan

    def objects(self, time: float) -> tuple[Objects, Objects, frozenset[Address]]:
        """Return the reported objects, the same without any event, and the addresses of wrong ones."""
        right = dict(self._metered(time) if self.plan.metered else self._unmetered(time))
        plain = dict(right)
        for meter in self.meters:
            if time >= meter.at:
                self._begin(right, meter)
        if self.upgrade and time >= self.upgrade.start:
            report = right[PRODUCTION]
            lifetime = report.watt_hours_lifetime % WRAP
            zeros = EnvoySystemProduction(0, 0, 0, 0)
            right[PRODUCTION] = zeros if time in self.upgrade else replace(report, watt_hours_lifetime=round(lifetime))
        wrong = {PRODUCTION} if self.upgrade and time in self.upgrade else set()
        for fault in self.faults:
            if time in fault:
                wrong |= self._distort(right, fault)
        return right, plain, frozenset(wrong)

    def _begin(self, objects: Objects, meter: NewMeter) -> None:
        address, name = meter.key
        old = self._metered(meter.at) if self.plan.metered else None
        before = getattr(dict(old)[address], name) if old else 0.0
        value = meter.begins + getattr(objects[address], name) - before
        objects[address] = replace(objects[address], **{name: round(value)})

    def _distort(self, objects: Objects, fault: Fault) -> set[Address]:
        distort = WRONG[fault.kind]
        wrong = set[Address]()
        for address, value in objects.items():
            if fault.address not in (None, address) or (address[0] == "inverters" and address not in self._inverters):
                continue
            new = {}
            for name in COUNTERS[type(value)]:
                right = getattr(value, name)
                first = self._frozen.setdefault((fault, (address, name)), right)
                new[name] = round(distort(right, first))
            # With a negative power, a fall of a computed consumption is like one that batteries cause.
            if fault.power and (fault.power != "negative" or address != CONSUMPTION):
                new[POWER[type(value)]] = round(WRONG[fault.power](getattr(value, POWER[type(value)]), 0.0))
            if any(getattr(value, name) != number for name, number in new.items()):
                objects[address] = replace(value, **new)
                wrong.add(address)
        return wrong

    # Systems without CTs

    def _unmetered(self, time: float) -> Iterator[tuple[Address, Any]]:
        plan, roof = self.plan, self.system.roof
        groups = min(plan.inverters, _GROUPS)
        energy = watts = 0.0
        for group in range(groups):
            number = len(range(group, plan.inverters, groups))
            at = self._report_time(group, time)
            one, power = roof.at(at) / plan.inverters, roof.power(at) / plan.inverters
            energy, watts = energy + number * one, watts + number * power
            if group < 3:
                self._report(group, at, one, power)
        yield from self._inverters.items()
        yield from self._others()
        energy, watts = energy * (1 + plan.unlisted), watts * (1 + plan.unlisted)
        yield PRODUCTION, EnvoySystemProduction(round(plan.lifetime + energy), 0, 0, self._watts(watts))

    def _watts(self, power: float) -> int:
        """Return the power as reported."""
        return round(power) if self.plan.reports_power else 0

    def _report_time(self, group: int, time: float) -> float:
        """Return when a group reported last, as far as it reached the gateway."""
        last = self._reported.setdefault(group, DAY - 3600)
        report = (time - group * 23.0) // REPORT * REPORT + group * 23.0
        late = self.spread * ((group * 5) % _GROUPS) / _GROUPS
        silent = any(report in Interval(each.start, each.end + late) for each in self.silences)
        if not silent and not any(report in each for each in self.outages) and self.system.roof.power(report):
            last = self._reported[group] = max(last, report)
        return last

    def _report(self, group: int, at: float, energy: float, power: float) -> None:
        address = ("inverters", f"4822{group:08d}")
        known = self._inverters.get(address)
        if known is None or known.last_report_date != int(at):
            begins = WRAP - 900 if self.wraps else self.plan.lifetime / self.plan.inverters
            lifetime = round((begins + energy) % WRAP)
            self._inverters[address] = EnvoyInverter(
                address[1], int(at), round(power), round(self.plan.rated), lifetime_energy=lifetime
            )

    def _others(self) -> Iterator[tuple[Address, Any]]:
        if not hasattr(self, "_static"):
            serials = (f"4823{number:08d}" for number in range(max(0, self.plan.inverters - 3)))
            self._static = {
                ("inverters", serial): EnvoyInverter(serial, int(DAY), 0, round(self.plan.rated), lifetime_energy=5000)
                for serial in serials
            }
        yield from self._static.items()

    # Systems with CTs

    def _metered(self, time: float) -> Iterator[tuple[Address, Any]]:
        system, plan = self.system, self.plan
        base = plan.lifetime
        produced, power = base + system.production.at(time), system.production.power(time)
        yield from self._meter(CtType.PRODUCTION, produced, 3.0, power)
        yield PRODUCTION, EnvoySystemProduction(round(produced), 0, 0, self._watts(power))
        if plan.total_consumption:
            used, need = 0.8 * base + system.load.at(time), system.load.power(time)
            yield from self._meter(CtType.TOTAL_CONSUMPTION, used, 0.0, need)
            yield NET, EnvoySystemConsumption(round(used - produced), 0, 0, self._watts(need - power))
        else:
            taken, given = 0.7 * base + system.imported.at(time), 0.4 * base + system.exported.at(time)
            watts = system.net.power(time)
            yield from self._meter(CtType.NET_CONSUMPTION, taken, given, watts)
            yield NET, EnvoySystemConsumption(round(taken - given), 0, 0, self._watts(watts))
            used, need = produced + taken - given, power + watts
        yield CONSUMPTION, EnvoySystemConsumption(round(used), 0, 0, self._watts(need))
        if plan.battery:
            out, into = 0.2 * base + system.discharged.at(time), 0.25 * base + system.charged.at(time)
            watts = system.discharged.power(time) - system.charged.power(time)
            yield from self._meter(CtType.STORAGE, out, into, watts)

    def _meter(self, kind: CtType, delivered: float, received: float, watts: float) -> Iterator[tuple[Address, Any]]:
        watts = self._watts(watts)
        yield ("ctmeters", kind), meter(delivered, received, watts)
        for phase in range(self.plan.phases if self.plan.phases > 1 else 0):
            share = (0.45, 0.31, 0.24)[phase] if self.plan.phases == 3 else 0.5
            values = (delivered * share, received * share, watts * share)
            yield ("ctmeters_phases", kind, f"L{phase + 1}"), meter(*values) if phase == 0 else _IDLE


def meter(delivered: float, received: float, watts: float) -> EnvoyMeterData:
    """Return a reading of a CT meter."""
    numbers = (round(delivered), round(received), round(watts))
    return EnvoyMeterData("1", 0, *numbers, 1.0, 230.0, 1.0, 50.0, None, None, None, None)


_IDLE: Final = meter(70.0, 0.0, 0.0)


def random_faults(rng: random.Random, poll: float, addresses: list[Address], until: float) -> Iterator[Fault]:
    """Yield some wrong readings of a day, of one to ten polls each, one after another."""
    starts = sorted(rng.uniform(DAY + 1800, until) for _ in range(rng.choice([0, 1, 2, 4, 8])))
    free = DAY
    for start in starts:
        address, when = rng.choice([None, rng.choice(addresses)]), Interval(start, start + rng.randint(1, 10) * poll)
        if start >= free:
            free = when.end + 1200
            yield Fault(when, rng.choice([*WRONG]), address)
