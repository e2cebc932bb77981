"""The energy of today and of the last seven days. No Home Assistant here; time comes with the readings.

Gateways reset the day late, not at all, or to a remainder, and report the lifetime's value where the day's belongs. But
the day is what the lifetime counter gained since midnight, and that is published once a midnight has passed. On the
first day counting begins at the gateway's figure, unless that is impossible; the same holds for the first week.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, Final, NamedTuple, Self

from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.system_consumption import EnvoySystemConsumption
from pyenphase.models.system_production import EnvoySystemProduction

from ..model.json_data import Json, json_number
from ..model.snapshot import Address, Objects, from_key, to_key
from .counter import StepCause
from .counter_filter import CounterFilter
from .pipeline import ProcessingContext, Replacements


class _Fields(NamedTuple):
    """The fields of an object that hold energy, in Wh."""

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
#: Midnights that are kept: those of a week, of today, and one that a wrong clock may have passed.
_MIDNIGHTS: Final = _WEEK + 2
#: Wh below which the lifetime's value is not distinguished from the day's: a new system may have counted one day only.
_YOUNG: Final = 200_000.0
#: Part of an energy, and Wh, by which the gateway's count of some days may be below our own.
_ALIKE: Final = (0.02, 200.0)


@dataclass(slots=True)
class _Day:
    """A day's count of one object, in Wh."""

    day: date
    #: The lifetime counter as last read, and when.
    lifetime: float
    at: float
    #: The lifetime counter when the day began; None where it is not known.
    began: float | None = None
    #: No reading was taken since midnight.
    fresh: bool = False
    #: The lifetime counter at the midnights that have passed, the newest last.
    midnights: dict[date, float] = field(default_factory=dict)
    #: What was added to the polls' clock to get `at`; None where it is not known whether the time was set.
    offset: float | None = None
    #: The day that was left when the clock was set back; its `offset` is that of the clock as it was set.
    set_aside: Self | None = None

    @property
    def gained(self) -> float | None:
        """The energy of today."""
        return None if self.began is None else max(0.0, self.lifetime - self.began)

    def shift(self, leap: float, first: date) -> None:
        """Move along with a counter that went to another value; so do its values at midnights after the `first` day."""
        self.lifetime += leap
        self.began = None if self.began is None else self.began + leap
        self.midnights = {when: value + leap * (when > first) for when, value in self.midnights.items()}
        if self.set_aside:
            self.set_aside.shift(leap, first)

    def dump(self) -> list[Json]:
        """Return the day to store."""
        midnights: Json = {when.isoformat(): value for when, value in self.midnights.items()}
        set_aside = [self.set_aside.dump()] if self.set_aside else []
        return [self.day.isoformat(), self.lifetime, round(self.at), self.began, self.fresh, *set_aside, midnights]

    @classmethod
    def load(cls, stored: object) -> Self:
        """Return a stored day. Raises TypeError, ValueError or AttributeError if it is not valid."""
        entry: Any = stored
        when, lifetime, at, began, fresh, *more, midnights = entry
        return cls(
            date.fromisoformat(str(when)),
            json_number(lifetime),
            json_number(at),
            None if began is None else json_number(began),
            bool(fresh),
            {date.fromisoformat(then): json_number(value) for then, value in midnights.items()},
            # A version before stored a number there.
            set_aside=cls.load(more[0]) if more and isinstance(more[0], list) else None,
        )


class DailyEnergy:
    """Replaces the figures of today and of the last seven days. The processor after the counter filter."""

    name = "days"

    def __init__(self, counter_filter: CounterFilter) -> None:
        """Start without any day; `counter_filter` has the limits and the steps of the counters."""
        self._filter = counter_filter
        self._days: dict[Address, _Day] = {}
        #: Restored days that were not checked yet.
        self._restored: set[Address] = set()
        #: The objects as last given, and on which day.
        self._given: dict[Address, tuple[object, date]] = {}
        self._replaced = Replacements()
        self._today = date.min

    def process(self, objects: Objects, addresses: Collection[Address], context: ProcessingContext) -> Objects:
        """Return the objects with other figures than the gateway reports."""
        today = datetime.fromtimestamp(context.now, context.zone).date()
        for (address, name), step in self._filter.steps.items():
            if name in ("watt_hours_lifetime", "lifetime_energy") and address in self._days:
                # What is taken back was wrong since then, and right before.
                since = step.since if step.cause is StepCause.TAKEN_BACK else None
                first = datetime.fromtimestamp(since, context.zone).date() if since else date.min
                self._days[address].shift(step.leap, first)
        if self._today != today:
            self._today, addresses = today, objects.keys()
        for address in addresses:
            timed = objects.get(address)
            if timed is None or type(timed.value) not in _FIELDS or address[0].startswith("system_net"):
                continue
            given = self._given.get(address)
            if given is None or given[0] is not timed.value or given[1] != today:
                self._given[address] = (timed.value, today)
                self._update(objects, address, today, context)
            else:
                self._replaced.renew(address, timed)
        for address in self._given.keys() - objects.keys():
            del self._given[address]
            self._replaced.discard(address)
        return self._replaced.objects

    def _update(self, objects: Objects, address: Address, today: date, context: ProcessingContext) -> None:
        """Work out the figures of one object."""
        timed, fields = objects[address], _FIELDS[type(objects[address].value)]
        lifetime, reported = _number(timed.value, fields.lifetime), _number(timed.value, fields.today)
        day = self._days.get(address)
        if lifetime is None and (day is None or reported is None):
            self._replaced.discard(address)
            return
        at = context.updated_at(timed)
        if day is None or lifetime is None:
            day = self._days.setdefault(address, _Day(today, lifetime or 0.0, at))
        if today > day.day:
            if _turn(day, today, context):
                self._restored.add(address)
        elif today < day.day:
            _turn_back(day, today, context)
        day.offset = context.offset
        # Most objects are inverters, which need it on the first day only.
        is_limited = day.began is None or fields.week or address in self._restored
        limit = self._filter.limit(objects, address, context) if is_limited else 0.0
        if address in self._restored:
            self._restored.discard(address)
            count = day.lifetime if lifetime is None else lifetime
            if day.began is not None and not (day.fresh or _is_possible_day(count - day.began, count, limit)):
                # The file was damaged.
                day.began = None
        if lifetime is not None:
            _count(day, reported, lifetime, at, _midnight(today, context.zone), limit)
        figures: dict[str, Any] = {fields.today: None if day.gained is None else round(day.gained, 3)}
        if fields.week and (week := _number(timed.value, fields.week)) is not None:
            figures[fields.week] = None if lifetime is None else _week(day, week, limit)
        self._replaced.put(address, timed, figures)

    # Storage

    def dump(self) -> dict[str, Json]:
        """Return the days, each under its address."""
        return {to_key(address): day.dump() for address, day in self._days.items()}

    def load(self, data: Mapping[str, Json]) -> None:
        """Restore the days, after the counters; what is not valid, or differs from its counter, is left out."""
        for key, stored in data.items():
            try:
                day = _Day.load(stored)
            except TypeError, ValueError, AttributeError:
                continue
            address = from_key(key)
            counters = (self._filter.published((address, fields.lifetime)) for fields in _FIELDS.values())
            if {day.lifetime}.issuperset(value for value in counters if value is not None):
                self._days[address] = day
                self._restored.add(address)


def _count(day: _Day, reported: float | None, lifetime: float, at: float, midnight: float, limit: float) -> None:
    """Take a reading of the lifetime counter, and the day's figure that the gateway reports with it."""
    if day.began is None and reported is not None and _is_possible_day(reported, lifetime, limit):
        day.began = lifetime - reported
    elif day.fresh and (lifetime != day.lifetime or at >= midnight):
        _begin(day, reported, lifetime, at, midnight)
    day.lifetime, day.at = lifetime, at


def _turn(day: _Day, today: date, context: ProcessingContext) -> bool:
    """Begin a new day, at the last reading; return whether one goes on instead that a wrong clock interrupted."""
    left, day.set_aside = day.set_aside, None
    if left and left.day == today and _is_set_forward(left, context):
        day.day, day.began, day.fresh, day.midnights = left.day, left.began, False, left.midnights
        return True
    day.day, day.began, day.fresh = today, day.lifetime, True
    # By their number, not their age: if the clock is ahead, they are needed once it is right again.
    newest = sorted((day.midnights | {today: day.lifetime}).items())[-_MIDNIGHTS:]
    day.midnights = dict(newest)
    return False


def _is_set_forward(left: _Day, context: ProcessingContext) -> bool:
    """Return whether the clock was set to a time after the one at which a day was left.

    If it was ahead then, it reaches this day at midnight, or while nothing is read.
    """
    was_set = 0.0 if left.offset is None else context.offset - left.offset
    return context.now >= left.at and (left.offset is None or context.now - was_set < left.at)


def _turn_back(day: _Day, today: date, context: ProcessingContext) -> None:
    """Return to a day, after a clock was ahead: the midnights that passed meanwhile were none.

    Or the clock is behind now: then the day goes on as soon as the clock is right again. In another time zone the day
    begins once more.
    """
    day.set_aside = None
    if context.now < day.at:
        # If the polls' clock was set as well, it is not known when the time is set again.
        day.set_aside = replace(day, offset=None if context.offset == day.offset else context.offset)
    day.midnights = {when: value for when, value in day.midnights.items() if when <= today}
    day.day, day.began, day.fresh = today, day.midnights.get(today), False


def _begin(day: _Day, reported: float | None, lifetime: float, at: float, midnight: float) -> None:
    """Set where a day began, at its first reading: the energy since the last reading spans midnight.

    The gateway's figure is today's part of it, unless it exceeds the energy.
    """
    gained = lifetime - day.lifetime
    if reported is not None and reported <= gained:
        day.began = lifetime - reported
    elif at > midnight > day.at:
        day.began = day.lifetime + gained * (midnight - day.at) / (at - day.at)
    day.fresh = False
    if day.began is not None:
        day.midnights[day.day] = day.began


def _midnight(day: date, zone: tzinfo) -> float:
    return datetime.combine(day, time(), zone).timestamp()


def _number(value: object, name: str) -> float | None:
    number = getattr(value, name)
    return number if isinstance(number, int | float) else None


def _is_possible_day(reported: float, lifetime: float, limit: float) -> bool:
    """Return whether so much can have been counted in a day."""
    return 0 <= reported <= limit * 24 and (reported < 0.99 * lifetime or reported <= _YOUNG)


def _week(day: _Day, reported: float, limit: float) -> float | None:
    """Return the gateway's figure of the last seven days if they can have brought so much.

    Gateways disagree on whether today is part of them. What is impossible is replaced by the seven days before today
    once these were counted, and is unknown until then: some firmware reports 33 Wh for the whole first week.
    """
    today, last = day.gained or 0.0, day.midnights.get(day.day)
    first = day.midnights.get(day.day - timedelta(days=_WEEK))
    counts = [value for when, value in day.midnights.items() if (day.day - when).days <= _WEEK]
    counted = 0.0 if last is None else last - min(counts)
    part, wh = _ALIKE
    least = max(today, counted - max(part * counted, wh))
    if first is not None:
        most = (day.lifetime - first) * (1 + part) + wh
    else:
        most = min(limit * 24 * (_WEEK + 1), max(0.99 * day.lifetime, _WEEK * _YOUNG))
    if least <= reported <= most:
        return reported
    return None if first is None or counted < today else round(counted, 3)
