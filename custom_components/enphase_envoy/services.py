"""Actions of the integration itself, beside those of its platforms."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from statistics import median
from typing import Final

from homeassistant.components.recorder import Recorder
from homeassistant.const import ATTR_CONFIG_ENTRY_ID, ATTR_ENTITY_ID, WEEKDAYS, UnitOfEnergy
from homeassistant.core import HomeAssistant, ServiceCall, ServiceResponse, SupportsResponse, callback
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import config_validation as cv, service
from homeassistant.util import dt as dt_util
from homeassistant.util.json import JsonValueType
import voluptuous as vol

from .cloud.battery import BatteryCloud
from .cloud.errors import CloudError
from .cloud.models import Schedule, ScheduleKind
from .const import DOMAIN, LOGGER
from .coordinator import EnvoyConfigEntry
from .statistics.entities import async_energy_sensors, async_panel_sensors
from .statistics.panels import async_panel_energies
from .statistics.recorder import (
    DATABASE_ERRORS,
    Correction,
    async_correct,
    async_queue_done,
    async_recorder,
    async_spikes,
)
from .statistics.spikes import Spike

REPAIR_STATISTICS: Final = "repair_statistics"
ATTR_START: Final = "start"
ATTR_END: Final = "end"
ATTR_APPLY: Final = "apply"

_BEGINNING: Final = dt_util.utc_from_timestamp(0)

_REPAIR_STATISTICS: Final = vol.Schema(
    {
        vol.Required(ATTR_CONFIG_ENTRY_ID): str,
        vol.Optional(ATTR_ENTITY_ID): cv.entity_ids,
        vol.Optional(ATTR_START): cv.datetime,
        vol.Optional(ATTR_END): cv.datetime,
        vol.Optional(ATTR_APPLY, default=False): cv.boolean,
    }
)

PANEL_REPORT: Final = "panel_report"
#: Days, today included, whose energy the report has.
_REPORT_DAYS: Final = (30, 7, 1)

GET_SCHEDULES: Final = "get_battery_schedules"
SET_SCHEDULE: Final = "set_battery_schedule"
DELETE_SCHEDULE: Final = "delete_battery_schedule"
ATTR_SCHEDULE_ID: Final = "schedule_id"
ATTR_SCHEDULE_TYPE: Final = "schedule_type"
ATTR_START_TIME: Final = "start_time"
ATTR_END_TIME: Final = "end_time"
ATTR_WEEKDAYS: Final = "weekdays"
ATTR_LIMIT: Final = "limit"
ATTR_ENABLED: Final = "enabled"

_ENTRY: Final = vol.Schema({vol.Required(ATTR_CONFIG_ENTRY_ID): str})
_SET_SCHEDULE: Final = _ENTRY.extend(
    {
        vol.Optional(ATTR_SCHEDULE_ID): cv.string,
        vol.Required(ATTR_SCHEDULE_TYPE): vol.In([kind.name.lower() for kind in ScheduleKind]),
        vol.Required(ATTR_START_TIME): cv.time,
        vol.Required(ATTR_END_TIME): cv.time,
        vol.Optional(ATTR_WEEKDAYS, default=WEEKDAYS): cv.weekdays,
        vol.Optional(ATTR_LIMIT): vol.All(vol.Coerce(int), vol.Range(5, 100)),
        vol.Optional(ATTR_ENABLED, default=True): cv.boolean,
    }
)
_DELETE_SCHEDULE: Final = _ENTRY.extend({vol.Required(ATTR_SCHEDULE_ID): cv.string})


@callback
def async_register(hass: HomeAssistant) -> None:
    """Register the actions."""
    for name, action, schema, response in (
        (PANEL_REPORT, _panel_report, _ENTRY, SupportsResponse.ONLY),
        (GET_SCHEDULES, _get_schedules, _ENTRY, SupportsResponse.ONLY),
        (SET_SCHEDULE, _set_schedule, _SET_SCHEDULE, SupportsResponse.OPTIONAL),
        (DELETE_SCHEDULE, _delete_schedule, _DELETE_SCHEDULE, SupportsResponse.NONE),
    ):
        hass.services.async_register(DOMAIN, name, action, schema, response)  # type: ignore[arg-type]
    # For administrators only: it rewrites recorded history.
    service.async_register_admin_service(
        hass,
        DOMAIN,
        REPAIR_STATISTICS,
        _repair_statistics,
        schema=_REPAIR_STATISTICS,  # type: ignore[arg-type]
        supports_response=SupportsResponse.ONLY,
    )


async def _repair_statistics(call: ServiceCall) -> ServiceResponse:
    """Return the physically impossible changes in recorded statistics, and correct them if `apply` is set."""
    hass = call.hass
    entry: EnvoyConfigEntry = service.async_get_config_entry(hass, DOMAIN, call.data[ATTR_CONFIG_ENTRY_ID])
    if (recorder := async_recorder(hass)) is None:
        raise HomeAssistantError(translation_domain=DOMAIN, translation_key="no_recorder")
    start, end = _period(call)
    applies = call.data[ATTR_APPLY]
    spikes = await async_repair(hass, entry, recorder, _counters(call, entry), lambda *_: applies, start, end)
    jumps = [_response(entity_id, spike) for entity_id, found in spikes.items() for spike in found]
    return {
        "applied": applies,
        "found": len(jumps),
        "correction": round(sum(spike.correction for found in spikes.values() for spike in found), 3),
        "unit": UnitOfEnergy.WATT_HOUR,
        "jumps": jumps,
    }


async def async_repair(
    hass: HomeAssistant,
    entry: EnvoyConfigEntry,
    recorder: Recorder,
    counters: Mapping[str, float],
    is_selected: Callable[[str, Spike], bool],
    start: datetime = _BEGINNING,
    end: datetime | None = None,
) -> dict[str, list[Spike]]:
    """Return the spikes of counters, and correct the selected ones.

    Raises HomeAssistantError if the entry is unloaded meanwhile, or if the statistics cannot be read.
    """
    coordinator, end = entry.runtime_data, end or dt_util.utcnow()
    # What is found is corrected before another call, or a correction of the entry's own, can find it again.
    async with coordinator.energy_manager.correcting:
        try:
            # A correction that was sent to the recorder may still be in its queue.
            if not await async_queue_done(hass, recorder):
                raise TimeoutError
            spikes = {
                entity_id: await async_spikes(hass, recorder, entity_id, watts, start, end)
                for entity_id, watts in counters.items()
            }
        except DATABASE_ERRORS as err:
            raise HomeAssistantError(translation_domain=DOMAIN, translation_key="statistics_unreadable") from err
        selected = {
            entity_id: [spike for spike in found if is_selected(entity_id, spike)]
            for entity_id, found in spikes.items()
        }
        if any(selected.values()):
            if coordinator.is_closed:
                raise HomeAssistantError(
                    translation_domain=DOMAIN,
                    translation_key="unloaded",
                    translation_placeholders={"name": entry.title},
                )
            await _apply(recorder, selected)
    return spikes


async def _panel_report(call: ServiceCall) -> ServiceResponse:
    """Return the energy of each panel, its share of the energy of its neighbours, and its days with a problem."""
    hass = call.hass
    entry: EnvoyConfigEntry = service.async_get_config_entry(hass, DOMAIN, call.data[ATTR_CONFIG_ENTRY_ID])
    roof = entry.runtime_data.roof
    health = roof.monitor.health
    now, today = dt_util.utcnow(), dt_util.start_of_local_day()
    starts = [dt_util.as_utc(today - timedelta(days=days - 1)) for days in _REPORT_DAYS]
    energies: dict[str, list[float]] = {}
    if recorder := async_recorder(hass):
        sensors = async_panel_sensors(hass, health.panels)
        try:
            energies = await async_panel_energies(hass, recorder, sensors, starts, now)
        except DATABASE_ERRORS as err:
            raise HomeAssistantError(translation_domain=DOMAIN, translation_key="statistics_unreadable") from err
    neighbours = health.neighbours()
    panels: dict[str, JsonValueType] = {}
    for serial in health.panels:
        month, week, day = energies.get(serial) or (None, None, health.energy_on(serial, today.toordinal()))
        usual = median(
            [energies[other][1] for other in neighbours[serial] if other in energies] or [0.0],
        )
        panels[serial] = {
            "name": roof.name(serial),
            "energy_today": _rounded(day),
            "energy_7_days": _rounded(week),
            "energy_30_days": _rounded(month),
            "share": round(week / usual, 3) if week is not None and usual > 0 else None,
            "problem_days": health.recent_problem_days(serial),
        }
    return {"panels": panels}


def _rounded(watt_hours: float | None) -> float | None:
    return None if watt_hours is None else round(watt_hours, 1)


async def _get_schedules(call: ServiceCall) -> ServiceResponse:
    """Return the battery schedules in the cloud, which is requested every five minutes at most."""
    async with _battery_cloud(call) as cloud:
        await cloud.read()
    return {"schedules": [_schedule_response(schedule) for schedule in cloud.schedules()]}


async def _set_schedule(call: ServiceCall) -> ServiceResponse:
    """Store a battery schedule in the cloud, or change the one with the id."""
    data = call.data
    schedule = Schedule(
        ScheduleKind[data[ATTR_SCHEDULE_TYPE].upper()],
        data[ATTR_START_TIME],
        data[ATTR_END_TIME],
        tuple(day for day, name in enumerate(WEEKDAYS, 1) if name in data[ATTR_WEEKDAYS]),
        data.get(ATTR_LIMIT),
        enabled=data[ATTR_ENABLED],
        id=data.get(ATTR_SCHEDULE_ID, ""),
    )
    async with _battery_cloud(call) as cloud:
        return _schedule_response(await cloud.set_schedule(schedule))


async def _delete_schedule(call: ServiceCall) -> None:
    """Delete a battery schedule in the cloud."""
    async with _battery_cloud(call) as cloud:
        await cloud.delete_schedule(call.data[ATTR_SCHEDULE_ID])


@asynccontextmanager
async def _battery_cloud(call: ServiceCall) -> AsyncIterator[BatteryCloud]:
    """Provide the battery settings in the cloud; afterwards the entities are updated. Raises HomeAssistantError."""
    entry: EnvoyConfigEntry = service.async_get_config_entry(call.hass, DOMAIN, call.data[ATTR_CONFIG_ENTRY_ID])
    coordinator = entry.runtime_data
    if (control := coordinator.battery_control) is None:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key="cloud_not_enabled",
            translation_placeholders={"name": entry.title},
        )
    try:
        yield control.cloud
    except CloudError as err:
        raise HomeAssistantError(
            translation_domain=DOMAIN,
            translation_key=err.reason,
            translation_placeholders={"entity": entry.title, "name": entry.title, "reason": err.detail},
        ) from err
    await control.async_load_zones()
    coordinator.publish()


def _schedule_response(schedule: Schedule) -> dict[str, JsonValueType]:
    """Return a schedule in the form of the actions' responses."""
    return {
        ATTR_SCHEDULE_ID: schedule.id,
        ATTR_SCHEDULE_TYPE: schedule.kind.name.lower(),
        ATTR_START_TIME: f"{schedule.start:%H:%M}",
        ATTR_END_TIME: f"{schedule.end:%H:%M}",
        ATTR_WEEKDAYS: [WEEKDAYS[day - 1] for day in schedule.days],
        ATTR_LIMIT: schedule.limit,
        ATTR_ENABLED: schedule.enabled,
        "status": schedule.status,
    }


def _period(call: ServiceCall) -> tuple[datetime, datetime]:
    """Return start and end of the period to check; times without a time zone are in Home Assistant's."""
    end = dt_util.as_utc(call.data.get(ATTR_END, dt_util.utcnow()))
    start = dt_util.as_utc(call.data.get(ATTR_START, _BEGINNING))
    if start >= end:
        raise ServiceValidationError(translation_domain=DOMAIN, translation_key="end_before_start")
    return start, end


@callback
def async_counters(hass: HomeAssistant, entry: EnvoyConfigEntry) -> dict[str, float]:
    """Return the counters of an entry, each with the maximum power in watts that it can count."""
    snapshot = entry.runtime_data.data
    return {
        entity_id: entry.runtime_data.energy_manager.limit(snapshot, address)
        for address, _, entity_id in async_energy_sensors(hass, snapshot)
    }


def _counters(call: ServiceCall, entry: EnvoyConfigEntry) -> dict[str, float]:
    """Return the entities to check, each with the maximum power in watts that it can count."""
    counters = async_counters(call.hass, entry)
    requested = call.data.get(ATTR_ENTITY_ID, counters)
    if unknown := [entity_id for entity_id in requested if entity_id not in counters]:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key="not_a_counter",
            translation_placeholders={"entity": unknown[0], "name": entry.title},
        )
    return {entity_id: counters[entity_id] for entity_id in requested}


async def _apply(recorder: Recorder, spikes: Mapping[str, list[Spike]]) -> None:
    """Write the corrections and wait until they are in the database."""
    for entity_id, found in spikes.items():
        for spike in found:
            async_correct(recorder, Correction(entity_id, spike.at, spike.correction))
        if found:
            total = sum(spike.correction for spike in found)
            LOGGER.info("Statistics of %s: corrected %s rows by %.0f Wh in total", entity_id, len(found), total)
    await recorder.async_block_till_done()


def _response(entity_id: str, spike: Spike) -> dict[str, str | float]:
    """Return a spike in the form of the action's response."""
    return {
        "when": dt_util.as_local(dt_util.utc_from_timestamp(spike.at)).isoformat(),
        "entity_id": entity_id,
        # The recorder names the statistics of an entity by its entity id.
        "statistic_id": entity_id,
        "booked": round(spike.recorded, 3),
        "possible": round(spike.possible, 3),
        "correction": round(spike.correction, 3),
    }
