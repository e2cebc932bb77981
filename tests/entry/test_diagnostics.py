"""Diagnostics: complete, without anything that identifies the system, and replayable by the simulator."""

from contextlib import suppress
from dataclasses import replace
import json
from pathlib import Path
import re
from typing import Any, cast

from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr, entity_registry as er
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.components.diagnostics import (
    get_diagnostics_for_config_entry,
    get_diagnostics_for_device,
)
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.enphase_envoy.const import DOMAIN, OPTION_CLOUD_SITE, OPTION_FIXTURES
from custom_components.enphase_envoy.diagnostics import async_get_device_diagnostics
from custom_components.enphase_envoy.model.panels import ROOF, RoofState
from custom_components.enphase_envoy.model.snapshot import Address, TimedValue
from custom_components.enphase_envoy.redact import REDACTED
from scripts.replay import main as replay
from tests.helpers.integration import SetUp, Simulate, entry_for
from tests.simulator import PROFILES, Body, Drop, Simulator, Status, Truncated
from tests.simulator.battery_service import SITE
from tests.simulator.documents import ENDPOINTS
from tests.simulator.recording import Recording
from tests.tools.test_recordings import COMPAT, RECORDINGS

type Report = dict[str, Any]

#: Keys of identifiers in the recordings and the simulator's documents.
KEYS = {"sn", "serial_num", "serialNumber", "device_id", "generator_id", "mac", "ip", "public_ip", "ssid", "bssid", "s"}
MASKS = {"255.255.255.0"}


def identifiers(texts: list[str]) -> set[str]:
    """Return all identifiers in the documents of a gateway, by format and by key."""
    everything = "\n".join(texts)
    found = set(re.findall(r"(?<![0-9A-Za-z])\d{12}(?![0-9A-Za-z])", everything))
    found |= set(re.findall(r"\b(?:[0-9A-F]{2}:){5}[0-9A-F]{2}\b", everything))
    found |= set(re.findall(r"<sn>([^<]+)</sn>", everything))
    found |= set(re.findall(r'"load_name":\s*"([^"]+ [^"]+)"', everything))

    def walk(node: object, key: str = "") -> None:
        if isinstance(node, dict):
            for name, value in node.items():
                walk(value, name)
        elif isinstance(node, list):
            for item in node:
                walk(item, key)
        elif key in KEYS and isinstance(node, str) and len(node) >= 4 and not re.match(r"\d{3}-", node):
            found.add(re.sub(r"EIM\d$", "", node))

    for text in texts:
        with suppress(ValueError):
            walk(json.loads(text))
    return found - MASKS


def contains(identifier: str, text: str) -> bool:
    """Return whether a text contains an identifier as a whole word. A short one may be a number as well."""
    slug = re.sub(r"[^0-9a-z]+", "_", identifier.lower())
    for form in {identifier, slug}:
        for quote in ('"', r"\"") if identifier.isdigit() and len(identifier) < 8 else ("",):
            pattern = rf"(?<![0-9A-Za-z]){re.escape(quote)}{re.escape(form)}{re.escape(quote)}(?![0-9A-Za-z])"
            if re.search(pattern, text):
                return True
    return False


def entities(report: Report) -> dict[tuple[str, str], tuple[object, ...]]:
    """Return device, name, unit and state of each entity."""
    return {
        (entity["domain"], entity["unique_id"]): (
            device["identifiers"],
            entity["original_name"],
            entity["unit"],
            entity["state"] and entity["state"]["state"],
        )
        for device in report["envoy_entities_by_device"]
        for entity in device["entities"]
    }


def numbers(text: str) -> list[object]:
    """Return all numbers of a document, in order."""
    found: list[object] = []

    def walk(node: object) -> None:
        for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            walk(item)
        if isinstance(node, (int, float)):
            found.append(node)

    with suppress(ValueError):
        walk(json.loads(text))
    return found


async def download(hass: HomeAssistant, client: ClientSessionGenerator, entry: MockConfigEntry) -> Report:
    """Download the file with fixtures as the frontend does."""
    hass.config_entries.async_update_entry(entry, options={**entry.options, OPTION_FIXTURES: True})
    await hass.async_block_till_done()
    report: Report = await get_diagnostics_for_config_entry(hass, client, entry)
    return report


async def set_up_entry(hass: HomeAssistant, gateway: Simulator | Recording) -> MockConfigEntry:
    """Set up a config entry for a gateway."""
    entry = entry_for(gateway)  # type: ignore[arg-type]
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    return entry


async def check(
    hass: HomeAssistant, client: ClientSessionGenerator, entry: MockConfigEntry, secret: set[str], folder: Path
) -> Report:
    """Download, search for secrets, replay and compare. Returns the report."""
    report = await download(hass, client, entry)
    text = json.dumps(report, ensure_ascii=False)
    personal = {*secret, entry.data["host"], entry.data.get("token") or "no token", entry.data["username"]}
    assert sorted(word for word in personal - {"installer"} if contains(word, text)) == []
    before = entities(report)
    assert len(before) == len(er.async_entries_for_config_entry(er.async_get(hass), entry.entry_id))
    await hass.config_entries.async_remove(entry.entry_id)

    (folder / "file.json").write_text(json.dumps({"data": report}))
    assert replay([str(folder / "file.json"), str(folder / "replayed")]) == 0
    async with Recording(folder / "replayed") as gateway:
        again = await set_up_entry(hass, gateway)
        registry = dr.async_get(hass)
        after = {}
        for entity in er.async_entries_for_config_entry(er.async_get(hass), again.entry_id):
            device = registry.async_get(entity.device_id or "")
            state = hass.states.get(entity.entity_id)
            after[entity.domain, entity.unique_id] = (
                device and sorted(text for _, text in device.identifiers),
                entity.original_name,
                entity.unit_of_measurement,
                state and state.state,
            )
        assert after == before
        await hass.config_entries.async_remove(again.entry_id)
    await hass.async_block_till_done()
    return report


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.slow
async def test_a_simulated_system_can_be_posted_and_replayed(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    simulate: Simulate,
    entity_registry_enabled_by_default: None,
    tmp_path: Path,
    profile: str,
) -> None:
    gateway = await simulate(profile)
    documents = [endpoint.render(gateway.gateway, {}) for endpoint in ENDPOINTS.values()]
    texts = [getattr(document, "text", None) or json.dumps(document) for document in documents]
    secret = identifiers(texts)
    assert {gateway.serial, *(inverter.serial for inverter in gateway.house.inverters)} <= secret
    await check(hass, hass_client, await set_up_entry(hass, gateway), secret, tmp_path)


@pytest.mark.skipif(not RECORDINGS, reason=f"no recordings of gateways in {COMPAT}")
@pytest.mark.parametrize("name", RECORDINGS or ["none"])
async def test_a_recorded_system_can_be_posted_and_replayed(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    entity_registry_enabled_by_default: None,
    tmp_path: Path,
    name: str,
) -> None:
    folder = COMPAT / "recordings" / name
    texts = [file.read_text(errors="replace") for file in folder.glob("*") if not file.name.endswith("_log.json")]
    async with Recording(folder) as gateway:
        entry = await set_up_entry(hass, gateway)
        report = await check(hass, hass_client, entry, identifiers(texts), tmp_path)
    recorded = [file for file in folder.glob("*") if (tmp_path / "replayed" / file.name).is_file()]
    assert len(recorded) > 2
    for file in recorded:
        if not file.name.endswith("_log.json"):
            assert numbers((tmp_path / "replayed" / file.name).read_text()) == numbers(file.read_text()), file.name
    assert report["fixtures"]["/info"]["status"] == 200


async def test_the_report_is_complete(hass: HomeAssistant, hass_client: ClientSessionGenerator, set_up: SetUp) -> None:
    house = await set_up()
    data = {**house.entry.data, "previous_host": "envoy.example.com"}
    hass.config_entries.async_update_entry(house.entry, data=data)
    report: Report = await get_diagnostics_for_config_entry(hass, hass_client, house.entry)
    assert "example.com" not in json.dumps(report)
    assert list(report) == [
        *("config_entry", "envoy_properties", "raw_data", "envoy_model_data", "envoy_entities_by_device")
    ]
    placeholder = report["envoy_properties"]["serial_number"]
    assert re.fullmatch(r"\d{12}", placeholder)
    assert report["config_entry"]["unique_id"] == placeholder
    assert report["config_entry"]["data"]["name"] == REDACTED
    assert report["config_entry"]["data"]["token"] == REDACTED
    assert report["config_entry"]["data"]["host"].startswith("192.0.2.")
    properties = report["envoy_properties"]
    assert properties["firmware"] == "8.2.4382"
    assert "INVERTERS" in properties["supported_features"]
    assert properties["phase_count"] == 2
    assert properties["ct_types"] == ["production", "net-consumption", "storage"]
    assert properties["authentication"]["ends"] > "2026"
    assert properties["polls"]["failing_endpoints"] == {}
    assert report["raw_data"]["/ivp/ss/dry_contact_settings"]["dry_contacts"][0]["load_name"] == "Load 1"
    inverter = next(iter(report["envoy_model_data"]["inverters"].values()))
    assert inverter["class"] == "EnvoyInverter"
    assert inverter["serial_number"] in report["envoy_model_data"]["inverters"]
    devices = {device["identifiers"][0]: device for device in report["envoy_entities_by_device"]}
    relay = {(entity["domain"], entity["translation_key"]): entity["state"] for entity in devices["NC1"]["entities"]}
    assert relay["select", "relay_mode"]["state"] == "standard"


async def test_findings_about_panels_are_included(
    hass: HomeAssistant, hass_client: ClientSessionGenerator, set_up: SetUp
) -> None:
    """With the replaced serial numbers of the inverters."""
    house = await set_up()
    snapshot = house.coordinator.data
    serial = next(iter(snapshot.members("inverters")))
    roof = snapshot.objects[ROOF]
    found = replace(roof, value=replace(cast("RoofState", roof.value), problems={serial: "degraded"}))
    house.coordinator.data = replace(snapshot, objects={**snapshot.objects, ROOF: found})
    report: Report = await get_diagnostics_for_config_entry(hass, hass_client, house.entry)
    model = report["envoy_model_data"]
    assert model["panel_health"].keys() == model["panels"].keys() == model["inverters"].keys()
    ((placeholder, problem),) = model["roof"]["problems"].items()
    assert (placeholder in model["inverters"], problem) == (True, "degraded")
    assert not contains(serial, json.dumps(report))


async def test_the_report_of_a_device(hass: HomeAssistant, hass_client: ClientSessionGenerator, set_up: SetUp) -> None:
    house = await set_up()
    registry = dr.async_get(hass)
    held: list[set[str]] = []
    for device in dr.async_entries_for_config_entry(registry, house.entry.entry_id):
        report: Report = await get_diagnostics_for_device(hass, hass_client, house.entry, device)
        assert "raw_data" not in report
        (block,) = report["envoy_entities_by_device"]
        assert block["model"] == device.model
        assert block["entities"]
        assert report["envoy_model_data"], device.name
        text = json.dumps(report)
        assert not re.search(r"Pool pump|Water heater|Workshop", text)
        assert not [
            name for name in (*house.coordinator.data.members("inverters"), house.gateway.serial) if name in text
        ]
        held.append({f"{device.name} {name}" for name in report["envoy_model_data"]})
        if (DOMAIN, house.gateway.serial) in device.identifiers:
            assert "system_production" in report["envoy_model_data"]
            assert "enpower" not in report["envoy_model_data"]
        elif device.model == "Enpower":
            assert list(report["envoy_model_data"]) == ["enpower"]
    assert len(held) > 20


class Objects(dict[Address, TimedValue]):
    """Objects of a snapshot that count how often one of them is read."""

    reads = 0

    def __getitem__(self, address: Address) -> TimedValue:
        """Count, and return an object."""
        self.reads += 1
        return super().__getitem__(address)


@pytest.mark.parametrize("model", ["Inverter", "Envoy"])
async def test_the_report_of_a_device_reads_each_object_once(
    hass: HomeAssistant, set_up: SetUp, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once for each device of the system: one may have hundreds of inverters. Those it contains are read again."""
    house = await set_up()
    devices = dr.async_entries_for_config_entry(dr.async_get(hass), house.entry.entry_id)
    device = next(device for device in devices if (device.model or "").startswith(model))
    objects = Objects(house.coordinator.data.objects)
    monkeypatch.setattr(house.coordinator, "data", replace(house.coordinator.data, objects=objects))
    report = await async_get_device_diagnostics(hass, house.entry, device)
    assert report["envoy_model_data"]
    assert len(devices) > 20
    assert len(objects) <= objects.reads <= 2 * len(objects)


async def test_the_site_in_the_options_is_redacted(
    hass: HomeAssistant, hass_client: ClientSessionGenerator, set_up: SetUp
) -> None:
    house = await set_up(options={OPTION_CLOUD_SITE: SITE})
    report: Report = await get_diagnostics_for_config_entry(hass, hass_client, house.entry)
    assert not contains(SITE, json.dumps(report))
    assert re.fullmatch(r"9\d{6}", report["config_entry"]["options"][OPTION_CLOUD_SITE])


async def test_names_are_left_out(hass: HomeAssistant, hass_client: ClientSessionGenerator, set_up: SetUp) -> None:
    house = await set_up()
    hass.config_entries.async_update_entry(
        house.entry, title="Annas Dach", data={**house.entry.data, "name": "Annas Dach"}
    )
    devices, entities = dr.async_get(hass), er.async_get(hass)

    def sensor_of(device: dr.DeviceEntry) -> er.RegistryEntry:
        registered = er.async_entries_for_device(entities, device.id)
        return next(entity for entity in registered if entity.domain == "sensor")

    (inverter, other) = [
        device
        for device in dr.async_entries_for_config_entry(devices, house.entry.entry_id)
        if device.model == "Inverter"
    ][:2]
    devices.async_update_device(inverter.id, name_by_user="Bertas Zimmer")
    entity = sensor_of(inverter)
    entities.async_update_entity(entity.entity_id, new_entity_id="sensor.bertas_zimmer", name="Bertas Strom")
    entity = sensor_of(other)
    entities.async_update_entity(entity.entity_id, new_entity_id="sensor.claras_dach")
    await hass.async_block_till_done()
    report: Report = await get_diagnostics_for_config_entry(hass, hass_client, house.entry)
    assert not re.findall("anna|berta|clara|dach|zimmer", json.dumps(report), re.IGNORECASE)
    shown = [entity for device in report["envoy_entities_by_device"] for entity in device["entities"]]
    assert sum(entity["renamed"] for entity in shown) == 1


async def test_every_endpoint_is_requested_once_and_included_with_any_response(
    hass: HomeAssistant, hass_client: ClientSessionGenerator, set_up: SetUp
) -> None:
    house = await set_up()
    hass.config_entries.async_update_entry(house.entry, options={OPTION_FIXTURES: True})
    await hass.async_block_till_done()
    house.gateway.requests.clear()
    with (
        house.gateway.fault("/home", Status(503, "<html>busy</html>")),
        house.gateway.fault("/ivp/sc/sched", Status(401)),
        house.gateway.fault("/ivp/ss/gen_config", Truncated()),
        house.gateway.fault("/ivp/meters/reports", Body("Wi-Fi <b>no</b>")),
        house.gateway.fault("/inv", Drop()),
        house.gateway.fault("/ivp/ensemble/secctrl", Drop()),
    ):
        report: Report = await get_diagnostics_for_config_entry(hass, hass_client, house.entry)
    fixtures = report["fixtures"]
    broken = ("/inv", "/ivp/ensemble/secctrl")
    # A GET on a connection that broke is repeated by aiohttp.
    requested = [request.path for request in house.gateway.requests if request.path not in broken]
    assert len(requested) == len(set(requested)) > 25
    assert fixtures["/home"] | {"seconds": 0} == {
        "status": 503,
        "failure": None,
        "seconds": 0,
        "body": "<html>busy</html>",
    }
    assert fixtures["/ivp/sc/sched"]["status"] == 401
    assert fixtures["/ivp/ensemble/power"]["status"] == 200
    assert fixtures["/inv"]["status"] is None
    assert fixtures["/inv"]["failure"]
    # An endpoint that fails now is included with its response in the last poll.
    assert fixtures["/ivp/ensemble/secctrl"]["status"] == 200


async def test_a_gateway_that_is_unavailable(
    hass: HomeAssistant, hass_client: ClientSessionGenerator, set_up: SetUp
) -> None:
    house = await set_up()
    hass.config_entries.async_update_entry(house.entry, options={OPTION_FIXTURES: True})
    await hass.async_block_till_done()
    await house.gateway.go_away()
    await house.poll()
    report: Report = await get_diagnostics_for_config_entry(hass, hass_client, house.entry)
    polls = report["envoy_properties"]["polls"]
    assert polls["last_one_succeeded"] is False
    assert "cannot_connect" in polls["last_error"]
    assert "/ivp/meters/readings" in polls["failing_endpoints"]
    assert report["raw_data"]["/ivp/meters/readings"]
    assert report["fixtures"]["/ivp/meters/readings"]["status"] == 200
    assert house.gateway.host not in json.dumps(report)


async def test_an_entry_that_is_not_loaded(
    hass: HomeAssistant, hass_client: ClientSessionGenerator, set_up: SetUp
) -> None:
    house = await set_up()
    await hass.config_entries.async_unload(house.entry.entry_id)
    report: Report = await get_diagnostics_for_config_entry(hass, hass_client, house.entry)
    assert report["config_entry"]["state"] == "not_loaded"
    assert report["raw_data"] == report["envoy_properties"] == report["envoy_model_data"] == {}
    assert report["envoy_entities_by_device"][0]["entities"]
    assert house.gateway.serial not in json.dumps(report)
    device = dr.async_entries_for_config_entry(dr.async_get(hass), house.entry.entry_id)[0]
    assert await get_diagnostics_for_device(hass, hass_client, house.entry, device)


def test_replay_reports_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file.json"
    for text, message in (
        ("no JSON", "cannot be read"),
        ('{"data": {}}', "no fixtures"),
        ('{"data": {"fixtures": {"/../x": {"status": 200, "body": ""}}}}', "is no endpoint"),
        ('{"data": {"fixtures": {"/info": {}}}}', "cannot be read"),
        ("[]", "cannot be read"),
    ):
        file.write_text(text)
        assert replay([str(file)]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    with pytest.raises(FileNotFoundError):
        Recording(tmp_path)
    (tmp_path / "info").write_text("<html>")
    with pytest.raises(ValueError, match="names no sn"):
        Recording(tmp_path)


@pytest.mark.parametrize("levels", [300, 1_000, 5_000])
@pytest.mark.parametrize("path", ["/ivp/ss/pel_settings", "/admin/lib/wireless_display.json", "/ivp/ss/gen_config"])
async def test_documents_of_many_levels(
    hass: HomeAssistant, set_up: SetUp, hass_client: ClientSessionGenerator, levels: int, path: str
) -> None:
    """More than Home Assistant can serialise, and Python can process recursively: the text is kept."""
    house = await set_up("full_battery")
    hass.config_entries.async_update_entry(house.entry, options={OPTION_FIXTURES: True})
    house.gateway.fault(path, Body('{"a": [' * levels + '{"serial_num": "202226050419"}' + "]}" * levels))
    report = await get_diagnostics_for_config_entry(hass, hass_client, house.entry)
    assert "202226050419" not in json.dumps(report)
    await house.poll_all()
    report = await get_diagnostics_for_config_entry(hass, hass_client, house.entry)
    assert "202226050419" not in json.dumps(report)
