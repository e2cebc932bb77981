"""Home Assistant's recorder with a frozen clock: states are written and compiled into rows of statistics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.recorder import get_instance
from homeassistant.components.recorder.statistics import StatisticsRow, statistics_during_period
from homeassistant.components.recorder.tasks import StatisticsTask
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from homeassistant.util.unit_conversion import EnergyConverter
from pytest_homeassistant_custom_component.common import async_fire_time_changed
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

START: Final = datetime(2026, 6, 21, 10, tzinfo=dt_util.UTC)
ROW: Final = timedelta(minutes=5)

type Period = Literal["5minute", "hour"]
type Field = Literal["change", "last_reset", "max", "mean", "min", "state", "sum"]


@dataclass
class Statistics:
    """Records states and compiles statistics while a frozen clock moves from row to row."""

    hass: HomeAssistant
    freezer: FrozenDateTimeFactory
    #: Start of the row that is being written.
    now: datetime = START
    units: dict[str, str] = field(default_factory=dict)

    async def row(self, *moments: Mapping[str, float | None], announce: bool = False) -> None:
        """Record states in Wh, one after another in one row, and compile the row."""
        for number, states in enumerate(moments):
            self.freezer.move_to(self.now + timedelta(seconds=15 + 60 * number))
            for entity_id, watt_hours in states.items():
                self.write(entity_id, watt_hours)
        self.freezer.move_to(self.now + ROW + timedelta(seconds=10))
        await self.compile(self.now, announce=announce)
        self.now += ROW

    async def compile(self, start: datetime, *, announce: bool = False) -> None:
        """Compile the row that starts then; with `announce` fire the recorder's event."""
        await async_wait_recording_done(self.hass)
        get_instance(self.hass).queue_task(StatisticsTask(start, announce))
        await async_wait_recording_done(self.hass)

    async def apply_corrections(self) -> None:
        """Let the seconds pass until the component has checked an announced row and corrected it."""
        async_fire_time_changed(self.hass, dt_util.utcnow() + timedelta(seconds=11))
        await self.hass.async_block_till_done(wait_background_tasks=True)
        await async_wait_recording_done(self.hass)

    def write(self, entity_id: str, watt_hours: float | None) -> None:
        """Write a state as an entity would, in its unit; None is unavailable."""
        unit = self.units.get(entity_id, "MWh")
        state = None if watt_hours is None else EnergyConverter.convert(watt_hours, "Wh", unit)
        self.hass.states.async_set(
            entity_id,
            STATE_UNAVAILABLE if state is None else str(state),
            {"state_class": "total_increasing", "device_class": "energy", "unit_of_measurement": unit},
        )

    async def changes(self, entity_id: str, period: Period = "5minute") -> list[float]:
        """Return the change of each row in Wh, rounded to a thousandth."""
        rows = await self.rows({entity_id}, {"change"}, period)
        return [round(row["change"] or 0.0, 3) for row in rows.get(entity_id, [])]

    async def rows(
        self, entity_ids: set[str] | None, fields: set[Field], period: Period = "5minute"
    ) -> dict[str, list[StatisticsRow]]:
        """Return fields of the rows of some entities, or of all, in Wh."""
        return await get_instance(self.hass).async_add_executor_job(
            statistics_during_period,
            *(self.hass, START - timedelta(days=4000), None, entity_ids, period, {"energy": "Wh"}, fields),
        )
