"""The books of an entry: opened when its first snapshot comes, kept over restarts, and told to the recorder."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.util import dt as dt_util

from .const import DEFAULT_POLL_INTERVAL, LOGGER, OPTION_POLL_INTERVAL
from .energy.counter import Step, StepCause
from .energy.counter_filter import CounterFilter
from .energy.daily import DailyEnergy
from .energy.pipeline import Pipeline, ProcessingContext
from .energy.virtual_meters import VirtualMeters
from .issues import async_report_step
from .model.json_data import Json
from .model.snapshot import Address, CounterKey, Snapshot, to_key
from .model.validation import is_number
from .statistics.recorder import (
    Correction,
    PendingCorrections,
    async_last_recorded,
    async_recorder,
    recorded_change,
    restore_corrections,
)
from .storage import COUNTERS, EntryStore

#: Seconds within which what was entered is saved.
_SAVED_WITHIN: Final = 600
#: Seconds within which is saved what a crash must not undo.
_SAVED_SOON: Final = 5
#: Seconds within which a step may turn out to be a wrong reading, after which it is reported.
_TAKEN_BACK_WITHIN: Final = 2700.0
#: Seconds between two polls at most.
_LONGEST_WAIT: Final = 600.0
#: Seconds after which what was remembered of a counter may be older than what was recorded.
_OLD: Final = 3600
#: Names in memory, beside those of the steps.
_CORRECTIONS: Final = "corrections"
_REPORTS: Final = "reports"


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
    """Enters each snapshot into the books, and has corrected what the statistics book of a counter's leap."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: ConfigEntry,
        clock: Callable[[], float],
        counters: Callable[[Snapshot, Collection[Address]], Mapping[CounterKey, str]],
    ) -> None:
        """Prepare to keep the books, on the clock of the polls. `counters` tells which entities show which of them."""
        self._hass = hass
        self._entry = entry
        self._clock = clock
        self._counters = counters
        self._memory = EntryStore(hass, entry, COUNTERS)
        self._guard = CounterFilter()
        self._ledger = VirtualMeters(self._guard, entry.options.get(OPTION_POLL_INTERVAL, DEFAULT_POLL_INTERVAL))
        self._pipeline = Pipeline((self._guard, DailyEnergy(self._guard), self._ledger))
        self._corrections = PendingCorrections(hass, self._corrected)
        #: Steps to be reported to the user, by entity.
        self._reports: dict[str, _Report] = {}
        self._reported_at = 0.0
        self._stop: CALLBACK_TYPE | None = None
        #: Something is held back.
        self._doubting = False

    async def async_load(self, snapshot: Snapshot) -> None:
        """Remember what was entered before, or else what was recorded, once."""
        if self._stop:
            return
        memory = await self._memory.async_load() or {}
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
        self._stop = self._corrections.async_start()

    async def _recorded(
        self, snapshot: Snapshot, addresses: Collection[Address]
    ) -> dict[CounterKey, tuple[float, float]]:
        """Return what was last recorded of the counters at some addresses in Wh, and when."""
        if not addresses or async_recorder(self._hass) is None:
            return {}
        entities = self._counters(snapshot, addresses)
        recorded = await async_last_recorded(self._hass, set(entities.values()))
        return {counter: recorded[entity] for counter, entity in entities.items() if entity in recorded}

    @callback
    def process(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with counters that only tell the truth, and with what follows from them."""
        now = dt_util.utcnow().timestamp()
        context = ProcessingContext(now, now - self._clock(), dt_util.get_default_time_zone(), snapshot.unread_meters)
        entered = self._pipeline.process(snapshot, context)
        if steps := self._guard.steps:
            entities = self._counters(entered, {address for address, _ in steps})
            for counter, step in steps.items():
                self._correct(counter, step, entities.get(counter), now)
        self._report_steps()
        self._tell_doubts()
        if self._stop:
            self._memory.keep(self._dump, _SAVED_SOON if steps else _SAVED_WITHIN)
        return entered

    async def async_close(self) -> None:
        """Save what was entered, for the last time."""
        if self._stop:
            self._stop()
            self._stop = None
            await self._memory.async_save_now(self._dump())

    def _dump(self) -> dict[str, Json]:
        reports: dict[str, Json] = {entity_id: report.dump() for entity_id, report in self._reports.items()}
        return self._pipeline.dump() | {_CORRECTIONS: self._corrections.dump(), _REPORTS: reports}

    @callback
    def _correct(self, counter: CounterKey, step: Step, entity_id: str | None, now: float) -> None:
        """Correct what the statistics will record of a step."""
        address, field = counter
        texts = (entity_id or " ".join((*address, field)), step.before / 1000, step.after / 1000, step.gained / 1000)
        LOGGER.info("%s went from %.3f to %.3f kWh; %.3f kWh of that is energy that flowed", *texts)
        if entity_id is None:
            return
        self._reports.pop(entity_id, None)
        surplus = step.due - recorded_change(step.before, step.after)
        if step.cause is StepCause.TAKEN_BACK and step.since and step.due < 0:
            # The wrong reading was recorded as energy: nothing of it stays there, nor of the way back.
            self._corrections.async_add(Correction(entity_id, step.since, step.due))
            surplus -= step.due
        if not surplus:
            return
        self._corrections.async_add(Correction(entity_id, now, surplus))
        if step.cause is StepCause.LASTING and step.since:
            self._reports[entity_id] = _Report(step.before, step.after, _TAKEN_BACK_WITHIN, to_key((*address, field)))

    @callback
    def _corrected(self, correction: Correction) -> None:
        """Inform the user, who may have another opinion, of the correction of a step."""
        self._memory.keep(self._dump, _SAVED_SOON)
        if report := self._reports.get(correction.entity_id):
            report.correction = correction
            self._report_steps()

    @callback
    def _report_steps(self) -> None:
        """Report the corrections of steps that were not taken back within an hour."""
        if not self._reports:
            return
        now = dt_util.utcnow().timestamp()
        # No more than between two polls, also when the clock was set.
        elapsed, self._reported_at = min(max(0.0, now - self._reported_at), _LONGEST_WAIT), now
        held = {to_key((*address, field)) for address, field in self._guard.held_counters}
        for entity_id, report in list(self._reports.items()):
            report.wait -= elapsed
            if report.correction and report.wait <= 0 and report.counter not in held:
                del self._reports[entity_id]
                async_report_step(self._hass, self._entry, asdict(report.correction), report.before, report.after)

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
