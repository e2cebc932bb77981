"""Descriptions of entities, and the sets that connect them with the objects of the snapshot."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from homeassistant.components.sensor import SensorDeviceClass, SensorEntityDescription, SensorStateClass
from homeassistant.const import PERCENTAGE, EntityCategory, UnitOfEnergy, UnitOfPower
from homeassistant.helpers.entity import EntityDescription
from homeassistant.util import dt as dt_util
from pyenphase.models.encharge import EnvoyEncharge
from pyenphase.models.enpower import EnvoyEnpower

from ..client.errors import GatewayError, Reason
from ..cloud.models import Setting
from ..model.identifiers import phase_of
from ..model.snapshot import Address, Snapshot
from .sources import Source


@dataclass(frozen=True, kw_only=True)
class EnvoyEntityDescription[T](EntityDescription):
    """Description of one entity of an object; each platform adds how it reads and writes."""

    #: Whether this object has such an entity at all.
    exists_fn: Callable[[T], bool] = lambda _: True
    #: The field of the object that is shown, where it may have a source of its own, faster than that of the object.
    field: str | None = None
    #: Attributes of the state.
    attributes_fn: Callable[[T], Mapping[str, Any]] | None = None
    #: Whether the entity is enabled when it is added.
    enabled_fn: Callable[[Snapshot], bool] = lambda _: True
    #: The setting that is changed through the cloud, where the user chose that.
    cloud_setting: Setting | None = None


async def not_local(_gateway: object, _source: object, _value: object) -> None:
    """Refuse a change of a setting that only the cloud has. Raises GatewayError."""
    raise GatewayError(Reason.NO_DATA, "only through the cloud")


@dataclass(frozen=True)
class EntitySet[T, D: EnvoyEntityDescription[Any]]:
    """The entities of all objects of one source."""

    source: Source[T]
    descriptions: Sequence[D]

    def descriptions_for(self, snapshot: Snapshot, address: Address) -> Iterator[D]:
        """Yield the descriptions for the object at an address; none for one of another source."""
        if self.source.covers(address) and (found := self.source.find(snapshot, address)) is not None:
            yield from (description for description in self.descriptions if description.exists_fn(found))

    def unique_id(self, snapshot: Snapshot, address: Address, description: EnvoyEntityDescription[Any]) -> str:
        """Return the unique id of an entity of the object at an address."""
        prefix = self.source.unique_id_prefix(snapshot, address)
        return "_".join(filter(None, (prefix, description.key, phase_of(address))))


@dataclass(frozen=True, kw_only=True)
class EnvoySensorEntityDescription[T](EnvoyEntityDescription[T], SensorEntityDescription):
    """Description of one sensor of an object."""

    #: The value in the native unit, None when the gateway does not report it.
    value_fn: Callable[[T], float | str | datetime | None]
    #: Name of the field that is shown, in Wh, where it is a counter that the energy pipeline corrects.
    counter: str | None = None


#: Entity sets of sensors.
type SensorSets = tuple[EntitySet[Any, EnvoySensorEntityDescription[Any]], ...]


class Quantity(TypedDict):
    """The common part of sensors of one physical quantity."""

    device_class: SensorDeviceClass
    state_class: SensorStateClass | None
    native_unit_of_measurement: str


class Measure(Quantity):
    """A quantity that is shown in another unit than the gateway reports it in."""

    suggested_unit_of_measurement: str
    suggested_display_precision: int


#: The gateway reports W and Wh; the suggested units suit a household.
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
#: A window of seven days is no meter, and has no statistics.
ENERGY_SEVEN_DAYS = Measure(
    device_class=SensorDeviceClass.ENERGY,
    state_class=None,
    native_unit_of_measurement=UnitOfEnergy.WATT_HOUR,
    suggested_unit_of_measurement=UnitOfEnergy.KILO_WATT_HOUR,
    suggested_display_precision=1,
)
#: Import minus export may decrease.
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
STORED_ENERGY = Measure(
    device_class=SensorDeviceClass.ENERGY_STORAGE,
    state_class=SensorStateClass.MEASUREMENT,
    native_unit_of_measurement=UnitOfEnergy.WATT_HOUR,
    suggested_unit_of_measurement=UnitOfEnergy.KILO_WATT_HOUR,
    suggested_display_precision=2,
)


class Appearance(TypedDict):
    """How an entity is registered where it was not registered before."""

    device_class: SensorDeviceClass
    entity_category: EntityCategory
    entity_registry_enabled_default: bool


#: The time of a device's last report. It changes every few minutes, and would fill the activity of each device.
LAST_REPORT = Appearance(
    device_class=SensorDeviceClass.TIMESTAMP,
    entity_category=EntityCategory.DIAGNOSTIC,
    entity_registry_enabled_default=False,
)


def reported_at(timestamp: float | None) -> datetime | None:
    """Return when a device reported last; one that never did has the time 0."""
    return dt_util.utc_from_timestamp(timestamp) if timestamp else None


def communication_levels[T: (EnvoyEncharge, EnvoyEnpower)](
    _kind: type[T],
) -> tuple[EnvoySensorEntityDescription[T], ...]:
    """Return the signal levels of a battery system's device on its two radios, from 0 (none) to 5."""
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
