"""Persistent storage of a config entry: one file of Home Assistant's storage for each subject."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.json import json_bytes
from homeassistant.helpers.storage import Store
from homeassistant.util.json import json_loads

from .const import DOMAIN, LOGGER

#: Documents of the gateway, and its identity.
DOCUMENTS: Final = "documents"
#: State of the energy pipeline.
COUNTERS: Final = "counters"
#: Health of the panels.
ROOF: Final = "roof"
#: Arrangement of the panels on the array card.
ARRANGEMENT: Final = "arrangement"
#: All subjects; their files are removed with the entry.
STORES: Final = (DOCUMENTS, COUNTERS, ROOF, ARRANGEMENT)

_VERSION: Final = 1
#: Raised for a file that cannot be read, is no JSON, is JSON but no store's, or was written by another version.
_READ_ERRORS: Final = (HomeAssistantError, OSError, ValueError, TypeError, KeyError, NotImplementedError)
_NOT_SCHEDULED: Final = float("inf")


class EntryStore:
    """One file. A scheduled save is also done when Home Assistant stops."""

    def __init__(self, hass: HomeAssistant, entry: ConfigEntry[Any], subject: str) -> None:
        """Initialize for one of STORES; nothing is read or written yet."""
        self._hass, self._entry_id = hass, entry.entry_id
        self._key = f"{DOMAIN}.{entry.entry_id}.{subject}"
        self._store = self._new_store()
        #: Time of the next save, in seconds of the event loop's clock.
        self._due = _NOT_SCHEDULED
        #: The entry was unloaded or removed: nothing more is saved.
        self.is_closed = False

    def _new_store(self) -> Store[dict[str, object]]:
        return Store(self._hass, _VERSION, self._key, private=True, atomic_writes=True)

    async def async_load(self) -> dict[str, object] | None:
        """Return the saved data, None if there is none or it cannot be read."""
        try:
            return await self._read(self._store)
        except _READ_ERRORS as err:
            LOGGER.warning("%s cannot be read (%s) and will be replaced", self._store.key, type(err).__name__)
            return None

    async def _read(self, store: Store[dict[str, object]]) -> dict[str, object] | None:
        """Return the data in the file. Raises one of _READ_ERRORS."""
        await self._hass.async_add_executor_job(_check_json, store.path)
        return _checked(await store.async_load())

    @callback
    def keep(self, make: Callable[[], Mapping[str, object]], within: float) -> None:
        """Save the result of `make` within that many seconds. A repeated call does not delay a scheduled save."""
        if self.is_closed:
            return
        now = self._hass.loop.time()
        if now < self._due <= now + within:
            return
        self._due = min(self._due, now + within)
        self._store.async_delay_save(partial(self._data, make), self._due - now)

    def _data(self, make: Callable[[], Mapping[str, object]]) -> dict[str, object]:
        self._due = _NOT_SCHEDULED
        return dict(make())

    async def async_save_now(self, data: Mapping[str, object]) -> bool:
        """Save immediately, instead of a scheduled save; return whether the file has the data."""
        if self.is_closed:
            return False
        self._due = _NOT_SCHEDULED
        await self._store.async_save(dict(data))
        if self._hass.config_entries.async_get_entry(self._entry_id) is None:
            # The entry was removed meanwhile, maybe before the file was written.
            await self.async_remove()
        return await self._is_saved(data)

    async def _is_saved(self, data: Mapping[str, object]) -> bool:
        """Return whether the file has the data. Home Assistant's store only logs that it could not write it."""
        try:
            saved = await self._read(self._new_store())
        except _READ_ERRORS:
            return False
        return await self._hass.async_add_executor_job(lambda: saved == json_loads(json_bytes(data)))

    async def async_close(self, data: Mapping[str, object] | None) -> None:
        """Save for the last time, or with None leave the file as it is; a scheduled save is cancelled.

        Later saves are refused.
        """
        if not self.is_closed:
            self.is_closed, self._due = True, _NOT_SCHEDULED
            if data is None:
                # Home Assistant's store cancels a scheduled save only when it saves, which it does not do then.
                self._store.make_read_only()
            await self._store.async_save(dict(data or {}))

    async def async_remove(self) -> None:
        """Delete the file and cancel a scheduled save; later saves are refused."""
        self.is_closed = True
        self._due = _NOT_SCHEDULED
        await self._store.async_remove()


def _checked(data: object) -> dict[str, object] | None:
    """Return loaded data. Raises TypeError if it is not a dictionary: Home Assistant's store does not check it."""
    if data is None or isinstance(data, dict):
        return data
    raise TypeError(type(data).__name__)


def _check_json(path: str) -> None:
    """Raise ValueError or OSError for a file that is no JSON; a missing file is valid.

    The store is not used for this although it reads the file again: for a file that is no JSON it logs a traceback,
    creates a critical repair issue that advises to restore a backup, and leaves a copy that is not removed with the
    entry. All of this is in its loading function, so that only a read before it can avoid it. A damaged file here is
    harmless: its content is read from the gateway and the recorder again.
    """
    with suppress(FileNotFoundError):
        json_loads(Path(path).read_bytes())
