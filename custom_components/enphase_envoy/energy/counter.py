"""One energy counter: which of its readings are published, which are held back, and for how long.

A reading is published if the energy since the last one can have flowed. Other readings are held back for a while, and
then published as well. What was published without being certain can be taken back for two days::

                 possible                                           an hour without any of these
    ┌─▶ PUBLISHED ───────────▶ PUBLISHED                          ┌──────────────────────────────▶ UNAVAILABLE ─┐
    │       │ not possible                                        │                                             │
    │       └───────────────▶ HELD BACK ──────────────────────────┤                                             │
    │                                                             │ possible again: all of it was wrong         │
    │                                                             │ 4 minutes: late energy, an earlier path     │
    │                                                             │ 14 minutes if it moves, or an hour:         │
    │                                                             │   a higher limit, or else a step            │
    └─────────────────────────────────────────────────────────────┴─────────────────────────────────────────────┘

The energy that can have flowed is a budget: it grows at the power that the system can carry, and is spent by what is
counted, so that a silence of inverters, gateway, network or Home Assistant leaves it unspent. That power is only an
assumption (see `limits`), which the power that the same object reports and steady rises refute.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from math import ceil
from typing import Final, NamedTuple

from .limits import Capacity, Direction

#: Wh at which counters without CTs begin anew: 2^32 joules.
WRAP: Final = 2**32 / 3600
#: A counter of 3600 wraps is 2^32 Wh: a wrong reading.
_WRAPS: Final = 1000
#: Seconds after which nothing is held back any more: a minute less than promised, since polls are late now and then.
HOUR: Final = 3540.0
#: Seconds after which a reading is published that moves on, and one that can be explained.
_MOVING: Final = 840.0
_EXPLAINED: Final = 240.0
#: Wh that a counter may fall by: from rounding and sums of phases, and from rounding alone.
_NOISE: Final = 100.0
_ROUNDING: Final = 2.0
#: A fall that takes back what was too little to be noticed: Wh, or part of the counter up to so many Wh.
_SMALL: Final = 500.0
_PART: Final = 0.2
_LARGER: Final = 10_000.0
#: Factors by which energy may exceed what the reported power comes to: to be possible, and to be certain.
_POSSIBLE: Final = 1.5
_CERTAIN: Final = 2.0
#: Factor by which the limit grows with each poll that exceeds it, while all of the budget is spent.
_LEARNED: Final = 1.1
#: Seconds between two readings from which on nothing is certain.
_SILENCE: Final = 900.0
#: Seconds that a reading may be older or younger than it seems.
_SLACK: Final = 120.0
#: Seconds for which inverters may stand still and then report all at once: some report once an hour.
_BURST: Final = 7200.0
#: Seconds that the time of an inverter's report may be ahead of that of the last one, if it did not stand still longer.
_LONGEST_REPORT: Final = 86400.0
#: Seconds of the gap before a step that are filled with the mean of what flowed after it.
_FILLED: Final = 600.0
#: Part of a change by which it may miss the reading that it goes back to.
_NEAR: Final = 0.02
#: Seconds for which a change can be taken back, and how many of such changes are kept.
_CHECKED: Final = 2 * 86400.0
CHECKPOINTS: Final = 8


class StepCause(StrEnum):
    """Why a counter was published with another value that is no energy."""

    #: Another meter, or another firmware.
    LASTING = "lasting"
    #: A reading that was published turned out to be wrong.
    TAKEN_BACK = "taken back"


class Step(NamedTuple):
    """Another value of a counter that is no energy; energies in Wh."""

    cause: StepCause
    #: As published before and after.
    before: float
    after: float
    #: What flowed while the readings were held back.
    gained: float
    #: What the step has to add to the recorded energy.
    due: float = 0.0
    #: When the new value was first read, or the wrong one published, in seconds since the epoch; None after zero.
    since: float | None = None

    @property
    def leap(self) -> float:
        """The part of the step that is no energy."""
        return self.after - self.before - self.gained


class Reading(NamedTuple):
    """A reading of a counter, in Wh."""

    value: float
    #: Seconds since the epoch.
    at: float
    #: Watts that the same object reports, + while the counter rises.
    power: float = 0.0
    #: When an inverter reported it, in seconds since the epoch; 0 where that is not known.
    own: float = 0.0


@dataclass(slots=True)
class Candidate:
    """A series of readings that are held back."""

    since: float
    began: float
    value: float
    at: float
    #: Seconds that it lasts, as far as it was read.
    age: float = 0.0
    #: Wh of its rises that the system can carry, and of the largest rise of all.
    gained: float = 0.0
    largest: float = 0.0


@dataclass(slots=True)
class Checkpoint:
    """The state right before a change was published that may be wrong."""

    value: float
    total: float
    #: When that was, by how many Wh the readings changed, and what was added to them before.
    at: float
    jump: float
    offset: float
    #: What had certainly flowed until then, and what the reported power had come to.
    flowed: float
    powered: float
    #: When the value before the change was last known.
    known: float


class _Fit(NamedTuple):
    """A checkpoint that readings may go on from, and how well they do."""

    checkpoint: Checkpoint
    #: What is to be added to the readings besides: the counter began anew since then.
    wrap: float
    #: Wh by which they differ from what flowed since then, and may differ.
    misfit: float
    near: float
    #: Wh of the difference beyond what was counted may differ by.
    excess: float


@dataclass(slots=True)
class Counter:
    """The state of one counter; times in seconds since the epoch, energies in Wh."""

    #: As published.
    value: float
    #: When that was last known, and when it last moved.
    at: float
    moved: float
    #: When an inverter reported it; 0 where that is not known.
    own: float = 0.0
    #: Watts with the last reading that was published.
    power: float = 0.0
    #: What is added to readings: wraps, and what a computed consumption fell by.
    offset: float = 0.0
    #: Energy that was counted, and that can have flowed besides.
    total: float = 0.0
    budget: float = 0.0
    #: Watts that it has proved to count.
    learned: float = 0.0
    #: Since when every reading is held back; 0 while none is.
    held_since: float = 0.0
    #: Changes of its readings that are certainly energy, and what the reported power came to.
    flowed: float = 0.0
    powered: float = 0.0
    candidate: Candidate | None = None
    checkpoints: list[Checkpoint] = field(default_factory=list)

    def read(self, reading: Reading, capacity: Capacity) -> Step | None:
        """Take a reading; return the step if that publishes one."""
        if reading.at < (latest := (self.candidate or self).at) - _SLACK:
            self.follow_clock(reading.at, latest - reading.at)
        # After a long silence a counter can have fallen to zero, but then it is not exactly zero.
        is_zero = not reading.value and abs(self.value) > _NOISE and self._is_none(reading.value, capacity)
        for offset in () if is_zero else chain((self.offset,), self._other_offsets(reading.value, capacity)):
            change = reading.value + offset - self.value
            seconds = self._seconds(reading, capacity, offset)
            if self._is_possible(change, seconds, reading, capacity):
                return self._accept(change, offset, reading, capacity)
        self.held_since = self.held_since or reading.at
        if self._is_none(reading.value, capacity):
            return None
        return self._decide(self._hold(reading, capacity), reading, capacity)

    def is_missing(self, at: float) -> bool:
        """Return whether no reading was published for so long that there is nothing to show."""
        return 0 < self.held_since <= at - HOUR

    def limit(self, capacity: Capacity, power: float = 0.0) -> float:
        """Return the watts that it counts at most, given those that the same object reports."""
        return max(capacity.watts, self.learned, _POSSIBLE * power)

    def _is_none(self, value: float, capacity: Capacity) -> bool:
        """Return whether a reading is none: gateways report zero where they have none, unless it was zero before."""
        if value < 0 and capacity.direction is not Direction.BOTH:
            return True
        return not value and not any(abs(checkpoint.value) <= _ROUNDING for checkpoint in self.checkpoints)

    def known_at(self, at: float, capacity: Capacity) -> None:
        """Note that it had its value until then: the budget grows, up to what the counter may be late with."""
        if at > self.at:
            self.powered += abs(self.power) * (at - self.at) / 3600
            limit = self.limit(capacity, self.power) / 3600
            earned = limit * (at - self.at)
            self.budget = min(self.budget + earned, max(earned, limit * capacity.late))
            self.at = at

    # Readings that are possible

    def _other_offsets(self, value: float, capacity: Capacity) -> Iterator[float]:
        """Yield what else may have to be added to a reading.

        Firmware counts modulo 2^32 J, or stops doing so, from one day to the next: the sum is the nearest to the last
        one, or the next above that, since the counter does not fall.
        """
        if capacity.by_inverters and self.offset:
            yield 0.0
        if capacity.by_inverters and 0 < value <= WRAP and 0 <= (wraps := round((self.value - value) / WRAP)) < _WRAPS:
            yield WRAP * wraps
            if not self.held_since:
                yield WRAP * (wraps + 1)

    def _series(self, reading: Reading) -> Candidate:
        """Return a series of readings that consists of one."""
        value = reading.value + self.offset
        return Candidate(reading.at, value, value, reading.at)

    def _seconds(self, reading: Reading, capacity: Capacity, offset: float) -> float:
        """Return the time in which the energy flowed that a reading counts and the last one did not."""
        seconds = reading.at - self.at
        if capacity.by_inverters and offset == self.offset:
            seconds = max(seconds, min(reading.at - self.moved, _BURST))
        if reading.own and self.own:
            seconds = max(seconds, min(reading.own - self.own, max(_LONGEST_REPORT, reading.at - self.moved)))
        return seconds

    def _is_possible(self, change: float, seconds: float, reading: Reading, capacity: Capacity) -> bool:
        most = _energy(self.limit(capacity, reading.power), seconds)
        return -self._least(reading, capacity, most) <= change <= most

    def _least(self, reading: Reading, capacity: Capacity, most: float) -> float:
        """Return the Wh that a counter can fall by, if it can move by `most`."""
        if capacity.direction is Direction.UP:
            return _NOISE
        # The power of a computed consumption is negative while it falls.
        may_fall = capacity.direction is Direction.BOTH or min(reading.power, self.power) < 0
        return most if may_fall else _ROUNDING

    def _accept(self, change: float, offset: float, reading: Reading, capacity: Capacity) -> Step | None:
        """Publish a reading that is possible."""
        falls = change < 0 and capacity.direction is Direction.UP_COMPUTED
        energy = change if capacity.direction is Direction.BOTH else max(0.0, change)
        gap = reading.at - self.at
        likely = self._likely(change, reading, gap, capacity)
        is_other = offset != self.offset
        if is_other or (abs(change) > _NOISE and (gap > _SILENCE or abs(change) > likely)):
            series = self._series(reading)
            if back := self._way_back(series, reading.power, capacity, may_wrap=not is_other):
                return self._take_back(back, series, reading, capacity)
            self._mark(change, reading.at)
        elif (energy or falls) and abs(change) > likely - _NOISE + _ROUNDING:
            self._mark(change, reading.at)
        else:
            self.flowed += change if falls and change < -_ROUNDING else energy
        self.offset = offset - change if falls and change < -_ROUNDING else offset
        self._count(energy, reading, capacity)
        return None

    def _likely(self, change: float, reading: Reading, seconds: float, capacity: Capacity) -> float:
        """Return the Wh that certainly flow in a time, by the power that the same object reports."""
        # A counter that stood still, and its power with it, does not begin with a large change.
        powers = [self.power, reading.power] if self.moved == self.at else [self.power]
        if capacity.direction is Direction.UP_COMPUTED and change < 0:
            powers = [-power for power in powers]
        return _NOISE + _energy(_CERTAIN * max(0.0, *powers), seconds)

    def _count(self, energy: float, reading: Reading, capacity: Capacity) -> None:
        seconds = reading.at - self.at
        self.known_at(reading.at, capacity)
        if abs(energy) > self.budget and seconds > 0:
            # A limit that is exceeded again and again is wrong.
            self.learned = max(self.learned, min(_LEARNED * self.limit(capacity), 3600 * abs(energy) / seconds))
        self.budget = max(0.0, self.budget - abs(energy))
        self.total += energy
        self._publish(self.value + energy, reading, capacity)

    def _publish(self, value: float, reading: Reading, capacity: Capacity) -> None:
        self.known_at(reading.at, capacity)
        if value != self.value:
            self.moved = reading.at
        self.value, self.at, self.own, self.power = value, reading.at, reading.own, reading.power
        self.candidate, self.held_since = None, 0.0

    # Readings that are not

    def _hold(self, reading: Reading, capacity: Capacity) -> Candidate:
        """Add a reading to the series that is held back; begin another if it contradicts that."""
        value, held, both = reading.value + self.offset, self.candidate, capacity.direction is Direction.BOTH
        change = value - held.value if held else 0.0
        carried = _energy(self.limit(capacity, reading.power), reading.at - held.at) if held else 0.0
        if (
            held is None
            or (change < -_NOISE and capacity.direction is Direction.UP)
            or (abs(change) > carried and change * (self.value - held.value) > 0)
        ):
            self.candidate = self._series(reading)
            self.candidate.largest = abs(value - self.value) if both else value - self.value
            return self.candidate
        if capacity.direction is Direction.UP:
            change = max(0.0, change)
        if abs(change) <= min(carried, self._likely(change, reading, reading.at - held.at, capacity)):
            held.gained += change if both else max(0.0, change)
        held.age += min(max(0.0, reading.at - held.at), _FILLED)
        held.value, held.at, held.largest = held.value + change, reading.at, max(held.largest, abs(change))
        return held

    def _decide(self, held: Candidate, reading: Reading, capacity: Capacity) -> Step | None:
        """Publish the readings that are held back once they can be explained, or have lasted for long enough."""
        change = held.value - self.value
        back = self._way_back(held, reading.power, capacity)
        budget = self.budget + self.limit(capacity) * max(0.0, reading.at - self.at) / 3600
        is_late = (0.0 if capacity.direction is Direction.UP else -budget) <= change <= budget
        lasts = held.age >= (HOUR if held.value == held.began else _MOVING)
        if not lasts and (held.age < _EXPLAINED or not (back or is_late)):
            return None
        if back:
            return self._take_back(back, held, reading, capacity)
        rise = abs(change) if capacity.direction is Direction.BOTH else change
        if is_late or 0 < 2 * held.largest <= rise:
            self._catch_up(change, is_late, held, reading, capacity)
            return None
        if back := self._wrong_change(held, capacity):
            return self._take_back(back, held, reading, capacity)
        return self._step(held, reading, capacity)

    def _catch_up(self, change: float, is_late: bool, held: Candidate, reading: Reading, capacity: Capacity) -> None:
        """Publish energy that was late, or beyond the limit; of a computed consumption that fell, its rises."""
        energy = held.gained if change < 0 and capacity.direction is Direction.UP_COMPUTED else change
        self._mark(change, reading.at)
        if not is_late:
            self.learned = max(self.learned, _POSSIBLE * 3600 * abs(change) / (reading.at - self.at))
        self.offset += energy - change
        self._count(energy, reading, capacity)

    def _step(self, held: Candidate, reading: Reading, capacity: Capacity) -> Step:
        """Publish what no energy explains, as the gateway reports it."""
        gained = self._flowed(held)
        # Zero is the first reading of a gateway that is starting.
        since = held.since if self.value else None
        step = Step(StepCause.LASTING, self.value, reading.value, gained, gained, since)
        self._mark(reading.value + self.offset - self.value, reading.at)
        self.offset = self.budget = 0.0
        self.total += gained
        self.flowed += gained
        self._publish(reading.value, reading, capacity)
        return step

    # Changes that turn out to be wrong

    def _mark(self, jump: float, at: float) -> None:
        """Keep the state before a change that may be wrong; the largest changes are kept."""
        kept = [each for each in self.checkpoints if at - each.at <= _CHECKED]
        if len(kept) == CHECKPOINTS:
            kept.remove(min(kept, key=lambda each: abs(each.jump)))
        self.checkpoints = [*kept, self._checkpoint(at, jump)]

    def _checkpoint(self, at: float, jump: float) -> Checkpoint:
        return Checkpoint(self.value, self.total, at, jump, self.offset, self.flowed, self.powered, self.at)

    def _way_back(
        self, held: Candidate, power: float, capacity: Capacity, *, may_wrap: bool = True
    ) -> Checkpoint | None:
        """Return the checkpoint that the readings go on from: the changes since then turned out to be wrong.

        Its offset is that of the readings from now on. `may_wrap` is whether they may have begun anew since then.
        """
        change = held.value - self.value
        # A computed consumption can't fall while its power is positive, unless it did so in a silence.
        only_rises = capacity.direction is Direction.UP or (
            capacity.direction is Direction.UP_COMPUTED
            and min(power, self.power) >= 0
            and held.since - self.at <= _SILENCE
        )
        expected, own = self._expected(held, power, capacity)
        fits = [
            fit
            for checkpoint in reversed(self.checkpoints)
            if (fit := self._fit(checkpoint, held, power, expected, capacity, only_rises=only_rises))
            and (may_wrap or not fit.wrap)
        ]
        good = (fit for fit in fits if abs(fit.misfit) <= fit.near and abs(fit.misfit) < own)
        if capacity.direction is Direction.UP_COMPUTED:
            # What it fell by is no reason to take back more than the last change.
            best = next(good, None)
        else:
            best = min(good, key=lambda fit: fit.excess, default=None)
        if not best and only_rises and change < 0:
            # Part of a rise may have been energy.
            rises = (fit for fit in fits if not fit.wrap and self._is_same_counter(fit.checkpoint))
            best = next((fit for fit in rises if fit.misfit >= -fit.near), None)
        if best:
            return replace(best.checkpoint, offset=best.checkpoint.offset + best.wrap)
        if capacity.direction is Direction.UP and -max(_SMALL, min(_PART * self.value, _LARGER)) <= change < 0:
            return self._checkpoint(self.at, 0.0)
        return None

    def _fit(
        self,
        checkpoint: Checkpoint,
        held: Candidate,
        power: float,
        expected: float,
        capacity: Capacity,
        *,
        only_rises: bool,
    ) -> _Fit | None:
        """Return how well the readings go on from a checkpoint; None if they can't."""
        change, moved = held.value - self.value, self._moved(checkpoint)
        grown = change + moved
        # It may have begun anew meanwhile, or with firmware that counts so.
        wrap = WRAP * max(0, ceil((-_NOISE - grown) / WRAP)) if capacity.by_inverters and change < 0 else 0.0
        grown += wrap
        if (change + wrap) * moved >= 0:
            return None
        most = _energy(self.limit(capacity), held.at - checkpoint.known + capacity.late)
        if only_rises and not -_NOISE <= grown <= most:
            return None
        misfit = grown - self.flowed + checkpoint.flowed - expected
        near = _NOISE + self._tolerance(checkpoint, held, power, only_rises)
        excess = max(0.0, abs(misfit) - near)
        return _Fit(checkpoint, wrap, misfit, near + _NEAR * abs(change + wrap), excess)

    def _moved(self, since: Checkpoint) -> float:
        """Return by how many Wh the readings changed since a checkpoint."""
        return self.value - self.offset - since.value + since.offset

    def _wrong_change(self, held: Candidate, capacity: Capacity) -> Checkpoint | None:
        """Return the checkpoint of a change that most of a step undoes, if what remains can have flowed since then.

        Wrong readings may last for an hour, and report a wrong power as well.
        """
        change = held.value - self.value
        for checkpoint in reversed(self.checkpoints):
            seconds = held.at - checkpoint.at
            moved = self._moved(checkpoint)
            grown = change + moved
            least = grown if capacity.direction is Direction.BOTH else 0.0
            most = min(abs(change) / 2, _energy(self.limit(capacity), held.at - checkpoint.known))
            if seconds <= 2 * HOUR and change * moved < 0 and least - _NOISE <= grown and abs(grown) <= most:
                return checkpoint
        return None

    def _expected(self, held: Candidate, power: float, capacity: Capacity) -> tuple[float, float]:
        """Return the Wh that flowed by the power, and by how many a checkpoint has to be missed less than that."""
        change = held.value - self.value
        is_up, expected = capacity.direction is Direction.UP, held.gained
        is_silent = held.since - self.at > _SILENCE
        if capacity.direction is not Direction.BOTH:
            expected += (power + self.power) / 2 * max(0.0, held.since - self.at) / 3600
        # Another explanation has to be twice as good; after a silence as good, but ten times where batteries may have
        # fed the grid in it.
        better = 2 if not is_silent else 1 if is_up else 10
        return expected, abs(change - expected) / better

    def _tolerance(self, checkpoint: Checkpoint, held: Candidate, power: float, only_rises: bool) -> float:
        """Return by how many Wh the energy since a checkpoint may differ from what was counted.

        Wrong readings rise by a third or by three times of what flows, for an hour at most.
        """
        seconds, powered = max(0.0, held.at - self.at), 0.0
        if only_rises:
            since = max(1.0, held.at - checkpoint.at)
            lasted = min(since, max(0.0, 2 * HOUR - since))
            powered = (self.powered - checkpoint.powered) * lasted / since
            seconds += min(lasted, HOUR)
        return _CERTAIN * max(powered, _energy(max(abs(power), abs(self.power)), seconds))

    def _is_same_counter(self, checkpoint: Checkpoint) -> bool:
        """Return whether all changes since a checkpoint were counted as energy."""
        return abs(self._moved(checkpoint) - self.total + checkpoint.total) < 1

    def _take_back(self, back: Checkpoint, held: Candidate, reading: Reading, capacity: Capacity) -> Step:
        """Go on from a checkpoint; what was counted since then is what the readings add up to."""
        raw = held.value - self.offset
        value = raw + back.offset
        if capacity.direction is Direction.UP_COMPUTED:
            value = max(value, back.value)
        total = back.total + value - back.value
        step = Step(StepCause.TAKEN_BACK, self.value, value, self._flowed(held), total - self.total, back.at)
        # More of the same rise may be wrong.
        is_kept = capacity.direction is Direction.UP and self._is_same_counter(back)
        self.checkpoints = [
            each
            for each in self.checkpoints
            if each.at < back.at or (each.at == back.at and (is_kept or each.value != back.value))
        ]
        self._mark(held.value - self.value, reading.at)
        self.total, self.offset = total, value - raw
        self._publish(value, reading, capacity)
        return step

    def _flowed(self, held: Candidate) -> float:
        """Return the energy since the last published reading: of those held back, and their mean for the gap."""
        gap = min(max(held.since - self.at, 0.0), _FILLED)
        return held.gained * (1 + gap / max(held.age, 1.0))

    def follow_clock(self, at: float, ahead: float) -> None:
        """Go on at an earlier time, after the clock was ahead by some seconds; what is not of the future stays."""

        def follow(time: float) -> float:
            return min(time - ahead, at) if time > at else time

        self.at, self.moved, self.held_since = follow(self.at), follow(self.moved), follow(self.held_since)
        if held := self.candidate:
            held.since, held.at = follow(held.since), follow(held.at)
        for checkpoint in self.checkpoints:
            checkpoint.at, checkpoint.known = follow(checkpoint.at), follow(checkpoint.known)


def _energy(watts: float, seconds: float) -> float:
    """Return the Wh that can flow in a time."""
    return watts * ((seconds if seconds > 0 else 0.0) + _SLACK) / 3600
