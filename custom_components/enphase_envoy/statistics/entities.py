"""Maps energy counters to the entities that show them."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from homeassistant.components.sensor import DOMAIN as SENSOR_DOMAIN, SensorDeviceClass, SensorStateClass
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import entity_registry as er

from ..const import DOMAIN
from ..descriptions import SENSORS
from ..descriptions.base import EnvoySensorEntityDescription
from ..model.snapshot import Address, CounterKey, Snapshot


@callback
def async_counter_entities(
    hass: HomeAssistant, snapshot: Snapshot, addresses: Collection[Address] | None = None
) -> dict[CounterKey, str]:
    """Return the entity of each counter that the energy pipeline filters, at some addresses or at all.

    Disabled entities are included: they may have been recorded in the past.
    """
    return {
        (address, description.counter): entity_id
        for address, description, entity_id in _async_sensors(hass, snapshot, addresses)
        if description.counter is not None
    }


@callback
def async_energy_sensors(
    hass: HomeAssistant, snapshot: Snapshot, addresses: Collection[Address] | None = None
) -> Iterator[tuple[Address, EnvoySensorEntityDescription[Any], str]]:
    """Yield each registered sensor with a total increasing energy, including those that are reset daily."""
    for address, description, entity_id in _async_sensors(hass, snapshot, addresses):
        if description.state_class is SensorStateClass.TOTAL_INCREASING:
            yield address, description, entity_id


@callback
def async_panel_sensors(hass: HomeAssistant, serials: Iterable[str]) -> dict[str, list[str]]:
    """Return the registered sensors of the energy of each panel, and of its power last."""
    registry = er.async_get(hass)
    return {
        serial: [
            entity_id
            for unique_id in (f"{serial}_lifetime_energy", f"{serial}_energy_today", serial)
            if (entity_id := registry.async_get_entity_id(SENSOR_DOMAIN, DOMAIN, unique_id))
        ]
        for serial in serials
    }


@callback
def _async_sensors(
    hass: HomeAssistant, snapshot: Snapshot, addresses: Collection[Address] | None
) -> Iterator[tuple[Address, EnvoySensorEntityDescription[Any], str]]:
    """Yield each registered sensor of energy."""
    registry = er.async_get(hass)
    for address in snapshot.objects if addresses is None else addresses:
        for entity_set in SENSORS:
            for description in entity_set.descriptions_for(snapshot, address):
                if description.device_class is not SensorDeviceClass.ENERGY:
                    continue
                unique_id = entity_set.unique_id(snapshot, address, description)
                if entity_id := registry.async_get_entity_id(SENSOR_DOMAIN, DOMAIN, unique_id):
                    yield address, description, entity_id
