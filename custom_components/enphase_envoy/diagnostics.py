"""What helps to understand a system, in a file that can be posted in public.

Everything is collected as it is, and scrubbed as a whole right before it is handed over: see scrub.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time
from enum import Enum, Flag
import json
import re
from typing import Final

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant, State
from homeassistant.helpers import device_registry as dr, entity_registry as er
from homeassistant.util import slugify

from .client.auth import token_validity
from .client.errors import GatewayError
from .client.scheduler import RawResponse
from .const import DOMAIN, OPTION_FIXTURES
from .coordinator import EnvoyConfigEntry, EnvoyCoordinator
from .redact import REDACTED, Redactor

type Report = dict[str, object]

#: Names that devices have from us, each followed by an identifier: other names are their owner's.
_OURS: Final = re.compile(
    r"(Envoy|Inverter|Enpower|Encharge|Collar|C6 Combiner|AC Battery|ACB|Relay)( (?P<which>\S+))?"
)
#: Words of entity ids that come neither from a name nor from a unique id.
_WORDS: Final = frozenset(
    {
        "envoy",
        "inverter",
        "enpower",
        "encharge",
        "collar",
        "c6",
        "combiner",
        "ac",
        "acb",
        "battery",
        "relay",
        "generator",
    }
)


async def async_get_config_entry_diagnostics(hass: HomeAssistant, entry: EnvoyConfigEntry) -> Report:
    """Return everything about a gateway."""
    report = await _collect(entry)
    if coordinator := _coordinator(entry):
        report["envoy_model_data"] = _model(coordinator, coordinator.data.objects)
        if entry.options.get(OPTION_FIXTURES):
            answers = await coordinator.gateway.documents(ask=True)
            report["fixtures"] = {path: _fixture(answer) for path, answer in answers.items()}
    return await _published(hass, entry, report, _devices(hass, entry))


async def async_get_device_diagnostics(hass: HomeAssistant, entry: EnvoyConfigEntry, device: dr.DeviceEntry) -> Report:
    """Return what there is about one device."""
    report = await _collect(entry)
    raw = report.pop("raw_data")
    if coordinator := _coordinator(entry):
        claimed = {other.id: _leaves_of(coordinator, other) for other in _devices(hass, entry)}
        everything = coordinator.data.objects
        if (DOMAIN, coordinator.data.serial) in device.identifiers:
            addresses = everything.keys() - set().union(*claimed.values())
        else:
            addresses = claimed.get(device.id, set())
        report["envoy_model_data"] = _model(coordinator, [address for address in everything if address in addresses])
    return await _published(hass, entry, report, [device], raw)


async def _collect(entry: EnvoyConfigEntry) -> Report:
    """Return what files about a gateway and about a device have in common."""
    coordinator = _coordinator(entry)
    answers = await coordinator.gateway.documents(ask=False) if coordinator else {}
    return {
        "config_entry": {
            "title": _title(entry.title),
            "unique_id": entry.unique_id,
            "version": f"{entry.version}.{entry.minor_version}",
            "source": entry.source,
            "state": entry.state.value,
            "reason": entry.reason,
            "data": {key: _title(value) if key == "name" else _plain(value) for key, value in entry.data.items()},
            "options": _plain(entry.options),
        },
        "envoy_properties": _properties(coordinator, answers) if coordinator else {},
        "raw_data": {path: _document(answer.body) for path, answer in answers.items() if answer.body},
        "envoy_model_data": {},
    }


async def _published(
    hass: HomeAssistant, entry: EnvoyConfigEntry, report: Report, devices: Iterable[dr.DeviceEntry], *hidden: object
) -> Report:
    """Return a report with devices and entities, scrubbed; what is hidden shows only which identifiers there are."""
    known = [{"serial": device.serial_number, "mac": _macs(device)} for device in _devices(hass, entry)]
    scrubber = await hass.async_add_executor_job(Redactor, report, {"serial": entry.unique_id}, known, *hidden)
    blocks = [_device(hass, entry, device, scrubber) for device in devices]
    fixtures = report.pop("fixtures", None)
    whole = report | {"envoy_entities_by_device": blocks} | ({} if fixtures is None else {"fixtures": fixtures})
    return await hass.async_add_executor_job(scrubber.scrub, whole)


def _coordinator(entry: EnvoyConfigEntry) -> EnvoyCoordinator | None:
    """Return the coordinator, None while the entry is not loaded."""
    return entry.runtime_data if entry.state is ConfigEntryState.LOADED else None


def _title(value: object) -> object:
    """Return the name of an entry if it is the one it was given at the start."""
    return value if not isinstance(value, str) or _OURS.fullmatch(value) else REDACTED


# What the gateway says


def _properties(coordinator: EnvoyCoordinator, answers: Mapping[str, RawResponse]) -> Report:
    gateway = coordinator.gateway
    error = coordinator.last_exception
    return {
        "serial_number": gateway.serial,
        "firmware": gateway.known_firmware,
        "part_number": gateway.part_number,
        "model": gateway.envoy_model,
        "is_metered": gateway.is_metered,
        "supported_features": [feature.name for feature in gateway.supported_features],
        "phase_count": gateway.phase_count,
        "active_phase_count": gateway.active_phase_count,
        "phase_mode": _plain(gateway.phase_mode),
        "ct_types": _plain(gateway.ct_meter_list),
        "acb_count": gateway.acb_count,
        "authentication": _authentication(gateway.token, gateway.serial),
        "polls": {
            "interval": coordinator.update_interval.total_seconds() if coordinator.update_interval else None,
            "last_one_succeeded": coordinator.last_update_success,
            "last_error": f"{type(error).__name__}: {error.__cause__ or error}" if error else None,
            "failing_endpoints": {path: answer.failure for path, answer in answers.items() if answer.failure},
        },
    }


def _authentication(token: str | None, serial: str) -> Report:
    """Tell how we are logged in, and until when."""
    if not token:
        return {"by": "local user"}
    try:
        life = token_validity(token, serial)
    except GatewayError as err:
        return {"by": "web token", "wrong": err.reason.value}
    begins, ends = (datetime.fromtimestamp(context, UTC).isoformat() for context in (life.begins, life.ends))
    return {"by": "web token", "begins": begins, "ends": ends}


def _document(body: str) -> object:
    """Return an answer as what its JSON says, as text if it is none."""
    try:
        return json.loads(body, parse_constant=str)
    except ValueError, RecursionError:
        return body


def _fixture(answer: RawResponse) -> Report:
    """Return an answer word for word, so that it can be replayed."""
    return {"status": answer.status, "failure": answer.failure, "seconds": answer.took, "body": answer.body}


def _model(coordinator: EnvoyCoordinator, addresses: Iterable[tuple[str, ...]]) -> Report:
    """Return the leaves of the snapshot at some addresses, as a tree."""
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
    if not is_dataclass(value):
        return {"value": _plain(value)}
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _plain(value: object) -> object:
    """Return a value as JSON has it."""
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


# What Home Assistant made of it


def _devices(hass: HomeAssistant, entry: EnvoyConfigEntry) -> list[dr.DeviceEntry]:
    return dr.async_entries_for_config_entry(dr.async_get(hass), entry.entry_id)


def _leaves_of(coordinator: EnvoyCoordinator, device: dr.DeviceEntry) -> set[tuple[str, ...]]:
    """Return the addresses of what is about a device other than the gateway."""
    serial = coordinator.data.serial
    names = {name for domain, name in device.identifiers if domain == DOMAIN and name != serial}
    # `<serial>_acb` and `<serial>_generator` stand for kinds of hardware without a number of their own.
    kinds = tuple(name.removeprefix(f"{serial}_") for name in names if name.startswith(f"{serial}_"))

    def is_about(address: tuple[str, ...]) -> bool:
        value = coordinator.data.objects[address].value
        own = {getattr(value, "serial_number", None), getattr(value, "serial_num", None), *address[1:]}
        return bool(own & names) or (bool(kinds) and len(address) == 1 and address[0].startswith(kinds))

    return {address for address in coordinator.data.objects if is_about(address)}


def _macs(device: dr.DeviceEntry) -> list[str]:
    return [value for kind, value in device.connections if kind == dr.CONNECTION_NETWORK_MAC]


def _device(hass: HomeAssistant, entry: EnvoyConfigEntry, device: dr.DeviceEntry, scrubber: Redactor) -> Report:
    """Return a device as registered, and its entities."""
    registry = er.async_get(hass)
    parent = dr.async_get(hass).async_get(device.via_device_id) if device.via_device_id else None
    entities = er.async_entries_for_device(registry, device.id, include_disabled_entities=True)
    name = _device_name(device, scrubber)
    return {
        "name": name,
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
        "entities": [
            _entity(hass, entity, device, name) for entity in entities if entity.config_entry_id == entry.entry_id
        ],
    }


def _device_name(device: dr.DeviceEntry, scrubber: Redactor) -> str:
    """Return the name of a device, or what stands in for it if a person chose it: a relay's load, an entry's name."""
    name = device.name or ""
    known = {text for _, text in device.identifiers}
    ours = _OURS.fullmatch(name)
    if (ours and (not ours["which"] or ours["which"] in {text.split("_")[0] for text in known})) or any(
        text.endswith("_generator") for text in known
    ):
        return scrubber.scrub({"name": name})["name"]
    return scrubber.name(name, "Load" if device.model == "Dry contact relay" else "Envoy")


def _entity(hass: HomeAssistant, entity: er.RegistryEntry, device: dr.DeviceEntry, name: str) -> Report:
    """Return an entity as registered, and its state."""
    return {
        "entity_id": _entity_id(entity, device, name),
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


def _entity_id(entity: er.RegistryEntry, device: dr.DeviceEntry, name: str) -> str:
    """Return the entity id with stand-ins for what people named, or without its name if they named it otherwise."""
    object_id = entity.entity_id.partition(".")[2]
    prefix = ""
    for called in (device.name_by_user, device.name):
        if called and (object_id == (slug := slugify(called)) or object_id.startswith(f"{slug}_")):
            prefix, object_id = slugify(name), object_id[len(slug) :]
            break
    ours = {word for text in (entity.unique_id, entity.original_name or "") for word in slugify(text).split("_")}
    words = set(filter(None, object_id.split("_"))) - ours - _WORDS
    if any(not re.fullmatch(r"\d{1,2}|l[123]", word) for word in words):
        return f"{entity.domain}.{REDACTED}"
    return f"{entity.domain}.{prefix}{object_id}"


def _state(state: State | None) -> Report | None:
    if state is None:
        return None
    return {
        "state": state.state,
        "attributes": {key: _plain(value) for key, value in state.attributes.items() if key != "friendly_name"},
        "last_changed": state.last_changed.isoformat(),
        "last_updated": state.last_updated.isoformat(),
    }
