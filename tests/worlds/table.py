"""Prints days with known energy, and the figures of random worlds."""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import Pool
from statistics import median
from typing import Final, NamedTuple

from custom_components.enphase_envoy.model.snapshot import CounterKey

from .gateway import CONSUMPTION, PRODUCTION, Fault, Gateway, Interval, NewMeter
from .system import DAY, Plan, System
from .world import World, mixed_world, random_world

LIFETIME: Final = "watt_hours_lifetime"
PRODUCED: Final[CounterKey] = (PRODUCTION, LIFETIME)
METER: Final[CounterKey] = (("ctmeters", "production"), "energy_delivered")
INVERTER: Final[CounterKey] = (("inverters", "482200000000"), "lifetime_energy")
NOON: Final = DAY + 12 * 3600


class Day(NamedTuple):
    """A day of the table: its name, the world, and the counter that is compared."""

    name: str
    world: World
    key: CounterKey


class Result(NamedTuple):
    """The figures of one counter of one world, in Wh and seconds."""

    key: CounterKey
    true: float
    ours: float
    own: float
    held: float
    allowed: float

    @property
    def error(self) -> float:
        """The absolute error of the recorded energy."""
        return abs(self.ours - self.true)


def days() -> Iterator[Day]:
    """Yield the days of the table."""
    panels = System(Plan(metered=False, rated=384.0, cloudless=True))
    for hours in (2, 5):
        silence = Gateway(panels, silences=[Interval(NOON - hours * 1800, NOON + hours * 1800)])
        yield Day(f"no CTs, 24 inverters; all silent for {hours} h, back within 10 min", World(silence), PRODUCED)
    for hours in (2, 6):
        outage = Gateway(panels, outages=[Interval(NOON - hours * 1800, NOON + hours * 1800)])
        yield Day(f"gateway off for {hours} h (its inverters go on)", World(outage), PRODUCED)
    for peak in (25, 60):
        foreign = System(Plan(foreign=peak * 1000.0, inverters=8, cloudless=True))
        yield Day(
            f"production CT with other solar ({peak} kW peak), polls of 300 s", World(Gateway(foreign), 300), METER
        )
        silent = Gateway(foreign, outages=[Interval(NOON, NOON + 3600)])
        yield Day(f"the same ({peak} kW), 60 s, an hour without answers", World(silent), METER)
    feeding = System(Plan(battery=5000.0, stored=13_000.0, feeds=True, base_load=200.0, extra_load=300.0))
    yield Day(
        "computed consumption falls while a battery feeds the grid", World(Gateway(feeding)), (CONSUMPTION, LIFETIME)
    )
    for kind in ("zero", "half", "third", "triple"):
        for polls in (1, 10):
            metered = Gateway(System(Plan(cloudless=True, inverters=18)))
            metered.faults = [Fault(Interval(NOON, NOON + polls * 60), kind)]
            yield Day(f"{kind} for {polls} {'poll' if polls == 1 else 'polls'}", World(metered), METER)
    slow = Gateway(System(Plan(cloudless=True, inverters=18)))
    slow.faults = [Fault(Interval(NOON, NOON + 3000), "half")]
    yield Day("half for 10 polls of 300 s", World(slow, 300), METER)
    meter = Gateway(System(Plan(cloudless=True, inverters=20)))
    meter.meters = [NewMeter(NOON, METER, 23_700.0)]
    yield Day("a new meter", World(meter), METER)
    yield Day("the counter of an inverter wraps", World(Gateway(panels, wraps=True)), INVERTER)
    upgrade = Gateway(System(Plan(metered=False, cloudless=True, lifetime=6_139_406.0)))
    upgrade.upgrade = Interval(NOON, NOON + 2400)
    yield Day("no CTs, firmware 8.3.5422 from noon on", World(upgrade), PRODUCED)


def results(world: World) -> list[Result]:
    """Return the figures of the counters of a world that move."""
    return [
        Result(key, world.true[key], ours.energy, world.own[key].energy, world.held[key], world.allowed(key))
        for key, ours in world.ours.items()
        if not key[0][-1].startswith("4823")
    ]


def _run(kind: Callable[[int], World], seed: int) -> tuple[int, list[Result], int, int]:
    world = kind(seed).run()
    missed = sum(meter.key not in world.messages for meter in world.gateway.meters)
    return seed, results(world), len(world.false_messages), missed


def print_days() -> None:
    """Print the table of the days, in kWh."""
    print("| A day | flowed | this component | Home Assistant's own | messages |\n|---|---|---|---|---|")
    for name, world, key in days():
        world.run()
        figures = (world.true[key], world.ours[key].energy, world.own[key].energy)
        # One message per counter: that of the day's counter is of interest, and any of another is wrong.
        print(f"| {name} | " + " | ".join(f"{watt_hours / 1000:,.1f}" for watt_hours in figures), end="")
        print(f" | {len(world.messages)} |")


def print_worlds(seeds: range, kind: Callable[[int], World], name: str) -> None:
    """Print the figures of random worlds of a kind."""
    with Pool() as pool:
        worlds = pool.map(partial(_run, kind), seeds, chunksize=5)
    counters = [(result, seed) for seed, found, _, _ in worlds for result in found]
    worst, seed = max(counters, key=lambda each: each[0].error)
    held, held_seed = max(counters, key=lambda each: each[0].held)
    beyond = {seed for result, seed in counters if result.error > result.allowed}
    print(f"\n{len(seeds)} {name} worlds, {len(counters)} counters")
    middle = median(result.error for result, _ in counters)
    print(f"|recorded - true|: worst {worst.error:,.0f} Wh (seed {seed}), median {middle:,.1f} Wh")
    print(f"worlds beyond 0.5 kWh or 0.5 %: {len(beyond)} {sorted(beyond)}")
    print(f"counters beyond: {sum(result.error > result.allowed for result, _ in counters)}")
    print(f"false messages: {sum(world[2] for world in worlds)}; missing ones: {sum(world[3] for world in worlds)}")
    print(f"right readings held back for {held.held / 60:.0f} minutes at most (seed {held_seed})")
    own = sum(abs(result.own - result.true) > result.allowed for result, _ in counters)
    print(f"Home Assistant's own: {own} counters beyond")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scripts/worlds", description=__doc__)
    parser.add_argument(
        "worlds", type=int, nargs="?", default=1000, help="number of worlds of each kind (default: 1000)"
    )
    parser.add_argument("--first", type=int, default=0, help="seed of the first world (default: 0)")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.worlds)
    print_days()
    print_worlds(seeds, random_world, "random")
    print_worlds(seeds, mixed_world, "mixed")
