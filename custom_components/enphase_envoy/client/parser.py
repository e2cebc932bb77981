"""How documents become objects: pyenphase's updaters parse them, one at a time, and invalid records are left out."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields, replace
import logging
import time
from typing import Final, override

from orjson import dumps as json_dumps
from pyenphase import EnvoyData
from pyenphase.const import (
    URL_DEVICE_DATA,
    URL_ENSEMBLE_INVENTORY,
    URL_PRODUCTION,
    URL_PRODUCTION_INVERTERS,
    URL_PRODUCTION_JSON,
)
from pyenphase.json import json_loads
from pyenphase.updaters.base import EnvoyUpdater

from ..model.snapshot import Address, flatten
from .endpoints import Document, Endpoint
from .envoy import LibraryEnvoy, Parsed
from .models import GatewayData
from .object_cache import ObjectCache
from .paths import COUNTER_FIELDS, COUNTER_PATHS
from .production import inverter_count
from .salvage import salvaged

_LOGGER: Final = logging.getLogger(__name__)


class _View(Mapping[str, Document]):
    """The latest documents, with some of them replaced by others."""

    def __init__(self, endpoints: Mapping[str, Endpoint], replaced: Mapping[str, Document | None]) -> None:
        self._endpoints = endpoints
        self._replaced = replaced

    @override
    def __getitem__(self, path: str) -> Document:
        found = self._replaced[path] if path in self._replaced else self._endpoints[path].latest
        if found is None:
            raise KeyError(path)
        return found

    @override
    def __iter__(self) -> Iterator[str]:
        return (path for path in {*self._endpoints, *self._replaced} if path in self)

    @override
    def __len__(self) -> int:
        return sum(1 for _ in self)

    def with_document(self, path: str, document: Document | None) -> _View:
        """Return this with another document of an endpoint."""
        return _View(self._endpoints, {**self._replaced, path: document})


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
        self.cache = ObjectCache()
        #: The updater that feeds each field with counters.
        self.sources: dict[str, str] = {}
        #: The endpoints that each updater reads and the fields that it fills, as observed.
        self.needs: dict[EnvoyUpdater, set[str]] = {}
        self.fields: dict[EnvoyUpdater, set[str]] = {}
        self._inverter_count: int | None = None
        #: The documents that were salvaged last, and the results.
        self._last_salvaged: dict[str, tuple[Document, Document | None]] = {}

    def use(self, updaters: Iterable[EnvoyUpdater]) -> None:
        """Parse with other updaters from now on; the objects stay."""
        self.needs = {updater: set() for updater in updaters}
        self.fields = {updater: set() for updater in self.needs}

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

        A document that can't be parsed is rejected. An updater that did not run before runs as well, and shows which
        endpoints it reads.
        """
        new = {path for path, endpoint in self._endpoints.items() if endpoint.is_unparsed}
        changed = set[Address]()
        for updater, needs in self.needs.items():
            if not needs or needs & new:
                changed |= self._update(updater, new)
        return changed

    def _update(self, updater: EnvoyUpdater, unparsed: set[str]) -> set[Address]:
        """Parse the documents of an updater.

        If that fails, one of the new documents is the cause: each is tried alone beside the last good ones.
        """
        view = _View(self._endpoints, {})
        parsed, view = self._try(updater, view, unparsed)
        new = self.needs[updater] & unparsed
        if parsed.data is None and not parsed.missing:
            good = _View(self._endpoints, {path: self._endpoints[path].good for path in new})
            for path in sorted(new):
                parsed, trial = self._try(updater, good.with_document(path, self._endpoints[path].latest), {path})
                if parsed.data is not None:
                    good = trial
                    continue
                self._endpoints[path].reject()
                unparsed.discard(path)
                for other in self.needs[updater]:
                    # A probe may have used an invalid document: the next one requests them again.
                    self._endpoints[other].latest_is_current = False
            parsed, view = self._run(updater, good), good
        if parsed.data is None:
            return set()
        for path in self.needs[updater]:
            self._endpoints[path].approve(self._clock(), view.get(path))
        return self._merge(updater, parsed.data, unparsed)

    def _try(self, updater: EnvoyUpdater, view: _View, paths: Collection[str]) -> tuple[Parsed, _View]:
        """Have an updater parse documents, or if it can't, copies of some of them without their invalid records."""
        parsed = self._run(updater, view)
        if parsed.data is not None or parsed.missing:
            return parsed, view
        if (lenient := self._run(updater, view, is_lenient=True)).data is not None:
            return lenient, view
        # A record less may mean another source of counters: their documents are taken whole or not at all.
        for path in sorted((self.needs[updater] & set(paths)) - COUNTER_PATHS):
            if (document := view.get(path)) is None:
                continue
            if (less := self._salvaged(path, document)) is None:
                continue
            trial = view.with_document(path, less)
            if (again := self._run(updater, trial)).data is not None:
                _LOGGER.debug("%s: left invalid records of %s out", self._envoy.host, path)
                return again, trial
        return parsed, view

    def _salvaged(self, path: str, document: Document) -> Document | None:
        """Return a copy of a document without its invalid records, None if it has none; determined once for each."""
        before, result = self._last_salvaged.get(path, (None, None))
        if before is document:
            return result
        good = self._endpoints[path].good
        less = salvaged(json_loads(path, document.body), good and json_loads(path, good.body))
        result = None if less is None else replace(document, body=json_dumps(less))
        self._last_salvaged[path] = document, result
        return result

    def _run(self, updater: EnvoyUpdater, view: _View, *, is_lenient: bool = False) -> Parsed:
        """Have an updater parse documents, and note which it reads."""
        parsed = self._envoy.parse(updater, view, is_lenient=is_lenient)
        self.needs[updater] |= parsed.read
        if parsed.error and not parsed.missing:
            _LOGGER.debug("%s: %s: %r", self._envoy.host, type(updater).__name__, parsed.error)
        return parsed

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

    def _reported_inverters(self) -> int | None:
        """Return the number of inverters in the production report, None where there is none."""
        raw = self.data.raw
        return inverter_count(raw.get(URL_PRODUCTION_JSON) or raw.get(URL_PRODUCTION))
