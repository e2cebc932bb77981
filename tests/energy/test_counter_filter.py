"""Counters that lie: what is shown instead, and what is booked. Pure, with readings made up."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
import json
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings, strategies as st
from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.meters import EnvoyMeterData
from pyenphase.models.system_consumption import EnvoySystemConsumption
from pyenphase.models.system_production import EnvoySystemProduction
import pytest

from custom_components.enphase_envoy.descriptions import SENSORS
from custom_components.enphase_envoy.energy.counter import WRAP, Step, StepCause
from custom_components.enphase_envoy.energy.counter_filter import COUNTERS, CounterFilter
from custom_components.enphase_envoy.energy.limits import watts
from custom_components.enphase_envoy.energy.pipeline import ProcessingContext
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, TimedValue

ZONE = ZoneInfo("Europe/Amsterdam")
START = 1_750_500_000.0
PRODUCTION: Address = ("system_production",)
METER: Address = ("ctmeters", "production")
POLL = 60.0
#: What the roof gives in these tests, in W, and Wh in a poll.
POWER = 3000.0
STEP = POWER * POLL / 3600


def production(lifetime: float) -> EnvoySystemProduction:
    """Return a report with this lifetime, in Wh."""
    return EnvoySystemProduction(lifetime, 0, 0, int(POWER))  # type: ignore[arg-type]


def meter(delivered: float, received: float = 0.0, timestamp: float = 0.0) -> EnvoyMeterData:
    """Return a reading of a meter."""
    return EnvoyMeterData("1", timestamp, delivered, received, 0, 1.0, 230.0, 1.0, 50.0, None, None, None, None)  # type: ignore[arg-type]


@dataclass
class Bench:
    """A guard that is given readings, one poll after another."""

    guard: CounterFilter
    now: float = START

    def read(self, objects: Mapping[Address, object], seconds: float = POLL) -> dict[Address, Any]:
        """Let time pass, give new documents, and return the objects as everyone sees them."""
        self.now += seconds
        timed_values = {address: TimedValue(value, Freshness(self.now)) for address, value in objects.items()}
        held = self.guard.process(timed_values, timed_values, ProcessingContext(self.now, 0.0, ZONE))
        return {address: timed.value for address, timed in (timed_values | dict(held)).items()}

    def shown(self, lifetime: float, seconds: float = POLL) -> float:
        """Return what is shown of a lifetime production."""
        value: float = self.read({PRODUCTION: production(lifetime)}, seconds)[PRODUCTION].watt_hours_lifetime
        return value


@pytest.fixture
def bench() -> Bench:
    """A guard that knows nothing yet."""
    return Bench(CounterFilter())


def booked(states: Iterable[float]) -> Iterator[float]:
    """Yield what Home Assistant books for each change of a total_increasing sensor."""
    last = None
    for state in states:
        if last is not None:
            yield state if state < 0.9 * last else state - last
        last = state


LIFETIME = 65_000_000.0
LIES: dict[str, Callable[[float], float]] = {
    "zero": lambda _true: 0.0,
    "half": lambda true: true / 2,
    "triple": lambda true: true * 3,
    "plus 2^32": lambda true: true + 2**32,
    "plus 12 %": lambda true: true * 1.12,
    "minus 5 %": lambda true: true * 0.95,
    "plus 5 %": lambda true: true * 1.05,
    "negative": lambda true: -true,
    "wrapped": lambda true: true % WRAP,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("polls", [1, 5, 50])
def test_a_passing_lie_is_never_shown_and_books_nothing(
    bench: Bench, lie: Callable[[float], float], polls: int
) -> None:
    truth = [LIFETIME + STEP * poll for poll in range(polls + 10)]
    states = [bench.shown(true if not 5 <= poll < 5 + polls else lie(true)) for poll, true in enumerate(truth)]
    assert states[5 : 5 + polls] == [truth[4]] * polls
    assert states[5 + polls :] == truth[5 + polls :]
    assert sum(booked(states)) == pytest.approx(truth[-1] - truth[0])
    assert not bench.guard.steps.values()


@pytest.mark.parametrize("after", [12_000.0, 84_000_000.0, 60_000_000.0, LIFETIME % WRAP])
def test_a_step_that_lasts_is_published_after_an_hour_with_what_flowed(bench: Bench, after: float) -> None:
    states, steps = [bench.shown(LIFETIME + STEP * poll) for poll in range(5)], list[Step]()
    for poll in range(80):
        states.append(bench.shown(after + STEP * poll))
        steps += bench.guard.steps.values()
    (step,) = steps
    assert states[5 + 59] == LIFETIME + STEP * 4
    assert states[5 + 60] == after + STEP * 60
    assert step.cause is StepCause.LASTING
    assert (step.before, step.after) == (LIFETIME + STEP * 4, after + STEP * 60)
    # What flowed in the poll before the step is not known, and taken for the mean of the hour.
    assert step.gained == pytest.approx(STEP * 61)


def test_a_lie_of_hours_is_undone_when_it_ends(bench: Bench) -> None:
    states, steps = [], list[Step]()
    truth = [LIFETIME + STEP * poll for poll in range(400)]
    for poll, true in enumerate(truth):
        states.append(bench.shown(true - 30_000_000 if 50 <= poll < 200 else true))
        steps += bench.guard.steps.values()
    correction = sum(step.gained - next(booked((step.before, step.after))) for step in steps)
    assert [step.cause for step in steps] == [StepCause.LASTING, StepCause.LASTING]
    assert sum(booked(states)) + correction == pytest.approx(truth[-1] - truth[0], abs=2 * STEP)


def test_nothing_is_no_value_until_it_moves(bench: Bench) -> None:
    bench.shown(LIFETIME)
    assert {bench.shown(0.0) for _ in range(300)} == {LIFETIME}
    # A new meter begins at nothing.
    values = [bench.shown(STEP * poll) for poll in range(1, 70)]
    assert values[-1] == STEP * 69


def test_a_start_at_nothing_is_corrected_soon(bench: Bench) -> None:
    assert [bench.shown(0.0) for _ in range(3)] == [0.0] * 3
    shown = [bench.shown(LIFETIME + STEP * poll) for poll in range(12)]
    assert shown[9:] == [0.0, LIFETIME + STEP * 10, LIFETIME + STEP * 11]


def test_readings_that_contradict_each_other_never_become_a_step(bench: Bench) -> None:
    bench.shown(LIFETIME)
    assert {bench.shown(1_000_000.0 * (1 + poll % 3)) for poll in range(300)} == {LIFETIME}


def test_a_counter_that_wraps_goes_on_at_once(bench: Bench) -> None:
    assert bench.shown(WRAP - STEP / 2) == WRAP - STEP / 2
    assert bench.shown(STEP / 2) == STEP / 2
    (step,) = bench.guard.steps.values()
    assert step.cause is StepCause.WRAPPED
    assert step.gained == pytest.approx(STEP)


def test_a_fall_by_as_much_is_no_wrap_of_a_counter_that_never_wrapped(bench: Bench) -> None:
    bench.shown(LIFETIME)
    assert bench.shown(LIFETIME - WRAP + STEP) == LIFETIME


def test_after_an_outage_all_that_flowed_meanwhile_is_believed(bench: Bench) -> None:
    bench.shown(LIFETIME)
    assert bench.shown(LIFETIME + POWER * 24, seconds=86400) == LIFETIME + POWER * 24


def test_a_counter_that_tells_once_an_hour_is_believed(bench: Bench) -> None:
    for _ in range(60):
        assert bench.shown(LIFETIME) == LIFETIME
    assert bench.shown(LIFETIME + POWER) == LIFETIME + POWER


def test_a_night_is_no_licence_to_leap(bench: Bench) -> None:
    for _ in range(600):
        bench.shown(LIFETIME)
    assert bench.shown(LIFETIME + 500_000) == LIFETIME


def test_a_counter_a_little_behind_itself_stands_still(bench: Bench) -> None:
    bench.shown(LIFETIME)
    assert bench.shown(LIFETIME - 30) == LIFETIME
    assert {bench.shown(LIFETIME - 30) for _ in range(100)} == {LIFETIME}
    assert bench.shown(LIFETIME + 20) == LIFETIME + 20


def test_an_inverter_that_was_silent_for_a_day_is_believed(bench: Bench) -> None:
    address = ("inverters", "1")

    def inverter(reported: float, lifetime: int) -> EnvoyInverter:
        return EnvoyInverter("1", int(reported), 100, 300, lifetime_energy=lifetime)

    bench.read({address: inverter(START, 500_000)})
    for _ in range(10):
        bench.read({address: inverter(START, 500_000)})
    seen = bench.read({address: inverter(START + 80_000, 501_900)})
    assert seen[address].lifetime_energy == 501_900
    assert bench.read({address: inverter(START + 80_300, 510_000)})[address].lifetime_energy == 501_900


def test_only_the_field_that_lies_is_held(bench: Bench) -> None:
    bench.read({METER: meter(5_000_000, 70_000)})
    seen = bench.read({METER: replace(meter(2_500_000, 70_020), active_power=1234)})[METER]
    assert (seen.energy_delivered, seen.energy_received, seen.active_power) == (5_000_000, 70_020, 1234)


def test_a_second_endpoint_that_agrees_shortens_the_doubt(bench: Bench) -> None:
    for poll in range(3):
        bench.read({PRODUCTION: production(LIFETIME + poll), METER: meter(LIFETIME + poll)})
    shown = [
        bench.read({PRODUCTION: production(1000.0 + STEP * poll), METER: meter(1000.0 + STEP * poll)})
        for poll in range(15)
    ]
    assert [reading[METER].energy_delivered < 10_000 for reading in shown].index(True) == 10
    # Which of them is read first learns of the other a poll later.
    assert [reading[PRODUCTION].watt_hours_lifetime < 10_000 for reading in shown].index(True) == 11
    assert shown[-1][METER].energy_delivered == 1000.0 + STEP * 14


def test_the_same_document_is_no_second_opinion(bench: Bench) -> None:
    phase: Address = ("ctmeters_phases", "production", "L1")
    for poll in range(40):
        bench.now += POLL
        value = LIFETIME + STEP * poll if poll < 5 else STEP * poll
        timed = TimedValue(meter(value), Freshness(bench.now))
        objects = {phase: timed, METER: timed}
        bench.guard.process(objects, objects, ProcessingContext(bench.now, 0.0, ZONE))
        assert not bench.guard.steps.values()


def corrected(states: list[float], steps: list[Step]) -> float:
    """Return what the statistics hold in the end."""
    total = sum(booked(states))
    for step in steps:
        due = step.after - step.before if step.cause is StepCause.TAKEN_BACK else step.gained
        total += due - next(booked((step.before, step.after)))
    return total


@pytest.mark.parametrize(("standing", "lie", "flow"), [(200, 20_000, 0.0), (2, 3_000, 10.0)])
def test_a_lie_that_was_believed_is_taken_back(bench: Bench, standing: int, lie: float, flow: float) -> None:
    """In the night there is room for much, and a new system may lie by little."""
    states, steps = [], list[Step]()
    for poll in range(standing + 200):
        true = LIFETIME + flow * poll
        states.append(bench.shown(true + (lie if poll == standing else 0)))
        steps += bench.guard.steps.values()
    assert max(states) >= LIFETIME + lie
    assert corrected(states, steps) == pytest.approx(flow * (standing + 199), abs=max(0.2 * flow * 60, 1))


def test_a_restart_during_a_long_lie_loses_nothing(bench: Bench) -> None:
    true = LIFETIME
    held = bench.shown(true)
    for _ in range(600):
        true += STEP
        assert bench.shown(0.0) == held
    memory = json.loads(json.dumps(bench.guard.dump()))
    bench.guard = CounterFilter()
    bench.guard.load(memory)
    # What was held was recorded all the time.
    bench.guard.resume((PRODUCTION, "watt_hours_lifetime"), held, bench.now - 200)
    assert bench.shown(0.0) == held
    assert bench.shown(true) == true


def test_the_net_of_consumption_may_fall_and_leap(bench: Bench) -> None:
    address = ("system_net_consumption",)
    for value in (5_000_000, -3_000_000, 90_000_000):
        net = EnvoySystemConsumption(value, 0, 0, 0)
        assert bench.read({address: net})[address] is net


def test_a_reading_without_a_number_is_passed_on(bench: Bench) -> None:
    nothing: Any = None
    bench.shown(LIFETIME)
    assert bench.shown(nothing) is None
    assert bench.shown(0.0) == LIFETIME


def test_what_is_held_stays_the_same_object_while_nothing_is_new(bench: Bench) -> None:
    bench.shown(LIFETIME)
    first = bench.read({PRODUCTION: production(0)})[PRODUCTION]
    assert bench.read({PRODUCTION: production(0)})[PRODUCTION] is first


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([60.0, 300.0, 900.0]), st.floats(0, 1), st.sampled_from([None, *LIES])),
        min_size=5,
        max_size=120,
    ),
    # Right at 2^32 joules a wrap is the truth.
    st.floats(0, 1e6) | st.floats(2e6, 1e8),
    st.booleans(),
)
def test_random_lies_are_never_booked(
    polls: list[tuple[float, float, str | None]], lifetime: float, restarts: bool
) -> None:
    """Whatever lies come and go, states never fall and what is booked is the truth, or behind it."""
    bench, states, true = Bench(CounterFilter()), [], lifetime
    for number, (seconds, sun, lie) in enumerate(polls):
        true += POWER * sun * seconds / 3600
        # One lie in three polls at most, and the first reading is true: who lies for an hour is believed.
        reading = LIES[lie](true) if lie and number % 3 else true
        states.append(bench.shown(reading, seconds))
        assert not bench.guard.steps.values()
        if restarts:
            memory = json.loads(json.dumps(bench.guard.dump()))
            bench.guard = CounterFilter()
            bench.guard.load(memory)
    room = watts({PRODUCTION: TimedValue(production(0), Freshness(0))}, PRODUCTION)
    assert all(before <= after for before, after in pairwise(states))
    # A lie that the system could have carried is indistinguishable from the truth: bounded by one poll's capacity.
    bound = room * (max(seconds for seconds, _, _ in polls) + 7200 + 240) / 3600
    assert -1e-6 <= states[-1] - lifetime <= true - lifetime + bound
    assert sum(booked(states)) == pytest.approx(states[-1] - states[0], abs=1e-3)


def test_memory_that_makes_no_sense_is_left_out() -> None:
    guard = CounterFilter()
    guard.load({"system_production/watt_hours_lifetime": ["x"], "nonsense": None, "a/b": [1, 2, None, 3, [1]]})
    assert guard.dump() == {}


@pytest.mark.parametrize("odd", ["NaN", float("nan"), 1e18, 10**30, -5.0, True, "7"])
def test_a_remembered_number_that_no_counter_shows_is_left_out(bench: Bench, odd: Any) -> None:
    remembered = [LIFETIME, START, None, START, None, None]
    for place in range(len(remembered)):
        guard = CounterFilter()
        memory = [*remembered[:place], odd, *remembered[place + 1 :]]
        guard.load({"system_production/watt_hours_lifetime": memory})
        json.dumps(guard.dump(), allow_nan=False)
        assert guard.dump() == {} or odd == -5.0
    bench.guard.load({"system_production/watt_hours_lifetime": [odd, *remembered[1:]]})
    assert bench.shown(LIFETIME) == LIFETIME


def test_the_last_statistics_are_the_last_reading_of_who_came_before(bench: Bench) -> None:
    bench.guard.resume((PRODUCTION, "watt_hours_lifetime"), LIFETIME, START - 300)
    assert bench.shown(0.0) == LIFETIME
    assert bench.shown(LIFETIME + 300) == LIFETIME + 300
    # What was read since is newer.
    bench.guard.resume((PRODUCTION, "watt_hours_lifetime"), 5.0, START)
    assert bench.shown(LIFETIME + 310) == LIFETIME + 310


def test_each_row_that_shows_a_counter_names_it() -> None:
    named = {
        (table.kind, row.counter) for table in SENSORS for row in table.rows if row.counter and table.kind in COUNTERS
    }
    assert named == {(kind, field) for kind, fields in COUNTERS.items() for field in fields}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (production(4711), EnvoySystemProduction),
        (EnvoySystemConsumption(4711, 0, 0, 0), EnvoySystemConsumption),
        (meter(4711, 4711), EnvoyMeterData),
        (EnvoyInverter("1", 0, 0, 0, lifetime_energy=4711), EnvoyInverter),
    ],
)
def test_a_row_shows_the_counter_that_it_names(value: object, kind: type) -> None:
    rows = [row for table in SENSORS if table.kind is kind for row in table.rows if row.counter]
    assert {row.value_fn(value) for row in rows} == {4711}


@pytest.mark.parametrize(
    ("address", "low", "high"),
    [(PRODUCTION, 10_000, 20_000), (METER, 10_000, 20_000), (("ctmeters", "net-consumption"), 50_000, 200_000)],
)
def test_capacity_is_generous_but_no_megawatts(address: Address, low: float, high: float) -> None:
    inverters = {("inverters", str(number)): EnvoyInverter(str(number), 0, 0, 366) for number in range(20)}
    objects = {where: TimedValue(value, Freshness(0)) for where, value in (inverters | {address: meter(0)}).items()}
    assert low <= watts(objects, address) <= high
