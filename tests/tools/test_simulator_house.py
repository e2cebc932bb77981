"""The physics of the simulated house: energy is conserved with all settings."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings, strategies as st
import pytest

from tests.simulator import PROFILES, Clock, House
from tests.simulator.counters import FLOWS, SINKS, SOURCES, PerPhase
from tests.simulator.gateway import Gateway
from tests.simulator.hardware import STORAGE_MODES, Battery, StorageSettings
from tests.simulator.house import CHARGE_EFFICIENCY, DISCHARGE_EFFICIENCY
from tests.simulator.weather import elevation_degrees, sunshine

NOON = datetime.fromisoformat("2026-06-21T12:00:00+02:00").timestamp()
HOUR = 3600.0
DAY = 86400.0
names = st.sampled_from(sorted(PROFILES))


def assert_balanced(values: PerPhase, tolerance: float) -> None:
    """Check that sources equal sinks on every phase."""
    for phase in range(len(values["load"])):
        sources = sum(values[flow][phase] for flow in SOURCES)
        assert sources == pytest.approx(sum(values[flow][phase] for flow in SINKS), abs=tolerance)
        combined = values["production"][phase] + values["discharged"][phase] - values["charged"][phase]
        assert values["combiner_out"][phase] - values["combiner_in"][phase] == pytest.approx(combined, abs=tolerance)
        assert all(values[flow][phase] >= 0 for flow in FLOWS)


@pytest.mark.slow
@settings(max_examples=60)
@given(
    name=names,
    seed=st.integers(1, 5),
    mode=st.sampled_from(STORAGE_MODES),
    reserve=st.integers(0, 100),
    charge=st.booleans(),
    generator=st.sampled_from(["off", "on", "auto"]),
    moves=st.lists(st.tuples(st.floats(1, 20 * HOUR), st.booleans()), min_size=1, max_size=4),
)
def test_energy_is_conserved(
    name: str,
    seed: int,
    mode: str,
    reserve: int,
    charge: bool,
    generator: str,
    moves: list[tuple[float, bool]],
) -> None:
    """Flows balance at every time and counters over any interval, with any settings, on and off grid."""
    house = House.at(PROFILES[name], NOON, seed=seed)
    house.settings = StorageSettings(mode, reserve, charge_from_grid=charge)  # type: ignore[arg-type]
    if house.generator:
        house.generator.mode = generator  # type: ignore[assignment]
    house.refresh()
    for seconds, closed in moves:
        before, stored = house.snapshot(), house.stored
        if PROFILES[name].enpower:
            house.switch_grid(closed=closed)
        house.advance(house.now + seconds)
        assert_balanced(house.flow, 1e-6)
        assert_balanced(house.counters, 1e-3)
        change = sum(house.counters["charged"]) - before.total("charged")
        drawn = sum(house.counters["discharged"]) - before.total("discharged")
        inside = change * CHARGE_EFFICIENCY - drawn / DISCHARGE_EFFICIENCY
        assert house.stored - stored == pytest.approx(inside, abs=1e-3)
        assert -1e-6 <= house.stored <= house.capacity + 1e-6
        power = sum(battery.power for battery in house.batteries)
        assert abs(house.power("discharged") - house.power("charged")) <= power + 1e-6
        for flow in FLOWS:
            assert all(new >= old for new, old in zip(house.counters[flow], before.counters[flow], strict=True))
        if not house.grid.closed:
            assert house.power("imported") == house.power("exported") == 0


@settings(max_examples=15)
@given(name=names, steps=st.lists(st.floats(0.01, 5000), min_size=2, max_size=12))
def test_state_does_not_depend_on_the_steps(name: str, steps: list[float]) -> None:
    """One step ends in the same state as many small ones."""
    leap, walk = House.at(PROFILES[name], NOON), House.at(PROFILES[name], NOON)
    for step in steps:
        walk.advance(walk.now + step)
    leap.advance(walk.now)
    for flow in FLOWS:
        assert walk.counters[flow] == pytest.approx(leap.counters[flow], abs=1e-3)
    assert walk.stored == pytest.approx(leap.stored, abs=1e-3)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_days_start_at_local_midnight(name: str) -> None:
    """At midnight today's energy becomes yesterday's, and both are part of the lifetime's."""
    house = House.at(PROFILES[name], NOON)
    zone = ZoneInfo(PROFILES[name].zone)
    midnight = datetime(2026, 6, 22, tzinfo=zone).timestamp()
    house.advance(midnight - 1)
    before = house.today("load")
    assert before > 1000
    house.advance(midnight + 1)
    assert 0 < house.today("load") < 10
    assert house.yesterday("load") == pytest.approx(before, abs=10)
    week, lifetime = house.week("production"), house.total("production")
    house.advance(midnight + DAY)
    assert house.total("production") - lifetime == pytest.approx(house.yesterday("production"), abs=1)
    assert house.week("production") != week


def test_sunshine_depends_on_seed_season_and_hour() -> None:
    """The same seed gives the same house, another one a different house; December has less sun than June."""
    twins = [House.at(PROFILES["three_phase"], NOON, seed=seed) for seed in (3, 3, 4)]
    for house in twins:
        house.advance(NOON + DAY)
    assert twins[0].counters == twins[1].counters
    assert twins[0].counters != twins[2].counters
    assert elevation_degrees(NOON, 52.37, 4.9) == pytest.approx(58, abs=3)
    winter = House.at(PROFILES["three_phase"], NOON + 183 * DAY)
    assert winter.yesterday("production") < twins[0].yesterday("production") / 3
    assert sunshine(1, NOON + 12 * HOUR, 52.37, 4.9) == 0


@pytest.mark.parametrize("mode", ["self-consumption", "backup", "economy"])
def test_battery_power_by_storage_mode(mode: str) -> None:
    """In the evening self-consumption and economy discharge, backup does not; at night economy does not either."""
    house = House.at(PROFILES["full_battery"], NOON)
    house.settings = StorageSettings(mode, 10.0)  # type: ignore[arg-type]
    house.stored = house.capacity * 0.9
    house.advance(NOON + 8.9 * HOUR)
    assert (house.power("discharged") > 0) == (mode != "backup")
    house.stored = house.capacity * 0.9
    house.advance(NOON + 12.5 * HOUR)
    assert (house.power("discharged") > 0) == (mode == "self-consumption")


def test_battery_keeps_the_reserve_and_charges_from_the_grid_if_allowed() -> None:
    """Discharge stops at the reserve; charging from the grid reaches it."""
    house = House.at(PROFILES["full_battery"], NOON)
    house.settings = StorageSettings(reserve=40.0)
    house.advance(NOON + 17 * HOUR)
    assert house.soc == pytest.approx(40.0, abs=0.1)
    house.settings = StorageSettings(reserve=60.0)
    house.advance(house.now + 600)
    assert house.power("charged") == 0
    house.settings = StorageSettings(reserve=60.0, charge_from_grid=True)
    house.refresh()
    assert house.power("charged") > 0
    assert house.power("imported") > house.power("charged")
    house.advance(house.now + 3 * HOUR)
    assert house.soc >= 59.5


def test_battery_supplies_the_house_off_grid_until_it_is_empty() -> None:
    """Without grid and generator the load is shed when it is empty, and surplus production is curtailed."""
    house = House.at(PROFILES["full_battery"], NOON)
    assert house.generator is not None
    house.generator.mode = "off"
    house.switch_grid(closed=False)
    assert house.power("imported") + house.power("exported") > 0
    house.advance(NOON + 28)
    assert not house.grid.closed
    house.stored = house.capacity
    house.refresh()
    assert house.power("production") == pytest.approx(house.power("load"), rel=0.001)
    house.stored = house.capacity - 20.0
    house.refresh()
    for _ in range(10):
        house.advance(house.now + 60)
        assert house.stored <= house.capacity + 1e-6
    assert house.soc == pytest.approx(100, abs=0.1)
    house.advance(NOON + 12 * HOUR)
    house.stored = house.capacity * 0.05
    house.refresh()
    assert house.power("load") == 0


def test_generator_runs_by_state_of_charge_off_grid_only() -> None:
    """In auto it starts at the lower and stops at the upper charge; on grid it does not feed."""
    house = House.at(PROFILES["full_battery"], NOON + 12 * HOUR)
    generator = house.generator
    assert generator is not None
    house.stored = house.capacity * 0.2
    house.advance(house.now + 60)
    assert not generator.running
    house.switch_grid(closed=False)
    house.advance(house.now + 60)
    assert generator.running
    assert house.power("generated") > 0
    house.advance(house.now + 3 * HOUR)
    assert not generator.running
    assert house.soc > generator.start_soc
    house.switch_grid(closed=True)
    generator.mode = "on"
    house.advance(house.now + 60)
    assert generator.running
    assert house.power("generated") == 0


def test_relays_shed_their_loads() -> None:
    """An open contact disconnects its load; off grid NC1 is shed, NC2 depends on the charge."""
    house = House.at(PROFILES["full_battery"], NOON)
    full = house.power("load")
    house.switch_relay(house.relay("NC1"), closed=False)
    assert full - house.power("load") == pytest.approx(250)
    house.switch_grid(closed=False)
    house.advance(NOON + 60)
    house.stored = house.capacity * 0.2
    house.advance(NOON + 120)
    assert not house.relay("NC1").closed
    assert not house.relay("NC2").closed
    assert house.relay("NO1").closed
    house.switch_grid(closed=True)
    house.advance(NOON + 180)
    assert house.relay("NC1").closed
    assert house.relay("NC2").closed


def test_counters_of_inverters_add_up_to_the_production() -> None:
    """Their counters increase by the production, across a change of hardware, and on each phase."""
    house = House.at(PROFILES["three_phase"], NOON)
    roof = house.roof

    def read() -> float:
        return sum(roof.energy(inverter, house.now) for inverter in house.inverters)

    inverters, produced = read(), house.total("production")
    house.advance(NOON + 2 * HOUR)
    new = house.add_inverter()
    assert roof.energy(new, house.now) == 0
    house.advance(NOON + 4 * HOUR)
    house.break_inverter(house.inverters[0].serial)
    house.remove_inverter(house.inverters[1].serial)
    broken = roof.energy(house.inverters[0], house.now)
    house.advance(NOON + 30 * HOUR)
    assert read() - inverters == pytest.approx(house.total("production") - produced, abs=0.01)
    assert roof.energy(house.inverters[0], house.now) == broken
    assert roof.energy(new, house.now) > 500


def test_batteries_are_added_and_removed_with_their_energy() -> None:
    """The capacity changes; the others keep their charge."""
    house = House.at(PROFILES["full_battery"], NOON)
    soc = house.soc
    house.add_battery(Battery("492309019999"))
    assert house.capacity == 15_000
    assert house.soc == pytest.approx(soc)
    house.remove_battery("492309019999")
    assert house.capacity == 10_000
    assert house.soc == pytest.approx(soc)


@pytest.mark.parametrize("name", ["three_phase", "full_battery"])
def test_history_is_continuous_with_the_counters(name: str) -> None:
    """Counters of the last weeks balance, never decrease, and end at the current ones."""
    house = House.at(PROFILES[name], NOON)
    house.advance(NOON + 6 * HOUR)
    snapshots = list(house.history(house.now - 40 * DAY, house.now, HOUR))
    assert len(snapshots) == 40 * 24 + 1
    assert snapshots[-1].counters == house.counters
    for before, after in pairwise(snapshots):
        for flow in FLOWS:
            assert after.total(flow) >= before.total(flow) - 1e-6
        change: PerPhase = {
            flow: [max(0.0, new - old) for new, old in zip(values, before.counters[flow], strict=True)]
            for flow, values in after.counters.items()
        }
        assert_balanced(change, 1e-3)
    days = [after.since(before, "load") for before, after in pairwise(snapshots[::24])]
    assert min(days) > 3000
    with pytest.raises(ValueError, match="future"):
        list(house.history(house.now, house.now + HOUR))


def test_clock_stands_or_runs_and_is_never_set_back() -> None:
    """A standing clock is only advanced by calls; a running one follows real time, optionally faster."""
    clock = Clock("2026-06-21T12:00:00+02:00", running=False)
    assert clock.now == NOON == Clock(datetime.fromisoformat("2026-06-21T10:00:00"), running=False).now
    clock.advance(5)
    clock.set(NOON + 60)
    assert clock.now == NOON + 60
    assert clock.local(ZoneInfo("Europe/Amsterdam")).hour == 12
    with pytest.raises(ValueError, match="advances"):
        clock.set(NOON)
    fast = Clock(NOON, speed=1e6)
    first = fast.now
    assert fast.now > first >= NOON


def test_cloud_restores_its_tariff() -> None:
    """Where the cloud owns the tariff, a write is stored, ignored by the controller, and reverted after a while."""
    clock = Clock(NOON, running=False)
    gateway = Gateway(PROFILES["collar"], House.at(PROFILES["collar"], NOON), clock)
    gateway.store_tariff(StorageSettings("backup", 55.0, opt_schedules=True))
    assert (gateway.tariff_settings.mode, gateway.house.settings.mode) == ("backup", "self-consumption")
    gateway.store_tariff(StorageSettings("backup", 55.0, opt_schedules=False))
    assert gateway.house.settings.mode == "backup"
    clock.advance(89)
    assert gateway.house.settings.mode == "backup"
    clock.advance(2)
    assert gateway.house.settings == gateway.tariff_settings == PROFILES["collar"].settings
