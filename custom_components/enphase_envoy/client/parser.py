"""How documents become objects: pyenphase's updaters read them, one at a time, and what makes no sense is left out.

No Home Assistant here.
"""

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
import logging
from typing import Final

import aiohttp
from orjson import dumps as json_dumps
from pyenphase import EnvoyData
from pyenphase.const import (
    URL_DEVICE_DATA,
    URL_ENSEMBLE_INVENTORY,
    URL_PRODUCTION,
    URL_PRODUCTION_INVERTERS,
    URL_PRODUCTION_JSON,
)
from pyenphase.exceptions import EnvoyError
from pyenphase.json import json_loads
from pyenphase.updaters.base import EnvoyUpdater

from ..model.snapshot import flatten
from .endpoints import UNEXPECTED
from .log_filter import library_warnings_suppressed
from .object_cache import ObjectCache
from .paths import COUNTER_FIELDS, COUNTER_PATHS
from .salvage import candidates
from .scheduler import RequestScheduler

#: What pyenphase's updaters raise on a document that is not what they expect.
PARSE_ERRORS: Final = (
    EnvoyError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    NameError,
)

_LOGGER: Final = logging.getLogger(__name__)


class DocumentParser:
    """Reads the documents of one gateway."""

    def __init__(
        self, asker: RequestScheduler, validate: Callable[[EnvoyData], None], clock: Callable[[], float], name: str
    ) -> None:
        """Prepare to read what `asker` is told.

        `validate` is the library's look at what an updater made, `clock` tells seconds, `name` is for the log.
        """
        self._asker = asker
        self._validate = validate
        self._clock = clock
        self._name = name
        #: All that was read, as the library has it.
        self.data = EnvoyData()
        #: All that was read and can be believed.
        self.known = ObjectCache()
        #: Which updater feeds each field that holds counters.
        self.sources: dict[str, str] = {}
        #: What each updater reads and makes, as seen when it ran.
        self.needs: dict[EnvoyUpdater, set[str]] = {}
        self.makes: dict[EnvoyUpdater, set[str]] = {}
        #: What the updater that runs reads.
        self._reading: set[str] = set()
        self._inverters_counted: int | None = None

    def begin(self, updaters: Iterable[EnvoyUpdater]) -> None:
        """Read with other updaters from now on; what is known stays."""
        self.needs = {updater: set() for updater in updaters}
        self.makes = {updater: set() for updater in self.needs}

    @property
    def in_use(self) -> set[str]:
        """The endpoints that feed something."""
        return set().union(*self.needs.values())

    def note(self, path: str) -> None:
        """Note that the updater which runs reads an endpoint."""
        self._reading.add(path)

    async def read_all(self) -> None:
        """Have the updaters read what is new."""
        for updater, needs in self.needs.items():
            if not needs or needs & self._asker.answered:
                await self._read(updater)

    async def _read(self, updater: EnvoyUpdater) -> None:
        """Have an updater make objects of the documents.

        If it can't, one of the new documents is to blame: each is tried alone beside the last good ones.
        """
        data = await self._try(updater)
        if data is None:
            data = await self._mend(updater, self.needs[updater] & self._asker.answered)
        if data is None:
            if any(self._asker.endpoint(path).latest is None for path in self.needs[updater]):
                return
            candidates = {
                path: self._asker.endpoint(path).latest for path in self.needs[updater] & self._asker.answered
            }
            for path in candidates:
                self._asker.endpoint(path).latest = self._asker.endpoint(path).good
            for path, candidate in candidates.items():
                endpoint = self._asker.endpoint(path)
                endpoint.latest = candidate
                if await self._try(updater) is None and await self._mend(updater, {path}) is None:
                    endpoint.latest = endpoint.good
                    endpoint.fail(UNEXPECTED)
                    self._asker.answered.discard(path)
                    self._doubt(updater)
            data = await self._try(updater)
        if data is not None:
            for path in self.needs[updater]:
                self._asker.endpoint(path).approve(self._clock())
            self._take(updater, data)

    def _doubt(self, updater: EnvoyUpdater) -> None:
        """Have what an updater was told in the probe asked again in the next: it may have been told something odd."""
        for path in self.needs[updater]:
            self._asker.endpoint(path).latest_stands = False

    async def _mend(self, updater: EnvoyUpdater, paths: set[str]) -> EnvoyData | None:
        """Have an updater read without the records that make no sense; None when there is more wrong than those.

        Where counters come from, a record less may mean another source: nothing is left out there.
        """
        for path in sorted(paths - COUNTER_PATHS):
            endpoint = self._asker.endpoint(path)
            if (whole := endpoint.latest) is None:
                continue
            good = endpoint.good and json_loads(path, endpoint.good.body)
            for less in candidates(json_loads(path, whole.body), good):
                endpoint.latest = replace(whole, body=json_dumps(less))
                if (data := await self._try(updater)) is not None:
                    _LOGGER.debug("%s: left out of %s what makes no sense", self._name, path)
                    return data
            endpoint.latest = whole
        return None

    async def _try(self, updater: EnvoyUpdater) -> EnvoyData | None:
        """Run an updater over the latest documents; None when it can't make sense of them."""
        data = EnvoyData()
        self._reading = self.needs[updater]
        try:
            with library_warnings_suppressed():
                await updater.update(data)
            self._validate(data)
        except (aiohttp.ClientError, *PARSE_ERRORS) as err:
            _LOGGER.debug("%s: %s: %r", self._name, type(updater).__name__, err)
            return None
        return data

    def _take(self, updater: EnvoyUpdater, data: EnvoyData) -> None:
        """Merge what an updater made into what is known."""
        for field in fields(EnvoyData):
            if value := getattr(data, field.name):
                setattr(self.data, field.name, value if field.name != "raw" else self.data.raw | value)
        self._note_sources(updater, data)
        needs = {path: self._asker.endpoint(path) for path in self.needs[updater]}
        self.known.take(flatten(data), needs, self.makes[updater], self._asker.answered)

    def _note_sources(self, updater: EnvoyUpdater, data: EnvoyData) -> None:
        """Remember what feeds the counters, and say when that is another than before."""
        name = type(updater).__name__
        changed = {
            self.sources[field]
            for field in COUNTER_FIELDS
            if getattr(data, field) and self.sources.get(field, name) != name
        }
        if changed:
            _LOGGER.warning(
                "%s: counters came from %s and come from %s now", self._name, ", ".join(sorted(changed)), name
            )
        self.sources |= {field: name for field in COUNTER_FIELDS if getattr(data, field)}

    def signs_of_new_hardware(self) -> set[str]:
        """Return lists to read now, since what is asked in every poll tells of members that they did not."""
        signs = set()
        if self.known.members("encharge_power") != self.known.members("encharge_inventory"):
            signs.add(URL_ENSEMBLE_INVENTORY)
        if (count := self._count_of_inverters()) != self._inverters_counted:
            if self._inverters_counted is not None:
                signs.update((URL_DEVICE_DATA, URL_PRODUCTION_INVERTERS))
            self._inverters_counted = count
        return signs & self.in_use

    def _count_of_inverters(self) -> int | None:
        """Return how many inverters the production report counts, None where there is none."""
        raw = self.data.raw
        report = raw.get(URL_PRODUCTION_JSON) or raw.get(URL_PRODUCTION) or {}
        parts = report.get("production") or []
        return next((part.get("activeCount") for part in parts if part.get("type") == "inverters"), None)
