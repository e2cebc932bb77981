"""What was counted today and in the last seven days. No Home Assistant here; time comes with the readings.

Gateways reset the day late, not at all, or to what is left over, and say the lifetime's value where the day's belongs.
But the day is what the lifetime counter gained since midnight, and that is what is shown here once a midnight was seen.
On the first day the gateway's figure is where counting begins, unless it is impossible; the same for the first week.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, Final, NamedTuple

from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.system_consumption import EnvoySystemConsumption
from pyenphase.models.system_production import EnvoySystemProduction

from ..model.json_data import Json, json_number
from ..model.snapshot import Address, TimedValue, from_key, to_key
from .counter_filter import CounterFilter
from .pipeline import Objects, ProcessingContext


class _Fields(NamedTuple):
    """Where an object has its figures, in Wh."""

    lifetime: str
    today: str
    week: str | None


_REPORT: Final = _Fields("watt_hours_lifetime", "watt_hours_today", "watt_hours_last_7_days")
_FIELDS: Final[Mapping[type, _Fields]] = {
    EnvoySystemProduction: _REPORT,
    EnvoySystemConsumption: _REPORT,
    EnvoyInverter: _Fields("lifetime_energy", "energy_today", None),
}
#: Days that a week has.
_WEEK: Final = 7
#: Wh below which the lifetime's value is not told from the day's: a new system has counted for a day only.
_YOUNG: Final = 200_000.0
#: Part of a week's energy, and Wh, by which two ways to count it may differ.
_ALIKE: Final = (0.02, 200.0)


@dataclass(slots=True)
class _Day:
    """A day's count of one object, in Wh."""

    day: date
    #: The lifetime counter as last read, and when.
    lifetime: float
    at: float
    #: The lifetime counter when the day began; None while nobody knows.
    began: float | None = None
    #: No reading was taken since midnight.
    fresh: bool = False
    #: The lifetime counter at the midnights that were seen, the newest last.
    midnights: dict[date, float] = field(default_factory=dict)
    #: How the gateway counts a week: until now, or until the last midnight; and from how many days back.
    way: int = 0

    @property
    def gained(self) -> float | None:
        """What was counted today."""
        return None if self.began is None else max(0.0, self.lifetime - self.began)


class DailyEnergy:
    """Says what today and the last seven days are. A step of the books, after the guard."""

    name = "days"

    def __init__(self, guard: CounterFilter) -> None:
        """Follow the steps that the guard lets through."""
        self._guard = guard
        self._days: dict[Address, _Day] = {}
        #: The leaves as given, on which day, and what was said instead.
        self._given: dict[Address, tuple[object, date]] = {}
        self._said: dict[Address, TimedValue] = {}

    def process(self, objects: Objects, addresses: Collection[Address], context: ProcessingContext) -> Objects:
        """Return the leaves whose day is not what the gateway says."""
        today = datetime.fromtimestamp(context.now, context.zone).date()
        for step in self._guard.steps:
            self._follow(step.counter[0], step.counter[1], step.after - step.before - step.gained)
        for address in addresses:
            timed = objects.get(address)
            if (
                timed is None
                or (fields := _FIELDS.get(type(timed.value))) is None
                or address[0].startswith("system_net")
            ):
                continue
            given = self._given.get(address)
            if given is None or given[0] is not timed.value or given[1] != today:
                self._given[address] = (timed.value, today)
                self._look(objects, address, fields, today, context)
            elif (said := self._said.get(address)) and said.freshness is not timed.freshness:
                self._said[address] = TimedValue(said.value, timed.freshness)
        for address in self._given.keys() - objects.keys():
            del self._given[address]
            self._said.pop(address, None)
        return self._said

    def _follow(self, address: Address, name: str, leap: float) -> None:
        """Shift what was remembered of a counter that went to another value."""
        if (day := self._days.get(address)) is None or name not in ("watt_hours_lifetime", "lifetime_energy"):
            return
        day.lifetime += leap
        day.began = None if day.began is None else day.began + leap
        day.midnights = {when: value + leap for when, value in day.midnights.items()}

    def _look(
        self,
        objects: Mapping[Address, TimedValue],
        address: Address,
        fields: _Fields,
        today: date,
        context: ProcessingContext,
    ) -> None:
        """Work out the figures of one object."""
        timed = objects[address]
        lifetime, told = _number(timed.value, fields.lifetime), _number(timed.value, fields.today)
        if lifetime is None or told is None:
            self._said.pop(address, None)
            return
        at = context.updated_at(timed)
        day = self._days.get(address)
        if day is None:
            day = self._days[address] = _Day(today, lifetime, at)
        if today > day.day:
            _turn(day, today)
        elif today < day.day:
            _turn_back(day, today)
        limit = self._guard.limit(objects, address, context)
        is_new = lifetime != day.lifetime or at >= _midnight(today, context.zone)
        if day.began is None and _is_possible_day(told, lifetime, limit):
            day.began = lifetime - told
        elif day.fresh and is_new:
            _begin(day, told, lifetime, at, _midnight(today, context.zone))
        day.lifetime, day.at = lifetime, at
        true: dict[str, Any] = {fields.today: None if day.gained is None else round(day.gained, 3)}
        if fields.week and (week := _number(timed.value, fields.week)) is not None:
            true[fields.week] = _week(day, week, limit)
        self._say(address, timed, true)

    def _say(self, address: Address, timed: TimedValue, true: dict[str, Any]) -> None:
        """Note what to say instead of a leaf, keeping the object where nothing is new."""
        value: Any = timed.value
        if all(getattr(value, name) == figure for name, figure in true.items()):
            self._said.pop(address, None)
            return
        honest = replace(value, **true)
        said = self._said.get(address)
        self._said[address] = TimedValue(said.value if said and said.value == honest else honest, timed.freshness)

    # Memory

    def dump(self) -> dict[str, Json]:
        """Return the days, each under the address."""
        return {
            to_key(address): [
                *(day.day.isoformat(), day.lifetime, round(day.at), day.began, day.fresh, day.way),
                {when.isoformat(): value for when, value in day.midnights.items()},
            ]
            for address, day in self._days.items()
        }

    def load(self, memory: Mapping[str, Json]) -> None:
        """Go on from such days."""
        entry: Any
        for key, entry in memory.items():
            try:
                when, lifetime, at, began, fresh, way, midnights = entry
                self._days[from_key(key)] = _Day(
                    date.fromisoformat(str(when)),
                    json_number(lifetime),
                    json_number(at),
                    None if began is None else json_number(began),
                    bool(fresh),
                    {date.fromisoformat(then): json_number(value) for then, value in midnights.items()},
                    int(json_number(way)) % len(_WAYS),
                )
            except TypeError, ValueError, AttributeError:
                continue


def _turn(day: _Day, today: date) -> None:
    """Begin a new day, at what was last read."""
    day.day, day.began, day.fresh = today, day.lifetime, True
    day.midnights = {when: value for when, value in day.midnights.items() if (today - when).days <= _WEEK}
    day.midnights[today] = day.lifetime


def _turn_back(day: _Day, today: date) -> None:
    """Return to a day, after a clock was ahead: what it saw of later midnights was none."""
    day.midnights = {when: value for when, value in day.midnights.items() if when <= today}
    day.day, day.began, day.fresh = today, day.midnights.get(today), False


def _begin(day: _Day, told: float, lifetime: float, at: float, midnight: float) -> None:
    """Say where a day began, at its first reading: what was counted since the last one spans midnight.

    The gateway knows how much of it is today's, unless it says more than there was.
    """
    gained = lifetime - day.lifetime
    if told <= gained:
        day.began = lifetime - told
    elif at > midnight > day.at:
        day.began = day.lifetime + gained * (midnight - day.at) / (at - day.at)
    day.fresh = False
    if day.began is not None:
        day.midnights[day.day] = day.began


def _midnight(day: date, zone: tzinfo) -> float:
    return datetime.combine(day, time(), zone).timestamp()


def _number(value: object, name: str) -> float | None:
    json_number = getattr(value, name)
    return json_number if isinstance(json_number, int | float) else None


def _is_possible_day(told: float, lifetime: float, limit: float) -> bool:
    """Return whether so much can have been counted in a day."""
    return 0 <= told <= limit * 24 and (told < 0.99 * lifetime or told <= _YOUNG)


#: Ways to count a week: until now or until midnight, and how many days before that.
_WAYS: Final = ((False, _WEEK), (True, _WEEK), (True, _WEEK - 1))


def _weeks(day: _Day) -> list[float] | None:
    """Return what each way to count a week comes to, None before a week was seen."""
    found = []
    for until_now, back in _WAYS:
        start, end = day.midnights.get(day.day - timedelta(days=back)), day.midnights.get(day.day)
        if start is None or end is None:
            return None
        found.append((day.lifetime if until_now else end) - start)
    return found


def _week(day: _Day, told: float, limit: float) -> float | None:
    """Return what the last seven days came to: as the gateway says, if that is what they can have come to.

    Gateways don't agree on whether today is part of them: each is taken as it counted when it was right.
    """
    if (counted := _weeks(day)) is None:
        possible = 0 <= told <= limit * 24 * (_WEEK + 1) and (told < 0.99 * day.lifetime or told <= _WEEK * _YOUNG)
        return told if possible else None
    part, least = _ALIKE
    for way, energy in enumerate(counted):
        if abs(told - energy) <= max(part * energy, least):
            day.way = way
            return told
    return round(counted[day.way], 3)
