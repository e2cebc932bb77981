"""Batteries: IQ batteries (Encharge), AC batteries, each and together."""

from typing import Final

from homeassistant.components.sensor import SensorDeviceClass, SensorStateClass
from homeassistant.const import PERCENTAGE, EntityCategory, UnitOfApparentPower, UnitOfPower, UnitOfTemperature
from pyenphase.models.acb import ACBChargeStatus, ACBSleepState, EnvoyACB, EnvoyACBPower, EnvoyBatteryAggregate
from pyenphase.models.encharge import EnvoyEncharge, EnvoyEnchargeAggregate, EnvoyEnchargePower

from ..client.models import BatteryController, BatteryScheduler
from ..model.ac_batteries import AcbFleet
from . import sources
from .base import (
    CHARGE,
    LAST_REPORT,
    STORED_ENERGY,
    EntitySet,
    EnvoySensorEntityDescription,
    SensorSets,
    communication_levels,
    reported_at,
)

_ENCHARGE_POWER: Final = (
    EnvoySensorEntityDescription[EnvoyEnchargePower](
        key="soc", name=None, **CHARGE, value_fn=lambda battery: battery.soc
    ),
    EnvoySensorEntityDescription[EnvoyEnchargePower](
        key="apparent_power_mva",
        device_class=SensorDeviceClass.APPARENT_POWER,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfApparentPower.VOLT_AMPERE,
        value_fn=lambda battery: battery.apparent_power_mva / 1000,
    ),
    EnvoySensorEntityDescription[EnvoyEnchargePower](
        key="real_power_mw",
        device_class=SensorDeviceClass.POWER,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfPower.WATT,
        value_fn=lambda battery: battery.real_power_mw / 1000,
    ),
)

_ENCHARGE: Final = (
    EnvoySensorEntityDescription[EnvoyEncharge](
        key="temperature",
        device_class=SensorDeviceClass.TEMPERATURE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfTemperature.CELSIUS,
        value_fn=lambda battery: battery.temperature,
    ),
    EnvoySensorEntityDescription[EnvoyEncharge](
        key="last_reported",
        **LAST_REPORT,
        value_fn=lambda battery: reported_at(battery.last_report_date),
    ),
    *communication_levels(EnvoyEncharge),
)

_ENCHARGE_TOGETHER: Final = (
    EnvoySensorEntityDescription[EnvoyEnchargeAggregate](
        key="battery_level", **CHARGE, field="state_of_charge", value_fn=lambda all_: all_.state_of_charge
    ),
    EnvoySensorEntityDescription[EnvoyEnchargeAggregate](
        key="reserve_soc",
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=PERCENTAGE,
        value_fn=lambda all_: all_.reserve_state_of_charge,
    ),
    EnvoySensorEntityDescription[EnvoyEnchargeAggregate](
        key="available_energy", **STORED_ENERGY, value_fn=lambda all_: all_.available_energy
    ),
    EnvoySensorEntityDescription[EnvoyEnchargeAggregate](
        key="reserve_energy", **STORED_ENERGY, value_fn=lambda all_: all_.backup_reserve
    ),
    EnvoySensorEntityDescription[EnvoyEnchargeAggregate](
        key="max_capacity", **(STORED_ENERGY | {"state_class": None}), value_fn=lambda all_: all_.max_available_capacity
    ),
)

_CONTROLLER: Final = (
    EnvoySensorEntityDescription[BatteryController](
        key="battery_state_of_health",
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=PERCENTAGE,
        entity_category=EntityCategory.DIAGNOSTIC,
        exists_fn=lambda controller: controller.state_of_health is not None,
        value_fn=lambda controller: controller.state_of_health,
    ),
)

_SCHEDULER: Final = (
    EnvoySensorEntityDescription[BatteryScheduler](
        key="battery_scheduler_mode",
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        exists_fn=lambda scheduler: scheduler.mode is not None,
        value_fn=lambda scheduler: scheduler.mode,
    ),
)

_ACB_TOGETHER: Final = (
    EnvoySensorEntityDescription[EnvoyACBPower](
        key="acb_power",
        device_class=SensorDeviceClass.POWER,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfPower.WATT,
        value_fn=lambda acb: acb.power,
    ),
    EnvoySensorEntityDescription[EnvoyACBPower](key="acb_soc", **CHARGE, value_fn=lambda acb: acb.state_of_charge),
    EnvoySensorEntityDescription[EnvoyACBPower](
        key="acb_battery_state",
        device_class=SensorDeviceClass.ENUM,
        options=["discharging", "idle", "charging", "full"],
        value_fn=lambda acb: acb.state,
    ),
)

_ACB_ON_GATEWAY: Final = (
    EnvoySensorEntityDescription[EnvoyACBPower](
        key="acb_available_energy", **STORED_ENERGY, value_fn=lambda acb: acb.charge_wh
    ),
)

_ACB_FLEET: Final = (
    EnvoySensorEntityDescription[AcbFleet](
        key="acb_aggregate_sleep_state",
        device_class=SensorDeviceClass.ENUM,
        options=[*ACBSleepState, "mixed"],
        value_fn=lambda fleet: fleet.sleep_state or "mixed",
    ),
)

_ACB: Final = (
    EnvoySensorEntityDescription[EnvoyACB](key="acb_battery_soc", **CHARGE, value_fn=lambda acb: acb.percent_full),
    EnvoySensorEntityDescription[EnvoyACB](
        key="acb_battery_power",
        device_class=SensorDeviceClass.POWER,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfPower.WATT,
        value_fn=lambda acb: acb.last_report_watts,
    ),
    EnvoySensorEntityDescription[EnvoyACB](
        key="acb_battery_temperature",
        device_class=SensorDeviceClass.TEMPERATURE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfTemperature.CELSIUS,
        entity_category=EntityCategory.DIAGNOSTIC,
        value_fn=lambda acb: acb.max_cell_temp,
    ),
    EnvoySensorEntityDescription[EnvoyACB](
        key="acb_battery_charge_status",
        device_class=SensorDeviceClass.ENUM,
        options=["charging", "discharging", "idle"],
        value_fn=lambda acb: None if acb.charge_status is ACBChargeStatus.UNKNOWN else acb.charge_status,
    ),
    EnvoySensorEntityDescription[EnvoyACB](
        key="acb_battery_sleep_state",
        device_class=SensorDeviceClass.ENUM,
        options=list(ACBSleepState),
        value_fn=lambda acb: acb.sleep_state,
    ),
    EnvoySensorEntityDescription[EnvoyACB](
        key="acb_battery_sleep_soc_target",
        entity_category=EntityCategory.DIAGNOSTIC,
        value_fn=lambda acb: (
            None if None in (acb.sleep_min_soc, acb.sleep_max_soc) else f"{acb.sleep_min_soc}-{acb.sleep_max_soc}"
        ),
    ),
    EnvoySensorEntityDescription[EnvoyACB](
        key="acb_battery_last_reported",
        **LAST_REPORT,
        value_fn=lambda acb: reported_at(acb.last_report_date),
    ),
)

#: IQ and AC batteries in one system.
_ALL_BATTERIES: Final = (
    EnvoySensorEntityDescription[EnvoyBatteryAggregate](
        key="aggregated_available_energy", **STORED_ENERGY, value_fn=lambda all_: all_.available_energy
    ),
    EnvoySensorEntityDescription[EnvoyBatteryAggregate](
        key="aggregated_max_battery_capacity",
        **(STORED_ENERGY | {"state_class": None}),
        value_fn=lambda all_: all_.max_available_capacity,
    ),
    EnvoySensorEntityDescription[EnvoyBatteryAggregate](
        key="aggregated_soc", **CHARGE, field="state_of_charge", value_fn=lambda all_: all_.state_of_charge
    ),
)

BATTERIES: Final[SensorSets] = (
    EntitySet(sources.ENCHARGES, _ENCHARGE),
    EntitySet(sources.ENCHARGE_POWER, _ENCHARGE_POWER),
    EntitySet(sources.ENCHARGE_AGGREGATE, _ENCHARGE_TOGETHER),
    EntitySet(sources.BATTERY_CONTROLLER, _CONTROLLER),
    EntitySet(sources.BATTERY_SCHEDULER, _SCHEDULER),
    EntitySet(sources.ACB_POWER, _ACB_TOGETHER),
    EntitySet(sources.ACB_POWER_ON_GATEWAY, _ACB_ON_GATEWAY),
    EntitySet(sources.ACB_FLEET, _ACB_FLEET),
    EntitySet(sources.ACBS, _ACB),
    EntitySet(sources.BATTERY_AGGREGATE, _ALL_BATTERIES),
)
