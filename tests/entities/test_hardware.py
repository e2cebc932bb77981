"""Added, missing and deleted hardware, and its entries in the device registry."""

from itertools import count
import re
from typing import Any

from homeassistant.components import websocket_api  # noqa: F401  (used to delete a device)
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr, entity_registry as er
import pytest

from custom_components.enphase_envoy import async_remove_config_entry_device
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.devices import async_is_present
from tests.helpers.integration import Installation, SetUp, Simulate, entity_id, entry_for, use_clock_of
from tests.simulator import Change, Held, Missing, Replace, Simulator, Status
from tests.simulator.hardware import Battery


def deletable(installation: Installation, identifier: str) -> bool:
    """Return whether the user may delete a device."""
    found = installation.device(identifier)
    assert found
    return not async_is_present(installation.entry, found)


async def test_new_inverter_and_battery_are_added_within_minutes(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    inverter = installation.gateway.house.add_inverter()
    installation.gateway.house.add_battery(Battery("492399999999"))
    await installation.pass_time(60)
    assert not installation.device(inverter.serial), "one answer is not enough"
    for _ in range(3):
        await installation.pass_time(60)
    assert installation.device(inverter.serial)
    assert hass.states.get(f"sensor.inverter_{inverter.serial}")
    assert installation.device("492399999999")
    state = hass.states.get("sensor.encharge_492399999999_battery")
    assert state
    assert state.state not in (STATE_UNAVAILABLE, "unknown")


async def test_inverter_missing_from_one_answer_stays_available(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("total_consumption")
    serial = next(iter(installation.coordinator.data.members("inverters")))
    with installation.gateway.fault("/api/v1/production/inverters", Missing("0"), count=1):
        for _ in range(12):
            await installation.pass_time(60)
            assert installation.states()[f"sensor.inverter_{serial}"] != STATE_UNAVAILABLE
        assert not deletable(installation, serial)


async def test_removed_inverter_can_be_deleted_and_added_again(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("total_consumption")
    serial = next(iter(installation.coordinator.data.members("inverters")))
    assert not deletable(installation, serial)
    with installation.gateway.fault("/api/v1/production/inverters", Missing("0")):
        for _ in range(5):
            await installation.pass_time(240)
        assert installation.states()[f"sensor.inverter_{serial}"] == STATE_UNAVAILABLE
        assert deletable(installation, serial)
    # Reported again before the device is deleted: its entities become available.
    await installation.poll_all()
    assert installation.states()[f"sensor.inverter_{serial}"] != STATE_UNAVAILABLE
    with installation.gateway.fault("/api/v1/production/inverters", Missing("0")):
        for _ in range(5):
            await installation.pass_time(240)
        found = installation.device(serial)
        assert found
        assert await async_remove_config_entry_device(hass, installation.entry, found)
        dr.async_get(hass).async_remove_device(found.id)
        await hass.async_block_till_done()
        assert f"sensor.inverter_{serial}" not in installation.states()
    await installation.poll_all()
    assert f"sensor.inverter_{serial}" not in installation.states(), "it is as new as any other"
    await installation.poll_all()
    assert installation.states()[f"sensor.inverter_{serial}"] != STATE_UNAVAILABLE


@pytest.mark.parametrize(
    ("profile", "identifiers"),
    [
        ("full_battery", ["202328041177", "202226050419", "NC1", "NO2", "492309017302", "202328041177_generator"]),
        ("collar", ["482520034417", "482523047190"]),
        ("ac_batteries", ["122116046628_acb", "121917031187"]),
    ],
)
async def test_reported_devices_can_not_be_deleted(
    hass: HomeAssistant, set_up: SetUp, profile: str, identifiers: list[str]
) -> None:
    installation = await set_up(profile)
    assert [identifier for identifier in identifiers if deletable(installation, identifier)] == []


@pytest.mark.parametrize(
    ("mode", "state"),
    [("ENCMN_MDE_ON_GRID", "on"), ("ENCMN_MDE_OFF_GRID", "off"), ("ENCMN_MDE_X", "unknown"), (None, "unknown")],
)
async def test_collar_reports_an_outage_by_its_mode(
    hass: HomeAssistant, set_up: SetUp, mode: str | None, state: str
) -> None:
    """Its `grid_state` stays on-grid in an outage."""
    installation = await set_up("collar")
    grid_status = entity_id(hass, "binary_sensor", "482520034417_admin_state_str")
    assert installation.states()[grid_status] == "on"
    with installation.gateway.fault("/ivp/ensemble/inventory", Replace("1.devices.0.admin_state_str", mode)):
        # A null is accepted when it was reported several times in a row.
        for _ in range(1 if mode else 21):
            await installation.poll_all()
        assert installation.states()[grid_status] == state
        assert installation.states()[entity_id(hass, "sensor", "482520034417_grid_state")] == "on_grid"
    installation.gateway.house.switch_grid(closed=False)
    await installation.poll_all()
    assert installation.states()[grid_status] == "off"


INVENTORY = "/ivp/ensemble/inventory"


@pytest.mark.usefixtures("entity_registry_enabled_by_default")
@pytest.mark.parametrize(
    ("platform", "unique_id", "path", "place"),
    [
        ("binary_sensor", "202226050419_mains_oper_state", INVENTORY, "1.devices.0.mains_oper_state"),
        ("switch", "202226050419_mains_admin_state", INVENTORY, "1.devices.0.mains_admin_state"),
        ("switch", "202226050419_relay_NC1_relay_status", "/ivp/ensemble/dry_contacts", "dry_contacts.0.status"),
        ("binary_sensor", "202328041177_generator_connected", "/ivp/ensemble/generator", "oper_state"),
    ],
)
async def test_an_unknown_position_of_a_relay_is_not_shown_as_open(
    hass: HomeAssistant, set_up: SetUp, platform: str, unique_id: str, path: str, place: str
) -> None:
    installation = await set_up("full_battery")
    name = entity_id(hass, platform, unique_id)
    for position, state in (
        ("closed", "on"),
        ("open", "off"),
        ("open synchronizing", "off"),
        ("tripped", "unknown"),
        ("", "unknown"),
    ):
        with installation.gateway.fault(path, Replace(place, position)):
            await installation.poll_all()
            assert installation.states()[name] == state, position


@pytest.mark.usefixtures("entity_registry_enabled_by_default")
@pytest.mark.parametrize(
    ("unique_id", "path", "place"),
    [
        ("492309017302_dc_switch", INVENTORY, "0.devices.0.dc_switch_off"),
        ("202328041177_generator_exercising", "/ivp/ensemble/generator", "exc_on"),
        ("202226050419_mains_oper_state", INVENTORY, "1.devices.0.mains_oper_state"),
    ],
)
async def test_what_is_null_is_unknown(
    hass: HomeAssistant, simulate: Simulate, unique_id: str, path: str, place: str
) -> None:
    simulator = await simulate("full_battery")
    with simulator.fault(path, Replace(place, None)):
        entry = entry_for(simulator)
        entry.add_to_hass(hass)
        assert await hass.config_entries.async_setup(entry.entry_id)
        await hass.async_block_till_done()
        state = hass.states.get(entity_id(hass, "binary_sensor", unique_id))
        assert state
        assert state.state == "unknown"


@pytest.mark.usefixtures("entity_registry_enabled_by_default")
@pytest.mark.parametrize(
    ("profile", "kinds"),
    [
        ("full_battery", {"inverter", "encharge", "enpower"}),
        ("collar", {"inverter", "encharge", "collar", "c6_combiner"}),
        ("ac_batteries", {"inverter", "ac_battery"}),
    ],
)
async def test_hardware_that_never_reported_has_no_time_of_a_report(
    hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch, profile: str, kinds: set[str]
) -> None:
    """The date of its report is 0."""
    dates = {"lastReportDate", "last_rpt_date", "endDate"}

    def never(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: 0 if key in dates else never(item) for key, item in value.items()}
        return [never(item) for item in value] if isinstance(value, list) else value

    gateway = await simulate(profile)
    with gateway.fault("*", Change(never)):
        installation = await set_up_for(hass, gateway, monkeypatch)
    times = {name: state for name, state in installation.states().items() if name.endswith("_last_reported")}
    assert {re.sub(r"^sensor\.|_\d+_last_reported$", "", name) for name in times} == kinds
    assert set(times.values()) == {"unknown"}
    await hass.config_entries.async_unload(installation.entry.entry_id)


async def test_relay_has_the_name_of_its_load(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    names = {}
    for identifier in ("NC1", "NO2"):
        found = installation.device(identifier)
        assert found
        names[identifier] = found.name
    assert names == {"NC1": "Pool pump", "NO2": "Relay NO2"}
    installation.gateway.house.relay("NO2").load_name = "Sauna"
    await installation.poll_all()
    found = installation.device("NO2")
    assert found
    assert found.name == "Sauna"
    assert er.async_get(hass).async_get_entity_id("switch", DOMAIN, "202226050419_relay_NO2_relay_status")


async def test_firmware_of_a_device_is_updated(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    with installation.gateway.fault("/ivp/ensemble/inventory", Replace("*.devices.*.img_pnum_running", "9.9.9")):
        await installation.poll_all()
    found = installation.device("492309017302")
    assert found
    assert found.sw_version == "9.9.9"


async def test_mac_address_becomes_a_connection_of_the_gateways_device(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("metered_1phase")
    found = installation.device(installation.gateway.serial)
    assert found
    assert not found.connections
    await installation.pass_time(31)
    found = installation.device(installation.gateway.serial)
    assert found
    assert [kind for kind, _ in found.connections] == ["mac"]
    assert len([request for request in installation.gateway.requests if request.path == "/home"]) == 1


def registered(hass: HomeAssistant) -> tuple[set[str], set[str]]:
    """Return all entities and devices of the registries."""
    entries = hass.config_entries.async_entries(DOMAIN)
    devices = [
        device for entry in entries for device in dr.async_entries_for_config_entry(dr.async_get(hass), entry.entry_id)
    ]
    return set(er.async_get(hass).entities), {device.id for device in devices}


async def set_up_for(hass: HomeAssistant, gateway: Simulator, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Set up an entry for a simulated gateway, on its clock."""
    use_clock_of(gateway, monkeypatch)
    entry = entry_for(gateway)
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    return Installation(hass, gateway, entry)


INVENTORY = "/ivp/ensemble/inventory"
ENPOWER = "202226050419"
OTHER = "202226059999"


def with_serial(serial: str) -> Change:
    """Report another serial number of the system controller."""

    def change(document: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for group in document:
            if group["type"] == "ENPOWER":
                group["devices"][0]["serial_num"] = serial
        return document

    return Change(change)


@pytest.mark.parametrize("serial", [OTHER, "[x](http://x.example)", "1" * 100, "\u202e123", "n/a", ""])
async def test_a_wrong_serial_number_of_a_controller_at_a_reload_adds_nothing(
    hass: HomeAssistant, set_up: SetUp, serial: str
) -> None:
    installation = await set_up("full_battery")
    before = registered(hass)
    with installation.gateway.fault(INVENTORY, with_serial(serial)):
        await hass.config_entries.async_reload(installation.entry.entry_id)
        await hass.async_block_till_done()
    for _ in range(3):
        await installation.pass_time(60)
    assert registered(hass) == before
    assert not installation.unavailable()


async def test_other_serial_numbers_in_every_answer_add_nothing(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    before = registered(hass)
    numbers = count(600_000_000_000)

    def change(document: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for group in document:
            for each in group["devices"]:
                each["serial_num"] = str(next(numbers))
        return document

    with installation.gateway.fault(INVENTORY, Change(change)):
        for _ in range(10):
            await installation.poll_all()
    assert registered(hass) == before
    await installation.poll_all()
    assert not installation.unavailable()


@pytest.mark.parametrize("many", [201, 1000])
async def test_more_batteries_than_any_gateway_has_are_no_document(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture, many: int
) -> None:
    installation = await set_up("full_battery")
    before = registered(hass)

    def change(document: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for group in document:
            if group["type"] == "ENCHARGE":
                first = group["devices"][0]
                group["devices"] = [first | {"serial_num": str(600_000_000_000 + n)} for n in range(many)]
        return document

    caplog.clear()
    with installation.gateway.fault(INVENTORY, Change(change)):
        for _ in range(5):
            await installation.poll_all()
    assert registered(hass) == before
    assert len([line for line in caplog.messages if INVENTORY in line and "fails" in line]) == 1


async def test_60_batteries_and_600_inverters_are_added_at_once(
    hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await simulate("full_battery", inverters=600)
    for number in range(58):
        gateway.house.add_battery(Battery(str(492_300_000_000 + number)))
    entry = (await set_up_for(hass, gateway, monkeypatch)).entry
    names = [device.name or "" for device in dr.async_entries_for_config_entry(dr.async_get(hass), entry.entry_id)]
    assert len([name for name in names if name.startswith("Encharge")]) == 60
    assert len([name for name in names if name.startswith("Inverter")]) == 600
    await hass.config_entries.async_unload(entry.entry_id)


async def test_an_exchanged_controller_appears_without_a_reload(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    old = {state.entity_id for state in hass.states.async_all() if ENPOWER in state.entity_id}
    assert len(old) > 6
    assert not installation.device(OTHER)
    installation.gateway.fault(INVENTORY, with_serial(OTHER))
    for minutes in range(8):
        await installation.pass_time(60)
        assert minutes > 3 or not installation.device(OTHER)
    assert installation.device(OTHER)
    states = installation.states()
    new = {entity_id for entity_id in states if OTHER in entity_id}
    assert len(new) >= len(old)
    assert STATE_UNAVAILABLE not in {states[entity_id] for entity_id in new}
    assert {states[entity_id] for entity_id in old} == {STATE_UNAVAILABLE}
    # And the former one again.
    installation.gateway.faults.clear()
    for _ in range(8):
        await installation.pass_time(60)
    states = installation.states()
    assert STATE_UNAVAILABLE not in {states[entity_id] for entity_id in old}
    assert {states[entity_id] for entity_id in new} == {STATE_UNAVAILABLE}


async def reload(installation: Installation) -> None:
    """Unload and set up the entry, as at a restart: only stored data is left."""
    await installation.hass.config_entries.async_reload(installation.entry.entry_id)
    await installation.hass.async_block_till_done()


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_system_grows_from_3_to_40_inverters_at_once(
    hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch, *, restarts: bool
) -> None:
    gateway = await simulate("full_battery", inverters=3)
    installation = await set_up_for(hass, gateway, monkeypatch)
    first = set(installation.coordinator.data.members("inverters"))
    assert len(first) == 3
    new = {installation.gateway.house.add_inverter().serial for _ in range(37)}
    await installation.pass_time(60)
    if restarts:
        await reload(installation)
    for _ in range(3):
        await installation.pass_time(60)
    assert set(installation.coordinator.data.members("inverters")) == first | new
    assert all(installation.device(serial) for serial in new)
    states = installation.states()
    assert STATE_UNAVAILABLE not in {states[f"sensor.inverter_{serial}"] for serial in first | new}
    await hass.config_entries.async_unload(installation.entry.entry_id)


async def test_a_battery_added_during_a_restart_is_added(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    installation.gateway.house.add_battery(Battery("492399999999"))
    await reload(installation)
    for _ in range(3):
        await installation.pass_time(60)
    assert installation.device("492399999999")
    assert installation.states()["sensor.encharge_492399999999_battery"] not in (STATE_UNAVAILABLE, "unknown")
    assert not installation.unavailable()


async def test_new_hardware_stays_after_a_restart(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    installation.gateway.house.add_battery(Battery("492399999999"))
    for _ in range(4):
        await installation.pass_time(60)
    before = registered(hass)
    assert installation.device("492399999999")
    await reload(installation)
    assert not installation.unavailable(), "one answer is enough for known hardware"
    assert registered(hass) == before


@pytest.mark.parametrize("path", [INVENTORY, "/api/v1/production/inverters", "/ivp/pdm/device_data"])
async def test_an_endpoint_that_fails_at_the_first_set_up_adds_its_objects_later(
    hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    gateway = await simulate("full_battery")
    with gateway.fault(path, Status(503)):
        installation = await set_up_for(hass, gateway, monkeypatch)
    inverters, batteries = gateway.house.inverters, gateway.house.batteries
    for _ in range(12):
        await installation.pass_time(60)
    assert all(installation.device(each.serial) for each in inverters)
    assert all(installation.device(each.serial) for each in batteries)
    assert installation.device(ENPOWER)
    assert not installation.unavailable()
    await hass.config_entries.async_unload(installation.entry.entry_id)


async def test_the_first_set_up_waits_for_a_slow_endpoint(
    hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await simulate("full_battery")
    held = Held()
    with gateway.fault(INVENTORY, held):
        setup = hass.async_create_task(set_up_for(hass, gateway, monkeypatch))
        await held.waiting.wait()
        held.release()
        installation = await setup
    assert installation.device(ENPOWER)
    assert all(installation.device(battery.serial) for battery in gateway.house.batteries)
    assert not installation.unavailable()
    await hass.config_entries.async_unload(installation.entry.entry_id)


@pytest.mark.parametrize("objects", [None, [], "text", [5, None]])
async def test_documents_stored_without_identities_add_all_objects_at_once(
    hass: HomeAssistant, set_up: SetUp, hass_storage: dict[str, Any], objects: object
) -> None:
    """Earlier versions stored documents alone."""
    installation = await set_up("full_battery")
    before = registered(hass)
    assert await hass.config_entries.async_unload(installation.entry.entry_id)
    data = hass_storage[f"{DOMAIN}.{installation.entry.entry_id}.documents"]["data"]
    assert data.pop("objects")
    if objects is not None:
        data["objects"] = objects
    assert await hass.config_entries.async_setup(installation.entry.entry_id)
    await hass.async_block_till_done()
    assert not installation.unavailable()
    assert registered(hass) == before
    # New hardware needs two answers after the update as well.
    installation.gateway.house.add_battery(Battery("492399999999"))
    await installation.poll_all()
    assert not installation.device("492399999999")
    await installation.poll()
    assert installation.device("492399999999")
