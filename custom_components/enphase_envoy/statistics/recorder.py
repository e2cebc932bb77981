"""What the recorder knows of our counters, and how it is told that it booked too much. Energy is in Wh throughout.

The recorder keeps rows of five minutes for some days, and of an hour for ever. Each holds the state at its end and a
sum that only grows; the energy of a row is what the sum grew by.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from homeassistant.components.recorder import Recorder
from homeassistant.components.recorder.const import EVENT_RECORDER_5MIN_STATISTICS_GENERATED
from homeassistant.components.recorder.models import StatisticMetaData
from homeassistant.components.recorder.statistics import (
    get_last_short_term_statistics,
    get_last_statistics,
    get_metadata,
    statistics_during_period,
)
from homeassistant.const import UnitOfEnergy
from homeassistant.core import CALLBACK_TYPE, Event, HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.event import async_call_later
from homeassistant.helpers.recorder import DATA_INSTANCE
from homeassistant.util import dt as dt_util
from homeassistant.util.unit_conversion import EnergyConverter
from sqlalchemy.exc import SQLAlchemyError

from ..const import LOGGER
from ..model.json_data import Json
from ..model.validation import is_number
from .spikes import WINDOW, Spike, StatisticsRow, find_spikes, recorded_changes

#: What the recorder raises about a database that can't be read.
DATABASE_ERRORS: Final = (SQLAlchemyError, HomeAssistantError, OSError, RuntimeError)

_IN_WATT_HOURS: Final = {EnergyConverter.UNIT_CLASS: str(UnitOfEnergy.WATT_HOUR)}
#: Seconds of a short row.
ROW: Final = 300
_BEGINNING: Final = dt_util.utc_from_timestamp(0)
#: How much is read after what is looked for.
_AROUND: Final = timedelta(seconds=WINDOW)
#: Seconds from the recorder's word that a row is made until it surely lies in the database.
_COMMITTED_AFTER: Final = 10
#: Seconds in which what was booked has to show up in a row.
_PATIENCE: Final = 3600
#: Watt-hours from which on a row that holds a jump is told from one that does not by the jump.
_TELLING: Final = 10_000.0
#: Seconds since the epoch, in the year 5138: no correction is of a later time.
_NEVER: Final = 1e11
#: Share of a jump that a row holds at least which holds that jump.
_MOST: Final = 0.5


@callback
def async_recorder(hass: HomeAssistant) -> Recorder | None:
    """Return the recorder, None where Home Assistant runs without one."""
    return hass.data.get(DATA_INSTANCE)


async def async_last_recorded(hass: HomeAssistant, entity_ids: Collection[str]) -> dict[str, tuple[float, float]]:
    """Return the last recorded state in Wh, and the second since the epoch it is of, of each entity that has one."""
    if not entity_ids or (recorder := async_recorder(hass)) is None:
        return {}
    try:
        return await recorder.async_add_executor_job(_last_recorded, hass, sorted(entity_ids))
    except DATABASE_ERRORS as err:
        LOGGER.warning("What was recorded last can't be read (%s)", type(err).__name__)
        return {}


def _last_recorded(hass: HomeAssistant, entity_ids: Sequence[str]) -> dict[str, tuple[float, float]]:
    last = {}
    for entity_id, (_, metadata) in get_metadata(hass, statistic_ids=set(entity_ids)).items():
        if not is_energy(metadata):
            continue
        for read in (get_last_short_term_statistics, get_last_statistics):
            if rows := read(hass, 1, entity_id, False, {"state"}).get(entity_id):
                state, end = rows[0].get("state"), rows[0]["end"]
                if state is not None:
                    last[entity_id] = (_watt_hours(state, metadata), end)
                    break
    return last


def is_energy(metadata: StatisticMetaData) -> bool:
    """Return whether statistics are in a unit of energy."""
    return metadata["has_sum"] and metadata["unit_of_measurement"] in EnergyConverter.VALID_UNITS


def _watt_hours(value: float, metadata: StatisticMetaData) -> float:
    return EnergyConverter.convert(value, metadata["unit_of_measurement"], UnitOfEnergy.WATT_HOUR)


def recorded_change(before: float, after: float) -> float:
    """Return what Home Assistant books when a counter that only increases goes from one state to another.

    A state below nine tenths of the one before begins a new cycle at zero, other falls are booked as such
    (`reset_detected` and `compile_statistics` of Home Assistant's `sensor/recorder.py`).
    """
    return after if after < 0.9 * before else after - before


async def async_spikes(
    hass: HomeAssistant, recorder: Recorder, entity_id: str, watts: float, start: datetime, end: datetime
) -> list[Spike]:
    """Return the jumps in what was recorded from `start` to `end` of a counter that counts so many watts at most.

    Raises one of DATABASE_ERRORS.
    """
    rows = await recorder.async_add_executor_job(_rows, hass, entity_id, end + _AROUND)
    recorded_change = await hass.async_add_executor_job(lambda: find_spikes(recorded_changes(*rows), watts))
    return [jump for jump in recorded_change if start.timestamp() <= jump.at < end.timestamp()]


def _rows(hass: HomeAssistant, entity_id: str, end: datetime) -> tuple[list[StatisticsRow], list[StatisticsRow]]:
    """Return all rows of hours and all short rows of an entity until then."""
    if not any(is_energy(metadata) for _, metadata in get_metadata(hass, statistic_ids={entity_id}).values()):
        return [], []

    def rows(period: Literal["hour", "5minute"]) -> list[StatisticsRow]:
        read = statistics_during_period(hass, _BEGINNING, end, {entity_id}, period, _IN_WATT_HOURS, {"state", "sum"})
        return [
            StatisticsRow(row["start"], row["end"], row.get("state"), total)
            for row in read.get(entity_id, [])
            if (total := row.get("sum")) is not None
        ]

    return rows("hour"), rows("5minute")


@dataclass(frozen=True, slots=True)
class Correction:
    """What has to be added to the energy that was booked for an entity."""

    entity_id: str
    #: When the state was written that was booked wrongly, in seconds since the epoch.
    at: float
    watt_hours: float


def restore_corrections(memory: object) -> list[Correction]:
    """Return the corrections that were kept as dictionaries; what can't be understood is left out."""
    made = []
    for item in memory if isinstance(memory, list) else []:
        match item:
            case {"entity_id": str(entity_id), "at": at, "watt_hours": much} if is_number(at) and is_number(much):
                if 0 <= at < _NEVER:
                    made.append(Correction(entity_id, at, much))
    return made


@callback
def async_correct(recorder: Recorder, correction: Correction) -> None:
    """Change the sums of an entity from the row that begins at `at` on, short rows and hours alike.

    The recorder works off what it is told one by one, so a row that exists now, and each that it makes later, is right.
    """
    recorder.async_adjust_statistics(
        correction.entity_id,
        dt_util.utc_from_timestamp(correction.at - correction.at % ROW),
        correction.watt_hours,
        UnitOfEnergy.WATT_HOUR,
    )


class PendingCorrections:
    """Corrections that wait until the recorder has made the row that they are about."""

    def __init__(self, hass: HomeAssistant, on_done: Callable[[Correction], None]) -> None:
        """Prepare; `on_done` is told what was corrected, with `at` the beginning of its row; then it is forgotten."""
        self._hass = hass
        self._on_done = on_done
        self._waiting: list[Correction] = []
        #: Since when it is looked for them; what was missed before is still being made up for by the recorder.
        self._since = 0.0
        self._cancel_look: CALLBACK_TYPE | None = None
        self._cancel_listening: CALLBACK_TYPE | None = None

    def dump(self) -> list[Json]:
        """Return what still waits."""
        return [asdict(correction) for correction in self._waiting]

    def load(self, memory: object) -> None:
        """Go on waiting for what was remembered; what can't be understood is left out."""
        self._waiting += restore_corrections(memory)

    @callback
    def async_add(self, *restore_corrections: Correction) -> None:
        """Correct as soon as there is something to correct."""
        self._waiting.extend(restore_corrections)

    @callback
    def async_start(self) -> CALLBACK_TYPE:
        """Begin to look whenever the recorder has made rows, and once now; return how to stop."""
        self._since = dt_util.utcnow().timestamp()
        self._cancel_listening = self._hass.bus.async_listen(EVENT_RECORDER_5MIN_STATISTICS_GENERATED, self._look_soon)
        self._look_soon()
        return self.async_stop

    @callback
    def async_stop(self) -> None:
        """Look no more."""
        for cancel in (self._cancel_listening, self._cancel_look):
            if cancel:
                cancel()
        self._cancel_listening = self._cancel_look = None

    @callback
    def _look_soon(self, _event: Event | None = None) -> None:
        if self._waiting and self._cancel_look is None:
            self._cancel_look = async_call_later(self._hass, _COMMITTED_AFTER, self._look)

    async def _look(self, now: datetime) -> None:
        self._cancel_look = None
        if (recorder := async_recorder(self._hass)) is None:
            self._waiting.clear()
            return
        for correction in tuple(self._waiting):
            try:
                changes = await recorder.async_add_executor_job(_changes, self._hass, correction)
            except DATABASE_ERRORS as err:
                LOGGER.warning("Statistics of %s can't be read (%s)", correction.entity_id, type(err).__name__)
                changes = {}
            if correction not in self._waiting or self._cancel_listening is None:
                continue
            if (row := _row(correction, changes)) is not None:
                self._waiting.remove(correction)
                found = replace(correction, at=row)
                async_correct(recorder, found)
                self._on_done(found)
            elif now.timestamp() > max(correction.at, self._since) + _PATIENCE + ROW:
                self._waiting.remove(correction)
                LOGGER.debug("%s was not recorded: nothing to correct", correction.entity_id)


def _changes(hass: HomeAssistant, correction: Correction) -> dict[float, float]:
    """Return what was booked, by the beginnings of the rows that may hold what is to be corrected."""
    start = dt_util.utc_from_timestamp(correction.at - correction.at % ROW)
    rows = statistics_during_period(
        hass,
        start,
        start + timedelta(seconds=_PATIENCE),
        {correction.entity_id},
        "5minute",
        _IN_WATT_HOURS,
        {"change"},
    )
    return {row["start"]: row.get("change") or 0.0 for row in rows.get(correction.entity_id, [])}


def _row(correction: Correction, changes: Mapping[float, float]) -> float | None:
    """Return the beginning of the row that holds what is to be corrected, None if there is none (yet).

    A state is written a moment after it was decided on, or after a restart, and then booked in a later row.
    """
    if abs(correction.watt_hours) < _TELLING:
        return min(changes, default=None)
    return next((start for start in sorted(changes) if changes[start] / -correction.watt_hours > _MOST), None)
