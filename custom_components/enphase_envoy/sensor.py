"""Sensors. Their entity sets are in `descriptions/`."""

from datetime import datetime
from typing import override

from homeassistant.components.sensor import SensorDeviceClass, SensorEntity
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .availability import HoldTime
from .coordinator import EnvoyConfigEntry, EnvoyCoordinator
from .descriptions import SENSORS
from .descriptions.base import EntitySet, EnvoySensorEntityDescription
from .entity import EnvoyEntity, async_setup_entity_sets
from .model.snapshot import Address

PARALLEL_UPDATES = 0


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Set up the sensors of a gateway."""
    async_setup_entity_sets(entry, async_add_entities, SENSORS, EnvoySensor)


class EnvoySensor[T](EnvoyEntity[T], SensorEntity):
    """A sensor that reads one object of the snapshot."""

    entity_description: EnvoySensorEntityDescription[T]

    def __init__(
        self,
        coordinator: EnvoyCoordinator,
        entity_set: EntitySet[T, EnvoySensorEntityDescription[T]],
        address: Address,
        description: EnvoySensorEntityDescription[T],
    ) -> None:
        """Hold counters for longer than power."""
        super().__init__(coordinator, entity_set, address, description)
        if description.device_class is SensorDeviceClass.ENERGY:
            self._hold = HoldTime.LONG

    @property
    @override
    def native_value(self) -> float | str | datetime | None:
        """Return the value in the unit of the description."""
        value: float | str | datetime | None = self._current[1]
        options = self.entity_description.options
        # New firmware may report a word that is not an option yet.
        return value if options is None or value in options else None
