"""Enphase Envoy: solar production, consumption, batteries and their switches from the gateway in the house."""

from homeassistant.const import CONF_HOST
from homeassistant.core import HomeAssistant, callback
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
    _register_devices(hass, entry)
    await hass.config_entries.async_forward_entry_setups(entry, PLATFORMS)
    return True


async def async_unload_entry(hass: HomeAssistant, entry: EnvoyConfigEntry) -> bool:
    """Unload a gateway."""
    return await hass.config_entries.async_unload_platforms(entry, PLATFORMS)


@callback
def _register_devices(hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
    """Register the devices of the first snapshot, and again whenever hardware comes or goes."""
    coordinator = entry.runtime_data
    registered: frozenset[tuple[str, ...]] = frozenset()

    @callback
    def register() -> None:
        nonlocal registered
        if (present := frozenset(coordinator.data.leaves)) != registered:
            registered = present
            devices.async_register(hass, entry)

    register()
    entry.async_on_unload(coordinator.async_add_listener(register))
