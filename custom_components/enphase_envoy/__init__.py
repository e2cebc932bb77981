"""Enphase Envoy: solar production, consumption, batteries and their switches from the gateway in the house."""

from homeassistant.const import CONF_HOST
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.aiohttp_client import async_create_clientsession

from . import devices
from .const import OPTION_DISABLE_KEEP_ALIVE, PLATFORMS
from .coordinator import EnvoyConfigEntry, EnvoyCoordinator
from .gateway import Gateway


async def async_setup_entry(hass: HomeAssistant, entry: EnvoyConfigEntry) -> bool:
    """Set up a gateway: log in, poll once, then devices and entities."""
    headers = {"Connection": "close"} if entry.options.get(OPTION_DISABLE_KEEP_ALIVE) else None
    session = async_create_clientsession(hass, verify_ssl=False, headers=headers)
    coordinator = EnvoyCoordinator(hass, entry, Gateway(entry.data[CONF_HOST], session))
    await coordinator.async_config_entry_first_refresh()
    entry.runtime_data = coordinator
    devices.async_keep_registered(hass, entry)
    devices.async_connect_mac(hass, entry)
    await hass.config_entries.async_forward_entry_setups(entry, PLATFORMS)
    return True


async def async_unload_entry(hass: HomeAssistant, entry: EnvoyConfigEntry) -> bool:
    """Unload a gateway."""
    return await hass.config_entries.async_unload_platforms(entry, PLATFORMS)


async def async_remove_config_entry_device(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, device: dr.DeviceEntry
) -> bool:
    """Let the owner delete a device that the gateway no longer reports."""
    return not devices.async_is_present(entry, device)
