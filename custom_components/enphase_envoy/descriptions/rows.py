"""What one line of the tables says."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from homeassistant.components.sensor import SensorDeviceClass, SensorEntityDescription, SensorStateClass
from homeassistant.const import UnitOfEnergy, UnitOfPower

from ..entity import Row, Table


@dataclass(frozen=True, kw_only=True)
class Sensor[T](Row[T], SensorEntityDescription):
    """One sensor of an object of the snapshot."""

    #: The value in the native unit, None when the gateway does not say.
    value_fn: Callable[[T], float | str | datetime | None]


#: Tables of sensors, each of another kind of object.
type Sensors = tuple[Table[Any, Sensor[Any]], ...]


class Measure(TypedDict):
    """What sensors of one physical quantity have in common."""

    device_class: SensorDeviceClass
    state_class: SensorStateClass | None
    native_unit_of_measurement: str
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
