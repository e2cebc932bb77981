"""All devices: identifiers, attributes and parents.

The only module that builds them. Entities refer to their device by its identifier alone.
"""

from collections.abc import Hashable, Iterator
from dataclasses import replace
from functools import cache
from typing import Final

from homeassistant.const import CONF_HOST
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.device_registry import DeviceInfo
from pyenphase.models.acb import EnvoyACB, EnvoyACBPower
from pyenphase.models.c6combiner import EnvoyC6CC
from pyenphase.models.collar import EnvoyCollar
from pyenphase.models.dry_contacts import EnvoyDryContactSettings
from pyenphase.models.encharge import EnvoyEncharge
from pyenphase.models.enpower import EnvoyEnpower
from pyenphase.models.generator import EnvoyGeneratorConfig

from .const import DOMAIN
from .coordinator import EnvoyConfigEntry
from .model.snapshot import Address, Snapshot
from .model.text import LONGEST_NAME, clean

_MANUFACTURER = "Enphase"
INVERTER_MODEL: Final = "Inverter"
#: Fields of the objects with an attribute that is shown at their device.
_WITH_ATTRIBUTES: Final = frozenset({"enpower", "collar", "c6cc", "encharge_inventory", "dry_contact_settings"})
#: Seconds for which a device must be missing from all documents before the user may delete it.
_REMOVABLE_AFTER = 3600.0


def identifier_of(info: DeviceInfo) -> str:
    """Return the identifier of a device, unique among those of a gateway."""
    return next(identifier for _, identifier in info["identifiers"])


@cache
def identified(identifier: str) -> DeviceInfo:
    """Return the device info that links an entity to its device: the same object for all entities of a device."""
    return DeviceInfo(identifiers={(DOMAIN, identifier)})


@callback
def async_keep_registered(hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
    """Register the devices of the snapshot, and again when hardware is added, removed, renamed or updated."""
    coordinator = entry.runtime_data
    registered: Hashable = None

    @callback
    def register() -> None:
        nonlocal registered
        if (current := _fingerprint(coordinator.data, coordinator.published.addresses)) != registered:
            registered = current
            _register(hass, entry)

    register()
    entry.async_on_unload(coordinator.async_add_listener(register))


def _fingerprint(snapshot: Snapshot, addresses: frozenset[Address]) -> Hashable:
    """Return a value that changes when the devices do; cheaper than to compare the devices themselves."""
    objects = snapshot.objects.items()
    attributes = [_device_attribute(timed.value) for address, timed in objects if address[0] in _WITH_ATTRIBUTES]
    return snapshot.firmware, snapshot.model, addresses, *attributes


def _device_attribute(value: object) -> str | None:
    """Return the attribute of an object that is shown at its device, None if there is none."""
    match value:
        case EnvoyEnpower() | EnvoyCollar() | EnvoyC6CC() | EnvoyEncharge():
            return f"{value.serial_number} {value.firmware_version}"
        case EnvoyDryContactSettings():
            return value.load_name
    return None


@callback
def async_is_present(entry: EnvoyConfigEntry, device: dr.DeviceEntry) -> bool:
    """Return whether the gateway still reports a device; True while the gateway cannot be read.

    A document that suddenly lacks a whole kind of device is rejected as implausible, so the objects of removed hardware
    stay in the snapshot: a device that was in no document for an hour counts as removed.
    """
    coordinator = getattr(entry, "runtime_data", None)
    if coordinator is None or not coordinator.last_update_success:
        return True
    oldest = coordinator.gateway.clock() - _REMOVABLE_AFTER
    recent = {address: timed for address, timed in coordinator.data.objects.items() if timed.updated_at > oldest}
    snapshot = replace(coordinator.data, objects=recent)
    present = {snapshot.serial, *(identifier_of(info) for _, info in _connected(snapshot))}
    return any(domain == DOMAIN and identifier in present for domain, identifier in device.identifiers)


@callback
def async_add_mac(hass: HomeAssistant, entry: EnvoyConfigEntry, mac: str) -> None:
    """Add the MAC address to the device of the gateway."""
    dr.async_get(hass).async_get_or_create(
        config_entry_id=entry.entry_id,
        identifiers={(DOMAIN, entry.runtime_data.data.serial)},
        connections={(dr.CONNECTION_NETWORK_MAC, dr.format_mac(mac))},
    )


def _register(hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
    """Add the devices of the snapshot to the registry, or update them there."""
    registry = dr.async_get(hass)
    coordinator = entry.runtime_data
    gateway = _gateway(coordinator.data, coordinator.name, entry.data[CONF_HOST], coordinator.gateway.uses_tokens)
    registry.async_get_or_create(config_entry_id=entry.entry_id, **gateway)
    for parent, info in _connected(coordinator.data):
        info["via_device_id"] = dr.async_get_device_id_by_identifier(
            hass, (DOMAIN, parent), config_entry_id=entry.entry_id
        )
        registry.async_get_or_create(config_entry_id=entry.entry_id, **info)


def _gateway(snapshot: Snapshot, name: str, host: str, https: bool) -> DeviceInfo:
    """Return the Envoy or IQ Gateway."""
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


def _connected(snapshot: Snapshot) -> Iterator[tuple[str, DeviceInfo]]:
    """Yield the devices connected to others, each with the identifier of its parent; parents first."""
    yield from _controllers(snapshot)
    yield from _batteries(snapshot)
    batteries = {battery.serial_num for battery in snapshot.all(EnvoyACB)}
    for serial in snapshot.members("inverters"):
        # The gateway lists AC batteries among the inverters as well.
        if serial not in batteries:
            yield snapshot.serial, _numbered(serial, "Inverter", INVERTER_MODEL)


def _controllers(snapshot: Snapshot) -> Iterator[tuple[str, DeviceInfo]]:
    """Yield the devices that connect the home to the grid, loads and a generator."""
    serial = snapshot.serial
    for switch in snapshot.all(EnvoyEnpower):
        yield serial, _numbered(switch.serial_number, "Enpower", "Enpower", switch.firmware_version)
        for relay in snapshot.all(EnvoyDryContactSettings):
            yield switch.serial_number, _relay(relay, switch)
    for meter in snapshot.all(EnvoyCollar):
        yield serial, _numbered(meter.serial_number, "Collar", "IQ Meter Collar", meter.firmware_version)
    for combiner in snapshot.all(EnvoyC6CC):
        name, model = "C6 Combiner", "C6 COMBINER CONTROLLER"
        yield serial, _numbered(combiner.serial_number, name, model, combiner.firmware_version)
    for config in snapshot.all(EnvoyGeneratorConfig):
        yield serial, _generator(serial, config)


def _batteries(snapshot: Snapshot) -> Iterator[tuple[str, DeviceInfo]]:
    """Yield IQ batteries, AC batteries and the device for all AC batteries together."""
    serial = snapshot.serial
    for battery in snapshot.all(EnvoyEncharge):
        yield serial, _numbered(battery.serial_number, "Encharge", "Encharge", battery.firmware_version)
    if any(snapshot.all(EnvoyACBPower)) or any(snapshot.all(EnvoyACB)):
        yield serial, _acb_fleet(serial)
    for acb in snapshot.all(EnvoyACB):
        yield f"{serial}_acb", _numbered(acb.serial_num, "AC Battery", "AC Battery")


def _acb_fleet(serial: str) -> DeviceInfo:
    """Return the device for all AC batteries together."""
    return DeviceInfo(
        identifiers={(DOMAIN, f"{serial}_acb")}, name=f"ACB {serial}", manufacturer=_MANUFACTURER, model="ACB"
    )


def _relay(relay: EnvoyDryContactSettings, enpower: EnvoyEnpower) -> DeviceInfo:
    """Return a dry-contact relay of an Enpower, named after its load."""
    return DeviceInfo(
        identifiers={(DOMAIN, relay.id)},
        name=clean(relay.load_name or "", LONGEST_NAME) or f"Relay {relay.id}",
        manufacturer=_MANUFACTURER,
        model="Dry contact relay",
        sw_version=enpower.firmware_version,
    )


def _generator(serial: str, config: EnvoyGeneratorConfig) -> DeviceInfo:
    """Return a generator that the Enpower starts and stops, as configured by its installer."""
    return DeviceInfo(
        identifiers={(DOMAIN, f"{serial}_generator")},
        translation_key="generator",
        manufacturer=config.manufacturer or None,
        model=config.model or None,
    )


def _numbered(serial: str, name: str, model: str, firmware: str | None = None) -> DeviceInfo:
    """Return a device that is identified by its own serial number."""
    return DeviceInfo(
        identifiers={(DOMAIN, serial)},
        name=f"{name} {serial}",
        manufacturer=_MANUFACTURER,
        model=model,
        serial_number=serial,
        sw_version=firmware,
    )
