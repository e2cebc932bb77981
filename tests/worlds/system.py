"""A system with its flows over one day, and the true readings of its counters."""

from dataclasses import dataclass, field
from itertools import accumulate
import random
from typing import Final

from tests.simulator.weather import load, sunshine

MINUTE: Final = 60.0
MINUTES: Final = 1440
#: 2026-06-21 00:00 in Amsterdam.
DAY: Final = 1_781_992_800.0
#: Seconds between the reports of an inverter.
REPORT: Final = 300.0
_LATITUDE, _LONGITUDE = 52.37, 4.9


@dataclass(frozen=True)
class Plan:
    """What a system consists of."""

    seed: int = 1
    inverters: int = 24
    rated: float = 350.0
    #: Peak in W of solar without inverters of the system, through the production CT.
    foreign: float = 0.0
    #: Whether CTs measure production and net consumption; without, inverters alone report.
    metered: bool = True
    #: A CT measures the consumption instead of the grid.
    total_consumption: bool = False
    #: W that batteries charge and discharge with, and Wh that they hold.
    battery: float = 0.0
    stored: float = 10_000.0
    #: Batteries feed the grid in the evening.
    feeds: bool = False
    phases: int = 1
    base_load: float = 300.0
    extra_load: float = 900.0
    #: Day of the year.
    day: int = 0
    cloudless: bool = False
    lifetime: float = 9_000_000.0
    #: Peak in W of solar that is added in the middle of the day, and in which minute of the day.
    added: float = 0.0
    added_at: int = 720
    #: Inverters that the gateway counts and does not list, as part of those that it lists.
    unlisted: float = 0.0
    #: Whether a power is reported beside the energy.
    reports_power: bool = True


@dataclass
class Curve:
    """Energy since the beginning of the day, in Wh, by minute, and the power."""

    watts: list[float]
    energy: list[float] = field(init=False)

    def __post_init__(self) -> None:
        """Add up."""
        self.energy = [0.0, *accumulate(watts / 60 for watts in self.watts)]

    def at(self, time: float) -> float:
        """Return the energy at a time."""
        minute, part = divmod(min(max(time - DAY, 0.0), MINUTES * MINUTE - 0.01), MINUTE)
        return self.energy[int(minute)] + self.watts[int(minute)] * part / 3600

    def power(self, time: float) -> float:
        """Return the power at a time."""
        return self.watts[int(min(max(time - DAY, 0.0), MINUTES * MINUTE - 0.01) // MINUTE)]


class System:
    """The flows of a day."""

    def __init__(self, plan: Plan) -> None:
        """Let the day pass."""
        self.plan = plan
        solar = [self._sun(minute) for minute in range(MINUTES)]
        roof = [plan.inverters * plan.rated * sun for sun in solar]
        foreign = (plan.foreign + plan.added * (minute >= plan.added_at) for minute in range(MINUTES))
        produced = [own + other * sun for own, sun, other in zip(roof, solar, foreign, strict=True)]
        times = (DAY + plan.day * 86400 + minute * MINUTE for minute in range(MINUTES))
        used = [
            load(plan.seed, time, minute * MINUTE, plan.base_load, plan.extra_load) for minute, time in enumerate(times)
        ]
        stored = self._storage([need - sun for need, sun in zip(used, produced, strict=True)])
        grid = [need - sun - out for need, sun, out in zip(used, produced, stored, strict=True)]
        self.roof = Curve(roof)
        self.production = Curve(produced)
        self.load = Curve(used)
        self.imported = Curve([max(watts, 0.0) for watts in grid])
        self.exported = Curve([max(-watts, 0.0) for watts in grid])
        self.net = Curve(grid)
        self.discharged = Curve([max(watts, 0.0) for watts in stored])
        self.charged = Curve([max(-watts, 0.0) for watts in stored])
        #: As gateways compute it.
        self.consumption = Curve([sun + watts for sun, watts in zip(produced, grid, strict=True)])

    def _sun(self, minute: int) -> float:
        time = DAY + self.plan.day * 86400 + minute * MINUTE
        if not self.plan.cloudless:
            return sunshine(self.plan.seed, time, _LATITUDE, _LONGITUDE)
        return max(0.0, sunshine(0, time, _LATITUDE, _LONGITUDE))

    def _storage(self, wanted: list[float]) -> list[float]:
        """Return the W that batteries discharge with (+) in each minute."""
        plan, stored, flows = self.plan, self.plan.stored / 2, []
        for minute, need in enumerate(wanted):
            feeding = plan.feeds and 17 * 60 <= minute < 20 * 60
            power = plan.battery if feeding else max(-plan.battery, min(plan.battery, need))
            power = max(min(power, stored * 60), (stored - plan.stored) * 60)
            stored -= power / 60
            flows.append(power)
        return flows


def random_plan(rng: random.Random) -> Plan:
    """Return the plan of any system."""
    metered = rng.random() < 0.65
    battery = metered and rng.random() < 0.5
    return Plan(
        seed=rng.randrange(10_000),
        inverters=rng.choice([1, 4, 12, 13, 24, 24, 60, 600]) if not metered else rng.choice([1, 8, 12, 24, 60]),
        rated=rng.choice([250.0, 290.0, 350.0, 384.0]),
        foreign=rng.choice([0.0, 0.0, 5_000.0, 25_000.0, 60_000.0]) if metered else 0.0,
        metered=metered,
        total_consumption=metered and rng.random() < 0.3,
        battery=rng.choice([3_840.0, 7_680.0]) if battery else 0.0,
        feeds=battery and rng.random() < 0.5,
        phases=rng.choice([1, 2, 3]) if metered else 1,
        base_load=rng.uniform(100, 800),
        extra_load=rng.uniform(300, 3000),
        day=rng.randrange(-180, 180),
        lifetime=10 ** rng.uniform(4.3, 8),
    )
