"""Every device: what identifies it, what it says of itself, and which device it hangs on.

The only place that knows. Entities name their device by its identifier and nothing else.
"""

from collections.abc import Hashable, Iterator
from dataclasses import replace
from functools import cache

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

_MANUFACTURER = "Enphase"
#: Seconds that a device is missing from everything before the owner may delete it, whatever the gateway says otherwise.
_FORGOTTEN_AFTER = 3600.0


def identifier_of(info: DeviceInfo) -> str:
    """Return what identifies a device among those of a gateway."""
    return next(identifier for _, identifier in info["identifiers"])


@cache
def identified(identifier: str) -> DeviceInfo:
    """Return what links an entity to its device: the same for all entities of a device."""
    return DeviceInfo(identifiers={(DOMAIN, identifier)})


@callback
def async_keep_registered(hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
    """Register the devices of the snapshot, and again whenever hardware comes, goes, is renamed or updated."""
    coordinator = entry.runtime_data
    registered: Hashable = None

    @callback
    def register() -> None:
        nonlocal registered
        if (looks := _looks(coordinator.data, coordinator.addresses)) != registered:
            registered = looks
            _register(hass, entry)

    register()
    entry.async_on_unload(coordinator.async_add_listener(register))


def _looks(snapshot: Snapshot, addresses: frozenset[Address]) -> Hashable:
    """Return what changes when the devices do, at less cost than making them."""
    told = (_tells(timed.value) for timed in snapshot.objects.values())
    return snapshot.firmware, snapshot.model, addresses, *told


def _tells(value: object) -> str | None:
    """Return what an object tells of its device."""
    match value:
        case EnvoyEnpower() | EnvoyCollar() | EnvoyC6CC() | EnvoyEncharge():
            return value.firmware_version
        case EnvoyDryContactSettings():
            return value.load_name
    return None


@callback
def async_is_present(entry: EnvoyConfigEntry, device: dr.DeviceEntry) -> bool:
    """Return whether the gateway still reports a device, or can't be asked just now.

    Some documents make no sense any more without a kind of device, and are not believed: what was in none for an hour
    is as good as gone.
    """
    coordinator = getattr(entry, "runtime_data", None)
    if coordinator is None or not coordinator.last_update_success:
        return True
    oldest = coordinator.gateway.clock() - _FORGOTTEN_AFTER
    recent = {address: timed for address, timed in coordinator.data.objects.items() if timed.updated_at > oldest}
    snapshot = replace(coordinator.data, objects=recent)
    present = {snapshot.serial, *(identifier_of(info) for _, info in _behind(snapshot))}
    return any(domain == DOMAIN and identifier in present for domain, identifier in device.identifiers)


@callback
def async_add_mac(hass: HomeAssistant, entry: EnvoyConfigEntry, mac: str) -> None:
    """Add its MAC address to the device of the gateway."""
    dr.async_get(hass).async_get_or_create(
        config_entry_id=entry.entry_id,
        identifiers={(DOMAIN, entry.runtime_data.data.serial)},
        connections={(dr.CONNECTION_NETWORK_MAC, dr.format_mac(mac))},
    )


def _register(hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
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
    yield from _controllers(snapshot)
    yield from _batteries(snapshot)
    batteries = {battery.serial_num for battery in snapshot.all(EnvoyACB)}
    for serial in snapshot.members("inverters"):
        # The gateway lists AC batteries among the inverters, too.
        if serial not in batteries:
            yield snapshot.serial, _numbered(serial, "Inverter", "Inverter")


def _controllers(snapshot: Snapshot) -> Iterator[tuple[str, DeviceInfo]]:
    """Yield what connects the house to grid, loads and generator."""
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
    """Yield IQ batteries, and AC batteries with what stands for all of them."""
    serial = snapshot.serial
    for battery in snapshot.all(EnvoyEncharge):
        yield serial, _numbered(battery.serial_number, "Encharge", "Encharge", battery.firmware_version)
    if any(snapshot.all(EnvoyACBPower)) or any(snapshot.all(EnvoyACB)):
        yield serial, _acb_fleet(serial)
    for acb in snapshot.all(EnvoyACB):
        yield f"{serial}_acb", _numbered(acb.serial_num, "AC Battery", "AC Battery")


def _acb_fleet(serial: str) -> DeviceInfo:
    """Return what stands for all AC batteries together."""
    return DeviceInfo(
        identifiers={(DOMAIN, f"{serial}_acb")}, name=f"ACB {serial}", manufacturer=_MANUFACTURER, model="ACB"
    )


def _relay(relay: EnvoyDryContactSettings, enpower: EnvoyEnpower) -> DeviceInfo:
    """Return a dry-contact relay of an Enpower, named after its load."""
    return DeviceInfo(
        identifiers={(DOMAIN, relay.id)},
        name=relay.load_name or f"Relay {relay.id}",
        manufacturer=_MANUFACTURER,
        model="Dry contact relay",
        sw_version=enpower.firmware_version,
    )


def _generator(serial: str, config: EnvoyGeneratorConfig) -> DeviceInfo:
    """Return a generator that the Enpower starts and stops, as its installer described it."""
    return DeviceInfo(
        identifiers={(DOMAIN, f"{serial}_generator")},
        translation_key="generator",
        manufacturer=config.manufacturer or None,
        model=config.model or None,
    )


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
