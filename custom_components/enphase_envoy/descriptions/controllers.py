"""What connects the house to the grid: Enpower (System Controller), IQ Meter Collar, C6 Combiner; and the generator."""

from typing import Final

from homeassistant.components.sensor import SensorDeviceClass, SensorStateClass
from homeassistant.const import UnitOfTemperature
from pyenphase.models.c6combiner import EnvoyC6CC
from pyenphase.models.collar import EnvoyCollar
from pyenphase.models.enpower import EnvoyEnpower

from ..model.live import LiveGenerator
from . import sources
from .base import (
    LAST_REPORT,
    POWER,
    EntitySet,
    EnvoySensorEntityDescription,
    SensorSets,
    communication_levels,
    reported_at,
)

_ENPOWER: Final = (
    EnvoySensorEntityDescription[EnvoyEnpower](
        key="temperature",
        device_class=SensorDeviceClass.TEMPERATURE,
        state_class=SensorStateClass.MEASUREMENT,
        # The gateway gives this one in the installer's unit, which is Fahrenheit.
        native_unit_of_measurement=UnitOfTemperature.FAHRENHEIT,
        value_fn=lambda enpower: enpower.temperature,
    ),
    EnvoySensorEntityDescription[EnvoyEnpower](
        key="last_reported",
        **LAST_REPORT,
        value_fn=lambda enpower: reported_at(enpower.last_report_date),
    ),
    *communication_levels(EnvoyEnpower),
)

#: What the collar calls its modes, under the names they have as states.
_COLLAR_MODES: Final = {"ENCMN_MDE_ON_GRID": "on_grid", "ENCMN_MDE_OFF_GRID": "off_grid"}

_COLLAR: Final = (
    EnvoySensorEntityDescription[EnvoyCollar](
        key="temperature",
        device_class=SensorDeviceClass.TEMPERATURE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfTemperature.CELSIUS,
        value_fn=lambda collar: collar.temperature,
    ),
    EnvoySensorEntityDescription[EnvoyCollar](
        key="last_reported",
        **LAST_REPORT,
        value_fn=lambda collar: reported_at(collar.last_report_date),
    ),
    EnvoySensorEntityDescription[EnvoyCollar](key="grid_state", value_fn=lambda collar: collar.grid_state),
    EnvoySensorEntityDescription[EnvoyCollar](key="mid_state", value_fn=lambda collar: collar.mid_state),
    EnvoySensorEntityDescription[EnvoyCollar](
        key="admin_state_str",
        value_fn=lambda collar: _COLLAR_MODES.get(collar.admin_state_str, collar.admin_state_str),
    ),
)

_C6_COMBINER: Final = (
    EnvoySensorEntityDescription[EnvoyC6CC](
        key="last_reported",
        **LAST_REPORT,
        value_fn=lambda c6cc: reported_at(c6cc.last_report_date),
    ),
)

#: Exists while live power is read from the live data status.
_GENERATOR: Final = (
    EnvoySensorEntityDescription[LiveGenerator](
        key="power",
        translation_key="generator_power",
        **POWER,
        entity_registry_enabled_default=False,
        field="power",
        value_fn=lambda generator: generator.power,
    ),
)

CONTROLLERS: Final[SensorSets] = (
    EntitySet(sources.ENPOWER, _ENPOWER),
    EntitySet(sources.COLLAR, _COLLAR),
    EntitySet(sources.C6_COMBINER, _C6_COMBINER),
    EntitySet(sources.LIVE_GENERATOR, _GENERATOR),
)
