"""What is known again after a restart: files of an entry in Home Assistant's storage, one for each subject."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.storage import Store
from homeassistant.util.json import json_loads

from .const import DOMAIN, LOGGER

#: What the gateway said, and who it is.
DOCUMENTS: Final = "documents"
#: What was counted.
COUNTERS: Final = "counters"
#: All that is remembered of an entry, and forgotten with it.
STORES: Final = (DOCUMENTS, COUNTERS)

_VERSION: Final = 1
#: What Home Assistant raises, as itself or by accident, about a file that it did not write.
_UNREADABLE: Final = (HomeAssistantError, OSError, LookupError, TypeError, ValueError, AttributeError)
_NOTHING: Final = float("inf")


class EntryStore:
    """One such file. What is due to be saved is also saved when Home Assistant stops."""

    def __init__(self, hass: HomeAssistant, entry: ConfigEntry[Any], subject: str) -> None:
        """Prepare to remember one of SUBJECTS; nothing is read or written yet."""
        self._hass = hass
        self._store: Store[dict[str, object]] = Store(
            hass, _VERSION, f"{DOMAIN}.{entry.entry_id}.{subject}", private=True, atomic_writes=True
        )
        #: When the next save is due, in seconds of the event loop.
        self._due = _NOTHING

    async def async_load(self) -> dict[str, object] | None:
        """Return what was saved last, None when that is nothing or can't be read."""
        try:
            # Home Assistant has a traceback and a critical repair for what is no JSON; this can be done without.
            await self._hass.async_add_executor_job(_check, self._store.path)
            saved: object = await self._store.async_load()
        except _UNREADABLE as err:
            LOGGER.warning("%s can't be read (%s) and will be written anew", self._store.key, type(err).__name__)
            return None
        return saved if isinstance(saved, dict) else None

    @callback
    def keep(self, make: Callable[[], Mapping[str, object]], within: float) -> None:
        """Save what `make` returns then, in JSON's types, within that many seconds; said again it is not put off."""
        now = self._hass.loop.time()
        if now < self._due <= now + within:
            return
        self._due = min(self._due, now + within)
        self._store.async_delay_save(partial(self._made, make), self._due - now)

    def _made(self, make: Callable[[], Mapping[str, object]]) -> dict[str, object]:
        self._due = _NOTHING
        return dict(make())

    async def async_save_now(self, what: Mapping[str, object]) -> None:
        """Save at once, in place of what was due."""
        self._due = _NOTHING
        await self._store.async_save(dict(what))

    async def async_remove(self) -> None:
        """Delete the file, and save nothing that was due."""
        self._due = _NOTHING
        await self._store.async_remove()


def _check(path: str) -> None:
    """Raise ValueError or OSError for a file that holds no JSON; that there is none is fine."""
    with suppress(FileNotFoundError):
        json_loads(Path(path).read_bytes())
