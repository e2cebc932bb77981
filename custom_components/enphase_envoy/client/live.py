"""Live power: reads the values that change by the second more often than the polls, from the best source there is.

A frame holds fields of objects that the polls have found. It is laid over these objects, field by field, each with its
own freshness: an object that only a frame contains is never created, and counters keep the freshness of their document.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
import logging
from typing import Any, Final, NamedTuple, cast

import aiohttp
from pyenphase.const import (
    ENDPOINT_URL_METERS,
    ENDPOINT_URL_METERS_READINGS,
    URL_ENSEMBLE_SECCTRL,
    URL_PRODUCTION,
    URL_PRODUCTION_JSON,
)
from pyenphase.exceptions import EnvoyAuthenticationRequired, EnvoyClientClosedError, EnvoyError
from pyenphase.json import json_loads
from pyenphase.models.enpower import EnvoyEnpower
from pyenphase.models.generator import EnvoyGenerator
from pyenphase.models.meters import CtState, CtType, EnvoyMeterData

from ..model.live import LIVE_BATTERY, LIVE_GENERATOR, LIVE_INVERTERS, LiveBattery, LiveGenerator, LiveInverters
from ..model.relays import is_closed
from ..model.snapshot import Address, Freshness, TimedValue
from ..model.validation import is_number
from .backoff import Backoff
from .envoy import PARSE_ERRORS, LibraryEnvoy
from .errors import GatewayBusyError, LiveError, description
from .limits import is_too_complex
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
#: Watts above which a reading is invalid.
_IMPLAUSIBLE: Final = 1e7

#: Address of the object that contains the source in use.
SOURCE: Final[Address] = ("live_source",)
#: The sources, the best first, with their names; the last name is used while there is none.
NAMES: Final = {
    URL_LIVE_DATA_STATUS: "live_data_status",
    ENDPOINT_URL_METERS_READINGS: "meter_readings",
    URL_METER_STREAM: "meter_stream",
    None: "none",
}

#: Names in the live data status, with the object of the production report and the CT meter that show the same.
_STATUS: Final = (
    ("pv", "system_production", CtType.PRODUCTION),
    ("grid", "system_net_consumption", CtType.NET_CONSUMPTION),
    ("load", "system_consumption", CtType.TOTAL_CONSUMPTION),
    ("storage", None, CtType.STORAGE),
)
#: Relays in the live data status, with the objects of the polls and their fields.
_RELAYS: Final = (
    ("main_relay_state", ("enpower",), EnvoyEnpower, "mains_oper_state"),
    ("gen_relay_state", ("generator",), EnvoyGenerator, "oper_state"),
)
_POSITIONS: Final[Mapping[float, str]] = {0: "open", 1: "closed"}
#: Where these are.
RELAYS: Final = tuple(address for _, address, _, _ in _RELAYS)
#: Objects that only frames contain, each with the field of the hardware without which it is not shown.
_OWN: Final[Mapping[Address, tuple[type, str]]] = {
    LIVE_BATTERY: (LiveBattery, "encharge_power"),
    LIVE_GENERATOR: (LiveGenerator, "generator"),
    LIVE_INVERTERS: (LiveInverters, "inverters"),
}
#: Where no CT measures the consumption, the gateway reports production plus import, which includes what batteries
#: charge: `load` of the live data is another figure. Where one does, it reports the net consumption as the difference.
#: CT meters with the object of the production report that shows the same power.
_REPORTS: Final = {ct_type: report for _, report, ct_type in _STATUS if report}
_TOTALS: Final = {*_REPORTS.values(), *(f"{report}_phases" for report in _REPORTS.values())}
#: Endpoints whose only values that change by the second are powers and states of charge, with the fields of the data
#: that have these. `acb_power` is never in a frame: `/production.json` is requested in every poll where there is one.
_COVERED: Final = {
    URL_PRODUCTION_JSON: _TOTALS | {"acb_power"},
    URL_PRODUCTION: _TOTALS | {"acb_power"},
    ENDPOINT_URL_METERS_READINGS: {"ctmeters", "ctmeters_phases"},
    URL_ENSEMBLE_SECCTRL: {"encharge_aggregate", "battery_aggregate"},
}
#: Phases in the order of the letters and channels.
_PHASES: Final = (("L1", "a"), ("L2", "b"), ("L3", "c"))
_READ_ERRORS: Final = (*PARSE_ERRORS, aiohttp.ClientError, EnvoyError, EnvoyClientClosedError, OSError, ValueError)

type Objects = Mapping[Address, TimedValue]
#: Fields of objects, by address.
type Values = dict[Address, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Frame:
    """The values of one reading."""

    values: Values
    #: The time of the values as the gateway reports it, or the values themselves: it changes with them.
    measured: object
    #: The same in seconds, where the gateway reports it.
    time: float | None = None
    #: When it was received, on the clock of the polls; None for now. The last event of a stream may be older.
    received_at: float | None = None


def status_frame(document: dict[str, Any], objects: Objects) -> Frame:
    """Return the values of `/ivp/livedata/status`: powers in mW, + is import and discharge. Raises LiveError."""
    meters = document["meters"]
    measures_total = any(ct_type is CtType.TOTAL_CONSUMPTION for ct_type, _ in _meters(objects))
    unused = "grid" if measures_total else "load"
    values: Values = {}
    total = 0.0
    for name, report, ct_type in _STATUS:
        for phase, key in (("", "agg_p_mw"), *((phase, f"agg_p_ph_{letter}_mw") for phase, letter in _PHASES)):
            if (watts := _watts(_part(meters, name), key, 1000)) is not None:
                if name != unused:
                    _put_power(values, report, ct_type, phase, watts)
                total += abs(watts)
    if not total:
        raise LiveError("all values are zero")
    _add_consumption(values)
    values |= _own_values(document, values)
    for key, address in (("soc", ("battery_aggregate",)), ("enc_agg_soc", ("encharge_aggregate",))):
        if is_number(percent := meters.get(key)) and 0 <= percent <= 100:  # noqa: PLR2004
            values[address] = {"state_of_charge": percent}
    values |= _relays(meters, objects)
    # A time that is missing costs nothing else: the values change as well.
    return Frame(values, time, time) if is_number(time := meters.get("last_update")) else Frame(values, meters)


def _own_values(document: dict[str, Any], values: Values) -> Values:
    """Return the values of the objects that only frames contain: batteries, generator, and `iqpm`."""
    own: Values = {}
    if power := values.get(("ctmeters", CtType.STORAGE)):
        own[LIVE_BATTERY] = {"power": power["active_power"]}
    if (watts := _watts(_part(document["meters"], "generator"), "agg_p_mw", 1000)) is not None:
        own[LIVE_GENERATOR] = {"power": watts}
    inverters = _part(document, "iqpm")
    running, count = inverters.get("running_PCU_count"), inverters.get("total_PCU_count")
    if is_number(running) and is_number(count) and 0 <= running <= count:
        own[LIVE_INVERTERS] = {"running": running, "total": count}
    return own


def _relays(meters: dict[str, Any], objects: Objects) -> Values:
    """Return the positions of the relays of grid and generator.

    A poll distinguishes more positions, such as `open synchronizing`: its word stands unless it is another position.
    """
    values: Values = {}
    for key, address, kind, name in _RELAYS:
        position = _POSITIONS.get(found) if is_number(found := meters.get(key)) else None
        timed = objects.get(address)
        if position and timed and isinstance(timed.value, kind):
            polled = getattr(timed.value, name)
            values[address] = {name: polled if is_closed(polled) is is_closed(position) else position}
    return values


def readings_frame(document: list[dict[str, Any]], objects: Objects) -> Frame:
    """Return the values of `/ivp/meters/readings` for the enabled CT meters among the objects. Raises LiveError.

    Gateways without CTs report zeros, also for meters that they do not have.
    """
    readings = {str(reading.get("eid")): reading for reading in document if isinstance(reading, dict)}
    values: Values = {}
    used: list[dict[str, Any]] = []
    measured: list[object] = []
    total = 0.0
    for ct_type, meter in _meters(objects):
        if (reading := readings.get(str(meter.eid))) is None:
            continue
        channels = [part if isinstance(part, dict) else {} for part in reading.get("channels") or ()]
        if _is_zero(reading, channels):
            # One without power has a voltage nevertheless.
            continue
        # A time that is missing costs nothing else: the values change as well.
        used.append(reading)
        measured.append(reading.get("timestamp") or reading.get("activePower"))
        phases = zip(_PHASES, channels, strict=False)
        for phase, part in (("", reading), *((phase, channel) for (phase, _), channel in phases)):
            if (watts := _watts(part, "activePower", 1)) is None:
                continue
            _put_power(values, _REPORTS.get(ct_type), ct_type, phase, watts)
            electric = {name: value for name in ("voltage", "current") if is_number(value := part.get(name))}
            values[_meter(ct_type, phase)] |= electric
            total += abs(watts) + abs(electric.get("voltage", 0))
    if not total:
        raise LiveError("all values are zero")
    _add_consumption(values)
    times = [time for reading in used if is_number(time := reading.get("timestamp"))]
    return Frame(values, tuple(measured), min(times) if len(times) == len(used) else None)


def event_frame(document: dict[str, dict[str, dict[str, Any]]], objects: Objects) -> Frame:
    """Return the values of an event of `/stream/meter`: power in W, voltage in V, current in A. Raises LiveError.

    `ph-c` is always there. It is used only where there is an object of this phase. So is what no CT meter measures, as
    zeros, and a consumption that is calculated from these.
    """
    values: Values = {}
    measured: list[object] = []
    unmeasured = _unmeasured(objects)
    for ct_type, report in _REPORTS.items():
        if ct_type in unmeasured or not (parts := document.get(ct_type)):
            continue
        phases = [(phase, part) for phase, letter in _PHASES if (part := parts.get(f"ph-{letter}"))]
        if not any(part.get("v", 1) or part.get("p") for _, part in phases):
            # As with readings: the meter was not read.
            continue
        for phase, part in phases:
            if (watts := _watts(part, "p", 1)) is not None:
                _put_power(values, report, ct_type, phase, watts)
                electric = {"voltage": part.get("v"), "current": part.get("i")}
                values[_meter(ct_type, phase)] |= {name: value for name, value in electric.items() if is_number(value)}
                measured.append((part["p"], *electric.values()))
        powers = [power for _, part in phases if is_number(power := part.get("p"))]
        if powers and len(powers) == len(phases):
            _put_power(values, report, ct_type, "", round(sum(powers)))
    if not any(any(part) for part in measured if isinstance(part, tuple)):
        raise LiveError("all values are zero")
    return Frame(values, measured)


def _is_zero(reading: dict[str, Any], channels: Iterable[dict[str, Any]]) -> bool:
    """Return whether a meter, with a voltage, reports zeros throughout: it was not read."""
    values = [part.get(name) for part in (reading, *channels) for name in ("voltage", "current", "activePower")]
    return reading.get("voltage") == 0 and not any(values)


def _require_readings(document: list[dict[str, Any]], meters: list[dict[str, Any]]) -> None:
    """Raise LiveError unless an enabled meter has a reading."""
    enabled = {meter["eid"] for meter in meters if meter["state"] != CtState.DISABLED}
    if not enabled:
        raise LiveError("no enabled meter")
    if not any(reading["eid"] in enabled and reading["voltage"] for reading in document):
        raise LiveError("all values are zero")


def _meters(objects: Objects) -> Iterator[tuple[CtType, EnvoyMeterData]]:
    for ct_type in CtType:
        timed = objects.get(("ctmeters", ct_type))
        if timed and isinstance(meter := timed.value, EnvoyMeterData) and meter.state != CtState.DISABLED:
            yield ct_type, meter


def _unmeasured(objects: Objects) -> set[CtType]:
    """Return the kinds of power that are neither measured nor a sum of measured ones; none where no meter is known."""
    if not (measured := {ct_type for ct_type, _ in _meters(objects)}):
        return set()
    if CtType.PRODUCTION in measured and measured & {CtType.NET_CONSUMPTION, CtType.TOTAL_CONSUMPTION}:
        # The gateway calculates the other consumption.
        return set()
    return _REPORTS.keys() - measured


def _add_consumption(values: Values) -> None:
    """Add total or net consumption where the other one is measured, as the gateway calculates it."""
    for phase in ("", *(phase for phase, _ in _PHASES)):
        kinds = CtType.PRODUCTION, CtType.NET_CONSUMPTION, CtType.TOTAL_CONSUMPTION
        production, net, total = (values.get(_meter(kind, phase), {}).get("active_power") for kind in kinds)
        if production is None:
            continue
        if total is not None and net is None:
            values[_report("system_net_consumption", phase)] = {"watts_now": total - production}
        elif net is not None and total is None:
            values[_report("system_consumption", phase)] = {"watts_now": production + net}


def _put_power(values: Values, report: str | None, ct_type: CtType, phase: str, watts: int) -> None:
    if report:
        values[_report(report, phase)] = {"watts_now": watts}
    values[_meter(ct_type, phase)] = {"active_power": watts}


def _names(values: Values) -> dict[Address, list[str]]:
    return {address: [*fields] for address, fields in values.items()}


def _report(name: str, phase: str) -> Address:
    return (f"{name}_phases", phase) if phase else (name,)


def _meter(ct_type: CtType, phase: str) -> Address:
    return ("ctmeters_phases", ct_type, phase) if phase else ("ctmeters", ct_type)


def _part(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a part of a document, an empty one where there is none: it is optional."""
    part = document.get(key)
    return part if isinstance(part, Mapping) else {}


def _watts(part: Mapping[str, Any], key: str, divisor: int) -> int | None:
    """Return a power in W, None where there is no plausible one."""
    value = part.get(key)
    return round(value / divisor) if is_number(value) and abs(value / divisor) < _IMPLAUSIBLE else None


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


class _Field(NamedTuple):
    """A value of a frame."""

    value: Any
    freshness: Freshness
    #: That of the object of a poll at that time: another one when its document was read again since.
    polled: Freshness | None


class _Shown(NamedTuple):
    """An object that was returned, and what it is made of."""

    polled: TimedValue | None
    fields: dict[str, _Field]
    timed: TimedValue


class LivePower:
    """Reads frames, and lays the last one over the objects of the polls."""

    #: The paths of the sources, the best first.
    sources: Final = (URL_LIVE_DATA_STATUS, ENDPOINT_URL_METERS_READINGS, URL_METER_STREAM)

    def __init__(self, envoy: LibraryEnvoy, scheduler: RequestScheduler, clock: Callable[[], float]) -> None:
        """Read nothing yet; `clock` returns seconds, on the clock of the polls."""
        self._envoy = envoy
        self._scheduler = scheduler
        self._clock = clock
        #: Seconds between frames, as the caller reads them; 0 when it reads none.
        self.interval = 0.0
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
        #: The last frame, and of each field the last value: a frame may lack some, and each source has its own.
        self._values: Values = {}
        self._fields: dict[Address, dict[str, _Field]] = {}
        self._freshness = Freshness(float("-inf"))
        #: The objects that were returned last, each with the object of a poll and the values that it is made of.
        self._shown: dict[Address, _Shown] = {}
        #: When the last frames were received, from which sources, and their values.
        self._reported: deque[tuple[float, str, Values]] = deque(maxlen=_REPORTED)
        self._source = TimedValue(LiveSource(NAMES[None]), Freshness(float("-inf")))

    def retry(self) -> None:
        """End all pauses while there is no source, because a poll succeeded; the next failure pauses for longer."""
        if self.source is None:
            for attempts in self._attempts.values():
                attempts.resume_at = float("-inf")

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
                    _require_readings(await self._request(path), await self._request(ENDPOINT_URL_METERS))
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
            changed = {address for address in self._keep(frame, objects) if address in objects or address in _OWN}
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
        attempts = self._attempts[path]
        is_last = path == self._last and self.source is None
        return self._clock() >= min(
            attempts.resume_at, attempts.failed_at + _LONGEST_PAUSE_OF_LAST if is_last else float("inf")
        )

    def _keep(self, frame: Frame, objects: Objects) -> set[Address]:
        """Keep a frame, and return the addresses whose values, or whose age, it changes."""
        last, self._values, was_current = self._values, frame.values, self.is_current
        at = self._clock() if frame.received_at is None else frame.received_at
        changed = {address for address, fields in frame.values.items() if fields != last.get(address)}
        if was_current and _names(last) == _names(frame.values):
            # Where the values are the same, the object stays the same too, and is as fresh as the others.
            self._freshness.updated_at = at
        else:
            self._freshness = Freshness(at)
            changed = {*last, *frame.values}
        for address, fields in frame.values.items():
            polled = objects[address].freshness if address in objects else None
            new = {name: _Field(value, self._freshness, polled) for name, value in fields.items()}
            self._fields[address] = self._fields.get(address, {}) | new
        for address in _OWN.keys() & self._fields.keys() - frame.values.keys():
            if not any(self._is_recent(field.freshness) for field in self._fields[address].values()):
                del self._fields[address]
                changed.add(address)
        return changed

    async def _read(self, path: str, objects: Objects) -> Frame | None:
        """Return a frame of a source; None where its values are the same as before. Raises LiveError and others."""
        if self._is_closed:
            raise GatewayBusyError
        if path == ENDPOINT_URL_METERS_READINGS and not any(_meters(objects)):
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
        attempts, now = self._attempts[path], self._clock()
        if not is_absent:
            # A gateway that can't be connected to needs no rest: its values are right soon after it is back.
            attempts.failed_at, attempts.resume_at = now, now + attempts.backoff.fail()
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
        attempts.works_since = None

    def _succeed(self, path: str) -> None:
        attempts, now = self._attempts[path], self._clock()
        if attempts.works_since is None:
            attempts.works_since = now
        if now - attempts.works_since >= _STEADY:
            # A source that fails again and again pauses for longer and longer.
            attempts.backoff.reset()
            attempts.is_failing = False
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

    @property
    def is_current(self) -> bool:
        """Whether the last frame is recent."""
        return self._is_recent(self._freshness)

    def _is_recent(self, freshness: Freshness) -> bool:
        return self._clock() - freshness.updated_at <= max(_FROZEN_AFTER, 3 * self.interval)

    def covered(self, objects: Objects) -> set[str]:
        """Return the endpoints that polls may request less often, because their powers are live.

        None where import and export are calculated from counters: the interval of these limits their accuracy.
        """
        if not self.source or not self.is_current or ("ctmeters", CtType.TOTAL_CONSUMPTION) in objects:
            return set()
        return {
            path
            for path, fields in _COVERED.items()
            if (fed := {address for address in objects if address[0] in fields}) and fed <= self._values.keys()
        }

    def report(self) -> dict[str, object]:
        """Return the state for diagnostics: source, failures, the last frames, and the mean interval between these."""
        now = self._clock()
        times = [at for at, _, _ in self._reported]
        return {
            "interval": self.interval,
            "interval_achieved": round((times[-1] - times[0]) / (len(times) - 1), 1) if len(times) > 1 else None,
            "source": self.source,
            "failures": dict(self.failures),
            "age": round(now - self._freshness.updated_at, 1) if self._values else None,
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
        is_current = self.is_current
        present = {address[0] for address in objects}
        for address, fields in self._fields.items():
            polled = objects.get(address)
            if address in _OWN:
                is_recent = all(self._is_recent(field.freshness) for field in fields.values())
                shown = fields if is_recent and _OWN[address][1] in present else {}
            elif polled:
                shown = {
                    name: field
                    for name, field in fields.items()
                    if self._is_shown(field, polled, is_current=is_current)
                }
            else:
                shown = {}
            if shown:
                objects[address] = self._laid_over(address, polled, shown)

    def _is_shown(self, field: _Field, polled: TimedValue, *, is_current: bool) -> bool:
        """Return whether a value of a frame is shown, rather than that of a poll.

        The power in a document may be older than the document, but not the position of a relay in it.
        """
        is_newer = polled.freshness is field.polled or polled.updated_at < field.freshness.updated_at
        return is_newer or (is_current and field.freshness is self._freshness and is_number(field.value))

    def _laid_over(self, address: Address, polled: TimedValue | None, fields: dict[str, _Field]) -> TimedValue:
        """Return an object with values of frames: the same object while nothing changes."""
        last = self._shown.get(address)
        if last and last.polled is polled and last.fields == fields:
            return last.timed
        values = {name: field.value for name, field in fields.items()}
        value: Any = _OWN[address][0](**values) if polled is None else replace(cast("Any", polled.value), **values)
        freshness = polled.freshness if polled else self._freshness
        # The same value is the same object, so that changes are found by identity.
        timed = TimedValue(
            last.timed.value if last and last.timed.value == value else value,
            freshness,
            {name: field.freshness for name, field in fields.items()},
        )
        self._shown[address] = _Shown(polled, fields, timed)
        return timed
