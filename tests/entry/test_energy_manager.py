"""The energy manager of an entry, in a running Home Assistant."""

from dataclasses import asdict, replace
from datetime import datetime, timedelta
import json
from typing import Any

from freezegun.api import FrozenDateTimeFactory
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er, issue_registry as ir
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.common import async_fire_time_changed

from custom_components.enphase_envoy import issues
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.energy.counter import Step, StepCause
from custom_components.enphase_envoy.energy.counter_filter import CounterFilter
from custom_components.enphase_envoy.energy_manager import _Report, _reports
from custom_components.enphase_envoy.model.snapshot import Address
from custom_components.enphase_envoy.statistics.entities import async_counter_entities
from custom_components.enphase_envoy.statistics.recorder import Correction, restore_corrections
from custom_components.enphase_envoy.storage import COUNTERS
from tests.helpers.integration import NOON, Installation, SetUp
from tests.simulator.counter_faults import TodayIsLifetime, TodayNotReset, TodayResetsAbove, Zeros

EVENING = datetime.fromisoformat("2026-06-21T23:57:00+02:00")


@pytest.fixture(autouse=True)
async def _time_zone_of_the_installation(hass: HomeAssistant) -> None:
    await hass.config.async_set_time_zone("Europe/Amsterdam")


def value(installation: Installation, key: str) -> float:
    """Return the state of a sensor of the gateway in Wh."""
    entity_id = er.async_get(installation.hass).async_get_entity_id(
        "sensor", DOMAIN, f"{installation.gateway.serial}_{key}"
    )
    state = installation.hass.states.get(entity_id or "")
    assert state, key
    return float(state.state) * {"Wh": 1, "kWh": 1e3, "MWh": 1e6}[state.attributes["unit_of_measurement"]]


async def minute(installation: Installation, freezer: FrozenDateTimeFactory) -> None:
    """Advance the clocks by a minute, and poll."""
    installation.gateway.clock.advance(60)
    freezer.tick(60)
    await installation.poll()


async def test_wrong_readings_are_not_published_even_after_a_restart(
    hass: HomeAssistant, set_up: SetUp, freezer: FrozenDateTimeFactory
) -> None:
    freezer.move_to(datetime.fromisoformat(NOON))
    installation = await set_up("metered_1phase")
    before = {
        key: value(installation, key) for key in ("lifetime_production", "lifetime_net_consumption", "daily_production")
    }
    with installation.gateway.fault("*", Zeros()):
        await installation.poll_all()
        assert {key: value(installation, key) for key in before} == before
        await hass.config_entries.async_reload(installation.entry.entry_id)
        await hass.async_block_till_done()
        assert {key: value(installation, key) for key in before} == before
    await minute(installation, freezer)
    assert value(installation, "lifetime_production") == pytest.approx(
        installation.gateway.house.total("production"), abs=2
    )


@pytest.mark.parametrize(
    "fault",
    [None, TodayNotReset(), TodayNotReset(240), TodayResetsAbove(), TodayIsLifetime()],
    ids=["none", "not_reset", "not_reset_240", "resets_above", "is_lifetime"],
)
async def test_the_day_begins_at_midnight_despite_faults_of_the_gateway(
    hass: HomeAssistant, set_up: SetUp, freezer: FrozenDateTimeFactory, fault: Any
) -> None:
    freezer.move_to(datetime.fromisoformat(NOON))
    installation = await set_up("metered_1phase")
    installation.gateway.clock.advance((EVENING - datetime.fromisoformat(NOON)).total_seconds())
    freezer.move_to(EVENING)
    await installation.poll()
    yesterday = value(installation, "daily_consumption")
    assert yesterday > 1000
    if fault:
        installation.gateway.faults.add("*", fault)
    await minute(installation, freezer)
    await minute(installation, freezer)
    # The next poll is after midnight: the clock alone resets the daily energy.
    freezer.move_to(EVENING + timedelta(minutes=3))
    async_fire_time_changed(hass, dt_util.utcnow())
    await hass.async_block_till_done(wait_background_tasks=True)
    assert value(installation, "daily_consumption") == 0
    first, last = installation.gateway.house.total("load"), 0.0
    for _ in range(10):
        await minute(installation, freezer)
        today, actual = value(installation, "daily_consumption"), installation.gateway.house.today("load")
        # The energy of the poll that spans midnight is divided in proportion to time.
        assert last <= today == pytest.approx(actual, abs=10)
        last = today
    assert last <= installation.gateway.house.total("load") - first + 10


def test_reports_of_steps_are_restored() -> None:
    """Also those of the previous version, which stored only the values of a counter before and after the step."""
    correction = Correction("sensor.solar", 1_750_000_000.0, -5000.0)
    report = _Report(65e6, 12e3, 1800.0, "system_production/watt_hours_lifetime", correction)
    stored = json.loads(json.dumps({"sensor.solar": report.dump(), "sensor.grid": [5.0, 7.0], "sensor.other": [1]}))
    assert _reports(stored) == {"sensor.solar": report, "sensor.grid": _Report(5.0, 7.0, 0.0)}


@pytest.mark.parametrize("at", [-1.0, 2.6e11, 9e12])
def test_a_report_of_a_correction_at_an_impossible_time_is_restored_without_it(at: float) -> None:
    report = _Report(65e6, 12e3, 1800.0, "system_production/watt_hours_lifetime", Correction("sensor.solar", at, -5.0))
    assert _reports({"sensor.solar": report.dump()}) == {"sensor.solar": replace(report, correction=None)}


@pytest.mark.parametrize(
    ("address", "after", "correction"),
    [
        # Statistics of a counter that only increases record a fall below nine tenths as a new meter cycle.
        (("system_production",), 5_000.0, 10.0 - 5_000.0),
        # Those of a net counter record every change.
        (("system_net_consumption",), 5_000.0, 10.0 + 95_000.0),
    ],
)
async def test_step_is_corrected_by_the_change_in_its_statistics(
    set_up: SetUp,
    entity_registry_enabled_by_default: None,
    address: tuple[str, ...],
    after: float,
    correction: float,
) -> None:
    installation = await set_up("metered_1phase")
    manager = installation.coordinator.energy_manager
    counter = (address, "watt_hours_lifetime")
    entity = async_counter_entities(installation.hass, installation.coordinator.data)[counter]
    step = Step(StepCause.LASTING, 100_000.0, after, gained=10.0, due=10.0, since=1.0)
    manager._correct(counter, step, entity, 2.0)
    pending = [each for each in restore_corrections(manager._corrections.dump()) if each.entity_id == entity]
    assert [each.watt_hours for each in pending] == [correction]
    manager._corrections._pending.clear()


@pytest.mark.parametrize("since", [-1e18, -1.0, 2.6e11, 1e18])
async def test_a_step_since_an_impossible_time_is_corrected_now(set_up: SetUp, since: float) -> None:
    """The stored state of the counter was damaged; such a time can't be read from the database."""
    installation = await set_up("metered_1phase")
    manager, now = installation.coordinator.energy_manager, 1_750_000_100.0
    counter = (("system_production",), "watt_hours_lifetime")
    entity = async_counter_entities(installation.hass, installation.coordinator.data)[counter]
    manager._correct(counter, Step(StepCause.TAKEN_BACK, 10_000.0, 5_010.0, 0.0, -4_990.0, since), entity, now)
    pending = restore_corrections(manager._corrections.dump())
    assert {each.at for each in pending} == {now}
    manager._corrections._pending.clear()


async def test_the_issue_about_a_step_is_deleted_when_the_step_is_taken_back(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    """Not those about earlier steps of the same counter, or about steps of others."""
    installation = await set_up("metered_1phase")
    manager, entry, since = installation.coordinator.energy_manager, installation.entry, 1_750_000_100.0
    counter = (("system_production",), "watt_hours_lifetime")
    entity = async_counter_entities(hass, installation.coordinator.data)[counter]
    # Each has the start of its row, which may be before the step.
    reported = [(entity, since - 86_400), (entity, since - 100), (entity, since + 200), ("sensor.other", since - 100)]
    for entity_id, at in reported:
        issues.async_report_step(hass, entry, asdict(Correction(entity_id, at, -5000.0)), 5_000.0, 10_000.0)

    def left() -> list[tuple[Any, Any]]:
        kept = [each.data for (_, name), each in ir.async_get(hass).issues.items() if name.startswith("counter_step")]
        return [(data["entity_id"], data["at"]) for data in kept if data]

    manager._correct(counter, Step(StepCause.LASTING, 5_000.0, 10_000.0, 0.0, since=since), entity, since)
    assert left() == reported
    manager._correct(counter, Step(StepCause.TAKEN_BACK, 10_000.0, 5_010.0, 10.0, 10.0, since), entity, since + 7200)
    assert left() == [reported[0], reported[3]]
    manager._corrections._pending.clear()


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_step_is_stored_at_once(
    hass: HomeAssistant,
    set_up: SetUp,
    hass_storage: dict[str, Any],
    freezer: FrozenDateTimeFactory,
    monkeypatch: pytest.MonkeyPatch,
    restarts: bool,
) -> None:
    """With its correction, also if it is found when the entry is set up; without one, a poll stores nothing."""
    freezer.move_to(datetime.fromisoformat(NOON))
    installation = await set_up("metered_1phase")
    counter: tuple[Address, str] = (("system_production",), "watt_hours_lifetime")
    entity = async_counter_entities(hass, installation.coordinator.data)[counter]
    steps = {counter: Step(StepCause.LASTING, 5_000.0, 10_000.0, 0.0, since=dt_util.utcnow().timestamp())}
    key, process = f"{DOMAIN}.{installation.entry.entry_id}.{COUNTERS}", CounterFilter.process

    def with_step(counters: CounterFilter, *args: Any) -> Any:
        result = process(counters, *args)
        counters.steps = dict(steps)
        steps.clear()
        return result

    async def stored() -> dict[str, Any] | None:
        async_fire_time_changed(hass, dt_util.utcnow())
        await hass.async_block_till_done()
        saved: dict[str, Any] | None = hass_storage.pop(key, None)
        return saved

    if restarts:
        assert await hass.config_entries.async_unload(installation.entry.entry_id)
        assert await stored()
        monkeypatch.setattr(CounterFilter, "process", with_step)
        assert await hass.config_entries.async_setup(installation.entry.entry_id)
    else:
        await installation.poll()
        assert await stored() is None
        monkeypatch.setattr(CounterFilter, "process", with_step)
        await installation.poll()
    assert not steps
    saved = await stored()
    assert saved
    corrections, reports = saved["data"]["corrections"], saved["data"]["reports"]
    assert [(each["entity_id"], each["watt_hours"]) for each in corrections] == [(entity, -5_000.0)]
    assert list(reports) == [entity]
    await installation.poll()
    assert await stored() is None


async def test_a_step_is_reported_after_three_quarters_of_an_hour(
    hass: HomeAssistant, set_up: SetUp, freezer: FrozenDateTimeFactory
) -> None:
    """Also the first one: the time before it does not count."""
    installation = await set_up("metered_1phase")
    manager = installation.coordinator.energy_manager
    counter = (("system_production",), "watt_hours_lifetime")
    entity = async_counter_entities(hass, installation.coordinator.data)[counter]
    freezer.tick(7200)
    await installation.poll()
    now = dt_util.utcnow().timestamp()
    manager._correct(counter, Step(StepCause.LASTING, 5_000.0, 10_000.0, 0.0, since=now), entity, now)
    manager._reports[entity].correction = Correction(entity, now, -5000.0)
    for _ in range(44):
        freezer.tick(60)
        await installation.poll()
    assert not ir.async_get(hass).issues
    freezer.tick(61)
    await installation.poll()
    assert [issue.translation_key for issue in ir.async_get(hass).issues.values()] == ["counter_step"]
    manager._corrections._pending.clear()
