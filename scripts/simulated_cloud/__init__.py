"""Let the component use a simulated cloud: `scripts/develop --account`. For development instances only."""

from homeassistant.core import HomeAssistant
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.typing import ConfigType
from pyenphase.auth import EnvoyTokenAuth
import voluptuous as vol

from custom_components.enphase_envoy.cloud import client

CONFIG_SCHEMA = vol.Schema({"simulated_cloud": cv.url}, extra=vol.ALLOW_EXTRA)


async def async_setup(_hass: HomeAssistant, config: ConfigType) -> bool:
    """Replace the addresses of login, tokens and battery settings."""
    address = config["simulated_cloud"]
    client.BASE_URL = address  # type: ignore[misc]
    EnvoyTokenAuth.JSON_LOGIN_URL = f"{address}/login/login.json?"
    EnvoyTokenAuth.TOKEN_URL = f"{address}/tokens"
    return True
