"""Reads the recorder's statistics of energy counters, and corrects them. Energy is in Wh throughout.

The recorder keeps rows of five minutes for some days, and rows of an hour permanently. Each contains the state at its
end and an accumulated sum; the energy of a row is the increase of the sum.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
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
#: The year 9999 in seconds since the epoch: later times cannot be represented, nor the rows that follow them.
_TIMES_END: Final = 253_370_764_800.0
#: Seconds of an hour's row.
_HOUR: Final = 3600
#: Keys under which a correction is stored: the energy of its row before it was sent to the recorder, the kind of that
#: row, and whether it reverts another one.
_ROW_BEFORE: Final = "recorded"
_PERIOD: Final = "period"
_IS_REVERSAL: Final = "reverts"

#: The kinds of rows that the recorder keeps.
type Period = Literal["5minute", "hour"]


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

    def rows(period: Period) -> list[StatisticsRow]:
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
            if not 0 <= at < _TIMES_END:
                raise ValueError(at)
            corrections.append(Correction(str(item["entity_id"]), at, watt_hours))
    return corrections


@callback
def async_correct(recorder: Recorder, correction: Correction) -> None:
    """Change the sums of an entity from the row that contains `at` on, in short rows and hours.

    The recorder processes its tasks in order, so the rows that exist now and all that it adds later are correct.
    """
    recorder.async_adjust_statistics(
        correction.entity_id,
        dt_util.utc_from_timestamp(correction.at - correction.at % ROW),
        correction.watt_hours,
        UnitOfEnergy.WATT_HOUR,
    )


@dataclass(slots=True, eq=False)
class _Pending:
    """A correction that is not finished."""

    correction: Correction
    #: When its state is written, in seconds of the monotonic clock: the time of day may be set meanwhile.
    due: float
    #: Energy of its row before it was sent to the recorder; None until then. After that, `correction` has its row.
    before: float | None = None
    #: Kind of that row: the recorder deletes rows of five minutes after some days.
    period: Period = "5minute"
    #: It reverts a correction of the row that starts `at`.
    is_reversal: bool = False

    def dump(self) -> Json:
        """Return it for storage."""
        stored = asdict(self.correction)
        if self.before is not None:
            stored |= {_ROW_BEFORE: self.before, _PERIOD: self.period}
        return stored | ({_IS_REVERSAL: True} if self.is_reversal else {})


class PendingCorrections:
    """Corrections that wait until the recorder has written the row with the energy to correct.

    Each is applied exactly once, also if the power fails meanwhile: that it is being applied is stored, with the energy
    of its row before, before it is sent to the recorder. The energy of the row then shows whether it was applied. Where
    it can't be stored, since the disk is full, it waits if it could be applied again after a restart.

    A correction may have been dated by a wrong clock, so it waits for a period rather than until a time of day.
    """

    def __init__(
        self, hass: HomeAssistant, on_done: Callable[[Correction, bool], None], save: Callable[[], Awaitable[bool]]
    ) -> None:
        """Initialize; `on_done` is called with each finished correction, its `at` set to the start of the row.

        With it, whether it is a reversal. `save` stores the result of `dump` at once, and returns whether it could.
        """
        self._hass = hass
        self._on_done = on_done
        self._save = save
        self._pending: list[_Pending] = []
        #: Start of the search, by the monotonic clock; the recorder adds rows that are due from before it only later.
        self._since = 0.0
        self._cancel_check: CALLBACK_TYPE | None = None
        self._cancel_listener: CALLBACK_TYPE | None = None
        #: Held while rows are read and corrected.
        self.lock = asyncio.Lock()
        self._is_stopped = False

    def dump(self) -> list[Json]:
        """Return the corrections that are pending or being applied, for storage."""
        return [pending.dump() for pending in self._pending]

    def load(self, stored: object) -> None:
        """Add stored corrections; invalid ones are left out.

        Their states may have been written before, or are written now.
        """
        for item in stored if isinstance(stored, list) else []:
            for correction in restore_corrections([item]):
                before = float(it) if is_number(it := item.get(_ROW_BEFORE)) else None
                period: Period = "hour" if item.get(_PERIOD) == "hour" else "5minute"
                is_reversal = item.get(_IS_REVERSAL) is True
                self._pending.append(_Pending(correction, monotonic(), before, period, is_reversal))

    @callback
    def async_add(self, *corrections: Correction) -> None:
        """Add corrections."""
        offset = _clock_offset()
        self._pending.extend(_Pending(correction, correction.at - offset) for correction in corrections)

    @callback
    def async_revert(self, correction: Correction) -> None:
        """Add the reversal of a finished correction."""
        reversal = replace(correction, watt_hours=-correction.watt_hours)
        self._pending.append(_Pending(reversal, monotonic(), is_reversal=True))
        self._schedule_check()

    @callback
    def async_start(self) -> CALLBACK_TYPE:
        """Check now and whenever the recorder has written rows; return the function that stops it for good."""
        self._since = monotonic()
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
        if self._pending and self._cancel_check is None:
            self._cancel_check = async_call_later(self._hass, _COMMIT_DELAY, self._check)

    async def _check(self, _now: datetime) -> None:
        self._cancel_check = None
        async with self.lock:
            if (recorder := async_recorder(self._hass)) is None:
                self._pending.clear()
                return
            # Those being applied first: they change the rows of others.
            for pending in sorted(self._pending, key=lambda each: each.before is None):
                if self._is_stopped:
                    return
                if pending.before is not None:
                    await self._verify(recorder, pending, pending.before)
                elif not self._is_being_corrected(pending.correction.entity_id):
                    await self._find(recorder, pending)

    def _is_being_corrected(self, entity_id: str) -> bool:
        """Return whether a correction of an entity was sent to the recorder, and is not verified yet.

        It may be one of the same row: whether another was applied does not follow from the energy of the row.
        """
        return any(
            pending.before is not None and pending.correction.entity_id == entity_id for pending in self._pending
        )

    async def _read_changes(
        self, recorder: Recorder, entity_id: str, period: Period, *times: float
    ) -> dict[float, float] | None:
        """Return the recorded energy of the rows from some times on; None if it can't be read or is not needed now."""
        try:
            changes = await recorder.async_add_executor_job(_changes, self._hass, entity_id, period, times)
        except DATABASE_ERRORS as err:
            LOGGER.warning("Statistics of %s cannot be read (%s)", entity_id, type(err).__name__)
            return None
        # It may have been stopped while the database was read.
        return None if self._is_stopped else changes

    async def _find(self, recorder: Recorder, pending: _Pending) -> None:
        """Apply a correction if its row exists; discard it if the row is overdue."""
        wanted, period = pending.correction, pending.period
        # The clocks are not read at exactly the same time.
        times = [wanted.at] if pending.is_reversal else [wanted.at, round(pending.due + _clock_offset())]
        changes = await self._read_changes(recorder, wanted.entity_id, period, *times)
        if pending.is_reversal and changes is not None and wanted.at not in changes:
            period = "hour"
            changes = await self._read_changes(recorder, wanted.entity_id, period, *times)
        if changes is None:
            return
        start = wanted.at if pending.is_reversal else _matching_row(wanted, changes)
        if start is None or start not in changes:
            if self._is_overdue(pending):
                self._pending.remove(pending)
                if pending.is_reversal:
                    LOGGER.warning("%s has no statistics in which a correction can be reverted", wanted.entity_id)
                else:
                    LOGGER.debug("%s was not recorded: nothing to correct", wanted.entity_id)
            return
        before = changes[start]
        pending.correction, pending.before, pending.period = replace(wanted, at=start), before, period
        is_stored = await self._save()
        if self._is_stopped:
            return
        # Not stored, a large one is not applied again after a restart, since no row contains its energy any more.
        is_identifiable = abs(wanted.watt_hours) >= _IDENTIFIABLE and not pending.is_reversal
        if is_stored or is_identifiable:
            async_correct(recorder, pending.correction)
            await self._verify(recorder, pending, before)
        else:
            pending.correction, pending.before, pending.period = wanted, None, "5minute"

    async def _verify(self, recorder: Recorder, pending: _Pending, before: float) -> None:
        """Check whether the recorder has applied a correction, and send it again if it has not."""
        if not await async_queue_done(self._hass, recorder) or self._is_stopped:
            return
        correction = pending.correction
        changes = await self._read_changes(recorder, correction.entity_id, pending.period, correction.at)
        if changes is None:
            return
        if (change := changes.get(correction.at)) is None:
            if self._is_overdue(pending):
                # The recorder keeps rows of five minutes for days, those of hours until the user deletes them.
                self._pending.remove(pending)
                LOGGER.warning("Whether the statistics of %s were corrected is unknown", correction.entity_id)
        elif abs(gained := change - before) < abs(gained - correction.watt_hours):
            async_correct(recorder, correction)
            self._schedule_check()
        else:
            self._pending.remove(pending)
            self._on_done(correction, pending.is_reversal)

    def _is_overdue(self, pending: _Pending) -> bool:
        return monotonic() > max(pending.due, self._since) + _ROW_TIMEOUT + ROW


def _clock_offset() -> float:
    """Return what is added to the monotonic clock to get seconds since the epoch."""
    return dt_util.utcnow().timestamp() - monotonic()


async def async_queue_done(hass: HomeAssistant, recorder: Recorder) -> bool:
    """Wait until the recorder has processed what is in its queue now; return whether it did so in time."""
    done: asyncio.Future[None] = hass.loop.create_future()
    recorder.queue_task(SynchronizeTask(done))
    with suppress(TimeoutError):
        async with asyncio.timeout(_QUEUE_TIMEOUT):
            await done
            return True
    return False


def _changes(hass: HomeAssistant, entity_id: str, period: Period, times: Sequence[float]) -> dict[float, float]:
    """Return the recorded energy of the rows in which a state of one of these times may be, by start of row.

    The energy of an hour is returned for the time itself.
    """
    changes: dict[float, float] = {}
    for at in sorted({at - at % ROW for at in times}):
        start = dt_util.utc_from_timestamp(at - at % _HOUR if period == "hour" else at)
        end = start + timedelta(seconds=_HOUR if period == "hour" else _ROW_TIMEOUT)
        rows = statistics_during_period(hass, start, end, {entity_id}, period, _IN_WATT_HOURS, {"change"})
        for row in rows.get(entity_id, []):
            changes[at if period == "hour" else row["start"]] = row.get("change") or 0.0
    return changes


def _matching_row(correction: Correction, changes: Mapping[float, float]) -> float | None:
    """Return the start of the row that contains the energy to correct, None if there is none (yet).

    A state is written shortly after it was determined, or after a restart, and then recorded in a later row.
    """
    if abs(correction.watt_hours) < _IDENTIFIABLE:
        return min(changes, default=None)
    return next((start for start in sorted(changes) if changes[start] / -correction.watt_hours > _MIN_SHARE), None)
