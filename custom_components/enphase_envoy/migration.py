"""Entities of other custom components of this domain, and of a gateway that was replaced."""

import re
from typing import Any, Final

from homeassistant.components.sensor import DOMAIN as SENSOR
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import device_registry as dr, entity_registry as er

from .const import DOMAIN, LOGGER
from .energy.counter_filter import mark_replaced
from .issues import NO_SUCCESSOR, async_clear, async_report_no_successor
from .storage import COUNTERS, DOCUMENTS, EntryStore

#: Sensors of home_assistant_custom_envoy and home_assistant_enphase_envoy_installer whose unique id, after the serial
#: number, is another here, with the same meaning and unit. Those of production and consumption are the same.
_SUCCESSORS: Final = {
    "inverter_data_watts": "",
    "inverter_data_watts_max": "max_reported",
    "inverter_data_last_reading": "last_reported",
    "inverter_data_last_reading_interval": "last_report_duration",
    "inverter_data_dc_voltage": "dc_voltage",
    "inverter_data_dc_current": "dc_current",
    "inverter_data_ac_voltage": "ac_voltage",
    "inverter_data_ac_current": "ac_current",
    "inverter_data_ac_frequency": "ac_frequency",
    "inverter_data_temperature": "temperature",
    "inverter_data_lifetime_power": "lifetime_energy",
    "inverter_data_watt_hours_today": "energy_today",
    "batteries_percentFull": "soc",
    "batteries_temperature": "temperature",
    "agg_batteries_soc": "battery_level",
    "agg_batteries_available_energy": "available_energy",
    "agg_batteries_capacity": "max_capacity",
    "total_battery_percentage": "battery_level",
    "current_battery_capacity": "available_energy",
}
#: Unique ids after the serial number that only those components have: `inverters_running` and `inverters_total` were
#: sensors of an earlier version of this one.
_FOREIGN: Final = re.compile(
    r"(?!inverters_(running|total)$)"
    r"((inverter_(data|info|pcu)|relay_(data|info|pcu)|inverters|relays|batteries|agg_batteries|lifetime_batteries)_\w+"
    r"|inverters|batteries|relays|firmware|envoy_software|grid_profile|grid_status|polling_interval|production_power"
    r"|total_battery_percentage|current_battery_capacity|battery_energy_(dis)?charged"
    r"|daily_net_(consumption|production)(_l[123])?|(ampere|apparent_power|reactive_power)(_l[123])?"
    r"|(grid|current_grid)_(import|export)(_power)?)"
)


@callback
def async_adopt_entities(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Continue the entities of another component of this domain, and report those without a successor."""
    registry = er.async_get(hass)
    left: dict[str, list[str]] = {}
    for entity in er.async_entries_for_config_entry(registry, entry.entry_id):
        serial, _, key = entity.unique_id.partition("_")
        if not _FOREIGN.fullmatch(key):
            continue
        successor = _SUCCESSORS.get(key) if entity.domain == SENSOR else None
        unique_id = serial if successor == "" else f"{serial}_{successor}"
        if successor is None or registry.async_get_entity_id(SENSOR, DOMAIN, unique_id):
            left.setdefault(key, []).append(entity.entity_id)
        else:
            registry.async_update_entity(entity.entity_id, new_unique_id=unique_id)
    if left:
        async_report_no_successor(hass, entry, left)
    else:
        async_clear(hass, entry, NO_SUCCESSOR)


@callback
def shared_devices(hass: HomeAssistant, entry: ConfigEntry[Any], serials: frozenset[str]) -> set[str]:
    """Return which inverters and batteries of a gateway are among the devices of an entry."""
    devices = dr.async_entries_for_config_entry(dr.async_get(hass), entry.entry_id)
    return {identifier for device in devices for _, identifier in device.identifiers} & serials


async def async_take_over(hass: HomeAssistant, entry: ConfigEntry[Any], serial: str) -> None:
    """Move the devices, entities and counters of an entry, which is unloaded, to the gateway that replaced its own."""
    old = entry.unique_id or ""
    LOGGER.info("%s: gateway %s was replaced by %s", entry.title, old, serial)
    await hass.config_entries.async_unload(entry.entry_id)
    devices = dr.async_get(hass)
    for device in dr.async_entries_for_config_entry(devices, entry.entry_id):
        moved = {(domain, _moved(identifier, old, serial)) for domain, identifier in device.identifiers}
        if moved != device.identifiers:
            # The MAC address is that of the old gateway.
            devices.async_update_device(device.id, new_identifiers=moved, new_connections=set())
    entities = er.async_get(hass)
    for entity in er.async_entries_for_config_entry(entities, entry.entry_id):
        unique_id = _moved(entity.unique_id, old, serial)
        if unique_id != entity.unique_id and not entities.async_get_entity_id(entity.domain, DOMAIN, unique_id):
            entities.async_update_entity(entity.entity_id, new_unique_id=unique_id)
    # The documents are those of the old gateway.
    await EntryStore(hass, entry, DOCUMENTS).async_remove()
    store = EntryStore(hass, entry, COUNTERS)
    # The entry may have been removed meanwhile.
    if (stored := await store.async_load()) and hass.config_entries.async_get_entry(entry.entry_id):
        mark_replaced(stored)
        await store.async_save_now(stored)


@callback
def async_hand_over(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Let the entities of devices that another gateway lists as well continue with its entry, before one is removed."""
    devices, entities = dr.async_get(hass), er.async_get(hass)
    others = [each for each in hass.config_entries.async_entries(DOMAIN) if each is not entry]
    for entity in er.async_entries_for_config_entry(entities, entry.entry_id):
        device = devices.async_get(entity.device_id or "")
        for identifier in device.identifiers if device else ():
            for other in others:
                if same := devices.async_get_device_by_identifier(identifier, other.entry_id):
                    entities.async_update_entity(entity.entity_id, config_entry_id=other.entry_id, device_id=same.id)


def _moved(identifier: str, old: str, new: str) -> str:
    """Return an identifier that begins with a serial number with another one."""
    serial, separator, rest = identifier.partition("_")
    return f"{new}{separator}{rest}" if serial == old else identifier
