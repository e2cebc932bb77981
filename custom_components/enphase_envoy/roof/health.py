"""Which panels produce less than they should, by their neighbours now and themselves on other days.

1. A panel does not produce when it makes less than a tenth of its usual share on a day on which the median panel has
   made the energy of one hour at full power, and at least half of the usual energy in each part of the day.
2. A panel is degraded when its share fell by an eighth in each part of the day, in the median of its last seven good
   days compared with the 21 before, and relative to the panels that behave alike.
3. A panel that may be covered by snow has five sunny days: one that is idle together with others for a part of the day,
   or after a day on which the roof was dark.

The median is that of all panels: at night, at dawn and dusk, in an outage and while the whole roof is commanded off, it
does not reach the energy that a verdict needs; curtailment changes no shares.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
import math
from statistics import median
from typing import Any, Final

from ..model.json_data import Json, json_number
from ..model.validation import is_number

#: Hours at which the parts of a day begin. Shade is in some of them, a fault in all.
_PARTS: Final = (11, 14)
PARTS: Final = len(_PARTS) + 1
#: Panels without which there are no neighbours to compare with.
_FEWEST: Final = 3
#: Hours at full power that the median panel has made on a day that is sunny enough for a verdict.
_SUNNY: Final = 1.0
#: Part of the usual energy that the median panel has made in each part of such a day.
_USUAL: Final = 0.5
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
#: The number with which the wait for snow to melt is over.
_WAITED: Final = 1
#: Hours at full power without which a part of the day proves nothing about snow.
_LIT: Final = 0.1
#: Share below which a panel is in deep shade: its first sun would be far above its usual energy.
_SHADED: Final = 0.3
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
#: Seconds of reports with power that a day needs to determine the interval of the reports.
_LONG_ENOUGH: Final = 3 * 3600.0
#: Days, as far back as problems are counted.
_PROBLEM_DAYS: Final = 30


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
    #: Seconds that the reports of today with power cover, and the shortest interval between two of them.
    covered: float = 0.0
    shortest: float = math.inf
    recent: deque[tuple[float, ...]] = field(default_factory=lambda: deque(maxlen=_RECENT))
    reference: deque[tuple[float, ...]] = field(default_factory=lambda: deque(maxlen=_REFERENCE))
    problem: Problem | None = None
    #: The day on which the problem began, as an ordinal.
    since: int = 0
    #: Days, in the past, on which the panel had a problem, as ordinals.
    problem_days: deque[int] = field(default_factory=lambda: deque(maxlen=_PROBLEM_DAYS))
    #: Sunny days until a verdict, down to 1; 0 for a panel that is free of snow.
    snow_days: int = 0
    #: The gateway commanded the panel off, or limited it, for some time of today.
    is_commanded: bool = False
    #: The usual share in each part of the day; None without a history.
    usual: list[float] | None = None

    def learn(self) -> None:
        """Determine the usual shares from the former days."""
        days = self.reference or self.recent
        self.usual = [median(shares) for shares in zip(*days, strict=True)] if days else None

    @property
    def shares(self) -> list[float]:
        """The share that is expected in each part of the day."""
        return self.usual or [_UNKNOWN_SHARE] * PARTS

    @property
    def is_idle(self) -> bool:
        """Whether the panel is reported not to produce."""
        return self.problem in (Problem.NOT_PRODUCING, Problem.NO_REPORTS)

    def set(self, problem: Problem | None, day: int) -> None:
        """Note a problem that begins on a day, or the end of one."""
        if problem is None or self.problem is None:
            self.since = day if problem else 0
        self.problem = problem


class RoofHealth:
    """The panels of one gateway."""

    def __init__(self) -> None:
        """Start without any."""
        self.panels: dict[str, Panel] = {}
        #: The day of the reports, as an ordinal.
        self.day = 0
        #: Energy of the median panel in each part of the days of the last weeks, in Wh.
        self._totals: deque[list[float]] = deque(maxlen=_RECENT + _REFERENCE)
        #: Seconds between two reports of the median panel in daylight, as of the last day; 0 if unknown.
        self.report_interval = 0.0
        #: The first day of which no part was before the start, as an ordinal: the intervals of reports are not stored.
        self._whole_from = 0
        #: The state is restored, and its times were not compared with the clock yet.
        self._is_unchecked = False

    def add(self, serial: str, day: int, hour: float, at: float, watts: float, full_watts: float) -> bool:
        """Add a report: the local day and hour of its time, its time in seconds, the mean power until then.

        Return whether it is a new one.
        """
        if (panel := self.panels.get(serial)) is None:
            panel = self.panels[serial] = Panel()
        if at <= panel.reported_at:
            return False
        if day > self.day:
            self.end_day()
            self.day = day
        elapsed = min(at - panel.reported_at, _LONGEST_REPORT) if panel.reported_at else 0.0
        panel.reported_at, panel.full_watts = at, max(panel.full_watts, full_watts)
        panel.today[bisect_right(_PARTS, hour)] += watts * elapsed / 3600
        if watts > 0 and elapsed:
            panel.covered += elapsed
            panel.shortest = min(panel.shortest, elapsed)
        return True

    def keep(self, serials: Container[str]) -> None:
        """Remove the panels that are no longer part of the roof."""
        for serial in [serial for serial in self.panels if serial not in serials]:
            del self.panels[serial]

    def evaluate(self, now: float, *, commanded: Container[str] = ()) -> None:
        """Find the panels that do not produce, from their reports of today; those that are commanded off may not."""
        if len(self.panels) < _FEWEST:
            return
        for serial, panel in self.panels.items():
            if serial in commanded:
                panel.is_commanded = True
        medians = self._medians()
        if not self._is_sunny(medians):
            return
        idle = []
        for panel in self.panels.values():
            if sum(panel.today) >= _NOTHING * self._expected(panel, medians):
                if panel.is_idle:
                    panel.set(None, self.day)
            elif not panel.is_idle and not panel.is_commanded:
                idle.append(panel)
        if idle and self._is_usual(medians):
            self._judge(idle, now)

    def _is_usual(self, medians: list[float]) -> bool:
        """Return whether each part of the day had the energy that it usually has: no snow melted, no storm passed."""
        usual = [median(energies) for energies in zip(*self._totals, strict=True)]
        return bool(usual) and all(energy >= _USUAL * of for energy, of in zip(medians, usual, strict=True))

    def _judge(self, idle: list[Panel], now: float) -> None:
        """Note the problem of panels that do not produce, unless they may be covered by snow."""
        self._find_covered()
        if self._is_common(len(idle)):
            for panel in idle:
                panel.snow_days = panel.snow_days or _SNOW_DAYS
        for panel in idle:
            if panel.snow_days <= _WAITED:
                is_silent = now - panel.reported_at > 2 * _LONGEST_REPORT
                panel.set(Problem.NO_REPORTS if is_silent else Problem.NOT_PRODUCING, self.day)

    def _is_common(self, panels: int) -> bool:
        """Return whether so many panels have a common cause."""
        return panels >= max(_TOGETHER, _TOGETHER_PART * len(self.panels))

    def _find_covered(self) -> None:
        """Note which panels may be covered by snow: several are idle in a part of the day in which another is not."""
        panels = [panel for panel in self.panels.values() if not panel.is_idle and not panel.is_commanded]
        if not panels:
            return
        lit = _LIT * median(panel.full_watts for panel in panels)
        for part in range(PARTS):
            unshaded = ((panel.today[part], panel.shares[part]) for panel in panels)
            best = max((energy / share for energy, share in unshaded if share > _SHADED), default=0.0)
            if best < lit:
                continue
            covered = [panel for panel in panels if panel.today[part] < _NOTHING * panel.shares[part] * best]
            if self._is_common(len(covered)):
                for panel in covered:
                    panel.snow_days = panel.snow_days or _SNOW_DAYS

    def end_day(self) -> None:
        """Compare the day that ended with those before, and begin another one."""
        if len(self.panels) >= _FEWEST and self.day:
            self._compare()
        intervals = [panel.shortest for panel in self.panels.values() if panel.covered >= _LONG_ENOUGH]
        if self.day >= self._whole_from and 2 * len(intervals) > len(self.panels):
            self.report_interval = median(intervals)
        for panel in self.panels.values():
            if panel.problem:
                panel.problem_days.append(self.day)
            panel.today, panel.covered, panel.shortest, panel.is_commanded = [0.0] * PARTS, 0.0, math.inf, False

    def _compare(self) -> None:
        self._find_covered()
        medians = self._medians()
        total, best = sum(medians), max(map(sum, self._totals), default=0.0)
        self._totals.append(medians)
        is_sunny = self._is_sunny(medians)
        covered = median(panel.covered for panel in self.panels.values())
        for panel in self.panels.values():
            is_free = sum(panel.today) >= _FREE * self._expected(panel, medians)
            if total < _DARK * best:
                if panel.snow_days != _WAITED:
                    panel.snow_days = _SNOW_DAYS
            elif is_free and is_sunny:
                panel.snow_days = 0
            elif is_sunny and panel.snow_days:
                panel.snow_days = max(_WAITED, panel.snow_days - 1)
            if total < _GOOD * best or panel.snow_days or panel.is_idle or panel.is_commanded:
                continue
            if panel.covered < 0.8 * covered or not all(medians) or not sum(panel.today):
                continue
            if len(panel.recent) == _RECENT and panel.problem is not Problem.DEGRADED:
                panel.reference.append(panel.recent[0])
            panel.recent.append(tuple(energy / of for energy, of in zip(panel.today, medians, strict=True)))
            panel.learn()
        self._find_degraded()

    def _find_degraded(self) -> None:
        """Compare the change of each panel's shares with that of the panels that behave alike."""
        known = self._ordered(panel for panel in self.panels.values() if len(panel.reference) >= _RECENT)
        changes = [
            [median(now) / max(was, 0.01) for now, was in zip(zip(*panel.recent, strict=True), usual, strict=True)]
            for usual, panel in known
        ]
        for index, (_, panel) in enumerate(known):
            others = _alike(known, index)
            if len(others) < _FEWEST - 1:
                continue
            of_others = [median(changes[other][part] for other in others) for part in range(PARTS)]
            # A fault is in all parts of the day: the part with the smallest loss decides.
            change = max(own / max(other, 0.01) for own, other in zip(changes[index], of_others, strict=True))
            if panel.problem is None and change < _DEGRADED:
                panel.set(Problem.DEGRADED, self.day)
            elif panel.problem is Problem.DEGRADED and change > _RECOVERED:
                panel.set(None, self.day)

    @staticmethod
    def _ordered(panels: Iterable[Panel]) -> list[tuple[list[float], Panel]]:
        """Return panels that have usual shares, with these and in their order: panels that behave alike are near."""
        return sorted(((panel.usual, panel) for panel in panels if panel.usual), key=lambda pair: pair[0])

    def neighbours(self) -> dict[str, list[str]]:
        """Return for each panel the panels that behave most alike; all others for one without a history."""
        serials = {id(panel): serial for serial, panel in self.panels.items()}
        known = self._ordered(self.panels.values())
        alike = {
            serials[id(panel)]: [serials[id(known[other][1])] for other in _alike(known, index)]
            for index, (_, panel) in enumerate(known)
        }
        return {serial: alike.get(serial) or [each for each in self.panels if each != serial] for serial in self.panels}

    def energy_on(self, serial: str, day: int) -> float | None:
        """Return the energy of a panel on a day, in Wh; None for another day than that of the reports."""
        return sum(self.panels[serial].today) if day == self.day else None

    def recent_problem_days(self, serial: str) -> int:
        """Return the number of days with a problem among the last 30, today included."""
        panel = self.panels[serial]
        past = sum(day > self.day - _PROBLEM_DAYS for day in panel.problem_days if day != self.day)
        return past + (panel.problem is not None)

    def _medians(self) -> list[float]:
        return [median(panel.today[part] for panel in self.panels.values()) for part in range(PARTS)]

    def _is_sunny(self, medians: list[float]) -> bool:
        full = median(panel.full_watts for panel in self.panels.values())
        return full > 0 and sum(medians) >= _SUNNY * full

    @staticmethod
    def _expected(panel: Panel, medians: list[float]) -> float:
        """Return the energy that a panel should have made today, in Wh."""
        return sum(share * energy for share, energy in zip(panel.shares, medians, strict=True))

    def dump(self) -> dict[str, Json]:
        """Return the state to store: 0.5 KB for each panel, of which a day has 18 bytes."""
        panels: dict[str, Json] = {serial: _stored(panel) for serial, panel in self.panels.items()}
        totals: list[Json] = [[round(energy) for energy in medians] for medians in self._totals]
        return {"day": self.day, "interval": self.report_interval, "totals": totals, "panels": panels}

    def load(self, data: Mapping[str, object]) -> None:
        """Restore the state; panels that are not valid are left out."""
        day, interval, totals, panels = (data.get(key) for key in ("day", "interval", "totals", "panels"))
        if not is_number(day) or not isinstance(totals, list) or not isinstance(panels, dict):
            return
        self.day, self.report_interval = int(day), float(interval) if is_number(interval) else 0.0
        self._whole_from, self._is_unchecked = self.day + 1, True
        self._totals.extend(
            [float(energy) for energy in medians]
            for medians in totals
            if isinstance(medians, list) and len(medians) == PARTS and all(map(is_number, medians))
        )
        for serial, stored in panels.items():
            if panel := _restored(stored):
                self.panels[str(serial)] = panel

    def check(self, now: float, today: int) -> None:
        """Replace times of a restored state that are in the future by the present ones; they would hold back reports.

        `now` is the time of the reports in seconds, `today` its day as an ordinal. The clock must not be behind: all
        times would be in the future.
        """
        if not self._is_unchecked:
            return
        self._is_unchecked, self.day = False, min(self.day, today)
        self._whole_from = self.day + 1
        for panel in self.panels.values():
            panel.reported_at, panel.since = min(panel.reported_at, now), min(panel.since, self.day)


def _alike(known: list[tuple[list[float], Panel]], index: int) -> list[int]:
    """Return the places of the panels in an ordered list that behave most like one of it."""
    usual = known[index][0]
    start = max(0, index - _WINDOW)
    nearest = sorted(
        (sum(abs(a - b) for a, b in zip(usual, known[other][0], strict=True)), other)
        for other in range(start, min(len(known), index + _WINDOW + 1))
        if other != index
    )
    return [other for _, other in nearest[:_ALIKE]]


def _stored(panel: Panel) -> Json:
    recent, reference = (
        [[round(1000 * share) for share in day] for day in days] for days in (panel.recent, panel.reference)
    )
    today = [round(energy) for energy in panel.today]
    values: list[Any] = [round(panel.reported_at), panel.full_watts, today, round(panel.covered), recent, reference]
    return [*values, panel.problem, panel.since, list(panel.problem_days), panel.snow_days, int(panel.is_commanded)]


def _restored(stored: Json) -> Panel | None:
    values: Any = stored
    try:
        at, full, today, covered, recent, reference, problem, since, problem_days, snow_days, is_commanded = values
        panel = Panel(json_number(at), json_number(full), list(map(json_number, today)), json_number(covered))
        for days, shares in ((panel.recent, recent), (panel.reference, reference)):
            days.extend(tuple(json_number(share) / 1000 for share in day) for day in shares)
        panel.problem, panel.since = Problem(problem) if problem else None, int(json_number(since))
        panel.problem_days.extend(int(json_number(day)) for day in problem_days)
        panel.snow_days = min(max(0, int(json_number(snow_days))), _SNOW_DAYS)
        panel.is_commanded = bool(is_commanded)
    except TypeError, ValueError:
        return None
    shapes = {len(panel.today), *map(len, panel.recent), *map(len, panel.reference)}
    if shapes != {PARTS}:
        return None
    panel.learn()
    return panel
