"""The tables of sensors, by subject. A new sensor is a new row in one of them."""

from typing import Final

from .base import Sensors
from .batteries import BATTERIES
from .controllers import CONTROLLERS
from .inverters import INVERTERS
from .meters import METERS
from .production import PRODUCTION
from .virtual_meters import LEDGER

SENSORS: Final[Sensors] = (*PRODUCTION, *METERS, *INVERTERS, *BATTERIES, *CONTROLLERS, *LEDGER)
