"""Sensors. Their entity sets are in `descriptions/`."""

from datetime import datetime
from typing import Final, override

from homeassistant.components.sensor import SensorDeviceClass, SensorEntity
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.event import async_call_later

from .availability import HoldTime
from .coordinator import EnvoyConfigEntry, EnvoyCoordinator
from .descriptions import SENSORS
from .descriptions.base import EntitySet, EnvoySensorEntityDescription
from .entity import EnvoyEntity, async_setup_entity_sets
from .model.snapshot import Address
from .model.validation import is_number

PARALLEL_UPDATES = 0

#: Change of a live value that is worth a row in the database, in W, V or A and as a share of the value, and the seconds
#: after which any change is.
_SMALLEST_CHANGES: Final = {
    SensorDeviceClass.POWER: 10.0,
    SensorDeviceClass.VOLTAGE: 1.0,
    SensorDeviceClass.CURRENT: 0.1,
}
_SMALLEST_SHARE: Final = 0.01
_LONGEST_UNWRITTEN: Final = 60.0
#: Seconds between two states of a counter that live power moves: less than between most polls.
_BETWEEN_COUNTS: Final = 50.0


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Set up the sensors of a gateway."""
    async_setup_entity_sets(entry, async_add_entities, SENSORS, EnvoySensor)


class EnvoySensor[T](EnvoyEntity[T], SensorEntity):
    """A sensor that reads one object of the snapshot."""

    entity_description: EnvoySensorEntityDescription[T]
    #: When a state was last written, in seconds of the polls' clock.
    _written_at = float("-inf")
    #: Cancels the write of a small change.
    _cancel_write: CALLBACK_TYPE | None = None

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

    @override
    @callback
    def _handle_coordinator_update(self) -> None:
        """Write the state; that of a live value that hardly changed within a minute."""
        if self._is_small_change():
            if self._cancel_write is None:
                # The value may stay as it is from now on: then no other update writes it.
                self._cancel_write = async_call_later(self.hass, _LONGEST_UNWRITTEN, self._write)
            return
        self._stop_write()
        self._write()

    @callback
    def _write(self, _now: datetime | None = None) -> None:
        self._cancel_write = None
        before = self._current
        super()._handle_coordinator_update()
        if self._current != before:
            self._written_at = self.coordinator.gateway.clock()

    @callback
    def _stop_write(self) -> None:
        if self._cancel_write:
            self._cancel_write()
            self._cancel_write = None

    @override
    async def async_will_remove_from_hass(self) -> None:
        self._stop_write()
        await super().async_will_remove_from_hass()

    def _is_small_change(self) -> bool:
        """Return whether this is a live value, or energy from one, that differs by less than is worth a row."""
        fields = self.coordinator.published.get(self._address).fields
        elapsed = self.coordinator.gateway.clock() - self._written_at
        if fields and self.device_class is SensorDeviceClass.ENERGY:
            return elapsed < _BETWEEN_COUNTS and self._current[0] and self._read()[0]
        smallest = _SMALLEST_CHANGES.get(self.device_class) if self.device_class else None
        if smallest is None or self._field not in fields:
            return False
        (was_available, shown), (available, value) = self._current, self._read()
        if not (was_available and available and is_number(shown) and is_number(value)):
            return False
        small = abs(value - shown) <= max(smallest, _SMALLEST_SHARE * abs(shown))
        return small and elapsed < _LONGEST_UNWRITTEN

    @property
    @override
    def native_value(self) -> float | str | datetime | None:
        """Return the value in the unit of the description."""
        value: float | str | datetime | None = self._current[1]
        options = self.entity_description.options
        # New firmware may report a word that is not an option yet.
        return value if options is None or value in options else None
