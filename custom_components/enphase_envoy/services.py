"""Actions of our own, beside those of the platforms."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from homeassistant.components.recorder import Recorder
from homeassistant.const import ATTR_ENTITY_ID
from homeassistant.core import HomeAssistant, ServiceCall, ServiceResponse, SupportsResponse, callback
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import config_validation as cv, service
from homeassistant.util import dt as dt_util
import voluptuous as vol

from .const import DOMAIN, LOGGER
from .coordinator import EnvoyConfigEntry
from .energy import limits as capacity
from .statistics.entities import async_energy_sensors
from .statistics.recorder import DATABASE_ERRORS, Correction, async_correct, async_recorder, async_spikes
from .statistics.spikes import Spike

REPAIR_STATISTICS: Final = "repair_statistics"
ATTR_CONFIG_ENTRY_ID: Final = "config_entry_id"
ATTR_START: Final = "start"
ATTR_END: Final = "end"
ATTR_APPLY: Final = "apply"

_REPAIR_STATISTICS: Final = vol.Schema(
    {
        vol.Required(ATTR_CONFIG_ENTRY_ID): str,
        vol.Optional(ATTR_ENTITY_ID): cv.entity_ids,
        vol.Optional(ATTR_START): cv.datetime,
        vol.Optional(ATTR_END): cv.datetime,
        vol.Optional(ATTR_APPLY, default=False): cv.boolean,
    }
)


@callback
def async_register(hass: HomeAssistant) -> None:
    """Offer the actions."""
    hass.services.async_register(
        DOMAIN,
        REPAIR_STATISTICS,
        _repair_statistics,
        schema=_REPAIR_STATISTICS,  # type: ignore[arg-type]
        supports_response=SupportsResponse.ONLY,
    )


async def _repair_statistics(call: ServiceCall) -> ServiceResponse:
    """Show the jumps in recorded statistics that physics rules out, and correct them if asked to."""
    hass = call.hass
    entry: EnvoyConfigEntry = service.async_get_config_entry(hass, DOMAIN, call.data[ATTR_CONFIG_ENTRY_ID])
    if (recorder := async_recorder(hass)) is None:
        raise HomeAssistantError(translation_domain=DOMAIN, translation_key="no_recorder")
    start, end = _period(call)
    meters = _meters(call, entry)
    try:
        jumps = {
            entity_id: await async_spikes(hass, recorder, entity_id, watts, start, end)
            for entity_id, watts in meters.items()
        }
    except DATABASE_ERRORS as err:
        raise HomeAssistantError(translation_domain=DOMAIN, translation_key="statistics_unreadable") from err
    if call.data[ATTR_APPLY]:
        await _apply(recorder, jumps)
    return {
        "applied": call.data[ATTR_APPLY],
        "jumps": [_shown(entity_id, jump) for entity_id, found in jumps.items() for jump in found],
    }


def _period(call: ServiceCall) -> tuple[datetime, datetime]:
    """Return from when to when to look; what is given without a time zone is in Home Assistant's."""
    end = dt_util.as_utc(call.data.get(ATTR_END, dt_util.utcnow()))
    start = dt_util.as_utc(call.data.get(ATTR_START, dt_util.utc_from_timestamp(0)))
    if start >= end:
        raise ServiceValidationError(translation_domain=DOMAIN, translation_key="end_before_start")
    return start, end


def _meters(call: ServiceCall, entry: EnvoyConfigEntry) -> dict[str, float]:
    """Return the entities to look at, and the watts that each counts at most."""
    snapshot = entry.runtime_data.data
    meters = {
        entity_id: capacity.watts(snapshot.objects, address)
        for address, _, entity_id in async_energy_sensors(call.hass, snapshot)
    }
    wanted = call.data.get(ATTR_ENTITY_ID, meters)
    if unknown := [entity_id for entity_id in wanted if entity_id not in meters]:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key="not_a_counter",
            translation_placeholders={"entity": unknown[0], "name": entry.title},
        )
    return {entity_id: meters[entity_id] for entity_id in wanted}


async def _apply(recorder: Recorder, jumps: Mapping[str, list[Spike]]) -> None:
    for entity_id, found in jumps.items():
        for jump in found:
            async_correct(recorder, Correction(entity_id, jump.at, jump.correction))
        if found:
            total = sum(jump.correction for jump in found)
            LOGGER.info("Statistics of %s: %s rows corrected by %.0f Wh in all", entity_id, len(found), total)
    await recorder.async_block_till_done()


def _shown(entity_id: str, jump: Spike) -> dict[str, str | float]:
    return {
        "when": dt_util.as_local(dt_util.utc_from_timestamp(jump.at)).isoformat(),
        "entity_id": entity_id,
        # The recorder calls what it records of an entity by the name of that entity.
        "statistic_id": entity_id,
        "booked": round(jump.booked, 3),
        "possible": round(jump.possible, 3),
        "correction": round(jump.correction, 3),
    }
