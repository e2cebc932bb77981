"""Options, reloads, removal: nothing is left over."""

import asyncio
import gc

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import entity_registry as er, issue_registry as ir
import pytest

from custom_components.enphase_envoy.client.gateway import Gateway
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.coordinator import EnvoyCoordinator
from custom_components.enphase_envoy.energy.settings_monitor import SettingOutcome, SettingResult
from custom_components.enphase_envoy.issues import async_report_certificate, async_report_setting
from tests.helpers.integration import Installation, SetUp, Simulate, entry_for


async def choose(hass: HomeAssistant, house: Installation, **options: object) -> None:
    """Set options with the options flow."""
    flow = await hass.config_entries.options.async_init(house.entry.entry_id)
    given = {
        "poll_interval": 60,
        "disable_keep_alive": False,
        "pin_certificate": False,
        "diagnostics_include_fixtures": False,
    } | options
    await hass.config_entries.options.async_configure(flow["flow_id"], given)
    await hass.async_block_till_done()
    assert house.entry.state is ConfigEntryState.LOADED


async def test_without_an_energy_dashboard_there_is_no_menu(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("legacy_5")
    shown = await hass.config_entries.options.async_init(house.entry.entry_id)
    assert (shown["type"], shown["step_id"]) == (FlowResultType.FORM, "options")


async def test_the_poll_interval_is_an_option(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("metered_1phase")
    await choose(hass, house, poll_interval=120)
    assert house.entry.options["poll_interval"] == 120
    await house.pass_time(31)
    house.gateway.requests.clear()
    await house.pass_time(80)
    assert not house.gateway.requests
    await house.pass_time(10)
    assert house.gateway.requests


async def test_a_long_poll_interval_holds_values_for_three_polls(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("metered_1phase")
    await choose(hass, house, poll_interval=300)
    await house.gateway.go_away()
    power = f"sensor.envoy_{house.gateway.serial}_current_power_production"
    await house.pass_time(899)
    assert house.states()[power] != "unavailable"
    await house.pass_time(2)
    assert house.states()[power] == "unavailable"


@pytest.mark.parametrize(("option", "connections"), [(False, 2), (True, 5)])
async def test_a_new_connection_for_each_request_is_an_option(
    hass: HomeAssistant, set_up: SetUp, monkeypatch: pytest.MonkeyPatch, option: bool, connections: int
) -> None:
    house = await set_up("metered_1phase")
    await choose(hass, house, disable_keep_alive=option)
    seen: set[int] = set()
    count = 0
    handle = type(house.gateway)._handle

    async def count_connections(self: object, request: object) -> object:
        nonlocal count
        count += 1
        seen.add(id(request.transport))  # type: ignore[attr-defined]
        kept.append(request.transport)  # type: ignore[attr-defined]
        return await handle(self, request)  # type: ignore[arg-type]

    kept: list[object] = []
    await house.gateway.go_away()
    monkeypatch.setattr(type(house.gateway), "_handle", count_connections)
    await house.gateway.come_back()
    for _ in range(3):
        await house.poll()
    if option:
        assert len(seen) == count
    else:
        assert len(seen) <= connections
    assert count > connections


def alive(kind: type) -> int:
    """Return the number of instances of a class that anything refers to."""
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


async def test_reloads_leave_no_objects_behind(hass: HomeAssistant, set_up: SetUp) -> None:
    """No gateway, coordinator, task or connection of an earlier set-up."""
    house = await set_up("metered_1phase")

    async def reload(times: int) -> None:
        for _ in range(times):
            assert await hass.config_entries.async_reload(house.entry.entry_id)
            await hass.async_block_till_done()

    await reload(3)
    tasks = len(asyncio.all_tasks())
    gateways, coordinators = alive(Gateway), alive(EnvoyCoordinator)
    await reload(20)
    assert len(asyncio.all_tasks()) <= tasks
    assert (alive(Gateway), alive(EnvoyCoordinator)) == (gateways, coordinators)


async def test_live_power_that_is_switched_off_leaves_no_objects_behind(hass: HomeAssistant, set_up: SetUp) -> None:
    """Its entities have no successors: those that are disabled were never added to Home Assistant."""
    house = await set_up("full_battery")
    for seconds in (5, 0):
        hass.config_entries.async_update_entry(house.entry, options={"live_power": seconds})
        assert await hass.config_entries.async_reload(house.entry.entry_id)
        await hass.async_block_till_done()
    assert alive(EnvoyCoordinator) == alive(Gateway) == 1


async def test_removal_leaves_no_objects_behind(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("full_battery")
    await hass.config_entries.async_remove(house.entry.entry_id)
    await hass.async_block_till_done()
    assert alive(EnvoyCoordinator) == alive(Gateway) == 0


async def test_issues_are_removed_with_their_entry_only(hass: HomeAssistant, simulate: Simulate) -> None:
    registry = ir.async_get(hass)
    entries = [entry_for(await simulate("full_battery")), entry_for(await simulate("metered_1phase"))]
    finding = SettingResult("reserve", "number.reserve", SettingOutcome.OVERWRITTEN, 30, 20)
    for entry in entries:
        entry.add_to_hass(hass)
        async_report_certificate(hass, entry, "envoy.local")
        async_report_setting(hass, entry, "8.2.4345", finding)
    assert len(registry.issues) == 4
    await hass.config_entries.async_remove(entries[0].entry_id)
    assert len(registry.issues) == 2
    assert all(issue_id.endswith(entries[1].entry_id) for _, issue_id in registry.issues)


async def test_a_flow_of_an_entry_that_was_removed_is_aborted(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("metered_1phase")
    entry = entry_for(gateway)
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    flow = await entry.start_reconfigure_flow(hass)
    await hass.config_entries.async_remove(entry.entry_id)
    await hass.async_block_till_done()
    assert not hass.states.async_all()
    result = await hass.config_entries.flow.async_configure(flow["flow_id"], {"host": gateway.host})
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "removed")


async def test_entities_of_home_assistants_own_integration_are_kept(hass: HomeAssistant, simulate: Simulate) -> None:
    """Entities are identified by their unique ids: names given by the user, and so all history, are kept."""
    gateway = await simulate("full_battery")
    entry = entry_for(gateway)
    entry.add_to_hass(hass)
    registry = er.async_get(hass)
    before: dict[tuple[str, str], str] = {}
    for domain, unique_id in (
        ("sensor", f"{gateway.serial}_lifetime_production"),
        ("sensor", "482213010021"),
        ("sensor", "492309017302_soc"),
        ("number", "202226050419_reserve_soc"),
        ("switch", "202226050419_relay_NO2_relay_status"),
    ):
        known = registry.async_get_or_create(
            domain, DOMAIN, unique_id, config_entry=entry, suggested_object_id=f"mine_{len(before)}"
        )
        before[domain, unique_id] = known.entity_id
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    for (domain, unique_id), entity_id in before.items():
        assert registry.async_get_entity_id(domain, DOMAIN, unique_id) == entity_id
        state = hass.states.get(entity_id)
        assert state
        assert state.state not in ("unavailable", "unknown")
    assert await hass.config_entries.async_unload(entry.entry_id)
