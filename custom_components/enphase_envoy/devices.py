"""Every device: what identifies it, what it says of itself, and which device it hangs on.

The only place that knows. Entities name their device by its identifier and nothing else.
"""

from collections.abc import Iterator

from homeassistant.const import CONF_HOST
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.device_registry import DeviceInfo

from .const import DOMAIN
from .coordinator import EnvoyConfigEntry
from .snapshot import Snapshot

_MANUFACTURER = "Enphase"


def identified(identifier: str) -> DeviceInfo:
    """Return what links an entity to its device."""
    return DeviceInfo(identifiers={(DOMAIN, identifier)})


@callback
def async_register(hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
    """Put the devices of the snapshot into the registry, or bring them up to date there."""
    registry = dr.async_get(hass)
    coordinator = entry.runtime_data
    gateway = _gateway(coordinator.data, coordinator.name, entry.data[CONF_HOST], coordinator.gateway.uses_tokens)
    registry.async_get_or_create(config_entry_id=entry.entry_id, **gateway)
    for parent, info in _behind(coordinator.data):
        info["via_device_id"] = dr.async_get_device_id_by_identifier(
            hass, (DOMAIN, parent), config_entry_id=entry.entry_id
        )
        registry.async_get_or_create(config_entry_id=entry.entry_id, **info)


def _gateway(snapshot: Snapshot, name: str, host: str, https: bool) -> DeviceInfo:
    """Return the Envoy, or IQ Gateway, itself."""
    return DeviceInfo(
        identifiers={(DOMAIN, snapshot.serial)},
        name=name,
        manufacturer=_MANUFACTURER,
        model=snapshot.model,
        serial_number=snapshot.serial,
        sw_version=snapshot.firmware,
        hw_version=snapshot.part_number,
        configuration_url=f"{'https' if https else 'http'}://{host}",
    )


def _behind(snapshot: Snapshot) -> Iterator[tuple[str, DeviceInfo]]:
    """Yield what hangs on other devices, each with the identifier of its parent, parents first."""
    for serial in snapshot.members("inverters"):
        yield snapshot.serial, _numbered(serial, "Inverter", "Inverter")


def _numbered(serial: str, name: str, model: str, firmware: str | None = None) -> DeviceInfo:
    """Return a device that is identified by a serial number of its own."""
    return DeviceInfo(
        identifiers={(DOMAIN, serial)},
        name=f"{name} {serial}",
        manufacturer=_MANUFACTURER,
        model=model,
        serial_number=serial,
        sw_version=firmware,
    )
