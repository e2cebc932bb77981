"""Jumps in recorded statistics that physics rules out, and what truly flowed. Pure functions; energy is in Wh.

A jump is energy that was booked for a lie of the gateway. The states that were recorded beside the sums tell most of
the truth: where the counter is after a lie what it may well be after what it was before, the difference flowed. Where
it is not, for good, nobody knows what flowed in that row, and about as much as in the rows beside it is the best guess.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

#: How much more than now a system may have been able to carry in the past.
_MARGIN: Final = 2.0
#: Seconds that a row may be behind: inverters report every five minutes, some every hour.
_BEHIND: Final = 3600.0
#: Seconds whose energy a counter may fall by: meters that are read at different moments are added up.
_JITTER: Final = 300.0
#: Seconds within which a counter has to be back for what was between to be a lie.
WINDOW: Final = 48 * 3600.0
#: Rows among which to look for one that is right.
_NEAR: Final = 12
#: Share of a fall that has to come back at once to be its end.
_MOST: Final = 0.8
#: Watt-hours that are worth a correction: less comes of computing with megawatt-hours.
_LEAST: Final = 0.01


@dataclass(frozen=True, slots=True)
class StatisticsRow:
    """One row of the statistics; times in seconds since the epoch."""

    start: float
    end: float
    #: What the counter showed at the end; imported rows may not say.
    state: float | None
    sum: float


@dataclass(frozen=True, slots=True)
class Change:
    """What was booked between the ends of two rows that follow one another."""

    #: Beginning of the row from which on the sums hold it.
    at: float
    before: StatisticsRow
    after: StatisticsRow

    @property
    def change(self) -> float:
        """The energy."""
        return self.after.sum - self.before.sum

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.after.end - self.before.end


@dataclass(frozen=True, slots=True)
class Spike:
    """Energy that was booked and can't have flowed, or none that was booked where some flowed."""

    at: float
    booked: float
    #: The most that can have flowed.
    possible: float
    #: What has to be added to what was booked.
    correction: float


def recorded_changes(hours: Sequence[StatisticsRow], short: Sequence[StatisticsRow]) -> list[Change]:
    """Return what was booked, by short rows where these tell all of an hour, and by hours where they do not (any more).

    Both are in the order of time. The short rows of the last days tell when within an hour something was booked.
    """
    if (begin := min((row.start for row in (*hours[:1], *short[:1])), default=None)) is None:
        return []
    # Before the first row nothing was booked.
    origin = StatisticsRow(begin, begin, None, 0.0)
    if not hours:
        return list(_pairs([origin, *short]))
    # Numbers of the short rows by when they end, and by when the one before may have ended.
    ends = {row.end: number for number, row in enumerate(short)}
    begins = {row.start: number for number, row in enumerate(short)} | {end: n + 1 for end, n in ends.items()}
    made: list[Change] = []
    for before, hour in pairwise([origin, *hours]):
        first = 0 if before is origin else begins.get(before.end)
        last = ends.get(hour.end)
        if first is not None and last is not None:
            made += _pairs([before, *short[first : last + 1]])
        else:
            within = [row for row in short if before.end <= row.start and row.end <= hour.end]
            made.append(Change(_moment(before, hour, within), before, hour))
    since = hours[-1]
    return [*made, *_pairs([since, *(row for row in short if row.start >= since.end)])]


def _pairs(rows: Sequence[StatisticsRow]) -> Iterator[Change]:
    return (Change(after.start, before, after) for before, after in pairwise(rows))


def _moment(before: StatisticsRow, hour: StatisticsRow, within: Sequence[StatisticsRow]) -> float:
    """Return when most of an hour was booked, if one of the short rows that are left of it holds that."""
    total = hour.sum - before.sum
    return next((pair.at for pair in _pairs(within) if total and pair.change / total > _MOST), hour.start)


def find_spikes(booked: Sequence[Change], watts: float) -> list[Spike]:
    """Return the jumps among what was booked for a counter of a system that carries so many watts."""
    return list(_Series(booked, watts * _MARGIN / 3600).jumps())


class _Series:
    """The bookings of a counter, one after another."""

    def __init__(self, booked: Sequence[Change], per_second: float) -> None:
        self._booked = booked
        self._per_second = per_second

    def jumps(self) -> Iterator[Spike]:
        """Yield what has to be corrected."""
        true: dict[int, float] = {}
        for number in range(len(self._booked)):
            if number not in true and not self._can_be(number):
                true |= self._truth(number)
        for number, energy in sorted(true.items()):
            booking = self._booked[number]
            if abs(correction := energy - booking.change) >= _LEAST:
                yield Spike(booking.at, booking.change, self._possible(booking.seconds), correction)

    def _possible(self, seconds: float) -> float:
        """Return the most that can flow in so many seconds, or be told after them."""
        return self._per_second * (seconds + _BEHIND)

    def _flows(self, energy: float, seconds: float) -> bool:
        return -self._per_second * _JITTER <= energy <= self._possible(seconds)

    def _can_be(self, number: int) -> bool:
        """Return whether what was booked can have flowed."""
        return self._flows(self._booked[number].change, self._booked[number].seconds)

    def _grows(self, first: int, last: int) -> bool:
        """Return whether the counter may have come from where it was before a booking to where it is after another."""
        before, after = self._booked[first].before, self._booked[last].after
        if before.state is None or after.state is None:
            return False
        return self._flows(after.state - before.state, after.end - before.end)

    def _truth(self, number: int) -> dict[int, float]:
        """Return what truly flowed in a booking that can't be, and in those that are wrong with it."""
        if (first := self._beginning(number)) is not None:
            return self._between(first, number)
        if (last := self._end(number)) is not None:
            return self._between(number, last)
        return {number: self._as_beside(number)}

    def _beginning(self, number: int) -> int | None:
        """Return the booking with which the counter left the path that it is on again after this one."""
        if self._grows(number, number):
            return number
        end = self._booked[number].after.end
        for first in range(number - 1, -1, -1):
            if end - self._booked[first].before.end > WINDOW:
                break
            if not self._grows(first, first) and self._grows(first, number):
                return first
        return None

    def _end(self, number: int) -> int | None:
        """Return the booking with which the counter comes back to the path that it leaves with this one."""
        start = self._booked[number].before.end
        for last in range(number + 1, len(self._booked)):
            if self._booked[last].after.end - start > WINDOW:
                break
            if self._grows(number, last) and (not self._grows(last, last) or self._regains(number, last)):
                return last
        return None

    def _regains(self, fall: int, number: int) -> bool:
        """Return whether a booking makes up for most of a fall at once."""
        fell, rose = self._booked[fall].change, self._booked[number].change
        return fell < 0 and rose >= -_MOST * fell

    def _between(self, first: int, last: int) -> dict[int, float]:
        """Return what flowed in the wrong ones of some bookings, from a true state to a true one.

        What is right keeps what was booked; the wrong ones share the rest by their length. All of them share where that
        does not work out: what was told meanwhile was wrong by a factor, or stood still.
        """
        numbers = range(first, last + 1)
        before, after = self._booked[first].before.state, self._booked[last].after.state
        if before is None or after is None:
            return {}
        energy = max(0.0, after - before)
        wrong = [n for n in numbers if n in (first, last) or not self._can_be(n) or not self._grows(n, n)]
        rest = energy - sum(self._booked[n].change for n in numbers if n not in wrong)
        if not 0 <= rest <= self._possible(self._length(wrong)):
            wrong, rest = list(numbers), energy
        return {n: rest * self._booked[n].seconds / self._length(wrong) for n in wrong}

    def _length(self, numbers: Sequence[int]) -> float:
        return sum(self._booked[n].seconds for n in numbers)

    def _as_beside(self, number: int) -> float:
        """Return what flows in a booking if it is like the right ones before and after it."""
        beside = (self._right(range(number - 1, -1, -1)), self._right(range(number + 1, len(self._booked))))
        rates = [booking.change / booking.seconds for booking in beside if booking]
        return max(0.0, sum(rates) / len(rates) * self._booked[number].seconds) if rates else 0.0

    def _right(self, numbers: range) -> Change | None:
        """Return the first of some bookings that is right, if it is near."""
        near = numbers[:_NEAR]
        return next((self._booked[n] for n in near if self._can_be(n) and self._grows(n, n)), None)
