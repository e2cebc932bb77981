"""The panels of an entry: their stored state, the darkness at the system's place, and repair issues."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

from astral import Observer  # type: ignore[import-untyped]
from astral.sun import elevation  # type: ignore[import-untyped]
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.util import dt as dt_util

from .const import DOMAIN
from .issues import SLOW_REPORTS, async_clear, async_report_panels, async_report_slow_reports
from .model.panels import STATUSES
from .model.snapshot import Address, Snapshot
from .roof.health import Problem
from .roof.monitor import Moment, RoofMonitor
from .storage import ROOF, EntryStore

#: Seconds within which the state is stored.
_SAVE_DELAY: Final = 3600
#: Elevation of the sun in degrees below which panels report that there is too little light.
_DARK_BELOW: Final = 5.0
#: Fields whose objects contain reports of panels.
_FIELDS: Final = frozenset({"inverters", STATUSES, "acb_inventory"})
#: Days after which a problem is reported to the user.
_LASTING_DAYS: Final = 3
#: Seconds between reports from which on they are too rare, and below which they are as usual.
_SLOW_FROM: Final = 840.0
_USUAL_BELOW: Final = 600.0


class RoofManager:
    """Follows the panels of a gateway."""

    def __init__(self, hass: HomeAssistant, entry: ConfigEntry, wall: Callable[[], float]) -> None:
        """Prepare to process snapshots; `wall` returns seconds since the epoch."""
        self._wall = wall
        self._hass = hass
        self._entry = entry
        self._store = EntryStore(hass, entry, ROOF)
        self._is_loaded = False
        self.monitor = RoofMonitor()
        #: The panels in the issues, by reason.
        self._reported: dict[Problem, list[str]] = {}

    async def async_load(self) -> None:
        """Restore the stored state, once."""
        if not self._is_loaded:
            self._is_loaded = True
            stored = await self._store.async_load() or {}
            self.monitor.load(stored)

    @callback
    def process(self, snapshot: Snapshot, addresses: Collection[Address] | None = None) -> Snapshot:
        """Return the snapshot with the objects of the panels; with `addresses`, only these have changed."""
        if addresses is not None and _FIELDS.isdisjoint(address[0] for address in addresses):
            return replace(snapshot, objects=self.monitor.process(snapshot.objects, None))
        now = self._wall()
        place = Observer(self._hass.config.latitude, self._hass.config.longitude)
        is_dark = elevation(place, dt_util.utc_from_timestamp(now)) < _DARK_BELOW
        moment = Moment(now, dt_util.get_default_time_zone(), is_dark)
        objects = self.monitor.process(snapshot.objects, moment)
        if self.monitor.health.panels and self._is_loaded:
            self._store.keep(self.monitor.dump, _SAVE_DELAY)
            self._report()
        return replace(snapshot, objects=objects)

    @callback
    def _report(self) -> None:
        """Report the problems that last, and reports that are too rare; delete the issues about what is over."""
        health = self.monitor.health
        lasting: dict[Problem, list[str]] = {problem: [] for problem in Problem}
        for serial, panel in health.panels.items():
            if panel.problem and health.day - panel.since >= _LASTING_DAYS:
                lasting[panel.problem].append(serial)
        for problem, serials in lasting.items():
            if serials != self._reported.get(problem):
                async_report_panels(self._hass, self._entry, problem, [self.name(serial) for serial in serials])
        self._reported = lasting
        if health.report_interval >= _SLOW_FROM:
            async_report_slow_reports(self._hass, self._entry, round(health.report_interval / 60))
        elif 0 < health.report_interval < _USUAL_BELOW:
            async_clear(self._hass, self._entry, SLOW_REPORTS)

    def name(self, serial: str) -> str:
        """Return the name of a panel's device."""
        device = dr.async_get(self._hass).async_get_device_by_identifier((DOMAIN, serial), self._entry.entry_id)
        return (device and (device.name_by_user or device.name)) or serial

    async def async_close(self) -> None:
        """Store the state for the last time; without panels, what is stored is kept."""
        await self._store.async_close(self.monitor.dump() if self._is_loaded and self.monitor.health.panels else None)
