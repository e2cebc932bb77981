"""Which panels produce less than they should, by their neighbours now and themselves on other days.

1. A panel does not produce when it makes less than a tenth of its usual share on a day on which the median panel has
   made the energy of one hour at full power.
2. A panel is degraded when its share fell by an eighth in each part of the day, in the median of its last seven good
   days compared with the 21 before, and relative to the panels that behave alike.
3. Nothing new is judged where several panels stop together, or after a dark day: such a panel, which may be covered by
   snow, has five sunny days.

The median is that of all panels: at night, at dawn and dusk, in an outage and while the whole roof is commanded off, it
does not reach the energy that a verdict needs; curtailment changes no shares.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import Any, Final

from ..model.json_data import Json
from ..model.validation import is_number

#: Hours at which the parts of a day begin. Shade is in some of them, a fault in all.
_PARTS: Final = (11, 14)
PARTS: Final = len(_PARTS) + 1
#: Panels without which there are no neighbours to compare with.
_FEWEST: Final = 3
#: Hours at full power that the median panel has made on a day that is sunny enough for a verdict.
_SUNNY: Final = 1.0
#: Share of the expected energy below which a panel does not produce, and above which it is free of snow.
_NOTHING: Final = 0.1
_FREE: Final = 0.5
#: Share that is expected of a panel without a history.
_UNKNOWN_SHARE: Final = 0.5
#: Panels that stop together have a common cause: this many, and this part of the roof.
_TOGETHER: Final = 3
_TOGETHER_PART: Final = 0.1
#: Sunny days that snow may remain on a panel.
_SNOW_DAYS: Final = 5
#: Part of the best day of the last weeks below which a day is dark, and above which it is good for a comparison.
_DARK: Final = 0.1
_GOOD: Final = 0.2
#: Days that are compared, and those that they are compared with.
_RECENT: Final = 7
_REFERENCE: Final = 21
#: Share of its former share below which a panel is degraded, and above which no longer.
_DEGRADED: Final = 0.875
_RECOVERED: Final = 0.92
#: Panels that behave alike, and how many are considered.
_ALIKE: Final = 8
_WINDOW: Final = 16
#: Reports count for this long at most, in seconds: they come every 5, 15 or 60 minutes.
_LONGEST_REPORT: Final = 3900.0


class Problem(StrEnum):
    """Why a panel has a problem."""

    NO_REPORTS = "no_reports"
    NOT_PRODUCING = "not_producing"
    DEGRADED = "degraded"


@dataclass(slots=True)
class Panel:
    """One panel: its energy today, and its shares of the median panel's on former days, in each part of the day."""

    reported_at: float = 0.0
    full_watts: float = 0.0
    today: list[float] = field(default_factory=lambda: [0.0] * PARTS)
    #: Seconds that the reports of today cover.
    covered: float = 0.0
    recent: deque[tuple[float, ...]] = field(default_factory=lambda: deque(maxlen=_RECENT))
    reference: deque[tuple[float, ...]] = field(default_factory=lambda: deque(maxlen=_REFERENCE))
    problem: Problem | None = None
    #: Days, in the past, on which the panel had a problem, as ordinals; the last 30.
    problem_days: deque[int] = field(default_factory=lambda: deque(maxlen=30))
    #: Sunny days until a verdict; 0 for a panel that is free of snow.
    snow_days: int = 0

    def usual(self) -> list[float] | None:
        """Return the usual share in each part of the day; None without a history."""
        days = self.reference or self.recent
        return [median(shares) for shares in zip(*days, strict=True)] if days else None


class RoofHealth:
    """The panels of one gateway."""

    def __init__(self) -> None:
        """Start without any."""
        self.panels: dict[str, Panel] = {}
        #: The day of the reports, as an ordinal.
        self._day = 0
        #: Energy of the median panel in the last weeks, in Wh.
        self._totals: deque[float] = deque(maxlen=_RECENT + _REFERENCE)

    def add(self, serial: str, day: int, hour: float, at: float, watts: float, full_watts: float) -> bool:
        """Add a report: its local day and hour, its time in seconds, mean power; return whether it is a new one."""
        panel = self.panels.setdefault(serial, Panel())
        if at <= panel.reported_at:
            return False
        if day > self._day:
            self.end_day()
            self._day = day
        elapsed = min(at - panel.reported_at, _LONGEST_REPORT) if panel.reported_at else 0.0
        panel.reported_at, panel.full_watts = at, max(panel.full_watts, full_watts)
        panel.today[sum(hour >= start for start in _PARTS)] += watts * elapsed / 3600
        if watts > 0:
            panel.covered += elapsed
        return True

    def keep(self, serials: set[str]) -> None:
        """Remove the panels that are no longer part of the roof."""
        for serial in self.panels.keys() - serials:
            del self.panels[serial]

    def evaluate(self, now: float, *, is_commanded_off: bool = False) -> None:
        """Find the panels that do not produce, from their reports of today."""
        if is_commanded_off or len(self.panels) < _FEWEST:
            return
        medians = self._medians()
        if not self._is_sunny(medians):
            return
        idle = []
        for panel in self.panels.values():
            if sum(panel.today) >= _NOTHING * self._expected(panel, medians):
                if panel.problem in (Problem.NOT_PRODUCING, Problem.NO_REPORTS):
                    panel.problem = None
            elif not panel.problem or panel.problem is Problem.DEGRADED:
                idle.append(panel)
        self._judge(idle, now)

    def _judge(self, idle: list[Panel], now: float) -> None:
        """Note the problem of panels that do not produce, unless they may be covered by snow."""
        if len(idle) >= max(_TOGETHER, _TOGETHER_PART * len(self.panels)):
            for panel in idle:
                panel.snow_days = panel.snow_days or _SNOW_DAYS
        for panel in idle:
            if not panel.snow_days:
                is_silent = now - panel.reported_at > 2 * _LONGEST_REPORT
                panel.problem = Problem.NO_REPORTS if is_silent else Problem.NOT_PRODUCING

    def end_day(self) -> None:
        """Compare the day that ended with those before, and begin another one."""
        if len(self.panels) >= _FEWEST and self._day:
            self._compare()
        for panel in self.panels.values():
            if panel.problem:
                panel.problem_days.append(self._day)
            panel.today, panel.covered = [0.0] * PARTS, 0.0

    def _compare(self) -> None:
        medians = self._medians()
        total, best = sum(medians), max(self._totals, default=0.0)
        self._totals.append(total)
        is_sunny = self._is_sunny(medians)
        covered = median(panel.covered for panel in self.panels.values())
        for panel in self.panels.values():
            is_free = sum(panel.today) >= _FREE * self._expected(panel, medians)
            if total < _DARK * best:
                panel.snow_days = _SNOW_DAYS
            elif is_free and is_sunny:
                panel.snow_days = 0
            elif is_sunny and panel.snow_days:
                # At 1 the time is over: the next sunny day leads to a verdict.
                panel.snow_days -= 1
            if total < _GOOD * best or panel.snow_days or panel.problem in (Problem.NOT_PRODUCING, Problem.NO_REPORTS):
                continue
            if panel.covered < 0.8 * covered or not all(medians) or not sum(panel.today):
                continue
            if len(panel.recent) == _RECENT and panel.problem is not Problem.DEGRADED:
                panel.reference.append(panel.recent[0])
            panel.recent.append(tuple(energy / of for energy, of in zip(panel.today, medians, strict=True)))
        self._find_degraded()

    def _find_degraded(self) -> None:
        """Compare the change of each panel's shares with that of the panels that behave alike."""
        known = sorted(
            (
                (panel.usual() or [], panel)
                for panel in self.panels.values()
                if len(panel.recent) == _RECENT and len(panel.reference) >= _RECENT
            ),
            key=lambda pair: pair[0],
        )
        changes = [
            [median(now) / max(was, 0.01) for now, was in zip(zip(*panel.recent, strict=True), usual, strict=True)]
            for usual, panel in known
        ]
        for index, (usual, panel) in enumerate(known):
            start = max(0, index - _WINDOW)
            others = sorted(
                (sum(abs(a - b) for a, b in zip(usual, known[other][0], strict=True)), other)
                for other in range(start, min(len(known), index + _WINDOW + 1))
                if other != index
            )[:_ALIKE]
            if len(others) < _FEWEST - 1:
                continue
            of_others = [median(changes[other][part] for _, other in others) for part in range(PARTS)]
            # A fault is in all parts of the day: the part with the smallest loss decides.
            change = max(own / max(other, 0.01) for own, other in zip(changes[index], of_others, strict=True))
            if panel.problem is None and change < _DEGRADED:
                panel.problem = Problem.DEGRADED
            elif panel.problem is Problem.DEGRADED and change > _RECOVERED:
                panel.problem = None

    def _medians(self) -> list[float]:
        return [median(panel.today[part] for panel in self.panels.values()) for part in range(PARTS)]

    def _is_sunny(self, medians: list[float]) -> bool:
        full = median(panel.full_watts for panel in self.panels.values())
        return full > 0 and sum(medians) >= _SUNNY * full

    @staticmethod
    def _expected(panel: Panel, medians: list[float]) -> float:
        """Return the energy that a panel should have made today, in Wh."""
        usual = panel.usual() or [_UNKNOWN_SHARE] * PARTS
        return sum(share * energy for share, energy in zip(usual, medians, strict=True))

    def dump(self) -> dict[str, Json]:
        """Return the state to store; 0.5 KB for each panel."""
        panels: dict[str, Json] = {serial: _stored(panel) for serial, panel in self.panels.items()}
        return {"day": self._day, "totals": [round(total) for total in self._totals], "panels": panels}

    def load(self, data: Mapping[str, object]) -> None:
        """Restore the state; panels that are not valid are left out."""
        day, totals, panels = data.get("day"), data.get("totals"), data.get("panels")
        if not isinstance(day, int) or not isinstance(totals, list) or not isinstance(panels, dict):
            return
        self._day = day
        self._totals.extend(total for total in totals if is_number(total))
        for serial, stored in panels.items():
            if panel := _restored(stored):
                self.panels[str(serial)] = panel


def _stored(panel: Panel) -> Json:
    recent, reference = (
        [[round(1000 * share) for share in day] for day in days] for days in (panel.recent, panel.reference)
    )
    values: list[Any] = [panel.reported_at, panel.full_watts, [round(energy) for energy in panel.today], panel.covered]
    return [*values, recent, reference, panel.problem, list(panel.problem_days), panel.snow_days]


def _restored(stored: Json) -> Panel | None:
    values: Any = stored
    try:
        at, full, today, covered, recent, reference, problem, problem_days, snow_days = values
        panel = Panel(float(at), float(full), [float(energy) for energy in today], float(covered))
        for days, shares in ((panel.recent, recent), (panel.reference, reference)):
            days.extend(tuple(share / 1000 for share in day) for day in shares)
        panel.problem = Problem(problem) if problem else None
        panel.problem_days.extend(int(day) for day in problem_days)
        panel.snow_days = int(snow_days)
    except TypeError, ValueError:
        return None
    shapes = {len(panel.today), *map(len, panel.recent), *map(len, panel.reference)}
    return panel if shapes == {PARTS} else None
