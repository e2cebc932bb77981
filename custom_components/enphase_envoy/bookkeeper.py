"""The books of an entry: opened when its first snapshot comes, kept over restarts."""

from collections.abc import Callable
from typing import Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.util import dt as dt_util

from .books import Books, Moment
from .const import DEFAULT_POLL_INTERVAL, LOGGER, OPTION_POLL_INTERVAL
from .counters import Guard, Stepped
from .days import Days
from .ledger import Ledger
from .memory import COUNTERS, Memory
from .snapshot import Snapshot

#: Seconds within which what was entered is saved.
_SAVED_WITHIN: Final = 600


class Bookkeeper:
    """Enters each snapshot into the books."""

    def __init__(self, hass: HomeAssistant, entry: ConfigEntry, clock: Callable[[], float]) -> None:
        """Prepare to keep the books, on the clock of the polls."""
        self._clock = clock
        self._memory = Memory(hass, entry, COUNTERS)
        self._guard = Guard()
        ledger = Ledger(self._guard, entry.options.get(OPTION_POLL_INTERVAL, DEFAULT_POLL_INTERVAL))
        self._books = Books((self._guard, Days(self._guard), ledger))
        self._is_open = False

    async def async_open(self) -> None:
        """Remember what was entered before, once."""
        if not self._is_open:
            self._books.load(await self._memory.async_load() or {})
            self._is_open = True

    @callback
    def enter(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with counters that only tell the truth, and with what follows from them."""
        now = dt_util.utcnow().timestamp()
        entered = self._books.enter(snapshot, Moment(now, now - self._clock(), dt_util.get_default_time_zone()))
        for step in self._guard.steps:
            self._report(step)
        if self._is_open:
            self._memory.keep(self._books.dump, _SAVED_WITHIN)
        return entered

    async def async_close(self) -> None:
        """Save what was entered, for the last time."""
        if self._is_open:
            self._is_open = False
            await self._memory.async_save_now(self._books.dump())

    @callback
    def _report(self, step: Stepped) -> None:
        LOGGER.warning("%s: %.0f Wh became %.0f Wh (%s)", step.counter, step.before, step.after, step.cause)
