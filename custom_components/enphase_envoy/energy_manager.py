"""The books of an entry: opened when its first snapshot comes, kept over restarts, and told to the recorder."""

from collections.abc import Callable, Collection
from dataclasses import asdict
import time
from typing import Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.util import dt as dt_util
from pyenphase.models.tariff import EnvoyStorageSettings

from .const import DEFAULT_POLL_INTERVAL, LOGGER, OPTION_POLL_INTERVAL
from .energy.ac_batteries import AcBatteries
from .energy.counter_filter import CounterFilter, CounterStep, StepCause
from .energy.daily import DailyEnergy
from .energy.pipeline import Pipeline, ProcessingContext
from .energy.settings_monitor import SettingsMonitor
from .energy.virtual_meters import VirtualMeters
from .issues import async_report_setting, async_report_step
from .model.json_data import Json
from .model.snapshot import Address, CounterKey, Snapshot
from .model.validation import is_number
from .statistics.entities import async_counter_entities
from .statistics.recorder import Correction, PendingCorrections, async_last_recorded, async_recorder, recorded_change
from .storage import COUNTERS, EntryStore

#: Seconds within which what was entered is saved.
_SAVED_WITHIN: Final = 600
#: Seconds within which is saved what a crash must not undo.
_SAVED_SOON: Final = 5
#: Seconds after which what was remembered of a counter may be older than what was recorded.
_OLD: Final = 3600
#: Names in memory, beside those of the steps.
_CORRECTIONS: Final = "corrections"
_REPORTS: Final = "reports"


class EnergyManager:
    """Enters each snapshot into the books, and has corrected what the statistics book of a counter's leap."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: ConfigEntry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to keep the books, on the clock of the polls."""
        self._hass = hass
        self._entry = entry
        self._clock = clock
        self._memory = EntryStore(hass, entry, COUNTERS)
        self._guard = CounterFilter()
        self._ledger = VirtualMeters(self._guard, entry.options.get(OPTION_POLL_INTERVAL, DEFAULT_POLL_INTERVAL))
        self._settings = SettingsMonitor()
        self._pipeline = Pipeline((AcBatteries(), self._guard, DailyEnergy(self._guard), self._ledger, self._settings))
        self._corrections = PendingCorrections(hass, self._corrected, self._save_corrections)
        #: From what to what the counters of entities went whose correction the owner is to be told of.
        self._reports: dict[str, tuple[float, float]] = {}
        self._stop: CALLBACK_TYPE | None = None
        #: Something is held back.
        self._doubting = False
        #: The entry was unloaded: nothing is loaded, recorded or saved any more.
        self.is_closed = False

    async def async_load(self, snapshot: Snapshot) -> None:
        """Remember what was entered before, or else what was recorded, once."""
        if self._stop or self.is_closed:
            return
        memory = await self._memory.async_load() or {}
        if self.is_closed:
            return
        self._pipeline.load(memory)
        self._corrections.load(memory.get(_CORRECTIONS))
        self._reports = _reports(memory.get(_REPORTS))
        since = dt_util.utcnow().timestamp() - _OLD
        unread = {address for address, _ in self._guard.unread(snapshot.objects, since)}
        for counter, (watt_hours, at) in (await self._recorded(snapshot, unread)).items():
            self._guard.resume(counter, watt_hours, at)
        # What is worked out is known only after that, and was kept more rarely than it was recorded.
        entered = self.process(snapshot)
        worked_out = entered.objects.keys() - snapshot.objects.keys()
        for counter, (watt_hours, _) in (await self._recorded(entered, worked_out)).items():
            self._ledger.resume(counter, watt_hours)
        if self.is_closed:
            return
        self._stop = self._corrections.async_start()

    async def _recorded(
        self, snapshot: Snapshot, addresses: Collection[Address]
    ) -> dict[CounterKey, tuple[float, float]]:
        """Return what was last recorded of the counters at some addresses in Wh, and when."""
        if not addresses or async_recorder(self._hass) is None:
            return {}
        entities = async_counter_entities(self._hass, snapshot, addresses)
        recorded = await async_last_recorded(self._hass, set(entities.values()))
        return {counter: recorded[entity] for counter, entity in entities.items() if entity in recorded}

    @callback
    def process(self, snapshot: Snapshot, addresses: Collection[Address] | None = None) -> Snapshot:
        """Return the snapshot with counters that only tell the truth, and with what follows from them."""
        if self.is_closed:
            return snapshot
        now = dt_util.utcnow().timestamp()
        context = ProcessingContext(now, now - self._clock(), dt_util.get_default_time_zone(), snapshot.unread_meters)
        entered = self._pipeline.process(snapshot, context, addresses)
        if steps := self._guard.steps:
            entities = async_counter_entities(self._hass, entered, {step.counter[0] for step in steps})
            for step in steps:
                self._correct(step, entities.get(step.counter))
        for result in self._settings.results:
            async_report_setting(self._hass, self._entry, snapshot.firmware, result)
        self._tell_doubts()
        if self._stop:
            self._memory.keep(self._dump, _SAVED_SOON if steps else _SAVED_WITHIN)
        return entered

    @callback
    def watch_settings(self, before: EnvoyStorageSettings, wanted: EnvoyStorageSettings, entity_id: str) -> None:
        """Monitor whether the gateway keeps the settings that were just written through an entity."""
        self._settings.watch(before, wanted, entity_id, self._clock())

    async def async_close(self) -> None:
        """Save what was entered, for the last time."""
        self.is_closed = True
        if self._stop:
            self._stop()
            self._stop = None
            await self._memory.async_close(self._dump())
        self._memory.is_closed = True

    def _dump(self) -> dict[str, Json]:
        reports: dict[str, Json] = {entity_id: [*report] for entity_id, report in self._reports.items()}
        return self._pipeline.dump() | {_CORRECTIONS: self._corrections.dump(), _REPORTS: reports}

    @callback
    def _correct(self, step: CounterStep, entity_id: str | None) -> None:
        """Have corrected what the statistics will book of a leap."""
        name = entity_id or " ".join((*step.counter[0], step.counter[1]))
        # A lie that was believed was booked: the way back is booked as well, and makes it good.
        due = step.after - step.before if step.cause is StepCause.TAKEN_BACK else step.gained
        surplus = due - recorded_change(step.before, step.after)
        texts = (name, step.before / 1000, step.after / 1000, step.gained / 1000)
        LOGGER.warning("%s went from %.3f to %.3f kWh for good; %.3f kWh of that is energy that flowed", *texts)
        if entity_id is None or not surplus:
            return
        self._corrections.async_add(Correction(entity_id, step.at, surplus))
        if step.cause is StepCause.LASTING:
            self._reports[entity_id] = (step.before, step.after)

    async def _save_corrections(self) -> None:
        """Save the state of the corrections before one is sent to the recorder."""
        await self._memory.async_save_now(self._dump())

    @callback
    def _corrected(self, correction: Correction) -> None:
        """Tell the owner, who may know better."""
        self._memory.keep(self._dump, _SAVED_SOON)
        if report := self._reports.pop(correction.entity_id, None):
            async_report_step(self._hass, self._entry, asdict(correction), *report)

    @callback
    def _tell_doubts(self) -> None:
        """Log one line when readings begin to be held back, and one when that is over."""
        doubts = self._guard.held_counters
        if doubts and not self._doubting:
            LOGGER.info(
                "%s: %d counters can't have counted what they read, %s first; their last true values are kept",
                *(self._entry.title, len(doubts), " ".join((*doubts[0][0], doubts[0][1]))),
            )
        elif self._doubting and not doubts:
            LOGGER.info("%s: all counters are believed again", self._entry.title)
        self._doubting = bool(doubts)


def _reports(memory: object) -> dict[str, tuple[float, float]]:
    """Return the reports that were kept; what can't be understood is left out."""
    reports = {}
    for entity_id, report in memory.items() if isinstance(memory, dict) else ():
        match report:
            case [before, after] if is_number(before) and is_number(after):
                reports[str(entity_id)] = (float(before), float(after))
    return reports
