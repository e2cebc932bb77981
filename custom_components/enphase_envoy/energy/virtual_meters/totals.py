"""Counters of the component itself. Their stored state consists of numbers alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
import math
from typing import NamedTuple

from ...model.json_data import Json
from ...model.snapshot import Freshness, TimedValue
from ...model.validation import is_number


def exact(watt_hours: float) -> float:
    """Round to a multiple of 2^-20 Wh: such numbers add up without an error up to 8 TWh."""
    return round(watt_hours * 2**20) / 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """What the component counts itself."""

    #: When it began to count, in seconds since the epoch; None where that is not known.
    since: float | None = field(default=None, compare=False)


class Update(NamedTuple):
    """New state of a virtual meter."""

    value: Counting
    #: The objects that it is made of.
    parts: Sequence[TimedValue]
    #: When its power was measured.
    measured: Freshness


class Totals:
    """Wh since the first reading, which never fall."""

    def __init__(self, *names: str) -> None:
        """Begin at zero."""
        self._watt_hours = dict.fromkeys(names, 0.0)

    def add(self, name: str, watt_hours: float) -> None:
        """Add energy, unless it is negative."""
        self._watt_hours[name] += max(0.0, exact(watt_hours))

    def raise_to(self, name: str, watt_hours: float) -> float:
        """Go on from a value that was reached before, and return what is added; unknown names are left out."""
        if name not in self._watt_hours or not is_number(watt_hours):
            return 0.0
        before = self._watt_hours[name]
        self._watt_hours[name] = max(before, exact(watt_hours))
        return self._watt_hours[name] - before

    def __bool__(self) -> bool:
        """Return whether anything was counted."""
        return any(self._watt_hours.values())

    def shown(self, name: str) -> int:
        """Return whole Wh."""
        return math.floor(self._watt_hours[name])

    def dump(self) -> dict[str, Json]:
        """Return the state to store."""
        return {**self._watt_hours}

    def load(self, data: Json) -> None:
        """Restore the state; what is not valid is left out."""
        for name, value in data.items() if isinstance(data, dict) else ():
            if is_number(value):
                self.raise_to(name, value)
