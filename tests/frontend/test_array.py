"""The array card in Home Assistant: registration, commands and the stored arrangement."""

import asyncio
from typing import Any
from unittest.mock import patch

from homeassistant.components import frontend
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr, entity_registry as er
from homeassistant.helpers.storage import Store
from homeassistant.setup import async_setup_component
from homeassistant.util.file import WriteError
import pytest
from pytest_homeassistant_custom_component.typing import (
    ClientSessionGenerator,
    MockHAClientWebSocket,
    WebSocketGenerator,
)

from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.frontend import CARD, URL
from custom_components.enphase_envoy.storage import ARRANGEMENT, EntryStore
from tests.helpers.integration import SetUp, entity_id

GET = f"{DOMAIN}/array/get"
SET = f"{DOMAIN}/array/set"
SUBSCRIBE = f"{DOMAIN}/array/subscribe"


def arrangement(*serials: str) -> dict[str, Any]:
    """Return an arrangement of some panels in one row."""
    panels = [{"serial": serial, "x": 3 * place, "y": 0, "landscape": False} for place, serial in enumerate(serials)]
    return {"version": 1, "arrays": [{"name": "South", "azimuth": 180, "panels": panels}]}


async def result(client: MockHAClientWebSocket, kind: str, **fields: Any) -> Any:
    """Send a command and return its result."""
    await client.send_json_auto_id({"type": kind, **fields})
    answer = await client.receive_json()
    assert answer["success"], answer
    return answer["result"]


async def error(client: MockHAClientWebSocket, kind: str, **fields: Any) -> str:
    """Send a command that fails and return the code of the error."""
    await client.send_json_auto_id({"type": kind, **fields})
    answer = await client.receive_json()
    assert not answer["success"], answer
    code: str = answer["error"]["code"]
    return code


async def test_arrangement_that_is_being_stored_is_removed_with_the_entry(
    hass: HomeAssistant, set_up: SetUp, hass_ws_client: WebSocketGenerator, hass_storage: dict[str, Any]
) -> None:
    entry = (await set_up()).entry
    client = await hass_ws_client(hass)
    writing, written, write = asyncio.Event(), asyncio.Event(), Store._async_write_data

    async def hold(store: Store[Any], data: dict[str, Any]) -> None:
        if store.key.endswith(ARRANGEMENT):
            writing.set()
            await written.wait()
        await write(store, data)

    with patch.object(Store, "_async_write_data", hold):
        await client.send_json_auto_id({"type": SET, "entry_id": entry.entry_id, "arrangement": arrangement()})
        await writing.wait()
        await hass.config_entries.async_remove(entry.entry_id)
        written.set()
        await client.receive_json()
    assert not [key for key in hass_storage if entry.entry_id in key]


async def test_panels_have_names_devices_and_enabled_entities(
    hass: HomeAssistant, set_up: SetUp, hass_ws_client: WebSocketGenerator
) -> None:
    installation = await set_up()
    client = await hass_ws_client(hass)
    answer = await result(client, GET)
    assert answer["entry_id"] == installation.entry.entry_id
    assert answer["arrangement"] is None
    serials = [panel["serial"] for panel in answer["panels"]]
    assert serials == sorted(installation.coordinator.data.members("inverters"))
    first = answer["panels"][0]
    device = dr.async_get(hass).async_get(first["device_id"])
    assert device
    assert first["name"] == device.name == f"Inverter {serials[0]}"
    assert first["power"] == entity_id(hass, "sensor", serials[0])
    assert first["max_power"] > 0
    # Both are disabled by default.
    assert first["energy"] is first["last_reported"] is None

    dr.async_get(hass).async_update_device(device.id, name_by_user="Chimney")
    er.async_get(hass).async_update_entity(entity_id(hass, "sensor", f"{serials[0]}_energy_today"), disabled_by=None)
    first = (await result(client, GET))["panels"][0]
    assert first["name"] == "Chimney"
    assert first["energy"] == entity_id(hass, "sensor", f"{serials[0]}_energy_today")


async def test_ac_batteries_among_the_inverters_are_no_panels(
    hass: HomeAssistant, set_up: SetUp, hass_ws_client: WebSocketGenerator
) -> None:
    installation = await set_up("ac_batteries")
    answer = await result(await hass_ws_client(hass), GET)
    snapshot = installation.coordinator.data
    batteries = {*snapshot.members("acb_inventory")}
    assert batteries & {*snapshot.members("inverters")}
    assert {panel["serial"] for panel in answer["panels"]} == {*snapshot.members("inverters")} - batteries


async def test_arrangement_is_stored_for_all_users_and_removed_with_the_entry(
    hass: HomeAssistant, set_up: SetUp, hass_ws_client: WebSocketGenerator, hass_storage: dict[str, Any]
) -> None:
    installation = await set_up()
    entry = installation.entry
    client = await hass_ws_client(hass)
    stored = arrangement("1", "2")
    await result(client, SET, entry_id=entry.entry_id, arrangement=stored)
    assert (await result(client, GET, entry_id=entry.entry_id))["arrangement"] == stored
    key = f"{DOMAIN}.{entry.entry_id}.arrangement"
    assert hass_storage[key]["data"] == stored

    # Panels and arrangement are also shown while the gateway cannot be read.
    assert await hass.config_entries.async_unload(entry.entry_id)
    answer = await result(client, GET)
    assert answer["arrangement"] == stored
    assert answer["panels"]

    await result(client, SET, entry_id=entry.entry_id, arrangement=None)
    assert key not in hass_storage
    await result(client, SET, entry_id=entry.entry_id, arrangement=stored)
    assert await hass.config_entries.async_remove(entry.entry_id)
    assert key not in hass_storage
    assert await error(client, GET) == "not_found"
    assert await error(client, SET, entry_id=entry.entry_id, arrangement=stored) == "not_found"


async def test_stored_arrangement_is_sent_to_all_subscribers(
    hass: HomeAssistant, set_up: SetUp, hass_ws_client: WebSocketGenerator, hass_read_only_access_token: str
) -> None:
    entry_id = (await set_up()).entry.entry_id
    admin, reader = await hass_ws_client(hass), await hass_ws_client(hass, hass_read_only_access_token)
    await result(reader, SUBSCRIBE, entry_id=entry_id)
    for stored in (arrangement("1"), None):
        await result(admin, SET, entry_id=entry_id, arrangement=stored)
        assert (await reader.receive_json())["event"] == {"arrangement": stored}
    await reader.close()
    await result(admin, SET, entry_id=entry_id, arrangement=arrangement("1"))


async def test_users_without_administrator_rights_only_read(
    hass: HomeAssistant, set_up: SetUp, hass_ws_client: WebSocketGenerator, hass_read_only_access_token: str
) -> None:
    installation = await set_up()
    client = await hass_ws_client(hass, hass_read_only_access_token)
    assert (await result(client, GET))["panels"]
    entry_id = installation.entry.entry_id
    assert await error(client, SET, entry_id=entry_id, arrangement=arrangement("1")) == "unauthorized"


@pytest.mark.parametrize(
    "invalid",
    [
        {},
        {"arrays": "South"},
        {"version": 2, "arrays": []},
        arrangement("1", "1"),
        arrangement("1") | {"more": 1},
        {"arrays": [{"name": "South", "azimuth": 361, "panels": []}]},
        {"arrays": [{"name": "South", "panels": [{"serial": "1", "x": 1e9, "y": 0}]}]},
        {"arrays": [{"name": "South", "panels": [{"serial": "1", "x": "left", "y": 0}]}]},
        {"arrays": [{"name": "n" * 101, "panels": []}]},
    ],
)
async def test_invalid_arrangement_is_rejected_and_ignored_when_read(
    hass: HomeAssistant, set_up: SetUp, hass_ws_client: WebSocketGenerator, invalid: dict[str, Any]
) -> None:
    entry = (await set_up("standard_7_6")).entry
    client = await hass_ws_client(hass)
    assert await error(client, SET, entry_id=entry.entry_id, arrangement=invalid) == "invalid_format"
    await EntryStore(hass, entry, ARRANGEMENT).async_save_now(invalid)
    assert (await result(client, GET))["arrangement"] is None


async def test_an_arrangement_that_cannot_be_stored_is_an_error(
    hass: HomeAssistant, set_up: SetUp, hass_ws_client: WebSocketGenerator
) -> None:
    """The card shows it instead of closing the editor. Home Assistant's store only logs it."""
    entry = (await set_up("standard_7_6")).entry
    client = await hass_ws_client(hass)
    with patch.object(Store, "_async_write_data", side_effect=WriteError("No space left on device")):
        code = await error(client, SET, entry_id=entry.entry_id, arrangement=arrangement("1"))
    assert code == "home_assistant_error"
    assert (await result(client, GET))["arrangement"] is None


async def test_card_is_served_and_loaded_with_a_version(
    hass: HomeAssistant, hass_client: ClientSessionGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontend, "_frontend_root", lambda _path: CARD.parent)
    assert await async_setup_component(hass, "frontend", {})
    assert await async_setup_component(hass, DOMAIN, {})
    (url,) = [url for url in hass.data[frontend.DATA_EXTRA_MODULE_URL].urls if url.startswith(URL)]
    assert url.partition("?v=")[2]
    client = await hass_client()
    response = await client.get(url)
    assert response.status == 200
    assert await response.text() == CARD.read_text(encoding="utf-8")
    assert "max-age" in response.headers["Cache-Control"]


@pytest.mark.parametrize("absent", ["frontend", "http"])
async def test_set_up_without_frontend_registers_the_commands(hass: HomeAssistant, absent: str) -> None:
    if absent == "frontend":
        assert await async_setup_component(hass, "http", {})
    assert await async_setup_component(hass, DOMAIN, {})
    assert {GET, SET, SUBSCRIBE} <= {*hass.data["websocket_api"]}
