"""Battery settings, site settings and schedules as the cloud reports them.

The service is not documented by its maker. Keys and values are those that several public projects reported in 2025 and
2026. Every field is checked by itself: one that is missing or of another type is None, and costs nothing else. What is
not known here is kept in `raw`, and sent back where the service wants a whole object.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum
from typing import Any, Final, Self

from ..model.text import LONGEST_NAME, clean
from ..model.validation import is_number

type Document = Mapping[str, Any]

MINUTES_OF_DAY: Final = 24 * 60
#: Fields of a schedule that the service sets itself.
_OF_SERVICE: Final = frozenset({"scheduleId", "scheduleStatus", "isDeleted"})
#: Schedules of one kind that are read at most.
_MOST_SCHEDULES: Final = 100


class Profile(StrEnum):
    """Storage mode, as the cloud names it."""

    SELF_CONSUMPTION = "self-consumption"
    SAVINGS = "cost_savings"
    BACKUP = "backup_only"
    AI_OPTIMIZATION = "ai_optimisation"


class Setting(StrEnum):
    """A setting that can be changed through the cloud."""

    MODE = "mode"
    RESERVE = "reserve"
    CHARGE_FROM_GRID = "charge_from_grid"
    SHUTDOWN_LEVEL = "shutdown_level"
    DISCHARGE_TO_GRID = "discharge_to_grid"
    RESTRICT_DISCHARGE = "restrict_discharge"


class ScheduleKind(StrEnum):
    """What a schedule does, as the cloud names it."""

    CHARGE_FROM_GRID = "CFG"
    DISCHARGE_TO_GRID = "DTG"
    RESTRICT_DISCHARGE = "RBD"


def _object(document: object, key: str) -> Document:
    value = document.get(key) if isinstance(document, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _number(document: Document, key: str) -> float | None:
    return value if is_number(value := document.get(key)) else None


def _percent(document: Document, key: str) -> float | None:
    value = _number(document, key)
    return value if value is not None and 0 <= value <= 100 else None  # noqa: PLR2004


def _flag(document: Document, key: str) -> bool | None:
    return value if isinstance(value := document.get(key), bool) else None


def _text(document: Document, key: str) -> str | None:
    return clean(value, LONGEST_NAME) if isinstance(value := document.get(key), str) and value else None


@dataclass(frozen=True, slots=True)
class Control:
    """A feature that a site may have: discharge to the grid, restricted discharge."""

    #: Whether the site has it.
    is_offered: bool
    #: Whether the user may change it.
    is_locked: bool
    enabled: bool | None
    has_schedules: bool
    raw: Document = field(repr=False)

    @classmethod
    def from_api(cls, settings: Document, key: str) -> Self | None:
        """Return the control at a key, None where the site has none."""
        if not (raw := _object(settings, key)):
            return None
        return cls(
            _flag(raw, "show") is not False,
            _flag(raw, "locked") is True,
            _flag(raw, "enabled"),
            _flag(raw, "scheduleSupported") is not False,
            raw,
        )


def is_offered(control: Control | None) -> bool:
    """Return whether a site has a control."""
    return control is not None and control.is_offered


def enabled(control: Control | None) -> bool | None:
    """Return whether a control is enabled, None where it is missing."""
    return control.enabled if control else None


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """What a site offers."""

    profiles: tuple[Profile, ...]
    #: Whether charging from the grid may be changed at all.
    allows_charge_from_grid: bool
    timezone: str | None

    @classmethod
    def from_api(cls, document: object) -> Self:
        """Return the settings that an answer contains."""
        data = _object(document, "data")
        offered = {
            Profile.SELF_CONSUMPTION: True,
            Profile.SAVINGS: _flag(data, "showSavingsMode"),
            Profile.BACKUP: _flag(data, "showFullBackup"),
            Profile.AI_OPTIMIZATION: _flag(data, "showAiOptiSavingsMode") is True,
        }
        return cls(
            # Sites that do not report a mode have had it for as long as the service exists, except the newest.
            profiles=tuple(profile for profile, is_offered in offered.items() if is_offered is not False),
            allows_charge_from_grid=_flag(data, "showChargeFromGrid") is not False
            and _flag(data, "restrictCfg") is not True,
            timezone=_text(data, "timezone"),
        )


def has_settings(document: object) -> bool:
    """Return whether an answer contains battery settings in the shape that is read here."""
    return not {"profile", "batteryBackupPercentage", "veryLowSoc", "chargeFromGrid"}.isdisjoint(
        _object(document, "data")
    )


@dataclass(frozen=True, slots=True)
class BatterySettings:
    """Battery settings of a site. Levels are percentages of the batteries' capacity."""

    #: None for a mode that is not known here.
    profile: Profile | None
    reserve: float | None
    reserve_min: float | None
    reserve_max: float | None
    #: The level at which batteries switch off.
    shutdown_level: float | None
    shutdown_level_min: float | None
    shutdown_level_max: float | None
    charge_from_grid: bool | None
    #: Minutes after midnight.
    charge_begin: float | None
    charge_end: float | None
    charge_schedule_enabled: bool | None
    #: Whether the user accepted the disclaimer about charging from the grid.
    accepted_disclaimer: bool
    #: The reserve of each mode when it was last in use.
    reserves: Mapping[str, float]
    discharge_to_grid: Control | None
    restrict_discharge: Control | None
    raw: Document = field(repr=False)

    @classmethod
    def from_api(cls, document: object) -> Self:
        """Return the settings that an answer contains."""
        data = _object(document, "data")
        previous = _object(data, "previousBatteryBackupPercentage")
        profile = data.get("profile")
        return cls(
            profile=Profile(profile) if profile in list(Profile) else None,
            reserve=_percent(data, "batteryBackupPercentage"),
            reserve_min=_percent(data, "batteryBackupPercentageMin"),
            reserve_max=_percent(data, "batteryBackupPercentageMax"),
            shutdown_level=_percent(data, "veryLowSoc"),
            shutdown_level_min=_percent(data, "veryLowSocMin"),
            shutdown_level_max=_percent(data, "veryLowSocMax"),
            charge_from_grid=_flag(data, "chargeFromGrid"),
            charge_begin=_number(data, "chargeBeginTime"),
            charge_end=_number(data, "chargeEndTime"),
            charge_schedule_enabled=_flag(data, "chargeFromGridScheduleEnabled"),
            accepted_disclaimer=bool(data.get("acceptedItcDisclaimer")),
            reserves={mode: level for mode in previous if (level := _percent(previous, mode)) is not None},
            discharge_to_grid=Control.from_api(data, "dtgControl"),
            restrict_discharge=Control.from_api(data, "rbdControl"),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule on some days of the week, in the site's time zone. One that ends before it begins passes midnight."""

    kind: ScheduleKind
    start: time
    end: time
    #: 1 is Monday.
    days: tuple[int, ...]
    #: Percentage of charge up to which batteries charge, or down to which they discharge.
    limit: float | None = None
    enabled: bool = True
    #: Identifier in the cloud; empty for one that is not stored there yet.
    id: str = ""
    #: Such as `active`, or `pending` until the gateway has it.
    status: str | None = None
    timezone: str | None = None
    raw: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_api(cls, kind: ScheduleKind, document: object) -> Self | None:
        """Return the schedule that an object describes.

        None where it was deleted, has no times or no id, or days that are not known here: it is in effect on others.
        """
        if not isinstance(document, Mapping) or _flag(document, "isDeleted"):
            return None
        start, end = _time(document.get("startTime")), _time(document.get("endTime"))
        listed = document.get("days") or list(range(1, 8))
        named = {str(day) for day in listed} if isinstance(listed, list) else set[str]()
        days = tuple(day for day in range(1, 8) if str(day) in named)
        identifier = document.get("scheduleId")
        if start is None or end is None or not days or not (isinstance(identifier, int | str) and identifier):
            return None
        return cls(
            kind,
            start,
            end,
            days,
            _percent(document, "limit"),
            enabled=_flag(document, "isEnabled") is not False,
            id=clean(str(identifier), LONGEST_NAME),
            status=_text(document, "scheduleStatus"),
            timezone=_text(document, "timezone"),
            raw=document,
        )

    def to_api(self, timezone: str) -> dict[str, object]:
        """Return the body of a request that stores the schedule, with the fields that are not known here."""
        body: dict[str, object] = {
            **{key: value for key, value in self.raw.items() if key not in _OF_SERVICE},
            "timezone": self.timezone or timezone,
            "startTime": f"{self.start:%H:%M}",
            "endTime": f"{self.end:%H:%M}",
            "scheduleType": str(self.kind),
            "days": list(self.days),
            "isEnabled": self.enabled,
        }
        body.pop("limit", None)
        if self.limit is not None:
            body["limit"] = round(self.limit)
        return body

    @property
    def minutes(self) -> Iterator[tuple[int, int]]:
        """The periods of a week in minutes since Monday, each within one day."""
        start, end = (60 * at.hour + at.minute for at in (self.start, self.end))
        for day in self.days:
            first = MINUTES_OF_DAY * (day - 1)
            if start < end:
                yield first + start, first + end
            else:
                yield first + start, first + MINUTES_OF_DAY
                following = MINUTES_OF_DAY * (day % 7)
                yield following, following + end

    def overlaps(self, other: Schedule) -> bool:
        """Return whether both are in effect at the same time."""
        periods = list(other.minutes)
        return any(start < end_ and start_ < end for start, end in self.minutes for start_, end_ in periods)


def schedules_from_api(document: object) -> tuple[Schedule, ...]:
    """Return all schedules that an answer contains."""
    found = (
        Schedule.from_api(kind, item)
        for kind in ScheduleKind
        for item in _list(_object(document, kind.lower()).get("details"))
    )
    return tuple(schedule for schedule in found if schedule)


def _list(value: object) -> list[object]:
    return value[:_MOST_SCHEDULES] if isinstance(value, list) else []


def _time(value: object) -> time | None:
    """Return a time of day that is given as `HH:MM` or with seconds; 24:00 is the last minute of the day."""
    if not isinstance(value, str):
        return None
    try:
        # A time zone would not be that of the day.
        return time(23, 59) if value.startswith("24:00") else time.fromisoformat(value).replace(tzinfo=None)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class CloudBattery:
    """All that the cloud reports of the batteries of a site."""

    settings: BatterySettings
    site: SiteSettings
    schedules: tuple[Schedule, ...]


def sites_from_api(document: object) -> dict[str, str]:
    """Return the names of an account's sites by their ids. The list may have each of them twice, or be empty."""
    lists = [document, *(_value for key in ("sites", "data", "items", "systems") if (_value := _get(document, key)))]
    found: dict[str, str] = {}
    for item in next((value for value in lists if isinstance(value, list)), [])[:_MOST_SCHEDULES]:
        identifier = _get(item, "id") or _get(item, "site_id") or _get(item, "system_id")
        if isinstance(identifier, int | str) and str(identifier).isascii() and str(identifier).isdecimal():
            name = _get(item, "title") or _get(item, "name")
            found[str(identifier)] = clean(name, LONGEST_NAME) if isinstance(name, str) and name else str(identifier)
    return found


def _get(document: object, key: str) -> object:
    return document.get(key) if isinstance(document, Mapping) else None
