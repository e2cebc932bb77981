"""Virtual meters: grid, batteries and house where no meter of the gateway measures them."""

from collections.abc import Mapping
from typing import Any, Final

from homeassistant.const import UnitOfEnergy

from ..energy.virtual_meters.battery import BatteryEnergy
from ..energy.virtual_meters.grid import GridEnergy
from ..energy.virtual_meters.house import HouseEnergy
from ..energy.virtual_meters.totals import Counting
from . import sources
from .base import LIFETIME_ENERGY, POWER, EntitySet, EnvoySensorEntityDescription, Measure, SensorSets, reported_at

#: They start at zero, so kWh suit them better than MWh.
_LIFETIME_ENERGY: Final = Measure(**(LIFETIME_ENERGY | {"suggested_unit_of_measurement": UnitOfEnergy.KILO_WATT_HOUR}))


def _since(energy: Counting) -> Mapping[str, Any]:
    """Return the attribute with the time at which the component began to count."""
    return {"counting_since": reported_at(energy.since)} if energy.since else {}


_GRID: Final = (
    EnvoySensorEntityDescription[GridEnergy](
        key="lifetime_grid_import",
        **_LIFETIME_ENERGY,
        counter="imported",
        attributes_fn=_since,
        value_fn=lambda grid: grid.imported,
    ),
    EnvoySensorEntityDescription[GridEnergy](
        key="lifetime_grid_export",
        **_LIFETIME_ENERGY,
        counter="exported",
        attributes_fn=_since,
        value_fn=lambda grid: grid.exported,
    ),
    EnvoySensorEntityDescription[GridEnergy](
        key="grid_power", **POWER, field="power", value_fn=lambda grid: grid.power
    ),
)

_BALANCED: Final = (
    EnvoySensorEntityDescription[GridEnergy](
        key="lifetime_balanced_grid_import",
        **_LIFETIME_ENERGY,
        entity_registry_enabled_default=False,
        counter="imported",
        attributes_fn=_since,
        value_fn=lambda grid: grid.imported,
    ),
    EnvoySensorEntityDescription[GridEnergy](
        key="lifetime_balanced_grid_export",
        **_LIFETIME_ENERGY,
        entity_registry_enabled_default=False,
        counter="exported",
        attributes_fn=_since,
        value_fn=lambda grid: grid.exported,
    ),
)

_BATTERY: Final = (
    EnvoySensorEntityDescription[BatteryEnergy](
        key="lifetime_battery_energy_charged",
        **_LIFETIME_ENERGY,
        counter="charged",
        attributes_fn=_since,
        value_fn=lambda battery: battery.charged,
    ),
    EnvoySensorEntityDescription[BatteryEnergy](
        key="lifetime_battery_energy_discharged",
        **_LIFETIME_ENERGY,
        counter="discharged",
        attributes_fn=_since,
        value_fn=lambda battery: battery.discharged,
    ),
    EnvoySensorEntityDescription[BatteryEnergy](
        key="battery_power", **POWER, field="power", value_fn=lambda battery: battery.power
    ),
)

_HOUSE: Final = (
    EnvoySensorEntityDescription[HouseEnergy](
        key="lifetime_house_consumption",
        **_LIFETIME_ENERGY,
        counter="consumed",
        attributes_fn=_since,
        value_fn=lambda house: house.consumed,
    ),
    EnvoySensorEntityDescription[HouseEnergy](
        key="house_power", **POWER, field="power", value_fn=lambda house: house.power
    ),
)

VIRTUAL_METERS: Final[SensorSets] = (
    EntitySet(sources.GRID_ENERGY, _GRID),
    EntitySet(sources.BALANCED_GRID_ENERGY, _BALANCED),
    EntitySet(sources.BATTERY_ENERGY, _BATTERY),
    EntitySet(sources.HOUSE_ENERGY, _HOUSE),
)
