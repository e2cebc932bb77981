"""Documents as pyenphase reads them: containers where it needs some, records in which any key may be missing.

The library's parsers take all of a document or nothing. Firmware changed keys and words several times a year: batteries
without `led_status`, relays of the type `3RD-PV`, a storage mode `economy`. Here an invalid value becomes null, and an
invalid list or object an empty one, so that it costs the fields that come from it. Which containers a document has is
all that must be listed.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final, SupportsIndex, cast, override

from pyenphase.const import (
    ENDPOINT_URL_METERS,
    ENDPOINT_URL_METERS_READINGS,
    URL_DEVICE_DATA,
    URL_DRY_CONTACT_SETTINGS,
    URL_DRY_CONTACT_STATUS,
    URL_ENCHARGE_BATTERY,
    URL_ENSEMBLE_INVENTORY,
    URL_ENSEMBLE_SECCTRL,
    URL_GEN_CONFIG,
    URL_GEN_MODE,
    URL_GEN_SCHEDULE,
    URL_GENERATOR,
    URL_INVENTORY,
    URL_PRODUCTION,
    URL_PRODUCTION_INVERTERS,
    URL_PRODUCTION_JSON,
    URL_PRODUCTION_V1,
    URL_TARIFF,
)
from pyenphase.models.acb import ACBChargeStatus, ACBSleepState
from pyenphase.models.c6combiner import C6CC_REQUIRED_KEYS
from pyenphase.models.collar import COLLAR_REQUIRED_KEYS
from pyenphase.models.dry_contacts import DryContactAction, DryContactMode, DryContactStatus, DryContactType
from pyenphase.models.meters import CtMeterStatus, CtState, CtStatusFlags, EnvoyPhaseMode
from pyenphase.models.tariff import EnvoyStorageMode

from ..model.validation import is_number
from .paths import URL_BATTERY_SCHEDULER, URL_LIVE_DATA_STATUS

#: The containers of a document: an object with those within it, or a list of such objects.
type Shape = dict[str, Shape] | list[Shape]

#: Stands for every key of an object.
_EACH: Final = "*"
_GROUP: Final[dict[str, Shape]] = {"devices": [{}]}
_GROUPS: Final[Shape] = [_GROUP]
_RELAYS: Final[Shape] = {"dry_contacts": [{}]}
_METERS: Final[Shape] = [{"lines": [{}]}]
_REPORT: Final[Shape] = {"production": _METERS, "consumption": _METERS, "storage": [{}]}
_INVERTER: Final[Shape] = {"channels": [{"watts": {}, "lastReading": {}, "lifetime": {}, "wattHours": {}}]}
_SHAPES: Final[dict[str, Shape]] = {
    ENDPOINT_URL_METERS: [{}],
    ENDPOINT_URL_METERS_READINGS: [{"channels": [{}]}],
    URL_BATTERY_SCHEDULER: {},
    URL_DEVICE_DATA: {_EACH: _INVERTER},
    URL_DRY_CONTACT_SETTINGS: _RELAYS,
    URL_DRY_CONTACT_STATUS: _RELAYS,
    URL_ENCHARGE_BATTERY: {"devices:": [{}]},
    URL_ENSEMBLE_INVENTORY: _GROUPS,
    URL_ENSEMBLE_SECCTRL: {},
    URL_GEN_CONFIG: {},
    URL_GEN_MODE: {},
    URL_GEN_SCHEDULE: {"exercise_config": {}, "default_soc": {}},
    URL_GENERATOR: {},
    URL_INVENTORY: _GROUPS,
    URL_LIVE_DATA_STATUS: {"connection": {}, "meters": {}},
    URL_PRODUCTION: _REPORT,
    URL_PRODUCTION_INVERTERS: [{}],
    URL_PRODUCTION_JSON: _REPORT,
    URL_PRODUCTION_V1: {},
    URL_TARIFF: {"tariff": {"storage_settings": {}}},
}
#: Keys that identify a device in a list, or a meter among the objects.
_IDENTIFIERS: Final = frozenset({"serial_num", "serialNumber", "sn", "eid", "id", "measurementType"})
#: Keys with which the library calculates.
_NUMBERS: Final = frozenset(
    {
        *("actEnergyDlvd", "actEnergyRcvd", "activePower", "ENC_agg_avail_energy", "ACB_agg_energy", "phaseCount"),
        *("dcVoltageINmV", "dcCurrentINmA", "acVoltageINmV", "acCurrentInmA", "acFrequencyINmHz", "joulesProduced"),
        *("duration", "activeCount", "deviceCount", "deviceDataLimit"),
    }
)
#: Keys that the library requires of devices of a type, or has a default for that would be shown as their value.
_NULLABLE: Final = {
    "COLLAR": COLLAR_REQUIRED_KEYS,
    "C6 COMBINER CONTROLLER": C6CC_REQUIRED_KEYS,
    "ACB": frozenset({"percentFull", "communicating", "operating", "producing", "sleep_enabled", "part_num"}),
}
_PHASES: Final = 3
#: Devices that a list contains at most, on all known firmware.
_DEVICES: Final = 50
_WORDS: Final[tuple[type[StrEnum], ...]] = (
    *(ACBChargeStatus, ACBSleepState, CtMeterStatus, CtState, CtStatusFlags),
    *(DryContactAction, DryContactMode, DryContactStatus, DryContactType, EnvoyPhaseMode, EnvoyStorageMode),
)


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
    """An object of a document: a key that is missing is null, or an empty container where there should be one."""

    def __init__(self, items: object = None, shape: dict[str, Shape] | None = None) -> None:
        """Read an object; anything else is an empty one."""
        super().__init__(items if isinstance(items, dict) else {})
        self._shape = shape or {}
        if each := self._shape.get(_EACH):
            self.update({key: _read(value, each) for key, value in self.items() if isinstance(value, dict)})
        for key in self.keys() & self._shape.keys():
            self[key] = _read(self[key], self._shape[key])
        for key in self.keys() & _IDENTIFIERS:
            if not isinstance(self[key], str | int):
                self[key] = None
        for key in self.keys() & _NUMBERS:
            if not is_number(self[key]):
                self[key] = _NO_NUMBER

    def __missing__(self, key: str) -> object:
        """Return the value of a key that is missing."""
        if (shape := self._shape.get(key)) is not None:
            return _read(None, shape)
        return _NO_NUMBER if key in _NUMBERS else None


class Records(list[Record]):
    """A list of objects, in which there is an empty one at any place."""

    @override
    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        return super().__getitem__(index) if isinstance(index, slice) or int(index) < len(self) else self._empty

    def __init__(self, items: Iterable[object], shape: Shape) -> None:
        """Read a list. An item that is no object is an empty one: the places of channels are those of phases."""
        super().__init__(_read(item, shape) for item in items)
        self._empty = _read(None, shape)


def _read(value: object, shape: Shape) -> Any:  # noqa: ANN401  (a Record or Records)
    if isinstance(shape, list):
        return Records(value if isinstance(value, list) else (), shape[0])
    return Record(value, shape)


def read(path: str, content: object) -> object:
    """Return what a document of an endpoint contains, or an empty one. Raises TypeError for one of another kind."""
    if (shape := _SHAPES.get(path)) is None:
        return content
    objects: list[object] = content if isinstance(content, list) else [content]
    if content and (
        not isinstance(content, type(shape))
        or not any(isinstance(item, dict) for item in objects)
        or "error" in cast("dict[str, object]", content)
    ):
        raise TypeError("not a document of this endpoint")
    result = _read(content, shape)
    if shape is _GROUPS:
        return _grouped(result)
    if shape is _REPORT:
        for entry in result["storage"]:
            if entry.get("type") == "acb":
                # By this key the library finds AC batteries.
                entry.setdefault("percentFull")
    if path == URL_DEVICE_DATA and content:
        # Without one of these the library does not read the devices, which are not listed beyond the limit.
        result["deviceCount"] = result["deviceCount"] or sum(isinstance(item, dict) for item in result.values())
        result["deviceDataLimit"] = result["deviceDataLimit"] or _DEVICES
    if path == ENDPOINT_URL_METERS_READINGS:
        for meter in result:
            _arrange_phases(meter)
    return result


def _grouped(inventory: Records) -> Records:
    """Return an inventory with one group for each type, in the order of their first devices.

    The library reads one group of a type, and fails at groups without one: some firmware lists the profile of the grid
    among them.
    """
    groups: dict[str, Record] = {}
    for group in inventory:
        if isinstance(kind := group.get("type"), str):
            groups.setdefault(kind, Record({**group, "devices": []}, _GROUP))["devices"].extend(group["devices"])
    for kind in _NULLABLE.keys() & groups.keys():
        for device in groups[kind]["devices"]:
            for key in _NULLABLE[kind] - device.keys():
                device[key] = None
            if not isinstance(device.get("device_status", []), list):
                del device["device_status"]
    return Records(groups.values(), _GROUP)


def with_controller(inventory: object) -> object:
    """Return an inventory with an empty controller first: the library fails without any, once it has found one."""
    groups: list[object] = inventory if isinstance(inventory, list) else []
    return [_read({"type": "ENPOWER"}, _GROUP), *groups]


def _arrange_phases(meter: Record) -> None:
    """Put the channels of a meter in the places of their phases, whose numbers are the last digits of their `eid`."""
    channels: list[Record] = meter["channels"]
    places = {eid & 0xF: channel for channel in channels if isinstance(eid := channel.get("eid"), int)}
    if len(places) == len(channels) != max(places, default=0) <= _PHASES:
        meter["channels"] = Records((places.get(phase + 1) for phase in range(max(places))), {})


def accept_unknown_words() -> None:
    """Let the library's enumerations have members for words that they do not contain; an empty one for no word."""
    for words in _WORDS:
        words._missing_ = classmethod(_unknown)  # type: ignore[method-assign, assignment]


def _unknown(words: type[StrEnum], value: object) -> Any:  # noqa: ANN401  (of the enumeration's type)
    """Return a member for an unknown word."""
    member: Any = str.__new__(words, value if isinstance(value, str) else "")
    member._name_ = member._value_ = str(member)
    return member
