"""What the recorder knows of counters, and what it makes of corrections: a real recorder on a real database."""

from collections.abc import AsyncIterator
from datetime import timedelta
from unittest.mock import patch

from homeassistant.core import HomeAssistant
from hypothesis import given, strategies as st
import pytest
from sqlalchemy.exc import OperationalError

from custom_components.enphase_envoy.statistics.recorder import (
    Correction,
    PendingCorrections,
    async_last_recorded,
    recorded_change,
    restore_corrections,
)
from tests.helpers.statistics import START, Statistics

SOLAR, GRID = "sensor.solar", "sensor.grid"
UNITS = pytest.mark.parametrize("unit", ["Wh", "kWh", "MWh"])


class Waiting:
    """Corrections that are asked for, and what came of them."""

    def __init__(self, statistics: Statistics) -> None:
        """Begin to look."""
        self.done: list[Correction] = []
        self.corrections = PendingCorrections(statistics.hass, self.done.append)
        self.stop = self.corrections.async_start()


@pytest.fixture
async def waiting(statistics: Statistics) -> AsyncIterator[Waiting]:
    """Corrections that wait."""
    waiting = Waiting(statistics)
    yield waiting
    waiting.stop()


@pytest.mark.parametrize("odd", [1e18, True, float("nan"), None])
def test_a_remembered_correction_of_no_time_is_left_out(odd: float) -> None:
    assert restore_corrections([{"entity_id": SOLAR, "at": odd, "watt_hours": -19e6}]) == []


@UNITS
async def test_what_was_recorded_last_is_known_in_watt_hours(statistics: Statistics, unit: str) -> None:
    statistics.units[SOLAR] = unit
    await statistics.row({SOLAR: 65_000_100})
    await statistics.row({SOLAR: 65_000_150, GRID: 7_000})
    last = await async_last_recorded(statistics.hass, [SOLAR, GRID, "sensor.never"])
    assert last == {
        SOLAR: pytest.approx((65_000_150, START.timestamp() + 600)),
        GRID: pytest.approx((7_000, START.timestamp() + 600)),
    }


async def test_hours_are_known_when_the_short_rows_are_gone(statistics: Statistics) -> None:
    for count in range(12):
        await statistics.row({SOLAR: 65_000_000 + count})
    with patch("custom_components.enphase_envoy.statistics.recorder.get_last_short_term_statistics", return_value={}):
        last = await async_last_recorded(statistics.hass, [SOLAR])
    assert last == {SOLAR: pytest.approx((65_000_011, START.timestamp() + 3600))}


async def test_nothing_is_known_without_a_recorder(hass: HomeAssistant) -> None:
    assert await async_last_recorded(hass, [SOLAR]) == {}


async def test_nothing_is_known_of_a_broken_database(statistics: Statistics) -> None:
    await statistics.row({SOLAR: 65_000_000})
    broken = OperationalError("SELECT", {}, OSError("disk image is malformed"))
    with patch(
        "custom_components.enphase_envoy.statistics.recorder.get_last_short_term_statistics", side_effect=broken
    ):
        assert await async_last_recorded(statistics.hass, [SOLAR]) == {}


@pytest.mark.parametrize(
    "after", [65_000_050, 65_000_000, 64_900_000, 58_500_000, 58_499_999, 12_000_000, 0, 84_000_000, 65e6 + 2**32]
)
async def test_home_assistant_books_as_we_think_it_does(statistics: Statistics, after: float) -> None:
    await statistics.row({SOLAR: 65_000_000})
    await statistics.row({SOLAR: after})
    assert await statistics.changes(SOLAR) == [0, pytest.approx(recorded_change(65_000_000, after))]


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_fall_books_little_or_a_new_cycle(before: float, after: float) -> None:
    assert recorded_change(before, after) in (after, after - before)
    assert recorded_change(before, after) >= -0.1 * before


@pytest.mark.parametrize("row", [0, 5, 10, 11])
@pytest.mark.parametrize(("step", "unit"), [(19e6, "MWh"), (-3e6, "kWh"), (-53e6, "Wh"), (400.0, "MWh")])
async def test_a_lasting_step_is_corrected_in_its_row_alone(
    statistics: Statistics, waiting: Waiting, row: int, step: float, unit: str
) -> None:
    """Whichever row of the hour it is in: each five minutes and each hour holds what truly flowed."""
    statistics.units[SOLAR] = unit
    counter = 65_000_000.0
    await statistics.row({SOLAR: counter})
    for number in range(25):
        before, counter = counter, counter + 50
        if number == row:
            counter += step
            at = statistics.now.timestamp() + 15
            waiting.corrections.async_add(Correction(SOLAR, at, 50 - recorded_change(before, counter)))
        await statistics.row({SOLAR: counter}, tell=True)
        await statistics.look()
    assert await statistics.changes(SOLAR) == [0, *[50] * 25]
    assert await statistics.changes(SOLAR, "hour") == [550, 600]
    assert [done.at for done in waiting.done] == [(START + timedelta(minutes=5 * (row + 1))).timestamp()]
    assert waiting.corrections.dump() == []


async def test_a_correction_after_the_hour_is_made_changes_both(statistics: Statistics, waiting: Waiting) -> None:
    for count in range(13):
        await statistics.row({SOLAR: 65_000_000 + 50 * count + (19e6 if count > 5 else 0)})
    waiting.corrections.async_add(Correction(SOLAR, (START + timedelta(minutes=25, seconds=20)).timestamp(), -19e6))
    waiting.stop()
    waiting.corrections.async_start()
    await statistics.look()
    assert await statistics.changes(SOLAR) == [0, *[50] * 12]
    assert await statistics.changes(SOLAR, "hour") == [550]
    assert waiting.done == [Correction(SOLAR, (START + timedelta(minutes=30)).timestamp(), -19e6)]


async def test_a_correction_that_waits_outlasts_a_restart(statistics: Statistics, waiting: Waiting) -> None:
    await statistics.row({SOLAR: 65_000_000})
    waiting.corrections.async_add(Correction(SOLAR, statistics.now.timestamp() + 290, -19e6))
    remembered = waiting.corrections.dump()
    waiting.stop()
    # It was written only after the restart, some rows later.
    await statistics.row({SOLAR: None})
    await statistics.row({SOLAR: None})
    await statistics.row({SOLAR: 84_000_080})
    afterwards = Waiting(statistics)
    afterwards.corrections.load([*remembered, {"entity_id": 1}, None, "text"])
    assert afterwards.corrections.dump() == remembered
    afterwards.stop()
    afterwards.corrections.async_start()
    await statistics.look()
    assert await statistics.changes(SOLAR) == [0, 0, 80]
    afterwards.stop()
    waiting.corrections.load({"no": "list"})


async def test_what_is_not_recorded_is_given_up_quietly(
    statistics: Statistics, waiting: Waiting, caplog: pytest.LogCaptureFixture
) -> None:
    waiting.corrections.async_add(
        Correction(SOLAR, START.timestamp(), -19e6), Correction(GRID, START.timestamp(), -19e6)
    )
    for count in range(14):
        await statistics.row({GRID: 7_000 + 50 * count}, tell=True)
        await statistics.look()
        assert len(waiting.corrections.dump()) == (2 if count < 12 else 0)
    assert waiting.done == []
    assert await statistics.changes(GRID) == [0, *[50] * 13]
    ours = [record for record in caplog.records if record.name.startswith("custom_components")]
    assert {record.levelname for record in ours} == {"DEBUG"}


async def test_rows_that_are_made_late_are_waited_for(statistics: Statistics, waiting: Waiting) -> None:
    """After hours in which Home Assistant was off, the recorder makes up for rows that are due."""
    waiting.stop()
    await statistics.row({SOLAR: 65_000_000})
    statistics.freezer.tick(3 * 3600)
    waiting.corrections.load([{"entity_id": SOLAR, "at": statistics.now.timestamp() + 15, "watt_hours": -19e6}])
    waiting.corrections.async_start()
    await statistics.look()
    assert len(waiting.corrections.dump()) == 1
    await statistics.row({SOLAR: 84_000_050}, tell=True)
    await statistics.look()
    assert await statistics.changes(SOLAR) == [0, 50]


async def test_nothing_is_corrected_after_the_end(statistics: Statistics, waiting: Waiting) -> None:
    waiting.corrections.async_add(Correction(SOLAR, START.timestamp() + 310, -19e6))
    await statistics.row({SOLAR: 65_000_000})
    await statistics.row({SOLAR: 84_000_000}, tell=True)
    waiting.stop()
    await statistics.look()
    assert waiting.done == []
    assert await statistics.changes(SOLAR) == [0, 19_000_000]
