"""Today and the last seven days, whatever the gateway says of them. Pure, with readings made up."""

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


def books() -> Pipeline:
    """Return books that know nothing yet."""
    guard = CounterFilter()
    return Pipeline((guard, DailyEnergy(guard)))


@dataclass
class Bench:
    """Books that are given reports of a gateway, one poll after another."""

    now: float = EVENING
    lifetime: float = LIFETIME
    books: Pipeline = field(default_factory=books)

    def pass_over(self, objects: dict[Address, TimedValue]) -> Snapshot:
        """Enter leaves now."""
        return self.books.process(Snapshot("1", "8", None, "", objects), ProcessingContext(self.now, 0.0, ZONE))

    def read(self, today: Any, *, week: float = 60_000, minutes: float = 1) -> EnvoySystemProduction:
        """Let minutes pass and the counter run, and return what is shown of a report that says `today`."""
        self.now += minutes * 60
        self.lifetime += minutes * MINUTE
        report = EnvoySystemProduction(self.lifetime, week, today, 3000)  # type: ignore[arg-type]
        self.objects = {PRODUCTION: TimedValue(report, Freshness(self.now))}
        seen = self.pass_over(self.objects).objects[PRODUCTION].value
        assert isinstance(seen, EnvoySystemProduction)
        return seen

    def restart(self) -> None:
        """Begin again from what was remembered."""
        memory = json.loads(json.dumps(self.books.dump()))
        self.books = books()
        self.books.load(memory)


@pytest.fixture
def bench() -> Bench:
    """Books at ten to midnight."""
    return Bench()


def test_on_the_first_day_the_gateway_is_believed_and_then_counted_on(bench: Bench) -> None:
    assert bench.read(20_000).watt_hours_today == 20_000
    assert bench.read(20_050).watt_hours_today == 20_050
    assert bench.read(0).watt_hours_today == 20_100


@pytest.mark.parametrize("impossible", [2**32 + 7000, LIFETIME, -5, 4_000_000])
def test_what_no_day_can_have_brought_is_unknown(bench: Bench, impossible: float) -> None:
    assert bench.read(impossible).watt_hours_today is None
    assert bench.read(20_000).watt_hours_today == 20_000
    assert bench.read(impossible).watt_hours_today == 20_050


LIES: dict[str, Callable[[float], float]] = {
    "true": lambda true: true,
    "not reset": lambda true: 20_000 + true,
    "reset above": lambda true: 1300 + true,
    "plus 2^32": lambda true: 2**32 + true,
    "lifetime": lambda _true: LIFETIME,
    "zero": lambda _true: 0,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("restarts", [False, True])
def test_after_a_midnight_that_was_seen_the_day_is_what_was_counted(
    bench: Bench, lie: Callable[[float], float], restarts: bool
) -> None:
    for minute in range(9):
        bench.read(20_000 + minute * MINUTE)
    for minute in range(1, 120):
        true = minute * MINUTE - MINUTE
        bench.read(lie(true)) if minute == 1 else None
        shown = bench.read(lie(true)).watt_hours_today if minute > 1 else None
        if restarts:
            bench.restart()
        # Zero, said at the right time, is believed of the poll that spans midnight.
        assert shown is None or shown == pytest.approx(true, abs=MINUTE)


def test_at_midnight_the_day_is_over_before_the_gateway_says_anything(bench: Bench) -> None:
    bench.read(20_000, minutes=9)
    bench.now += 60
    report = bench.pass_over(bench.objects).objects[PRODUCTION].value
    assert isinstance(report, EnvoySystemProduction)
    assert report.watt_hours_today == 0


def test_a_gateway_that_was_silent_over_midnight_tells_what_is_todays(bench: Bench) -> None:
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
    assert shown[0] == shown[50] == pytest.approx(75, abs=26)
    assert shown[-1] == pytest.approx(72 * MINUTE, abs=2 * MINUTE)


def test_a_week_is_the_gateways_until_seven_midnights_were_seen(bench: Bench) -> None:
    assert bench.read(20_000, week=123_456).watt_hours_last_7_days == 123_456
    assert bench.read(20_050, week=LIFETIME).watt_hours_last_7_days is None
    for _ in range(8 * 24):
        shown = bench.read(0, week=123_456, minutes=60)
    assert shown.watt_hours_last_7_days == pytest.approx(7 * 1440 * MINUTE, rel=0.01)


@pytest.mark.parametrize("until_now", [False, True])
def test_a_week_goes_on_as_the_gateway_counts_it(bench: Bench, until_now: bool) -> None:
    for hour in range(9 * 24):
        since = (hour % 24) * 60 * MINUTE if until_now else 0
        seen = bench.read(0, week=7 * 1440 * MINUTE + since, minutes=60)
    assert seen.watt_hours_last_7_days == pytest.approx(7 * 1440 * MINUTE + since)
    bench.restart()
    assert bench.read(0, week=5.0).watt_hours_last_7_days == pytest.approx(7 * 1440 * MINUTE + since, rel=0.02)


def test_an_inverters_day_begins_at_midnight_too(bench: Bench) -> None:
    address = ("inverters", "1")

    def shown(today: int, lifetime: int, at: float) -> int | None:
        bench.now = at
        inverter = EnvoyInverter("1", int(at), 100, 300, lifetime_energy=lifetime, energy_today=today)
        value = bench.pass_over({address: TimedValue(inverter, Freshness(at))}).objects[address].value
        assert isinstance(value, EnvoyInverter)
        return value.energy_today

    assert shown(1500, 900_000, EVENING) == 1500
    # It sleeps, and what it last said stands until the morning.
    assert shown(1500, 900_000, EVENING + 7200) == 0
    assert shown(40, 900_040, EVENING + 25_000) == 40


def test_the_same_figures_stay_the_same_object(bench: Bench) -> None:
    bench.read(20_000, minutes=20)
    first = bench.pass_over(bench.objects).objects[PRODUCTION].value
    bench.objects = {PRODUCTION: TimedValue(bench.objects[PRODUCTION].value, Freshness(bench.now + 60))}
    again = bench.pass_over(bench.objects).objects[PRODUCTION]
    assert again.value is first
    assert again.freshness is bench.objects[PRODUCTION].freshness


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 5, 15, 600]), st.sampled_from([*LIES])), min_size=2, max_size=150),
    st.booleans(),
)
def test_no_day_exceeds_what_was_counted_or_falls(polls: list[tuple[int, str]], restarts: bool) -> None:
    bench, midnight, last = Bench(), None, 0.0
    bench.read(20_000)
    day, before = datetime.fromtimestamp(bench.now, ZONE).date(), bench.lifetime
    for minutes, lie in polls:
        shown = bench.read(LIES[lie](1000), minutes=minutes).watt_hours_today
        if (today := datetime.fromtimestamp(bench.now, ZONE).date()) != day:
            day, midnight, last = today, before, 0.0
        if midnight is not None:
            assert shown is not None
            assert last <= shown <= bench.lifetime - midnight
            last = shown
        before = bench.lifetime
        if restarts:
            bench.restart()


@pytest.mark.parametrize("days", [1, 3, 40])
def test_a_clock_that_was_ahead_for_a_poll_changes_nothing(bench: Bench, days: int) -> None:
    bench.read(20_000)
    bench.read(0, minutes=20)
    before = bench.read(500, minutes=10).watt_hours_today
    ahead = days * 86_400
    bench.now += ahead
    bench.read(550)
    bench.now -= ahead
    for minute in range(1, 200):
        seen = bench.read(600 + minute * MINUTE)
        assert seen.watt_hours_lifetime == bench.lifetime
        if days < 7:
            assert seen.watt_hours_today == pytest.approx(before + (minute + 1) * MINUTE)
    bench.read(0, minutes=24 * 60)
    assert bench.read(50).watt_hours_today <= 24 * 60 * MINUTE


@pytest.mark.parametrize("odd", ["NaN", float("nan"), 1e18, True, "7"])
def test_a_remembered_number_that_no_day_has_is_left_out(odd: Any) -> None:
    days = DailyEnergy(CounterFilter())
    for memory in ([odd, EVENING, 0.0], [LIFETIME, odd, 0.0], [LIFETIME, EVENING, odd]):
        days.load({"system_production": ["2026-06-21", *memory, False, 0, {}]})
    days.load({"system_production": ["2026-06-21", LIFETIME, EVENING, 0.0, False, 0, {"2026-06-21": odd}]})
    assert days.dump() == {}
