"""Live power: reads the values that change by the second more often than the polls, from the best source there is.

Sources are found by probing, pause after failures, and are replaced by the next one meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
import logging
from typing import Any, Final

import aiohttp
from pyenphase.const import ENDPOINT_URL_METERS, ENDPOINT_URL_METERS_READINGS
from pyenphase.exceptions import EnvoyAuthenticationRequired, EnvoyClientClosedError, EnvoyError
from pyenphase.json import json_loads

from ..model.snapshot import Address, Freshness, Objects, TimedValue
from .backoff import Backoff
from .envoy import PARSE_ERRORS, LibraryEnvoy
from .errors import GatewayBusyError, LiveError, description
from .limits import is_too_complex
from .live_frames import (
    Frame,
    Values,
    enabled_meters,
    event_frame,
    readings_frame,
    require_readings,
    status_frame,
)
from .live_values import LiveValues
from .meter_stream import MeterStream
from .models import LiveSource
from .paths import URL_LIVE_DATA_STATUS, URL_LIVE_DATA_STREAM, URL_METER_STREAM
from .scheduler import RequestScheduler

_LOGGER: Final = logging.getLogger(__name__)

#: Seconds between two requests to enable the stream, which ends by itself after about 15 minutes.
_ENABLE_AGAIN: Final = 60.0
#: Seconds that the time of the values may stand still.
_FROZEN_AFTER: Final = 15.0
#: Seconds that a source is left alone after a failure, and at most; the last one that had values is the first to have
#: them again after an outage or a restart, and is left alone for less while there is no other.
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 300.0
_LONGEST_PAUSE_OF_LAST: Final = 10.0
#: Seconds of success after which a failure is over.
_STEADY: Final = 60.0
#: Frames that diagnostics contain.
_REPORTED: Final = 5

#: Address of the object that contains the source in use.
SOURCE: Final[Address] = ("live_source",)
#: The sources, the best first, with their names; the last name is used while there is none.
NAMES: Final = {
    URL_LIVE_DATA_STATUS: "live_data_status",
    ENDPOINT_URL_METERS_READINGS: "meter_readings",
    URL_METER_STREAM: "meter_stream",
    None: "none",
}

_READ_ERRORS: Final = (*PARSE_ERRORS, aiohttp.ClientError, EnvoyError, EnvoyClientClosedError, OSError, ValueError)


@dataclass(slots=True)
class _Measured:
    """What the values of a source were measured at last."""

    measured: object
    time: float | None
    #: When this was read first, and last.
    since: float
    read_at: float


@dataclass(slots=True)
class _Attempts:
    """When to try a source again."""

    backoff: Backoff = field(default_factory=lambda: Backoff(_FIRST_PAUSE, _LONGEST_PAUSE))
    failed_at: float = float("-inf")
    resume_at: float = float("-inf")
    #: Since when it has had values; None after a failure.
    works_since: float | None = None
    #: It failed, and has not had values for long since.
    is_failing: bool = False

    def is_due(self, now: float, *, is_last: bool) -> bool:
        """Return whether the pause is over; `is_last` is whether it is that of the last source in use."""
        return now >= (min(self.resume_at, self.failed_at + _LONGEST_PAUSE_OF_LAST) if is_last else self.resume_at)

    def fail(self, now: float, *, is_absent: bool) -> None:
        """Note a failure. A gateway that can't be connected to needs no rest: it has values soon after it is back."""
        self.works_since = None
        if not is_absent:
            self.failed_at, self.resume_at = now, now + self.backoff.fail()

    def succeed(self, now: float) -> None:
        """Note that it has values. A source that fails again and again pauses for longer and longer."""
        if self.works_since is None:
            self.works_since = now
        if now - self.works_since >= _STEADY:
            self.backoff.reset()
            self.is_failing = False

    def retry(self) -> None:
        """End the pause; the next failure pauses for longer."""
        self.resume_at = float("-inf")


class LivePower:
    """Reads frames, and lays the last one over the objects of the polls."""

    #: The paths of the sources, the best first.
    sources: Final = tuple(path for path in NAMES if path)

    def __init__(self, envoy: LibraryEnvoy, scheduler: RequestScheduler, clock: Callable[[], float]) -> None:
        """Read nothing yet; `clock` returns seconds, on the clock of the polls."""
        self._envoy = envoy
        self._scheduler = scheduler
        self._clock = clock
        #: The path of the source in use, None while none has usable values.
        self.source: str | None = None
        #: Why each source that was tried can't be used.
        self.failures: dict[str, str] = {}
        #: Whether the gateway denied access to the source in use.
        self.is_denied = False
        self._attempts = {path: _Attempts() for path in self.sources}
        #: The last source in use, and the one that the log names.
        self._last: str | None = None
        self._logged: str | None = None
        self._enabled_at = float("-inf")
        self._measured: dict[str, _Measured] = {}
        self._open_stream = partial(envoy.stream, URL_METER_STREAM)
        self._stream = MeterStream(self._open_stream, self._clock)
        #: Held during a request, so that probing occupies no second slot.
        self._requesting = asyncio.Lock()
        #: Reads the sources that are better than the one in use; returns the path of one with new values.
        self._probing: asyncio.Task[str | None] | None = None
        self._is_closed = False
        self._values = LiveValues(clock)
        #: When the last frames were received, from which sources, and their values.
        self._reported: deque[tuple[float, str, Values]] = deque(maxlen=_REPORTED)
        self._source = TimedValue(LiveSource(NAMES[None]), Freshness(float("-inf")))

    @property
    def interval(self) -> float:
        """Seconds between frames, as the caller reads them; 0 when it reads none."""
        return self._values.interval

    @interval.setter
    def interval(self, seconds: float) -> None:
        self._values.interval = seconds

    def retry(self) -> None:
        """End all pauses while there is no source, because a poll succeeded; the next failure pauses for longer."""
        if self.source is None:
            for attempts in self._attempts.values():
                attempts.retry()

    async def find(self) -> str | None:
        """Return the path of the best source with usable values, without objects of polls; None without one."""
        # The one that is read at the same time stays open.
        stream = MeterStream(self._open_stream, self._clock)
        for path in self.sources:
            try:
                if path == URL_METER_STREAM:
                    await self._streamed(stream, {})
                elif path == URL_LIVE_DATA_STATUS:
                    status_frame(await self._status(), {})
                else:
                    require_readings(await self._request(path), await self._request(ENDPOINT_URL_METERS))
            except (GatewayBusyError, *_READ_ERRORS) as err:
                self.failures[path] = description(err)
            else:
                self.failures.pop(path, None)
                return path
            finally:
                stream.close()
        return None

    async def read(self, objects: Objects) -> set[Address] | None:
        """Read a frame from the best source, and return the addresses of the objects that it changes.

        None where there is no new frame. One that changes nothing proves that the power stayed as it is.
        """
        if self._probing and self._probing.done():
            task, self._probing = self._probing, None
            if better := task.result():
                self._succeed(better)
        better_ones = self.sources[: self.sources.index(self.source)] if self.source else ()
        if any(self._is_due(path) for path in better_ones) and not self._probing:
            # It may take long, and the source in use goes on meanwhile.
            self._probing = asyncio.create_task(self._probe(better_ones, objects))
        path, frame = await self._first_of(self.sources[len(better_ones) :], objects)
        changed: set[Address] | None = None
        if path and frame and not self._is_closed:
            self._succeed(path)
            self._reported.append((self._clock(), path, frame.values))
            changed = self._values.keep(frame, objects)
        is_shown = self._source.value == LiveSource(NAMES[self.source])
        return changed if is_shown else (changed or set()) | {SOURCE}

    async def _probe(self, paths: Iterable[str], objects: Objects) -> str | None:
        path, frame = await self._first_of(paths, objects)
        return path if frame else None

    async def _first_of(self, paths: Iterable[str], objects: Objects) -> tuple[str | None, Frame | None]:
        """Return the first source that works, and its frame if it is new; no source where the gateway has no time."""
        for path in paths:
            if not self._is_due(path):
                continue
            try:
                return path, await self._read(path, objects)
            except GatewayBusyError:
                break
            except _READ_ERRORS as err:
                is_absent = isinstance(err, aiohttp.ClientConnectorError) and not isinstance(
                    err, aiohttp.ClientSSLError
                )
                self._fail(path, err, is_absent=is_absent)
                if is_absent:
                    # So are the other sources.
                    break
        return None, None

    def _is_due(self, path: str) -> bool:
        """Return whether a source does not pause after a failure."""
        return self._attempts[path].is_due(self._clock(), is_last=path == self._last and self.source is None)

    async def _read(self, path: str, objects: Objects) -> Frame | None:
        """Return a frame of a source; None where its values are the same as before. Raises LiveError and others."""
        if self._is_closed:
            raise GatewayBusyError
        if path == ENDPOINT_URL_METERS_READINGS and not any(enabled_meters(objects)):
            raise LiveError("no enabled meter")
        if path == URL_METER_STREAM:
            frame = await self._streamed(self._stream, objects)
            return frame if self._is_new(path, frame) else None
        seconds = self._scheduler.seconds_requested(path)
        if seconds is not None and seconds <= self._scheduler.timeouts.live:
            # A second request would wait, in a slot, for the first one, whose answer may only be lost after that.
            raise GatewayBusyError
        if path == URL_LIVE_DATA_STATUS:
            frame = status_frame(await self._status(), objects)
        else:
            frame = readings_frame(await self._request(path), objects)
        return frame if self._is_new(path, frame) else None

    async def _status(self) -> dict[str, Any]:
        """Return the live data status, with the stream enabled. Raises LiveError and others."""
        document: dict[str, Any] = await self._request(URL_LIVE_DATA_STATUS)
        if document["connection"].get("sc_stream") != "enabled":
            await self._enable()
            # The values stood still until then.
            document = await self._request(URL_LIVE_DATA_STATUS)
        return document

    async def _streamed(self, stream: MeterStream, objects: Objects) -> Frame:
        """Return the values of the last event of a stream. Raises LiveError and others."""
        async with asyncio.timeout(self._scheduler.timeouts.live):
            received_at, event = await stream.latest()
        return replace(event_frame(json_loads(URL_METER_STREAM, event), objects), received_at=received_at)

    def _is_new(self, path: str, frame: Frame) -> bool:
        """Return whether the values are others than before. Raises LiveError when they stand still for too long."""
        now, pause = self._clock(), max(_FROZEN_AFTER, 2 * self.interval)
        last = self._measured.get(path)
        if last and frame.measured == last.measured:
            last.read_at = now
            if now - last.since > pause:
                raise LiveError("the values stand still")
            return False
        self._measured[path] = _Measured(frame.measured, frame.time, now, now)
        if last is None:
            # The first values may be those of a stream that stands still.
            return False
        # So may others after an interruption, such as a restart, unless their time has passed as well.
        has_passed = frame.time and last.time and frame.time - last.time > now - last.since - _FROZEN_AFTER
        return bool(has_passed) or now - last.read_at <= pause

    async def _enable(self) -> None:
        """Enable the stream, at most once a minute. Raises LiveError when it was just enabled, and in vain."""
        now = self._clock()
        if now - self._enabled_at < _ENABLE_AGAIN:
            raise LiveError("the stream is disabled")
        before, self._enabled_at = self._enabled_at, now
        try:
            await self._request(URL_LIVE_DATA_STREAM, {"enable": 1})
        except GatewayBusyError:
            # It was not sent.
            self._enabled_at = before
            raise

    async def _request(self, path: str, data: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        """Return the document of an endpoint. Raises GatewayBusyError when no slot is free, LiveError and others."""
        async with self._requesting, self._scheduler.slot(path, urgent=True):
            async with asyncio.timeout(self._scheduler.timeouts.live):
                document = await self._envoy.get(path, data)
        if document.status != HTTPStatus.OK:
            raise LiveError(f"HTTP {document.status}")
        if is_too_complex(document.body):
            raise LiveError("too large")
        return json_loads(path, document.body)

    def _fail(self, path: str, err: Exception, *, is_absent: bool) -> None:
        if self._is_closed:
            return
        attempts = self._attempts[path]
        attempts.fail(self._clock(), is_absent=is_absent)
        self.failures[path] = description(err)
        if path == URL_METER_STREAM:
            self._stream.close()
        if self.source == path:
            self.source = None
            if not attempts.is_failing:
                self._logged = None
                self.is_denied = isinstance(err, EnvoyAuthenticationRequired)
                _LOGGER.warning("%s: live power from %s fails (%s)", self._envoy.host, path, self.failures[path])
            attempts.is_failing = True

    def _succeed(self, path: str) -> None:
        attempts = self._attempts[path]
        attempts.succeed(self._clock())
        self.failures.pop(path, None)
        if self.source != path:
            if path != URL_METER_STREAM:
                self._stream.close()
            self.source = self._last = path
            self.is_denied = False
        if self._logged != path and not attempts.is_failing:
            self._logged = path
            _LOGGER.info("%s: live power is read from %s", self._envoy.host, path)

    def close(self) -> None:
        """Close the stream, and end the probing; a reading that is under way opens nothing any more."""
        self._is_closed = True
        if self._probing:
            self._probing.cancel()
            self._probing = None
        self._stream.close()

    def covered(self, objects: Objects) -> set[str]:
        """Return the endpoints that polls may request less often, because their powers are live."""
        return self._values.covered(objects) if self.source else set()

    def report(self) -> dict[str, object]:
        """Return the state for diagnostics: source, failures, the last frames, and the mean interval between these."""
        now = self._clock()
        times = [at for at, _, _ in self._reported]
        return {
            "interval": self.interval,
            "interval_achieved": round((times[-1] - times[0]) / (len(times) - 1), 1) if len(times) > 1 else None,
            "source": self.source,
            "failures": dict(self.failures),
            "age": None if (age := self._values.age) is None else round(age, 1),
            "frames": [
                {
                    "age": round(now - at, 1),
                    "source": path,
                    "values": {"/".join(address): fields for address, fields in values.items()},
                }
                for at, path, values in self._reported
            ],
        }

    def apply(self, objects: dict[Address, TimedValue]) -> None:
        """Lay the values of frames over the objects, unless a document that was read later contains them."""
        if self.interval:
            self._source = self._source.renewed(LiveSource(NAMES[self.source]), Freshness(self._clock()))
            objects[SOURCE] = self._source
        self._values.apply(objects)
