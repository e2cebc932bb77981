"""The Envoy as we talk to it.

A poll asks each endpoint once, keeps the last good document of each, and has pyenphase's updaters make objects of the
documents, so that an endpoint which fails, or says what makes no sense, takes nothing with it but what it feeds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from http import HTTPStatus
import inspect
import time
from typing import Any, override

import aiohttp
from awesomeversion import AwesomeVersion
from awesomeversion.exceptions import AwesomeVersionException
from pyenphase import Envoy, EnvoyData
from pyenphase.const import (
    AUTH_TOKEN_MIN_VERSION,
    LEGACY_ENVOY_VERSION,
    URL_DEVICE_DATA,
    URL_ENSEMBLE_INVENTORY,
    URL_PRODUCTION,
    URL_PRODUCTION_INVERTERS,
    URL_PRODUCTION_JSON,
)
from pyenphase.exceptions import (
    EnvoyAuthenticationRequired,
    EnvoyError,
    EnvoyFirmwareCheckError,
    EnvoyFirmwareFatalCheckError,
    EnvoyProbeFailed,
)
from pyenphase.firmware import EnvoyFirmware
from pyenphase.models.acb import ACBSleepState
from pyenphase.updaters.base import EnvoyUpdater

from .account import Credentials, TokenAuth
from .asking import NOBODY, Asker, Reply
from .const import LOGGER
from .derived import AcbFleet, derive
from .errors import GatewayError, Reason
from .known import Known
from .paths import EVERYTHING, FED_BY, SOURCES
from .snapshot import Snapshot, leaves

#: Seconds to find out what answers at an address: HTTPS first (10 s to connect), then the plain HTTP of old firmware.
IDENTIFY_LIMIT = 14
#: Seconds after which no more of them are asked: a firmware that takes 45 s for an answer has 34 of them.
_EVERYTHING_LIMIT = 240

#: Seconds between looks for new kinds of hardware, and until the first look again at what failed.
_PROBE_PERIOD = 3000.0
_FIRST_PROBE_PAUSE = 60.0
#: Below this many endpoints there is nothing to spare.
_FEW = 3
#: Seconds that a poll waits for answers; what takes longer is shown when it comes.
_PATIENCE = 8
#: Seconds for one request: `/production.json` of firmware 8.3.6086 takes up to 55.
_TIMEOUT = aiohttp.ClientTimeout(total=90, connect=10)

#: Fields that the library's writing calls change.
_WRITTEN = (
    "tariff",
    "dry_contact_status",
    "dry_contact_settings",
    "generator_mode",
    "generator_config",
    "generator_schedule",
)

#: What pyenphase's updaters raise on a document that is not what they expect.
_UNEXPECTED_DOCUMENT = (EnvoyError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, NameError)


class _Firmware(EnvoyFirmware):
    """pyenphase's look at `/info`, once: whoever calls decides about the next attempt."""

    __slots__ = ()
    _get_info = inspect.unwrap(EnvoyFirmware._get_info)  # noqa: SLF001

    @property
    def was_secure(self) -> bool:
        """Whether the last look went over HTTPS."""
        return self._url.startswith("https://")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said, word for word, or why it did not."""

    status: int | None
    body: str
    failure: str | None = None
    #: Seconds that it took, where it was asked for this.
    took: float | None = None


class Gateway(Envoy):
    """An Envoy that is asked gently and believed one document at a time."""

    def __init__(
        self,
        host: str,
        session: aiohttp.ClientSession,
        clock: Callable[[], float] = time.monotonic,
        *,
        pinned: bool = False,
    ) -> None:
        """Prepare to talk to the gateway at `host` (`host:port` is fine) through a session of the caller.

        `pinned` says that the session knows its certificate: then nothing is said to anybody without one.
        """
        super().__init__(host, session, _TIMEOUT)
        self._firmware: _Firmware = _Firmware(session, host)
        self.clock = clock
        self._pinned = pinned
        #: Called when something came after the poll that asked for it was over.
        self.on_late: Callable[[], None] = lambda: None
        #: Seconds between polls, as whoever polls has it.
        self.poll_interval: float = 60.0
        self._asker = Asker(self._request, self._knock, self._take_late, clock)
        #: What each updater reads and makes, as seen when it ran.
        self._needs: dict[EnvoyUpdater, set[str]] = {}
        self._makes: dict[EnvoyUpdater, set[str]] = {}
        self._reading: set[str] = set()
        self._known = Known()
        #: Endpoints that were reported to fail.
        self._failing: set[str] = set()
        #: The state of charge that AC batteries are to sleep at, chosen but not necessarily sent.
        self.sleep_band: tuple[int, int] | None = None
        self._inverters_counted: int | None = None
        #: When to probe again, and after which pause if something fails then.
        self._probe_at = 0.0
        self._probe_pause = _FIRST_PROBE_PAUSE / 2
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

    async def identify(self) -> None:
        """Ask who is there. Raises GatewayError: nothing there, or no gateway."""
        try:
            async with asyncio.timeout(IDENTIFY_LIMIT):
                await self.setup()
            known = bool(self.serial_number) and isinstance(self.firmware, AwesomeVersion)
            too_old = known and self.firmware < LEGACY_ENVOY_VERSION
        except (EnvoyFirmwareFatalCheckError, TimeoutError) as err:
            raise GatewayError(Reason.CANNOT_CONNECT, type(err).__name__) from err
        except EnvoyFirmwareCheckError as err:
            if isinstance(err.__cause__, aiohttp.ServerFingerprintMismatch):
                raise GatewayError(Reason.CERTIFICATE_CHANGED) from err
            busy = err.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
            reason = Reason.CANNOT_CONNECT if busy else Reason.NOT_A_GATEWAY
            raise GatewayError(reason, f"/info: HTTP {err.status_code}") from err
        except (SyntaxError, ValueError, TypeError, AwesomeVersionException) as err:
            # SyntaxError: how lxml says that something is not XML.
            raise GatewayError(Reason.NOT_A_GATEWAY, type(err).__name__) from err
        if not known:
            raise GatewayError(Reason.NOT_A_GATEWAY, "/info names no serial number or no firmware")
        if too_old:
            raise GatewayError(Reason.FIRMWARE_TOO_OLD, str(self.firmware))
        if self._pinned and not (self.uses_tokens and self._firmware.was_secure):
            # An impostor that speaks plain HTTP, or names old firmware, would be sent a user name and a password.
            raise GatewayError(Reason.CERTIFICATE_CHANGED, "plain HTTP")

    async def log_in(self, credentials: Credentials) -> None:
        """Authenticate with what the owner gave, fetching a token when there is none. Raises GatewayError."""
        if not self.uses_tokens:
            await self._log_in_locally(credentials)
            return
        if not (credentials.token or credentials.account):
            raise GatewayError(Reason.CREDENTIALS_MISSING)
        auth = TokenAuth(self.host, credentials.username, credentials.password, self.serial, credentials.token)
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
        self._asker.begin()
        reply = await self._asker.ask(URL_PRODUCTION_INVERTERS)
        if self._asker.refused and credentials.password:
            raise GatewayError(Reason.INVALID_AUTH)
        if reply.response is None and not self._asker.refused:
            raise GatewayError(Reason.CANNOT_CONNECT, reply.failure)

    # The poll

    async def poll(self) -> Snapshot:
        """Ask what is due and return all there is now. Raises GatewayError when nothing answered."""
        async with self._turn:
            self._asker.begin()
            due = await self._due() if self._updaters else set()
            if not self._lost and (not self._updaters or self.clock() >= self._probe_at):
                await self._probe()
                due |= self._in_use() if not self._known.leaves else set()
            await self._asker.fetch(due, patience=_PATIENCE if self._known.leaves else None)
            await self._read_all()
            if new := self._signs_of_new_hardware() - self._asker.asked:
                await self._asker.fetch(new, patience=_PATIENCE)
                await self._read_all()
            self._lost = not self._asker.answered
            if self._lost:
                raise GatewayError(self._reason(), self._asker.failures())
            self._stay_fresh()
            self._tell_changes()
            return self.snapshot()

    async def _due(self) -> set[str]:
        """Return what to ask in this poll: everything, once a gateway that was gone answers again."""
        in_use = self._in_use()
        if self._lost:
            lightest = min(in_use, key=lambda path: self._asker.endpoint(path).took)
            await self._asker.fetch([lightest], patience=None)
            return in_use if self._asker.answered else set()
        if len(in_use) < _FEW:
            return in_use
        now, slack = self.clock(), self.poll_interval / 2
        return {path for path in in_use if self._asker.endpoint(path).is_due(now, slack)}

    def _signs_of_new_hardware(self) -> set[str]:
        """Return lists to read now, since what is asked in every poll tells of members that they did not."""
        signs = set()
        if self._known.members("encharge_power") != self._known.members("encharge_inventory"):
            signs.add(URL_ENSEMBLE_INVENTORY)
        if (count := self._count_of_inverters()) != self._inverters_counted:
            if self._inverters_counted is not None:
                signs.update((URL_DEVICE_DATA, URL_PRODUCTION_INVERTERS))
            self._inverters_counted = count
        return signs & self._in_use()

    def _count_of_inverters(self) -> int | None:
        """Return how many inverters the production report counts, None where there is none."""
        raw = self.data.raw if self.data else {}
        report = raw.get(URL_PRODUCTION_JSON) or raw.get(URL_PRODUCTION) or {}
        parts = report.get("production") or []
        return next((part.get("activeCount") for part in parts if part.get("type") == "inverters"), None)

    async def _read_all(self) -> None:
        """Have the updaters read what is new."""
        for updater, needs in self._needs.items():
            if not needs or needs & self._asker.answered:
                await self._read(updater)

    def _stay_fresh(self) -> None:
        """Note that what was not due is as true as the gateway is there."""
        now = self.clock()
        for path in self._in_use() - self._asker.asked - self._asker.late:
            if not self._asker.endpoint(path).failure:
                self._asker.endpoint(path).freshness.seen = now

    def stop(self) -> None:
        """Give up requests that outlast their poll."""
        self._asker.stop()

    def forget_probe(self) -> None:
        """Probe again with the next poll what the gateway offers; what is known stays until then."""
        self._probe_at = 0.0
        for _, endpoint in self._asker.endpoints():
            endpoint.latest_stands = False

    def snapshot(self) -> Snapshot:
        """Return all that is known. Raises GatewayError when that is nothing."""
        if not self._known.leaves:
            raise GatewayError(Reason.NO_DATA, self._asker.failures())
        return Snapshot(
            serial=self.serial,
            firmware=str(self.firmware),
            part_number=self.part_number,
            model=self.envoy_model,
            leaves=self._known.leaves | dict(derive(self._known.leaves, self.sleep_band)),
        )

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
        Raises GatewayError, or what the call raises; what is known is then as before.
        """
        path = FED_BY[field]
        async with self._turn:
            await self._reread(path)
            if path not in self._asker.answered or (data := self.data) is None:
                raise GatewayError(self._reason(), self._asker.failures())
            # The library puts the new value into its objects before it is accepted: it gets some of its own.
            self.data = replace(data, **{name: deepcopy(getattr(data, name)) for name in _WRITTEN})
            before = replace(data)
            try:
                await change()
            except BaseException:
                self.data = data
                raise
            wanted = self.data
            self.data = data
            await self._reread(path)
            return before, wanted

    async def reread(self, field: str) -> None:
        """Ask the endpoint that feeds a field again and read all that it feeds."""
        async with self._turn:
            await self._reread(FED_BY[field])

    def just_read(self, field: str) -> bool:
        """Return whether what feeds a field was read in the last round of requests."""
        return FED_BY[field] in self._asker.answered

    async def _reread(self, path: str) -> None:
        self._asker.begin()
        await self._asker.wait_for_late(path)
        await self._asker.fetch([path], patience=2 * _PATIENCE)
        await self._read_all()

    async def _probe(self) -> None:
        """Find out what this gateway offers. The documents it is known by serve the first poll as well."""
        known = bool(self._known.leaves)
        try:
            await self.probe()
        except EnvoyAuthenticationRequired as err:
            self._asker.refused = True
            raise GatewayError(self._reason()) from err
        except EnvoyProbeFailed as err:
            raise GatewayError(self._reason(), self._asker.failures()) from err
        except _UNEXPECTED_DOCUMENT as err:
            raise GatewayError(Reason.NO_DATA, f"{type(err).__name__}: {err}") from err
        failed = {path for path in self._asker.asked if self._asker.endpoint(path).is_broken}
        if not known and any(self._asker.endpoint(path).is_busy for path in failed & SOURCES):
            # The library would take another source for the counters, and with it other counts.
            self._updaters = []
            raise GatewayError(self._reason(), self._asker.failures())
        # The library keeps its description of the model for good.
        self.__dict__.pop("envoy_model", None)
        self._needs = {updater: set() for updater in self._updaters}
        self._makes = {updater: set() for updater in self._updaters}
        self._probe_pause = min(2 * self._probe_pause, _PROBE_PERIOD) if failed else _PROBE_PERIOD
        self._probe_at = self.clock() + self._probe_pause
        if not failed:
            self._probe_pause = _FIRST_PROBE_PAUSE

    def _tell_changes(self) -> None:
        """Log one line when an endpoint starts to fail, and one when it answers again."""
        for path in self._in_use():
            endpoint = self._asker.endpoint(path)
            if endpoint.failure and path not in self._failing:
                self._failing.add(path)
                LOGGER.warning("%s: %s fails (%s); its last values are kept", self.host, path, endpoint.failure)
            elif not endpoint.failure and path in self._failing:
                self._failing.discard(path)
                LOGGER.info("%s: %s answers again", self.host, path)

    def _in_use(self) -> set[str]:
        """Return the endpoints that feed something."""
        return set().union(*self._needs.values())

    async def _knock(self) -> None:
        """Ask for what everybody may see."""
        scheme = "https" if self.uses_tokens else "http"
        async with asyncio.timeout(_PATIENCE):
            async with self._client.get(f"{scheme}://{self.host}/info", allow_redirects=False) as response:
                await response.read()

    async def _take_late(self, path: str, reply: Reply) -> None:
        """Read an answer that came after the round that asked for it."""
        async with self._turn:
            self._asker.begin()
            self._asker.asked.add(path)
            self._asker.settle(path, reply)
            await self._read_all()
            self._tell_changes()
        if self._asker.answered:
            self.on_late()

    async def _read(self, updater: EnvoyUpdater) -> None:
        """Have an updater make objects of the documents.

        If it can't, one of the new documents is to blame: each is tried alone beside the last good ones.
        """
        data = await self._try(updater)
        if data is None:
            if any(self._asker.endpoint(path).latest is None for path in self._needs[updater]):
                return
            candidates = {
                path: self._asker.endpoint(path).latest for path in self._needs[updater] & self._asker.answered
            }
            for path in candidates:
                self._asker.endpoint(path).latest = self._asker.endpoint(path).good
            for path, candidate in candidates.items():
                endpoint = self._asker.endpoint(path)
                endpoint.latest = candidate
                if await self._try(updater) is None:
                    endpoint.latest = endpoint.good
                    endpoint.fail("unexpected content")
                    self._asker.answered.discard(path)
            data = await self._try(updater)
        if data is not None:
            for path in self._needs[updater]:
                self._asker.endpoint(path).approve(self.clock())
            self._take(updater, data)

    async def _try(self, updater: EnvoyUpdater) -> EnvoyData | None:
        """Run an updater over the latest documents; None when it can't make sense of them."""
        data = EnvoyData()
        self._reading = self._needs[updater]
        try:
            await updater.update(data)
            self._validate_update(data)
        except (aiohttp.ClientError, *_UNEXPECTED_DOCUMENT) as err:
            LOGGER.debug("%s: %s: %r", self.host, type(updater).__name__, err)
            return None
        return data

    def _take(self, updater: EnvoyUpdater, data: EnvoyData) -> None:
        """Merge what an updater made into what is known."""
        if self.data is None:
            self.data = EnvoyData()
        for field in fields(EnvoyData):
            if value := getattr(data, field.name):
                setattr(self.data, field.name, value if field.name != "raw" else self.data.raw | value)
        needs = {path: self._asker.endpoint(path) for path in self._needs[updater]}
        self._known.take(dict(leaves(data)), needs, self._makes[updater], self._asker.answered)

    async def mac_address(self) -> str | None:
        """Return the MAC address of the interface in use, None when the gateway does not say.

        `/home` is slow to answer on some firmware: asked once, and not at the start.
        """
        try:
            async with self._asker.places:
                interface = await self.interface_settings()
        except (aiohttp.ClientError, *_UNEXPECTED_DOCUMENT):
            return None
        return interface.mac if interface and interface.mac != "unknown" else None

    async def documents(self, *, ask: bool) -> dict[str, Answer]:
        """Return what every endpoint said in the polls or, if told to ask, what all that gateways may have say now.

        One after another, beside the polls, and no more once nobody is there or it takes too long.
        """
        known = {
            path: Answer(document.response.status, await document.response.text(errors="replace"), endpoint.failure)
            if (document := endpoint.latest)
            else Answer(None, "", endpoint.failure)
            for path, endpoint in self._asker.endpoints()
        }
        begin = time.monotonic()
        for path in EVERYTHING if ask else ():
            async with self._asker.places:
                answer = await self._look_at(path)
            if answer.status or path not in known:
                known[path] = answer
            if time.monotonic() - begin > _EVERYTHING_LIMIT or answer.failure == NOBODY:
                break
        return known

    async def _look_at(self, path: str) -> Answer:
        """Ask an endpoint for what it says, whatever it is."""
        begin = time.monotonic()
        status, body, failure = None, "", None
        try:
            response = await self._request(path)
            status, body = response.status, await response.text(errors="replace")
        except EnvoyAuthenticationRequired:
            status, failure = HTTPStatus.UNAUTHORIZED.value, "not authorised"
        except aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError:
            failure = NOBODY
        except (aiohttp.ClientError, TimeoutError, EnvoyError) as err:
            failure = type(err).__name__
        return Answer(status, body, failure, round(time.monotonic() - begin, 3))

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

    # What pyenphase's probe and updaters call

    @override
    async def _make_cached_request(
        self, request_func: Callable[[str], Awaitable[aiohttp.ClientResponse]], endpoint: str
    ) -> aiohttp.ClientResponse:
        """Pass through: the documents are kept here, and for longer than one update."""
        return await request_func(endpoint)

    @override
    async def probe_request(self, endpoint: str) -> aiohttp.ClientResponse:  # type: ignore[override]
        """Answer an updater that looks whether there is work for it."""
        state = self._asker.endpoint(endpoint)
        stands = state.latest_stands and endpoint in self._in_use()
        if state.latest and (endpoint in self._asker.answered or stands):
            return state.latest.response
        self._asker.asked.add(endpoint)
        reply = await self._asker.ask(endpoint)
        self._asker.settle(endpoint, reply)
        if reply.response is not None:
            return reply.response
        if self._asker.refused:
            raise EnvoyAuthenticationRequired(reply.failure)
        raise aiohttp.ClientError(reply.failure)

    @override
    async def request(
        self, endpoint: str, data: dict[str, Any] | None = None, method: str | None = None
    ) -> aiohttp.ClientResponse:
        """Answer an updater with the latest document, asking the gateway where this poll has not yet."""
        if data is not None:
            return await super().request(endpoint, data, method)
        self._reading.add(endpoint)
        if (known := self._asker.endpoint(endpoint)).latest is None:
            await self._asker.fetch([endpoint], patience=None)
        if known.latest is None:
            raise aiohttp.ClientError(known.failure)
        return known.latest.response
