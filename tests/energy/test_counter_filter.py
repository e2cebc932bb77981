"""Wrong readings of counters: what is published instead, and what is recorded. Pure, with made-up readings."""

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
from custom_components.enphase_envoy.energy.counter_filter import COUNTERS, CounterFilter, mark_replaced
from custom_components.enphase_envoy.energy.limits import watts
from custom_components.enphase_envoy.energy.pipeline import ProcessingContext
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, TimedValue

ZONE = ZoneInfo("Europe/Amsterdam")
START = 1_750_500_000.0
PRODUCTION: Address = ("system_production",)
METER: Address = ("ctmeters", "production")
POLL = 60.0
#: Power of the inverters in these tests, in W, and Wh in a poll.
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
    """A counter filter that is given readings, one poll after another."""

    filter: CounterFilter
    now: float = START

    def read(self, objects: Mapping[Address, object], seconds: float = POLL) -> dict[Address, Any]:
        """Let time pass, give new objects, and return the objects as published."""
        self.now += seconds
        timed_values = {address: TimedValue(value, Freshness(self.now)) for address, value in objects.items()}
        held = self.filter.process(timed_values, timed_values, ProcessingContext(self.now, 0.0, ZONE))
        return {address: timed.value for address, timed in (timed_values | dict(held)).items()}

    def shown(self, lifetime: float, seconds: float = POLL) -> float | None:
        """Return the lifetime production as published."""
        value: float | None = self.read({PRODUCTION: production(lifetime)}, seconds)[PRODUCTION].watt_hours_lifetime
        return value

    def restart(self) -> None:
        """Go on from the stored counters."""
        stored = json.loads(json.dumps(self.filter.dump()))
        self.filter = CounterFilter()
        self.filter.load(stored)


@pytest.fixture
def bench() -> Bench:
    """A counter filter without any counter."""
    return Bench(CounterFilter())


@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_was_ahead_holds_nothing_back_later(bench: Bench, *, restarts: bool) -> None:
    """Also of a counter that is not read before a long absence."""
    bench.shown(9_000_000)
    bench.shown(9_000_000 + STEP, 365 * 86400)
    if restarts:
        bench.restart()
    # The clock is right again, and other objects are read: the report of production is the same.
    bench.read({METER: meter(1_000_000)}, -365 * 86400)
    absence = 3 * 86400.0
    gained = 24 * POWER
    assert bench.shown(9_000_000 + STEP + gained, absence) == 9_000_000 + STEP + gained


@pytest.mark.parametrize("restarts", [False, True])
def test_zeros_make_a_counter_unavailable_after_an_hour_also_when_the_clock_was_ahead(
    bench: Bench, *, restarts: bool
) -> None:
    bench.shown(LIFETIME)
    bench.shown(0.0, 365 * 86400)
    if restarts:
        bench.restart()
    assert bench.shown(0.0, POLL - 365 * 86400) == LIFETIME
    shown = [bench.shown(0.0) for _ in range(60)]
    assert shown[57] == LIFETIME
    assert shown[-1] is None


def test_a_counter_that_was_held_back_before_the_clock_was_ahead_is_available_again(bench: Bench) -> None:
    bench.shown(LIFETIME)
    bench.shown(LIFETIME / 2)
    bench.shown(LIFETIME / 2, 365 * 86400)
    assert bench.shown(LIFETIME / 2, POLL - 365 * 86400) == LIFETIME


def recorded(states: Iterable[float | None]) -> Iterator[float]:
    """Yield what Home Assistant records for each change of a total_increasing sensor."""
    last = None
    for state in states:
        if state is None:
            continue
        if last is not None:
            yield state if state < 0.9 * last else state - last
        last = state


def corrected(states: Iterable[float | None], steps: Iterable[Step]) -> float:
    """Return the energy in the statistics after the corrections."""
    return sum(recorded(states)) + sum(step.due - next(recorded((step.before, step.after))) for step in steps)


LIFETIME = 65_000_000.0
WRONG: dict[str, Callable[[float], float]] = {
    "zero": lambda _right: 0.0,
    "half": lambda right: right / 2,
    "triple": lambda right: right * 3,
    "plus 2^32": lambda right: right + 2**32,
    "plus 12 %": lambda right: right * 1.12,
    "minus 5 %": lambda right: right * 0.95,
    "plus 5 %": lambda right: right * 1.05,
    "negative": lambda right: -right,
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("polls", [1, 5, 14])
def test_wrong_readings_are_not_published_and_nothing_is_recorded(
    bench: Bench, wrong: Callable[[float], float], polls: int
) -> None:
    right = [LIFETIME + STEP * poll for poll in range(polls + 10)]
    states = [bench.shown(value if not 5 <= poll < 5 + polls else wrong(value)) for poll, value in enumerate(right)]
    assert states[5 : 5 + polls] == [right[4]] * polls
    assert states[5 + polls :] == right[5 + polls :]
    assert sum(recorded(states)) == pytest.approx(right[-1] - right[0])
    assert not bench.filter.steps


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("polls", [16, 50, 600, 2800])
def test_wrong_readings_that_last_are_taken_back(bench: Bench, wrong: Callable[[float], float], polls: int) -> None:
    """Whether they last for minutes or for nearly two days, and over restarts."""
    states, steps, right = [], list[Step](), [LIFETIME + STEP * poll for poll in range(polls + 30)]
    for poll, value in enumerate(right):
        states.append(bench.shown(value if not 5 <= poll < 5 + polls else wrong(value)))
        steps += bench.filter.steps.values()
        if poll % 100 == 50:
            bench.restart()
    assert states[-1] == right[-1]
    assert corrected(states, steps) == pytest.approx(right[-1] - right[0], abs=0.01)


def test_a_reading_modulo_32_bits_is_the_same_counter(bench: Bench) -> None:
    """Firmware 8.3.5422 and later, without CTs: zeros at first, then the counter modulo 2^32 J."""
    bench.shown(6_139_406.0)
    assert {bench.shown(0.0) for _ in range(40)} == {6_139_406.0}
    assert bench.shown(174_174.0) == pytest.approx(6_139_406.35, abs=0.01)
    right = 174_174.0
    while right < 2 * WRAP:
        right += 30_000.0
        assert bench.shown(round(right % WRAP), seconds=6 * 3600) == pytest.approx(5 * WRAP + right, abs=1)
    bench.restart()
    assert bench.shown(round(right % WRAP)) == pytest.approx(5 * WRAP + right, abs=1)
    # Another firmware reports the whole counter again.
    assert bench.shown(5 * WRAP + right + STEP) == pytest.approx(5 * WRAP + right + STEP)
    assert not bench.filter.steps


def test_a_fresh_installation_begins_with_what_is_reported(bench: Bench) -> None:
    assert bench.shown(174_174.0) == 174_174.0


@pytest.mark.parametrize("after", [12_000.0, 84_000_000.0, 60_000_000.0])
def test_a_step_is_published_when_it_moves_forward_for_a_quarter_of_an_hour(bench: Bench, after: float) -> None:
    states, steps = [bench.shown(LIFETIME + STEP * poll) for poll in range(5)], list[Step]()
    for poll in range(80):
        states.append(bench.shown(after + STEP * poll))
        steps += bench.filter.steps.values()
    (step,) = steps
    assert states[5 + 13] == LIFETIME + STEP * 4
    assert states[5 + 14] == after + STEP * 14
    assert step.cause is StepCause.LASTING
    assert (step.before, step.after) == (LIFETIME + STEP * 4, after + STEP * 14)
    # What flowed in the poll before the step is not known, and taken for the mean.
    assert step.gained == step.due == pytest.approx(STEP * 15)
    assert step.since == START + 6 * POLL


def test_a_step_that_stands_still_is_published_after_an_hour(bench: Bench) -> None:
    bench.shown(LIFETIME)
    assert {bench.shown(12_000.0) for _ in range(59)} == {LIFETIME}
    assert bench.shown(12_000.0) == 12_000.0


def test_nothing_is_no_value_until_it_moves(bench: Bench) -> None:
    bench.shown(LIFETIME)
    assert {bench.shown(0.0) for _ in range(59)} == {LIFETIME}
    assert {bench.shown(0.0) for _ in range(300)} == {None}
    # A new meter begins at zero.
    values = [bench.shown(STEP * poll) for poll in range(1, 70)]
    assert values[-1] == STEP * 69


def test_after_zeros_a_counter_goes_on_where_it_was(bench: Bench) -> None:
    bench.shown(LIFETIME)
    assert [bench.shown(0.0) for _ in range(100)][-1] is None
    assert bench.shown(LIFETIME + 101 * STEP) == LIFETIME + 101 * STEP
    assert not bench.filter.steps


def test_a_start_at_nothing_is_corrected_soon(bench: Bench) -> None:
    assert [bench.shown(0.0) for _ in range(3)] == [0.0] * 3
    shown = [bench.shown(LIFETIME + STEP * poll) for poll in range(16)]
    assert shown[13:] == [0.0, LIFETIME + STEP * 14, LIFETIME + STEP * 15]


def test_a_start_at_nothing_needs_no_message(bench: Bench) -> None:
    bench.shown(0.0)
    steps = [
        step for poll in range(20) if bench.shown(LIFETIME + poll) is not None for step in bench.filter.steps.values()
    ]
    assert [step.since for step in steps] == [None]


def test_readings_that_contradict_each_other_never_become_a_step(bench: Bench) -> None:
    bench.shown(LIFETIME)
    assert {bench.shown(5_000_000.0 * (1 + poll % 3)) for poll in range(59)} == {LIFETIME}
    assert {bench.shown(5_000_000.0 * (1 + poll % 3)) for poll in range(300)} == {None}
    assert not bench.filter.steps
    assert bench.shown(LIFETIME + STEP) == LIFETIME + STEP


def test_a_counter_that_wraps_goes_on_at_once(bench: Bench) -> None:
    assert bench.shown(WRAP - STEP / 2) == WRAP - STEP / 2
    assert bench.shown(STEP / 2) == pytest.approx(WRAP + STEP / 2)
    assert not bench.filter.steps


def test_a_fall_by_as_much_is_no_wrap_of_a_counter_that_never_wrapped(bench: Bench) -> None:
    bench.shown(LIFETIME)
    assert bench.shown(LIFETIME - WRAP + STEP) == LIFETIME


def test_after_an_outage_all_that_flowed_meanwhile_is_published(bench: Bench) -> None:
    bench.shown(LIFETIME)
    assert bench.shown(LIFETIME + POWER * 24, seconds=86400) == LIFETIME + POWER * 24


def test_a_counter_that_is_reported_once_an_hour_is_published(bench: Bench) -> None:
    for _ in range(60):
        assert bench.shown(LIFETIME) == LIFETIME
    assert bench.shown(LIFETIME + POWER) == LIFETIME + POWER


def test_a_jump_after_a_night_is_held_back(bench: Bench) -> None:
    for _ in range(600):
        bench.shown(LIFETIME)
    assert bench.shown(LIFETIME + 500_000) == LIFETIME


def test_a_counter_a_little_behind_itself_stands_still(bench: Bench) -> None:
    bench.shown(LIFETIME)
    assert bench.shown(LIFETIME - 30) == LIFETIME
    assert {bench.shown(LIFETIME - 30) for _ in range(100)} == {LIFETIME}
    assert bench.shown(LIFETIME + 20) == LIFETIME + 20


def test_an_inverter_that_was_silent_for_a_day_is_published(bench: Bench) -> None:
    address = ("inverters", "1")

    def inverter(reported: float, lifetime: int) -> EnvoyInverter:
        return EnvoyInverter("1", int(reported), 100, 300, lifetime_energy=lifetime)

    bench.read({address: inverter(START, 500_000)})
    for _ in range(10):
        bench.read({address: inverter(START, 500_000)})
    published = bench.read({address: inverter(START + 80_000, 501_900)})
    assert published[address].lifetime_energy == 501_900
    assert bench.read({address: inverter(START + 80_300, 510_000)})[address].lifetime_energy == 501_900


def test_only_the_wrong_field_is_held_back(bench: Bench) -> None:
    bench.read({METER: meter(5_000_000, 70_000)})
    published = bench.read({METER: replace(meter(2_500_000, 70_020), active_power=1234)})[METER]
    assert (published.energy_delivered, published.energy_received, published.active_power) == (5_000_000, 70_020, 1234)


@pytest.mark.parametrize(("standing", "jump", "flow"), [(200, 20_000, 0.0), (2, 3_000, 10.0)])
def test_a_wrong_rise_that_was_published_is_taken_back(bench: Bench, standing: int, jump: float, flow: float) -> None:
    """At night much is possible, and a new system may be wrong by little."""
    states, steps = [], list[Step]()
    for poll in range(standing + 200):
        right = LIFETIME + flow * poll
        states.append(bench.shown(right + (jump if poll == standing else 0)))
        steps += bench.filter.steps.values()
    assert max(state for state in states if state) >= LIFETIME + jump
    assert corrected(states, steps) == pytest.approx(flow * (standing + 199), abs=1)
    assert not [step for step in steps if step.cause is StepCause.LASTING]
    # Nothing of it stays in the row in which it was recorded.
    assert [step.since for step in steps] == [START + (standing + 1) * POLL]


PANELS = {("inverters", str(number)): EnvoyInverter(str(number), 0, 0, 350) for number in range(24)}


def test_all_energy_of_a_silence_of_inverters_is_counted(bench: Bench) -> None:
    """They come back one after another within ten minutes; the powerline was dead for five hours."""
    value = LIFETIME
    for _ in range(60):
        value += STEP
        bench.read(PANELS | {PRODUCTION: production(value)})
    for _ in range(300):
        bench.read(PANELS | {PRODUCTION: production(value)})
    published = []
    for poll in range(25):
        value += 5 * POWER / 10 if poll < 10 else STEP
        published.append(bench.read(PANELS | {PRODUCTION: production(value)})[PRODUCTION].watt_hours_lifetime)
        assert not bench.filter.steps
    assert published[14:] == [value - STEP * poll for poll in reversed(range(11))]


@pytest.mark.parametrize("power", [None, 60_000])
def test_a_limit_is_refuted_by_steady_rises_and_at_once_by_the_power_of_the_same_object(
    bench: Bench, power: int | None
) -> None:
    """Solar of 60 kW where the inverters of the system carry 15 kW; what was learned outlasts a restart."""
    published = list[float]()
    for poll in range(120):
        if poll == 60:
            bench.restart()
        report = replace(production(LIFETIME + 1000 * poll), watts_now=power or 0)
        published.append(bench.read(PANELS | {PRODUCTION: report})[PRODUCTION].watt_hours_lifetime)
        assert not bench.filter.steps
    late = [LIFETIME + 1000 * poll - value for poll, value in enumerate(published)]
    assert max(late[16:]) == 0
    assert (max(late) == 0) == (power is not None)


CONSUMPTION: Address = ("system_consumption",)


def test_a_computed_consumption_counts_its_rises_and_no_fall(bench: Bench) -> None:
    """Production + import - export falls while batteries feed the grid."""
    states, value, rises = [], 7_000_000.0, 0.0
    for poll in range(300):
        watts = -4000 if 100 <= poll < 200 else 600
        value += watts / 60
        rises += max(0, watts) / 60 if poll else 0
        consumption = EnvoySystemConsumption(round(value), 0, 0, watts)
        states.append(bench.read({CONSUMPTION: consumption})[CONSUMPTION].watt_hours_lifetime)
        assert not bench.filter.steps
    assert states == sorted(states)
    assert sum(recorded(states)) == pytest.approx(rises, abs=3)


NET: Address = ("system_net_consumption",)


@pytest.mark.parametrize("wrong", [0, -20_000_000, 1_685_000, 9_000_000])
def test_a_balanced_net_counter_moves_in_both_directions_but_does_not_jump(bench: Bench, wrong: int) -> None:
    def read(value: float, watts: int) -> float:
        net = EnvoySystemConsumption(round(value), 0, 0, watts)
        published: float = bench.read({NET: net})[NET].watt_hours_lifetime
        return published

    assert [read(3_370_000 + 50 * poll, 3000) for poll in range(5)][-1] == 3_370_200
    assert [read(3_370_200 - 80 * poll, -4800) for poll in range(5)][-1] == 3_369_880
    assert [read(wrong, 0) for _ in range(5)] == [3_369_880] * 5
    assert read(3_369_400, -4800) == 3_369_400
    assert not bench.filter.steps


def test_power_is_unknown_while_a_gateway_reports_nothing_but_inverters_produce(bench: Bench) -> None:
    inverter: Address = ("inverters", "1")
    bench.read({PRODUCTION: production(LIFETIME), inverter: EnvoyInverter("1", 0, 200, 300)})
    published = bench.read({PRODUCTION: EnvoySystemProduction(0, 0, 0, 0), inverter: EnvoyInverter("1", 1, 200, 300)})
    assert (published[PRODUCTION].watt_hours_lifetime, published[PRODUCTION].watts_now) == (LIFETIME, None)
    # At night there is nothing to report.
    published = bench.read({PRODUCTION: EnvoySystemProduction(0, 0, 0, 0), inverter: EnvoyInverter("1", 1, 0, 300)})
    assert published[PRODUCTION].watts_now == 0


def test_a_restart_while_a_reading_is_held_back_loses_nothing(bench: Bench) -> None:
    right = LIFETIME
    held = bench.shown(right)
    for _ in range(50):
        right += STEP
        assert bench.shown(0.0) == held
    bench.restart()
    # The value that was held was recorded all the time.
    bench.filter.resume((PRODUCTION, "watt_hours_lifetime"), LIFETIME, bench.now - 200)
    assert bench.shown(0.0) == held
    assert bench.shown(right) == right


def test_a_call_with_few_addresses_evaluates_those_and_what_is_held_back(bench: Bench) -> None:
    bench.read({PRODUCTION: production(LIFETIME), METER: meter(LIFETIME)})

    def replaced(lifetime: float, addresses: list[Address]) -> set[Address]:
        bench.now += 5
        objects = {PRODUCTION: production(LIFETIME), METER: meter(lifetime)}
        timed = {where: TimedValue(value, Freshness(bench.now)) for where, value in objects.items()}
        return {*bench.filter.process(timed, addresses, ProcessingContext(bench.now, 0.0, ZONE))}

    assert replaced(0.0, [PRODUCTION]) == set()
    assert replaced(0.0, [METER]) == {METER}
    assert replaced(0.0, []) == {METER}
    assert replaced(LIFETIME, []) == set()


def test_a_reading_without_a_number_is_passed_on(bench: Bench) -> None:
    nothing: Any = None
    bench.shown(LIFETIME)
    assert bench.shown(nothing) is None
    assert bench.shown(0.0) == LIFETIME


def test_a_replacement_stays_the_same_object_while_nothing_changes(bench: Bench) -> None:
    bench.shown(LIFETIME)
    first = bench.read({PRODUCTION: production(0)})[PRODUCTION]
    assert bench.read({PRODUCTION: production(0)})[PRODUCTION] is first


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([60.0, 300.0, 900.0]), st.floats(0, 1), st.sampled_from([None, *WRONG])),
        min_size=5,
        max_size=120,
    ),
    # Below, five percent are what can flow in two hours.
    st.floats(1e7, 1e8),
    st.booleans(),
)
def test_random_wrong_readings_are_never_recorded(
    polls: list[tuple[float, float, str | None]], lifetime: float, restarts: bool
) -> None:
    """One wrong reading among three: states never fall, and what is recorded is what flowed, or less until later."""
    bench, states, right = Bench(CounterFilter()), list[float](), lifetime
    for number, (seconds, sun, wrong) in enumerate(polls):
        right += POWER * sun * seconds / 3600
        reading = WRONG[wrong](right) if wrong and number % 3 == 1 else right
        states.append(bench.shown(reading, seconds) or 0.0)
        assert not bench.filter.steps
        if restarts:
            bench.restart()
    assert all(before <= after for before, after in pairwise(states))
    if not (polls[-1][2] and len(polls) % 3 == 2):
        assert states[-1] == right
    assert sum(recorded(states)) == pytest.approx(states[-1] - states[0], abs=1e-3)


def test_stored_counters_that_are_not_valid_are_left_out() -> None:
    counter_filter = CounterFilter()
    counter_filter.load({"system_production/watt_hours_lifetime": ["x"], "other": None, "a/b": [1, 2, None, 3, [1]]})
    counter_filter.load({"a/b": {"numbers": [1.0], "candidate": None, "checkpoints": []}})
    assert counter_filter.dump() == {}


def test_what_the_version_before_stored_is_restored(bench: Bench) -> None:
    key = "system_production/watt_hours_lifetime"
    bench.filter.load({key: [LIFETIME, START, None, START - 60, [0.0, START, 0.0, START + 60, 2], LIFETIME - 50]})
    assert bench.shown(0.0) == LIFETIME
    assert bench.shown(LIFETIME + STEP) == LIFETIME + STEP


@pytest.mark.parametrize("invalid", ["NaN", float("nan"), 1e18, 10**30, -5.0, True, "7"])
def test_a_stored_number_that_no_counter_shows_is_left_out(bench: Bench, invalid: Any) -> None:
    stored = [LIFETIME, START, None, START, None, None]
    for place in range(len(stored)):
        counter_filter = CounterFilter()
        data = [*stored[:place], invalid, *stored[place + 1 :]]
        counter_filter.load({"system_production/watt_hours_lifetime": data})
        json.dumps(counter_filter.dump(), allow_nan=False)
        assert counter_filter.dump() == {} or invalid == -5.0
    bench.filter.load({"system_production/watt_hours_lifetime": [invalid, *stored[1:]]})
    assert bench.shown(LIFETIME) == LIFETIME


DAY = 86400.0


@pytest.mark.parametrize("wrong", [lambda right: right * 3, lambda right: right * 1.12, lambda right: right / 2])
def test_a_wrong_first_reading_after_two_weeks_is_taken_back(bench: Bench, wrong: Callable[[float], float]) -> None:
    """Almost anything can have flowed since the last one."""
    states, steps = [], list[Step]()
    lifetime, gained = 10_000_000.0, 14 * 24_000.0
    for poll in range(60):
        right = lifetime + STEP * poll + (gained if poll >= 10 else 0.0)
        reading = replace(meter(wrong(right) if poll == 10 else right), active_power=int(POWER))
        shown = bench.read({METER: reading}, 14 * DAY if poll == 10 else POLL)[METER]
        states.append(shown.energy_delivered)
        steps += bench.filter.steps.values()
    assert corrected(states, steps) == pytest.approx(gained + 59 * STEP, abs=500)
    assert not [step for step in steps if step.cause is StepCause.LASTING]


def test_zeros_after_a_week_are_no_reading_of_a_net_counter(bench: Bench) -> None:
    shown = []
    for poll, right in enumerate((-2_000_000, -2_000_050, 0, 0, 0, -2_300_000, -2_300_050)):
        reading = EnvoySystemConsumption(right, 0, 0, int(-POWER))
        shown.append(bench.read({NET: reading}, 7 * DAY if poll == 2 else POLL)[NET].watt_hours_lifetime)
        assert not bench.filter.steps
    assert shown == [-2_000_000, *[-2_000_050] * 4, -2_300_000, -2_300_050]


@pytest.mark.parametrize("part", [0.3, 0.78, 0.97])
def test_a_counter_that_wraps_in_an_outage_goes_on_where_it_was(bench: Bench, part: float) -> None:
    bench.shown(600_000)
    lifetime = round(600_000 + part * WRAP)
    assert bench.shown(lifetime % WRAP, 14 * DAY) == pytest.approx(lifetime)
    assert bench.shown((lifetime + STEP) % WRAP) == pytest.approx(lifetime + STEP)
    assert not bench.filter.steps


def test_firmware_that_wraps_from_a_wrong_reading_on_is_the_same_counter(bench: Bench) -> None:
    """At night much is possible; from the next reading on it counts modulo 2^32 J."""
    lifetime, states, steps = 4.2 * WRAP, [], list[Step]()
    for poll in range(240):
        right = lifetime + STEP * max(0, poll - 200)
        reading = right if poll < 200 else right + 3_000 if poll == 200 else right % WRAP
        states.append(bench.shown(reading))
        steps += bench.filter.steps.values()
    assert states[200] == lifetime + 3_000
    assert states[-1] == pytest.approx(right)
    assert corrected(states, steps) == pytest.approx(39 * STEP, abs=1)
    assert {step.cause for step in steps} == {StepCause.TAKEN_BACK}


@pytest.mark.parametrize("beside", [-200, 0, 50])
def test_a_counter_that_was_wrong_by_32_bits_did_not_begin_anew(bench: Bench, beside: float) -> None:
    """After weeks of silence it is possible, and so would be a wrap at the right reading."""
    states, steps = [bench.shown(500_000), bench.shown(836_000 + WRAP + beside, 14 * DAY)], list[Step]()
    assert states[1] == 836_000 + WRAP + beside
    for poll in range(40):
        states.append(bench.shown(836_000 + STEP * poll))
        steps += bench.filter.steps.values()
    assert states[-1] == 836_000 + STEP * 39
    assert corrected(states, steps) == pytest.approx(336_000 + STEP * 39, abs=1)
    assert {step.cause for step in steps} == {StepCause.TAKEN_BACK}


def test_inverters_that_were_silent_for_weeks_are_counted_at_once(bench: Bench) -> None:
    """The gateway answered, and Home Assistant was restarted meanwhile."""
    value, days = LIFETIME, 28
    for _ in range(days):
        bench.read(PANELS | {PRODUCTION: production(value)}, DAY)
        bench.restart()
    value += days * 24_000
    shown = []
    for _ in range(15):
        shown.append(bench.read(PANELS | {PRODUCTION: production(value)})[PRODUCTION].watt_hours_lifetime)
        assert not bench.filter.steps
        value += STEP
    assert shown[-1] == value - STEP
    # What was late proves nothing about the power of the system.
    context = ProcessingContext(bench.now, 0.0, ZONE)
    objects = {address: TimedValue(each, Freshness(0.0)) for address, each in (PANELS | {PRODUCTION: 0}).items()}
    assert (
        bench.filter.limit(objects | {PRODUCTION: TimedValue(production(value), Freshness(0.0))}, PRODUCTION, context)
        < 30_000
    )


@pytest.mark.parametrize("restarts", [False, True])
def test_an_inverter_that_was_silent_for_days_is_published_at_once(bench: Bench, *, restarts: bool) -> None:
    address = ("inverters", "1")
    for _ in range(12):
        bench.read({address: EnvoyInverter("1", int(START), 100, 300, lifetime_energy=500_000)}, DAY)
        if restarts:
            bench.restart()
    report = EnvoyInverter("1", int(bench.now), 100, 300, lifetime_energy=520_000)
    assert bench.read({address: report})[address].lifetime_energy == 520_000
    assert not bench.filter.steps


def test_a_counter_that_was_recorded_since_it_was_stored_keeps_what_is_added_to_it(bench: Bench) -> None:
    """The power failed: the stored state is some minutes old."""
    address, lifetime = ("system_consumption",), "watt_hours_lifetime"

    def shown(value: int, watts: int) -> float | None:
        found: float | None = bench.read({address: EnvoySystemConsumption(value, 0, 0, watts)})[
            address
        ].watt_hours_lifetime
        return found

    shown(1_000_000, -30_000)
    # It falls while batteries feed the grid.
    assert shown(999_500, -30_000) == 1_000_000
    bench.restart()
    bench.filter.resume((address, lifetime), 1_000_600, bench.now + 600)
    bench.now += 3600
    assert shown(1_000_200, 600) == 1_000_700
    assert not bench.filter.steps


def test_the_last_statistics_are_the_last_reading_of_another_integration(bench: Bench) -> None:
    bench.filter.resume((PRODUCTION, "watt_hours_lifetime"), LIFETIME, START - 300)
    assert bench.shown(0.0) == LIFETIME
    assert bench.shown(LIFETIME + 300) == LIFETIME + 300
    # The value that was read since is newer.
    bench.filter.resume((PRODUCTION, "watt_hours_lifetime"), 5.0, START)
    assert bench.shown(LIFETIME + 310) == LIFETIME + 310


def test_each_description_of_a_counter_names_it() -> None:
    named = {
        (each.source.kind, row.counter)
        for each in SENSORS
        for row in each.descriptions
        if row.counter and each.source.kind in COUNTERS
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
def test_a_description_shows_the_counter_that_it_names(value: object, kind: type) -> None:
    rows = [row for each in SENSORS if each.source.kind is kind for row in each.descriptions if row.counter]
    assert {row.value_fn(value) for row in rows} == {4711}


@pytest.mark.parametrize(
    ("address", "low", "high"),
    [
        (PRODUCTION, 10_000, 20_000),
        # A CT measures whatever is wired through it, not only the inverters of the system.
        (METER, 50_000, 200_000),
        (("ctmeters", "net-consumption"), 50_000, 200_000),
    ],
)
def test_limits_are_generous_but_no_megawatts(address: Address, low: float, high: float) -> None:
    inverters = {("inverters", str(number)): EnvoyInverter(str(number), 0, 0, 366) for number in range(20)}
    objects = {where: TimedValue(value, Freshness(0)) for where, value in (inverters | {address: meter(0)}).items()}
    assert low <= watts(objects, address) <= high


def test_the_meters_of_a_replaced_gateway_begin_anew_and_inverters_do_not() -> None:
    counter: dict[str, object] = {"numbers": [], "candidate": None, "checkpoints": []}
    stored: dict[str, object] = {
        "counters": {
            "system_production/watt_hours_lifetime": dict(counter),
            "ctmeters/net-consumption/energy_delivered": dict(counter),
            "inverters/482208010021/lifetime_energy": dict(counter),
        }
    }
    mark_replaced(stored)
    counters = stored["counters"]
    assert isinstance(counters, dict)
    assert [key.split("/")[0] for key, each in counters.items() if "replaced" in each] == [
        "system_production",
        "ctmeters",
    ]
