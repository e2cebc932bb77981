"""The tables of sensors, by subject. A new sensor is a new row in one of them."""

from typing import Final

from .batteries import BATTERIES
from .controllers import CONTROLLERS
from .inverters import INVERTERS
from .ledger import LEDGER
from .meters import METERS
from .production import PRODUCTION
from .rows import Sensors

SENSORS: Final[Sensors] = (*PRODUCTION, *METERS, *INVERTERS, *BATTERIES, *CONTROLLERS, *LEDGER)
