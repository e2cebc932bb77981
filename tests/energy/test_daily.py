"""Today and the last seven days, whatever the gateway reports for them. Pure, with made-up readings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
import json
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings, strategies as st
from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.system_production import EnvoySystemProduction
import pytest

from custom_components.enphase_envoy.energy.counter_filter import CounterFilter
from custom_components.enphase_envoy.energy.daily import DailyEnergy
from custom_components.enphase_envoy.energy.pipeline import Pipeline, ProcessingContext
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, Snapshot, TimedValue

ZONE = ZoneInfo("Europe/Amsterdam")
EVENING = datetime(2026, 6, 21, 23, 50, tzinfo=ZONE).timestamp()
PRODUCTION: Address = ("system_production",)
LIFETIME = 9_000_000.0
#: Wh a minute.
MINUTE = 50.0


def new_pipeline() -> Pipeline:
    """Return a pipeline without any state."""
    counter_filter = CounterFilter()
    return Pipeline((counter_filter, DailyEnergy(counter_filter)))


@dataclass
class Bench:
    """A pipeline that is given reports of a gateway, one poll after another."""

    #: The clock of the polls, which is never set.
    now: float = EVENING
    #: Seconds by which the time of day is ahead of it.
    ahead: float = 0.0
    zone: ZoneInfo = ZONE
    lifetime: float = LIFETIME
    pipeline: Pipeline = field(default_factory=new_pipeline)

    def process(self, objects: dict[Address, TimedValue]) -> Snapshot:
        """Process objects now."""
        context = ProcessingContext(self.now + self.ahead, self.ahead, self.zone)
        return self.pipeline.process(Snapshot("1", "8", None, "", objects), context)

    def read(self, today: Any, *, week: float = 60_000, minutes: float = 1) -> EnvoySystemProduction:
        """Let minutes pass and the counter run, and return the published report for one that holds `today`."""
        self.now += minutes * 60
        self.lifetime += minutes * MINUTE
        report = EnvoySystemProduction(self.lifetime, week, today, 3000)  # type: ignore[arg-type]
        self.objects = {PRODUCTION: TimedValue(report, Freshness(self.now))}
        seen = self.process(self.objects).objects[PRODUCTION].value
        assert isinstance(seen, EnvoySystemProduction)
        return seen

    def restart(self) -> None:
        """Go on from the stored state."""
        stored = json.loads(json.dumps(self.pipeline.dump()))
        self.pipeline = new_pipeline()
        self.pipeline.load(stored)


@pytest.fixture
def bench() -> Bench:
    """A pipeline at ten to midnight."""
    return Bench()


def test_on_the_first_day_counting_begins_at_the_figure_of_the_gateway(bench: Bench) -> None:
    assert bench.read(20_000).watt_hours_today == 20_000
    assert bench.read(20_050).watt_hours_today == 20_050
    assert bench.read(0).watt_hours_today == 20_100


@pytest.mark.parametrize("impossible", [2**32 + 7000, LIFETIME, -5, 4_000_000])
def test_an_impossible_day_is_unknown(bench: Bench, impossible: float) -> None:
    assert bench.read(impossible).watt_hours_today is None
    assert bench.read(20_000).watt_hours_today == 20_000
    assert bench.read(impossible).watt_hours_today == 20_050


WRONG: dict[str, Callable[[float], float]] = {
    "right": lambda right: right,
    "not reset": lambda right: 20_000 + right,
    "reset above": lambda right: 1300 + right,
    "plus 2^32": lambda right: 2**32 + right,
    "lifetime": lambda _right: LIFETIME,
    "zero": lambda _right: 0,
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("restarts", [False, True])
def test_after_a_midnight_the_day_is_what_was_counted(
    bench: Bench, wrong: Callable[[float], float], restarts: bool
) -> None:
    for minute in range(9):
        bench.read(20_000 + minute * MINUTE)
    for minute in range(1, 120):
        right = minute * MINUTE - MINUTE
        bench.read(wrong(right)) if minute == 1 else None
        shown = bench.read(wrong(right)).watt_hours_today if minute > 1 else None
        if restarts:
            bench.restart()
        # Zero at the right time is plausible for the poll that spans midnight.
        assert shown is None or shown == pytest.approx(right, abs=MINUTE)


def test_at_midnight_the_day_is_over_before_the_gateway_reports(bench: Bench) -> None:
    bench.read(20_000, minutes=9)
    bench.now += 60
    report = bench.process(bench.objects).objects[PRODUCTION].value
    assert isinstance(report, EnvoySystemProduction)
    assert report.watt_hours_today == 0


def test_a_gateway_that_was_silent_over_midnight_reports_the_part_of_today(bench: Bench) -> None:
    bench.read(20_000)
    assert bench.read(7_000, minutes=600).watt_hours_today == 7_000
    # More than was counted since is no day's count; then the time is all there is to go by.
    other = Bench()
    other.read(20_000)
    assert other.read(48_000, minutes=600).watt_hours_today == pytest.approx(30_000 * 591 / 600)


def test_a_step_of_the_lifetime_counter_is_no_part_of_the_day(bench: Bench) -> None:
    bench.read(20_000, minutes=5)
    bench.read(20_250, minutes=4)
    bench.read(50, minutes=2)
    bench.lifetime += 5_000_000
    shown = [bench.read(minute * MINUTE + 100).watt_hours_today for minute in range(70)]
    # It moves forward, and so is published after a quarter of an hour.
    assert shown[0] == shown[13] == pytest.approx(75, abs=26)
    assert shown[-1] == pytest.approx(72 * MINUTE, abs=2 * MINUTE)


def test_a_week_is_the_gateways_until_seven_midnights_have_passed(bench: Bench) -> None:
    assert bench.read(20_000, week=123_456).watt_hours_last_7_days == 123_456
    assert bench.read(20_050, week=LIFETIME).watt_hours_last_7_days is None
    for _ in range(8 * 24):
        shown = bench.read(0, week=123_456, minutes=60)
    assert shown.watt_hours_last_7_days == pytest.approx(7 * 1440 * MINUTE, rel=0.01)


@pytest.mark.parametrize("until_now", [False, True])
def test_a_week_goes_on_as_the_gateway_counts_it(bench: Bench, until_now: bool) -> None:
    for hour in range(9 * 24):
        since = (hour % 24) * 60 * MINUTE if until_now else 0
        shown = bench.read(0, week=7 * 1440 * MINUTE + since, minutes=60)
    assert shown.watt_hours_last_7_days == pytest.approx(7 * 1440 * MINUTE + since)
    bench.restart()
    assert bench.read(0, week=5.0).watt_hours_last_7_days == pytest.approx(7 * 1440 * MINUTE, rel=0.02)


def test_a_week_is_right_after_a_wrong_reading_was_taken_back(bench: Bench) -> None:
    """The counter was right at the midnights before it."""
    week = 7 * 1440 * MINUTE
    for _ in range(9 * 24 + 12):
        bench.read(0, week=week, minutes=60)
    bench.lifetime += 12_000
    for _ in range(3):
        bench.read(0, week=week, minutes=5)
    bench.lifetime -= 12_000
    shown = [bench.read(0, week=week, minutes=5).watt_hours_last_7_days for _ in range(20)]
    shown += [bench.read(0, week=week, minutes=60).watt_hours_last_7_days for _ in range(8 * 24)]
    assert shown[5:] == pytest.approx([week] * len(shown[5:]), rel=0.02)


def test_a_week_is_never_less_than_today_nor_than_the_days_that_were_counted(bench: Bench) -> None:
    """Some firmware reports 33 Wh for the whole first week."""
    assert bench.read(17_120, week=33.761).watt_hours_last_7_days is None
    assert bench.read(17_170, week=17_170).watt_hours_last_7_days == 17_170
    bench.read(0, minutes=10)
    for day in range(1, 7):
        assert bench.read(1440 * MINUTE, week=74.0, minutes=1439).watt_hours_last_7_days is None
        week = day * 1440 * MINUTE + 20_000
        assert bench.read(0, week=week).watt_hours_last_7_days == week


def test_a_counter_that_is_unavailable_leaves_the_day_as_it_was(bench: Bench) -> None:
    bench.read(20_000)
    report = EnvoySystemProduction(0, 0, 0, 0)
    shown: Any = None
    for _ in range(100):
        bench.now += 60
        shown = bench.process({PRODUCTION: TimedValue(report, Freshness(bench.now))}).objects[PRODUCTION].value
    assert (shown.watt_hours_lifetime, shown.watt_hours_last_7_days) == (None, None)
    # Midnight has passed meanwhile.
    assert shown.watt_hours_today == 0


def test_an_inverters_day_begins_at_midnight_too(bench: Bench) -> None:
    address = ("inverters", "1")

    def shown(today: int, lifetime: int, at: float) -> int | None:
        bench.now = at
        inverter = EnvoyInverter("1", int(at), 100, 300, lifetime_energy=lifetime, energy_today=today)
        value = bench.process({address: TimedValue(inverter, Freshness(at))}).objects[address].value
        assert isinstance(value, EnvoyInverter)
        return value.energy_today

    assert shown(1500, 900_000, EVENING) == 1500
    # It sleeps, and its last report stands until the morning.
    assert shown(1500, 900_000, EVENING + 7200) == 0
    assert shown(40, 900_040, EVENING + 25_000) == 40


def test_the_same_figures_stay_the_same_object(bench: Bench) -> None:
    bench.read(20_000, minutes=20)
    first = bench.process(bench.objects).objects[PRODUCTION].value
    bench.objects = {PRODUCTION: TimedValue(bench.objects[PRODUCTION].value, Freshness(bench.now + 60))}
    again = bench.process(bench.objects).objects[PRODUCTION]
    assert again.value is first
    assert again.freshness is bench.objects[PRODUCTION].freshness


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 5, 15, 600]), st.sampled_from([*WRONG])), min_size=2, max_size=150),
    st.booleans(),
)
def test_no_day_exceeds_what_was_counted_or_falls(polls: list[tuple[int, str]], restarts: bool) -> None:
    bench, midnight, last = Bench(), None, 0.0
    bench.read(20_000)
    day, before = datetime.fromtimestamp(bench.now, ZONE).date(), bench.lifetime
    for minutes, wrong in polls:
        shown = bench.read(WRONG[wrong](1000), minutes=minutes).watt_hours_today
        if (today := datetime.fromtimestamp(bench.now, ZONE).date()) != day:
            day, midnight, last = today, before, 0.0
        if midnight is not None:
            assert shown is not None
            assert last <= shown <= bench.lifetime - midnight
            last = shown
        before = bench.lifetime
        if restarts:
            bench.restart()


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("minutes", [1, 60, 24 * 60])
@pytest.mark.parametrize("days", [1, 2, 3, 40, 365])
def test_a_clock_that_was_ahead_for_a_poll_changes_nothing(
    bench: Bench, days: int, minutes: int, restarts: bool
) -> None:
    """Also if days later nothing is read over the midnight that the clock had passed."""
    bench.read(20_000)
    bench.read(0, minutes=20)
    before = bench.read(500, minutes=10).watt_hours_today
    bench.ahead = days * 86_400
    bench.read(550)
    if restarts:
        bench.restart()
    bench.ahead = 0
    for minute in range(1, 200):
        shown = bench.read(600 + minute * MINUTE)
        assert shown.watt_hours_lifetime == bench.lifetime
        assert shown.watt_hours_today == pytest.approx(before + (minute + 1) * MINUTE)
    for _ in range(4 * 24 * 60 // minutes):
        shown = bench.read(0, minutes=minutes)
        since_midnight = ((bench.now - EVENING) / 60 - 10) % (24 * 60)
        assert shown.watt_hours_today <= since_midnight * MINUTE
    assert minutes > 1 or shown.watt_hours_today == pytest.approx(since_midnight * MINUTE, abs=MINUTE)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("days", [1, 3, 40, 365])
def test_a_week_goes_on_after_a_clock_was_ahead_for_a_poll(bench: Bench, days: int, restarts: bool) -> None:
    week = 7 * 1440 * MINUTE
    for _ in range(9 * 24 + 12):
        bench.read(0, week=week, minutes=60)
    for hour in range(10 * 24):
        bench.ahead = days * 86_400 if hour % 24 == 5 else 0
        shown = bench.read(0, week=5.0, minutes=60)
        if restarts:
            bench.restart()
        if not bench.ahead:
            assert shown.watt_hours_last_7_days == pytest.approx(week, rel=0.01)
            assert bench.read(0, week=1.2 * week, minutes=0.1).watt_hours_last_7_days == pytest.approx(week, rel=0.01)
    # What is stored does not grow.
    stored: Any = bench.pipeline.dump()
    assert len(stored["days"]["system_production"][-1]) <= 9


def test_a_week_does_not_reach_back_to_a_midnight_of_a_clock_that_was_behind(bench: Bench) -> None:
    week = 7 * 1440 * MINUTE
    bench.ahead = -20 * 365 * 86_400
    for _ in range(20 * 24):
        bench.read(0, week=week, minutes=60)
    bench.ahead = 0
    for _ in range(3 * 24):
        shown = bench.read(0, week=week, minutes=60)
        assert shown.watt_hours_last_7_days == pytest.approx(week, rel=0.01)


@pytest.mark.parametrize("invalid", ["NaN", float("nan"), 1e18, True, "7"])
def test_a_stored_number_that_no_day_has_is_left_out(invalid: Any) -> None:
    days = DailyEnergy(CounterFilter())
    for numbers in ([invalid, EVENING, 0.0], [LIFETIME, invalid, 0.0], [LIFETIME, EVENING, invalid]):
        days.load({"system_production": ["2026-06-21", *numbers, False, 0, {}]})
    days.load({"system_production": ["2026-06-21", LIFETIME, EVENING, 0.0, False, 0, {"2026-06-21": invalid}]})
    assert days.dump() == {}


@pytest.mark.parametrize(("place", "factor"), [(1, 3), (1, 0.5), (3, 0.5), (3, 3), (3, -1)])
def test_a_stored_day_that_is_impossible_begins_anew(bench: Bench, place: int, factor: float) -> None:
    bench.read(0, minutes=20)
    shown = float(bench.read(500).watt_hours_today)
    stored: Any = json.loads(json.dumps(bench.pipeline.dump()))
    stored["days"]["system_production"][place] *= factor
    for counters in (stored["counters"], None):
        bench.pipeline = new_pipeline()
        bench.pipeline.load({**stored, "counters": counters})
        shown += MINUTE
        assert bench.read(shown).watt_hours_today == shown


@pytest.mark.parametrize("restart", [None, "at the begin", "meanwhile", "at the end"])
@pytest.mark.parametrize("days", [0.5, 1, 2, 2.5, 3, 20 * 365])
def test_a_clock_that_is_behind_for_a_while_does_not_begin_the_day_anew(
    bench: Bench, days: float, restart: str | None
) -> None:
    """It has the time of the last shutdown, or of a battery that is empty, until the network is there."""
    bench.read(5000, minutes=20)
    for _ in range(600):
        bench.read(0)
    before = bench.read(0).watt_hours_today
    if restart == "at the begin":
        bench.restart()
    bench.ahead = -days * 86_400
    for minute in range(5):
        bench.read(0)
        if restart == "meanwhile" and minute == 2:
            bench.restart()
    if restart == "at the end":
        bench.restart()
    bench.ahead = 0
    assert bench.read(0).watt_hours_today == pytest.approx(before + 6 * MINUTE)
    bench.restart()
    assert bench.read(0).watt_hours_today == pytest.approx(before + 7 * MINUTE)
    for _ in range(14 * 60):
        bench.read(0)
    assert bench.read(0).watt_hours_today == pytest.approx(19 * MINUTE, abs=MINUTE)


def test_a_counter_that_steps_while_the_clock_is_behind_keeps_the_day(bench: Bench) -> None:
    bench.read(5000, minutes=20)
    for _ in range(120):
        bench.read(0)
    before = bench.read(0).watt_hours_today
    bench.ahead = -86_400
    bench.lifetime += 5_000_000
    for _ in range(70):
        bench.read(0)
    bench.ahead = 0
    assert bench.read(0).watt_hours_today == pytest.approx(before + 71 * MINUTE, abs=3 * MINUTE)


def test_in_a_time_zone_farther_west_the_day_begins_at_midnight_once_more(bench: Bench) -> None:
    bench.read(20_000)
    for _ in range(120):
        bench.read(0)
    bench.zone = ZoneInfo("America/New_York")
    for _ in range(4 * 60):
        bench.read(0)
    # It is ten to midnight, six hours later than before.
    assert bench.read(0, minutes=20).watt_hours_today <= 20 * MINUTE
    assert bench.read(0, minutes=10).watt_hours_today <= 30 * MINUTE
