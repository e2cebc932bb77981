"""Jumps in statistics: found where something false was booked, and nowhere else, and nothing is left of them."""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from hypothesis import given, strategies as st
import pytest

from custom_components.enphase_envoy.statistics.recorder import recorded_change
from custom_components.enphase_envoy.statistics.spikes import Spike, StatisticsRow, find_spikes, recorded_changes

WATTS = 12_000.0
#: Minutes of a row, of an hour, and of a day that is looked at.
ROW, HOUR, DAY = 5, 60, 1440
LIFETIME = 65_000_000.0

type Lie = Callable[[float], float]

LIES: dict[str, Lie] = {
    "zero": lambda _: 0.0,
    "half": lambda true: true / 2,
    "dip": lambda true: true * 0.95,
    "rise": lambda true: true * 1.05,
    "more": lambda true: true * 1.12,
    "triple": lambda true: true * 3,
    "wrap": lambda true: true + 2**32,
}


class Recorded:
    """Rows as Home Assistant makes them of one state a minute."""

    def __init__(self, states: Sequence[float]) -> None:
        """Record."""
        sums = [*accumulate((recorded_change(before, after) for before, after in pairwise(states)), initial=0.0)]

        def rows(length: int) -> list[StatisticsRow]:
            ends = range(length, len(states) + 1, length)
            return [StatisticsRow((end - length) * 60, end * 60, states[end - 1], sums[end - 1]) for end in ends]

        self.short = rows(ROW)
        self.hours = rows(HOUR)

    def purge(self, minutes: int) -> None:
        """Forget the short rows of the first minutes."""
        self.short = [row for row in self.short if row.start >= minutes * 60]

    def jumps(self, watts: float = WATTS) -> list[Spike]:
        """Return what is found."""
        return find_spikes(recorded_changes(self.hours, self.short), watts)

    def correct(self, jumps: Sequence[Spike]) -> None:
        """Correct as the recorder does."""
        for jump in jumps:
            self.short = [shifted(row, jump) if row.start >= jump.at else row for row in self.short]
            self.hours = [shifted(row, jump) if row.start >= jump.at - jump.at % 3600 else row for row in self.hours]


def shifted(row: StatisticsRow, jump: Spike) -> StatisticsRow:
    """Return a row with another sum."""
    return StatisticsRow(row.start, row.end, row.state, row.sum + jump.correction)


def changes(rows: Sequence[StatisticsRow]) -> dict[float, float]:
    """Return what was booked in each row, to the hundredth of a watt-hour."""
    return {after.start: round(after.sum - before.sum, 2) for before, after in pairwise(rows)}


def counter(powers: Sequence[float], start: float = LIFETIME) -> Sequence[float]:
    """Return a counter a minute, in whole watt-hours, that counts so many watts in each hour."""
    return [round(it) for it in accumulate((powers[i // 60 % len(powers)] / 60 for i in range(DAY)), initial=start)][1:]


histories = st.lists(st.floats(0, WATTS), min_size=1, max_size=24).map(counter)
purged = st.sampled_from([0, 605, 630, 660, 10**6])


@given(histories, purged)
def test_the_truth_is_left_alone(true: Sequence[float], minutes: int) -> None:
    recorded = Recorded(true)
    recorded.purge(minutes)
    assert recorded.jumps() == []


@given(histories, st.sampled_from(sorted(LIES)), st.integers(70, 1200), st.integers(1, 90), purged)
def test_nothing_is_left_of_what_passes(true: Sequence[float], lie: str, start: int, length: int, minutes: int) -> None:
    told = [LIES[lie](it) if start <= minute < start + length else it for minute, it in enumerate(true)]
    truth, recorded = Recorded(true), Recorded(told)
    recorded.purge(minutes)
    recorded.correct(recorded.jumps())
    assert recorded.jumps() == []
    first, last = start * 60, (start + length) * 60
    for kind, width in (("short", ROW * 60), ("hours", HOUR * 60)):
        after, right = changes(getattr(recorded, kind)), changes(getattr(truth, kind))
        if kind == "short" and minutes * 60 <= last and first < max(-(-minutes // 60) * HOUR, minutes + ROW) * 60:
            # What the first short row that is left shows has nothing before it to be compared with.
            continue
        around = {at for at in after if first - width <= at <= last}
        # Outside of the lie not a watt-hour is otherwise; within it all that flowed is there.
        assert {at: after[at] for at in after if at not in around} == {
            at: right[at] for at in after if at not in around
        }
        assert sum(after[at] for at in around) == pytest.approx(sum(right[at] for at in around), abs=1)
        assert all(after[at] > -WATTS * 2 * 300 / 3600 for at in around)


@given(histories, st.integers(130, 1200), st.sampled_from([19e6, -53e6, -3e6]), purged)
def test_a_lasting_step_becomes_what_flows_beside_it(
    true: Sequence[float], start: int, step: float, minutes: int
) -> None:
    told = [it + step if minute >= start else it for minute, it in enumerate(true)]
    truth, recorded = Recorded(true), Recorded(told)
    recorded.purge(minutes)
    found = recorded.jumps()
    recorded.correct(found)
    assert recorded.jumps() == []
    assert len(found) == 1
    after, right = changes(recorded.hours), changes(truth.hours)
    wrong = {at for at in after if after[at] != right[at]}
    assert wrong <= {start // 60 * 3600}
    assert all(0 <= after[at] <= WATTS for at in wrong)


@given(st.lists(st.floats(0, 4000), min_size=24, max_size=24), st.integers(70, 1200), st.integers(1, 20), purged)
def test_a_today_that_repeats_the_lifetime_is_mended(
    powers: list[float], start: int, length: int, minutes: int
) -> None:
    """Over a midnight too, where what is counted begins anew."""
    lifetime = counter(powers)
    midnight = 700
    day = [it - LIFETIME if minute < midnight else it - lifetime[midnight] for minute, it in enumerate(lifetime)]
    told = [lifetime[m] if start <= m < start + length else it for m, it in enumerate(day)]
    truth, recorded = Recorded(day), Recorded(told)
    recorded.purge(minutes)
    recorded.correct(recorded.jumps())
    assert recorded.jumps() == []
    # In a row of a lie that has a midnight in it nobody knows what flowed.
    across = start - HOUR <= midnight <= start + length + HOUR
    after, right = changes(recorded.hours), changes(truth.hours)
    error = abs(sum(after.values()) - sum(right.values()))
    assert error <= (2 * day[midnight - 1] + 8000 if across else 1)


def test_a_lie_of_weeks_ago_is_found_in_hours_and_one_of_today_to_five_minutes() -> None:
    true = counter([3000])
    told = [0.0 if minute in (133, 1333) else it for minute, it in enumerate(true)]
    recorded = Recorded(told)
    recorded.purge(1000)
    assert [
        (jump.at / 60, round(jump.recorded), round(jump.recorded + jump.correction)) for jump in recorded.jumps()
    ] == [
        (120, round(true[133]) + 3000 - 50, 3000),
        (1330, round(true[1333]) + 250 - 50, 250),
    ]


def test_the_hour_in_which_short_rows_begin_is_corrected_where_it_jumped() -> None:
    true = counter([3000])
    recorded = Recorded([0.0 if minute == 642 else it for minute, it in enumerate(true)])
    recorded.purge(630)
    (jump,) = recorded.jumps()
    assert jump.at == 640 * 60
    recorded.correct([jump])
    assert set(changes(recorded.short).values()) == {250}
    assert set(changes(recorded.hours).values()) == {3000}


def test_what_was_counted_while_home_assistant_was_away_is_no_jump() -> None:
    """Nine hours in one row are nine hours' energy."""
    true = counter([11_000])
    recorded = Recorded(true)
    recorded.short = [row for row in recorded.short if not 300 * 60 <= row.start < 840 * 60]
    recorded.hours = [row for row in recorded.hours if not 300 * 60 <= row.start < 840 * 60]
    assert recorded.jumps() == []
    assert max(changes(recorded.short).values()) > 99_000


def test_an_imported_history_without_states_is_mended_at_its_seam() -> None:
    true = Recorded(counter([3000]))
    ends = 600 * 60
    true.short = [row for row in true.short if row.start >= ends]
    true.hours = [StatisticsRow(r.start, r.end, None, r.sum + 30_000_000) if r.end <= ends else r for r in true.hours]
    beginning, seam = true.jumps()
    assert (beginning.at, round(beginning.recorded + beginning.correction)) == (0, 3000)
    assert (seam.at, seam.recorded, seam.correction) == (ends, 250 - 30_000_000, 30_000_000)
    true.correct([beginning, seam])
    assert set(changes(true.hours).values()) == {3000}
    assert true.jumps() == []


def test_a_small_dip_that_comes_back_at_once_is_no_energy() -> None:
    """The way back is less than what a system could carry."""
    true = counter([3000])
    recorded = Recorded([it - 15_000 if 601 <= minute < 606 else it for minute, it in enumerate(true)])
    assert len(recorded.jumps()) == 2
    recorded.correct(recorded.jumps())
    assert set(changes(recorded.short).values()) == {250}


def test_a_lie_within_the_first_row_is_found() -> None:
    recorded = Recorded([0.0 if minute < 3 else it for minute, it in enumerate(counter([3000]))])
    (jump,) = recorded.jumps()
    assert jump.at == 0
    recorded.correct([jump])
    assert recorded.short[0].sum == pytest.approx(250)


def test_nothing_recorded_has_no_jumps() -> None:
    assert find_spikes(recorded_changes([], []), WATTS) == []
    assert find_spikes(recorded_changes([StatisticsRow(0, 3600, 5.0, 5.0)], []), WATTS) == []
