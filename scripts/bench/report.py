"""Runs as tables: medians, quartiles and ratios."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import floor, log10
from statistics import fmean, linear_regression, median, quantiles
from typing import Final

from .plan import SUBJECTS, SYSTEMS, Case, Run, Subject

NONE: Final = "-"


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of a run, None where the run does not have it."""

    label: str
    unit: str
    of: Callable[[Run], float | None]


def _of_integrations(of: Callable[[Run], float]) -> Callable[[Run], float | None]:
    """Return a measure that the library alone does not have."""
    return lambda run: None if run.subject == "bare" else of(run)


def own_cpu(run: Run) -> list[float]:
    """Return seconds of CPU of each poll while no call of the library was in progress."""
    return [whole - library for whole, library in zip(run.cpu, run.library_cpu, strict=True)]


SETUP_CPU: Final = Measure("set-up, CPU", "ms", lambda run: run.setup_cpu * 1e3)
POLL_CPU: Final = Measure("poll, CPU", "ms", lambda run: fmean(run.cpu) * 1e3)
OWN_CPU: Final = Measure("poll, own CPU", "ms", _of_integrations(lambda run: fmean(own_cpu(run)) * 1e3))
REQUESTS: Final = Measure("requests per minute", "", lambda run: run.requests / len(run.cpu))
BYTES: Final = Measure("answers per minute", "kB", lambda run: run.bytes / len(run.cpu) / 1e3)
WRITES: Final = Measure("state writes per poll", "", _of_integrations(lambda run: run.changed + run.reported))
ADDED: Final = Measure("memory, added", "MB", lambda run: run.added / 1e6)
PEAK: Final = Measure("memory, peak", "MB", lambda run: run.peak / 1e6)
MEASURES: Final = (
    SETUP_CPU,
    Measure("set-up, wall", "ms", lambda run: run.setup_wall * 1e3),
    Measure("set-up once more, CPU", "ms", lambda run: None if run.again_cpu is None else run.again_cpu * 1e3),
    POLL_CPU,
    OWN_CPU,
    Measure("median poll, own CPU", "ms", _of_integrations(lambda run: median(own_cpu(run)) * 1e3)),
    Measure("most expensive poll, CPU", "ms", lambda run: max(run.cpu) * 1e3),
    REQUESTS,
    BYTES,
    WRITES,
    Measure("… of which changed nothing", "", _of_integrations(lambda run: run.reported)),
    Measure("entities with a value", "", _of_integrations(lambda run: run.entities)),
    PEAK,
    ADDED,
)
SUMMARY: Final = (SETUP_CPU, POLL_CPU, OWN_CPU, REQUESTS, BYTES, WRITES, PEAK)
GROWTH: Final = (SETUP_CPU, POLL_CPU, OWN_CPU, BYTES, ADDED)


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of numbers and their quartiles."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread | None:
        """Return the spread of numbers, None of none."""
        if not numbers:
            return None
        if len(numbers) == 1:
            return cls(numbers[0], numbers[0], numbers[0])
        low, middle, high = quantiles(numbers, n=4, method="inclusive")
        return cls(middle, low, high)

    def __str__(self) -> str:
        """Format median and quartiles; without the quartiles if they are equal."""
        low, high = number(self.low), number(self.high)
        return number(self.middle) + ("" if low == high else f" ({low} to {high})")


def number(value: float) -> str:
    """Format a number with about three significant digits."""
    if value == 0:
        return "0"
    digits = min(2, max(0, 2 - floor(log10(abs(value)))))
    return f"{value:.{digits}f}"


def ratio(ours: float | None, own: float | None) -> str:
    """Format the ratio of two numbers, if both exist."""
    return NONE if ours is None or not own else f"{ours / own:.2f}"


class Results:
    """Runs, by case and subject."""

    def __init__(self, runs: Iterable[Run]) -> None:
        """Store the runs; those of the library alone belong to both cases of a system."""
        self._runs = tuple(runs)

    def cases(self) -> list[Case]:
        """Return the cases with runs of an integration, in the order of the systems."""
        found = {Case(run.system, run.all_enabled) for run in self._runs if run.subject != "bare"}
        return sorted(found, key=lambda case: (list(SYSTEMS).index(case.system), case.all_enabled))

    def spread(self, case: Case, subject: Subject, measure: Measure) -> Spread | None:
        """Return the spread of the runs of a case."""
        found = (
            measure.of(run)
            for run in self._runs
            if run.system == case.system
            and run.subject == subject
            and (subject == "bare" or run.all_enabled == case.all_enabled)
        )
        return Spread.of([value for value in found if value is not None])

    def middle(self, case: Case, subject: Subject, measure: Measure) -> float | None:
        """Return the median of the runs of a case."""
        spread = self.spread(case, subject, measure)
        return spread.middle if spread else None

    def summary(self) -> str:
        """Return a table with a row for each case."""
        rows = []
        for case in self.cases():
            cells = [case.label]
            for measure in SUMMARY:
                ours, own = (self.middle(case, subject, measure) for subject in ("ours", "own"))
                pair = " / ".join(NONE if value is None else number(value) for value in (ours, own))
                cells.append(f"{pair} = **{ratio(ours, own)}**")
            rows.append(cells)
        return table(["system, entities", *map(_head, SUMMARY)], rows)

    def details(self, case: Case) -> str:
        """Return a table with a row for each measure of a case."""
        rows = []
        for measure in MEASURES:
            spreads = {subject: self.spread(case, subject, measure) for subject in SUBJECTS}
            cells = [str(spread) if spread else NONE for spread in spreads.values()]
            ours, own = (spread.middle if spread else None for spread in (spreads["ours"], spreads["own"]))
            rows.append([_head(measure), *cells, ratio(ours, own)])
            if measure is OWN_CPU:
                rows.append(self._less_library(case))
        return table(["", "ours", "own", "library alone", "ours / own"], rows)

    def _less_library(self, case: Case) -> list[str]:
        """Return the row of a poll's CPU minus that of the library alone, which requests everything."""
        ours, own, bare = (self.middle(case, subject, POLL_CPU) for subject in SUBJECTS)
        left = [None if value is None or bare is None else value - bare for value in (ours, own)]
        return [
            "poll, CPU less library alone [ms]",
            *(NONE if v is None else number(v) for v in left),
            NONE,
            ratio(*left),
        ]

    def growth(self) -> str:
        """Return a table of the cost of a hundred more inverters, by linear regression; empty with too few cases."""
        rows = []
        for all_enabled in (False, True):
            cases = {
                count: case
                for case in self.cases()
                if (count := SYSTEMS[case.system].inverters) and case.all_enabled == all_enabled
            }
            for measure in GROWTH if len(cases) > 1 else ():
                slopes = [self._slope(cases, subject, measure) for subject in ("ours", "own")]
                shown = [NONE if slope is None else number(slope) for slope in slopes]
                entities = "all" if all_enabled else "default"
                rows.append([f"{_head(measure)}, {entities}", *shown, ratio(*slopes)])
        return table(["per 100 inverters", "ours", "own", "ours / own"], rows) if rows else ""

    def _slope(self, cases: dict[int, Case], subject: Subject, measure: Measure) -> float | None:
        values = {count: self.middle(case, subject, measure) for count, case in cases.items()}
        points = [(count / 100, value) for count, value in values.items() if value is not None]
        return linear_regression(*zip(*points, strict=True)).slope if len(points) > 1 else None


def _head(measure: Measure) -> str:
    return measure.label + (f" [{measure.unit}]" if measure.unit else "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown; all columns but the first are numbers."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(machine: dict[str, str], runs: Sequence[Run]) -> str:
    """Return the whole report in Markdown."""
    results = Results(runs)
    polls = sorted({len(run.cpu) for run in runs})
    rounds = sorted(set(Counter((run.system, run.all_enabled) for run in runs if run.subject == "ours").values()))
    parts = [
        ", ".join(f"{name} {value}" for name, value in machine.items())
        + f"; {'/'.join(map(str, rounds))} runs each, {'/'.join(map(str, polls))} polls a run."
        " Cells are ours / own = **ratio**, of medians.",
        results.summary(),
    ]
    if growth := results.growth():
        parts += ["Cost of more inverters:", growth]
    parts.append("Medians, and in brackets quartiles, over the runs:")
    for case in results.cases():
        parts += [f"**{case.label} entities**", results.details(case)]
    return "\n\n".join(parts)
