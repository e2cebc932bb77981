"""The Envoy as we talk to it.

A poll asks each endpoint once, keeps the last good document of each, and has pyenphase's updaters make objects of the
documents, so that an endpoint which fails, or says what makes no sense, takes nothing with it but what it feeds.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import fields, replace
import logging
import time
from typing import Any, Final, override

import aiohttp
from pyenphase import Envoy, EnvoyData
from pyenphase.const import AUTH_TOKEN_MIN_VERSION, URL_PRODUCTION_INVERTERS
from pyenphase.exceptions import EnvoyAuthenticationRequired, EnvoyProbeFailed
from pyenphase.models.acb import ACBSleepState
from pyenphase.models.meters import CtType

from ..model.derived import AcbFleet, derive
from ..model.snapshot import Snapshot
from . import persistence as recall
from .auth import Credentials, TokenAuth
from .endpoints import NOT_AUTHORIZED, UNEXPECTED, Document
from .errors import GatewayBusyError, GatewayError, Reason
from .firmware import Firmware
from .log_filter import library_warnings_suppressed
from .parser import PARSE_ERRORS, DocumentParser
from .paths import ALL_PATHS, COUNTER_PATHS, FED_BY, URL_INFO
from .persistence import ClockPair
from .probe import ProbeSchedule, fingerprint
from .scheduler import UNREACHABLE, FetchResult, RawResponse, RequestScheduler

#: Seconds after which no more of them are asked: a firmware that takes 45 s for an answer has 34 of them.
_EVERYTHING_LIMIT = 240

#: Below this many endpoints there is nothing to spare.
_FEW = 3
#: Seconds that a poll waits for answers; what takes longer is shown when it comes.
_PATIENCE = 8
#: Seconds until a change is given up because an endpoint is still being waited for.
_WRITE_LIMIT = 20
#: Seconds for one request: `/production.json` of firmware 8.3.6086 takes up to 55. Less for the connection than a poll
#: waits, which so knows of what is late that somebody is there.
_TIMEOUT = aiohttp.ClientTimeout(total=90, connect=_PATIENCE - 1)

_PRODUCTION = ("watt_hours_lifetime", "watt_hours_last_7_days", "watt_hours_today", "watts_now")

#: Fields that the library's writing calls change.
_WRITTEN = (
    "tariff",
    "dry_contact_status",
    "dry_contact_settings",
    "generator_mode",
    "generator_config",
    "generator_schedule",
)

_LOGGER: Final = logging.getLogger(__name__)


class Gateway(Envoy):
    """An Envoy that is asked gently and believed one document at a time."""

    def __init__(
        self,
        host: str,
        session: aiohttp.ClientSession,
        clock: Callable[[], float] = time.monotonic,
        *,
        wall: Callable[[], float] = time.time,
        pinned: bool = False,
    ) -> None:
        """Prepare to talk to the gateway at `host` (`host:port` is fine) through a session of the caller.

        `clock` tells seconds while this runs, `wall` the time of day in epoch seconds.

        `pinned` says that the session knows its certificate: then nothing is said to anybody without one.
        """
        super().__init__(host, session, _TIMEOUT)
        self._firmware: Firmware = Firmware(session, host)
        self.clock = clock
        self._wall = wall
        self._pinned = pinned
        #: Called when something came after the poll that asked for it was over.
        self.on_late: Callable[[], None] = lambda: None
        #: Seconds between polls, as whoever polls has it.
        self.poll_interval: float = 60.0
        self._asker = RequestScheduler(self._request, self._knock, self._take_late, clock)
        self._reader = DocumentParser(self._asker, self._validate_update, clock, host)
        # What the library's writing calls start from.
        self.data: EnvoyData = self._reader.data
        #: Endpoints that were reported to fail.
        self._failing: set[str] = set()
        #: The state of charge that AC batteries are to sleep at, chosen but not necessarily sent.
        self.sleep_band: tuple[int, int] | None = None
        self._probes = ProbeSchedule(clock)
        self._was_production_empty = False
        #: No poll since the last answer of anybody.
        self._lost = False
        #: Held while documents are read into the snapshot, by a poll or around a write.
        self._turn = asyncio.Lock()

    # Who is there, and may we come in?

    @property
    def serial(self) -> str:
        """Serial number, known once identified."""
        return self.serial_number or ""

    @property
    def known_firmware(self) -> str | None:
        """Firmware such as `8.2.4345`, None before it was identified."""
        return str(self.firmware) if self.firmware else None

    @property
    def uses_tokens(self) -> bool:
        """True from firmware 7 on; below, a local user is authenticated by digest."""
        return bool(self.firmware >= AUTH_TOKEN_MIN_VERSION)

    @property
    def token(self) -> str | None:
        """The token in use, None below firmware 7."""
        return self.auth.token if isinstance(self.auth, TokenAuth) else None

    async def identify(self, expected: str | None = None) -> None:
        """Ask who is there. Raises GatewayError: nothing, no gateway, or one with another than the `expected` number.

        What was known of the gateway before is then still known.
        """
        found = Firmware(self._client, self.host)
        try:
            async with self._asker.place(URL_INFO):
                identity = await found.look()
        except GatewayBusyError as err:
            raise GatewayError(Reason.CANNOT_CONNECT, "busy") from err
        if expected not in (None, identity.serial):
            raise GatewayError(Reason.OTHER_GATEWAY, identity.serial)
        if self._pinned and not (found.version >= AUTH_TOKEN_MIN_VERSION and identity.secure):
            # An impostor that speaks plain HTTP, or names old firmware, would be sent a user name and a password.
            raise GatewayError(Reason.CERTIFICATE_CHANGED, "plain HTTP")
        async with self._turn:
            if self.known_firmware not in (None, identity.firmware):
                _LOGGER.info("%s: firmware %s became %s", self.host, self.known_firmware, identity.firmware)
                self.forget_probe(sure=False)
            self._firmware = found
            self._interface_settings = None

    async def log_in(self, credentials: Credentials) -> None:
        """Authenticate with what the owner gave, fetching a token when there is none. Raises GatewayError."""
        if not self.uses_tokens:
            await self._log_in_locally(credentials)
            return
        if not (credentials.token or credentials.account):
            raise GatewayError(Reason.CREDENTIALS_MISSING)
        auth = TokenAuth(self.host, credentials.username, credentials.password, self.serial, credentials.token)
        auth.place = self._asker.place
        await auth.setup(self._client)
        self.auth = auth

    async def _log_in_locally(self, credentials: Credentials) -> None:
        """Authenticate a user of the gateway's own list, from firmware before 7. Raises GatewayError.

        Without a password the well-known ones are used, and a gateway that shows its inverters to nobody still shows
        its production: only a password that was typed can be wrong.
        """
        try:
            await self.authenticate(credentials.username, credentials.password)
        except EnvoyAuthenticationRequired as err:
            raise GatewayError(Reason.INVALID_AUTH) from err
        async with self._turn:
            self._asker.begin()
            reply = FetchResult()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    reply = await self._asker.ask(URL_PRODUCTION_INVERTERS)
            refused = self._asker.refused
        if refused and credentials.password:
            raise GatewayError(Reason.INVALID_AUTH)
        if reply.document is None and not (refused or self.remembers):
            raise GatewayError(Reason.CANNOT_CONNECT, reply.failure)

    # What is known again after a restart

    @property
    def remembers(self) -> bool:
        """Whether anything of this gateway is known, from this life or an earlier one."""
        return any(endpoint.good for _, endpoint in self._asker.endpoints())

    @property
    def _patience(self) -> float | None:
        """Seconds to wait for an answer: all that it takes when there is nothing else to show."""
        return _PATIENCE if self.remembers else None

    def remember(self) -> dict[str, object]:
        """Return who this is and what it said, to be saved as JSON."""
        return recall.dump(self._firmware.identity, self._reader.sources, self._asker.endpoints(), self._clocks())

    def recall(self, saved: Mapping[str, object], expected: str | None) -> None:
        """Know again what `remember` returned in an earlier life, if it is about the `expected` serial number."""
        known = recall.load(saved, self._clocks())
        if known and expected in (None, known.identity.serial):
            self._firmware.recall(known.identity)
            self._reader.sources = known.sources
            self._asker.recall(known.endpoints)

    def forget(self) -> None:
        """Know no more than who this is: what `recall` found makes no sense."""
        self._updaters = []
        self._reader.begin(())
        self._reader.sources.clear()
        self._asker.forget()

    async def restore(self) -> Snapshot:
        """Return all that is known again while nobody is there. Raises GatewayError when that is nothing."""
        async with self._turn:
            if not self._reader.known.objects:
                self._asker.begin()
                self._asker.gone = True
                await self._probe()
                await self._reader.read_all()
                self._plan_probe()
                self._lost = True
            return self.snapshot()

    def _clocks(self) -> ClockPair:
        return ClockPair(self.clock(), self._wall())

    # The poll

    async def poll(self) -> Snapshot:
        """Ask what is due and return all there is now. Raises GatewayError when nothing answered."""
        async with self._turn:
            self._asker.begin()
            await self._asker.fetch(await self._due(), patience=self._patience)
            if probes := not self._lost and (not self._updaters or self._probes.are_due):
                await self._probe()
                if not self._reader.known.objects:
                    await self._asker.fetch(self._reader.in_use, patience=self._patience)
            await self._reader.read_all()
            if probes:
                self._plan_probe()
            elif any(self._asker.endpoint(path).failure == UNEXPECTED for path in self._asker.asked):
                # It may be right, and what was found out before odd.
                self._probes.hasten()
            if (is_empty := self._is_production_empty()) and not self._was_production_empty:
                self.forget_probe(sure=False)
            self._was_production_empty = is_empty
            if new := self._reader.signs_of_new_hardware() - self._asker.asked:
                await self._asker.fetch(new, patience=_PATIENCE)
                await self._reader.read_all()
            # Somebody is there while all of it is only late: what is shown grows old by itself.
            self._lost = not self._asker.answered and (bool(self._asker.asked - self._asker.late) or self._lost)
            if self._lost:
                raise GatewayError(self._reason(), self._asker.failures())
            self._stay_fresh()
            self._tell_changes()
            return self.snapshot()

    async def _due(self) -> set[str]:
        """Return what to ask in this poll: everything, once a gateway that was gone answers again."""
        if not self._updaters:
            return {path for path, endpoint in self._asker.endpoints() if endpoint.good}
        in_use, late = self._reader.in_use, self._asker.late
        due = in_use
        if len(in_use) >= _FEW and self._reader.known.objects:
            now, slack = self.clock(), self.poll_interval / 2
            due = {path for path in in_use if self._asker.endpoint(path).is_due(now, slack)}
        if due - late and not self._lost:
            return due
        # All else pauses after failures, or is still under way: the lightest tells whether it is over.
        free = sorted(in_use - late, key=lambda path: (self._asker.endpoint(path).took, path))
        await self._asker.fetch(free[:1], patience=_PATIENCE)
        return in_use if self._asker.answered else set()

    def _stay_fresh(self) -> None:
        """Note that what was not due is as true as the gateway is there."""
        now = self.clock()
        for path in self._reader.in_use - self._asker.asked - self._asker.late:
            if not self._asker.endpoint(path).failure:
                self._asker.endpoint(path).freshness.updated_at = now

    @property
    def probes(self) -> int:
        """How often it was found out what the gateway offers."""
        return self._probes.count

    def _is_production_empty(self) -> bool:
        """Return whether the production is zero throughout although inverters report power.

        Firmware 8.3.5422 and later, without CTs: another endpoint has it.
        """
        objects = self._reader.known.objects
        production = objects.get(("system_production",))
        inverters = (timed.value for address, timed in objects.items() if address[0] == "inverters")
        is_zero = production is not None and not any(getattr(production.value, name, 1) for name in _PRODUCTION)
        return is_zero and any(getattr(inverter, "last_report_watts", 0) for inverter in inverters)

    def stop(self) -> None:
        """Give up requests that outlast their poll."""
        self._asker.stop()

    def forget_probe(self, *, sure: bool = True) -> None:
        """Probe again with the next poll what the gateway offers; what is known stays until then, `sure` or not."""
        self._probes.forget(sure=sure)
        for _, endpoint in self._asker.endpoints():
            endpoint.latest_stands = False

    def snapshot(self) -> Snapshot:
        """Return all that is known. Raises GatewayError when that is nothing."""
        if not self._reader.known.objects:
            raise GatewayError(Reason.NO_DATA, self._asker.failures())
        return Snapshot(
            serial=self.serial,
            firmware=str(self.firmware),
            part_number=self.part_number,
            model=self.envoy_model,
            objects=self._reader.known.objects | dict(derive(self._reader.known.objects, self.sleep_band)),
            unread_meters=frozenset(
                ("ctmeters", kind) for kind in self._meters() - self._reader.known.members("ctmeters")
            ),
        )

    def _meters(self) -> set[str]:
        """Return the kinds of CT meters there are: all that there may be where it is only known that there are some."""
        kinds = {kind for kind in self._common_properties.meter_types if isinstance(kind, str)}
        return kinds or set(CtType if "ctmeters" in self._reader.sources else ())

    def _reason(self) -> Reason:
        """Say why nothing answered."""
        if self._asker.distrusted:
            return Reason.CERTIFICATE_CHANGED
        if self._asker.refused:
            return Reason.TOKEN_REJECTED if self.uses_tokens else Reason.INVALID_AUTH
        return Reason.CANNOT_CONNECT if self._asker.gone else Reason.NO_DATA

    async def write(self, field: str, change: Callable[[], Awaitable[object]]) -> tuple[EnvoyData, EnvoyData]:
        """Make a change with one of the library's calls, which send a whole document with a value replaced.

        The document is read right before, for what the owner changed in the app since the last poll must survive,
        and again after, for only the gateway knows what became of it. A change is never sent twice.
        `field` is where the snapshot shows it. Returns what was before, and what was asked for.
        Raises BusyError when the gateway does not get to it in time, GatewayError, or what the call raises; what is
        known is then as before.
        """
        path = FED_BY[field]
        async with self._soon(path):
            if path not in self._asker.answered:
                raise GatewayError(self._reason(), self._asker.failures())
            data = self._reader.data
            # The library puts the new value into its objects before it is accepted: it gets some of its own.
            self.data = replace(data, **{name: deepcopy(getattr(data, name)) for name in _WRITTEN})
            before, wanted = replace(data), self.data
            try:
                await change()
            finally:
                self.data = data
            await self._reread(path)
            return before, wanted

    @asynccontextmanager
    async def _soon(self, path: str) -> AsyncIterator[None]:
        """Hold the turn with an endpoint just read. Raises BusyError when others are at it for too long."""
        try:
            async with asyncio.timeout(_WRITE_LIMIT):
                await self._turn.acquire()
                try:
                    await self._asker.give_up_late(path)
                    await self._reread(path)
                except BaseException:
                    self._turn.release()
                    raise
        except TimeoutError:
            raise GatewayBusyError from None
        try:
            yield
        finally:
            self._turn.release()

    async def reread(self, field: str) -> None:
        """Ask the endpoint that feeds a field again and read all that it feeds, unless its answer is on its way."""
        async with self._turn:
            if FED_BY[field] not in self._asker.late:
                await self._reread(FED_BY[field])

    def just_read(self, field: str) -> bool:
        """Return whether what feeds a field was read in the last round of requests."""
        return FED_BY[field] in self._asker.answered

    async def _reread(self, path: str) -> None:
        self._asker.begin()
        await self._asker.fetch([path], patience=2 * _PATIENCE)
        await self._reader.read_all()

    async def _probe(self) -> None:
        """Find out what this gateway offers. The documents it is known by serve the poll as well.

        What fails is answered by its last good document, so that a bad moment finds no less. Raises GatewayError.
        """
        common, found = replace(self._common_properties), (self._updaters, self._supported_features)
        try:
            await self._try_probe()
        except GatewayError as err:
            if not self._reader.needs:
                self._updaters = []
                raise
            _LOGGER.debug("%s: %s; looked for what it offers in vain", self.host, err)
            is_news = False
        else:
            is_news = self._probes.believe(fingerprint(self._updaters, self._common_properties))
        if is_news:
            # The library keeps its description of the model for good.
            self.__dict__.pop("envoy_model", None)
            self._reader.begin(self._updaters)
        else:
            # It was known before what there is: that serves on.
            self._updaters, self._supported_features = found
            for field in fields(common):
                setattr(self._common_properties, field.name, getattr(common, field.name))

    def _plan_probe(self) -> None:
        """Probe again soon after one in which something failed, or could not be read as it was found to be."""
        self._probes.done(failing=any(self._asker.is_failing(path) for path in self._asker.asked))

    async def _try_probe(self) -> None:
        """Have the library probe. Raises GatewayError."""
        try:
            with library_warnings_suppressed():
                await self.probe()
        except EnvoyAuthenticationRequired as err:
            self._asker.refused = True
            raise GatewayError(self._reason()) from err
        except EnvoyProbeFailed as err:
            raise GatewayError(self._reason(), self._asker.failures()) from err
        except PARSE_ERRORS as err:
            if not self._fall_back():
                raise GatewayError(Reason.NO_DATA, f"{type(err).__name__}: {err}") from err
            await self._try_probe()
        unknown = (
            endpoint
            for path in COUNTER_PATHS & self._asker.asked
            if not (endpoint := self._asker.endpoint(path)).latest
        )
        if not self._reader.sources and any(endpoint.is_busy for endpoint in unknown):
            # The library would take another source for the counters, and with it other counts.
            raise GatewayError(self._reason(), self._asker.failures())

    def _fall_back(self) -> bool:
        """Take the last good documents in place of new ones that make no sense; False when there are none left."""
        doubtful = [endpoint for path in self._asker.answered if (endpoint := self._asker.endpoint(path)).good]
        for endpoint in doubtful:
            endpoint.latest = endpoint.good
            endpoint.fail(UNEXPECTED)
        self._asker.answered.clear()
        return bool(doubtful)

    def _tell_changes(self) -> None:
        """Log one line when an endpoint starts to fail, and one when it answers again."""
        for path in self._reader.in_use:
            endpoint = self._asker.endpoint(path)
            if endpoint.failure and path not in self._failing:
                self._failing.add(path)
                _LOGGER.warning("%s: %s fails (%s); its last values are kept", self.host, path, endpoint.failure)
            elif not endpoint.failure and path in self._failing:
                self._failing.discard(path)
                _LOGGER.info("%s: %s answers again", self.host, path)

    async def _knock(self) -> None:
        """Ask for what everybody may see."""
        scheme = "https" if self.uses_tokens else "http"
        async with asyncio.timeout(_PATIENCE):
            async with self._client.get(f"{scheme}://{self.host}{URL_INFO}", allow_redirects=False) as response:
                await response.read()

    async def _take_late(self, path: str) -> None:
        """Read an answer that came after the round that asked for it."""
        async with self._turn:
            self._asker.settle_late(path)
            await self._reader.read_all()
            self._tell_changes()
        if self._asker.answered:
            self.on_late()

    async def mac_address(self) -> str | None:
        """Return the MAC address of the interface in use, None when the gateway does not say.

        `/home` is slow to answer on some firmware: asked once, and not at the start.
        """
        try:
            interface = await self.interface_settings()
        except (GatewayBusyError, aiohttp.ClientError, *PARSE_ERRORS):
            return None
        return interface.mac if interface and interface.mac != "unknown" else None

    async def documents(self, *, ask: bool) -> dict[str, RawResponse]:
        """Return what every endpoint said in the polls or, if told to ask, what all that gateways may have say now.

        One after another, beside the polls, and no more once nobody is there or it takes too long.
        """
        known = {
            path: RawResponse(document.status, document.text, endpoint.failure)
            if (document := endpoint.latest)
            else RawResponse(None, "", endpoint.failure)
            for path, endpoint in self._asker.endpoints()
        }
        begin = time.monotonic()
        for path in ALL_PATHS if ask else ():
            answer = await self._asker.look_at(path)
            if answer.status or path not in known:
                known[path] = answer
            if time.monotonic() - begin > _EVERYTHING_LIMIT or answer.failure == UNREACHABLE:
                break
        return known

    # Changes that the library has no single call for

    async def choose_sleep_band(self, fleet: AcbFleet, band: tuple[int, int]) -> None:
        """Choose the state of charge, in percent, that AC batteries sleep at; those asleep go there now."""
        if fleet.sleep_state is ACBSleepState.ASLEEP:
            await self.send_to_sleep(replace(fleet, sleep_band=band))
        else:
            self.sleep_band = band

    async def send_to_sleep(self, fleet: AcbFleet) -> None:
        """Send all AC batteries to sleep at the chosen state of charge."""
        if (band := fleet.sleep_band) is None:
            raise ValueError("no state of charge to sleep at was chosen")
        await self.set_acb_sleep(
            [{"serial_num": serial, "sleep_min_soc": band[0], "sleep_max_soc": band[1]} for serial in fleet.serials]
        )
        # From now on the batteries say it themselves.
        self.sleep_band = None

    # What pyenphase's probe, updaters and writing calls call

    @override
    async def _json_request(self, end_point: str, data: dict[str, Any] | None, method: str | None = None) -> Any:
        """Change something, or ask what is part of no poll. Raises BusyError, or what the library does."""
        async with self._asker.place(end_point):
            return await super()._json_request(end_point, data, method)

    @override
    async def _make_cached_request(  # type: ignore[override]
        self, request_func: Callable[[str], Awaitable[Document]], endpoint: str
    ) -> Document:
        """Pass through: the documents are kept here, and for longer than one update."""
        return await request_func(endpoint)

    @override
    async def probe_request(self, endpoint: str) -> Document:  # type: ignore[override]
        """Answer an updater that looks whether there is work for it."""
        known = self._asker.endpoint(endpoint)
        stands = known.latest_stands and not known.is_recalled and endpoint in self._reader.in_use
        if not (known.latest and stands):
            await self._asker.fetch([endpoint], patience=self._patience)
        if known.latest and (stands or endpoint in self._asker.answered or self._asker.is_failing(endpoint)):
            return known.latest
        if known.failure == NOT_AUTHORIZED:
            raise EnvoyAuthenticationRequired(known.failure)
        raise aiohttp.ClientError(known.failure)

    @override
    async def request(  # type: ignore[override]
        self, endpoint: str, data: dict[str, Any] | None = None, method: str | None = None
    ) -> aiohttp.ClientResponse | Document:
        """Answer an updater with the latest document, asking the gateway where this poll has not yet."""
        if data is not None:
            return await super().request(endpoint, data, method)
        self._reader.note(endpoint)
        known = self._asker.endpoint(endpoint)
        if known.latest is None or known.is_recalled:
            await self._asker.fetch([endpoint], patience=self._patience)
        if known.latest is None:
            raise aiohttp.ClientError(known.failure)
        return known.latest
