"""One gateway: identified, polled, probed and written to.

A poll requests each endpoint that is due, keeps the last good document of each, and has pyenphase's updaters parse the
documents, so that an endpoint which fails, or whose document is invalid, affects only what it feeds.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Set as AbstractSet
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
import logging
import time
from typing import Final

import aiohttp
from pyenphase.const import AUTH_TOKEN_MIN_VERSION, URL_INVENTORY, URL_PRODUCTION_INVERTERS, SupportedFeatures
from pyenphase.exceptions import EnvoyAuthenticationRequired, EnvoyClientClosedError, EnvoyProbeFailed
from pyenphase.models.meters import CtType

from ..model.production import is_production_empty
from ..model.snapshot import Address, Snapshot
from ..model.text import clean
from . import persistence
from .auth import Credentials
from .endpoints import Document, Failure, FailureKind
from .envoy import PARSE_ERRORS, Discovery, LibraryEnvoy
from .errors import GatewayBusyError, GatewayError, Reason
from .live import LivePower
from .live_frames import RELAYS
from .parser import DocumentParser
from .paths import (
    ALL_PATHS,
    COUNTER_PATHS,
    FED_BY,
    INVENTORY_PERIOD_WITH_BATTERIES,
    UNHURRIED,
    URL_INFO,
    URL_LIVE_DATA_STATUS,
)
from .persistence import ClockPair
from .probe import ProbeSchedule
from .scheduler import PollCycle, RawResponse, RequestScheduler
from .timeouts import Timeouts
from .writing import Edit, WrittenValues

_LOGGER: Final = logging.getLogger(__name__)

#: Called with the addresses of objects that changed outside of a poll.
type Listener = Callable[[Collection[Address]], None]


class Gateway:
    """A gateway on the local network."""

    def __init__(
        self,
        host: str,
        session: aiohttp.ClientSession,
        clock: Callable[[], float] = time.monotonic,
        *,
        wall: Callable[[], float] = time.time,
        pinned: bool = False,
        timeouts: Timeouts | None = None,
    ) -> None:
        """Prepare to talk to the gateway at `host` (`host:port` is fine) through a session of the caller.

        `clock` returns seconds, `wall` epoch seconds. `pinned` means that the session accepts one certificate only:
        then no device without one is sent anything.
        """
        self.host = host
        self.clock = clock
        self.timeouts = timeouts or Timeouts()
        #: Seconds between polls, as the caller polls.
        self.poll_interval: float = 60.0
        #: pyenphase's object, for its properties and its commands.
        self.envoy = LibraryEnvoy(host, session, self.timeouts)
        self.wall = wall
        self._pinned = pinned
        self._scheduler = RequestScheduler(self.envoy, self.timeouts, clock)
        self.envoy.slot = self._scheduler.slot
        self.live = LivePower(self.envoy, self._scheduler, clock)
        self._parser = DocumentParser(self.envoy, self._scheduler.endpoints, clock)
        self.envoy.data = self._parser.data
        self._probes = ProbeSchedule(clock)
        self._is_probe_complete = True
        #: Whether the last poll read a production of zero while inverters report power.
        self._was_production_empty = False
        self._listeners: list[Listener] = []
        #: Endpoints whose failure was logged.
        self._failing: set[str] = set()
        #: No endpoint answered the last poll.
        self._lost = False
        self._polling = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._written = WrittenValues(clock)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._scheduler.is_closed

    # Identification and authentication

    @property
    def serial(self) -> str:
        """Serial number; empty before the gateway was identified."""
        return self.envoy.serial_number or ""

    @property
    def firmware(self) -> str | None:
        """Firmware such as `8.2.4345`, None before the gateway was identified."""
        return str(self.envoy.firmware) if self.envoy.firmware else None

    @property
    def uses_tokens(self) -> bool:
        """True from firmware 7 on; older firmware authenticates a local user by digest."""
        return self.envoy.uses_tokens

    @property
    def token(self) -> str | None:
        """The token in use, None below firmware 7."""
        return self.envoy.token

    @property
    def is_authenticated(self) -> bool:
        """Whether a login succeeded since the start."""
        return self.envoy.auth is not None

    async def identify(self, expected: str | None = None, *, tokens_only: bool = False) -> None:
        """Request `/info`. Raises GatewayError when no gateway answers, or one with another serial than `expected`.

        With `tokens_only` firmware before 7 is refused: no gateway goes back to it, and it is sent a user name and a
        digest of the password, from which weak passwords can be found. The result of an earlier identification is then
        still in use.
        """
        found = self.envoy.new_firmware()
        try:
            async with self._scheduler.slot(URL_INFO):
                info = await found.identify(self.timeouts.identify)
        except GatewayBusyError as err:
            raise GatewayError(Reason.CANNOT_CONNECT, "busy") from err
        if expected not in (None, info.serial):
            raise GatewayError(Reason.OTHER_GATEWAY, info.serial)
        if self._pinned and not (found.version >= AUTH_TOKEN_MIN_VERSION and info.secure):
            # An impostor that speaks plain HTTP, or reports old firmware, would be sent a user name and a password.
            raise GatewayError(Reason.CERTIFICATE_CHANGED, "plain HTTP")
        if tokens_only and not found.version >= AUTH_TOKEN_MIN_VERSION:
            raise GatewayError(Reason.FIRMWARE_BEFORE_TOKENS, info.firmware)
        if self.firmware not in (None, info.firmware):
            _LOGGER.info("%s: firmware %s became %s", self.host, self.firmware, info.firmware)
            self.request_probe()
        self.envoy.use_firmware(found)

    @property
    def denies_inverters(self) -> bool:
        """Whether firmware before 7 rejects the password: its inverters require one, its production is public."""
        failure = self._scheduler.endpoints[URL_PRODUCTION_INVERTERS].failure
        return not self.uses_tokens and failure is not None and failure.kind is FailureKind.UNAUTHORIZED

    async def log_in(self, credentials: Credentials, *, accept_partial: bool = False) -> None:
        """Authenticate, and fetch a token when there is none. Raises GatewayError.

        With `accept_partial` a wrong or missing password of firmware before 7 is no error: its production is public.
        """
        if not self.uses_tokens:
            await self._log_in_locally(credentials, accept_partial)
            return
        if not (credentials.token or credentials.has_account):
            raise GatewayError(Reason.CREDENTIALS_MISSING)
        await self.envoy.log_in_with_token(credentials.username, credentials.password, credentials.token)

    async def _log_in_locally(self, credentials: Credentials, accept_partial: bool) -> None:
        """Authenticate a local user of firmware before 7. Raises GatewayError.

        An Enlighten account, whose user name is an e-mail address, is not used: anything at this address would be sent
        a digest of its password.
        Without a password the well-known ones are used. A gateway that denies access to its inverters still grants it
        to its production: only a password that was entered can be wrong.
        """
        if "@" in (credentials.username or ""):
            raise GatewayError(Reason.CLOUD_ACCOUNT)
        has_password = credentials.password or credentials.username in (None, "", "envoy", "installer")
        # The library requires a password of other users, also for what is public.
        password = credentials.password if has_password or not accept_partial else "-"
        try:
            await self.envoy.authenticate(credentials.username, password)
        except EnvoyAuthenticationRequired as err:
            raise GatewayError(Reason.PASSWORD_REJECTED) from err
        cycle = self._scheduler.new_cycle()
        await self._fetch(cycle, [URL_PRODUCTION_INVERTERS], self._timeout)
        if cycle.unauthorized and credentials.password and not accept_partial:
            raise GatewayError(Reason.PASSWORD_REJECTED)
        failure = self._scheduler.endpoints[URL_PRODUCTION_INVERTERS].failure
        if failure and failure.is_without_answer and not (cycle.unauthorized or self.has_documents):
            raise GatewayError(Reason.CANNOT_CONNECT, str(failure))

    # Data of earlier sessions

    @property
    def has_documents(self) -> bool:
        """Whether there are documents of this gateway, from this session or an earlier one."""
        return any(endpoint.good for endpoint in self._scheduler.endpoints.values())

    @property
    def _timeout(self) -> float | None:
        """Seconds that a poll waits for answers: without limit when there is nothing else to show."""
        return self.timeouts.poll if self.has_documents else None

    def dump(self) -> dict[str, object]:
        """Return identification and documents, to be stored as JSON."""
        cache = self._parser.cache
        known = set[Address]().union(*cache.known.values())
        now = ClockPair(self.clock(), self.wall())
        endpoints, counting = self._scheduler.endpoints, self.envoy.counting
        return persistence.dump(
            self.envoy.info, self._parser.sources, endpoints, now, known, absent=cache.absent, counting=counting
        )

    def load(self, stored: Mapping[str, object], expected: str | None) -> None:
        """Restore what `dump` returned in an earlier session, if it is about the `expected` serial number."""
        found = persistence.load(stored, ClockPair(self.clock(), self.wall()))
        if found and expected in (None, found.info.serial):
            self.envoy.restore_info(found.info)
            self._parser.sources = found.sources
            self.envoy.counting.update(found.counting)
            self._scheduler.endpoints.update(found.endpoints)
            self._parser.cache.restore(found.known)

    def discard_device(self, serial: str) -> None:
        """Accept a device that the user deleted only as a new one, should the gateway report it again."""
        self._parser.cache.discard_identities(serial)

    def discard(self) -> None:
        """Discard all documents but not the identification: the restored ones can't be used."""
        self._lost = False
        self._parser.use(())
        self._parser.sources.clear()
        self._scheduler.endpoints.clear()

    async def restore(self) -> Snapshot:
        """Return the snapshot that the restored documents give, without any request. Raises GatewayError if none."""
        if not self._parser.cache.objects:
            cycle = self._scheduler.new_cycle(offline=True)
            await self._probe(cycle)
            await self._parse(cycle)
            self._plan_probe(cycle)
            self._lost = True
        return self.snapshot()

    # The poll

    def add_listener(self, listener: Listener) -> None:
        """Call a listener, until this is closed, when objects change outside of a poll."""
        self._listeners.append(listener)

    async def poll(self) -> Snapshot:
        """Request what is due and return all objects. Raises GatewayError when no endpoint answered."""
        async with self._polling:
            cycle = self._scheduler.new_cycle()
            await self._fetch_all(cycle, await self._due(cycle))
            await self._probe_and_parse(cycle)
            self._request_probe_on_signs()
            await self._fetch_more(cycle)
            self._require_answers(cycle)
            self.live.retry()
            self._keep_fresh(cycle)
            self._log_failures()
            return self.snapshot()

    async def _probe_and_parse(self, cycle: PollCycle) -> None:
        """Parse the answers of a cycle, after a probe if one is due."""
        probes = not self._lost and (not self._parser.needs or self._probes.is_due)
        if probes:
            await self._probe(cycle)
        await self._parse(cycle)
        if probes:
            self._plan_probe(cycle)

    def _request_probe_on_signs(self) -> None:
        """Probe with the next poll where production is zero while inverters have power, or inverters are missing."""
        objects = self._parser.cache.objects
        production = objects.get(("system_production",))
        is_empty = production is not None and is_production_empty(production.value, objects)
        if (is_empty and not self._was_production_empty) or self._parser.lists_too_few_inverters:
            self.request_probe()
        self._was_production_empty = is_empty

    async def _fetch_more(self, cycle: PollCycle) -> None:
        """Request what shows new hardware, or whether the gateway is lost."""
        if more := self._another(cycle) or self._parser.signs_of_new_hardware() - cycle.requested:
            await self._fetch(cycle, more, self.timeouts.poll)
            await self._parse(cycle)

    def _require_answers(self, cycle: PollCycle) -> None:
        """Raise GatewayError when no endpoint answered: then the gateway is lost until one does.

        Answers that are only late prove that it responds: the values shown expire by themselves.
        """
        on_time = cycle.requested - self._scheduler.late
        self._lost = not cycle.answered and (bool(on_time) or self._lost)
        if self._lost:
            raise GatewayError(self._reason(cycle), cycle.failures())

    async def read_live(self) -> None:
        """Read live power once, and notify the listeners of the objects that it changed."""
        if self.is_closed:
            return
        source, objects = self.live.source, self._parser.cache.objects
        changed = await self.live.read(objects)
        if source == URL_LIVE_DATA_STATUS and self.live.source != source:
            # No other source has the relays, and polls read them rarely.
            for address in objects.keys() & set(RELAYS):
                self._scheduler.endpoints[FED_BY[address[0]]].make_due(self.clock())
        if changed is not None and not self.is_closed:
            for listener in list(self._listeners):
                listener(changed)

    async def _due(self, cycle: PollCycle) -> set[str]:
        """Return the endpoints to request in this poll: all of them, once a lost gateway answers again."""
        endpoints = self._scheduler.endpoints
        if not self._parser.needs:
            return {path for path, endpoint in endpoints.items() if endpoint.good}
        in_use, late = self._parser.paths, self._scheduler.late
        due, spared = in_use, set[str]()
        if self._parser.cache.objects:
            now, slack = self.clock(), self.poll_interval / 2
            spared = self._spared()
            due = {path for path in in_use if endpoints[path].is_due(now, slack)} - spared
            due |= self._parser.cache.with_new & in_use
        # With live power nothing may be due in a small system, whose gateway answers nevertheless.
        if (due - late or spared) and not self._lost:
            return due
        # All others pause after failures, or are still under way: the fastest shows whether that is over.
        await self._fetch(cycle, self._fastest(in_use), self.timeouts.poll)
        return in_use if cycle.answered else set()

    def _another(self, cycle: PollCycle) -> list[str]:
        """Return one more endpoint to request where all that were due failed: with live power these are few.

        One that did not fail the last time: without data from any endpoint the gateway is lost.
        """
        on_time = cycle.requested - self._scheduler.late
        if not on_time or cycle.answered or cycle.unreachable or self._lost:
            return []
        good = {path for path in self._parser.paths if not self._scheduler.endpoints[path].failure}
        return self._fastest(good - cycle.requested)

    def _fastest(self, paths: AbstractSet[str]) -> list[str]:
        """Return the fastest of the endpoints without a request under way; none where there is none."""
        endpoints = self._scheduler.endpoints
        return sorted(paths - self._scheduler.late, key=lambda path: (endpoints[path].duration, path))[:1]

    def _spared(self) -> set[str]:
        """Return endpoints that live power covers, requested in the last poll: every second one is enough for them.

        The values that live power does not cover expire after three polls.
        """
        endpoints, since = self._scheduler.endpoints, self.clock() - 1.5 * self.poll_interval
        covered = self.live.covered(self._parser.cache.objects)
        return {path for path in covered if not endpoints[path].failure and endpoints[path].requested_at > since}

    async def _fetch(self, cycle: PollCycle, paths: Iterable[str], seconds: float | None) -> None:
        """Request endpoints in a cycle; late answers are merged when they arrive. Raises GatewayError when closed."""
        for path, task in (await cycle.fetch(paths, seconds)).items():
            task.add_done_callback(partial(self._merge_late, cycle, path))
        self._require_open()

    async def _fetch_all(self, cycle: PollCycle, paths: AbstractSet[str]) -> None:
        """Request endpoints in a cycle, and wait for those that may take long only briefly, after all others."""
        await self._fetch(cycle, paths - UNHURRIED, self._timeout)
        await self._fetch(cycle, paths & UNHURRIED, self.timeouts.unhurried)

    def _require_open(self) -> None:
        """Raise GatewayError when closed."""
        if self.is_closed:
            raise GatewayError(Reason.CANNOT_CONNECT, "closed")

    def _merge_late(self, cycle: PollCycle, path: str, task: asyncio.Task[bool]) -> None:
        """Parse an answer that came after its cycle, and notify the listeners."""
        if self.is_closed or task.cancelled():
            return
        if path in cycle.answered and self._lost:
            self._lost = False
            for endpoint in self._scheduler.endpoints.values():
                endpoint.backoff.reset()
        changed = self._merge(cycle)
        self._log_failures()
        if changed:
            for listener in list(self._listeners):
                listener(changed)

    def _merge(self, cycle: PollCycle) -> set[Address]:
        """Parse new documents; remove rejected ones from the answers of a cycle. Returns the addresses concerned."""
        changed = self._parser.parse()
        cycle.answered -= {path for path in cycle.answered if self._has_unexpected(path)}
        return changed

    async def _parse(self, cycle: PollCycle) -> None:
        """Parse the answers of a cycle, and request the documents that the updaters read and that are still missing."""
        self._merge(cycle)
        while missing := self._missing() - cycle.requested - self._scheduler.late:
            await self._fetch_all(cycle, missing)
            self._merge(cycle)

    def _missing(self) -> set[str]:
        """Return the endpoints without a document that are due."""
        now, slack, endpoints = self.clock(), self.poll_interval / 2, self._scheduler.endpoints
        return {path for path in self._parser.missing if endpoints[path].is_due(now, slack)}

    def _keep_fresh(self, cycle: PollCycle) -> None:
        """Move the time of endpoints on that were not due: their values stand for as long as the gateway answers."""
        now = self.clock()
        # Their powers must not count as fresh when live power fails.
        covered = self.live.covered(self._parser.cache.objects)
        for path in self._parser.paths - cycle.requested - self._scheduler.late - covered:
            endpoint = self._scheduler.endpoints[path]
            if not endpoint.failure:
                endpoint.freshness.updated_at = now

    def _has_unexpected(self, path: str) -> bool:
        failure = self._scheduler.endpoints[path].failure
        return failure is not None and failure.kind is FailureKind.UNEXPECTED

    def snapshot(self) -> Snapshot:
        """Return all objects. Raises GatewayError when there are none."""
        cache = self._parser.cache
        if not cache.objects:
            raise GatewayError(Reason.NO_DATA, self._scheduler.new_cycle().failures())
        objects = dict(cache.objects)
        self.live.apply(objects)
        return Snapshot(
            serial=self.serial,
            firmware=self.envoy.info.firmware,
            part_number=self.envoy.info.part_number,
            # With the meter of one phase alone, the mode that was configured for all of them is a contradiction.
            model=clean(self.envoy.envoy_model.replace("phases: 1, phase mode: three", "phases: 1")),
            objects=objects,
            unread_meters=frozenset(("ctmeters", kind) for kind in self._meters() - cache.members("ctmeters")),
        )

    def _meters(self) -> set[str]:
        """Return the kinds of CT meters: all possible ones where it is only certain that there are some."""
        return self.envoy.meter_types or set(CtType if "ctmeters" in self._parser.sources else ())

    def _reason(self, cycle: PollCycle) -> Reason:
        """Return why no endpoint answered."""
        if cycle.untrusted:
            return Reason.CERTIFICATE_CHANGED
        if cycle.unauthorized:
            return Reason.TOKEN_REJECTED if self.uses_tokens else Reason.PASSWORD_REJECTED
        return Reason.CANNOT_CONNECT if cycle.unreachable else Reason.NO_DATA

    def _log_failures(self) -> None:
        """Log one line when an endpoint starts to fail, and one when it answers again."""
        for path in self._parser.paths:
            endpoint = self._scheduler.endpoints[path]
            failure = None if endpoint.is_absent and endpoint.good is None else endpoint.failure
            if failure and path not in self._failing:
                self._failing.add(path)
                _LOGGER.warning("%s: %s fails (%s); its last values are kept", self.host, path, failure)
            elif not failure and path in self._failing:
                self._failing.discard(path)
                _LOGGER.info("%s: %s answers again", self.host, path)

    def close(self) -> None:
        """Cancel what is under way; nothing is requested, parsed or reported any more."""
        self._listeners.clear()
        self.live.close()
        self._scheduler.close()

    # Probing

    @property
    def probe_count(self) -> int:
        """The number of probes so far."""
        return self._probes.count

    def request_probe(self, *, keep_confirmed: bool = False) -> None:
        """Probe with the next poll; all objects stay until then."""
        self._probes.request(keep_confirmed=keep_confirmed)
        for endpoint in self._scheduler.endpoints.values():
            endpoint.latest_is_current = False

    async def _probe(self, cycle: PollCycle) -> None:
        """Find out what the gateway offers. The documents of a probe serve the poll as well.

        An endpoint that fails is represented by its last document, so that a bad moment finds no less. Raises
        GatewayError when nothing is known of the gateway otherwise.
        """
        self._probes.begin()
        firmware = self.envoy.firmware
        try:
            found = await self._discover(cycle)
        except GatewayError as err:
            if not self._parser.needs:
                raise
            _LOGGER.debug("%s: %s; the probe failed", self.host, err)
            return
        self._is_probe_complete = found.is_complete
        if firmware == self.envoy.firmware and self._probes.accept(found.fingerprint):
            self.envoy.adopt(found)
            self._parser.use(found.updaters)
            if found.features and SupportedFeatures.ACB in found.features:
                self._scheduler.endpoints[URL_INVENTORY].period = INVENTORY_PERIOD_WITH_BATTERIES

    async def _discover(self, cycle: PollCycle) -> Discovery:
        """Have the library probe. Raises GatewayError."""
        try:
            found = await self.envoy.discover(partial(self._probe_document, cycle))
        except EnvoyAuthenticationRequired as err:
            cycle.unauthorized = True
            raise GatewayError(self._reason(cycle)) from err
        except EnvoyProbeFailed as err:
            raise GatewayError(self._reason(cycle), cycle.failures()) from err
        if self._has_uncertain_counters(cycle):
            # The library would choose another source of counters, which counts differently.
            raise GatewayError(self._reason(cycle), cycle.failures())
        return found

    def _has_uncertain_counters(self, cycle: PollCycle) -> bool:
        """Return whether an endpoint with counters failed temporarily before the source of counters is known."""
        endpoints = (self._scheduler.endpoints[path] for path in COUNTER_PATHS & cycle.requested)
        failures = (endpoint.failure for endpoint in endpoints if endpoint.latest is None)
        return not self._parser.sources and any(failure is not None and failure.is_temporary for failure in failures)

    async def _probe_document(self, cycle: PollCycle, path: str) -> Document:
        """Return the document of an endpoint for a probe. Raises aiohttp.ClientError or EnvoyAuthenticationRequired."""
        endpoint = self._scheduler.endpoints[path]
        current = endpoint.latest_is_current and not endpoint.is_restored and path in self._parser.paths
        if not (endpoint.latest and current):
            await self._fetch(cycle, [path], self._timeout)
        if endpoint.latest and (current or path in cycle.answered or self._scheduler.is_failing(path)):
            return endpoint.latest
        failure = endpoint.failure or Failure(FailureKind.NETWORK)
        if failure.kind is FailureKind.UNAUTHORIZED:
            raise EnvoyAuthenticationRequired(str(failure))
        raise aiohttp.ClientError(str(failure))

    def _plan_probe(self, cycle: PollCycle) -> None:
        """Probe again soon after a probe in which an endpoint failed, or whose result can't parse the documents."""
        failing = any(self._scheduler.is_failing(path) for path in cycle.requested)
        self._probes.done(failing=failing or not self._is_probe_complete)

    # Writing

    @asynccontextmanager
    async def editing(self, field: str) -> AsyncIterator[Edit]:
        """Let the caller write a change, as a whole document with one value replaced.

        The document is read right before, because the user may have changed it in the app since the last poll, and
        again afterwards, because the gateway may not apply it. Nothing is written twice. `field` is the field of
        the snapshot that shows the change.

        Raises GatewayBusyError when the gateway can't be read in time, or GatewayError.
        """
        path = FED_BY[field]
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self.timeouts.write):
                    await stack.enter_async_context(self._writing)
                    await self._scheduler.wait_for_late(path)
                    cycle = await self._read(path)
            except TimeoutError:
                raise GatewayBusyError from None
            if path not in cycle.answered:
                raise GatewayError(self._reason(cycle), cycle.failures())
            tariff = self._parser.data.tariff
            settings = tariff.storage_settings if tariff else None
            yield Edit(self.envoy, self._scheduler.endpoints[path], settings, self._parser.cache, self._written)
            await self._read(path)

    async def refresh(self, field: str) -> None:
        """Read the endpoint that feeds a field again, unless it is being requested."""
        if not self._scheduler.is_requested(FED_BY[field]):
            await self._read(FED_BY[field])

    async def _read(self, path: str) -> PollCycle:
        cycle = self._scheduler.new_cycle()
        await self._fetch(cycle, [path], 2 * self.timeouts.poll)
        self._merge(cycle)
        if path in cycle.answered:
            self._written.confirm(path, self._scheduler.endpoints[path].latest)
        return cycle

    # Reading outside of the poll

    async def mac_address(self) -> str | None:
        """Return the MAC address of the interface in use, None when it can't be read.

        `/home` is slow on some firmware: it is read once, and not at the start.
        """
        try:
            interface = await self.envoy.interface_settings()
        except (GatewayBusyError, EnvoyClientClosedError, TimeoutError, *PARSE_ERRORS):
            return None
        return interface.mac if interface and interface.mac != "unknown" else None

    async def raw_responses(self, *, capture: bool) -> dict[str, RawResponse]:
        """Return the documents of all endpoints; with `capture`, what each possible endpoint answers now.

        These are read one after another beside the polls, until the gateway does not respond or it takes too long.
        """
        responses = {
            path: RawResponse(
                endpoint.latest.status if endpoint.latest else None,
                endpoint.latest.text if endpoint.latest else "",
                str(endpoint.failure) if endpoint.failure else None,
            )
            for path, endpoint in self._scheduler.endpoints.items()
        }
        started = self.clock()
        for path in ALL_PATHS if capture else ():
            response = await self._scheduler.read_raw(path)
            if response.status or path not in responses:
                responses[path] = response
            if self.clock() - started > self.timeouts.capture or response.unreachable:
                break
        return responses
