"""Values of frames, laid over the objects of the polls, field by field, each with its own freshness.

An object that only a frame contains is never created, but for those of hardware that the polls have found; counters
keep the freshness of their document.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple, cast

from pyenphase.const import ENDPOINT_URL_METERS_READINGS, URL_ENSEMBLE_SECCTRL, URL_PRODUCTION, URL_PRODUCTION_JSON
from pyenphase.models.meters import CtType

from ..model.live import LIVE_BATTERY, LIVE_GENERATOR, LIVE_INVERTERS, LiveBattery, LiveGenerator, LiveInverters
from ..model.snapshot import Address, Freshness, Objects, TimedValue
from ..model.validation import is_number
from .live_frames import REPORTS, Frame, Values

#: Seconds after which a frame is not recent, or three intervals.
_RECENT: Final = 15.0

#: Objects that only frames contain, each with the field of the hardware without which it is not shown.
_OWN: Final[Mapping[Address, tuple[type, str]]] = {
    LIVE_BATTERY: (LiveBattery, "encharge_power"),
    LIVE_GENERATOR: (LiveGenerator, "generator"),
    LIVE_INVERTERS: (LiveInverters, "inverters"),
}
_TOTALS: Final = {*REPORTS.values(), *(f"{report}_phases" for report in REPORTS.values())}
#: Endpoints whose only values that change by the second are powers and states of charge, with the fields of the data
#: that have these. `acb_power` is never in a frame: `/production.json` is requested in every poll where there is one.
_COVERED: Final = {
    URL_PRODUCTION_JSON: _TOTALS | {"acb_power"},
    URL_PRODUCTION: _TOTALS | {"acb_power"},
    ENDPOINT_URL_METERS_READINGS: {"ctmeters", "ctmeters_phases"},
    URL_ENSEMBLE_SECCTRL: {"encharge_aggregate", "battery_aggregate"},
}


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


def _names(values: Values) -> dict[Address, list[str]]:
    return {address: [*fields] for address, fields in values.items()}


class LiveValues:
    """The last value of each field that frames contained."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Keep nothing yet; `clock` returns seconds, on the clock of the polls."""
        self._clock = clock
        #: Seconds between frames, as the caller reads them; 0 when it reads none.
        self.interval = 0.0
        #: The last frame, and of each field the last value: a frame may lack some, and each source has its own.
        self._values: Values = {}
        self._fields: dict[Address, dict[str, _Field]] = {}
        self._freshness = Freshness(float("-inf"))
        #: The objects that were returned last, each with the object of a poll and the values that it is made of.
        self._shown: dict[Address, _Shown] = {}

    def keep(self, frame: Frame, objects: Objects) -> set[Address]:
        """Keep a frame, and return the addresses of the objects whose values, or whose age, it changes."""
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
        return {address for address in changed if address in objects or address in _OWN}

    @property
    def age(self) -> float | None:
        """The age of the last frame in seconds, None without one."""
        return self._clock() - self._freshness.updated_at if self._values else None

    @property
    def is_current(self) -> bool:
        """Whether the last frame is recent."""
        return self._is_recent(self._freshness)

    def _is_recent(self, freshness: Freshness) -> bool:
        return self._clock() - freshness.updated_at <= max(_RECENT, 3 * self.interval)

    def covered(self, objects: Objects) -> set[str]:
        """Return the endpoints that polls may request less often, because their powers are live.

        None where import and export are calculated from counters: the interval of these limits their accuracy.
        """
        if not self.is_current or ("ctmeters", CtType.TOTAL_CONSUMPTION) in objects:
            return set()
        return {
            path
            for path, fields in _COVERED.items()
            if (fed := {address for address in objects if address[0] in fields}) and fed <= self._values.keys()
        }

    def apply(self, objects: dict[Address, TimedValue]) -> None:
        """Lay the values of frames over the objects, unless a document that was read later contains them."""
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
