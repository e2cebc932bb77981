"""Websocket commands of the array card."""

from collections.abc import Iterator
from typing import Any, Final

from homeassistant.components import websocket_api
from homeassistant.config_entries import ConfigEntry
from homeassistant.const import Platform
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import device_registry as dr, entity_registry as er
from homeassistant.helpers.dispatcher import async_dispatcher_connect, async_dispatcher_send
import voluptuous as vol

from ..const import DOMAIN
from ..devices import INVERTER_MODEL
from ..model.snapshot import Snapshot
from ..storage import ARRANGEMENT as SUBJECT, EntryStore
from .arrangement import ARRANGEMENT, valid

#: Entities of a panel: name in the result, platform, and the end of the unique id after the serial number.
_ENTITIES: Final = (
    ("power", Platform.SENSOR, ""),
    ("energy", Platform.SENSOR, "_energy_today"),
    ("status", Platform.SENSOR, "_status"),
    ("problem", Platform.BINARY_SENSOR, "_problem"),
    ("last_reported", Platform.SENSOR, "_last_reported"),
)

# Home Assistant's own schemas are of another library in recent versions, which accepts these.
_GET: Final[Any] = {vol.Required("type"): f"{DOMAIN}/array/get", vol.Optional("entry_id"): vol.Any(str, None)}
_SET: Final[Any] = {
    vol.Required("type"): f"{DOMAIN}/array/set",
    vol.Required("entry_id"): str,
    #: None for the automatic arrangement.
    vol.Required("arrangement"): vol.Any(None, ARRANGEMENT),
}
_SUBSCRIBE: Final[Any] = {vol.Required("type"): f"{DOMAIN}/array/subscribe", vol.Required("entry_id"): str}


@callback
def async_register(hass: HomeAssistant) -> None:
    """Register the commands."""
    websocket_api.async_register_command(hass, get_array)
    websocket_api.async_register_command(hass, set_array)
    websocket_api.async_register_command(hass, subscribe_array)


@websocket_api.websocket_command(_GET)
@websocket_api.async_response
async def get_array(hass: HomeAssistant, connection: websocket_api.ActiveConnection, message: dict[str, Any]) -> None:
    """Send the arrangement of an entry, None if the user made none, and its panels, by serial number.

    Without an `entry_id` the first entry with panels is selected.
    """
    requested = message.get("entry_id")
    entries = [
        entry
        for entry in hass.config_entries.async_entries(DOMAIN, include_ignore=False, include_disabled=False)
        if requested in (None, entry.entry_id)
    ]
    panels = {entry.entry_id: [*_panels(hass, entry)] for entry in entries}
    if not entries:
        connection.send_error(message["id"], websocket_api.ERR_NOT_FOUND, "There is no such entry")
        return
    entry = next((entry for entry in entries if panels[entry.entry_id]), entries[0])
    connection.send_result(
        message["id"],
        {
            "entry_id": entry.entry_id,
            "title": entry.title,
            "arrangement": valid(await EntryStore(hass, entry, SUBJECT).async_load()),
            "roof_problem": _entity(hass, Platform.BINARY_SENSOR, f"{entry.unique_id}_roof_problem"),
            "panels": panels[entry.entry_id],
        },
    )


@websocket_api.require_admin
@websocket_api.websocket_command(_SET)
@websocket_api.async_response
async def set_array(hass: HomeAssistant, connection: websocket_api.ActiveConnection, message: dict[str, Any]) -> None:
    """Store the arrangement of an entry, or delete it."""
    entry = hass.config_entries.async_get_entry(message["entry_id"])
    if entry is None or entry.domain != DOMAIN:
        connection.send_error(message["id"], websocket_api.ERR_NOT_FOUND, "There is no such entry")
        return
    store = EntryStore(hass, entry, SUBJECT)
    if message["arrangement"] is None:
        await store.async_remove()
    elif not await store.async_save_now(message["arrangement"]):
        connection.send_error(message["id"], websocket_api.ERR_HOME_ASSISTANT_ERROR, "The file could not be written")
        return
    async_dispatcher_send(hass, _signal(entry.entry_id), message["arrangement"])
    connection.send_result(message["id"])


@websocket_api.websocket_command(_SUBSCRIBE)
@callback
def subscribe_array(hass: HomeAssistant, connection: websocket_api.ActiveConnection, message: dict[str, Any]) -> None:
    """Send an event with the arrangement of an entry, None for the automatic one, whenever a user stores it."""

    @callback
    def send(arrangement: dict[str, Any] | None) -> None:
        connection.send_event(message["id"], {"arrangement": arrangement})

    connection.subscriptions[message["id"]] = async_dispatcher_connect(hass, _signal(message["entry_id"]), send)
    connection.send_result(message["id"])


def _signal(entry_id: str) -> str:
    return f"{DOMAIN}_arrangement_{entry_id}"


def _panels(hass: HomeAssistant, entry: ConfigEntry[Any]) -> Iterator[dict[str, Any]]:
    """Yield the microinverters of an entry by serial number, also while the gateway cannot be read."""
    snapshot: Snapshot | None = getattr(getattr(entry, "runtime_data", None), "data", None)
    inverters = [
        (serial, device)
        for device in dr.async_entries_for_config_entry(dr.async_get(hass), entry.entry_id)
        for domain, serial in device.identifiers
        if domain == DOMAIN and device.model == INVERTER_MODEL
    ]
    for serial, device in sorted(inverters, key=lambda inverter: (len(inverter[0]), inverter[0])):
        timed = snapshot.objects.get(("inverters", serial)) if snapshot else None
        yield {
            "serial": serial,
            "name": device.name_by_user or device.name,
            "device_id": device.id,
            #: The highest power in W that it has reported: where the scale of colours ends.
            "max_power": getattr(timed.value, "max_report_watts", None) if timed else None,
            **{key: _entity(hass, platform, f"{serial}{end}") for key, platform, end in _ENTITIES},
        }


def _entity(hass: HomeAssistant, platform: Platform, unique_id: str) -> str | None:
    """Return the id of an enabled entity."""
    registry = er.async_get(hass)
    entity_id = registry.async_get_entity_id(platform, DOMAIN, unique_id)
    entity = registry.async_get(entity_id) if entity_id else None
    return entity.entity_id if entity and not entity.disabled else None
