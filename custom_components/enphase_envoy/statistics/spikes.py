"""Finds physically impossible changes in recorded statistics. Pure functions; energy is in Wh.

A spike is energy that was recorded because of a wrong reading of the gateway. The states that are recorded beside the
sums show the actual energy: if the state after a wrong reading is a possible continuation of the state before it, their
difference is the energy that flowed. If it never is (a permanent step), the energy of that row is unknown, and the rate
of the rows beside it is the best estimate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

#: Factor on the maximum power of the current system: it may have been larger in the past.
_MARGIN: Final = 2.0
#: Seconds by which a reading may be late: inverters report every five minutes, some every hour.
_MAX_DELAY: Final = 3600.0
#: Seconds of maximum power by which a counter may fall: a sum of meters that are read at different times.
_JITTER: Final = 300.0
#: Seconds within which a counter must return to its path for the readings between to count as wrong.
WINDOW: Final = 48 * 3600.0
#: Number of neighbouring rows to search for a valid one.
_NEIGHBOURS: Final = 12
#: Share of a fall that a later rise must regain to count as its end.
_REGAINED_SHARE: Final = 0.8
#: Share of an hour's energy that a short row must contain to locate the spike in it.
_LOCATED_SHARE: Final = 0.8
#: Minimum correction in Wh: smaller differences are rounding errors of values in MWh.
_MIN_CORRECTION: Final = 0.01


@dataclass(frozen=True, slots=True)
class StatisticsRow:
    """One row of the statistics; times in seconds since the epoch."""

    start: float
    end: float
    #: State of the counter at the end; imported rows may have none.
    state: float | None
    sum: float


@dataclass(frozen=True, slots=True)
class Change:
    """The energy recorded between the ends of two successive rows."""

    #: Start of the row from which on the sums contain the energy.
    at: float
    before: StatisticsRow
    after: StatisticsRow

    @property
    def change(self) -> float:
        """The energy in Wh."""
        return self.after.sum - self.before.sum

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.after.end - self.before.end


@dataclass(frozen=True, slots=True)
class Spike:
    """Energy that was recorded but cannot have flowed, or flowed but was not recorded."""

    at: float
    recorded: float
    #: The maximum that can have flowed.
    possible: float
    #: To be added to the recorded energy.
    correction: float


def recorded_changes(hours: Sequence[StatisticsRow], short: Sequence[StatisticsRow]) -> list[Change]:
    """Return the recorded changes: of short rows where they cover a whole hour, else of the hour.

    Both sequences are sorted by time. The recorder keeps short rows for some days only.
    """
    first = min((*short[:1], *hours[:1]), key=lambda row: row.start, default=None)
    if first is None:
        return []
    # The sum before the first row is zero. Imported rows may begin with a negative one, which is no fall.
    origin = StatisticsRow(first.start, first.start, None, min(0.0, first.sum))
    if not hours:
        return list(_changes([origin, *short]))
    last = hours[-1]
    since = [last, *(row for row in short if row.start >= last.end)]
    return [*_changes_of_hours([origin, *hours], short), *_changes(since)]


def _changes_of_hours(hours: Sequence[StatisticsRow], short: Sequence[StatisticsRow]) -> Iterator[Change]:
    """Yield the changes of all hours but the first, which only gives the sum before them."""
    # Index of the short row that ends at a time, and of the first one after a time.
    ending = {row.end: index for index, row in enumerate(short)}
    following = {row.start: index for index, row in enumerate(short)} | {end: n + 1 for end, n in ending.items()}
    for before, hour in pairwise(hours):
        first = 0 if before is hours[0] else following.get(before.end)
        last = ending.get(hour.end)
        if first is not None and last is not None:
            yield from _changes([before, *short[first : last + 1]])
        else:
            within = [row for row in short if before.end <= row.start and row.end <= hour.end]
            yield Change(_located(before, hour, within), before, hour)


def _changes(rows: Sequence[StatisticsRow]) -> Iterator[Change]:
    return (Change(after.start, before, after) for before, after in pairwise(rows))


def _located(before: StatisticsRow, hour: StatisticsRow, within: Sequence[StatisticsRow]) -> float:
    """Return the start of the remaining short row that contains most of an hour's energy, else that of the hour."""
    total = hour.sum - before.sum
    changes = _changes(within)
    return next((change.at for change in changes if total and change.change / total > _LOCATED_SHARE), hour.start)


def find_spikes(changes: Sequence[Change], watts: float) -> list[Spike]:
    """Return the spikes of a counter in a system with that maximum power."""
    return list(_Series(changes, watts * _MARGIN / 3600).spikes())


class _Series:
    """The recorded changes of a counter in order of time; methods take indexes of changes."""

    def __init__(self, changes: Sequence[Change], per_second: float) -> None:
        self._changes = changes
        self._per_second = per_second

    def spikes(self) -> Iterator[Spike]:
        """Yield the spikes in order of time."""
        actual: dict[int, float] = {}
        for index in range(len(self._changes)):
            if index not in actual and not self._is_possible(index):
                actual |= self._actual_energy(index)
        for index, energy in sorted(actual.items()):
            change = self._changes[index]
            if abs(correction := energy - change.change) >= _MIN_CORRECTION:
                yield Spike(change.at, change.change, self._maximum(change.seconds), correction)

    def _maximum(self, seconds: float) -> float:
        """Return the maximum energy that can flow in some seconds, or be reported after them."""
        return self._per_second * (seconds + _MAX_DELAY)

    def _can_flow(self, energy: float, seconds: float) -> bool:
        return -self._per_second * _JITTER <= energy <= self._maximum(seconds)

    def _is_possible(self, index: int) -> bool:
        """Return whether the recorded energy of a change can have flowed."""
        return self._can_flow(self._changes[index].change, self._changes[index].seconds)

    def _is_continuous(self, first: int, last: int) -> bool:
        """Return whether the state after the last change is a possible continuation of that before the first."""
        before, after = self._changes[first].before, self._changes[last].after
        if before.state is None or after.state is None:
            return False
        return self._can_flow(after.state - before.state, after.end - before.end)

    def _actual_energy(self, index: int) -> dict[int, float]:
        """Return the actual energy of an impossible change, and of the others that are wrong with it."""
        if (first := self._start_of_deviation(index)) is not None:
            return self._distributed(first, index)
        if (last := self._end_of_deviation(index)) is not None:
            return self._distributed(index, last)
        return {index: self._estimated(index)}

    def _start_of_deviation(self, index: int) -> int | None:
        """Return the change with which the counter left the path to which this one returns."""
        if self._is_continuous(index, index):
            return index
        end = self._changes[index].after.end
        for first in range(index - 1, -1, -1):
            if end - self._changes[first].before.end > WINDOW:
                break
            if not self._is_continuous(first, first) and self._returns(first, index):
                return first
        return None

    def _end_of_deviation(self, index: int) -> int | None:
        """Return the change with which the counter returns to the path that it leaves with this one."""
        start = self._changes[index].before.end
        for last in range(index + 1, len(self._changes)):
            if self._changes[last].after.end - start > WINDOW:
                break
            if self._returns(index, last) and (not self._is_continuous(last, last) or self._regains(index, last)):
                return last
        return None

    def _returns(self, first: int, last: int) -> bool:
        """Return whether the last change leads back to the path that the first one left: in the other direction."""
        left, returned = self._rise(first), self._rise(last)
        return self._is_continuous(first, last) and (
            left is None or returned is None or left < 0 <= returned or returned < 0 <= left
        )

    def _regains(self, fall: int, index: int) -> bool:
        """Return whether a change regains most of a fall at once, in the sums and in the states."""
        fell, rise = self._changes[fall].change, self._rise(index)
        return fell < 0 and rise is not None and min(self._changes[index].change, rise) >= -_REGAINED_SHARE * fell

    def _rise(self, index: int) -> float | None:
        """Return by how much the state rises with a change."""
        before, after = self._changes[index].before.state, self._changes[index].after.state
        return None if before is None or after is None else after - before

    def _distributed(self, first: int, last: int) -> dict[int, float]:
        """Return the actual energy of the wrong changes between two valid states.

        Valid changes keep their recorded energy; the wrong ones share the rest by duration. If the rest is not
        possible, all of them share the total: the readings between were wrong by a factor, or did not change.
        """
        indexes = range(first, last + 1)
        before, after = self._changes[first].before.state, self._changes[last].after.state
        if before is None or after is None:
            return {}
        energy = max(0.0, after - before)
        wrong = [n for n in indexes if n in (first, last) or not self._is_valid(n)]
        rest = energy - sum(self._changes[n].change for n in indexes if n not in wrong)
        if not 0 <= rest <= self._maximum(self._duration(wrong)):
            wrong, rest = list(indexes), energy
        return {n: rest * self._changes[n].seconds / self._duration(wrong) for n in wrong}

    def _duration(self, indexes: Sequence[int]) -> float:
        return sum(self._changes[n].seconds for n in indexes)

    def _estimated(self, index: int) -> float:
        """Return the energy of a change at the rate of the valid ones before and after it."""
        neighbours = (
            self._first_valid(range(index - 1, -1, -1)),
            self._first_valid(range(index + 1, len(self._changes))),
        )
        rates = [change.change / change.seconds for change in neighbours if change]
        return max(0.0, sum(rates) / len(rates) * self._changes[index].seconds) if rates else 0.0

    def _first_valid(self, indexes: range) -> Change | None:
        """Return the first valid change among the nearest."""
        return next((self._changes[n] for n in indexes[:_NEIGHBOURS] if self._is_valid(n)), None)

    def _is_valid(self, index: int) -> bool:
        return self._is_possible(index) and self._is_continuous(index, index)
