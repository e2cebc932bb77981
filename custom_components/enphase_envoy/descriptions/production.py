"""What the house produces and consumes, as the gateway sums it up in its production report.

Where there is a meter these are its figures, otherwise those of the inverters.
"""

from typing import Final

from homeassistant.components.sensor import SensorDeviceClass
from homeassistant.const import EntityCategory
from pyenphase.models.system_consumption import EnvoySystemConsumption
from pyenphase.models.system_production import EnvoySystemProduction

from ..client.live import NAMES
from ..client.models import LiveSource
from . import sources
from .base import (
    ENERGY_SEVEN_DAYS,
    ENERGY_TODAY,
    LIFETIME_ENERGY,
    NET_ENERGY,
    POWER,
    EntitySet,
    EnvoySensorEntityDescription,
    SensorSets,
)

_PRODUCTION: Final = (
    EnvoySensorEntityDescription[EnvoySystemProduction](
        key="production", **POWER, field="watts_now", value_fn=lambda production: production.watts_now
    ),
    EnvoySensorEntityDescription[EnvoySystemProduction](
        key="daily_production", **ENERGY_TODAY, value_fn=lambda production: production.watt_hours_today
    ),
    EnvoySensorEntityDescription[EnvoySystemProduction](
        key="seven_days_production",
        **ENERGY_SEVEN_DAYS,
        value_fn=lambda production: production.watt_hours_last_7_days,
    ),
    EnvoySensorEntityDescription[EnvoySystemProduction](
        key="lifetime_production",
        **LIFETIME_ENERGY,
        counter="watt_hours_lifetime",
        value_fn=lambda production: production.watt_hours_lifetime,
    ),
)

_CONSUMPTION: Final = (
    EnvoySensorEntityDescription[EnvoySystemConsumption](
        key="consumption", **POWER, field="watts_now", value_fn=lambda consumption: consumption.watts_now
    ),
    EnvoySensorEntityDescription[EnvoySystemConsumption](
        key="daily_consumption", **ENERGY_TODAY, value_fn=lambda consumption: consumption.watt_hours_today
    ),
    EnvoySensorEntityDescription[EnvoySystemConsumption](
        key="seven_days_consumption",
        **ENERGY_SEVEN_DAYS,
        value_fn=lambda consumption: consumption.watt_hours_last_7_days,
    ),
    EnvoySensorEntityDescription[EnvoySystemConsumption](
        key="lifetime_consumption",
        **LIFETIME_ENERGY,
        counter="watt_hours_lifetime",
        value_fn=lambda consumption: consumption.watt_hours_lifetime,
    ),
)

#: What goes in minus what goes out, over all phases: how grid meters in many countries count.
_NET_CONSUMPTION: Final = (
    EnvoySensorEntityDescription[EnvoySystemConsumption](
        key="balanced_net_consumption",
        **POWER,
        entity_registry_enabled_default=False,
        field="watts_now",
        value_fn=lambda net: net.watts_now,
    ),
    EnvoySensorEntityDescription[EnvoySystemConsumption](
        key="lifetime_balanced_net_consumption",
        **NET_ENERGY,
        entity_registry_enabled_default=False,
        counter="watt_hours_lifetime",
        value_fn=lambda net: net.watt_hours_lifetime,
    ),
)

#: Exists while live power is on.
_LIVE_SOURCE: Final = (
    EnvoySensorEntityDescription[LiveSource](
        key="live_source",
        device_class=SensorDeviceClass.ENUM,
        options=list(NAMES.values()),
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        value_fn=lambda live: live.name,
    ),
)

PRODUCTION: Final[SensorSets] = (
    EntitySet(sources.PRODUCTION, _PRODUCTION),
    EntitySet(sources.PRODUCTION.phases, _PRODUCTION),
    EntitySet(sources.CONSUMPTION, _CONSUMPTION),
    EntitySet(sources.CONSUMPTION.phases, _CONSUMPTION),
    EntitySet(sources.NET_CONSUMPTION, _NET_CONSUMPTION),
    EntitySet(sources.NET_CONSUMPTION.phases, _NET_CONSUMPTION),
    EntitySet(sources.LIVE_SOURCE, _LIVE_SOURCE),
)
