"""Values that pyenphase reads from each simulated gateway are those of the simulated house."""

from __future__ import annotations

from typing import Any

import aiohttp
from pyenphase import Envoy
from pyenphase.const import SupportedFeatures as Has
from pyenphase.models.meters import CtType
from pyenphase.models.tariff import EnvoyStorageMode
import pytest

from tests.simulator import PROFILES, Clock, Profile, Simulator
from tests.simulator.client import connected
from tests.simulator.counters import Flow
from tests.simulator.hardware import Battery

pytestmark = pytest.mark.usefixtures("socket_enabled")

NOON = "2026-06-21T12:00:00+02:00"
ALWAYS = Has.INVERTERS | Has.PRODUCTION
METERED = ALWAYS | Has.METERING | Has.TOTAL_CONSUMPTION | Has.NET_CONSUMPTION | Has.CTMETERS | Has.TARIFF
GENERATOR = Has.GENERATOR | Has.GENERATOR_SCHEDULE
EXPECTED: dict[str, tuple[Has, int]] = {
    "legacy_3_9": (ALWAYS, 1),
    "legacy_5": (ALWAYS, 1),
    "standard_7_6": (ALWAYS, 1),
    "metered_1phase": (METERED | Has.DETAILED_INVERTERS, 1),
    "total_consumption": (METERED, 1),
    "three_phase": (METERED | Has.DETAILED_INVERTERS | Has.THREEPHASE, 3),
    "full_battery": (
        METERED | Has.DETAILED_INVERTERS | Has.DUALPHASE | Has.ENCHARGE | Has.ENPOWER | GENERATOR,
        2,
    ),
    "battery_total": (METERED | Has.ENCHARGE, 1),
    "ac_batteries": (METERED | Has.ACB, 1),
    "collar": (METERED | Has.DETAILED_INVERTERS | Has.DUALPHASE | Has.ENCHARGE | Has.COLLAR | Has.C6CC, 2),
    "sixty_inverters": (METERED | Has.THREEPHASE, 3),
}  # fmt: skip


#: Flows of the house that a CT counts as delivered and received.
CTS: dict[str, tuple[Flow, Flow | None]] = {
    "production": ("production", None),
    "net-consumption": ("imported", "exported"),
    "total-consumption": ("load", None),
    "storage": ("discharged", "charged"),
    "backfeed": ("combiner_out", "combiner_in"),
}


def standing(start: str = NOON) -> Clock:
    """Return a standing clock."""
    return Clock(start, running=False)


async def get(sim: Simulator, path: str, **kwargs: Any) -> tuple[int, Any]:
    """Request a path with a token, without the library."""
    headers = {"Authorization": f"Bearer {sim.token()}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://{sim.host}{path}", ssl=False, headers=headers, **kwargs) as response,
    ):
        text = await response.text()
        return response.status, await response.json(content_type=None) if text[:1] in "[{n" else text


def test_all_profiles_are_tested_and_have_unique_serial_numbers() -> None:
    """Each profile has expectations in this file and a serial number of twelve digits."""
    assert set(EXPECTED) == set(PROFILES)
    serials = [profile.serial for profile in PROFILES.values()]
    assert len(set(serials)) == len(serials)
    assert all(len(serial) == 12 and serial.isdigit() for serial in serials)


@pytest.mark.parametrize("name", sorted(PROFILES))
async def test_library_reads_each_profile(name: str) -> None:
    """Features, phases and CTs are found; every value is that of the house."""
    profile = PROFILES[name]
    async with Simulator(name, clock=standing()) as sim:
        sim.clock.advance(3 * 3600 + 17)
        async with connected(sim) as envoy:
            assert (envoy.supported_features, envoy.phase_count) == EXPECTED[name]
            assert envoy.ct_meter_list == list(profile.cts)
            assert (envoy.serial_number, str(envoy.firmware)) == (sim.serial, sim.firmware)
            assert envoy.is_metered == profile.metered
            assert envoy.data is not None
            assert_production(envoy, sim)
            assert_meters(envoy, sim, profile)
            assert set(envoy.data.inverters or {}) >= {inverter.serial for inverter in sim.house.inverters}
            assert not [request for request in sim.requests if request.status >= 500]


def assert_production(envoy: Envoy, sim: Simulator) -> None:
    """Production and consumption are the house's."""
    assert envoy.data is not None
    house, production = sim.house, envoy.data.system_production
    assert production is not None
    assert production.watts_now == round(house.power("production"))
    assert production.watt_hours_lifetime == round(house.total("production"))
    assert production.watt_hours_today == round(house.today("production"))
    assert production.watt_hours_last_7_days == round(house.week("production"))
    if (total := envoy.data.system_consumption) and (net := envoy.data.system_net_consumption):
        house_is_measured = "total-consumption" in house.profile.cts
        grid = house.total("imported") - house.total("exported")
        balance = house.total("load") - house.total("production") if house_is_measured else grid
        assert net.watt_hours_lifetime == pytest.approx(balance, abs=1)
        assert total.watt_hours_lifetime == pytest.approx(balance + house.total("production"), abs=1)
        if house_is_measured or not house.batteries:
            assert total.watts_now == pytest.approx(house.power("load"), abs=1)
            assert total.watt_hours_today == pytest.approx(house.today("load"), abs=1)


def assert_meters(envoy: Envoy, sim: Simulator, profile: Profile) -> None:
    """CTs measure the flows, in total and by phase; aggregates are the sums."""
    assert envoy.data is not None
    house = sim.house
    assert set(envoy.data.ctmeters) == set(profile.cts)
    for kind, meter in envoy.data.ctmeters.items():
        assert meter is not None
        into, out = CTS[kind]
        assert meter.energy_delivered == pytest.approx(house.total(into), abs=1)
        assert meter.energy_received == pytest.approx(house.total(out) if out else 0, abs=1)
        assert meter.active_power == pytest.approx(house.power(into) - (house.power(out) if out else 0), abs=1)
        assert meter.timestamp == int(sim.clock.now)
        lines = envoy.data.ctmeters_phases.get(kind, {})
        assert len(lines) == (profile.phases if profile.phases > 1 else 0)
        for phase, line in enumerate(lines.values()):
            assert line is not None
            assert line.energy_delivered == pytest.approx(house.counters[into][phase], abs=1)
            assert line.voltage == pytest.approx(profile.voltage, rel=0.03)


async def test_library_reads_the_whole_battery_system() -> None:
    """Batteries, controller, relays, generator and tariff of the default system."""
    async with Simulator(clock=standing()) as sim, connected(sim) as envoy:
        data, house = envoy.data, sim.house
        assert data is not None
        assert data.encharge_power is not None
        power = sum(battery.real_power_mw for battery in data.encharge_power.values())
        assert power == round((house.power("discharged") - house.power("charged")) * 1000)
        assert power < 0
        assert data.encharge_aggregate is not None
        assert data.encharge_aggregate.available_energy == round(house.stored)
        assert data.encharge_aggregate.configured_reserve_state_of_charge == 20
        assert list(data.encharge_inventory or {}) == [battery.serial for battery in house.batteries]
        assert data.enpower is not None
        assert data.enpower.mains_oper_state == "closed"
        assert {relay.id: relay.load_name for relay in data.dry_contact_settings.values()} == {
            "NC1": "Pool pump", "NC2": "Water heater", "NO1": "Workshop", "NO2": "",
        }  # fmt: skip
        assert data.generator is not None
        assert data.generator.present
        assert data.tariff is not None
        assert data.tariff.storage_settings is not None
        assert data.tariff.storage_settings.mode is EnvoyStorageMode.SELF_CONSUMPTION
        assert data.tariff.storage_settings.opt_schedules is False


async def test_library_reads_ac_batteries_and_collar() -> None:
    """AC batteries individually and in total; collar and combiner."""
    async with Simulator("ac_batteries", clock=standing()) as sim, connected(sim) as envoy:
        assert envoy.data is not None
        assert set(envoy.data.acb_inventory or {}) == {battery.serial for battery in sim.house.batteries}
        assert envoy.data.acb_power is not None
        assert envoy.data.acb_power.charge_wh == round(sim.house.stored)
        _status, control = await get(sim, "/ivp/ensemble/secctrl")
        assert (control["Max_energy"], control["ACB_agg_energy"]) == (3720, round(sim.house.stored))
    async with Simulator("collar", clock=standing()) as sim, connected(sim) as envoy:
        assert envoy.data is not None
        assert envoy.data.collar is not None
        assert envoy.data.collar.serial_number == sim.profile.collar
        assert envoy.data.c6cc is not None
        assert CtType.BACKFEED in envoy.data.ctmeters


async def test_inverters_report_every_five_minutes_at_different_times() -> None:
    """Reports are at most five minutes old, at different times, and their energy adds up to the production."""
    async with Simulator("metered_1phase", clock=standing()) as sim, connected(sim) as envoy:
        assert envoy.data is not None
        first = dict(envoy.data.inverters or {})
        times = {inverter.last_report_date for inverter in first.values()}
        assert len(times) > 6
        assert all(0 <= sim.clock.now - at < 300 for at in times)
        sim.clock.advance(299)
        data = await envoy.update()
        moved = [s for s, i in data.inverters.items() if i.last_report_date != first[s].last_report_date]
        assert len(moved) >= 11
        sim.clock.advance(3600)
        data = await envoy.update()
        for serial, inverter in data.inverters.items():
            assert inverter.lifetime_energy is not None
            assert first[serial].lifetime_energy < inverter.lifetime_energy  # type: ignore[operator]
        gained = sum(i.lifetime_energy - first[s].lifetime_energy for s, i in data.inverters.items())  # type: ignore[operator,misc]
        assert gained == pytest.approx(sim.house.power("production") * 1.1, rel=0.35)


async def test_number_of_inverters_is_an_option() -> None:
    """Six hundred inverters are reported, and device_data lists fifty."""
    async with Simulator("sixty_inverters", inverters=600, clock=standing()) as sim, connected(sim) as envoy:
        assert envoy.data is not None
        assert len(envoy.data.inverters or {}) == 600
        _status, data = await get(sim, "/ivp/pdm/device_data")
        assert (data["deviceCount"], data["deviceDataLimit"], len(data)) == (600, 50, 52)


async def test_hardware_is_added_and_removed() -> None:
    """New inverters and batteries are listed, a removed one only in the inventory of deleted devices."""
    async with Simulator(clock=standing()) as sim, connected(sim) as envoy:
        new = sim.house.add_inverter().serial
        removed = sim.house.inverters[0].serial
        sim.house.remove_inverter(removed)
        sim.house.add_battery(Battery("492309018888"))
        sim.house.relay("NO2").load_name = "Sauna"
        data = await envoy.update()
        assert new in data.inverters
        assert removed not in data.inverters
        assert "492309018888" in (data.encharge_inventory or {})
        assert data.dry_contact_settings["NO2"].load_name == "Sauna"
        _status, plain = await get(sim, "/inventory.json")
        _status, deleted = await get(sim, "/inventory.json?deleted=1")
        assert removed not in {row["serial_num"] for row in plain[0]["devices"]}
        assert {row["serial_num"]: row["admin_state"] for row in deleted[0]["devices"]}[removed] == 0


async def test_inventory_contains_the_device_status() -> None:
    """A failed inverter reports a failure by day; at night all report low power, which is not a fault."""
    async with Simulator(clock=standing()) as sim:
        serial = sim.house.inverters[3].serial
        sim.house.break_inverter(serial, communicating=False)
        _status, document = await get(sim, "/inventory.json")
        rows = {row["serial_num"]: row for row in document[0]["devices"]}
        assert rows[serial]["device_status"] == ["envoy.cond_flags.obs_strs.failure"]
        assert not rows[serial]["communicating"]
        others = [row for row in rows.values() if row["serial_num"] != serial]
        assert all(row["producing"] and row["device_status"] == ["envoy.global.ok"] for row in others)
        sim.clock.advance(12 * 3600)
        _status, document = await get(sim, "/inventory.json")
        assert all("envoy.cond_flags.pcu_ctrl.dc-pwr-low" in row["device_status"] for row in document[0]["devices"])


async def test_live_data_stop_after_fifteen_minutes() -> None:
    """Values change and balance while the stream is enabled, and are constant after it has expired."""
    async with Simulator(clock=standing()) as sim, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {sim.token()}"}
        url = f"https://{sim.host}/ivp/livedata/stream"
        _status, before = await get(sim, "/ivp/livedata/status")
        assert before["connection"]["sc_stream"] == "disabled"
        async with session.post(url, json={"enable": 1}, ssl=False, headers=headers) as response:
            assert await response.json() == {"sc_stream": "enabled"}
        sim.clock.advance(600)
        _status, live = await get(sim, "/ivp/livedata/status")
        meters = live["meters"]
        assert meters["last_update"] == int(sim.clock.now)
        power = {name: meters[name]["agg_p_mw"] for name in ("pv", "storage", "grid", "load", "generator")}
        assert power["load"] == pytest.approx(
            power["pv"] + power["storage"] + power["grid"] + power["generator"], abs=9
        )
        assert power["pv"] == pytest.approx(sim.house.power("production") * 1000, abs=3)
        sim.clock.advance(301)
        _status, lapsed = await get(sim, "/ivp/livedata/status")
        assert lapsed["connection"]["sc_stream"] == "disabled"
        assert lapsed["meters"] == meters
    async with Simulator("three_phase", clock=standing()) as sim:
        assert (await get(sim, "/ivp/livedata/status"))[0] == 404


async def test_meter_stream() -> None:
    """Server-sent events with a line for each phase."""
    async with Simulator("three_phase", clock=standing()) as sim, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {sim.token()}"}
        async with session.get(f"https://{sim.host}/stream/meter", ssl=False, headers=headers) as response:
            assert response.content_type == "text/event-stream"
            line = (await response.content.readuntil(b"\n\n")).decode()
        assert line.startswith('data: {"production": {"ph-a": {"p": ')
        assert '"net-consumption"' in line


@pytest.mark.parametrize("path", ["/ivp/meters", "/ivp/pdm/device_data", "/admin/lib/tariff", "/nothing"])
async def test_endpoints_of_missing_hardware_return_404(path: str) -> None:
    """A gateway without CTs has neither meters nor tariff."""
    async with Simulator("standard_7_6", clock=standing()) as sim:
        assert (await get(sim, path))[0] == 404
        assert (await get(sim, "/ivp/ensemble/inventory")) == (200, [])


async def test_other_documents() -> None:
    """Home, networks and the rest contain the fields that are used elsewhere."""
    async with Simulator(clock=standing()) as sim, connected(sim) as envoy:
        settings = await envoy.interface_settings()
        assert settings is not None
        assert (settings.timezone, settings.mac[:8]) == ("Europe/Amsterdam", "00:1D:C0")
        for path in ("network_display.json", "wireless_display.json"):
            status, document = await get(sim, f"/admin/lib/{path}")
            assert status == 200
            assert document["mac"].startswith("00:1D:C0")
        _status, schedule = await get(sim, "/ivp/sc/sched")
        assert schedule["reserved_soc"] == 20.0
        _status, reports = await get(sim, "/ivp/meters/reports")
        assert [report["reportType"] for report in reports] == list(sim.profile.cts)
        _status, energy = await get(sim, "/ivp/pdm/energy")
        assert energy["production"]["eim"]["wattHoursLifetime"] == round(sim.house.total("production"))
        _status, status = await get(sim, "/ivp/ensemble/status")
        assert sim.profile.enpower in status["inventory"]["serial_nums"]
        assert status["relay"]["mains_oper_state"] == "closed"
        assert (await get(sim, "/ivp/sc/pvlimit"))[1] == {"enable": False, "pv_limit_pct": 100}
        assert (await get(sim, "/ivp/ss/pel_settings"))[1]["PEL"] is False
