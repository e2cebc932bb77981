"""Energy of panels in past days, from the recorder's statistics of their sensors."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import batched
from typing import Final, Literal, NamedTuple

from homeassistant.components.recorder import Recorder
from homeassistant.components.recorder.statistics import StatisticsRow, statistics_during_period
from homeassistant.const import UnitOfEnergy, UnitOfPower
from homeassistant.core import HomeAssistant
from homeassistant.util.unit_conversion import EnergyConverter, PowerConverter

_UNITS: Final = {
    EnergyConverter.UNIT_CLASS: str(UnitOfEnergy.WATT_HOUR),
    PowerConverter.UNIT_CLASS: str(UnitOfPower.WATT),
}
#: Entities whose rows are read at a time: those of a month of 600 panels would need 100 MB.
_BATCH: Final = 50
_HOUR: Final = 3600.0
#: Time before the end of which the rows of an hour may not be compiled yet.
_NOT_COMPILED: Final = timedelta(hours=2)


class _Energy(NamedTuple):
    """Energy in Wh of one row, which begins at a time in seconds since the epoch."""

    start: float
    end: float
    watt_hours: float


async def async_panel_energies(
    hass: HomeAssistant,
    recorder: Recorder,
    sensors: Mapping[str, Sequence[str]],
    starts: Sequence[datetime],
    now: datetime,
) -> dict[str, list[float]]:
    """Return the energy of each panel since each of `starts`, the earliest of which is the first, in Wh.

    `sensors` are the entities of each panel: those of energy first, then those of power. The one with the oldest row
    counts. Panels without any row are left out. Raises one of DATABASE_ERRORS if the statistics cannot be read.
    """
    energies: dict[str, list[float]] = {}
    for panels in batched(sensors.items(), _BATCH, strict=False):
        entity_ids = {entity_id for _, entities in panels for entity_id in entities}
        rows = await recorder.async_add_executor_job(_rows, hass, entity_ids, starts[0], now)
        for serial, entities in panels:
            found = [rows[entity_id] for entity_id in entities if rows.get(entity_id)]
            if oldest := min(found, key=lambda energy: energy[0].start, default=None):
                energies[serial] = [_since(oldest, start.timestamp()) for start in starts]
    return energies


def _since(rows: Iterable[_Energy], start: float) -> float:
    return sum(row.watt_hours for row in rows if row.start >= start)


def _rows(hass: HomeAssistant, entity_ids: set[str], start: datetime, now: datetime) -> dict[str, list[_Energy]]:
    """Return the energy in the rows of each hour, and in the short rows of the hours that are not compiled yet."""
    rows = _read(hass, entity_ids, start, now, "hour")
    for entity_id, short in _read(hass, entity_ids, max(start, now - _NOT_COMPILED), now, "5minute").items():
        hours = rows.setdefault(entity_id, [])
        compiled = hours[-1].end if hours else 0.0
        hours.extend(row for row in short if row.start >= compiled)
    return rows


def _read(
    hass: HomeAssistant, entity_ids: set[str], start: datetime, end: datetime, period: Literal["hour", "5minute"]
) -> dict[str, list[_Energy]]:
    read = statistics_during_period(hass, start, end, entity_ids, period, _UNITS, {"change", "mean"})
    return {entity_id: [*_energies(rows)] for entity_id, rows in read.items()}


def _energies(rows: Iterable[StatisticsRow]) -> Iterable[_Energy]:
    for row in rows:
        hours = (row["end"] - row["start"]) / _HOUR
        change, mean = row.get("change"), row.get("mean")
        if change is not None or mean is not None:
            yield _Energy(row["start"], row["end"], change if change is not None else (mean or 0.0) * hours)
