"""The tables of sensors, by subject. A new sensor is a new row in one of them."""

from typing import Final

from .base import SensorSets
from .batteries import BATTERIES
from .controllers import CONTROLLERS
from .inverters import INVERTERS
from .meters import METERS
from .production import PRODUCTION
from .virtual_meters import VIRTUAL_METERS

SENSORS: Final[SensorSets] = (*PRODUCTION, *METERS, *INVERTERS, *BATTERIES, *CONTROLLERS, *VIRTUAL_METERS)
