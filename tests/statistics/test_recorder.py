"""Reading and correcting statistics, with a real recorder on a real database."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
import json
from unittest.mock import AsyncMock, patch

from homeassistant.components.recorder import Recorder, get_instance
from homeassistant.components.recorder.const import EVENT_RECORDER_5MIN_STATISTICS_GENERATED
from homeassistant.components.recorder.db_schema import StatisticsShortTerm
from homeassistant.components.recorder.util import session_scope
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from hypothesis import given, strategies as st
import pytest
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done
from sqlalchemy.exc import OperationalError

from custom_components.enphase_envoy.model.json_data import Json
from custom_components.enphase_envoy.statistics import recorder as module
from custom_components.enphase_envoy.statistics.recorder import (
    Correction,
    PendingCorrections,
    Period,
    async_correct,
    async_last_recorded,
    recorded_change,
    restore_corrections,
)
from tests.helpers.statistics import START, Statistics

SOLAR, GRID = "sensor.solar", "sensor.grid"
PERIODS: tuple[Period, ...] = ("5minute", "hour")
UNITS = pytest.mark.parametrize("unit", ["Wh", "kWh", "MWh"])
WRONG_CLOCKS = pytest.mark.parametrize(
    "wrong_by",
    [timedelta(days=-7300), *(timedelta(seconds=seconds) for seconds in (-4000, 200, 1000, 4000)), timedelta(days=365)],
    ids=str,
)


class Pending:
    """Pending corrections, and the finished ones."""

    def __init__(self, statistics: Statistics, stored: object = None) -> None:
        """Load what was stored, and start checking."""
        self.done: list[Correction] = []
        #: What was saved before a correction was sent to the recorder.
        self.saved: list[list[Json]] = []
        #: Whether nothing can be saved.
        self.is_full = False
        self.reverted: list[Correction] = []
        self.corrections = PendingCorrections(statistics.hass, self._finish, self._save)
        self.corrections.load(stored)
        self.stop = self.corrections.async_start()

    def _finish(self, correction: Correction, is_reversal: bool) -> None:
        (self.reverted if is_reversal else self.done).append(correction)

    async def _save(self) -> bool:
        if self.is_full:
            return False
        self.saved.append(self.corrections.dump())
        return True


@pytest.fixture
async def pending(statistics: Statistics) -> AsyncIterator[Pending]:
    """Pending corrections."""
    pending = Pending(statistics)
    yield pending
    pending.stop()


@pytest.mark.parametrize("invalid", [1e18, True, float("nan"), None, -1.0, 2.6e11, 253_402_300_800, 9e12, -9e12])
def test_a_stored_correction_with_an_invalid_time_is_left_out(invalid: float) -> None:
    assert restore_corrections([{"entity_id": SOLAR, "at": invalid, "watt_hours": -19e6}]) == []


@pytest.mark.parametrize("at", [0, 0.5, 1_750_000_000.25, 4_102_444_800, 250_000_000_000])
async def test_a_stored_correction_of_any_time_of_a_clock_is_restored_and_checked(
    statistics: Statistics, at: float
) -> None:
    """A clock without a battery begins in 1970."""
    stored: Json = {"entity_id": SOLAR, "at": at, "watt_hours": -19e6}
    assert restore_corrections([stored]) == [Correction(SOLAR, at, -19e6)]
    invalid: Json = {"entity_id": SOLAR, "at": 9e12, "watt_hours": -19e6}
    pending = Pending(statistics, [stored, invalid])
    await statistics.row({SOLAR: 65_000_000})
    await statistics.row({SOLAR: 84_000_050}, announce=True)
    await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 50]
    assert pending.corrections.dump() == []
    pending.stop()


@UNITS
async def test_the_last_recorded_state_in_watt_hours(statistics: Statistics, unit: str) -> None:
    statistics.units[SOLAR] = unit
    await statistics.row({SOLAR: 65_000_100})
    await statistics.row({SOLAR: 65_000_150, GRID: 7_000})
    last = await async_last_recorded(statistics.hass, [SOLAR, GRID, "sensor.never"])
    assert last == {
        SOLAR: pytest.approx((65_000_150, START.timestamp() + 600)),
        GRID: pytest.approx((7_000, START.timestamp() + 600)),
    }


async def test_hours_are_read_if_there_are_no_short_rows(statistics: Statistics) -> None:
    for count in range(12):
        await statistics.row({SOLAR: 65_000_000 + count})
    with patch("custom_components.enphase_envoy.statistics.recorder.get_last_short_term_statistics", return_value={}):
        last = await async_last_recorded(statistics.hass, [SOLAR])
    assert last == {SOLAR: pytest.approx((65_000_011, START.timestamp() + 3600))}


async def test_there_is_no_last_state_without_a_recorder(hass: HomeAssistant) -> None:
    assert await async_last_recorded(hass, [SOLAR]) == {}


async def test_there_is_no_last_state_in_a_broken_database(statistics: Statistics) -> None:
    await statistics.row({SOLAR: 65_000_000})
    broken = OperationalError("SELECT", {}, OSError("disk image is malformed"))
    with patch(
        "custom_components.enphase_envoy.statistics.recorder.get_last_short_term_statistics", side_effect=broken
    ):
        assert await async_last_recorded(statistics.hass, [SOLAR]) == {}


@pytest.mark.parametrize(
    "after", [65_000_050, 65_000_000, 64_900_000, 58_500_000, 58_499_999, 12_000_000, 0, 84_000_000, 65e6 + 2**32]
)
async def test_recorded_change_equals_home_assistants(statistics: Statistics, after: float) -> None:
    await statistics.row({SOLAR: 65_000_000})
    await statistics.row({SOLAR: after})
    assert await statistics.changes(SOLAR) == [0, pytest.approx(recorded_change(65_000_000, after))]


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_fall_is_recorded_as_such_or_starts_a_new_cycle(before: float, after: float) -> None:
    assert recorded_change(before, after) in (after, after - before)
    assert recorded_change(before, after) >= -0.1 * before


@pytest.mark.parametrize("row", [0, 5, 10, 11])
@pytest.mark.parametrize(("step", "unit"), [(19e6, "MWh"), (-3e6, "kWh"), (-53e6, "Wh"), (400.0, "MWh")])
async def test_a_permanent_step_is_corrected_in_its_row_only(
    statistics: Statistics, pending: Pending, row: int, step: float, unit: str
) -> None:
    """In any row of the hour: each row of five minutes and each hour contains the actual energy."""
    statistics.units[SOLAR] = unit
    counter = 65_000_000.0
    await statistics.row({SOLAR: counter})
    for number in range(25):
        before, counter = counter, counter + 50
        if number == row:
            counter += step
            at = statistics.now.timestamp() + 15
            pending.corrections.async_add(Correction(SOLAR, at, 50 - recorded_change(before, counter)))
        await statistics.row({SOLAR: counter}, announce=True)
        await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, *[50] * 25]
    assert await statistics.changes(SOLAR, "hour") == [550, 600]
    assert [done.at for done in pending.done] == [(START + timedelta(minutes=5 * (row + 1))).timestamp()]
    assert pending.corrections.dump() == []


async def test_a_correction_of_a_finished_hour_changes_both(
    statistics: Statistics, hass: HomeAssistant, pending: Pending
) -> None:
    for count in range(13):
        await statistics.row({SOLAR: 65_000_000 + 50 * count + (19e6 if count > 5 else 0)})
    pending.corrections.async_add(Correction(SOLAR, (START + timedelta(minutes=25, seconds=20)).timestamp(), -19e6))
    hass.bus.async_fire(EVENT_RECORDER_5MIN_STATISTICS_GENERATED)
    await hass.async_block_till_done()
    await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, *[50] * 12]
    assert await statistics.changes(SOLAR, "hour") == [550]
    assert pending.done == [Correction(SOLAR, (START + timedelta(minutes=30)).timestamp(), -19e6)]


async def test_a_pending_correction_persists_over_a_restart(statistics: Statistics, pending: Pending) -> None:
    await statistics.row({SOLAR: 65_000_000})
    pending.corrections.async_add(Correction(SOLAR, statistics.now.timestamp() + 290, -19e6))
    stored = pending.corrections.dump()
    pending.stop()
    # It was written only after the restart, some rows later.
    await statistics.row({SOLAR: None})
    await statistics.row({SOLAR: None})
    await statistics.row({SOLAR: 84_000_080})
    afterwards = Pending(statistics, [*stored, {"entity_id": 1}, None, "text"])
    assert afterwards.corrections.dump() == stored
    await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 0, 80]
    afterwards.stop()
    pending.corrections.load({"no": "list"})


async def test_a_correction_without_a_row_is_discarded_without_a_warning(
    statistics: Statistics, pending: Pending, caplog: pytest.LogCaptureFixture
) -> None:
    pending.corrections.async_add(
        Correction(SOLAR, START.timestamp(), -19e6), Correction(GRID, START.timestamp(), -19e6)
    )
    for count in range(14):
        await statistics.row({GRID: 7_000 + 50 * count}, announce=True)
        await statistics.apply_corrections()
        assert len(pending.corrections.dump()) == (2 if count < 12 else 0)
    assert pending.done == []
    assert await statistics.changes(GRID) == [0, *[50] * 13]
    ours = [record for record in caplog.records if record.name.startswith("custom_components")]
    assert {record.levelname for record in ours} == {"DEBUG"}


async def test_a_correction_waits_for_late_rows(statistics: Statistics) -> None:
    """After hours in which Home Assistant was not running, the recorder adds the rows that are due."""
    await statistics.row({SOLAR: 65_000_000})
    statistics.freezer.tick(3 * 3600)
    pending = Pending(statistics, [{"entity_id": SOLAR, "at": statistics.now.timestamp() + 15, "watt_hours": -19e6}])
    await statistics.apply_corrections()
    assert len(pending.corrections.dump()) == 1
    await statistics.row({SOLAR: 84_000_050}, announce=True)
    await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 50]
    pending.stop()


async def test_a_state_that_was_written_hours_later_is_corrected(statistics: Statistics) -> None:
    """Home Assistant was stopped before it wrote the state."""
    await statistics.row({SOLAR: 65_000_000})
    stored = {"entity_id": SOLAR, "at": statistics.now.timestamp() - 1, "watt_hours": -19e6}
    statistics.now += timedelta(hours=3)
    statistics.freezer.move_to(statistics.now)
    pending = Pending(statistics, [stored])
    await statistics.apply_corrections()
    await statistics.row({SOLAR: 84_000_050}, announce=True)
    await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 50]
    assert pending.corrections.dump() == []
    pending.stop()


@WRONG_CLOCKS
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("watt_hours", [-19e6, -400.0])
async def test_a_correction_that_was_dated_by_a_wrong_clock_is_applied_once(
    statistics: Statistics, monkeypatch: pytest.MonkeyPatch, wrong_by: timedelta, restarts: bool, watt_hours: float
) -> None:
    await statistics.row({SOLAR: 65_000_000})
    error = wrong_by.total_seconds()
    monkeypatch.setattr(module, "monotonic", lambda: dt_util.utcnow().timestamp() - error)
    statistics.freezer.move_to(statistics.now + timedelta(seconds=15) + wrong_by)
    pending = Pending(statistics)
    pending.corrections.async_add(Correction(SOLAR, dt_util.utcnow().timestamp(), watt_hours))
    error = 0.0
    if restarts:
        pending.stop()
        statistics.freezer.move_to(statistics.now + timedelta(seconds=15))
        pending = Pending(statistics, pending.corrections.dump())
    for count in range(1, 16):
        await statistics.row({SOLAR: 65_000_000 + 50 * count - watt_hours}, announce=True)
        await statistics.apply_corrections()
    pending.stop()
    assert await statistics.changes(SOLAR) == [0, *[50] * 15]
    assert pending.done == [Correction(SOLAR, (START + timedelta(minutes=5)).timestamp(), watt_hours)]
    assert pending.corrections.dump() == []


@WRONG_CLOCKS
@pytest.mark.parametrize("is_applied", [False, True])
async def test_a_correction_that_was_dated_by_a_wrong_clock_does_not_wait_for_ever(
    statistics: Statistics, wrong_by: timedelta, is_applied: bool
) -> None:
    """Its entity is not recorded, or its row was purged."""
    stored: dict[str, Json] = {"entity_id": SOLAR, "at": (START + wrong_by).timestamp(), "watt_hours": -19e6}
    pending = Pending(statistics, [stored | ({"recorded": 19_000_050.0} if is_applied else {})])
    for count in range(14):
        await statistics.row({GRID: 7_000 + 50 * count}, announce=True)
        await statistics.apply_corrections()
        assert len(pending.corrections.dump()) == (1 if count < 12 else 0)
    pending.stop()
    assert pending.done == []


async def test_nothing_is_corrected_after_the_stop(statistics: Statistics, pending: Pending) -> None:
    pending.corrections.async_add(Correction(SOLAR, START.timestamp() + 310, -19e6))
    await statistics.row({SOLAR: 65_000_000})
    await statistics.row({SOLAR: 84_000_000}, announce=True)
    pending.stop()
    await statistics.apply_corrections()
    assert pending.done == []
    assert await statistics.changes(SOLAR) == [0, 19_000_000]


@pytest.mark.parametrize("watt_hours", [-19e6, -400.0])
@pytest.mark.parametrize("is_applied", [True, False], ids=["after", "before"])
async def test_a_power_failure_while_a_correction_is_applied(
    statistics: Statistics, pending: Pending, watt_hours: float, is_applied: bool
) -> None:
    """The power fails before or after the recorder has corrected the row, and before that is stored."""
    pending.corrections.async_add(Correction(SOLAR, START.timestamp() + 310, watt_hours))
    await statistics.row({SOLAR: 65_000_000})
    await statistics.row({SOLAR: 65_000_050 - watt_hours}, announce=True)
    if not is_applied:
        with patch.object(module, "async_correct"):
            await statistics.apply_corrections()
    else:
        await statistics.apply_corrections()
    pending.stop()
    assert len(pending.saved) == 1
    for _ in range(3):
        afterwards = Pending(statistics, pending.saved[-1])
        await statistics.apply_corrections()
        await statistics.apply_corrections()
        assert await statistics.changes(SOLAR) == [0, 50]
        assert [done.watt_hours for done in afterwards.done] == [watt_hours]
        assert afterwards.corrections.dump() == []
        afterwards.stop()


@pytest.mark.parametrize("is_applied", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("amounts", [(-400.0, -300.0), (-300.0, -400.0), (-19e6, -400.0), (-400.0, -19e6)])
async def test_a_power_failure_after_the_first_of_two_corrections_of_a_row(
    statistics: Statistics, pending: Pending, amounts: tuple[float, float], is_applied: bool
) -> None:
    """The recorder is slow: whether it applied the first is not known when it is the second one's turn."""
    corrections = [Correction(SOLAR, START.timestamp() + 310, watt_hours) for watt_hours in amounts]
    pending.corrections.async_add(*corrections)
    await statistics.row({SOLAR: 65_000_000})
    await statistics.row({SOLAR: 65_000_050 - sum(amounts)}, announce=True)
    sent: list[float] = []

    def only_first(recorder: Recorder, correction: Correction) -> None:
        sent.append(correction.watt_hours)
        if is_applied and len(sent) == 1:
            async_correct(recorder, correction)

    with (
        patch.object(module, "async_correct", only_first),
        patch.object(module, "async_queue_done", AsyncMock(return_value=False)),
    ):
        await statistics.apply_corrections()
    pending.stop()
    afterwards = Pending(statistics, pending.saved[-1])
    for _ in range(3):
        await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 50]
    assert sorted(done.watt_hours for done in afterwards.done) == sorted(amounts)
    assert afterwards.corrections.dump() == []
    afterwards.stop()


async def test_a_correction_is_not_kept_back_by_one_of_another_entity(statistics: Statistics, pending: Pending) -> None:
    """Nor, once that is verified, by one of another row."""
    first = START.timestamp() + 310
    pending.corrections.async_add(Correction(SOLAR, first, -400.0), Correction(GRID, first, -300.0))
    pending.corrections.async_add(Correction(SOLAR, first + 300, -200.0))
    await statistics.row({SOLAR: 65_000_000, GRID: 7_000})
    await statistics.row({SOLAR: 65_000_450, GRID: 7_350})
    await statistics.row({SOLAR: 65_000_700, GRID: 7_400}, announce=True)
    await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 50, 50]
    assert await statistics.changes(GRID) == [0, 50, 50]
    assert pending.corrections.dump() == []


async def test_a_correction_whose_row_was_purged_meanwhile_is_not_applied_again(
    statistics: Statistics, hass: HomeAssistant
) -> None:
    stored: dict[str, Json] = {"entity_id": SOLAR, "at": START.timestamp(), "watt_hours": -19e6, "recorded": 19e6}
    pending = Pending(statistics, [stored])
    await statistics.apply_corrections()
    assert pending.corrections.dump() == [stored | {"period": "5minute"}], "the database may be readable later"
    statistics.freezer.tick(2 * 3600)
    hass.bus.async_fire(EVENT_RECORDER_5MIN_STATISTICS_GENERATED)
    await hass.async_block_till_done()
    await statistics.apply_corrections()
    assert pending.corrections.dump() == []
    assert pending.done == []
    pending.stop()


def delete_short_rows(statistics: Statistics) -> None:
    """Delete all rows of five minutes, as the recorder does after some days."""
    with session_scope(session=get_instance(statistics.hass).get_session()) as session:
        session.query(StatisticsShortTerm).delete()


@pytest.mark.parametrize("watt_hours", [-19e6, -400.0])
@pytest.mark.parametrize("is_applied", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("period", PERIODS)
async def test_a_correction_is_reverted_once_also_after_a_power_failure(
    statistics: Statistics, pending: Pending, period: Period, watt_hours: float, is_applied: bool
) -> None:
    """Immediately or after days, when only the hours are left; the power fails before or after it was applied."""
    correction = Correction(SOLAR, START.timestamp() + 300, watt_hours)
    for step in (0.0, *[-watt_hours] * 12):
        await statistics.row({SOLAR: 65_000_000 + step})
    async_correct(get_instance(statistics.hass), correction)
    await async_wait_recording_done(statistics.hass)
    if period == "hour":
        delete_short_rows(statistics)
    assert (await statistics.changes(SOLAR, period))[:2] == [0, 0][: 1 if period == "hour" else 2]
    pending.corrections.async_revert(correction)
    if is_applied:
        await statistics.apply_corrections()
    else:
        with patch.object(module, "async_correct"):
            await statistics.apply_corrections()
    pending.stop()
    assert len(pending.saved) == 1
    for _ in range(3):
        afterwards = Pending(statistics, json.loads(json.dumps(pending.saved[-1])))
        for _ in range(2):
            await statistics.apply_corrections()
        changes = await statistics.changes(SOLAR, period)
        assert changes == ([-watt_hours] if period == "hour" else [0, -watt_hours, *[0] * 11])
        assert afterwards.corrections.dump() == []
        assert afterwards.reverted == [replace(correction, watt_hours=-watt_hours)]
        assert afterwards.done == [], "a reversal is not reported"
        afterwards.stop()


async def test_a_reversal_that_waits_is_stored(statistics: Statistics, pending: Pending) -> None:
    correction = Correction(SOLAR, START.timestamp() + 300, -19e6)
    for step in (0.0, 19e6):
        await statistics.row({SOLAR: 65_000_000 + step})
    async_correct(get_instance(statistics.hass), correction)
    await async_wait_recording_done(statistics.hass)
    pending.corrections.async_revert(correction)
    pending.stop()
    afterwards = Pending(statistics, json.loads(json.dumps(pending.corrections.dump())))
    await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 19_000_000]
    afterwards.stop()


@pytest.mark.parametrize("watt_hours", [-19e6, -400.0])
async def test_a_full_disk_delays_what_could_be_applied_twice(
    statistics: Statistics, pending: Pending, watt_hours: float
) -> None:
    """A large correction is not applied again after a restart, a small one might be: it waits."""
    pending.is_full = True
    pending.corrections.async_add(Correction(SOLAR, START.timestamp() + 310, watt_hours))
    await statistics.row({SOLAR: 65_000_000})
    await statistics.row({SOLAR: 65_000_050 - watt_hours}, announce=True)
    await statistics.apply_corrections()
    is_large = watt_hours == -19e6
    for _ in range(14):
        assert (await statistics.changes(SOLAR))[:2] == [0, 50 if is_large else 50 - watt_hours]
        await statistics.row({SOLAR: 65_000_050 - watt_hours}, announce=True)
        await statistics.apply_corrections()
    pending.is_full = False
    await statistics.row({SOLAR: 65_000_050 - watt_hours}, announce=True)
    await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 50, *[0] * 15]
    assert [done.watt_hours for done in pending.done] == [watt_hours]


async def test_a_correction_waits_until_a_full_disk_has_room(statistics: Statistics, pending: Pending) -> None:
    """After a restart it is found again, and applied once."""
    pending.is_full = True
    pending.corrections.async_add(Correction(SOLAR, START.timestamp() + 310, -400.0))
    await statistics.row({SOLAR: 65_000_000})
    await statistics.row({SOLAR: 65_000_450}, announce=True)
    await statistics.apply_corrections()
    assert pending.corrections.dump() == [{"entity_id": SOLAR, "at": START.timestamp() + 310, "watt_hours": -400.0}], (
        "it was not applied"
    )
    pending.is_full = False
    await statistics.row({SOLAR: 65_000_500}, announce=True)
    await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 50, 50]
    assert len(pending.saved) == 1


async def test_a_correction_waits_for_a_database_that_cannot_be_read(
    statistics: Statistics, pending: Pending, caplog: pytest.LogCaptureFixture
) -> None:
    """Its server may be down for hours."""
    pending.corrections.async_add(Correction(SOLAR, START.timestamp() + 310, -19e6))
    await statistics.row({SOLAR: 65_000_000})
    await statistics.row({SOLAR: 84_000_050})
    error = OperationalError("select", {}, Exception("gone"))
    with patch.object(module, "statistics_during_period", side_effect=error):
        for _ in range(3):
            statistics.freezer.tick(2 * 3600)
            statistics.hass.bus.async_fire(EVENT_RECORDER_5MIN_STATISTICS_GENERATED)
            await statistics.hass.async_block_till_done()
            await statistics.apply_corrections()
    assert "cannot be read (OperationalError)" in caplog.text
    statistics.hass.bus.async_fire(EVENT_RECORDER_5MIN_STATISTICS_GENERATED)
    await statistics.hass.async_block_till_done()
    await statistics.apply_corrections()
    assert await statistics.changes(SOLAR) == [0, 50]
