"""What the ledger adds: grid, batteries and house where no meter of the gateway shows them."""

from typing import Final

from homeassistant.const import UnitOfEnergy

from ..energy.virtual_meters.battery import BATTERY, BatteryEnergy
from ..energy.virtual_meters.grid import GRID, GridEnergy
from ..energy.virtual_meters.house import HOUSE, HouseEnergy
from .base import LIFETIME_ENERGY, POWER, Measure, Sensor, Sensors, Table

#: They begin at zero: megawatt-hours are a long way.
_LIFETIME_ENERGY: Final = Measure(**(LIFETIME_ENERGY | {"suggested_unit_of_measurement": UnitOfEnergy.KILO_WATT_HOUR}))

_GRID: Final = (
    Sensor[GridEnergy](
        key="lifetime_grid_import", **_LIFETIME_ENERGY, counter="imported", value_fn=lambda grid: grid.imported
    ),
    Sensor[GridEnergy](
        key="lifetime_grid_export", **_LIFETIME_ENERGY, counter="exported", value_fn=lambda grid: grid.exported
    ),
    Sensor[GridEnergy](key="grid_power", **POWER, value_fn=lambda grid: grid.power),
)

_BATTERY: Final = (
    Sensor[BatteryEnergy](
        key="lifetime_battery_energy_charged",
        **_LIFETIME_ENERGY,
        counter="charged",
        value_fn=lambda battery: battery.charged,
    ),
    Sensor[BatteryEnergy](
        key="lifetime_battery_energy_discharged",
        **_LIFETIME_ENERGY,
        counter="discharged",
        value_fn=lambda battery: battery.discharged,
    ),
    Sensor[BatteryEnergy](key="battery_power", **POWER, value_fn=lambda battery: battery.power),
)

_HOUSE: Final = (
    Sensor[HouseEnergy](
        key="lifetime_house_consumption", **_LIFETIME_ENERGY, counter="consumed", value_fn=lambda house: house.consumed
    ),
    Sensor[HouseEnergy](key="house_power", **POWER, value_fn=lambda house: house.power),
)

LEDGER: Final[Sensors] = (
    Table(kind=GridEnergy, at=GRID, rows=_GRID),
    Table(kind=BatteryEnergy, at=BATTERY, rows=_BATTERY),
    Table(kind=HouseEnergy, at=HOUSE, rows=_HOUSE),
)
