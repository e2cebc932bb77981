"""Documents as pyenphase reads them: containers where it needs some, records in which any key may be missing.

The library's parsers take all of a document or nothing. Firmware changed keys and words several times a year: batteries
without `led_status`, relays of the type `3RD-PV`, a storage mode `economy`. Here an invalid value becomes null, and an
invalid list or object an empty one, so that it costs the fields that come from it. Which keys hold a container, an
identifier or a number for calculations is all that must be listed.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from math import nan
from typing import Any, Final, SupportsIndex, override

from pyenphase.const import (
    ENDPOINT_URL_METERS,
    ENDPOINT_URL_METERS_READINGS,
    URL_DEVICE_DATA,
    URL_ENSEMBLE_INVENTORY,
    URL_INVENTORY,
    URL_PRODUCTION,
    URL_PRODUCTION_INVERTERS,
    URL_PRODUCTION_JSON,
)
from pyenphase.models.c6combiner import C6CC_REQUIRED_KEYS
from pyenphase.models.collar import COLLAR_REQUIRED_KEYS
from pyenphase.models.meters import CtState

from ..model.text import clean
from ..model.validation import is_number
from . import limits

#: Documents that are lists of objects; all others are objects.
_INVENTORIES: Final = frozenset({URL_ENSEMBLE_INVENTORY, URL_INVENTORY})
_LISTS: Final = _INVENTORIES | {ENDPOINT_URL_METERS, ENDPOINT_URL_METERS_READINGS, URL_PRODUCTION_INVERTERS}
#: Meters and AC batteries in a report, with what stands for an invalid number of them: not zero, which is none.
AC_BATTERIES: Final = "acb"
_UNCOUNTED: Final[dict[object, float]] = {"eim": 1, AC_BATTERIES: nan}
#: Keys that the library requires of records of a type, or has a default for that would be shown as their value.
_REQUIRED: Final[dict[object, frozenset[str]]] = {
    "COLLAR": COLLAR_REQUIRED_KEYS,
    "C6 COMBINER CONTROLLER": C6CC_REQUIRED_KEYS,
    "ACB": frozenset({"percentFull", "communicating", "operating", "producing", "sleep_enabled", "part_num"}),
    # By this key the library finds AC batteries in a report.
    AC_BATTERIES: frozenset({"percentFull"}),
}
_PHASES: Final = 3
#: Phases by the mode of a meter, where their number is not valid.
_PHASES_OF_MODE: Final = {"three": 3, "split": 2}
#: Devices that `/ivp/pdm/device_data` lists at most, on all known firmware.
_DEVICES: Final = 50


class _NoNumber(float):
    """NaN, also after what the library calculates with it; it is not valid in any object, and no count."""

    def __bool__(self) -> bool:
        """Return False, as for a null."""
        return False

    def _same(self, *_: object) -> _NoNumber:
        return self

    __add__ = __radd__ = __truediv__ = __rtruediv__ = __round__ = _same  # type: ignore[assignment]


_NO_NUMBER: Final = _NoNumber("nan")


class Record(dict[str, Any]):
    """An object of a document: a key that is missing is null, or what stands for an invalid value of the key."""

    def __init__(self, value: object = None) -> None:
        """Read an object; anything else is an empty one."""
        super().__init__(value if isinstance(value, dict) else {})
        for key, item in self.items():
            if kind := _KINDS.get(key):
                self[key] = kind(item)

    def __missing__(self, key: str) -> object:
        """Return the value of a key that is missing."""
        return kind(None) if (kind := _KINDS.get(key)) else None

    def complete(self, kind: object) -> None:
        """Add the keys that a record of a type must have."""
        for key in _REQUIRED.get(kind, ()):
            self.setdefault(key)


class Records(list[Record]):
    """A list of objects, in which there is an empty one at any place."""

    def __init__(self, value: object = None) -> None:
        """Read a list. An item that is no object is an empty one: the places of channels are those of phases."""
        super().__init__(map(Record, value if isinstance(value, list) else ()))

    @override
    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        return super().__getitem__(index) if isinstance(index, slice) or int(index) < len(self) else Record()


def _few(value: object) -> Records:
    """Read a list of what a gateway has few of. Raises TypeError for a longer one, before its objects are read."""
    if isinstance(value, list) and len(value) > limits.OTHER_DEVICES:
        raise TypeError(f"a list of {len(value)}")
    return Records(value)


def _identifier(value: object) -> object:
    return value if isinstance(value, str | int) else None


def _serial_number(value: object) -> object:
    """Return a serial number as a text, which may be reported as a number."""
    return str(value) if type(value) is int else _identifier(value)


def _number(value: object) -> object:
    return value if is_number(value) else _NO_NUMBER


def _texts(value: object) -> object:
    return value if isinstance(value, list) else ()


#: What is at a key of the documents that are read: containers, identifiers, numbers for the library to calculate with.
_KINDS: Final[dict[str, Callable[[object], object]]] = {
    **dict.fromkeys(("devices", "devices:"), Records),
    **dict.fromkeys(("dry_contacts", "channels", "lines", "production", "consumption", "storage"), _few),
    **dict.fromkeys(("watts", "lastReading", "lifetime", "wattHours", "exercise_config", "default_soc"), Record),
    **dict.fromkeys(("connection", "meters", "tariff", "storage_settings"), Record),
    **dict.fromkeys(("serial_num", "serialNumber", "sn"), _serial_number),
    **dict.fromkeys(("eid", "id", "measurementType", "type"), _identifier),
    **dict.fromkeys(("actEnergyDlvd", "actEnergyRcvd", "activePower", "activeCount", "phaseCount"), _number),
    **dict.fromkeys(("dcVoltageINmV", "dcCurrentINmA", "acVoltageINmV", "acCurrentInmA", "acFrequencyINmHz"), _number),
    **dict.fromkeys(("joulesProduced", "duration", "ENC_agg_avail_energy", "ACB_agg_energy"), _number),
    **dict.fromkeys(("deviceCount", "deviceDataLimit"), _number),
    "device_status": _texts,
}


def read(path: str, content: object) -> Any:  # noqa: ANN401  (a Record or Records)
    """Return what a document of an endpoint contains, or an empty one. Raises TypeError for one of another kind."""
    try:
        return _read(path, content)
    except RecursionError:
        raise TypeError("nested too deeply") from None


def _read(path: str, content: object) -> Any:  # noqa: ANN401
    kind = Records if path in _LISTS else Record
    result: Any = kind(content)
    if kind is Record and not result.get("error"):
        # The library takes a document with this key for an error, whatever its value is.
        result.pop("error", None)
    if content and (type(content) is not kind.__base__ or "error" in result or not any(result)):
        raise TypeError("not a document of this endpoint")
    if change := _CHANGES.get(path):
        change(result)
    return result


def _complete_report(report: Record) -> None:
    """Let what has values count without a valid number of devices, and AC batteries be the first storage.

    The library reads the first entry of the storage section, where others may be as well.
    """
    for entry in (*report["production"], *report["consumption"], *report["storage"]):
        entry.complete(entry["type"])
        has_values = any(is_number(entry.get(key)) for key in ("wNow", "whLifetime", "percentFull"))
        if has_values and not is_number(entry.get("activeCount")) and entry["type"] in _UNCOUNTED:
            entry["activeCount"] = _UNCOUNTED[entry["type"]]
    if "storage" in report:
        report["storage"].sort(key=lambda entry: entry["type"] != AC_BATTERIES)


def _complete_meters(meters: Records) -> None:
    """Let a meter with an invalid number of phases have those of its mode."""
    for meter in meters:
        count = meter["phaseCount"]
        if type(count) is not int or not 1 <= count <= _PHASES or (count > 1 and meter["phaseMode"] == "single"):
            meter["phaseCount"] = _PHASES_OF_MODE.get(meter["phaseMode"], 1)


def with_known_states(meters: Records) -> Records:
    """Return meters for the library's probe, which finds those that are enabled: they are, unless they are disabled."""
    states = ((meter, meter["state"]) for meter in meters)
    return Records(
        [meter if state == CtState.DISABLED else meter | {"state": CtState.ENABLED} for meter, state in states]
    )


def _read_devices(document: Record) -> None:
    """Read the devices, which have keys of their own; without a count and a limit the library takes them for all."""
    devices = {key: Record(value) for key, value in document.items() if isinstance(value, dict)}
    for device in devices.values():
        # Only those that were removed are inactive.
        device["active"] = device.get("active") != 0
    if devices:
        document |= devices
        document["deviceCount"] = document["deviceCount"] or len(devices)
        document["deviceDataLimit"] = document["deviceDataLimit"] or _DEVICES


def _group(inventory: Records) -> None:
    """Make one group of those of a type, in the order of their first devices.

    The library reads one group of a type, and fails at groups without one: some firmware lists the profile of the grid
    among them.
    """
    groups: dict[object, Record] = {}
    for group in inventory:
        group.setdefault("devices", Records())
        # The library reads the first controller of a group.
        group["devices"][:] = filter(None, group["devices"])
        for device in group["devices"]:
            device.complete(group["type"])
        if group["type"] and (first := groups.setdefault(group["type"], group)) is not group:
            first["devices"].extend(group["devices"])
    inventory[:] = groups.values()


def with_controller(inventory: Iterable[Record]) -> list[Record]:
    """Return an inventory with an empty controller first: the library fails without any, once it has found one."""
    return [Record({"type": "ENPOWER"}), *inventory]


def _arrange_phases(meters: Records) -> None:
    """Put channels in the places of their phases, whose numbers are the last digits of their `eid`."""
    for meter in meters:
        channels: list[Record] = meter["channels"]
        places = {eid & 0xF: channel for channel in channels if isinstance(eid := channel["eid"], int)}
        if len(places) == len(channels) != max(places, default=0) <= _PHASES:
            meter["channels"] = Records([places.get(phase + 1) for phase in range(max(places))])


#: What is changed in a document, by its endpoint.
_CHANGES: Final[dict[str, Callable[[Any], None]]] = {
    **dict.fromkeys(_INVENTORIES, _group),
    **dict.fromkeys((URL_PRODUCTION, URL_PRODUCTION_JSON), _complete_report),
    URL_DEVICE_DATA: _read_devices,
    ENDPOINT_URL_METERS: _complete_meters,
    ENDPOINT_URL_METERS_READINGS: _arrange_phases,
}


def accept_unknown_words() -> None:
    """Let the library's enumerations have members for words that they do not contain; an empty one for no word."""
    for words in StrEnum.__subclasses__():
        if words.__module__.startswith("pyenphase.models."):
            words._missing_ = classmethod(_unknown)  # type: ignore[method-assign, assignment]


def _unknown(words: type[StrEnum], value: object) -> Any:  # noqa: ANN401  (of the enumeration's type)
    """Return a member for an unknown word."""
    member: Any = str.__new__(words, clean(value) if isinstance(value, str) else "")
    member._name_ = member._value_ = str(member)
    return member
