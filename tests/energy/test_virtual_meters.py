"""The virtual meters of grid, batteries and house, for systems without a meter of them."""

from dataclasses import dataclass, field, replace
from datetime import UTC
import json
from typing import Any

from freezegun.api import FrozenDateTimeFactory
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from hypothesis import given, settings, strategies as st
from pyenphase.models.acb import EnvoyACBPower
from pyenphase.models.encharge import EnvoyEnchargeAggregate, EnvoyEnchargePower
from pyenphase.models.meters import CtMeterStatus, CtState, CtType, EnvoyMeterData
from pyenphase.models.system_production import EnvoySystemProduction
import pytest

from custom_components.enphase_envoy.energy.counter import Step, StepCause
from custom_components.enphase_envoy.energy.counter_filter import CounterFilter
from custom_components.enphase_envoy.energy.pipeline import ProcessingContext
from custom_components.enphase_envoy.energy.virtual_meters import VirtualMeters
from custom_components.enphase_envoy.energy.virtual_meters.battery import BATTERY, BatteryEnergy
from custom_components.enphase_envoy.energy.virtual_meters.grid import GRID, GridEnergy
from custom_components.enphase_envoy.energy.virtual_meters.house import HOUSE, HouseEnergy
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, TimedValue
from tests.helpers.integration import NOON, SetUp

PRODUCTION: Address = ("ctmeters", CtType.PRODUCTION)
NET: Address = ("ctmeters", CtType.NET_CONSUMPTION)
TOTAL: Address = ("ctmeters", CtType.TOTAL_CONSUMPTION)
STORAGE: Address = ("ctmeters", CtType.STORAGE)
IQ: Address = ("encharge_power", "492300000001")
TOGETHER: Address = ("encharge_aggregate",)
ACB: Address = ("acb_power",)

type Objects = dict[Address, object]


def meter(delivered: float, watts: float = 0.0, received: float = 0.0, **changes: Any) -> EnvoyMeterData:
    """Return a reading of a CT meter."""
    reading = EnvoyMeterData.from_api(
        {"eid": 1, "timestamp": 0, "actEnergyDlvd": delivered, "actEnergyRcvd": received, "activePower": watts}
        | {"pwrFactor": 1.0, "voltage": 230.0, "current": 1.0, "freq": 50.0},
        {"state": CtState.ENABLED, "measurementType": "any", "meteringStatus": "normal"},  # type: ignore[typeddict-item]
    )
    return replace(reading, **changes)


def battery(watts: float) -> EnvoyEnchargePower:
    """Return an IQ battery that discharges with this power in W."""
    return EnvoyEnchargePower(0, round(watts * 1000), 50)


def store(stored: float, capacity: float = 10_000) -> EnvoyEnchargeAggregate:
    """Return the stored energy of all IQ batteries, in Wh."""
    soc = round(100 * stored / capacity)
    return EnvoyEnchargeAggregate(round(stored), 0, soc, 0, 0, round(capacity))


@dataclass
class Bench:
    """Virtual meters that are given readings, one poll after another."""

    filter: CounterFilter = field(default_factory=CounterFilter)
    meters: VirtualMeters = field(init=False)
    now: float = 1000.0
    offset: float = 1_000_000.0
    objects: dict[Address, TimedValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin without stored state."""
        self.meters = VirtualMeters(self.filter)

    def read(self, objects: Objects, seconds: float = 60.0) -> dict[Address, Any]:
        """Advance the clock, process new objects, and return the objects that are added."""
        self.now += seconds
        fresh = Freshness(self.now)
        self.objects |= {address: TimedValue(value, fresh) for address, value in objects.items()}
        return {address: timed.value for address, timed in self.again().items()}

    def again(self) -> dict[Address, TimedValue]:
        """Process the last objects once more, and return the objects that are added."""
        return dict(
            self.meters.process(self.objects, self.objects, ProcessingContext(self.now + self.offset, self.offset, UTC))
        )

    def restart(self, offset: float = 2_000_000.0) -> None:
        """Continue from stored state with another monotonic clock; the time of day is unchanged."""
        data = json.loads(json.dumps(self.meters.dump()))
        self.now += self.offset - offset
        self.offset = offset
        self.objects = {}
        self.meters = VirtualMeters(self.filter)
        self.meters.load(data)


@pytest.fixture
def bench() -> Bench:
    """Return virtual meters without any state."""
    return Bench()


def test_counters_state_since_when_they_count(bench: Bench) -> None:
    """Also after restarts; a counter that goes on from a recorded value began earlier."""
    began = bench.now + 60 + bench.offset
    readings: Objects = {PRODUCTION: meter(5000), TOTAL: meter(9000)}
    assert bench.read(readings)[GRID].since == began
    bench.restart()
    assert bench.read(readings)[GRID].since == began

    bench.meters = VirtualMeters(bench.filter)
    assert bench.read(readings)[GRID].since > began
    bench.meters.resume((GRID, "imported"), 700)
    assert bench.read(readings)[GRID].since is None
    bench.restart()
    assert bench.read(readings)[GRID].since is None


# The grid


@dataclass(frozen=True)
class Poll:
    """A poll: Wh consumed and produced since the last one, power of both in W, and the events of the interval."""

    consumed: int
    produced: int
    watts: tuple[int, int]
    seconds: int
    #: Both meters were read; otherwise only one, unless there was a restart.
    both: bool
    restart: bool


POLLS = st.lists(
    st.builds(
        Poll,
        consumed=st.integers(0, 900),
        produced=st.integers(0, 900),
        watts=st.tuples(st.integers(0, 5000), st.integers(0, 5000)),
        seconds=st.sampled_from([30, 60, 300, 3600, 90_000]),
        both=st.booleans(),
        restart=st.integers(0, 4).map(lambda number: number == 0),
    ),
    max_size=40,
)


def recorded(bench: Bench) -> tuple[float, float, float]:
    """Return the counted import and export, and the net of the interval that is open."""
    data: Any = bench.meters.dump()["grid_energy"]
    terms = data["balance"]["terms"]
    base = terms["ctmeters/total-consumption"]["delivered"] - terms["ctmeters/production"]["delivered"]
    return data["totals"]["imported"], data["totals"]["exported"], base


@settings(max_examples=200)
@given(POLLS)
def test_import_less_export_is_always_the_net(polls: list[Poll]) -> None:
    """The result is exact, counters never fall, and a restart changes nothing."""
    steady, restarted = Bench(), Bench()
    consumed, produced, last = 10_000, 5_000, GridEnergy(0, 0, 0)
    first = consumed - produced
    for poll in (Poll(0, 0, (0, 0), 60, True, False), *polls):
        consumed, produced = consumed + poll.consumed, produced + poll.produced
        new: Objects = {TOTAL: meter(consumed, poll.watts[0]), PRODUCTION: meter(produced, poll.watts[1])}
        if not (poll.both or poll.restart):
            new.pop(PRODUCTION if poll.seconds > 60 else TOTAL)
        if poll.restart:
            restarted.restart(restarted.offset + 12_345)
        found, same = (bench.read(new, poll.seconds)[GRID] for bench in (steady, restarted))
        assert found == same
        assert found.imported >= last.imported
        assert found.exported >= last.exported
        last = found
        imported, exported, base = recorded(steady)
        assert imported - exported == base - first
        assert last == replace(found, imported=int(imported), exported=int(exported))


def test_alternating_import_and_export_are_separated(bench: Bench) -> None:
    """A hob switches on and off: 2000 W of import alternate with 1000 W of export."""
    bench.read({TOTAL: meter(0, 2500), PRODUCTION: meter(0, 500)})
    found = bench.read({TOTAL: meter(90, 500), PRODUCTION: meter(75, 1500)}, 90)[GRID]
    # 40 s at 2000 W and 50 s at -1000 W are 22.2 Wh in and 13.9 Wh out; the counters have a net of 15.
    assert (found.imported, found.exported) == (26, 11)
    assert found.power == -1000


@pytest.mark.parametrize("restored_snapshot", [False, True])
@pytest.mark.parametrize("behind", [0, 600, 86_400, 20 * 365 * 86_400])
def test_energy_of_an_outage_is_counted_with_a_clock_that_is_behind(
    bench: Bench, behind: int, restored_snapshot: bool
) -> None:
    """The gateway may not answer at once: then the documents of the last session come first, again and again."""
    bench.read({PRODUCTION: meter(5000, 500), TOTAL: meter(9000, 700)})
    before = bench.read({PRODUCTION: meter(5010, 500), TOTAL: meter(9030, 700)})[GRID]
    bench.restart()
    bench.now -= behind
    if restored_snapshot:
        bench.read({PRODUCTION: meter(5000, 500), TOTAL: meter(9000, 700)}, -60)
        bench.again()
        bench.now += 60
    # A day without polls, and another restart before the clock is right.
    bench.read({PRODUCTION: meter(15_000, 500), TOTAL: meter(39_000, 700)}, 86_400)
    bench.restart()
    bench.read({PRODUCTION: meter(15_000, 500), TOTAL: meter(39_000, 700)})
    bench.again()
    after = bench.read({PRODUCTION: meter(15_010, 500), TOTAL: meter(39_030, 700)})[GRID]
    assert after.imported - before.imported - (after.exported - before.exported) == 20_000
    # From then on the power of a meter limits what it counts.
    assert bench.read({PRODUCTION: meter(15_010), TOTAL: meter(9_039_030)})[GRID].imported == after.imported


@pytest.mark.parametrize("behind", [0, 86_400, 20 * 365 * 86_400])
@pytest.mark.parametrize("restored_snapshot", [False, True])
@pytest.mark.parametrize("is_charge_known", [False, True])
def test_energy_that_was_recorded_after_the_last_save_is_counted_once(
    bench: Bench, behind: int, restored_snapshot: bool, is_charge_known: bool
) -> None:
    """The power fails before the next save, and the statistics have what was shown until then."""

    def readings(minute: int) -> Objects:
        discharged = 20 * minute
        return {
            TOTAL: meter(9000 + 50 * minute, 3000),
            PRODUCTION: meter(5000 + 10 * minute, 600),
            IQ: battery(1200),
        } | ({TOGETHER: store(9000 - discharged)} if is_charge_known else {})

    bench.read(readings(0))
    first = bench.read(readings(1))
    stored = json.loads(json.dumps(bench.meters.dump()))
    for minute in range(2, 10):
        last = bench.read(readings(minute))
    bench.restart()
    bench.meters = VirtualMeters(bench.filter)
    bench.meters.load(stored)
    bench.now -= behind
    if restored_snapshot:
        bench.read(readings(0), -600)
        bench.now += 600
    else:
        bench.read(readings(20), 600)
    for name in ("imported", "exported"):
        bench.meters.resume((GRID, name), getattr(last[GRID], name))
    for name in ("charged", "discharged"):
        bench.meters.resume((BATTERY, name), getattr(last[BATTERY], name))
    if restored_snapshot:
        bench.read(readings(20), 660)
    after = bench.read(readings(21))
    discharged = after[BATTERY].discharged - first[BATTERY].discharged
    # Without the charge only what was recorded, and after the restart.
    assert discharged == pytest.approx(20 * (20 if is_charge_known else 9), abs=40)
    assert after[BATTERY].charged == 0
    imported = after[GRID].imported - first[GRID].imported - after[GRID].exported
    assert imported + discharged == pytest.approx(40 * 20, abs=2)


@pytest.mark.parametrize("behind", [0, 60, 600])
def test_a_meter_that_was_replaced_by_a_higher_one_during_a_restart_adds_no_energy(bench: Bench, behind: int) -> None:
    bench.read({PRODUCTION: meter(5000, 500), TOTAL: meter(9000, 700)})
    before = bench.read({PRODUCTION: meter(5010, 500), TOTAL: meter(9030, 700)})[GRID]
    bench.restart()
    bench.now -= behind
    for _ in range(3):
        after = bench.read({PRODUCTION: meter(5010), TOTAL: meter(86_000_000)})[GRID]
    assert (after.imported, after.exported) == (before.imported, before.exported)


def test_a_meter_that_was_replaced_while_the_clock_is_behind_adds_no_energy(bench: Bench) -> None:
    bench.read({PRODUCTION: meter(5000, 500), TOTAL: meter(9000, 700)})
    before = bench.read({PRODUCTION: meter(5010, 500), TOTAL: meter(9030, 700)})[GRID]
    bench.restart()
    bench.now -= 20 * 365 * 86_400
    for _ in range(3):
        after = bench.read({PRODUCTION: meter(5010), TOTAL: meter(4000)})[GRID]
    assert (after.imported, after.exported) == (before.imported, before.exported)
    assert bench.read({PRODUCTION: meter(5010), TOTAL: meter(4020)})[GRID].imported == before.imported + 20


def test_energy_of_an_outage_is_counted_in_the_direction_of_its_net(bench: Bench) -> None:
    """The directions of the energy during the outage are unknown."""
    bench.read({TOTAL: meter(0, 2000), PRODUCTION: meter(0)})
    found = bench.read({TOTAL: meter(3000, 100), PRODUCTION: meter(5000, 900)}, 7200)[GRID]
    assert (found.imported, found.exported) == (0, 2000)


def test_no_energy_is_added_while_a_counter_is_held_back(bench: Bench) -> None:
    """Production that does not change for three polls would be counted as import, and then as export."""
    for poll in range(6):
        produced = 0 if poll in (1, 2, 3) else 50 * poll
        found = bench.read({TOTAL: meter(20 * poll, 1200), PRODUCTION: meter(produced, 3000)})[GRID]
    assert (found.imported, found.exported) == (0, 150)


def test_a_counter_that_never_changes_is_accepted(bench: Bench) -> None:
    """Its energy is accepted after two hours."""
    for poll in range(130):
        found = bench.read({TOTAL: meter(20 * poll, 1200), PRODUCTION: meter(0, 3000)})[GRID]
    assert found.imported > 20 * 115


def test_rounding_adds_no_energy(bench: Bench) -> None:
    """A house that uses its own production neither imports nor exports, though counters in whole Wh differ by one."""
    for poll in range(600):
        found = bench.read({TOTAL: meter(17 * poll + poll % 2, 1000), PRODUCTION: meter(17 * poll, 1000)})[GRID]
    assert found.imported + found.exported <= 2


def test_standby_is_not_lost_to_rounding(bench: Bench) -> None:
    """Ten watts are one Wh every six minutes."""
    for poll in range(601):
        found = bench.read({TOTAL: meter(poll / 6, 10), PRODUCTION: meter(0)})[GRID]
    assert 97 <= found.imported <= 100
    assert found.exported == 0


@pytest.mark.parametrize("to", [0, 9_000_000], ids=["lower", "higher"])
def test_a_new_meter_adds_no_energy(bench: Bench, to: int) -> None:
    """The difference between the counters of the old and the new meter is not energy."""
    bench.read({TOTAL: meter(5000, 1000), PRODUCTION: meter(100)})
    bench.read({TOTAL: meter(5017, 1000), PRODUCTION: meter(100)})
    bench.read({TOTAL: meter(to, 1000), PRODUCTION: meter(100)})
    found = bench.read({TOTAL: meter(to + 17, 1000), PRODUCTION: meter(100)})[GRID]
    assert (found.imported, found.exported) == (34, 0)


def test_an_accepted_step_adds_its_actual_energy(bench: Bench) -> None:
    """The energy includes that of the hour until the counter filter accepted the step."""
    bench.read({TOTAL: meter(5000, 1000), PRODUCTION: meter(100)})
    bench.filter.steps = {(TOTAL, "energy_delivered"): Step(StepCause.LASTING, 5000, 70, 1000)}
    found = bench.read({TOTAL: meter(70, 1000), PRODUCTION: meter(100)}, 3600)[GRID]
    assert (found.imported, found.exported) == (1000, 0)


def test_an_accepted_step_of_received_energy_adds_its_actual_energy(bench: Bench) -> None:
    """The counter of the export restarted, and 40 Wh were exported until the step was accepted."""
    read_house(bench, 0, -9000, 0, 0)
    bench.filter.steps = {(NET, "energy_received"): Step(StepCause.LASTING, 9000, 15, 40)}
    assert read_house(bench, 100, -15, 0, 0).consumed == 60


def test_both_counters_are_of_the_same_time(bench: Bench) -> None:
    """If they are from two endpoints and one fails, the interval continues until both are updated."""
    report: Address = ("system_production",)
    bench.read({TOTAL: meter(0, 1000), report: EnvoySystemProduction(0, 0, 0, 3000)})
    for poll in range(1, 4):
        found = bench.read({TOTAL: meter(17 * poll, 1000)})[GRID]
        assert (found.imported, found.exported) == (0, 0)
    found = bench.read({TOTAL: meter(68, 1000), report: EnvoySystemProduction(200, 0, 0, 3000)})[GRID]
    assert (found.imported, found.exported) == (0, 132)


def test_grid_with_batteries_without_a_meter(bench: Bench) -> None:
    """Energy that the battery discharges is not imported."""
    bench.read({TOTAL: meter(0, 1200), PRODUCTION: meter(0), IQ: battery(1200)})
    for poll in range(1, 11):
        found = bench.read({TOTAL: meter(20 * poll, 1200), PRODUCTION: meter(0), IQ: battery(1200)})
    assert found[GRID] == GridEnergy(0, 0, 0)
    assert found[BATTERY] == BatteryEnergy(0, 200, 1200)
    assert HOUSE not in found, "the consumption that the gateway reports is that of the house"


# Batteries


def test_energy_of_batteries_is_calculated_from_their_power(bench: Bench) -> None:
    """Each reading applies to half of the time until the next one; an old reading that is repeated adds nothing."""
    for watts in (1200, 1200, -600):
        bench.read({IQ: battery(watts), ACB: EnvoyACBPower(0, 0, 0, "idle", 1)})
        found = bench.again()[BATTERY].value
    assert found == BatteryEnergy(charged=5, discharged=30, power=-600)


def test_iq_and_ac_batteries_are_added_up(bench: Bench) -> None:
    """Each kind is read at its own times."""
    bench.read({IQ: battery(600), ACB: EnvoyACBPower(-300, 0, 0, "charging", 1)})
    bench.read({ACB: EnvoyACBPower(-300, 0, 0, "charging", 1)})
    found = bench.read({IQ: battery(600), ACB: EnvoyACBPower(-300, 0, 0, "charging", 1)})[BATTERY]
    assert found == BatteryEnergy(charged=10, discharged=20, power=300)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (store(4000), store(5900), (2000, 0)),
        (store(5000), store(4000), (0, 950)),
        (store(4000), store(9000, 15_000), (0, 0)),
        (store(4000), replace(store(4000), available_energy=0), (0, 0)),
    ],
    ids=["charged", "discharged", "one battery more", "less energy than its state of charge"],
)
@pytest.mark.parametrize("restart", [False, True])
def test_over_a_gap_only_the_change_of_stored_energy_counts(
    bench: Bench, before: object, after: object, expected: tuple[int, int], restart: bool
) -> None:
    """The energy is the change of the stored energy, with a loss of a twentieth in each direction."""
    bench.read({IQ: battery(3000), TOGETHER: before})
    if restart:
        bench.restart()
    found = bench.read({IQ: battery(-3000), TOGETHER: after}, 7200)[BATTERY]
    assert (found.charged, found.discharged) == expected


def test_over_a_gap_without_a_state_of_charge_nothing_counts(bench: Bench) -> None:
    """Two powers that were read hours apart do not determine the energy between them."""
    bench.read({IQ: battery(3000)})
    assert bench.read({IQ: battery(3000)}, 7200)[BATTERY] == BatteryEnergy(0, 0, 3000)


def test_a_clock_that_was_set_back_loses_one_interval(bench: Bench) -> None:
    """After a restart the time of day may be earlier than the stored one."""
    bench.read({IQ: battery(3600)})
    bench.read({IQ: battery(3600)})
    bench.restart()
    bench.now -= 86_400
    for _ in range(3):
        found = bench.read({IQ: battery(3600)})[BATTERY]
    assert found.discharged == 60 * 3


@pytest.mark.parametrize("restored_snapshot", [False, True])
@pytest.mark.parametrize("ahead", [-86_400, -600, 20, 600, 1500, 7200, 365 * 86_400])
def test_a_clock_that_was_wrong_before_a_restart_loses_no_more_than_an_interval(
    bench: Bench, ahead: int, restored_snapshot: bool
) -> None:
    """The gateway may not answer at once: then the documents of the last session come first, again and again.

    Where the charge is known, its change during the restart counts instead.
    """
    readings: Objects = {IQ: battery(3000), ACB: EnvoyACBPower(-1200, 0, 0, "charging", 0)}
    bench.read(readings)
    bench.offset += ahead
    for _ in range(5):
        before = bench.read(readings)[BATTERY]
    bench.offset -= ahead
    bench.restart()
    if restored_snapshot:
        # Its time is of the wrong clock too; one of the future is not restored.
        age = 120 - ahead if ahead < 120 else bench.now + bench.offset
        bench.read(readings, -age)
        bench.again()
        bench.now += age
    for _ in range(31):
        after = bench.read(readings)[BATTERY]
    assert after.discharged - before.discharged == pytest.approx(31 * 50, abs=51)
    assert after.charged - before.charged == pytest.approx(31 * 20, abs=21)


@pytest.mark.parametrize("ahead", [0, 600, 86_400])
def test_documents_of_the_last_session_are_not_counted_again(bench: Bench, ahead: int) -> None:
    """They are older than the stored state; after them the change of the stored energy counts."""
    bench.read({IQ: battery(3000), TOGETHER: store(6000)})
    before = bench.read({IQ: battery(3000), TOGETHER: store(4000)}, 1200)[BATTERY]
    bench.offset += ahead
    bench.again()
    bench.offset -= ahead
    bench.restart()
    bench.read({IQ: battery(3000), TOGETHER: store(6000)}, -1200)
    bench.again()
    after = bench.read({IQ: battery(3000), TOGETHER: store(3000)}, 2400)[BATTERY]
    assert after.discharged - before.discharged == 950


# The house


def read_house(bench: Bench, produced: int, net: int, out: int, charged: int, seconds: float = 60.0) -> HouseEnergy:
    """Read a house whose batteries have a meter, and return its energy."""
    found = bench.read(
        {PRODUCTION: meter(produced), NET: meter(max(net, 0), 0, max(-net, 0)), STORAGE: meter(out, 0, charged)},
        seconds,
    )
    assert BATTERY not in found
    energy: HouseEnergy = found[HOUSE]
    return energy


def test_charged_energy_is_not_consumption(bench: Bench) -> None:
    """Consumption is production less export, plus discharge, less charge."""
    read_house(bench, 1000, -100, 500, 600)
    assert read_house(bench, 1100, -120, 505, 655).consumed == 100 - 20 + 5 - 55


def test_consumption_never_falls_and_a_deficit_is_deducted_later(bench: Bench) -> None:
    """A charge that is counted one poll early is not negative consumption."""
    read_house(bench, 0, 0, 0, 0)
    assert read_house(bench, 100, 0, 0, 0).consumed == 100
    assert read_house(bench, 100, 0, 0, 30).consumed == 100
    assert read_house(bench, 120, 0, 0, 30).consumed == 100
    assert read_house(bench, 150, 0, 0, 30).consumed == 120


def test_energy_without_a_meter_does_not_stop_the_consumption(bench: Bench) -> None:
    """A generator charges 5 kWh: only 1 kWh of it is deducted from the consumption that follows."""
    read_house(bench, 0, 0, 0, 0)
    read_house(bench, 0, 0, 0, 5000, 3600)
    assert read_house(bench, 1500, 0, 0, 5000, 3600).consumed == 500


def test_power_of_a_house(bench: Bench) -> None:
    """The power of the house is that of production, import and discharge together."""
    bench.read({PRODUCTION: meter(0, 2000), NET: meter(0, -500), IQ: battery(-1000)})
    assert bench.again()[HOUSE].value == HouseEnergy(0, 500)


def test_power_of_a_house_is_that_of_terms_that_were_measured_together(bench: Bench) -> None:
    """Live power is not added to the power of batteries in the last poll: neither flowed at the same time."""

    def read(seconds: float, net: int, batteries: int | None = None, late: float = 0.0) -> tuple[int | None, float]:
        """Read a frame, and batteries so many seconds before it; return the power and its age."""
        bench.now += seconds
        fresh = Freshness(bench.now)
        for address, watts in ((PRODUCTION, 2000), (NET, net)):
            polled = bench.objects[address].freshness if address in bench.objects else fresh
            bench.objects[address] = TimedValue(meter(0, watts), polled, {"active_power": fresh})
        if batteries is not None:
            charge = EnvoyACBPower(batteries, 0, 0, "discharging", 1)
            bench.objects[ACB] = TimedValue(charge, Freshness(bench.now - late))
        house = bench.again()[HOUSE]
        assert isinstance(house.value, HouseEnergy)
        return house.value.power, bench.now - house.field_freshness["power"].updated_at

    assert read(5, -500, 500) == (2000, 0)
    # The house needs 6 kW more, of which the batteries discharge a part.
    assert read(5, 4000) == (2000, 5)
    assert read(50, 4000) == (2000, 55)
    assert read(5, 4000, 2000) == (8000, 0)
    assert read(60, 4000, 2000, 3) == (8000, 3)
    # A frame that is nearer to the poll than the one before it.
    assert read(60, 3000, 2000, -3) == (7000, 0)
    assert read(5, 5000) == (9000, 2)
    assert read(5, -2000) == (9000, 7)


def test_power_of_a_grid_keeps_its_age_while_a_meter_is_not_read(bench: Bench) -> None:
    bench.read({TOTAL: meter(0, 2500), PRODUCTION: meter(0, 500)})
    for _ in range(3):
        assert bench.read({TOTAL: meter(0, 9000)})[GRID].power == 2000
    assert bench.now - bench.again()[GRID].updated_at == 180
    assert bench.read({PRODUCTION: meter(0, 600)})[GRID].power == 8400


# Virtual meters of each system


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ({PRODUCTION: meter(0), NET: meter(0)}, set()),
        ({PRODUCTION: meter(0), TOTAL: meter(0)}, {GRID}),
        ({TOTAL: meter(0), ("system_production",): EnvoySystemProduction(0, 0, 0, 0)}, {GRID}),
        ({TOTAL: meter(0)}, set()),
        ({PRODUCTION: meter(0), TOTAL: meter(0), ("ctmeters", CtType.PV3P): meter(0)}, set()),
        ({PRODUCTION: meter(0), TOTAL: meter(0), STORAGE: meter(0)}, {GRID}),
        ({PRODUCTION: meter(0), NET: meter(0), IQ: battery(0)}, {BATTERY, HOUSE}),
        ({PRODUCTION: meter(0), NET: meter(0), IQ: battery(0), STORAGE: meter(0)}, {HOUSE}),
        ({IQ: battery(0), STORAGE: meter(0, state=CtState.DISABLED)}, {BATTERY}),
        ({IQ: battery(0), STORAGE: meter(0, metering_status=CtMeterStatus.NOT_METERING)}, {BATTERY}),
        ({IQ: battery(0), STORAGE: meter(7, metering_status=CtMeterStatus.NOT_METERING)}, set()),
        ({IQ: battery(0)}, {BATTERY}),
        ({ACB: EnvoyACBPower(0, 0, 0, "idle", 1)}, {BATTERY}),
        ({}, set()),
    ],
)
def test_no_virtual_meter_is_added_beside_a_real_one(bench: Bench, objects: Objects, expected: set[Address]) -> None:
    """A meter that is installed and counts is more exact than a calculation from others."""
    assert bench.read(objects).keys() == expected


# Objects, storage


def test_objects_are_identical_while_nothing_changes(bench: Bench) -> None:
    """Listeners detect a change by identity; the time of an object is that of its oldest source."""
    objects: Objects = {PRODUCTION: meter(0), NET: meter(0), IQ: battery(0)}
    bench.read(objects)
    first, again = bench.again(), bench.again()
    assert first.keys() == {BATTERY, HOUSE}
    assert all(again[address] is timed for address, timed in first.items())
    bench.read({PRODUCTION: meter(0), NET: meter(0)})
    later = bench.again()
    assert later[BATTERY] is first[BATTERY]
    assert later[HOUSE].value is first[HOUSE].value
    assert later[HOUSE].updated_at == first[HOUSE].updated_at == bench.objects[IQ].updated_at
    bench.read(objects)
    last = bench.again()
    assert all(last[address].value is timed.value for address, timed in first.items())
    assert last[HOUSE].updated_at == bench.now


def test_lost_state_is_restored_from_recorded_values(bench: Bench) -> None:
    """A recorded value is the minimum; invalid values and other objects are ignored, at any time."""
    bench.meters.resume((GRID, "imported"), 5000.0)
    bench.meters.resume((GRID, "power"), 5000.0)
    bench.meters.resume((GRID, "exported"), float("nan"))
    bench.meters.resume((("inverters", "1"), "lifetime_energy"), 5000.0)
    bench.read({TOTAL: meter(0, 1000), PRODUCTION: meter(0)})
    assert bench.read({TOTAL: meter(17, 1000), PRODUCTION: meter(0)})[GRID] == GridEnergy(5017, 0, 1000)
    bench.meters.resume((GRID, "imported"), 4000.0)
    assert bench.again()[GRID].value == GridEnergy(5017, 0, 1000)


def test_years_of_polls_add_up_exactly(bench: Bench) -> None:
    """After a gigawatt-hour, each minute of standby still counts in full."""
    bench.meters.resume((BATTERY, "discharged"), 1e9)
    for _ in range(6001):
        found = bench.read({IQ: battery(0.6)})[BATTERY]
    assert found.discharged == 1_000_000_060
    assert len(json.dumps(bench.meters.dump())) < 1000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["totals", "balance", "span", "terms", "last", "owed", "iq", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"grid_energy": JSON, "battery_energy": JSON, "house_energy": JSON}))
def test_invalid_stored_state_is_ignored(data: dict[str, Any]) -> None:
    """It is read from a file that the user may have edited."""
    bench = Bench()
    bench.meters.load(data)
    bench.read({TOTAL: meter(0, 1000), PRODUCTION: meter(0), IQ: battery(0)})
    bench.read({PRODUCTION: meter(0), NET: meter(0), IQ: battery(0)})
    json.dumps(bench.meters.dump(), allow_nan=False)


def test_implausibly_high_totals_are_ignored() -> None:
    bench = Bench()
    bench.meters.load({"grid_energy": {"totals": {"imported": 1e308, "exported": True}}})
    assert bench.meters.dump()["grid_energy"] == Bench().meters.dump()["grid_energy"]


@pytest.mark.parametrize("address", [TOTAL, PRODUCTION, IQ])
def test_an_unknown_power_is_not_a_reading(bench: Bench, address: Address) -> None:
    """A field that never had a plausible value is None in its object."""
    objects: Objects = {TOTAL: meter(0, 1000), PRODUCTION: meter(0), IQ: battery(0)}
    objects[address] = replace(
        objects[address], **({"real_power_mw": None} if address is IQ else {"active_power": None})
    )  # type: ignore[type-var]
    bench.read(objects)
    found = bench.read(objects)
    assert (found[GRID].imported, found[GRID].exported) == (0, 0)
    assert (found[GRID].power is None) == (address is not IQ)


# In Home Assistant


async def test_grid_energy_in_home_assistant(
    hass: HomeAssistant, set_up: SetUp, freezer: FrozenDateTimeFactory
) -> None:
    """Import and export of the house in two hours of polls with a reload and, at the end, an outage."""
    freezer.move_to(NOON)
    installation = await set_up("total_consumption")
    began = dt_util.utcnow()
    simulated = installation.gateway.house
    first = simulated.total("imported"), simulated.total("exported")

    def shown(name: str) -> float:
        state = hass.states.get(f"sensor.envoy_{installation.gateway.serial}_lifetime_grid_{name}")
        assert state
        assert state.attributes["counting_since"] == began
        return float(state.state) * 1000

    async def poll_after(seconds: float) -> tuple[float, float]:
        freezer.tick(seconds)
        installation.gateway.clock.advance(seconds)
        await installation.poll()
        return simulated.total("imported") - first[0], simulated.total("exported") - first[1]

    assert shown("import") == shown("export") == 0
    for poll in range(120):
        imported, exported = await poll_after(60)
        if poll == 60:
            assert await hass.config_entries.async_reload(installation.entry.entry_id)
    assert shown("import") == pytest.approx(imported, abs=3)
    assert shown("export") == pytest.approx(exported, abs=3)
    assert min(imported, exported) > 100
    imported, exported = await poll_after(3600)
    assert shown("import") - shown("export") == pytest.approx(imported - exported, abs=3)
