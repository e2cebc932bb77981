"""The energy pipeline of an entry: its stored state, and the corrections of statistics that it requires."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
import time
from typing import Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.util import dt as dt_util
from pyenphase.models.tariff import EnvoyStorageSettings

from .battery_control import has_account
from .const import DEFAULT_POLL_INTERVAL, LOGGER, OPTION_POLL_INTERVAL
from .energy.ac_batteries import AcBatteries
from .energy.counter import Step, StepCause
from .energy.counter_filter import CounterFilter
from .energy.daily import DailyEnergy
from .energy.pipeline import Pipeline, ProcessingContext
from .energy.relays import RelayMonitor
from .energy.settings_monitor import SettingOutcome, SettingsMonitor
from .energy.virtual_meters import VirtualMeters
from .issues import (
    CLOUD_OFFER,
    async_clear,
    async_clear_answered,
    async_clear_steps,
    async_report_cloud,
    async_report_setting,
    async_report_step,
)
from .model.json_data import Json
from .model.snapshot import Address, CounterKey, Snapshot, to_key
from .model.validation import is_number
from .statistics.entities import async_counter_entities
from .statistics.recorder import (
    ROW,
    Correction,
    PendingCorrections,
    async_last_recorded,
    async_recorder,
    recorded_change,
    restore_corrections,
)
from .storage import COUNTERS, EntryStore

#: Seconds within which the state is stored. A step is stored at once: the recorder has the new state within seconds,
#: and after a crash the step would be found, and dated, again. A finished correction is only verified again.
_SAVE_DELAY: Final = 600
_SAVE_DELAY_AFTER_STEP: Final = 0
_SAVE_DELAY_AFTER_CORRECTION: Final = 5
#: Seconds within which a step may turn out to be a wrong reading, after which it is reported.
_TAKEN_BACK_WITHIN: Final = 2700.0
#: Seconds between two polls at most.
_LONGEST_WAIT: Final = 600.0
#: Seconds after which the stored state of a counter may be older than its last statistics.
_OUTDATED_AFTER: Final = 3600
#: Keys of storage, beside those of the processors.
_CORRECTIONS: Final = "corrections"
_REPORTS: Final = "reports"
_REVERTED: Final = "reverted"
#: Issues whose reversals are stored, at most.
_MOST_REVERTED: Final = 100


@dataclass(slots=True)
class _Report:
    """A step of a counter, in Wh, to be reported to the user when it is corrected."""

    before: float
    after: float
    #: Seconds to wait, since it may be taken back.
    wait: float
    #: The counter as a key of storage: nothing is reported while its readings are held back again.
    counter: str = ""
    correction: Correction | None = None

    def dump(self) -> Json:
        """Return the report for storage."""
        correction: Json = asdict(self.correction) if self.correction else None
        return [self.before, self.after, self.wait, self.counter, correction]


class EnergyManager:
    """Processes each snapshot, and corrects what the statistics record of a counter's step."""

    def __init__(self, hass: HomeAssistant, entry: ConfigEntry, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare to process snapshots; `clock` is that of the polls, in seconds."""
        self._hass = hass
        self._entry = entry
        self._clock = clock
        self._store = EntryStore(hass, entry, COUNTERS)
        self._counters = CounterFilter()
        self._meters = VirtualMeters(self._counters, entry.options.get(OPTION_POLL_INTERVAL, DEFAULT_POLL_INTERVAL))
        self._settings = SettingsMonitor()
        self.relays = RelayMonitor()
        self._pipeline = Pipeline(
            (AcBatteries(), self._counters, DailyEnergy(self._counters), self._meters, self._settings, self.relays)
        )
        self._corrections = PendingCorrections(hass, self._corrected, self._save_corrections)
        #: Steps to be reported to the user, by entity.
        self._reports: dict[str, _Report] = {}
        #: Ids of the issues whose corrections were reverted, the newest last.
        self._reverted: list[str] = []
        self._reported_at = dt_util.utcnow().timestamp()
        self._stop: CALLBACK_TYPE | None = None
        #: Whether readings are held back.
        self._is_holding = False
        #: The entry was unloaded: nothing is loaded, recorded or saved any more.
        self.is_closed = False

    @property
    def correcting(self) -> asyncio.Lock:
        """Held while statistics are read and corrected: two corrections of the same row would count twice."""
        return self._corrections.lock

    async def async_load(self, snapshot: Snapshot) -> None:
        """Restore the stored state, or else what was recorded last, once."""
        if self._stop or self.is_closed:
            return
        stored = await self._store.async_load() or {}
        if self.is_closed:
            return
        self._pipeline.load(stored)
        self._corrections.load(stored.get(_CORRECTIONS))
        self._reports = _reports(stored.get(_REPORTS))
        self._reverted = _texts(stored.get(_REVERTED))
        async_clear_answered(self._hass, self._reverted)
        since = dt_util.utcnow().timestamp() - _OUTDATED_AFTER
        unread = {address for address, _ in self._counters.unread(snapshot.objects, since)}
        for counter, (watt_hours, at) in (await self._recorded(snapshot, unread)).items():
            self._counters.resume(counter, watt_hours, at)
        # Virtual meters exist only after processing, and are stored more rarely than they are recorded.
        processed = self.process(snapshot)
        steps = self._counters.steps
        added = processed.objects.keys() - snapshot.objects.keys()
        for counter, (watt_hours, _) in (await self._recorded(processed, added)).items():
            self._meters.resume(counter, watt_hours)
        if self.is_closed:
            return
        self._stop = self._corrections.async_start()
        if steps:
            self._store.keep(self._dump, _SAVE_DELAY_AFTER_STEP)

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
        """Return the snapshot with plausible counters and virtual meters; with `addresses`, evaluate these alone."""
        if self.is_closed:
            return snapshot
        context = self._context(snapshot)
        processed = self._pipeline.process(snapshot, context, addresses)
        if steps := self._counters.steps:
            entities = async_counter_entities(self._hass, processed, {address for address, _ in steps})
            for counter, step in steps.items():
                self._correct(counter, step, entities.get(counter), context.now)
        for result in self._settings.results:
            async_report_setting(self._hass, self._entry, snapshot.firmware, result)
            if result.outcome is SettingOutcome.KEPT:
                async_clear(self._hass, self._entry, CLOUD_OFFER)
            elif has_account(self._entry):
                async_report_cloud(self._hass, self._entry, CLOUD_OFFER)
        self._report_steps()
        self._log_held_counters()
        if self._stop:
            self._store.keep(self._dump, _SAVE_DELAY_AFTER_STEP if steps else _SAVE_DELAY)
        return processed

    def _context(self, snapshot: Snapshot) -> ProcessingContext:
        now = dt_util.utcnow().timestamp()
        return ProcessingContext(now, now - self._clock(), dt_util.get_default_time_zone(), snapshot.unread_meters)

    @callback
    def limit(self, snapshot: Snapshot, address: Address) -> float:
        """Return the power in W that the counters at an address count at most, as assumed or as learned."""
        return self._counters.limit(snapshot.objects, address, self._context(snapshot))

    @contextmanager
    def writing_settings(self) -> Iterator[None]:
        """Draw no conclusions from the battery settings while they are written."""
        self._settings.writes += 1
        try:
            yield
        finally:
            self._settings.writes -= 1

    @callback
    def watch_settings(self, before: EnvoyStorageSettings, wanted: EnvoyStorageSettings, entity_id: str) -> None:
        """Monitor whether the gateway keeps the settings that were just written through an entity."""
        self._settings.watch(before, wanted, entity_id, self._clock())

    async def async_close(self) -> None:
        """Store the state for the last time."""
        self.is_closed, stop, self._stop = True, self._stop, None
        if stop:
            stop()
        await self._store.async_close(self._dump() if stop else None)

    def _dump(self) -> dict[str, Json]:
        reports: dict[str, Json] = {entity_id: report.dump() for entity_id, report in self._reports.items()}
        reverted: list[Json] = [*self._reverted]
        return self._pipeline.dump() | {
            _CORRECTIONS: self._corrections.dump(),
            _REPORTS: reports,
            _REVERTED: reverted,
        }

    @callback
    def _correct(self, counter: CounterKey, step: Step, entity_id: str | None, now: float) -> None:
        """Correct what the statistics will record of a step."""
        address, field = counter
        texts = (entity_id or " ".join((*address, field)), step.before / 1000, step.after / 1000, step.gained / 1000)
        LOGGER.info("%s went from %.3f to %.3f kWh; %.3f kWh of that is energy that flowed", *texts)
        if entity_id is None:
            return
        self._reports.pop(entity_id, None)
        # The stored state of a counter may be damaged.
        since = min(max(0.0, step.since), now) if step.since else None
        if step.cause is StepCause.TAKEN_BACK and since:
            # A report contains the start of the row with the step.
            async_clear_steps(self._hass, self._entry, entity_id, since - ROW)
        # A net counter may fall: its statistics record every change as it is.
        is_net = address[0].startswith("system_net")
        surplus = step.due - (step.after - step.before if is_net else recorded_change(step.before, step.after))
        if step.cause is StepCause.TAKEN_BACK and since and step.due < 0:
            # The wrong reading was recorded as energy: it is removed there, and so is the way back.
            self._corrections.async_add(Correction(entity_id, since, step.due))
            surplus -= step.due
        if not surplus:
            return
        self._corrections.async_add(Correction(entity_id, now, surplus))
        if step.cause is StepCause.LASTING and since:
            self._reports[entity_id] = _Report(step.before, step.after, _TAKEN_BACK_WITHIN, to_key((*address, field)))

    async def _save_corrections(self) -> bool:
        """Save the state of the corrections before one is sent to the recorder; return whether it could be saved."""
        return await self._store.async_save_now(self._dump())

    @callback
    def async_revert(self, issue_id: str, correction: Correction) -> None:
        """Revert the correction that a repair issue is about, once for each issue.

        The issue registry is saved later than this, so that a power failure may bring the issue back.
        """
        if issue_id not in self._reverted:
            self._reverted = [*self._reverted, issue_id][-_MOST_REVERTED:]
            self._corrections.async_revert(correction)
        self._store.keep(self._dump, _SAVE_DELAY_AFTER_STEP)

    @callback
    def _corrected(self, correction: Correction, is_reversal: bool) -> None:
        """Report the correction of a step to the user, if it is to be reported."""
        self._store.keep(self._dump, _SAVE_DELAY_AFTER_CORRECTION)
        if is_reversal:
            return
        if report := self._reports.get(correction.entity_id):
            report.correction = correction
            self._report_steps()

    @callback
    def _report_steps(self) -> None:
        """Report the corrections of steps that were not taken back."""
        now = dt_util.utcnow().timestamp()
        # No more than between two polls, also when the clock was set.
        elapsed, self._reported_at = min(max(0.0, now - self._reported_at), _LONGEST_WAIT), now
        if not self._reports:
            return
        held = {to_key((*address, field)) for address, field in self._counters.held_counters}
        for entity_id, report in list(self._reports.items()):
            report.wait -= elapsed
            if report.correction and report.wait <= 0 and report.counter not in held:
                del self._reports[entity_id]
                async_report_step(self._hass, self._entry, asdict(report.correction), report.before, report.after)

    @callback
    def _log_held_counters(self) -> None:
        """Log one line when readings begin to be held back, and one when none are any more."""
        held = self._counters.held_counters
        if held and not self._is_holding:
            LOGGER.info(
                "%s: %d counters reported implausible values, %s first; their last plausible values are kept",
                *(self._entry.title, len(held), " ".join((*held[0][0], held[0][1]))),
            )
        elif self._is_holding and not held:
            LOGGER.info("%s: all counters report plausible values again", self._entry.title)
        self._is_holding = bool(held)


def _reports(data: object) -> dict[str, _Report]:
    """Return the stored reports; what is not valid is left out."""
    reports = {}
    for entity_id, report in data.items() if isinstance(data, dict) else ():
        match report:
            case [before, after] if is_number(before) and is_number(after):
                # A version before stored no more, and reported a step as soon as it was corrected.
                reports[str(entity_id)] = _Report(before, after, 0.0)
            case [before, after, wait, str(counter), correction] if all(map(is_number, (before, after, wait))):
                corrections = restore_corrections([correction])
                reports[str(entity_id)] = _Report(before, after, wait, counter, next(iter(corrections), None))
    return reports


def _texts(data: object) -> list[str]:
    """Return the texts of a stored list."""
    return [text for text in data if isinstance(text, str)] if isinstance(data, list) else []
