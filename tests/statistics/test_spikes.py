"""Spikes in statistics: found where a wrong reading was recorded and nowhere else, and fully corrected."""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from hypothesis import given, strategies as st
import pytest

from custom_components.enphase_envoy.statistics.recorder import recorded_change
from custom_components.enphase_envoy.statistics.spikes import Spike, StatisticsRow, find_spikes, recorded_changes

WATTS = 12_000.0
#: Minutes of a row, an hour and a day.
ROW, HOUR, DAY = 5, 60, 1440
LIFETIME = 65_000_000.0

type Fault = Callable[[float], float]

FAULTS: dict[str, Fault] = {
    "zero": lambda _: 0.0,
    "half": lambda true: true / 2,
    "dip": lambda true: true * 0.95,
    "rise": lambda true: true * 1.05,
    "more": lambda true: true * 1.12,
    "triple": lambda true: true * 3,
    "wrap": lambda true: true + 2**32,
}


class Recorded:
    """Rows as Home Assistant compiles them from one state a minute."""

    def __init__(self, states: Sequence[float]) -> None:
        """Record."""
        sums = [*accumulate((recorded_change(before, after) for before, after in pairwise(states)), initial=0.0)]

        def rows(length: int) -> list[StatisticsRow]:
            ends = range(length, len(states) + 1, length)
            return [StatisticsRow((end - length) * 60, end * 60, states[end - 1], sums[end - 1]) for end in ends]

        self.short = rows(ROW)
        self.hours = rows(HOUR)

    def purge(self, minutes: int) -> None:
        """Remove the short rows of the first minutes."""
        self.short = [row for row in self.short if row.start >= minutes * 60]

    def spikes(self, watts: float = WATTS) -> list[Spike]:
        """Return the spikes."""
        return find_spikes(recorded_changes(self.hours, self.short), watts)

    def correct(self, spikes: Sequence[Spike]) -> None:
        """Correct as the recorder does."""
        for spike in spikes:
            self.short = [shifted(row, spike) if row.start >= spike.at else row for row in self.short]
            self.hours = [shifted(row, spike) if row.start >= spike.at - spike.at % 3600 else row for row in self.hours]


def shifted(row: StatisticsRow, spike: Spike) -> StatisticsRow:
    """Return a row with another sum."""
    return StatisticsRow(row.start, row.end, row.state, row.sum + spike.correction)


def changes(rows: Sequence[StatisticsRow]) -> dict[float, float]:
    """Return the energy of each row, to the hundredth of a watt-hour."""
    return {after.start: round(after.sum - before.sum, 2) for before, after in pairwise(rows)}


def counter(powers: Sequence[float], start: float = LIFETIME) -> Sequence[float]:
    """Return a counter a minute, in whole watt-hours, that counts so many watts in each hour."""
    return [round(it) for it in accumulate((powers[i // 60 % len(powers)] / 60 for i in range(DAY)), initial=start)][1:]


histories = st.lists(st.floats(0, WATTS), min_size=1, max_size=24).map(counter)
purged = st.sampled_from([0, 605, 630, 660, 10**6])


@given(histories, purged)
def test_correct_statistics_have_no_spikes(true: Sequence[float], minutes: int) -> None:
    recorded = Recorded(true)
    recorded.purge(minutes)
    assert recorded.spikes() == []


@given(histories, st.sampled_from(sorted(FAULTS)), st.integers(70, 1200), st.integers(1, 90), purged)
def test_a_temporary_fault_is_fully_corrected(
    true: Sequence[float], fault: str, start: int, length: int, minutes: int
) -> None:
    states = [FAULTS[fault](it) if start <= minute < start + length else it for minute, it in enumerate(true)]
    actual, recorded = Recorded(true), Recorded(states)
    recorded.purge(minutes)
    recorded.correct(recorded.spikes())
    assert recorded.spikes() == []
    first, last = start * 60, (start + length) * 60
    for kind, width in (("short", ROW * 60), ("hours", HOUR * 60)):
        after, right = changes(getattr(recorded, kind)), changes(getattr(actual, kind))
        if kind == "short" and minutes * 60 <= last and first < max(-(-minutes // 60) * HOUR, minutes + ROW) * 60:
            # The first remaining short row has no row before it to compare with.
            continue
        around = {at for at in after if first - width <= at <= last}
        # Rows outside of the fault are unchanged; those within it contain the actual energy in total.
        assert {at: after[at] for at in after if at not in around} == {
            at: right[at] for at in after if at not in around
        }
        assert sum(after[at] for at in around) == pytest.approx(sum(right[at] for at in around), abs=1)
        assert all(after[at] > -WATTS * 2 * 300 / 3600 for at in around)


@given(histories, st.integers(130, 1200), st.sampled_from([19e6, -53e6, -3e6]), purged)
def test_a_permanent_step_becomes_the_energy_of_the_rows_beside_it(
    true: Sequence[float], start: int, step: float, minutes: int
) -> None:
    states = [it + step if minute >= start else it for minute, it in enumerate(true)]
    actual, recorded = Recorded(true), Recorded(states)
    recorded.purge(minutes)
    found = recorded.spikes()
    recorded.correct(found)
    assert recorded.spikes() == []
    assert len(found) == 1
    after, right = changes(recorded.hours), changes(actual.hours)
    wrong = {at for at in after if after[at] != right[at]}
    assert wrong <= {start // 60 * 3600}
    assert all(0 <= after[at] <= WATTS for at in wrong)


@given(st.lists(st.floats(0, 4000), min_size=24, max_size=24), st.integers(70, 1200), st.integers(1, 20), purged)
def test_a_daily_counter_with_the_lifetime_value_is_corrected(
    powers: list[float], start: int, length: int, minutes: int
) -> None:
    """Also over midnight, at which the counter is reset."""
    lifetime = counter(powers)
    midnight = 700
    day = [it - LIFETIME if minute < midnight else it - lifetime[midnight] for minute, it in enumerate(lifetime)]
    states = [lifetime[m] if start <= m < start + length else it for m, it in enumerate(day)]
    actual, recorded = Recorded(day), Recorded(states)
    recorded.purge(minutes)
    recorded.correct(recorded.spikes())
    assert recorded.spikes() == []
    # In a row with a fault and midnight the actual energy is unknown.
    across = start - HOUR <= midnight <= start + length + HOUR
    after, right = changes(recorded.hours), changes(actual.hours)
    error = abs(sum(after.values()) - sum(right.values()))
    assert error <= (2 * day[midnight - 1] + 8000 if across else 1)


def test_an_old_fault_is_found_in_hours_and_a_recent_one_in_short_rows() -> None:
    true = counter([3000])
    states = [0.0 if minute in (133, 1333) else it for minute, it in enumerate(true)]
    recorded = Recorded(states)
    recorded.purge(1000)
    assert [
        (spike.at / 60, round(spike.recorded), round(spike.recorded + spike.correction)) for spike in recorded.spikes()
    ] == [
        (120, round(true[133]) + 3000 - 50, 3000),
        (1330, round(true[1333]) + 250 - 50, 250),
    ]


def test_a_spike_is_located_in_an_hour_with_some_short_rows() -> None:
    true = counter([3000])
    recorded = Recorded([0.0 if minute == 642 else it for minute, it in enumerate(true)])
    recorded.purge(630)
    (spike,) = recorded.spikes()
    assert spike.at == 640 * 60
    recorded.correct([spike])
    assert set(changes(recorded.short).values()) == {250}
    assert set(changes(recorded.hours).values()) == {3000}


def test_energy_counted_while_home_assistant_was_not_running_is_no_spike() -> None:
    """A row may contain the energy of nine hours."""
    true = counter([11_000])
    recorded = Recorded(true)
    recorded.short = [row for row in recorded.short if not 300 * 60 <= row.start < 840 * 60]
    recorded.hours = [row for row in recorded.hours if not 300 * 60 <= row.start < 840 * 60]
    assert recorded.spikes() == []
    assert max(changes(recorded.short).values()) > 99_000


def test_imported_rows_without_states_are_corrected_at_both_ends() -> None:
    true = Recorded(counter([3000]))
    ends = 600 * 60
    true.short = [row for row in true.short if row.start >= ends]
    true.hours = [StatisticsRow(r.start, r.end, None, r.sum + 30_000_000) if r.end <= ends else r for r in true.hours]
    beginning, end = true.spikes()
    assert (beginning.at, round(beginning.recorded + beginning.correction)) == (0, 3000)
    assert (end.at, end.recorded, end.correction) == (ends, 250 - 30_000_000, 30_000_000)
    true.correct([beginning, end])
    assert set(changes(true.hours).values()) == {3000}
    assert true.spikes() == []


def test_a_small_dip_that_recovers_at_once_is_corrected() -> None:
    """The rise is less than the system's maximum."""
    true = counter([3000])
    recorded = Recorded([it - 15_000 if 601 <= minute < 606 else it for minute, it in enumerate(true)])
    assert len(recorded.spikes()) == 2
    recorded.correct(recorded.spikes())
    assert set(changes(recorded.short).values()) == {250}


def test_a_fault_within_the_first_row_is_found() -> None:
    recorded = Recorded([0.0 if minute < 3 else it for minute, it in enumerate(counter([3000]))])
    (spike,) = recorded.spikes()
    assert spike.at == 0
    recorded.correct([spike])
    assert recorded.short[0].sum == pytest.approx(250)


def test_empty_statistics_have_no_spikes() -> None:
    assert find_spikes(recorded_changes([], []), WATTS) == []
    assert find_spikes(recorded_changes([StatisticsRow(0, 3600, 5.0, 5.0)], []), WATTS) == []


def test_a_first_row_with_a_negative_sum_is_no_fall() -> None:
    """Imported statistics may have their zero point later."""
    hours = [
        StatisticsRow(3600.0 * hour, 3600.0 * (hour + 1), 1e6 + 500 * hour, -9e5 + 500 * hour) for hour in range(9)
    ]
    assert not find_spikes(recorded_changes(hours, []), 5_000)
    assert not find_spikes(recorded_changes([], hours), 5_000)


@pytest.mark.parametrize("second", ["sum", "state", "both"])
@pytest.mark.parametrize("hours", [2, 4, 9])
def test_two_separate_faults_leave_the_rows_between_them(second: str, hours: int) -> None:
    """A fall that is not regained does not end with a later jump of the sums alone, nor with another fall."""
    steps = [2000.0] * 20
    state_steps = [2000.0] * 20
    steps[5] = state_steps[5] = -8000.0
    if second != "state":
        steps[5 + hours] = 1_000_000.0 if second == "sum" else -8000.0
    if second != "sum":
        state_steps[5 + hours] = -8000.0
    rows = [
        StatisticsRow(hour * 3600, hour * 3600 + 3600, state, total)
        for hour, (state, total) in enumerate(
            zip(accumulate(state_steps, initial=LIFETIME), accumulate(steps, initial=0.0), strict=True)
        )
    ]
    found = {spike.at // 3600 - 1 for spike in find_spikes(recorded_changes(rows, []), WATTS)}
    assert found == {5} | ({5 + hours} if second != "state" else set())
