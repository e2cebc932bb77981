"""Reads the recorder's statistics of energy counters, and corrects them. Energy is in Wh throughout.

The recorder keeps rows of five minutes for some days, and rows of an hour permanently. Each contains the state at its
end and an accumulated sum; the energy of a row is the increase of the sum.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
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
from homeassistant.components.recorder.tasks import SynchronizeTask
from homeassistant.const import UnitOfEnergy
from homeassistant.core import CALLBACK_TYPE, Event, HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.event import async_call_later
from homeassistant.helpers.recorder import DATA_INSTANCE
from homeassistant.util import dt as dt_util
from homeassistant.util.unit_conversion import EnergyConverter
from sqlalchemy.exc import SQLAlchemyError

from ..const import LOGGER
from ..model.json_data import Json, json_number
from ..model.validation import is_number
from .spikes import WINDOW, Spike, StatisticsRow, find_spikes, recorded_changes

#: Exceptions of the recorder for a database that cannot be read.
DATABASE_ERRORS: Final = (SQLAlchemyError, HomeAssistantError, OSError, RuntimeError)

_IN_WATT_HOURS: Final = {EnergyConverter.UNIT_CLASS: str(UnitOfEnergy.WATT_HOUR)}
#: Seconds of a short row.
ROW: Final = 300
_BEGINNING: Final = dt_util.utc_from_timestamp(0)
#: Time after a period that is read too: a spike is recognised by the rows that follow it.
_READ_AHEAD: Final = timedelta(seconds=WINDOW)
#: Seconds after the recorder's event within which it commits the rows to the database.
_COMMIT_DELAY: Final = 10
#: Seconds within which recorded energy must appear in a row.
_ROW_TIMEOUT: Final = 3600
#: Watt-hours from which on a correction is large enough to identify its row by the energy in it.
_IDENTIFIABLE: Final = 10_000.0
#: Share of a correction's energy that its row must contain.
_MIN_SHARE: Final = 0.5
#: Seconds within which the recorder must process its queue; otherwise a correction is verified later.
_QUEUE_TIMEOUT: Final = 60
#: Key under which a correction that is being applied is stored with the energy of its row before.
_ROW_BEFORE: Final = "recorded"


@callback
def async_recorder(hass: HomeAssistant) -> Recorder | None:
    """Return the recorder, None if it is not set up."""
    return hass.data.get(DATA_INSTANCE)


async def async_last_recorded(hass: HomeAssistant, entity_ids: Collection[str]) -> dict[str, tuple[float, float]]:
    """Return the last recorded state in Wh and its time in seconds since the epoch, of each entity that has one."""
    if not entity_ids or (recorder := async_recorder(hass)) is None:
        return {}
    try:
        return await recorder.async_add_executor_job(_last_recorded, hass, sorted(entity_ids))
    except DATABASE_ERRORS as err:
        LOGGER.warning("The last recorded statistics cannot be read (%s)", type(err).__name__)
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
    """Return whether statistics are sums in a unit of energy."""
    return metadata["has_sum"] and metadata["unit_of_measurement"] in EnergyConverter.VALID_UNITS


def _watt_hours(value: float, metadata: StatisticMetaData) -> float:
    return EnergyConverter.convert(value, metadata["unit_of_measurement"], UnitOfEnergy.WATT_HOUR)


def recorded_change(before: float, after: float) -> float:
    """Return the energy that Home Assistant records when a total increasing state changes.

    A state below nine tenths of the previous one starts a new cycle at zero; smaller falls are recorded as such
    (`reset_detected` and `compile_statistics` of Home Assistant's `sensor/recorder.py`).
    """
    return after if after < 0.9 * before else after - before


async def async_spikes(
    hass: HomeAssistant, recorder: Recorder, entity_id: str, watts: float, start: datetime, end: datetime
) -> list[Spike]:
    """Return the spikes of a counter from `start` to `end`; `watts` is the maximum power that it can count.

    Raises one of DATABASE_ERRORS if the statistics cannot be read.
    """
    rows = await recorder.async_add_executor_job(_rows, hass, entity_id, end + _READ_AHEAD)
    spikes = await hass.async_add_executor_job(lambda: find_spikes(recorded_changes(*rows), watts))
    return [spike for spike in spikes if start.timestamp() <= spike.at < end.timestamp()]


def _rows(hass: HomeAssistant, entity_id: str, end: datetime) -> tuple[list[StatisticsRow], list[StatisticsRow]]:
    """Return all rows of hours and all short rows of an entity until `end`."""
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
    """Energy that must be added to the recorded energy of an entity."""

    entity_id: str
    #: When the state was written that was recorded wrongly, in seconds since the epoch.
    at: float
    watt_hours: float


def restore_corrections(stored: object) -> list[Correction]:
    """Return corrections that were stored as dictionaries, without invalid ones."""
    corrections = []
    for item in stored if isinstance(stored, list) else []:
        with suppress(KeyError, TypeError, ValueError):
            at, watt_hours = json_number(item["at"]), json_number(item["watt_hours"])
            corrections.append(Correction(str(item["entity_id"]), at, watt_hours))
    return corrections


@callback
def async_correct(recorder: Recorder, correction: Correction) -> None:
    """Change the sums of an entity from the row that contains `at` on, in short rows and hours.

    The recorder processes its tasks in order, so the rows that exist now and all that it adds later are correct.
    """
    recorder.async_adjust_statistics(
        correction.entity_id,
        dt_util.utc_from_timestamp(_row_start(correction)),
        correction.watt_hours,
        UnitOfEnergy.WATT_HOUR,
    )


def _row_start(correction: Correction) -> float:
    return correction.at - correction.at % ROW


class PendingCorrections:
    """Corrections that wait until the recorder has written the row with the energy to correct.

    Each is applied exactly once, also if the power fails meanwhile: that it is being applied is stored, with the energy
    of its row before, before it is sent to the recorder. The energy of the row then shows whether it was applied.
    """

    def __init__(
        self, hass: HomeAssistant, on_done: Callable[[Correction], None], save: Callable[[], Awaitable[None]]
    ) -> None:
        """Initialize; `on_done` is called with each finished correction, its `at` set to the start of the row.

        `save` stores the result of `dump` at once.
        """
        self._hass = hass
        self._on_done = on_done
        self._save = save
        self._pending: list[Correction] = []
        #: Corrections that may have been sent to the recorder, and the energy of their rows before.
        self._applying: dict[Correction, float] = {}
        #: Start of the search; the recorder adds rows that are due from before a restart only after it.
        self._since = 0.0
        self._cancel_check: CALLBACK_TYPE | None = None
        self._cancel_listener: CALLBACK_TYPE | None = None
        #: Held while rows are read and corrected.
        self.lock = asyncio.Lock()
        self._is_stopped = False

    def dump(self) -> list[Json]:
        """Return the corrections that are pending or being applied, for storage."""
        applying = [{**asdict(correction), _ROW_BEFORE: before} for correction, before in self._applying.items()]
        return [*map(asdict, self._pending), *applying]

    def load(self, stored: object) -> None:
        """Add stored corrections; invalid ones are left out."""
        for item in stored if isinstance(stored, list) else []:
            for correction in restore_corrections([item]):
                if is_number(before := item.get(_ROW_BEFORE)):
                    self._applying[correction] = float(before)
                else:
                    self._pending.append(correction)

    @callback
    def async_add(self, *corrections: Correction) -> None:
        """Add corrections."""
        self._pending.extend(corrections)

    @callback
    def async_start(self) -> CALLBACK_TYPE:
        """Check now and whenever the recorder has written rows; return the function that stops it for good."""
        self._since = dt_util.utcnow().timestamp()
        self._cancel_listener = self._hass.bus.async_listen(
            EVENT_RECORDER_5MIN_STATISTICS_GENERATED, self._schedule_check
        )
        self._schedule_check()
        return self.async_stop

    @callback
    def async_stop(self) -> None:
        """Stop checking, and what is under way."""
        self._is_stopped = True
        for cancel in (self._cancel_listener, self._cancel_check):
            if cancel:
                cancel()
        self._cancel_listener = self._cancel_check = None

    @callback
    def _schedule_check(self, _event: Event | None = None) -> None:
        if (self._pending or self._applying) and self._cancel_check is None:
            self._cancel_check = async_call_later(self._hass, _COMMIT_DELAY, self._check)

    async def _check(self, now: datetime) -> None:
        self._cancel_check = None
        if (recorder := async_recorder(self._hass)) is None:
            self._pending.clear()
            self._applying.clear()
            return
        async with self.lock:
            for correction in tuple(self._applying):
                await self._verify(recorder, correction, now.timestamp())
            for correction in tuple(self._pending):
                if self._is_stopped:
                    return
                changes = await self._read_changes(recorder, correction)
                # It may have been stopped while the database was read.
                if not self._is_stopped:
                    await self._finish(recorder, correction, changes, now.timestamp())

    async def _read_changes(self, recorder: Recorder, correction: Correction) -> dict[float, float]:
        """Return the recorded energy of the rows in which a correction may apply; none if they cannot be read."""
        try:
            return await recorder.async_add_executor_job(_changes, self._hass, correction)
        except DATABASE_ERRORS as err:
            LOGGER.warning("Statistics of %s cannot be read (%s)", correction.entity_id, type(err).__name__)
            return {}

    async def _finish(
        self, recorder: Recorder, correction: Correction, changes: Mapping[float, float], now: float
    ) -> None:
        """Apply a correction if its row exists; discard it if the row is overdue."""
        if (start := _matching_row(correction, changes)) is not None:
            self._pending.remove(correction)
            located = replace(correction, at=start)
            self._applying[located] = changes[start]
            await self._save()
            if not self._is_stopped:
                async_correct(recorder, located)
                await self._verify(recorder, located, now)
        elif self._is_overdue(correction, now):
            self._pending.remove(correction)
            LOGGER.debug("%s was not recorded: nothing to correct", correction.entity_id)

    async def _verify(self, recorder: Recorder, correction: Correction, now: float) -> None:
        """Check whether the recorder has applied a correction, and send it again if it has not."""
        if self._is_stopped or not await _async_queue_done(self._hass, recorder) or self._is_stopped:
            return
        changes = await self._read_changes(recorder, correction)
        if self._is_stopped or correction not in self._applying:
            return
        if (change := changes.get(correction.at)) is None:
            if self._is_overdue(correction, now):
                # The recorder keeps rows of five minutes for days: the state is older than that.
                del self._applying[correction]
                LOGGER.warning("Whether the statistics of %s were corrected is unknown", correction.entity_id)
        elif abs(gained := change - self._applying[correction]) < abs(gained - correction.watt_hours):
            async_correct(recorder, correction)
            self._schedule_check()
        else:
            del self._applying[correction]
            self._on_done(correction)

    def _is_overdue(self, correction: Correction, now: float) -> bool:
        return now > max(correction.at, self._since) + _ROW_TIMEOUT + ROW


async def _async_queue_done(hass: HomeAssistant, recorder: Recorder) -> bool:
    """Wait until the recorder has processed what is in its queue now; return whether it did so in time."""
    done: asyncio.Future[None] = hass.loop.create_future()
    recorder.queue_task(SynchronizeTask(done))
    with suppress(TimeoutError):
        async with asyncio.timeout(_QUEUE_TIMEOUT):
            await done
            return True
    return False


def _changes(hass: HomeAssistant, correction: Correction) -> dict[float, float]:
    """Return the recorded energy by start of row, of the rows in which a correction may apply."""
    start = dt_util.utc_from_timestamp(_row_start(correction))
    rows = statistics_during_period(
        hass,
        start,
        start + timedelta(seconds=_ROW_TIMEOUT),
        {correction.entity_id},
        "5minute",
        _IN_WATT_HOURS,
        {"change"},
    )
    return {row["start"]: row.get("change") or 0.0 for row in rows.get(correction.entity_id, [])}


def _matching_row(correction: Correction, changes: Mapping[float, float]) -> float | None:
    """Return the start of the row that contains the energy to correct, None if there is none (yet).

    A state is written shortly after it was determined, or after a restart, and then recorded in a later row.
    """
    if abs(correction.watt_hours) < _IDENTIFIABLE:
        return min(changes, default=None)
    return next((start for start in sorted(changes) if changes[start] / -correction.watt_hours > _MIN_SHARE), None)
