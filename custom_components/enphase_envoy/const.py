"""Names and numbers that more than one module needs."""

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

# Keys of the config entry. Home Assistant's own integration reads and writes the first three as well: the way there and
# back is open. It ignores the others.
CONF_USE_MANUAL_TOKEN: Final = "use_manual_token"  # noqa: S105
OPTION_FIXTURES: Final = "diagnostics_include_fixtures"
OPTION_DISABLE_KEEP_ALIVE: Final = "disable_keep_alive"
OPTION_POLL_INTERVAL: Final = "poll_interval"
OPTION_LIVE_POWER: Final = "live_power"
OPTION_PIN_CERTIFICATE: Final = "pin_certificate"
#: Site in the cloud whose battery settings are changed; none while the user did not choose that.
OPTION_CLOUD_SITE: Final = "battery_cloud_site"
#: Whether the account needs a one-time code for each login.
OPTION_CLOUD_CODE: Final = "battery_cloud_code"
#: SHA-256 of the certificate of the gateway, in hexadecimal. With the option no other one is trusted.
CONF_FINGERPRINT: Final = "certificate_fingerprint"
#: The host before the entry followed the gateway to another address.
CONF_PREVIOUS_HOST: Final = "previous_host"

#: Seconds between polls. Microinverters report every 300 s; the gateway is a small computer.
DEFAULT_POLL_INTERVAL: Final = 60
POLL_INTERVALS: Final = (30, 300)
#: Seconds between readings of live power; 0 is off.
LIVE_INTERVALS: Final = (0, 1, 2, 5, 10, 15, 30)
