"""Energy flows of the house, and readings of the counters that integrate them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Flow = Literal[
    "production", "load", "imported", "exported", "charged", "discharged", "generated", "combiner_out", "combiner_in"
]
#: The flows that balance: production + imported + discharged + generated = load + exported + charged.
FLOWS: Final[tuple[Flow, ...]] = ("production", "load", "imported", "exported", "charged", "discharged", "generated")
SOURCES: Final[tuple[Flow, ...]] = ("production", "imported", "discharged", "generated")
SINKS: Final[tuple[Flow, ...]] = ("load", "exported", "charged")
#: Power (W) or energy (Wh) of each flow on each phase. The two combiner flows are the sum of production and storage:
#: what both together feed into (out) or draw from (in) the house, as a backfeed CT at their combiner measures it.
PerPhase = dict[Flow, list[float]]


@dataclass(slots=True)
class Snapshot:
    """Counters at a time."""

    at: float
    counters: PerPhase

    def total(self, flow: Flow) -> float:
        """Sum of the phases in Wh."""
        return sum(self.counters[flow])

    def since(self, before: Snapshot, flow: Flow, phase: int | None = None) -> float:
        """Wh between an earlier snapshot and this one, of a phase or of all."""
        new, old = self.counters[flow], before.counters[flow]
        return sum(new) - sum(old) if phase is None else new[phase] - old[phase]

    def plus(self, shift: PerPhase) -> Snapshot:
        """Return the same with every counter shifted."""
        return Snapshot(self.at, {name: add(values, shift[name]) for name, values in self.counters.items()})


def add(values: list[float], others: list[float], factor: float = 1.0) -> list[float]:
    """Add phase by phase."""
    return [value + factor * other for value, other in zip(values, others, strict=True)]


def between(before: Snapshot, after: Snapshot, at: float) -> Snapshot:
    """Interpolate linearly."""
    part = (at - before.at) / (after.at - before.at) if after.at > before.at else 0.0
    counters: PerPhase = {
        name: [old + (new - old) * part for old, new in zip(values, after.counters[name], strict=True)]
        for name, values in before.counters.items()
    }
    return Snapshot(at, counters)
