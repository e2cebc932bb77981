"""Frames of live power: the values that change by the second, from the documents of the three sources.

A frame holds fields of objects that the polls have found, and of a few objects that only frames contain.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pyenphase.models.enpower import EnvoyEnpower
from pyenphase.models.generator import EnvoyGenerator
from pyenphase.models.meters import CtState, CtType, EnvoyMeterData

from ..model.live import LIVE_BATTERY, LIVE_GENERATOR, LIVE_INVERTERS
from ..model.relays import is_closed
from ..model.snapshot import Address, Objects
from ..model.validation import is_number
from .errors import LiveError

#: Watts above which a reading is invalid.
_IMPLAUSIBLE: Final = 1e7

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
#: CT meters with the object of the production report that shows the same power.
REPORTS: Final = {ct_type: report for _, report, ct_type in _STATUS if report}
#: Phases in the order of the letters and channels.
_PHASES: Final = (("L1", "a"), ("L2", "b"), ("L3", "c"))

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
    measures_total = any(ct_type is CtType.TOTAL_CONSUMPTION for ct_type, _ in enabled_meters(objects))
    # Where no CT measures the consumption, the gateway reports production plus import, which includes what batteries
    # charge: `load` is another figure. Where one does, it reports the net consumption as the difference.
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
    for ct_type, meter in enabled_meters(objects):
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
            _put_power(values, REPORTS.get(ct_type), ct_type, phase, watts)
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
    measured: list[tuple[object, ...]] = []
    unmeasured = _unmeasured(objects)
    for ct_type, report in REPORTS.items():
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
    if not any(any(part) for part in measured):
        raise LiveError("all values are zero")
    return Frame(values, measured)


def _is_zero(reading: dict[str, Any], channels: Iterable[dict[str, Any]]) -> bool:
    """Return whether a meter, with a voltage, reports zeros throughout: it was not read."""
    values = [part.get(name) for part in (reading, *channels) for name in ("voltage", "current", "activePower")]
    return reading.get("voltage") == 0 and not any(values)


def require_readings(document: list[dict[str, Any]], meters: list[dict[str, Any]]) -> None:
    """Raise LiveError unless an enabled meter has a reading."""
    enabled = {meter["eid"] for meter in meters if meter["state"] != CtState.DISABLED}
    if not enabled:
        raise LiveError("no enabled meter")
    if not any(reading["eid"] in enabled and reading["voltage"] for reading in document):
        raise LiveError("all values are zero")


def enabled_meters(objects: Objects) -> Iterator[tuple[CtType, EnvoyMeterData]]:
    """Yield the CT meters among the objects, but for disabled ones, with the kind of power that they measure."""
    for ct_type in CtType:
        timed = objects.get(("ctmeters", ct_type))
        if timed and isinstance(meter := timed.value, EnvoyMeterData) and meter.state != CtState.DISABLED:
            yield ct_type, meter


def _unmeasured(objects: Objects) -> set[CtType]:
    """Return the kinds of power that are neither measured nor a sum of measured ones; none where no meter is known."""
    if not (measured := {ct_type for ct_type, _ in enabled_meters(objects)}):
        return set()
    if CtType.PRODUCTION in measured and measured & {CtType.NET_CONSUMPTION, CtType.TOTAL_CONSUMPTION}:
        # The gateway calculates the other consumption.
        return set()
    return REPORTS.keys() - measured


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
