"""Calendar of the battery schedules that the cloud has."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final, override

from homeassistant.components.calendar import CalendarEntity, CalendarEntityDescription, CalendarEvent
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.util import dt as dt_util

from .availability import HoldTime
from .cloud.models import CloudBattery, Schedule, ScheduleKind
from .coordinator import EnvoyConfigEntry
from .descriptions import sources
from .descriptions.base import EntitySet, EnvoyEntityDescription
from .entity import EnvoyEntity, async_setup_entity_sets

PARALLEL_UPDATES = 0

#: A calendar has no translations for its events.
_SUMMARIES: Final = {
    ScheduleKind.CHARGE_FROM_GRID: "Charge from grid",
    ScheduleKind.DISCHARGE_TO_GRID: "Discharge to grid",
    ScheduleKind.RESTRICT_DISCHARGE: "Restrict battery discharge",
}


@dataclass(frozen=True, kw_only=True)
class EnvoyCalendarEntityDescription(EnvoyEntityDescription[CloudBattery], CalendarEntityDescription):
    """Description of the calendar."""


CALENDARS: Final[tuple[EntitySet[Any, EnvoyCalendarEntityDescription], ...]] = (
    EntitySet(sources.CLOUD_BATTERY, (EnvoyCalendarEntityDescription(key="battery_schedules"),)),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Set up the calendar of a system."""
    async_setup_entity_sets(entry, async_add_entities, CALENDARS, EnvoyCalendar)


class EnvoyCalendar(EnvoyEntity[CloudBattery], CalendarEntity):
    """The schedules of a system, as events."""

    entity_description: EnvoyCalendarEntityDescription
    _hold = HoldTime.LONG

    @property
    def _battery(self) -> CloudBattery | None:
        return self.coordinator.data.get(CloudBattery, self._address)

    @property
    @override
    def event(self) -> CalendarEvent | None:
        """Return the current event, or else the next one."""
        now = dt_util.utcnow()
        return min(
            self._events(now, now + timedelta(days=8)), key=lambda event: event.start_datetime_local, default=None
        )

    @override
    async def async_get_events(
        self, hass: HomeAssistant, start_date: datetime, end_date: datetime
    ) -> list[CalendarEvent]:
        """Return the events of a period."""
        return sorted(self._events(start_date, end_date), key=lambda event: event.start_datetime_local)

    def _events(self, start: datetime, end: datetime) -> Iterator[CalendarEvent]:
        if (battery := self._battery) and (control := self.coordinator.battery_control):
            for schedule in battery.schedules:
                if schedule.enabled:
                    zone = control.zone(schedule.timezone, battery.site.timezone)
                    yield from _events(schedule, start, end, zone)


def _events(schedule: Schedule, start: datetime, end: datetime, zone: tzinfo) -> Iterator[CalendarEvent]:
    """Yield the events of a schedule that are in effect in a period."""
    # One that began on the day before may pass midnight.
    day = start.astimezone(zone).date() - timedelta(days=1)
    while day <= end.astimezone(zone).date():
        if day.isoweekday() in schedule.days:
            begins = datetime.combine(day, schedule.start, zone)
            following = schedule.end <= schedule.start
            ends = datetime.combine(day + timedelta(days=following), schedule.end, zone)
            # An hour that summer time skips makes some events short, and those within it empty.
            is_empty = ends.timestamp() <= begins.timestamp()
            if begins < end and ends > start and not is_empty:
                limit = None if schedule.limit is None else f"{schedule.limit:.0f} %"
                yield CalendarEvent(begins, ends, _SUMMARIES[schedule.kind], description=limit, uid=schedule.id or None)
        day += timedelta(days=1)
