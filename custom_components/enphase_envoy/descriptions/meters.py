"""CT meters: a table of what a meter measures times a table of where meters sit.

What a meter delivers and receives depends on where it sits: delivered is solar production at the production meter,
import at the net-consumption meter, discharge at the storage meter.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from homeassistant.components.sensor import SensorDeviceClass, SensorStateClass
from homeassistant.const import EntityCategory, UnitOfElectricCurrent, UnitOfElectricPotential, UnitOfFrequency
from pyenphase.models.meters import CtMeterStatus, CtType, EnvoyMeterData

from . import sources
from .base import LIFETIME_ENERGY, POWER, EntitySet, EnvoySensorEntityDescription, SensorSets

_METRICS: Final = (
    EnvoySensorEntityDescription[EnvoyMeterData](
        key="energy_delivered",
        **LIFETIME_ENERGY,
        counter="energy_delivered",
        value_fn=lambda meter: meter.energy_delivered,
    ),
    EnvoySensorEntityDescription[EnvoyMeterData](
        key="energy_received",
        **LIFETIME_ENERGY,
        counter="energy_received",
        value_fn=lambda meter: meter.energy_received,
    ),
    EnvoySensorEntityDescription[EnvoyMeterData](
        key="power", **POWER, field="active_power", value_fn=lambda meter: meter.active_power
    ),
    EnvoySensorEntityDescription[EnvoyMeterData](
        key="frequency",
        device_class=SensorDeviceClass.FREQUENCY,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfFrequency.HERTZ,
        suggested_display_precision=1,
        entity_registry_enabled_default=False,
        value_fn=lambda meter: meter.frequency,
    ),
    EnvoySensorEntityDescription[EnvoyMeterData](
        key="voltage",
        device_class=SensorDeviceClass.VOLTAGE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfElectricPotential.VOLT,
        suggested_display_precision=1,
        entity_registry_enabled_default=False,
        field="voltage",
        value_fn=lambda meter: meter.voltage,
    ),
    EnvoySensorEntityDescription[EnvoyMeterData](
        key="current",
        device_class=SensorDeviceClass.CURRENT,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfElectricCurrent.AMPERE,
        suggested_display_precision=3,
        entity_registry_enabled_default=False,
        field="current",
        value_fn=lambda meter: meter.current,
    ),
    EnvoySensorEntityDescription[EnvoyMeterData](
        key="powerfactor",
        device_class=SensorDeviceClass.POWER_FACTOR,
        state_class=SensorStateClass.MEASUREMENT,
        suggested_display_precision=2,
        entity_registry_enabled_default=False,
        value_fn=lambda meter: meter.power_factor,
    ),
    EnvoySensorEntityDescription[EnvoyMeterData](
        key="metering_status",
        device_class=SensorDeviceClass.ENUM,
        options=list(CtMeterStatus),
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        value_fn=lambda meter: meter.metering_status,
    ),
    EnvoySensorEntityDescription[EnvoyMeterData](
        key="status_flags",
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        value_fn=lambda meter: len(meter.status_flags or ()),
    ),
)

#: Unique ids that history fixed otherwise than `{type}_ct_{metric}`.
_HISTORIC_KEYS: Final[Mapping[CtType, Mapping[str, str]]] = {
    CtType.NET_CONSUMPTION: {
        "energy_delivered": "lifetime_net_consumption",
        "energy_received": "lifetime_net_production",
        "power": "net_consumption",
        "frequency": "frequency",
        "voltage": "voltage",
        "current": "net_ct_current",
        "powerfactor": "net_ct_powerfactor",
    },
    CtType.STORAGE: {
        "energy_delivered": "lifetime_battery_discharged",
        "energy_received": "lifetime_battery_charged",
        "power": "battery_discharge",
        "voltage": "storage_voltage",
    },
}


#: Metrics that repeat the sensors of the production, or do not move; those of total consumption repeat its sensors.
_DOUBLES: Final[Mapping[CtType, frozenset[str]]] = {
    CtType.PRODUCTION: frozenset({"energy_delivered", "energy_received", "power"}),
    CtType.TOTAL_CONSUMPTION: frozenset({"energy_delivered", "energy_received", "power"}),
}


def _descriptions(ct_type: CtType) -> tuple[EnvoySensorEntityDescription[EnvoyMeterData], ...]:
    """Return the metrics under the keys they have at one place."""
    historic = _HISTORIC_KEYS.get(ct_type, {})
    name = ct_type.replace("-", "_")
    doubles = _DOUBLES.get(ct_type, ())
    return tuple(
        replace(
            row,
            key=historic.get(row.key, f"{name}_ct_{row.key}"),
            entity_registry_enabled_default=row.entity_registry_enabled_default and row.key not in doubles,
        )
        for row in _METRICS
    )


METERS: Final[SensorSets] = tuple(
    EntitySet(source, _descriptions(ct_type))
    for ct_type in CtType
    for source in (sources.meter(ct_type), sources.meter(ct_type).phases)
)
