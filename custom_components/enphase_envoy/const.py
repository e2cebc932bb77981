"""Names and numbers that more than one module needs."""

from datetime import timedelta
import logging
from typing import Final

from homeassistant.const import Platform

DOMAIN: Final = "enphase_envoy"
LOGGER = logging.getLogger(__package__)

PLATFORMS: Final = (
    Platform.BINARY_SENSOR,
    Platform.BUTTON,
    Platform.NUMBER,
    Platform.SELECT,
    Platform.SENSOR,
    Platform.SWITCH,
    Platform.TIME,
)

# Keys of the config entry. Home Assistant's own integration reads and writes the same: the way there and back is open.
CONF_USE_MANUAL_TOKEN: Final = "use_manual_token"  # noqa: S105
OPTION_DISABLE_KEEP_ALIVE: Final = "disable_keep_alive"

POLL_INTERVAL: Final = timedelta(seconds=60)
