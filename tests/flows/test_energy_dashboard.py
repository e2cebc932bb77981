"""The Energy dashboard: the sources of each system, validated by the energy integration; existing ones are kept."""

from copy import deepcopy
from datetime import timedelta
from typing import Any, cast

from homeassistant.components.energy import data as energy
from homeassistant.components.energy.validate import async_validate
from homeassistant.components.recorder import Recorder
from homeassistant.config_entries import ConfigFlowResult
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import device_registry as dr, entity_registry as er
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.components.recorder.common import (
    async_wait_recording_done,
    do_adhoc_statistics,
)
from pytest_homeassistant_custom_component.typing import WebSocketGenerator
import voluptuous as vol

from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.integration import Installation, SetUp
from tests.simulator.profiles import PROFILES
from tests.tools.test_translations import PLACEHOLDER, tree

SOLAR = {"stat_energy_from": "lifetime_production", "stat_rate": "production"}
GRID = {
    "stat_energy_from": "lifetime_net_consumption",
    "stat_energy_to": "lifetime_net_production",
    "stat_rate": "net_consumption",
}
BATTERY = {
    "stat_energy_from": "lifetime_battery_discharged",
    "stat_energy_to": "lifetime_battery_charged",
    "stat_rate": "battery_discharge",
    "stat_soc": "battery_level",
    "capacity": 10.0,
}
#: Virtual meters that replace a missing one.
GRID_WORKED_OUT = {
    "stat_energy_from": "lifetime_grid_import",
    "stat_energy_to": "lifetime_grid_export",
    "stat_rate": "grid_power",
}
BATTERY_WORKED_OUT = {
    "stat_energy_from": "lifetime_battery_energy_discharged",
    "stat_energy_to": "lifetime_battery_energy_charged",
    "stat_rate": "battery_power",
}
HOUSE = {"stat_energy_to": "lifetime_house_consumption", "stat_rate": "house_power"}
CONSUMPTION = {"stat_energy_to": "lifetime_consumption", "stat_rate": "consumption"}
#: Selected in the form for a system with a consumption meter if this version (2026.11) has such a source.
HOME = {"home": True} if hasattr(energy, "HomeSourceType") else {}
#: Sources of each simulated system: keys of sensors, and the capacity of its batteries in kWh.
HAS: dict[str, dict[str, dict[str, Any]]] = {
    "legacy_3_9": {"solar": SOLAR},
    "legacy_5": {"solar": SOLAR},
    "standard_7_6": {"solar": SOLAR},
    "metered_1phase": {"solar": SOLAR, "grid": GRID},
    "total_consumption": {"solar": SOLAR, "grid": GRID_WORKED_OUT},
    "three_phase": {"solar": SOLAR, "grid": GRID},
    "full_battery": {"solar": SOLAR, "grid": GRID, "battery": BATTERY},
    "ac_batteries": {"solar": SOLAR, "grid": GRID, "battery": BATTERY_WORKED_OUT | {"stat_soc": "acb_soc"}},
    "battery_total": {
        "solar": SOLAR,
        "grid": GRID_WORKED_OUT,
        "battery": BATTERY_WORKED_OUT | {"stat_soc": "battery_level", "capacity": 10.0},
    },
    "collar": {"solar": SOLAR, "grid": GRID, "battery": BATTERY},
    "sixty_inverters": {"solar": SOLAR, "grid": GRID},
}
#: Sources of other integrations in an existing dashboard.
OWN: dict[str, list[dict[str, Any]]] = {
    "energy_sources": [
        {
            "type": "grid",
            "stat_energy_from": "sensor.smart_meter_import",
            "stat_energy_to": None,
            "stat_cost": None,
            "entity_energy_price": None,
            "number_energy_price": 0.31,
            "stat_compensation": None,
            "entity_energy_price_export": None,
            "number_energy_price_export": None,
            "stat_rate": "sensor.smart_meter_power",
            "cost_adjustment_day": 0.25,
            "name": "Meter in the cellar",
        },
        {"type": "gas", "stat_energy_from": "sensor.gas", "stat_cost": "sensor.gas_cost", "number_energy_price": None},
        {"type": "water", "stat_energy_from": "utility:water"},
    ],
    "device_consumption": [{"stat_consumption": "sensor.kettle", "name": "Kettle"}],
    "device_consumption_water": [{"stat_consumption": "sensor.shower"}],
}


@pytest.fixture(autouse=True)
async def _home_assistant(recorder_mock: Recorder, _home_assistant: None, hass: HomeAssistant) -> None:
    """Set up the recorder, which must come first, and the energy integration."""
    assert await async_setup_component(hass, "energy", {})


async def begin(house: Installation) -> ConfigFlowResult:
    """Start the options flow and select the menu option."""
    flows = house.hass.config_entries.options
    menu = await flows.async_init(house.entry.entry_id)
    assert menu["type"] is FlowResultType.MENU
    assert {"energy_dashboard", "options"} <= {*cast(list[str], menu["menu_options"])}
    return await flows.async_configure(menu["flow_id"], {"next_step_id": "energy_dashboard"})


async def add(house: Installation, **changes: bool) -> ConfigFlowResult:
    """Submit the form with its defaults, except for the given fields."""
    form = await begin(house)
    assert form["type"] is FlowResultType.FORM
    ticks = shown(form)
    assert changes.keys() <= ticks.keys()
    return await house.hass.config_entries.options.async_configure(form["flow_id"], ticks | changes)


def shown(form: ConfigFlowResult) -> dict[str, bool]:
    """Return the fields of a form with their defaults."""
    assert form["data_schema"] is not None
    ticks: dict[str, bool] = form["data_schema"]({})
    return ticks


async def preferences(hass: HomeAssistant) -> dict[str, Any]:
    """Return the stored preferences of the dashboard."""
    manager = await energy.async_get_manager(hass)
    return dict(manager.data or manager.default_preferences())


async def sources(hass: HomeAssistant) -> list[dict[str, Any]]:
    """Return the sources of the dashboard."""
    found: list[dict[str, Any]] = (await preferences(hass))["energy_sources"]
    return found


def sensor(house: Installation, key: str) -> str:
    """Return the entity of a sensor of the gateway."""
    entity_id = er.async_get(house.hass).async_get_entity_id("sensor", DOMAIN, f"{house.gateway.serial}_{key}")
    assert entity_id, key
    return entity_id


def source(house: Installation, kind: str, keys: dict[str, Any]) -> dict[str, Any]:
    """Return a source as the dashboard's own dialog saves it when no tariff is chosen."""
    fields = {name: sensor(house, key) if name.startswith("stat_") else key for name, key in keys.items()}
    several = len(house.hass.config_entries.async_entries(DOMAIN)) > 1
    fields["name"] = f"{house.entry.title} {kind.capitalize()}" if several else kind.capitalize()
    if kind == "solar":
        return {"type": kind, "config_entry_solar_forecast": None, **fields}
    if kind in ("grid", "battery") and "stat_rate" in fields:
        fields["power_config"] = {"stat_rate": fields["stat_rate"]}
    if kind != "grid":
        return {"type": kind, **fields}
    nothing = (
        *("stat_energy_from", "stat_energy_to", "stat_cost", "entity_energy_price", "number_energy_price"),
        *("stat_compensation", "entity_energy_price_export", "number_energy_price_export"),
    )
    return {"type": kind, **dict.fromkeys(nothing), "cost_adjustment_day": 0, **fields}


def expected(profile: str) -> dict[str, dict[str, Any]]:
    """Return the sources of a system, with home consumption if this version supports it."""
    has = HAS[profile]
    home = HOUSE if "battery" in has and has["grid"] is GRID else CONSUMPTION
    return has | ({"home": home} if PROFILES[profile].cts and HOME else {})


async def complaints(hass: HomeAssistant) -> list[str]:
    """Return the dashboard's validation errors after the first statistics."""
    await async_wait_recording_done(hass)
    now = dt_util.utcnow()
    do_adhoc_statistics(
        hass, start=now - timedelta(minutes=now.minute % 5, seconds=now.second, microseconds=now.microsecond)
    )
    await async_wait_recording_done(hass)
    found = (await async_validate(hass)).as_dict()
    return [f"{issue['type']}: {issue['affected_entities']}" for of_one in found["energy_sources"] for issue in of_one]


@pytest.mark.parametrize("profile", PROFILES)
async def test_added_sources_equal_those_of_the_dashboards_own_dialog(
    hass: HomeAssistant, set_up: SetUp, hass_ws_client: WebSocketGenerator, profile: str
) -> None:
    house = await set_up(profile)

    done = await add(house)

    assert (done["type"], done["reason"]) == (FlowResultType.ABORT, "added")
    added = await sources(hass)
    assert added == [source(house, kind, keys) for kind, keys in expected(profile).items()]
    assert await complaints(hass) == []
    client = await hass_ws_client(hass)
    await client.send_json_auto_id({"type": "energy/save_prefs", "energy_sources": added})
    assert (await client.receive_json())["success"]
    assert await sources(hass) == added


async def test_a_second_time_there_is_nothing_to_add(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up()
    await add(house)
    before = deepcopy(await preferences(hass))

    again = await begin(house)

    assert (again["type"], again["reason"]) == (FlowResultType.ABORT, "all_there")
    assert await preferences(hass) == before


async def test_the_form_shows_the_sensors(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up()
    er.async_get(hass).async_update_entity(sensor(house, "production"), name="Roof")

    form = await begin(house)

    assert shown(form) == HOME | {"solar": True, "grid": True, "battery": True}
    texts = form["description_placeholders"]
    assert texts is not None
    assert texts["solar_energy_from"] == "Lifetime energy production"
    assert texts["solar_power"] == "Roof"
    assert texts["grid_energy_to"] == "Lifetime net energy production"
    assert texts["battery_capacity"] == "10 kWh"


@pytest.mark.parametrize("kind", ["solar", "grid", "battery"])
async def test_a_deselected_source_is_not_added(hass: HomeAssistant, set_up: SetUp, kind: str) -> None:
    house = await set_up()

    await add(house, **{kind: False})

    assert {added["type"] for added in await sources(hass)} == {"solar", "grid", "battery", *HOME} - {kind}
    assert shown(await begin(house)) == {kind: True}


async def test_at_least_one_source_must_be_selected(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("legacy_5")

    form = await add(house, solar=False)

    assert form["errors"] == {"base": "nothing_chosen"}
    assert await sources(hass) == []


async def test_existing_sources_are_unchanged(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up()
    manager = await energy.async_get_manager(hass)
    await manager.async_update(deepcopy(OWN))  # type: ignore[arg-type]

    await add(house)

    after = await preferences(hass)
    assert [added["type"] for added in after["energy_sources"]] == ["grid", "gas", "water", "solar", "battery", *HOME]
    assert after | {"energy_sources": after["energy_sources"][:3]} == OWN


async def test_a_second_grid_connection_is_deselected_by_default(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up()
    manager = await energy.async_get_manager(hass)
    await manager.async_update(deepcopy(OWN))  # type: ignore[arg-type]
    assert shown(await begin(house)) == HOME | {"solar": True, "grid_again": False, "battery": True}

    await add(house, grid_again=True)

    assert source(house, "grid", GRID) in await sources(hass)


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (("stat_energy_from",), ("stat_energy_to", "stat_rate")),
        (("stat_energy_to",), ("stat_energy_from", "stat_rate")),
        (("stat_energy_from", "stat_rate"), ("stat_energy_to",)),
    ],
)
async def test_a_missing_direction_of_the_grid_is_added(
    hass: HomeAssistant, set_up: SetUp, there: tuple[str, ...], missing: tuple[str, ...]
) -> None:
    house = await set_up("metered_1phase")
    manager = await energy.async_get_manager(hass)
    half = source(house, "grid", {field: GRID[field] for field in there})
    await manager.async_update({"energy_sources": [half]})  # type: ignore[typeddict-item]

    await add(house)

    other = source(house, "grid", {field: GRID[field] for field in missing})
    assert [found for found in await sources(hass) if found["type"] == "grid"] == [half, other]
    assert (await begin(house))["reason"] == "all_there"


async def test_a_battery_with_one_counter_in_use_is_not_added(hass: HomeAssistant, set_up: SetUp) -> None:
    """The user has combined one of its counters with another sensor on purpose."""
    house = await set_up()
    own = {"type": "battery", "stat_energy_from": sensor(house, "lifetime_battery_discharged"), "stat_energy_to": "a:b"}
    manager = await energy.async_get_manager(hass)
    await manager.async_update({"energy_sources": [own]})  # type: ignore[typeddict-item]

    assert shown(await begin(house)) == HOME | {"solar": True, "grid": True}


async def test_each_gateway_adds_its_own(hass: HomeAssistant, set_up: SetUp) -> None:
    one, other = await set_up("metered_1phase"), await set_up("three_phase")

    await add(one)
    assert shown(await begin(other)) == {"solar": True, "grid": True, "grid_balanced": False}
    await add(other)

    added = [found for found in await sources(hass) if found["type"] not in HOME]
    assert added[2]["name"] == f"{other.entry.title} Solar"
    assert added == [
        source(house, kind, keys) for house in (one, other) for kind, keys in (("solar", SOLAR), ("grid", GRID))
    ]


async def test_phases_are_balanced_instead_of_the_sum_of_the_phases(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("three_phase")
    form = await add(house, grid_balanced=True)
    assert form["errors"] == {"base": "grid_twice"}

    done = await add(house, grid=False, grid_balanced=True)

    assert done["reason"] == "added"
    balanced = {
        "stat_energy_from": "lifetime_balanced_grid_import",
        "stat_energy_to": "lifetime_balanced_grid_export",
        "stat_rate": "net_consumption",
    }
    assert await sources(hass) == [source(house, "solar", SOLAR), source(house, "grid", balanced)]
    assert not any(er.async_get(hass).entities[sensor(house, key)].disabled for key in balanced.values())
    assert (await begin(house))["reason"] == "all_there"


async def test_a_battery_of_another_device_is_another_battery(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up()
    entry = MockConfigEntry(domain="other")
    entry.add_to_hass(hass)
    device = dr.async_get(hass).async_get_or_create(config_entry_id=entry.entry_id, identifiers={("other", "1")})
    theirs = [
        er.async_get(hass)
        .async_get_or_create("sensor", "other", name, config_entry=entry, device_id=device.id)
        .entity_id
        for name in ("out", "in", "sun", "bought")
    ]
    await own_sources(hass, *theirs)

    assert shown(await begin(house)) == HOME | {"solar": True, "grid_again": False, "battery": True}


async def test_helpers_of_this_gateways_sensors_count_twice(hass: HomeAssistant, set_up: SetUp) -> None:
    """A helper belongs to the device of its source sensor, a template to none."""
    house = await set_up()
    device = er.async_get(hass).async_get(sensor(house, "battery_discharge"))
    assert device
    registry = er.async_get(hass)
    helper = registry.async_get_or_create("sensor", "integration", "1", device_id=device.device_id).entity_id
    template = registry.async_get_or_create("sensor", "template", "1").entity_id
    await own_sources(hass, helper, template, sensor(house, "daily_production"), "vendor:bought")

    assert shown(await begin(house)) == HOME | {"solar_again": False, "grid_again": False, "battery_again": False}


async def own_sources(hass: HomeAssistant, discharged: str, charged: str, sun: str, bought: str) -> None:
    """Return a dashboard with a battery, panels and a grid."""
    given = [
        {"type": "battery", "stat_energy_from": discharged, "stat_energy_to": charged},
        {"type": "solar", "stat_energy_from": sun, "config_entry_solar_forecast": None},
        {"type": "grid", "stat_energy_from": bought, "stat_energy_to": None, "cost_adjustment_day": 0},
    ]
    await (await energy.async_get_manager(hass)).async_update({"energy_sources": given})  # type: ignore[typeddict-item]


async def test_a_renamed_sensor_is_added_under_its_new_name(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("legacy_5")
    er.async_get(hass).async_update_entity(sensor(house, "lifetime_production"), new_entity_id="sensor.sun")
    await hass.async_block_till_done()

    await add(house)

    assert (await sources(hass))[0]["stat_energy_from"] == "sensor.sun"


@pytest.mark.parametrize("ticked", [True, False])
async def test_a_disabled_sensor_is_enabled_when_it_is_added(
    hass: HomeAssistant, set_up: SetUp, *, ticked: bool
) -> None:
    house = await set_up("metered_1phase")
    registry = er.async_get(hass)
    disabled = sensor(house, "net_consumption"), sensor(house, "lifetime_net_production")
    for entity_id in disabled:
        registry.async_update_entity(entity_id, disabled_by=er.RegistryEntryDisabler.USER)
    await hass.config_entries.async_reload(house.entry.entry_id)
    await hass.async_block_till_done()

    await add(house, grid=ticked)

    assert (source(house, "grid", GRID) in await sources(hass)) == ticked
    for entity_id in disabled:
        assert (entity := registry.async_get(entity_id))
        assert entity.disabled != ticked


async def test_a_sensor_disabled_with_its_device_is_not_offered(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("metered_1phase")
    production = er.async_get(hass).async_get(sensor(house, "production"))
    assert production
    assert production.device_id
    dr.async_get(hass).async_update_device(production.device_id, disabled_by=dr.DeviceEntryDisabler.USER)
    await hass.async_block_till_done()

    assert (await begin(house))["reason"] == "nothing_to_add"


async def test_a_grid_that_lost_a_sensor_is_not_offered(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("metered_1phase")
    er.async_get(hass).async_remove(sensor(house, "lifetime_net_production"))

    assert shown(await begin(house)) == HOME | {"solar": True}


@pytest.mark.parametrize("restored", [False, True])
async def test_a_meter_without_a_value_is_not_offered(hass: HomeAssistant, set_up: SetUp, *, restored: bool) -> None:
    """A meter without a value for a moment is not replaced by another; a removed meter has left its entity."""
    house = await set_up()
    attributes = {"restored": True} if restored else {}
    hass.states.async_set(sensor(house, "lifetime_battery_charged"), "unavailable", attributes)
    assert shown(await begin(house)) == HOME | {"solar": True, "grid": True}

    for key in BATTERY_WORKED_OUT.values():
        provide(house, key)

    form = await begin(house)
    assert ("battery" in shown(form)) == restored
    await hass.config_entries.options.async_configure(form["flow_id"], shown(form))
    battery = source(house, "battery", BATTERY | BATTERY_WORKED_OUT)
    assert (battery in await sources(hass)) == restored


async def test_a_house_without_any_value_has_nothing_to_add(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("legacy_5")
    hass.states.async_set(sensor(house, "lifetime_production"), "unavailable")

    assert (await begin(house))["reason"] == "nothing_to_add"


def provide(house: Installation, key: str) -> None:
    """Register a sensor, whether the gateway has its source or not."""
    unique_id = f"{house.gateway.serial}_{key}"
    registry = er.async_get(house.hass)
    entity = registry.async_get_or_create("sensor", DOMAIN, unique_id, config_entry=house.entry)
    if not house.hass.states.get(entity.entity_id):
        house.hass.states.async_set(entity.entity_id, "1")


class _Schema:
    """The energy module's schema without some fields and with the source that 2026.11 adds."""

    def __init__(self, *, home: bool, unknown: tuple[str, ...] = ()) -> None:
        self._real = energy.ENERGY_SOURCE_SCHEMA
        self._home = home
        self._unknown = unknown

    def __call__(self, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for one in given:
            if any(field in one for field in self._unknown):
                raise vol.Invalid("extra keys not allowed")
            if not (one["type"] == "home" and self._home):
                self._real([one])
            elif one.keys() - {"type", "stat_energy_to", "stat_rate", "name"}:
                raise vol.Invalid("extra keys not allowed")
        return given


@pytest.mark.parametrize(
    ("keys", "best"),
    [
        ((), CONSUMPTION),
        (("lifetime_house_consumption",), {"stat_energy_to": "lifetime_house_consumption"}),
    ],
)
async def test_home_consumption_is_added_once_if_supported(
    hass: HomeAssistant,
    set_up: SetUp,
    monkeypatch: pytest.MonkeyPatch,
    keys: tuple[str, ...],
    best: dict[str, str],
) -> None:
    monkeypatch.setattr(energy, "ENERGY_SOURCE_SCHEMA", _Schema(home=True))
    one, other = await set_up("metered_1phase"), await set_up("three_phase")
    for key in keys:
        provide(one, key)
    assert shown(await begin(one)) == {"solar": True, "grid": True, "home": True}

    await add(one)

    assert (await sources(hass))[-1] == source(one, "home", best)
    assert shown(await begin(other)) == {"solar": True, "grid": True, "grid_balanced": False}


async def test_unsupported_fields_and_sources_are_left_out(
    hass: HomeAssistant, set_up: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "ENERGY_SOURCE_SCHEMA", _Schema(home=bool(HOME), unknown=("stat_soc", "capacity")))
    house = await set_up()
    form = await begin(house)
    assert (form["description_placeholders"] or {})["battery_capacity"] == "-"

    await add(house)

    known = {field: key for field, key in BATTERY.items() if field not in ("stat_soc", "capacity")}
    assert source(house, "battery", known) in await sources(hass)


async def test_an_entry_that_is_not_loaded_has_options_only(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up()
    form = await begin(house)
    await hass.config_entries.async_unload(house.entry.entry_id)

    late = await hass.config_entries.options.async_configure(form["flow_id"], shown(form))
    assert (late["type"], late["reason"]) == (FlowResultType.ABORT, "not_read")
    assert await sources(hass) == []

    options = await hass.config_entries.options.async_init(house.entry.entry_id)
    assert (options["type"], options["step_id"]) == (FlowResultType.FORM, "options")
    await hass.config_entries.async_setup(house.entry.entry_id)


async def test_the_options_are_behind_the_menu(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("legacy_5")
    flows = hass.config_entries.options
    menu = await flows.async_init(house.entry.entry_id)
    form = await flows.async_configure(menu["flow_id"], {"next_step_id": "options"})

    await flows.async_configure(form["flow_id"], shown(form) | {"poll_interval": 90})
    await hass.async_block_till_done()

    assert house.entry.options["poll_interval"] == 90


async def test_every_text_of_the_form_can_be_filled(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up()
    form = await begin(house)
    texts = tree("en")["options"]
    step = texts["step"]["energy_dashboard"]
    filled = {f"{{{name}}}" for name in form["description_placeholders"] or {}}
    assert step["data"].keys() == step["data_description"].keys()
    for field in shown(form):
        for name in step["data"].keys() & {field, f"{field}_again"}:
            assert set(PLACEHOLDER.findall(step["data_description"][name])) <= filled
    assert set(texts["step"]["init"]["menu_options"]) == {
        "energy_dashboard",
        "options",
        "battery_cloud",
        "repair_statistics",
    }
    assert set(texts["abort"]) >= {"added", "not_read", "all_there", "nothing_to_add"}
    assert "nothing_chosen" in texts["error"]
