"""Diagnostics: everything about a gateway in a file that can be published.

The data is collected unchanged and redacted as a whole at the end, see redact.py. Left out are the values that are only
names chosen by the user: titles, names of devices, and entity ids, which Home Assistant derives from them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time
from enum import Enum, Flag
import json

from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import ATTR_FRIENDLY_NAME, CONF_NAME
from homeassistant.core import HomeAssistant, State
from homeassistant.helpers import device_registry as dr, entity_registry as er

from .client.auth import token_validity
from .client.errors import GatewayError
from .client.scheduler import RawResponse
from .const import DOMAIN, OPTION_FIXTURES
from .coordinator import EnvoyConfigEntry, EnvoyCoordinator
from .model.json_data import is_deep
from .redact import REDACTED, Redactor

type Report = dict[str, object]


async def async_get_config_entry_diagnostics(hass: HomeAssistant, entry: EnvoyConfigEntry) -> Report:
    """Return everything about a gateway."""
    report = await _collect(entry)
    if coordinator := _coordinator(entry):
        report["envoy_model_data"] = _model(coordinator, coordinator.data.objects)
        if entry.options.get(OPTION_FIXTURES):
            responses = await coordinator.gateway.raw_responses(capture=True)
            report["fixtures"] = {path: _fixture(response) for path, response in responses.items()}
    return await _redacted(hass, entry, report, _devices(hass, entry))


async def async_get_device_diagnostics(hass: HomeAssistant, entry: EnvoyConfigEntry, device: dr.DeviceEntry) -> Report:
    """Return the report about one device."""
    report = await _collect(entry)
    raw = report.pop("raw_data")
    if coordinator := _coordinator(entry):
        objects = coordinator.data.objects
        if (DOMAIN, coordinator.data.serial) in device.identifiers:
            addresses = objects.keys() - _addresses(coordinator, _devices(hass, entry))
        else:
            addresses = _addresses(coordinator, [device])
        report["envoy_model_data"] = _model(coordinator, [address for address in objects if address in addresses])
    return await _redacted(hass, entry, report, [device], raw)


async def _collect(entry: EnvoyConfigEntry) -> Report:
    """Return the part that reports about a gateway and about a device have in common."""
    coordinator = _coordinator(entry)
    responses = await coordinator.gateway.raw_responses(capture=False) if coordinator else {}
    return {
        "config_entry": {
            "unique_id": entry.unique_id,
            "version": f"{entry.version}.{entry.minor_version}",
            "source": entry.source,
            "state": entry.state.value,
            "reason": entry.reason,
            "data": {key: REDACTED if key == CONF_NAME else _plain(value) for key, value in entry.data.items()},
            "options": _plain(entry.options),
        },
        "envoy_properties": _properties(coordinator, responses) if coordinator else {},
        "raw_data": {path: _document(response.body) for path, response in responses.items() if response.body},
        "envoy_model_data": {},
    }


async def _redacted(
    hass: HomeAssistant, entry: EnvoyConfigEntry, report: Report, devices: Iterable[dr.DeviceEntry], *others: object
) -> Report:
    """Return the redacted report with devices and entities. From `others` only identifiers are collected."""
    known = [{"serial": device.serial_number, "mac": _macs(device)} for device in _devices(hass, entry)]
    redactor = await hass.async_add_executor_job(Redactor, report, {"serial": entry.unique_id}, known, *others)
    fixtures = {"fixtures": report.pop("fixtures")} if "fixtures" in report else {}
    blocks = [_device(hass, entry, device) for device in devices]
    return await hass.async_add_executor_job(
        redactor.redact, {**report, "envoy_entities_by_device": blocks, **fixtures}
    )


def _coordinator(entry: EnvoyConfigEntry) -> EnvoyCoordinator | None:
    """Return the coordinator, None while the entry is not loaded."""
    return entry.runtime_data if entry.state is ConfigEntryState.LOADED else None


# Gateway


def _properties(coordinator: EnvoyCoordinator, responses: Mapping[str, RawResponse]) -> Report:
    gateway, envoy = coordinator.gateway, coordinator.gateway.envoy
    error = coordinator.last_exception
    return {
        "serial_number": gateway.serial,
        "firmware": gateway.firmware,
        "part_number": envoy.part_number,
        "model": envoy.envoy_model,
        "is_metered": envoy.is_metered,
        "supported_features": [feature.name for feature in envoy.supported_features],
        "phase_count": envoy.phase_count,
        "active_phase_count": envoy.active_phase_count,
        "phase_mode": _plain(envoy.phase_mode),
        "ct_types": _plain(envoy.ct_meter_list),
        "acb_count": envoy.acb_count,
        "authentication": _authentication(gateway.token, gateway.serial),
        "battery_cloud": coordinator.battery_control.report if coordinator.battery_control else None,
        "live_power": gateway.live.report(),
        "polls": {
            "interval": coordinator.update_interval.total_seconds() if coordinator.update_interval else None,
            "last_one_succeeded": coordinator.last_update_success,
            "last_error": f"{type(error).__name__}: {error.__cause__ or error}" if error else None,
            "failing_endpoints": {path: response.failure for path, response in responses.items() if response.failure},
        },
    }


def _authentication(token: str | None, serial: str) -> Report:
    """Return the kind of credentials in use and their validity."""
    if not token:
        return {"by": "local user"}
    try:
        validity = token_validity(token, serial)
    except GatewayError as err:
        return {"by": "web token", "wrong": err.reason.value}
    begins, ends = (datetime.fromtimestamp(at, UTC).isoformat() for at in (validity.begins, validity.ends))
    return {"by": "web token", "begins": begins, "ends": ends}


def _document(body: str) -> object:
    """Return a parsed body, or its text if it is no JSON, or has more levels than Home Assistant can serialise."""
    try:
        document = json.loads(body, parse_constant=str)
    except ValueError, RecursionError:
        return body
    return body if is_deep(document) else document


def _fixture(response: RawResponse) -> Report:
    """Return a response with its unparsed body, so that it can be replayed."""
    return {
        "status": response.status,
        "failure": response.failure,
        "seconds": response.duration,
        "body": response.body,
    }


def _model(coordinator: EnvoyCoordinator, addresses: Iterable[tuple[str, ...]]) -> Report:
    """Return the objects of the snapshot at some addresses, as a tree."""
    tree: Report = {}
    now = coordinator.gateway.clock()
    for address in addresses:
        timed = coordinator.data.objects[address]
        branch = tree
        for part in address[:-1]:
            branch = branch.setdefault(part, {})  # type: ignore[assignment]
        branch[address[-1]] = {"class": type(timed.value).__name__, "age": round(now - timed.updated_at, 1)} | _fields(
            timed.value
        )
    return tree


def _fields(value: object) -> Report:
    """Return the fields of an object, without those that its `repr` leaves out: the cloud's documents, and secrets."""
    if not is_dataclass(value):
        return {"value": _plain(value)}
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.repr}


def _plain(value: object) -> object:
    """Return a value in types of JSON."""
    if isinstance(value, Enum):
        return value.name if isinstance(value, Flag) else value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if is_dataclass(value):
        return _fields(value)
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


# Home Assistant


def _devices(hass: HomeAssistant, entry: EnvoyConfigEntry) -> list[dr.DeviceEntry]:
    return dr.async_entries_for_config_entry(dr.async_get(hass), entry.entry_id)


def _addresses(coordinator: EnvoyCoordinator, devices: Iterable[dr.DeviceEntry]) -> set[tuple[str, ...]]:
    """Return the addresses of the objects of some devices; none for the gateway.

    In one pass for all of them: a system may have hundreds of devices, each with objects.
    """
    serial = coordinator.data.serial
    identifiers = {identifier for device in devices for identifier in device.identifiers}
    names = {name for domain, name in identifiers if domain == DOMAIN and name != serial}
    # `<serial>_acb` and `<serial>_generator` are devices without a serial number of their own.
    kinds = tuple(name.removeprefix(f"{serial}_") for name in names if name.startswith(f"{serial}_"))

    def belongs(address: tuple[str, ...]) -> bool:
        value = coordinator.data.objects[address].value
        serials = {getattr(value, "serial_number", None), getattr(value, "serial_num", None), *address[1:]}
        return bool(serials & names) or (bool(kinds) and len(address) == 1 and address[0].startswith(kinds))

    return {address for address in coordinator.data.objects if belongs(address)}


def _macs(device: dr.DeviceEntry) -> list[str]:
    return [value for kind, value in device.connections if kind == dr.CONNECTION_NETWORK_MAC]


def _device(hass: HomeAssistant, entry: EnvoyConfigEntry, device: dr.DeviceEntry) -> Report:
    """Return the registry entry of a device, and its entities."""
    registry = er.async_get(hass)
    parent = dr.async_get(hass).async_get(device.via_device_id) if device.via_device_id else None
    entities = er.async_entries_for_device(registry, device.id, include_disabled_entities=True)
    return {
        "renamed": device.name_by_user is not None,
        "manufacturer": device.manufacturer,
        "model": device.model,
        "serial_number": device.serial_number,
        "sw_version": device.sw_version,
        "hw_version": device.hw_version,
        "identifiers": sorted(text for _, text in device.identifiers),
        "connections": _macs(device),
        "via": sorted(text for _, text in parent.identifiers) if parent else None,
        "disabled_by": _plain(device.disabled_by),
        "entities": [_entity(hass, entity) for entity in entities if entity.config_entry_id == entry.entry_id],
    }


def _entity(hass: HomeAssistant, entity: er.RegistryEntry) -> Report:
    """Return the registry entry of an entity, and its state."""
    return {
        "domain": entity.domain,
        "unique_id": entity.unique_id,
        "original_name": entity.original_name,
        "renamed": entity.name is not None,
        "translation_key": entity.translation_key,
        "device_class": entity.original_device_class,
        "unit": entity.unit_of_measurement,
        "category": _plain(entity.entity_category),
        "capabilities": _plain(entity.capabilities),
        "disabled_by": _plain(entity.disabled_by),
        "hidden_by": _plain(entity.hidden_by),
        "state": _state(hass.states.get(entity.entity_id)),
    }


def _state(state: State | None) -> Report | None:
    if state is None:
        return None
    return {
        "state": state.state,
        "attributes": {key: _plain(value) for key, value in state.attributes.items() if key != ATTR_FRIENDLY_NAME},
        "last_changed": state.last_changed.isoformat(),
        "last_updated": state.last_updated.isoformat(),
    }
