"""What one line of the tables says."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from homeassistant.components.sensor import SensorDeviceClass, SensorEntityDescription, SensorStateClass
from homeassistant.const import PERCENTAGE, EntityCategory, UnitOfEnergy, UnitOfPower
from homeassistant.helpers.entity import EntityDescription
from pyenphase.models.encharge import EnvoyEncharge
from pyenphase.models.enpower import EnvoyEnpower

from ..model.snapshot import Address, Snapshot


@dataclass(frozen=True, kw_only=True)
class EnvoyEntityDescription[T](EntityDescription):
    """Description of one entity of an object; each platform adds how it reads and writes."""

    #: Whether this object has such an entity at all.
    exists_fn: Callable[[T], bool] = lambda _: True


@dataclass(frozen=True, kw_only=True)
class EntitySet[T, R: EnvoyEntityDescription[Any]]:
    """Descriptions of one kind of object, where to find such objects, and on which device they live."""

    kind: type[T]
    #: Beginning of the addresses of these objects, e.g. `("inverters",)`.
    at: Address
    #: How many more parts the address of an object has: 0 for a single one, 1 for each of a dictionary.
    below: int = 0
    rows: Sequence[R]
    #: Identifier of the device; None where these objects have no entities on this system.
    device_fn: Callable[[Snapshot, Address], str | None] = lambda snapshot, _: snapshot.serial
    #: Beginning of the unique ids, where it is not the identifier of the device.
    prefix_fn: Callable[[Snapshot, Address], str] | None = None
    #: Beginning of new entity ids, where history has it otherwise than the name of the device.
    object_id_fn: Callable[[Snapshot, Address], str | None] = lambda _snapshot, _address: None

    def covers(self, address: Address) -> bool:
        """Return whether this table speaks of the object at an address."""
        return len(address) == len(self.at) + self.below and address[: len(self.at)] == self.at

    def rows_for(self, snapshot: Snapshot, address: Address) -> Iterator[R]:
        """Yield what describes the object at an address."""
        source = snapshot.get(self.kind, address)
        if source is not None and self.device_fn(snapshot, address) is not None:
            yield from (row for row in self.rows if row.exists_fn(source))

    def unique_id(self, snapshot: Snapshot, address: Address, row: EnvoyEntityDescription[Any]) -> str:
        """Return the unique id of the entity that shows a row of the object at an address."""
        prefix = (self.prefix_fn or self.device_fn)(snapshot, address) or snapshot.serial
        return "_".join(filter(None, (prefix, row.key, phase_of(address))))


def phase_of(address: Address) -> str:
    """Return the phase that an object is of, e.g. `l1`, and nothing for what is of all."""
    return address[-1].lower() if address[0].endswith("_phases") else ""


@dataclass(frozen=True, kw_only=True)
class EnvoySensorEntityDescription[T](EnvoyEntityDescription[T], SensorEntityDescription):
    """One sensor of an object of the snapshot."""

    #: The value in the native unit, None when the gateway does not say.
    value_fn: Callable[[T], float | str | datetime | None]
    #: Name of the field that this shows in Wh, where it is a counter that the books guard.
    counter: str | None = None


#: Tables of sensors, each of another kind of object.
type SensorSets = tuple[EntitySet[Any, EnvoySensorEntityDescription[Any]], ...]


class Quantity(TypedDict):
    """What sensors of one physical quantity have in common."""

    device_class: SensorDeviceClass
    state_class: SensorStateClass | None
    native_unit_of_measurement: str


class Measure(Quantity):
    """A quantity that is shown in another unit than the gateway gives it in."""

    suggested_unit_of_measurement: str
    suggested_display_precision: int


#: The gateway speaks in W and Wh; what is shown suits a house.
POWER = Measure(
    device_class=SensorDeviceClass.POWER,
    state_class=SensorStateClass.MEASUREMENT,
    native_unit_of_measurement=UnitOfPower.WATT,
    suggested_unit_of_measurement=UnitOfPower.KILO_WATT,
    suggested_display_precision=3,
)
LIFETIME_ENERGY = Measure(
    device_class=SensorDeviceClass.ENERGY,
    state_class=SensorStateClass.TOTAL_INCREASING,
    native_unit_of_measurement=UnitOfEnergy.WATT_HOUR,
    suggested_unit_of_measurement=UnitOfEnergy.MEGA_WATT_HOUR,
    suggested_display_precision=3,
)
ENERGY_TODAY = Measure(
    device_class=SensorDeviceClass.ENERGY,
    state_class=SensorStateClass.TOTAL_INCREASING,
    native_unit_of_measurement=UnitOfEnergy.WATT_HOUR,
    suggested_unit_of_measurement=UnitOfEnergy.KILO_WATT_HOUR,
    suggested_display_precision=2,
)
#: A window that moves on every day is no meter: no statistics.
ENERGY_SEVEN_DAYS = Measure(
    device_class=SensorDeviceClass.ENERGY,
    state_class=None,
    native_unit_of_measurement=UnitOfEnergy.WATT_HOUR,
    suggested_unit_of_measurement=UnitOfEnergy.KILO_WATT_HOUR,
    suggested_display_precision=1,
)
#: Import minus export may fall: a total, not one that only increases.
NET_ENERGY = Measure(
    device_class=SensorDeviceClass.ENERGY,
    state_class=SensorStateClass.TOTAL,
    native_unit_of_measurement=UnitOfEnergy.WATT_HOUR,
    suggested_unit_of_measurement=UnitOfEnergy.KILO_WATT_HOUR,
    suggested_display_precision=3,
)
CHARGE = Quantity(
    device_class=SensorDeviceClass.BATTERY,
    state_class=SensorStateClass.MEASUREMENT,
    native_unit_of_measurement=PERCENTAGE,
)
STORED_ENERGY = Quantity(
    device_class=SensorDeviceClass.ENERGY_STORAGE,
    state_class=SensorStateClass.MEASUREMENT,
    native_unit_of_measurement=UnitOfEnergy.WATT_HOUR,
)


def communication_levels[T: (EnvoyEncharge, EnvoyEnpower)](
    _kind: type[T],
) -> tuple[EnvoySensorEntityDescription[T], ...]:
    """Return how well a device of the battery system is heard on its two radios, 0 (not at all) to 5."""
    return (
        EnvoySensorEntityDescription[T](
            key="comm_level_2_4_ghz",
            state_class=SensorStateClass.MEASUREMENT,
            entity_category=EntityCategory.DIAGNOSTIC,
            entity_registry_enabled_default=False,
            value_fn=lambda device: device.comm_level_2_4_ghz,
        ),
        EnvoySensorEntityDescription[T](
            key="comm_level_sub_ghz",
            state_class=SensorStateClass.MEASUREMENT,
            entity_category=EntityCategory.DIAGNOSTIC,
            entity_registry_enabled_default=False,
            value_fn=lambda device: device.comm_level_sub_ghz,
        ),
    )
