"""One world: a random day, what the component records of it, and what Home Assistant's own integration would."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC
import json
import random
from typing import Final

from custom_components.enphase_envoy.energy.counter import WRAP, Step, StepCause
from custom_components.enphase_envoy.energy.counter_filter import COUNTERS, CounterFilter
from custom_components.enphase_envoy.energy.pipeline import ProcessingContext
from custom_components.enphase_envoy.model.snapshot import Address, CounterKey, Freshness, TimedValue
from custom_components.enphase_envoy.statistics.recorder import recorded_change

from .gateway import CONSUMPTION, NET, WRONG, Fault, Gateway, Interval, NewMeter, random_faults
from .recorder import RecordedCounter
from .system import DAY, System, random_plan

#: Nothing goes wrong from this time of the day on, so that all is settled when the day ends.
QUIET: Final = DAY + 21.5 * 3600
END: Final = DAY + 86390.0


@dataclass
class World:
    """A day of a system, poll by poll."""

    gateway: Gateway
    poll: float = 60.0
    #: When Home Assistant does not run.
    stops: list[Interval] = field(default_factory=list)
    #: When the clock of Home Assistant is wrong, and by how many seconds.
    clocks: list[tuple[Interval, float]] = field(default_factory=list)
    ours: dict[CounterKey, RecordedCounter] = field(default_factory=dict)
    own: dict[CounterKey, RecordedCounter] = field(default_factory=dict)
    #: The right readings, and the energy that they came to.
    right: dict[CounterKey, float] = field(default_factory=dict)
    true: dict[CounterKey, float] = field(default_factory=lambda: defaultdict(float))
    #: The longest time in seconds that right readings were held back, by counter.
    held: dict[CounterKey, float] = field(default_factory=lambda: defaultdict(float))
    messages: list[CounterKey] = field(default_factory=list)
    _reports: dict[CounterKey, float] = field(default_factory=dict)
    _reported_at: float = 0.0
    _held_from: dict[CounterKey, float] = field(default_factory=dict)
    _filter: CounterFilter = field(default_factory=CounterFilter)
    _freshness: dict[Address, TimedValue] = field(default_factory=dict)

    def run(self) -> World:
        """Let the day pass."""
        polls = int((END - DAY) / self.poll)
        pending = sorted(self.stops, key=lambda each: each.start)
        for number in range(polls):
            time = DAY + number * self.poll + (number * 7919 % 13) / 10
            if pending and time >= pending[0].start:
                if time < pending[0].end:
                    continue
                pending.pop(0)
                self._restart()
            if not any(time in outage for outage in self.gateway.outages):
                self._read(time)
        return self

    def _restart(self) -> None:
        stored = json.loads(json.dumps(self._filter.dump()))
        self._filter = CounterFilter()
        self._filter.load(stored)

    def _read(self, time: float) -> None:
        objects, plain, wrong = self.gateway.objects(time)
        shift = sum(seconds for when, seconds in self.clocks if time in when)
        now, freshness = time + shift, Freshness(time)
        timed = {}
        for address, value in objects.items():
            last = self._freshness.get(address)
            is_static = last and last.value is value and address[-1].startswith("4823")
            timed[address] = last if last and is_static else TimedValue(value, freshness)
        self._freshness = timed
        replaced = self._filter.process(timed, timed, ProcessingContext(now, shift, UTC))
        held = set(self._filter.held_counters)
        for address, given in timed.items():
            if given.freshness is not freshness:
                continue
            shown = replaced.get(address, given).value
            for name in COUNTERS[type(given.value)]:
                key = (address, name)
                self._record(key, now, getattr(given.value, name), getattr(shown, name))
                if address not in wrong:
                    self._add(key, getattr(plain[address], name))
                self._measure(key, time, is_held=key in held and address not in wrong)
        for key, step in self._filter.steps.items():
            self._correct(key, step, now)
        elapsed, self._reported_at = min(max(0.0, now - self._reported_at), 600.0), now
        self._reports = {key: wait - elapsed for key, wait in self._reports.items()}
        for key in [key for key, wait in self._reports.items() if wait <= 0 and key not in held]:
            del self._reports[key]
            self.messages.append(key)

    def _record(self, key: CounterKey, now: float, reported: float, shown: float | None) -> None:
        if key not in self.ours:
            self.ours[key], self.own[key] = (RecordedCounter(is_total=key[0] == NET) for _ in range(2))
        self.ours[key].write(now, shown)
        self.own[key].write(now, reported)

    def _add(self, key: CounterKey, right: float) -> None:
        """Add the energy between two right readings."""
        change = right - self.right.get(key, right)
        self.right[key] = right
        if key[0][0] == "inverters" and change < -WRAP / 2:
            change += WRAP
        self.true[key] += max(0.0, change) if key[0] == CONSUMPTION else change

    def _measure(self, key: CounterKey, time: float, *, is_held: bool) -> None:
        if not is_held:
            self._held_from.pop(key, None)
            return
        since = self._held_from.setdefault(key, time)
        self.held[key] = max(self.held[key], time - since)

    def _correct(self, key: CounterKey, step: Step, now: float) -> None:
        """Do what the energy manager does."""
        self._reports.pop(key, None)
        is_total = key[0] == NET
        change = step.after - step.before if is_total else recorded_change(step.before, step.after)
        surplus = step.due - change
        if step.cause is StepCause.TAKEN_BACK and step.since and step.due < 0:
            self.ours[key].correct(step.since, step.due)
            surplus -= step.due
        self.ours[key].correct(now, surplus)
        if step.cause is StepCause.LASTING and step.since and surplus:
            self._reports[key] = 2700.0

    # Results

    def error(self, key: CounterKey) -> float:
        """Return by how many Wh the recorded energy of a counter is off."""
        return self.ours[key].energy - self.true[key]

    def allowed(self, key: CounterKey) -> float:
        """Return by how many Wh that may be: 0.5 kWh, or 0.5 %."""
        return max(500.0, 0.005 * abs(self.true[key]))

    def excess(self, key: CounterKey) -> float:
        """Return by how many Wh the recorded energy is off beyond what is allowed."""
        return abs(self.error(key)) - self.allowed(key)

    @property
    def false_messages(self) -> list[CounterKey]:
        """Messages about counters that are no new meter."""
        expected = {meter.key for meter in self.gateway.meters}
        return [key for key in self.messages if key not in expected]


def _intervals(rng: random.Random, chances: list[int], longest: float, apart: list[Interval]) -> list[Interval]:
    """Return some intervals of the day, half an hour from each other and from those of `apart`."""
    found = list[Interval]()
    for _ in range(rng.choice(chances)):
        start = rng.uniform(DAY + 1800, QUIET - 1800)
        end = min(start + rng.uniform(60, longest), QUIET)
        if all(end + 1800 < each.start or each.end + 1800 < start for each in (*found, *apart)):
            found.append(Interval(start, end))
    return found


def mixed_world(seed: int) -> World:
    """Return the world of a seed with much more at the same time, and with power beyond the assumed limits."""
    world, rng = random_world(seed), random.Random(f"mixed {seed}")
    gateway, poll = world.gateway, world.poll
    # Hardware reports a power beside each counter; without it, energy is compared with the assumed limit alone.
    plan = replace(gateway.plan, reports_power=bool(gateway.meters) or gateway.plan.feeds or rng.random() < 0.8)
    if plan.metered:
        plan = replace(plan, added=rng.choice([0, 0, 30e3, 120e3, 400e3]), added_at=rng.randrange(420, 960))
    else:
        plan = replace(plan, unlisted=rng.choice([0, 0, 1, 3, 8]) if plan.inverters < 60 else 0)
    gateway.system = System(plan)
    busy = [Interval(meter.at - 7200, meter.at + 7200) for meter in gateway.meters]
    if gateway.upgrade:
        busy.append(Interval(gateway.upgrade.start - 3600, gateway.upgrade.end + 3600))
    addresses = [address for address in gateway.objects(DAY)[0] if not address[-1].startswith("4823")]
    time, mixed = DAY + rng.uniform(600, 14_400), list[Fault]()
    while time < QUIET - 3600:
        when = Interval(time, time + rng.randint(1, 10) * poll)
        for _ in range(rng.choice([1, 1, 2, 3])):
            mixed.append(
                Fault(
                    Interval(rng.choice([time, rng.uniform(time, when.end)]), when.end),
                    rng.choice([*WRONG]),
                    rng.choice([None, rng.choice(addresses)]),
                    rng.choice([1, 1, 1, 2, 3]),
                    poll,
                    rng.choice([None, None, "zero", "triple", "plus 2^32", "negative"]),
                )
            )
        time = when.end + rng.uniform(900, 10_800)
    gateway.faults = [each for each in mixed if not any(each.when.start in one or each.when.end in one for one in busy)]
    if not plan.reports_power:
        gateway.faults = []
    if not gateway.meters:
        for start in (rng.uniform(DAY, QUIET) for _ in range(rng.choice([0, 2, 4]))):
            world.stops.append(Interval(start, start + rng.choice([1.0, 3 * poll])))
    for _ in range(rng.choice([0, 0, 1, 2])):
        start = rng.uniform(DAY, QUIET)
        seconds = rng.choice([-86400.0, -3600.0, -120.0, 120.0, 3600.0, 86400.0])
        world.clocks.append((Interval(start, start + rng.choice([poll, 5 * poll, 1800.0])), seconds))
    return world


def random_world(seed: int) -> World:
    """Return the world of a seed."""
    rng = random.Random(seed)
    plan = random_plan(rng)
    gateway = Gateway(System(plan), spread=rng.uniform(60, 600))
    poll = rng.choice([30.0, 60.0, 60.0, 120.0, 300.0, 300.0])
    if not plan.metered:
        gateway.silences = _intervals(rng, [0, 0, 1, 1, 2], 6 * 3600, [])
        gateway.wraps = rng.random() < 0.3
        # Late energy and another firmware within the same minutes can't be distinguished from a new meter.
        start = rng.uniform(DAY + 3600, QUIET - 3600)
        around = Interval(start - 3600, start + 7200)
        if rng.random() < 0.3 and not any(each.end in around or each.start in around for each in gateway.silences):
            gateway.upgrade = Interval(start, start + rng.choice([poll, 2400.0]))
    # What a computed consumption fell by and rose by within one outage is not known.
    feeding = [Interval(DAY + 16 * 3600, DAY + 21 * 3600)] if plan.feeds else []
    gateway.outages = _intervals(rng, [0, 1, 1, 2], 4 * 3600, feeding)
    addresses = [address for address in gateway.objects(DAY)[0] if not address[-1].startswith("4823")]
    gateway.faults = list(random_faults(rng, poll, addresses, QUIET - 3600))
    if plan.metered and rng.random() < 0.15:
        # Not within two hours of anything else: what flows while nothing is read is not known then.
        at = rng.uniform(DAY + 3600, QUIET - 7200)
        around = Interval(at - 7200, at + 7200)
        gateway.faults = [each for each in gateway.faults if each.when.start not in around]
        gateway.outages = [each for each in gateway.outages if each.start not in around and each.end not in around]
        key = (("ctmeters", "production"), "energy_delivered")
        gateway.meters = [NewMeter(at, key, rng.uniform(10, 30_000))]
    world = World(gateway, poll)
    world.stops = [] if gateway.meters else _intervals(rng, [0, 1, 1, 2], 2 * 3600, [*gateway.outages, *feeding])
    if rng.random() < 0.3:
        when = Interval(rng.uniform(DAY, QUIET), QUIET)
        seconds = rng.choice([-7200.0, -3600.0, 3600.0, 86400.0, 40 * 86400.0])
        world.clocks = [(Interval(when.start, when.start + rng.choice([poll, 1800.0, 86400.0])), seconds)]
    return world
