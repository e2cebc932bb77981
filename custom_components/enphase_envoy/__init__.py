"""Enphase Envoy: solar production, consumption, batteries and their switches from the gateway in the house."""

from homeassistant.const import CONF_HOST, Platform
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import ConfigEntryNotReady, HomeAssistantError
from homeassistant.helpers import config_validation as cv, device_registry as dr
from homeassistant.helpers.typing import ConfigType

from . import address, battery_control, devices, frontend, issues, maintenance, migration, services
from .client.errors import GatewayError
from .client.gateway import Gateway
from .const import DOMAIN, OPTION_PIN_CERTIFICATE, PLATFORMS
from .coordinator import EnvoyConfigEntry, EnvoyCoordinator
from .energy_manager import EnergyManager
from .session import async_session_for
from .storage import STORES, EntryStore

CONFIG_SCHEMA = cv.config_entry_only_config_schema(DOMAIN)


async def async_setup(hass: HomeAssistant, _config: ConfigType) -> bool:
    """Register the actions and the array card, which exist without a loaded entry as well."""
    services.async_register(hass)
    await frontend.async_register(hass)
    return True


async def async_setup_entry(hass: HomeAssistant, entry: EnvoyConfigEntry) -> bool:
    """Set up a gateway: log in, poll once, then devices and entities."""
    gateway = await _gateway(hass, entry)
    energy_manager = EnergyManager(hass, entry, gateway.clock)
    coordinator = EnvoyCoordinator(hass, entry, gateway, energy_manager)
    coordinator.battery_control = battery_control.async_create(hass, entry, gateway.clock)
    try:
        await coordinator.async_config_entry_first_refresh()
    except ConfigEntryNotReady as err:
        # The next attempt uses the previous address if the gateway is there again.
        await address.async_return(hass, entry)
        cause = coordinator.last_exception
        if err.translation_key is None and isinstance(cause, HomeAssistantError):
            # Home Assistant 2026.8 does not translate the reason.
            raise ConfigEntryNotReady(
                translation_domain=cause.translation_domain,
                translation_key=cause.translation_key,
                translation_placeholders=cause.translation_placeholders,
            ) from cause
        raise
    entry.runtime_data = coordinator
    migration.async_adopt_entities(hass, entry)
    devices.async_keep_registered(hass, entry)
    await hass.config_entries.async_forward_entry_setups(entry, _platforms(coordinator))
    maintenance.async_start(hass, entry)
    coordinator.async_start_live()
    return True


async def _gateway(hass: HomeAssistant, entry: EnvoyConfigEntry) -> Gateway:
    """Return the gateway of an entry, with a session as its options require."""
    host = entry.data[CONF_HOST]
    try:
        return Gateway(
            host, await async_session_for(hass, entry), pinned=entry.options.get(OPTION_PIN_CERTIFICATE, False)
        )
    except GatewayError as err:
        raise ConfigEntryNotReady(
            translation_domain=DOMAIN,
            translation_key=err.reason,
            translation_placeholders={"host": host, "serial": entry.unique_id or "-"},
        ) from err


def _platforms(coordinator: EnvoyCoordinator) -> tuple[Platform, ...]:
    """Return the platforms of an entry: a calendar only where there are schedules."""
    return (*PLATFORMS, Platform.CALENDAR) if coordinator.battery_control else PLATFORMS


async def async_unload_entry(hass: HomeAssistant, entry: EnvoyConfigEntry) -> bool:
    """Unload a gateway."""
    unloaded = await hass.config_entries.async_unload_platforms(entry, _platforms(entry.runtime_data))
    if unloaded:
        await entry.runtime_data.async_close()
    return unloaded


async def async_remove_entry(hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
    """Delete the issues and the stored data of an entry that was removed."""
    if coordinator := getattr(entry, "runtime_data", None):
        # Home Assistant removes an entry also if it could not be unloaded.
        await coordinator.async_close()
    battery_control.async_end_unused(hass, entry)
    issues.async_clear_all(hass, entry)
    migration.async_hand_over(hass, entry)
    for subject in STORES:
        await EntryStore(hass, entry, subject).async_remove()


async def async_remove_config_entry_device(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, device: dr.DeviceEntry
) -> bool:
    """Let the user delete a device that the gateway no longer reports."""
    if devices.async_is_present(entry, device):
        return False
    for _, identifier in device.identifiers:
        entry.runtime_data.gateway.discard_device(identifier)
    return True
