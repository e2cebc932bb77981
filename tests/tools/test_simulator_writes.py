"""Writes through pyenphase change the house; invalid ones are rejected."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
from pyenphase.exceptions import EnvoyHTTPStatusError
from pyenphase.models.acb import ACBSleepState
from pyenphase.models.tariff import EnvoyStorageMode
import pytest

from tests.simulator import Clock, Simulator, Status
from tests.simulator.client import connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pyenphase import Envoy

pytestmark = pytest.mark.usefixtures("socket_enabled")

NOON = "2026-06-21T12:00:00+02:00"
CONTACT_SETTINGS = "/ivp/ss/dry_contact_settings"


@pytest.fixture
async def sim(socket_enabled: None) -> AsyncIterator[Simulator]:
    """Serve the default system with a standing clock at noon."""
    async with Simulator(clock=Clock(NOON, running=False)) as simulator:
        yield simulator


@pytest.fixture
async def envoy(sim: Simulator) -> AsyncIterator[Envoy]:
    """Read it with the library."""
    async with connected(sim) as client:
        yield client


async def poll(envoy: Envoy) -> Any:
    """Poll again, and return the data, on which a missing object raises AttributeError."""
    return await envoy.update()


async def change_relay(envoy: Envoy, relay: str, **values: Any) -> None:
    """Change settings of a relay, with its whole object as it is reported."""
    (reported,) = [row for row in (await poll(envoy)).raw[CONTACT_SETTINGS]["dry_contacts"] if row["id"] == relay]
    await envoy._json_request(CONTACT_SETTINGS, {"dry_contacts": reported | values})


async def test_tariff(sim: Simulator, envoy: Envoy) -> None:
    """Mode, reserve and charge from grid are applied by the controller, and read back."""
    await envoy.set_storage_mode(EnvoyStorageMode.BACKUP)
    await envoy.set_reserve_soc(45)
    await envoy.enable_charge_from_grid()
    settings = sim.house.settings
    assert (settings.mode, settings.reserve, settings.charge_from_grid) == ("backup", 45.0, True)
    assert sim.house.power("charged") > sim.house.power("production")
    data = await poll(envoy)
    assert data.tariff.storage_settings.mode is EnvoyStorageMode.BACKUP
    assert data.encharge_aggregate.configured_reserve_state_of_charge == 45
    await envoy.disable_charge_from_grid()
    assert not sim.house.settings.charge_from_grid
    assert [(write.method, write.path, write.status) for write in sim.writes] == [("PUT", "/admin/lib/tariff", 200)] * 4
    assert sim.writes[0].body["tariff"]["storage_settings"]["mode"] == "backup"


async def test_grid_relay(sim: Simulator, envoy: Envoy) -> None:
    """The mains relay opens 27 to 28 seconds after the request, and closes after 8 to 15."""
    await envoy.go_off_grid()
    data = await poll(envoy)
    assert (data.enpower.mains_admin_state, data.enpower.mains_oper_state) == ("open", "closed")
    sim.clock.advance(27)
    assert sim.house.grid.closed
    sim.clock.advance(1)
    data = await poll(envoy)
    assert (data.enpower.mains_oper_state, data.enpower.grid_mode) == ("open", "multimode-offgrid")
    assert data.ctmeter_consumption.active_power == 0
    await envoy.go_on_grid()
    sim.clock.advance(8)
    assert not sim.house.grid.closed
    sim.clock.advance(7)
    data = await poll(envoy)
    assert data.enpower.mains_oper_state == "closed"
    assert sim.house.grid.closed


async def test_dry_contacts(sim: Simulator, envoy: Envoy) -> None:
    """Relays open and close by hand, and their settings change."""
    load = sim.house.power("load")
    await envoy.open_dry_contact("NC1")
    assert not sim.house.relay("NC1").closed
    assert sim.house.power("load") < load
    sim.clock.advance(3600)
    assert not sim.house.relay("NC1").closed
    await envoy.close_dry_contact("NC1")
    assert sim.house.relay("NC1").closed
    await change_relay(envoy, "NC1", load_name="Sauna", soc_low=25.0, soc_high=80.0, mode="soc", grid_action="shed")
    relay = sim.house.relay("NC1")
    assert (relay.load_name, relay.soc_low, relay.soc_high, relay.mode) == ("Sauna", 25.0, 80.0, "soc")
    await envoy.update()
    assert envoy.data is not None
    assert envoy.data.dry_contact_settings["NC1"].load_name == "Sauna"
    await change_relay(envoy, "NO1", grid_action="shed")
    assert not sim.house.relay("NO1").closed


async def test_partial_settings_of_a_relay_are_rejected(sim: Simulator, envoy: Envoy) -> None:
    """The library's own call builds the object from its model, which lacks keys."""
    with pytest.raises(EnvoyHTTPStatusError):
        await envoy.update_dry_contact({"id": "NC1", "soc_low": 25.0})
    assert sim.house.relay("NC1").soc_low == 30


async def test_relays_are_reported_as_open_after_a_change_of_settings(sim: Simulator, envoy: Envoy) -> None:
    """Normally-closed ones only, for some time, and none moves."""
    await change_relay(envoy, "NO1", priority=5.0)
    data = await poll(envoy)
    assert {relay.id: relay.status for relay in data.dry_contact_status.values()} == {
        "NC1": "open", "NC2": "open", "NO1": "closed", "NO2": "open",
    }  # fmt: skip
    assert sim.house.relay("NC1").closed
    sim.clock.advance(30)
    data = await poll(envoy)
    assert data.dry_contact_status["NC1"].status == "closed"


async def test_actions_have_an_effect_on_loads_only(sim: Simulator, envoy: Envoy) -> None:
    """They are stored for relays of another type."""
    sim.house.relay("NO1").type = "3RD-PV"
    await change_relay(envoy, "NO1", grid_action="shed")
    assert sim.house.relay("NO1").grid_action == "shed"
    assert sim.house.relay("NO1").closed


async def test_generator(sim: Simulator, envoy: Envoy) -> None:
    """Mode, schedule and charging permission change the generator."""
    await envoy.set_generator_mode("on")
    data = await poll(envoy)
    assert (data.generator_mode.gen_cmd, data.generator.admin_state, data.generator.oper_state) == (
        "on",
        "closed",
        "open",
    )
    await envoy.go_off_grid()
    sim.clock.advance(60)
    data = await poll(envoy)
    assert data.generator.oper_state == "closed"
    assert sim.house.power("generated") > 0
    await envoy.set_generator_charge_from_generator(False)
    await envoy.update_generator_schedule({"default_start_soc": 15, "default_stop_soc": 90, "exercise_day": "Tue"})
    generator = sim.house.generator
    assert generator is not None
    assert (generator.charge_from_generator, generator.start_soc, generator.stop_soc) == (False, 15, 90)
    assert generator.exercise_day == "Tue"


async def test_ac_batteries_sleep_and_wake() -> None:
    """An AC battery falls asleep and wakes after a while, and neither charges nor discharges meanwhile."""
    async with Simulator("ac_batteries", clock=Clock(NOON, running=False)) as sim, connected(sim) as envoy:
        serial = sim.house.batteries[0].serial
        sim.house.settings.reserve, sim.house.settings.charge_from_grid = 100.0, True
        sim.house.refresh()
        assert sim.house.power("charged") == pytest.approx(3 * 260)
        await envoy.set_acb_sleep([{"serial_num": serial, "sleep_min_soc": 30, "sleep_max_soc": 35}])
        states = []
        for wake in (False, True):
            if wake:
                await envoy.clear_acb_sleep([serial])
            for _ in range(2):
                data = await poll(envoy)
                states.append(data.acb_inventory[serial].sleep_state)
                sim.clock.advance(61)
            if not wake:
                assert sim.house.power("charged") == pytest.approx(2 * 260)
        assert states == [
            ACBSleepState.GOING_TO_SLEEP, ACBSleepState.ASLEEP, ACBSleepState.WAKING, ACBSleepState.AWAKE,
        ]  # fmt: skip
        assert sim.house.battery(serial).sleep_min_soc == 30


async def test_tariff_owned_by_the_cloud_is_reverted() -> None:
    """The write is answered with 200 and stored, but not applied by the controller, and reverted by the cloud."""
    async with Simulator("collar", clock=Clock(NOON, running=False)) as sim, connected(sim) as envoy:
        await envoy.set_reserve_soc(70)
        data = await poll(envoy)
        assert data.tariff.storage_settings.reserved_soc == 70
        assert data.encharge_aggregate.configured_reserve_state_of_charge == 20
        sim.clock.advance(120)
        data = await poll(envoy)
        assert data.tariff.storage_settings.reserved_soc == 20


TARIFF = "/admin/lib/tariff"
BAD: list[tuple[str, str, Any]] = [
    ("PUT", TARIFF, {}),
    ("PUT", TARIFF, {"tariff": {"storage_settings": {"mode": "party", "reserved_soc": 5, "charge_from_grid": True}}}),
    (
        "PUT",
        TARIFF,
        {"tariff": {"storage_settings": {"mode": "backup", "reserved_soc": 101, "charge_from_grid": True}}},
    ),
    ("PUT", TARIFF, {"tariff": {"storage_settings": {"mode": "backup", "reserved_soc": 5, "charge_from_grid": "yes"}}}),
    ("POST", "/ivp/ensemble/relay", {"mains_admin_state": "ajar"}),
    ("POST", "/ivp/ensemble/dry_contacts", {"dry_contacts": {"id": "NC9", "status": "open"}}),
    ("POST", "/ivp/ensemble/dry_contacts", {"dry_contacts": {"id": "NC1", "status": "half"}}),
    ("POST", "/ivp/ss/dry_contact_settings", {"dry_contacts": {"id": "NC1", "soc_low": 90.0}}),
    ("POST", "/ivp/ss/dry_contact_settings", {"dry_contacts": {"id": "NC1", "override": "perhaps"}}),
    ("POST", "/ivp/ss/gen_mode", {"gen_cmd": "faster"}),
    ("POST", "/ivp/ss/gen_schedule", {"default_soc": {"start_soc": 50, "stop_soc": 50}}),
    ("POST", "/ivp/ss/gen_config", {"charge_from_generator": 1}),
    ("POST", "/ivp/livedata/stream", {"enable": 2}),
    ("POST", "/ivp/livedata/stream", "not JSON"),
]


@pytest.mark.parametrize(("method", "path", "body"), BAD)
async def test_invalid_bodies_are_rejected(sim: Simulator, method: str, path: str, body: Any) -> None:
    """The status is 400, and the settings are unchanged."""
    before = (repr(sim.house.settings), repr(sim.house.relays), repr(sim.house.generator), sim.house.grid.wanted)
    kwargs = {"data": body} if isinstance(body, str) else {"json": body}
    headers = {"Authorization": f"Bearer {sim.token()}"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"https://{sim.host}{path}", ssl=False, headers=headers, **kwargs) as response,
    ):
        assert response.status == 400
    assert (
        repr(sim.house.settings),
        repr(sim.house.relays),
        repr(sim.house.generator),
        sim.house.grid.wanted,
    ) == before
    assert sim.writes[-1].status == 400
    assert sim.writes[-1].body == body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/ivp/ensemble/relay", 404),
        ("POST", "/ivp/ss/gen_mode", 404),
        ("POST", "/ivp/ensemble/dry_contacts", 404),
        ("PUT", "/admin/lib/acb_config", 404),
        ("POST", "/ivp/livedata/stream", 404),
        ("DELETE", "/home", 405),
        ("POST", "/nothing", 404),
    ],
)
async def test_writes_to_missing_hardware_are_rejected(method: str, path: str, status: int) -> None:
    """A three-phase system without a battery has no controls."""
    body = {"mains_admin_state": "open", "gen_cmd": "on", "dry_contacts": {"id": "NC1", "status": "open"}, "enable": 1}
    async with Simulator("three_phase", clock=Clock(NOON, running=False)) as sim, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {sim.token()}"}
        async with session.request(
            method, f"https://{sim.host}{path}", json=body, ssl=False, headers=headers
        ) as response:
            assert response.status == status


async def test_failed_write_is_recorded_with_its_status(sim: Simulator, envoy: Envoy) -> None:
    """It is in the list of writes with its status, and changes nothing."""
    with sim.fault("/ivp/ensemble/relay", Status(503)), pytest.raises(EnvoyHTTPStatusError):
        await envoy.go_off_grid()
    await asyncio.sleep(0)
    assert sim.writes[-1].status == 503
    assert sim.house.grid.wanted
