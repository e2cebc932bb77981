"""Which entities show which counters of a gateway."""

from collections.abc import Collection, Iterator
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
    """Return the entity of each counter that the books keep, at some addresses or at all.

    A disabled one may have been recorded in the past.
    """
    return {
        (address, row.counter): entity_id
        for address, row, entity_id in async_energy_sensors(hass, snapshot, addresses)
        if row.counter is not None
    }


@callback
def async_energy_sensors(
    hass: HomeAssistant, snapshot: Snapshot, addresses: Collection[Address] | None = None
) -> Iterator[tuple[Address, EnvoySensorEntityDescription[Any], str]]:
    """Yield each registered entity that counts energy up, what of it begins anew each day too."""
    registry = er.async_get(hass)
    for address in snapshot.objects if addresses is None else addresses:
        for table in SENSORS:
            if not table.covers(address):
                continue
            for row in table.rows_for(snapshot, address):
                if row.device_class is not SensorDeviceClass.ENERGY:
                    continue
                if row.state_class is not SensorStateClass.TOTAL_INCREASING:
                    continue
                unique_id = table.unique_id(snapshot, address, row)
                if entity_id := registry.async_get_entity_id(SENSOR_DOMAIN, DOMAIN, unique_id):
                    yield address, row, entity_id
