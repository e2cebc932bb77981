"""How documents become objects: pyenphase's updaters parse them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
import logging
import time
from typing import Final

from pyenphase import EnvoyData
from pyenphase.const import (
    URL_DEVICE_DATA,
    URL_ENSEMBLE_INVENTORY,
    URL_PRODUCTION,
    URL_PRODUCTION_INVERTERS,
    URL_PRODUCTION_JSON,
)
from pyenphase.updaters.base import EnvoyUpdater
from pyenphase.updaters.device_data_inverters import EnvoyDeviceDataInvertersUpdater

from ..model.snapshot import Address, flatten
from .endpoints import Endpoint
from .envoy import LibraryEnvoy
from .inverters import is_full
from .lenient import Record
from .models import GatewayData
from .object_cache import ObjectCache
from .paths import COUNTER_FIELDS, FED_BY
from .production import inverter_count

_LOGGER: Final = logging.getLogger(__name__)


class DocumentParser:
    """Parses the documents of one gateway. It makes no requests and never waits."""

    def __init__(
        self,
        envoy: LibraryEnvoy,
        endpoints: Mapping[str, Endpoint],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to parse the documents of `endpoints`; `clock` returns seconds."""
        self._envoy = envoy
        self._endpoints = endpoints
        self._clock = clock
        #: All that was parsed, as the library's writing calls need it.
        self.data = GatewayData()
        #: All valid objects that were parsed.
        self.cache = ObjectCache(envoy.host)
        #: The updater that feeds each field with counters.
        self.sources: dict[str, str] = {}
        #: The endpoints that each updater reads and the fields that it fills, as observed.
        self.needs: dict[EnvoyUpdater, set[str]] = {}
        self.fields: dict[EnvoyUpdater, set[str]] = {}
        self._inverter_count: int | None = None

    def use(self, updaters: Iterable[EnvoyUpdater]) -> None:
        """Parse with other updaters from now on; the objects stay.

        An updater that replaces one of its class is known to fill the same fields: its first document may lack some.
        """
        known = {type(updater): fields for updater, fields in self.fields.items()}
        self.needs = {updater: set() for updater in updaters}
        self.fields = {updater: known.get(type(updater), set()) for updater in self.needs}

    @property
    def paths(self) -> set[str]:
        """The endpoints that the updaters read."""
        return set().union(*self.needs.values())

    @property
    def missing(self) -> set[str]:
        """Those of them that have no document yet, or one of an earlier session."""
        endpoints = ((path, self._endpoints[path]) for path in self.paths)
        return {path for path, endpoint in endpoints if endpoint.latest is None or endpoint.is_restored}

    def parse(self) -> set[Address]:
        """Parse all documents that were not parsed yet; return the addresses of the objects concerned.

        New documents that an updater can't parse are rejected. An updater that did not run before runs as well, and
        shows which endpoints it reads.
        """
        new = {path for path, endpoint in self._endpoints.items() if endpoint.is_unparsed}
        changed = set[Address]()
        for updater, needs in self.needs.items():
            if not needs or needs & new:
                changed |= self._update(updater, new)
        return changed

    def _update(self, updater: EnvoyUpdater, new: set[str]) -> set[Address]:
        """Parse the documents of an updater, some of which are new."""
        latest = {path: endpoint.latest for path, endpoint in self._endpoints.items() if endpoint.latest}
        parsed = self._envoy.parse(updater, latest)
        needs = self.needs[updater]
        if not needs:
            # Its predecessor may have read more.
            self.fields[updater] = {field for field in self.fields[updater] if FED_BY.get(field) in parsed.read}
        needs |= parsed.read
        if parsed.data is None:
            _LOGGER.debug("%s: %s: %r", self._envoy.host, type(updater).__name__, parsed.error)
            for path in needs & new:
                self._endpoints[path].reject()
            return set()
        for path in needs:
            self._endpoints[path].approve(self._clock())
        return self._merge(updater, parsed.data, new)

    def _merge(self, updater: EnvoyUpdater, data: GatewayData, new: set[str]) -> set[Address]:
        """Merge the objects that an updater parsed; return their addresses."""
        for field in fields(EnvoyData):
            if value := getattr(data, field.name):
                setattr(self.data, field.name, value if field.name != "raw" else self.data.raw | value)
        self._note_sources(updater, data)
        needs = {path: self._endpoints[path] for path in self.needs[updater]}
        return self.cache.merge(flatten(data), needs, self.fields[updater], new)

    def _note_sources(self, updater: EnvoyUpdater, data: GatewayData) -> None:
        """Note which updater feeds the counters, and log when that changes."""
        name = getattr(updater, "source", type(updater).__name__)
        filled = [field for field in COUNTER_FIELDS if getattr(data, field)]
        if before := {self.sources[field] for field in filled if self.sources.get(field, name) != name}:
            _LOGGER.warning(
                "%s: counters came from %s and come from %s now", self._envoy.host, ", ".join(sorted(before)), name
            )
        self.sources |= dict.fromkeys(filled, name)

    def signs_of_new_hardware(self) -> set[str]:
        """Return the lists to read now, since documents of every poll contain devices that the lists did not."""
        signs = set()
        if set(self.data.encharge_power or ()) != set(self.data.encharge_inventory or ()):
            signs.add(URL_ENSEMBLE_INVENTORY)
        if (count := self._reported_inverters()) != self._inverter_count:
            if self._inverter_count is not None:
                signs.update((URL_DEVICE_DATA, URL_PRODUCTION_INVERTERS))
            self._inverter_count = count
        return signs & self.paths

    @property
    def lists_too_few_inverters(self) -> bool:
        """Whether the list of inverters is full that is in use: there may be more of them."""
        is_used = any(isinstance(updater, EnvoyDeviceDataInvertersUpdater) for updater in self.needs)
        return is_used and is_full(self.data.raw.get(URL_DEVICE_DATA))

    def _reported_inverters(self) -> int | None:
        """Return the number of inverters in the production report, None where there is none."""
        raw = self.data.raw
        return inverter_count(raw.get(URL_PRODUCTION_JSON) or raw.get(URL_PRODUCTION) or Record())
