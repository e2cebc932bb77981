"""Microinverters: each reports to the gateway every five minutes, or more rarely."""

from typing import Final

from homeassistant.components.sensor import SensorDeviceClass, SensorStateClass
from homeassistant.const import (
    EntityCategory,
    UnitOfElectricCurrent,
    UnitOfElectricPotential,
    UnitOfEnergy,
    UnitOfFrequency,
    UnitOfPower,
    UnitOfTemperature,
    UnitOfTime,
)
from pyenphase.models.inverter import EnvoyInverter

from ..model.panels import ROOF, PanelCounts, PanelStatus, RoofState
from ..model.snapshot import Snapshot
from ..roof.conditions import STATUSES, most_severe
from . import sources
from .base import LAST_REPORT, EntitySet, EnvoySensorEntityDescription, SensorSets, reported_at

#: The first three are in every list of inverters, the others only in the detailed one of firmware 8.
_INVERTER: Final = (
    EnvoySensorEntityDescription[EnvoyInverter](
        key="",  # the device's main value: its unique id is the serial number alone
        translation_key="inverter",
        name=None,
        device_class=SensorDeviceClass.POWER,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfPower.WATT,
        value_fn=lambda inverter: inverter.last_report_watts,
    ),
    EnvoySensorEntityDescription[EnvoyInverter](
        key="last_reported",
        **LAST_REPORT,
        value_fn=lambda inverter: reported_at(inverter.last_report_date),
    ),
    EnvoySensorEntityDescription[EnvoyInverter](
        key="max_reported",
        device_class=SensorDeviceClass.POWER,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfPower.WATT,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        value_fn=lambda inverter: inverter.max_report_watts,
    ),
    EnvoySensorEntityDescription[EnvoyInverter](
        key="dc_voltage",
        device_class=SensorDeviceClass.VOLTAGE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfElectricPotential.VOLT,
        suggested_display_precision=3,
        entity_registry_enabled_default=False,
        value_fn=lambda inverter: inverter.dc_voltage,
    ),
    EnvoySensorEntityDescription[EnvoyInverter](
        key="dc_current",
        device_class=SensorDeviceClass.CURRENT,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfElectricCurrent.AMPERE,
        suggested_display_precision=3,
        entity_registry_enabled_default=False,
        value_fn=lambda inverter: inverter.dc_current,
    ),
    EnvoySensorEntityDescription[EnvoyInverter](
        key="ac_voltage",
        device_class=SensorDeviceClass.VOLTAGE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfElectricPotential.VOLT,
        suggested_display_precision=3,
        entity_registry_enabled_default=False,
        value_fn=lambda inverter: inverter.ac_voltage,
    ),
    EnvoySensorEntityDescription[EnvoyInverter](
        key="ac_current",
        device_class=SensorDeviceClass.CURRENT,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfElectricCurrent.AMPERE,
        suggested_display_precision=3,
        entity_registry_enabled_default=False,
        value_fn=lambda inverter: inverter.ac_current,
    ),
    EnvoySensorEntityDescription[EnvoyInverter](
        key="ac_frequency",
        device_class=SensorDeviceClass.FREQUENCY,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfFrequency.HERTZ,
        suggested_display_precision=3,
        entity_registry_enabled_default=False,
        value_fn=lambda inverter: inverter.ac_frequency,
    ),
    EnvoySensorEntityDescription[EnvoyInverter](
        key="temperature",
        device_class=SensorDeviceClass.TEMPERATURE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfTemperature.CELSIUS,
        entity_category=EntityCategory.DIAGNOSTIC,
        suggested_display_precision=3,
        entity_registry_enabled_default=False,
        value_fn=lambda inverter: inverter.temperature,
    ),
    EnvoySensorEntityDescription[EnvoyInverter](
        key="lifetime_energy",
        device_class=SensorDeviceClass.ENERGY,
        state_class=SensorStateClass.TOTAL_INCREASING,
        native_unit_of_measurement=UnitOfEnergy.WATT_HOUR,
        suggested_unit_of_measurement=UnitOfEnergy.KILO_WATT_HOUR,
        entity_registry_enabled_default=False,
        counter="lifetime_energy",
        value_fn=lambda inverter: inverter.lifetime_energy,
    ),
    EnvoySensorEntityDescription[EnvoyInverter](
        key="energy_today",
        device_class=SensorDeviceClass.ENERGY,
        state_class=SensorStateClass.TOTAL_INCREASING,
        native_unit_of_measurement=UnitOfEnergy.WATT_HOUR,
        entity_registry_enabled_default=False,
        value_fn=lambda inverter: inverter.energy_today,
    ),
    EnvoySensorEntityDescription[EnvoyInverter](
        key="last_report_duration",
        device_class=SensorDeviceClass.DURATION,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfTime.SECONDS,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        value_fn=lambda inverter: inverter.last_report_duration,
    ),
    EnvoySensorEntityDescription[EnvoyInverter](
        key="energy_produced",
        device_class=SensorDeviceClass.ENERGY,
        state_class=SensorStateClass.TOTAL,
        native_unit_of_measurement=UnitOfEnergy.MILLIWATT_HOUR,
        suggested_display_precision=3,
        entity_registry_enabled_default=False,
        value_fn=lambda inverter: inverter.energy_produced,
    ),
)

#: Panels of a roof above which the status and the problem of each are disabled at first.
_FEW_PANELS: Final = 50


def has_few_panels(snapshot: Snapshot) -> bool:
    """Return whether each panel of the roof has enabled entities about its health."""
    roof = snapshot.get(RoofState, ROOF)
    return roof is None or roof.total <= _FEW_PANELS


_STATUS: Final = (
    EnvoySensorEntityDescription[PanelStatus](
        key="status",
        translation_key="panel_status",
        device_class=SensorDeviceClass.ENUM,
        entity_category=EntityCategory.DIAGNOSTIC,
        options=list(STATUSES),
        enabled_fn=has_few_panels,
        value_fn=lambda panel: most_severe(panel.codes or (), is_dark=panel.is_dark),
        attributes_fn=lambda panel: {
            "codes": list(panel.codes or ()),
            "producing": panel.producing,
            "communicating": panel.communicating,
        },
    ),
)

_COUNTS: Final = tuple(
    EnvoySensorEntityDescription[PanelCounts](
        key=key,
        state_class=SensorStateClass.MEASUREMENT,
        entity_category=EntityCategory.DIAGNOSTIC,
        field=field,
        value_fn=value_fn,
    )
    for key, field, value_fn in (
        ("panels_total", "total", lambda counts: counts.total),
        ("panels_producing", "producing", lambda counts: counts.producing),
        ("panels_reporting", "communicating", lambda counts: counts.communicating),
    )
)

INVERTERS: Final[SensorSets] = (
    EntitySet(sources.INVERTERS, _INVERTER),
    EntitySet(sources.PANEL_STATUSES, _STATUS),
    EntitySet(sources.PANEL_COUNTS, _COUNTS),
)
