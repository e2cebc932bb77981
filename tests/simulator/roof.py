"""The roof: microinverters that share the production, and report it every five minutes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .hardware import Inverter


@dataclass(slots=True)
class _Cell:
    """An interval of constant power: its start, the roof's counter then (Wh), and the watts."""

    start: float
    produced: float
    power: float


class Roof:
    """Inverters and their shares of the roof's counter."""

    def __init__(self, inverters: list[Inverter], phases: int) -> None:
        """Add the inverters."""
        self.inverters = inverters
        self.phases = phases
        #: Watts of each phase in full sun.
        self.rated: list[float] = []
        self.produced = 0.0
        #: More than the last ten minutes, so that it includes the last report of each inverter.
        self._cells: deque[_Cell] = deque(maxlen=14)
        self._weight = 0.0
        self._is_afternoon = False
        self._count()

    def _count(self) -> None:
        """Add up the ratings: both legs of a split phase share every inverter, each of three phases has its own."""
        working = [inverter for inverter in self.inverters if inverter.producing]
        self._weight = sum(self._watts(inverter) for inverter in working)
        if self.phases == 3:
            self.rated = [sum(self._watts(i) for i in working if i.phase == p) for p in range(3)]
        else:
            self.rated = [self._weight / self.phases] * self.phases

    def _watts(self, inverter: Inverter) -> float:
        """Return the power of an inverter in full sun."""
        shade = inverter.afternoon if self._is_afternoon else 1.0
        return inverter.weight * inverter.rated * inverter.factor * shade

    def _share(self, inverter: Inverter) -> float:
        return self._watts(inverter) / self._weight if inverter.producing and self._weight else 0.0

    def shade(self, produced: float, *, is_afternoon: bool) -> None:
        """Let the shade of the afternoon begin or end."""
        if is_afternoon != self._is_afternoon:
            self.bank(produced)
            self._is_afternoon = is_afternoon
            self._count()

    def begin(self, now: float, produced: float, power: float) -> None:
        """Record the power from now on."""
        self.produced = produced
        self._cells.append(_Cell(now, produced, power))

    @property
    def is_dark(self) -> bool:
        """Whether no power was recorded yet."""
        return not self._cells

    def bank(self, produced: float) -> None:
        """Update the inverters' counters to a reading of the roof's."""
        for inverter in self.inverters:
            inverter.banked += self._share(inverter) * (produced - inverter.since)
            inverter.since = produced

    def midnight(self, produced: float) -> None:
        """Begin a new day."""
        self.bank(produced)
        for inverter in self.inverters:
            inverter.days.append(inverter.banked)

    def add(self, inverter: Inverter, produced: float) -> None:
        """Add an inverter."""
        self.bank(produced)
        inverter.since = produced
        inverter.days.append(0.0)
        self.inverters.append(inverter)
        self._count()

    def change(self, serial: str, produced: float, **changes: object) -> None:
        """Let an inverter fail, degrade, be removed or recover."""
        inverter = self[serial]
        self.bank(produced)
        for name, value in changes.items():
            setattr(inverter, name, value)
        self._count()

    def __getitem__(self, serial: str) -> Inverter:
        """Return the inverter of this serial number; KeyError without it."""
        return {inverter.serial: inverter for inverter in self.inverters}[serial]

    def energy(self, inverter: Inverter, at: float) -> float:
        """Lifetime Wh of an inverter at a time within the last minutes."""
        return inverter.banked + self._share(inverter) * max(0.0, self._reading(at)[0] - inverter.since)

    def power(self, inverter: Inverter, at: float) -> float:
        """Watts of an inverter at a time within the last minutes."""
        return self._share(inverter) * self._reading(at)[1]

    def _reading(self, at: float) -> tuple[float, float]:
        for cell in reversed(self._cells):
            if cell.start <= at:
                return min(cell.produced + cell.power * (at - cell.start) / 3600.0, self.produced), cell.power
        return (self._cells[0].produced, self._cells[0].power) if self._cells else (self.produced, 0.0)
