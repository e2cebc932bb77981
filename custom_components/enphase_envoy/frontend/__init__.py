"""The array card: its module is served and loaded by the frontend, its commands are registered.

The module is an extra module of the frontend, not a resource of dashboards: that works with dashboards in storage and
in YAML, loads it in browsers that are open as well, and leaves nothing behind when the component is removed.
"""

from hashlib import sha256
from pathlib import Path
from typing import Final

from homeassistant.components import frontend
from homeassistant.components.http import StaticPathConfig
from homeassistant.core import HomeAssistant

from ..const import DOMAIN, LOGGER
from . import commands

CARD: Final = Path(__file__).parent / "www" / "enphase-array-card.js"
URL: Final = f"/{DOMAIN}/{CARD.name}"


async def async_register(hass: HomeAssistant) -> None:
    """Register the commands and the card. Without a frontend, the card is not registered."""
    commands.async_register(hass)
    if not {"http", "frontend"} <= hass.config.components:
        return
    try:
        # Browsers cache the module for a month: another content needs another URL.
        version = sha256(await hass.async_add_executor_job(CARD.read_bytes)).hexdigest()[:8]
    except OSError as err:
        LOGGER.warning("The array card is not available: %s", err)
        return
    await hass.http.async_register_static_paths([StaticPathConfig(URL, str(CARD), cache_headers=True)])
    frontend.add_extra_js_url(hass, f"{URL}?v={version}")
