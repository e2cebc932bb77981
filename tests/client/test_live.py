"""Live power: values between the polls, from the best source that the gateway has."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
import json
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

from homeassistant.helpers import entity_registry as er
from pyenphase.const import ENDPOINT_URL_METERS_READINGS, URL_DEVICE_DATA, URL_ENSEMBLE_INVENTORY, URL_TARIFF
from pyenphase.models.encharge import EnvoyEnchargeAggregate
from pyenphase.models.meters import CtMeterStatus, CtState, CtType, EnvoyMeterData
from pyenphase.models.system_consumption import EnvoySystemConsumption
from pyenphase.models.system_production import EnvoySystemProduction
import pytest

from custom_components.enphase_envoy.client.errors import GatewayBusyError, LiveError
from custom_components.enphase_envoy.client.live_frames import event_frame, readings_frame, status_frame
from custom_components.enphase_envoy.client.meter_stream import SILENT_AFTER, MeterStream
from custom_components.enphase_envoy.client.paths import URL_LIVE_DATA_STATUS, URL_LIVE_DATA_STREAM, URL_METER_STREAM
from custom_components.enphase_envoy.coordinator import EnvoyCoordinator
from custom_components.enphase_envoy.energy.virtual_meters.battery import BATTERY, BatteryEnergy
from custom_components.enphase_envoy.energy.virtual_meters.grid import GRID, GridEnergy
from custom_components.enphase_envoy.energy.virtual_meters.house import HOUSE, HouseEnergy
from custom_components.enphase_envoy.model.panels import COUNTS, PanelCounts
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, TimedValue
from tests.helpers.integration import Installation, SetUp, entity_id
from tests.simulator import Body, Held, Silent, Status
from tests.simulator.faults import AllZeros, Change, Fault, Freeze, Replace, Stall
from tests.simulator.weather import load

PRODUCTION: Address = ("system_production",)
type Live = Callable[..., Awaitable[Installation]]


@pytest.fixture
def live(set_up: SetUp) -> Live:
    """Set up an entry that reads live power every five seconds."""

    async def start(profile: str = "full_battery") -> Installation:
        installation = await set_up(profile, options={"live_power": 5})
        installation.gateway.requests.clear()
        return installation

    return start


def requests(installation: Installation, path: str) -> int:
    return len([request for request in installation.gateway.requests if request.path == path])


def watts(installation: Installation) -> float:
    production = installation.coordinator.data.get(EnvoySystemProduction, PRODUCTION)
    assert production
    return production.watts_now


def live_at(installation: Installation) -> float | None:
    """Return when the production was read by live power, in seconds of the simulated clock; None if it was not."""
    timed = installation.coordinator.data.objects[PRODUCTION]
    freshness = timed.field_freshness.get("watts_now")
    return freshness.updated_at if freshness else None


async def frames(installation: Installation, count: int = 4) -> None:
    for _ in range(count):
        await installation.pass_time(5)


def flow(installation: Installation, name: Any) -> float:
    return float(sum(installation.gateway.house.flow[name]))


async def test_live_values_agree_with_the_simulated_house(live: Live) -> None:
    installation = await live()
    await frames(installation)
    snapshot, now = installation.coordinator.data, installation.gateway.clock.now
    assert live_at(installation) == now
    assert watts(installation) == pytest.approx(flow(installation, "production"), abs=1)
    net = snapshot.get(EnvoySystemConsumption, ("system_net_consumption",))
    grid = flow(installation, "imported") - flow(installation, "exported")
    assert net
    assert net.watts_now == pytest.approx(grid, abs=1)
    soc = snapshot.objects[("encharge_aggregate",)]
    assert isinstance(soc.value, EnvoyEnchargeAggregate)
    assert soc.value.state_of_charge == round(installation.gateway.house.soc)


@pytest.mark.parametrize(
    "profile", ["full_battery", "metered_1phase", "three_phase", "total_consumption", "battery_total"]
)
async def test_live_values_agree_with_those_of_a_poll(live: Live, profile: str) -> None:
    installation = await live(profile)
    await frames(installation)
    shown = dict(installation.coordinator.data.objects)
    installation.coordinator.gateway.live.apply = lambda objects: None  # type: ignore[method-assign]  # noqa: ARG005
    await installation.poll()
    polled = installation.coordinator.data.objects
    compared = 0
    for address, timed in shown.items():
        for field in timed.field_freshness:
            if address[0].startswith(("system", "ctmeters")) and field in ("watts_now", "active_power"):
                expected = getattr(polled[address].value, field)
                assert getattr(timed.value, field) == pytest.approx(expected, abs=2), (address, field)
                compared += 1
    assert compared > 3


async def test_power_of_batteries_without_a_ct_is_live(live: Live) -> None:
    installation = await live("battery_total")
    await frames(installation)
    timed = installation.coordinator.data.objects[BATTERY]
    assert isinstance(timed.value, BatteryEnergy)
    discharged = flow(installation, "discharged") - flow(installation, "charged")
    assert timed.value.power == pytest.approx(discharged, abs=1)
    assert timed.field_freshness["power"].updated_at == installation.gateway.clock.now
    with (
        installation.gateway.fault(URL_LIVE_DATA_STATUS, Status(503)),
        installation.gateway.fault(ENDPOINT_URL_METERS_READINGS, Status(503)),
        installation.gateway.fault(URL_METER_STREAM, Status(503)),
    ):
        for _ in range(2):
            await installation.pass_time(60)
    assert not installation.coordinator.data.objects[BATTERY].field_freshness


@pytest.mark.parametrize(("profile", "address"), [("ac_batteries", HOUSE), ("battery_total", GRID)])
async def test_live_power_is_not_added_to_that_of_batteries_in_the_last_poll(
    live: Live, monkeypatch: pytest.MonkeyPatch, profile: str, address: Address
) -> None:
    """The readings of CT meters do not contain the power of batteries."""
    installation = await live(profile)
    house = installation.gateway.house

    def power() -> tuple[int, float]:
        timed = installation.coordinator.data.objects[address]
        assert isinstance(timed.value, HouseEnergy | GridEnergy)
        assert timed.value.power is not None
        return timed.value.power, installation.gateway.clock.now - timed.field_freshness["power"].updated_at

    def flowing() -> float:
        if address == GRID:
            return flow(installation, "imported") - flow(installation, "exported")
        return flow(installation, "load")

    with installation.gateway.fault(URL_LIVE_DATA_STATUS, Status(503)):
        await frames(installation)
        await installation.poll()
        before, age = power()
        assert before == pytest.approx(flowing(), abs=2)
        assert age == 0
        monkeypatch.setattr("tests.simulator.house.load", lambda *args: load(*args) + 6000)
        house.reconsider()
        for frame in range(1, 4):
            await frames(installation, 1)
            assert power() == (before, 5 * frame)
        await installation.poll()
        after, age = power()
        assert after == pytest.approx(flowing(), abs=2)
        assert age == 0


async def test_counter_that_live_power_moves_is_written_once_a_minute(live: Live) -> None:
    installation = await live("battery_total")
    name = entity_id(installation.hass, "sensor", f"{installation.gateway.serial}_lifetime_battery_energy_discharged")
    written = set()
    for _ in range(36):
        await frames(installation, 1)
        state = installation.hass.states.get(name)
        assert state
        written.add(state.last_updated)
    assert len(written) <= 4


async def test_an_entity_shows_live_power(live: Live) -> None:
    installation = await live()
    name = entity_id(installation.hass, "sensor", f"{installation.gateway.serial}_production")
    await frames(installation)
    state = installation.hass.states.get(name)
    assert state
    assert float(state.state) == pytest.approx(flow(installation, "production") / 1000, rel=0.01, abs=0.01)


async def test_a_small_change_of_live_power_is_written_once_a_minute(live: Live) -> None:
    installation = await live()
    name = entity_id(installation.hass, "sensor", f"{installation.gateway.serial}_production")
    await frames(installation)
    document = json.loads((await installation.coordinator.gateway.envoy.get(URL_LIVE_DATA_STATUS)).text)
    shown = []
    for second, watts_now in ((1, 5000), (2, 5040), (3, 5060), (4, 5012), (5, 5010)):
        document["meters"]["last_update"] += second
        document["meters"]["pv"]["agg_p_mw"] = watts_now * 1000
        with installation.gateway.fault(URL_LIVE_DATA_STATUS, Body(json.dumps(document))):
            await frames(installation, 1)
        state = installation.hass.states.get(name)
        assert state
        shown.append(float(state.state))
    assert shown == [5.0, 5.0, 5.06, 5.06, 5.06]
    # Then it stays exactly as it is.
    for _ in range(14):
        document["meters"]["last_update"] += 1
        with installation.gateway.fault(URL_LIVE_DATA_STATUS, Body(json.dumps(document))):
            await frames(installation, 1)
    state = installation.hass.states.get(name)
    assert state
    assert float(state.state) == 5.01


@pytest.mark.usefixtures("entity_registry_enabled_by_default")
@pytest.mark.parametrize(
    ("field", "values", "expected"),
    [
        ("voltage", (250.0, 250.4, 252.4, 252.6, 250.2), [250.0, 250.0, 250.0, 252.6, 252.6]),
        ("voltage", (0.0, 0.03, 0.9, 1.1, 0.4), [0.0, 0.0, 0.0, 1.1, 1.1]),
        ("current", (2.0, 2.004, 2.09, 2.13, 2.05), [2.0, 2.0, 2.0, 2.13, 2.13]),
        ("current", (40.0, 40.2, 40.39, 40.5, 40.3), [40.0, 40.0, 40.0, 40.5, 40.5]),
    ],
)
async def test_a_small_change_of_live_voltage_or_current_is_written_once_a_minute(
    live: Live, field: str, values: tuple[float, ...], expected: list[float]
) -> None:
    installation = await live("three_phase")
    name = entity_id(installation.hass, "sensor", f"{installation.gateway.serial}_production_ct_{field}")
    await frames(installation)

    async def shown(value: float) -> float:
        def change(document: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [reading | {field: value} for reading in document]

        with installation.gateway.fault(ENDPOINT_URL_METERS_READINGS, Change(change)):
            await frames(installation, 1)
        state = installation.hass.states.get(name)
        assert state
        return float(state.state)

    assert [await shown(value) for value in values] == expected
    assert [await shown(values[-1]) for _ in range(14)][-1] == values[-1]


async def test_panels_that_produce_are_counted_by_live_power_and_else_by_the_inventory(live: Live) -> None:
    installation = await live()
    await frames(installation)
    count = len(installation.gateway.house.inverters)
    name = entity_id(installation.hass, "sensor", f"{installation.gateway.serial}_panels_producing")

    def shown() -> PanelCounts | None:
        return installation.coordinator.data.get(PanelCounts, COUNTS)

    assert shown() == PanelCounts(count, count, count)
    with installation.gateway.fault(URL_LIVE_DATA_STATUS, Replace("iqpm.running_PCU_count", count - 3)):
        await frames(installation, 1)
        assert shown() == PanelCounts(count, count - 3, count)
        state = installation.hass.states.get(name)
        assert state
        assert state.state == str(count - 3)
        # A frame that repeats the numbers changes nothing.
        before = installation.coordinator.data.objects[COUNTS].value
        await frames(installation, 1)
        assert installation.coordinator.data.objects[COUNTS].value is before
    with installation.gateway.fault(URL_LIVE_DATA_STATUS, Status(503)):
        await frames(installation, 12)
        assert shown() == PanelCounts(count, count, count)


async def test_power_of_the_generator(live: Live) -> None:
    installation = await live()
    await frames(installation)
    name = entity_id(installation.hass, "sensor", f"{installation.gateway.serial}_generator_power")
    er.async_get(installation.hass).async_update_entity(name, disabled_by=None)
    await installation.hass.config_entries.async_reload(installation.entry.entry_id)

    def shown() -> str:
        state = installation.hass.states.get(name)
        assert state
        return state.state

    await frames(installation)
    assert float(shown()) == 0
    house = installation.gateway.house
    assert house.generator
    house.generator.mode, house.generator.charge_from_generator = "on", True
    house.grid.closed = house.grid.wanted = False
    house.reconsider()
    await frames(installation, 1)
    generated = flow(installation, "generated")
    assert generated > 100
    assert float(shown()) == pytest.approx(generated / 1000, abs=0.001)
    # No poll contains it.
    with installation.gateway.fault(URL_LIVE_DATA_STATUS, Status(503)):
        await installation.pass_time(60)
        await frames(installation, 4)
        assert shown() == "unavailable"
    await frames(installation, 12)
    assert float(shown()) == pytest.approx(flow(installation, "generated") / 1000, abs=0.001)


async def test_grid_and_generator_relays_are_live(live: Live) -> None:
    installation = await live()
    await frames(installation)
    grid = entity_id(installation.hass, "binary_sensor", "202226050419_mains_oper_state")

    def position(address: Address, field: str) -> Any:
        return getattr(installation.coordinator.data.objects[address].value, field)

    assert position(("enpower",), "mains_oper_state") == "closed"
    changes = Replace("meters.main_relay_state", 0), Replace("meters.gen_relay_state", 1)
    with (
        installation.gateway.fault(URL_LIVE_DATA_STATUS, changes[0]),
        installation.gateway.fault(URL_LIVE_DATA_STATUS, changes[1]),
    ):
        await frames(installation, 1)
        assert position(("enpower",), "mains_oper_state") == "open"
        assert position(("generator",), "oper_state") == "closed"
        state = installation.hass.states.get(grid)
        assert state
        assert state.state == "off"
    await frames(installation, 1)
    assert position(("enpower",), "mains_oper_state") == "closed"
    assert position(("generator",), "oper_state") == "open"


async def test_relay_and_charge_stay_as_they_are_when_another_source_takes_over(live: Live) -> None:
    installation = await live()
    house = installation.gateway.house
    inventory = installation.coordinator.gateway._scheduler.endpoints[URL_ENSEMBLE_INVENTORY]
    grid = entity_id(installation.hass, "binary_sensor", "202226050419_mains_oper_state")
    # The inventory was just read: its next turn is in two minutes.
    await installation.poll_all()
    await frames(installation)
    house.grid.closed = house.grid.wanted = False
    house.reconsider()
    await frames(installation, 1)
    assert installation.states()[grid] == "off"
    read_at = inventory.requested_at
    with installation.gateway.fault(URL_LIVE_DATA_STATUS, Status(503)):
        for _ in range(13):
            await frames(installation, 1)
            assert installation.states()[grid] == "off"
        assert inventory.requested_at > read_at


async def test_field_that_every_second_frame_lacks_keeps_its_last_value(live: Live) -> None:
    installation = await live()
    address = ("system_net_consumption",)
    await frames(installation)
    document = json.loads((await installation.coordinator.gateway.envoy.get(URL_LIVE_DATA_STATUS)).text)
    for count in range(1, 8):
        document["meters"]["last_update"] += 5
        document["meters"]["grid"]["agg_p_mw"] = 4_000_000 if count % 2 else None
        with installation.gateway.fault(URL_LIVE_DATA_STATUS, Body(json.dumps(document))):
            await frames(installation, 1)
        timed = installation.coordinator.data.objects[address]
        assert isinstance(timed.value, EnvoySystemConsumption)
        assert timed.value.watts_now == 4000
        age = installation.gateway.clock.now - timed.field_freshness["watts_now"].updated_at
        assert age == (0 if count % 2 else 5)


async def test_sensor_shows_the_source(live: Live) -> None:
    installation = await live()
    await frames(installation)
    registry = er.async_get(installation.hass)
    name = entity_id(installation.hass, "sensor", f"{installation.gateway.serial}_live_source")
    entry = registry.async_get(name)
    assert entry
    assert entry.disabled_by is er.RegistryEntryDisabler.INTEGRATION
    registry.async_update_entity(name, disabled_by=None)
    await installation.hass.config_entries.async_reload(installation.entry.entry_id)
    shown = []
    for status in (200, 404):
        with installation.gateway.fault(URL_LIVE_DATA_STATUS, Status(status) if status != 200 else Fault()):
            await frames(installation, 6)
        state = installation.hass.states.get(name)
        assert state
        shown.append(state.state)
    assert shown == ["live_data_status", "meter_readings"]


async def test_diagnostics_contain_the_source(live: Live) -> None:
    installation = await live()
    await frames(installation)
    live_power = installation.coordinator.gateway.live
    with installation.gateway.fault(URL_LIVE_DATA_STATUS, Status(503)):
        await frames(installation, 1)
    await frames(installation, 3)
    report = live_power.report()
    assert report["source"] == URL_LIVE_DATA_STATUS
    assert report["age"] == 0
    # One of the last frames is missing.
    assert report["interval"] == 5
    assert report["interval_achieved"] == 6.2
    shown: Any = report["frames"]
    assert [frame["age"] for frame in shown] == [25, 20, 10, 5, 0]
    assert shown[-1]["values"]["system_production"] == {"watts_now": watts(installation)}
    assert shown[-1]["source"] == URL_LIVE_DATA_STATUS


async def test_nothing_is_read_without_the_option(set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    installation.gateway.requests.clear()
    await frames(installation)
    # The certificate is stored once the gateway is identified.
    assert not [request.path for request in installation.gateway.requests if request.path != "/info"]


async def test_fresh_power_does_not_renew_counters(live: Live) -> None:
    installation = await live()
    before = installation.coordinator.data.objects[PRODUCTION].updated_at
    await frames(installation)
    assert installation.coordinator.data.objects[PRODUCTION].updated_at == before


@pytest.mark.slow
async def test_the_stream_is_kept_enabled(live: Live) -> None:
    installation = await live()
    for _ in range(4 * 60 * 20 // 60):
        await installation.pass_time(15)
    assert requests(installation, URL_LIVE_DATA_STREAM) == 2
    assert live_at(installation) == pytest.approx(installation.gateway.clock.now, abs=45)


async def test_stream_that_could_not_be_enabled_is_enabled_with_the_next_frame(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = await live()
    await frames(installation)
    gateway = installation.coordinator.gateway
    slot = gateway._scheduler.slot

    def busy_for_writes(path: str, **options: Any) -> AbstractAsyncContextManager[None]:
        if path == URL_LIVE_DATA_STREAM:
            raise GatewayBusyError
        return slot(path, **options)

    installation.gateway.gateway.enable_live_data(enable=False)
    before = requests(installation, URL_LIVE_DATA_STREAM)
    with monkeypatch.context() as patched:
        patched.setattr(gateway._scheduler, "slot", busy_for_writes)
        installation.gateway.clock.advance(120)
        await gateway.read_live()
    assert requests(installation, URL_LIVE_DATA_STREAM) == before
    await gateway.read_live()
    assert requests(installation, URL_LIVE_DATA_STREAM) == before + 1


def test_readings_without_a_time_or_a_voltage() -> None:
    objects: dict[Address, TimedValue] = {
        ("ctmeters", CtType.PRODUCTION): TimedValue(_meter(CtType.PRODUCTION, CtState.ENABLED), Freshness(0))
    }
    found = [
        readings_frame([{"eid": 1, "timestamp": None, "activePower": watts, "voltage": "?"}, {}], objects)
        for watts in (100, 200)
    ]
    assert [frame.values[PRODUCTION] for frame in found] == [{"watts_now": 100}, {"watts_now": 200}]
    assert found[0].measured != found[1].measured


async def test_values_that_stand_still_are_not_fresh(live: Live) -> None:
    installation = await live()
    await frames(installation)
    document = await installation.coordinator.gateway.envoy.get(URL_LIVE_DATA_STATUS)
    at = installation.gateway.clock.now
    with (
        installation.gateway.fault(URL_LIVE_DATA_STATUS, Body(document.text)),
        installation.gateway.fault(ENDPOINT_URL_METERS_READINGS, Status(503)),
        installation.gateway.fault(URL_METER_STREAM, Status(503)),
    ):
        await frames(installation, 8)
        # Until the next poll, whose values are newer.
        assert live_at(installation) in (None, at)
        assert installation.coordinator.gateway.live.failures[URL_LIVE_DATA_STATUS] == "the values stand still"
        assert installation.coordinator.gateway.live.source is None
    for _ in range(8):
        await installation.pass_time(15)
    assert live_at(installation) == pytest.approx(installation.gateway.clock.now, abs=45)


@pytest.mark.parametrize("fault", [Status(404), Status(503), Status(401), Body("[]"), Body('{"meters": {}}')], ids=repr)
async def test_another_source_takes_over(live: Live, fault: Any) -> None:
    installation = await live()
    with installation.gateway.fault(URL_LIVE_DATA_STATUS, fault):
        await frames(installation, 6)
        assert installation.coordinator.gateway.live.source == ENDPOINT_URL_METERS_READINGS
        meter = installation.coordinator.data.get(EnvoyMeterData, ("ctmeters", CtType.NET_CONSUMPTION))
        assert meter
        grid = flow(installation, "imported") - flow(installation, "exported")
        assert meter.active_power == pytest.approx(grid, abs=1)


async def test_a_poll_goes_on_where_live_power_ends(live: Live) -> None:
    installation = await live()
    await frames(installation)
    with (
        installation.gateway.fault(URL_LIVE_DATA_STATUS, Status(503)),
        installation.gateway.fault(ENDPOINT_URL_METERS_READINGS, Status(503)),
        installation.gateway.fault(URL_METER_STREAM, Status(503)),
    ):
        for _ in range(2):
            await installation.pass_time(60)
    assert live_at(installation) is None
    assert watts(installation) == pytest.approx(flow(installation, "production"), abs=2)


async def test_no_source_without_meters_and_batteries(live: Live) -> None:
    installation = await live("standard_7_6")
    await frames(installation)
    assert live_at(installation) is None
    assert installation.coordinator.gateway.live.failures[ENDPOINT_URL_METERS_READINGS] == "no enabled meter"


def test_a_status_of_zeros_is_no_source() -> None:
    zero = {"agg_p_mw": 0, "agg_p_ph_a_mw": 0}
    document = json.loads(json.dumps({"meters": {"last_update": 1, "pv": zero, "grid": zero}}))
    with pytest.raises(LiveError, match="zero"):
        status_frame(document, {})


@pytest.mark.parametrize("odd", ["x", [1], {"x": []}, None, True, 1e300], ids=repr)
@pytest.mark.parametrize(
    "place",
    [
        *("iqpm", "meters.main_relay_state", "meters.gen_relay_state", "meters.soc", "meters.enc_agg_soc"),
        *("meters.generator", "meters.storage", "meters.last_update"),
    ],
)
def test_optional_value_of_a_status_costs_no_other(place: str, odd: Any) -> None:
    power = {"agg_p_mw": 5000}
    meters = dict.fromkeys(("pv", "grid", "storage", "generator"), power) | {"soc": 5, "enc_agg_soc": 6}
    complete = {"iqpm": {"running_PCU_count": 1, "total_PCU_count": 2}, "meters": meters | {"last_update": 1}}
    document = json.loads(json.dumps(complete))
    *parents, name = place.split(".")
    (document[parents[0]] if parents else document)[name] = odd
    expected, found = status_frame(complete, {}).values, status_frame(document, {}).values
    assert found.items() <= expected.items()
    # A value feeds up to two objects.
    assert len(expected) - len(found) <= 2
    assert found[PRODUCTION] == {"watts_now": 5}


def test_meter_that_was_not_read_is_not_zero() -> None:
    objects: dict[Address, TimedValue] = {
        ("ctmeters", ct_type): TimedValue(_meter(ct_type, CtState.ENABLED, eid), Freshness(0))
        for eid, ct_type in (("0", CtType.PRODUCTION), ("1", CtType.NET_CONSUMPTION))
    }
    nothing = {"voltage": 0, "current": 0, "activePower": 0}
    grid = {"eid": 1, "timestamp": 1, "voltage": 230, "current": 1, "activePower": 230}
    absent = {"eid": 0, "timestamp": 1, **nothing, "channels": [nothing]}
    at_night = {"eid": 0, "timestamp": 1, **nothing, "voltage": 230}
    without_voltage = {"eid": 0, "timestamp": 1, "activePower": 0}
    assert readings_frame([absent, grid], objects).values.keys() == {
        ("system_net_consumption",),
        ("ctmeters", CtType.NET_CONSUMPTION),
    }
    part, zero = {"p": 100.0, "v": 230.0, "i": 1.0}, {"p": 0.0, "v": 0.0, "i": 0.0}
    event = event_frame({"production": {"ph-a": zero}, "net-consumption": {"ph-a": part}}, objects)
    assert PRODUCTION not in event.values
    for reading in (at_night, without_voltage):
        assert readings_frame([reading, grid], objects).values[PRODUCTION] == {"watts_now": 0}


async def test_status_without_a_time_is_a_source(live: Live) -> None:
    installation = await live()
    with installation.gateway.fault(URL_LIVE_DATA_STATUS, Replace("meters.last_update", None)):
        await frames(installation, 6)
        assert live_at(installation) == installation.gateway.clock.now
        assert installation.coordinator.gateway.live.source == URL_LIVE_DATA_STATUS


async def test_dialog_finds_what_is_a_source_once_the_stream_is_enabled(set_up: SetUp) -> None:
    installation = await set_up("battery_total")
    gateway = installation.coordinator.gateway

    class ZerosUntilEnabled(AllZeros):
        def applies(self, gateway: Any) -> bool:
            return not gateway.is_live

    with (
        installation.gateway.fault(URL_LIVE_DATA_STATUS, ZerosUntilEnabled()),
        installation.gateway.fault(ENDPOINT_URL_METERS_READINGS, AllZeros()),
        installation.gateway.fault(URL_METER_STREAM, Status(401)),
    ):
        with installation.gateway.fault(URL_LIVE_DATA_STREAM, Status(403)):
            assert await gateway.live.find() is None
        installation.gateway.clock.advance(60)
        assert await gateway.live.find() == URL_LIVE_DATA_STATUS


def test_phases_and_signs_of_a_status() -> None:
    document = {"meters": {"last_update": 1, "grid": {"agg_p_mw": -1500400, "agg_p_ph_b_mw": 2000}, "soc": 55}}
    frame = status_frame(document, {})
    assert frame.values["ctmeters", CtType.NET_CONSUMPTION] == {"active_power": -1500}
    assert frame.values["system_net_consumption_phases", "L2"] == {"watts_now": 2}
    assert frame.values[("battery_aggregate",)] == {"state_of_charge": 55}


@pytest.mark.slow
async def test_live_power_costs_at_most_twice_the_requests_of_polling_every_endpoint(live: Live) -> None:
    installation = await live()
    gateway = installation.coordinator.gateway
    await frames(installation)
    installation.gateway.requests.clear()
    for second in range(0, 1800, 5):
        installation.gateway.clock.advance(5)
        await gateway.read_live()
        if second % 60 == 0:
            await gateway.poll()
    assert len(installation.gateway.requests) / 30 <= 2 * len(gateway._parser.paths)


async def test_poll_requests_what_live_power_covers_every_second_time(live: Live) -> None:
    installation = await live()
    gateway = installation.coordinator.gateway
    await frames(installation)
    await gateway.poll()
    installation.gateway.requests.clear()
    for _ in range(4):
        for _ in range(12):
            installation.gateway.clock.advance(5)
            await gateway.read_live()
        await gateway.poll()
    assert requests(installation, ENDPOINT_URL_METERS_READINGS) == 2
    with installation.gateway.fault(URL_LIVE_DATA_STATUS, Status(503)):
        installation.gateway.requests.clear()
        for _ in range(2):
            installation.gateway.clock.advance(60)
            await gateway.poll()
    assert requests(installation, ENDPOINT_URL_METERS_READINGS) == 2


@pytest.mark.parametrize("fault", [Status(503), Body("<html>")], ids=["status", "content"])
async def test_one_endpoint_that_fails_is_no_lost_gateway_where_few_are_due(live: Live, fault: Fault) -> None:
    installation = await live()
    gateway = installation.coordinator.gateway
    await frames(installation)
    failed = 0
    for _ in range(10):
        await frames(installation, 8)
        installation.gateway.clock.advance(15)
        await gateway.read_live()
        due = await gateway._due(gateway._scheduler.new_cycle())
        if len(due) == 1:
            failed += 1
            with installation.gateway.fault(min(due), fault):
                await gateway.poll()
        else:
            await gateway.poll()
    assert failed


async def test_live_power_is_read_beside_a_slow_poll(live: Live) -> None:
    installation = await live()
    await frames(installation)
    installation.gateway.clock.advance(120)
    held = Held()
    with installation.gateway.fault("/production*", held):
        poll = asyncio.create_task(installation.coordinator.async_refresh())
        await held.waiting.wait()
        await installation.coordinator.gateway.read_live()
        assert live_at(installation) is not None
        assert installation.coordinator.gateway.live.report()["age"] == 0
        assert not poll.done()
        held.release()
        await poll


async def test_live_power_is_given_the_next_free_slot(live: Live) -> None:
    installation = await live()
    await frames(installation)
    installation.gateway.clock.advance(601)
    held = Held()
    with installation.gateway.fault("*", held):
        installation.gateway.requests.clear()
        poll = asyncio.create_task(installation.coordinator.async_refresh())
        await held.waiting.wait()
        while len(installation.gateway.requests) < 2:
            await installation.hass.async_add_executor_job(int)
        # Both slots are occupied, and the other requests of the poll wait.
        reading = asyncio.create_task(installation.coordinator.gateway.read_live())
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(installation.gateway.requests) == 2
        held.release()
        await asyncio.gather(poll, reading)
    assert installation.gateway.requests[2].path == URL_LIVE_DATA_STATUS
    assert installation.coordinator.gateway.live.report()["age"] == 0


async def test_poll_is_not_delayed_by_live_power(live: Live) -> None:
    installation = await live()
    gateway = installation.coordinator.gateway
    await frames(installation)
    installation.gateway.clock.advance(60)
    held = Held()
    # The object of the live data is not due in this poll.
    with installation.gateway.fault(URL_LIVE_DATA_STATUS, held):
        reading = asyncio.create_task(gateway.read_live())
        await held.waiting.wait()
        await gateway.poll()
        assert not reading.done()
        held.release()
        await reading


@pytest.mark.parametrize(
    ("profile", "path"),
    [
        ("full_battery", URL_LIVE_DATA_STATUS),
        ("battery_total", URL_LIVE_DATA_STATUS),
        ("three_phase", ENDPOINT_URL_METERS_READINGS),
    ],
)
@pytest.mark.usefixtures("read_by_the_test")
async def test_live_power_goes_on_when_the_answer_to_a_request_of_the_poll_is_lost(
    live: Live, profile: str, path: str
) -> None:
    installation = await live(profile)
    gateway = installation.coordinator.gateway
    await events(installation, 8)
    assert gateway.live.source == path
    installation.gateway.clock.advance(601)
    lost = installation.gateway.faults.add(path, Silent(), count=1)
    poll = asyncio.create_task(installation.coordinator.async_refresh())
    await asyncio.sleep(0.5)
    assert lost.hits == 1
    for _ in range(10):
        await events(installation, 1)
        assert gateway.live.source == path
        assert gateway.live.report()["age"] == 0
    await poll


@pytest.mark.usefixtures("read_by_the_test")
async def test_requests_of_the_poll_without_an_answer_leave_a_slot_to_live_power(live: Live) -> None:
    installation = await live()
    gateway = installation.coordinator.gateway
    await events(installation)
    installation.gateway.clock.advance(601)
    paths = "/production.json", URL_DEVICE_DATA, URL_TARIFF
    lost = [installation.gateway.faults.add(path, Silent(), count=1) for path in paths]
    poll = asyncio.create_task(installation.coordinator.async_refresh())
    await events(installation, 3)
    for _ in range(8):
        assert gateway.live.report()["age"] == 0
        await events(installation, 1)
    await poll
    assert [fault.hits for fault in lost] == [1, 1, 1]


async def test_poll_ends_the_pauses_of_live_power(live: Live) -> None:
    installation = await live()
    gateway = installation.coordinator.gateway
    await frames(installation)
    with installation.gateway.fault("/ivp/*", Status(503)), installation.gateway.fault("/stream/*", Status(503)):
        await frames(installation, 40)
    assert gateway.live.source is None
    await gateway.poll()
    for _ in range(2):
        installation.gateway.clock.advance(5)
        await gateway.read_live()
    assert gateway.live.report()["age"] == 0


@pytest.fixture
def read_by_the_test(virtual_clock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the seconds of a stream pass without waiting, and only the test read live power."""
    monkeypatch.setattr(EnvoyCoordinator, "async_start_live", lambda _: None)


@pytest.fixture
async def streaming(live: Live, read_by_the_test: None) -> AsyncIterator[Installation]:
    """Read live power from the stream, because the other sources fail."""
    installation = await live()
    with (
        installation.gateway.fault(URL_LIVE_DATA_STATUS, Status(404)),
        installation.gateway.fault(ENDPOINT_URL_METERS_READINGS, Status(404)),
    ):
        yield installation


async def closed(installation: Installation) -> None:
    """Wait until the gateway sends no stream."""
    while URL_METER_STREAM in installation.gateway._in_flight:  # noqa: ASYNC110  (the simulator has no event)
        await asyncio.sleep(0)


async def events(installation: Installation, count: int = 6) -> None:
    """Read frames, and let five seconds of the stream pass before each."""
    for _ in range(count):
        installation.gateway.clock.advance(5)
        await asyncio.sleep(5)
        await installation.coordinator.gateway.read_live()


async def test_stream_is_the_last_source(streaming: Installation) -> None:
    await events(streaming)
    live = streaming.coordinator.gateway.live
    assert live.source == URL_METER_STREAM
    assert live.report()["age"] == 0
    assert requests(streaming, URL_METER_STREAM) == 1
    assert watts(streaming) == pytest.approx(flow(streaming, "production"), abs=1)
    meter = streaming.coordinator.data.get(EnvoyMeterData, ("ctmeters", CtType.NET_CONSUMPTION))
    assert meter
    grid = flow(streaming, "imported") - flow(streaming, "exported")
    assert meter.active_power == pytest.approx(grid, abs=1)


async def test_event_that_was_received_before_a_poll_does_not_replace_its_values(
    streaming: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await events(streaming)
    streaming.gateway.clock.advance(600)
    await asyncio.sleep(5)
    gateway = streaming.coordinator.gateway
    latest = await gateway.live._stream.latest()
    monkeypatch.setattr(gateway.live._stream, "latest", AsyncMock(return_value=latest))
    streaming.gateway.clock.advance(3600)
    await streaming.coordinator.async_refresh()
    polled = watts(streaming)
    assert polled == pytest.approx(flow(streaming, "production"), abs=1)
    await gateway.read_live()
    assert watts(streaming) == polled


@pytest.mark.usefixtures("read_by_the_test")
async def test_stream_is_closed_when_a_better_source_is_back(live: Live) -> None:
    installation = await live()
    with (
        installation.gateway.fault(URL_LIVE_DATA_STATUS, Status(404)),
        installation.gateway.fault(ENDPOINT_URL_METERS_READINGS, Status(404)),
    ):
        await events(installation)
        assert installation.coordinator.gateway.live.source == URL_METER_STREAM
    await events(installation, 30)
    assert installation.coordinator.gateway.live.source == URL_LIVE_DATA_STATUS
    await closed(installation)


async def test_stream_is_closed_with_the_entry(streaming: Installation) -> None:
    await events(streaming)
    await streaming.hass.config_entries.async_unload(streaming.entry.entry_id)
    await closed(streaming)


@pytest.mark.parametrize("fault", [Status(401), AllZeros(), Body("data: {}\n\n"), Freeze()], ids=repr)
async def test_unusable_stream_is_no_source(streaming: Installation, fault: Fault) -> None:
    with streaming.gateway.fault(URL_METER_STREAM, fault):
        await events(streaming, 8)
        assert streaming.coordinator.gateway.live.source is None
        assert URL_METER_STREAM in streaming.coordinator.gateway.live.failures
    # It is used again within the pause after its failures.
    await events(streaming, 12)
    assert streaming.coordinator.gateway.live.source == URL_METER_STREAM


@pytest.mark.parametrize("seconds", [3, 13])
async def test_stream_goes_on_after_a_stall_with_the_last_event_of_the_burst(
    streaming: Installation, seconds: float
) -> None:
    await events(streaming)
    with streaming.gateway.fault(URL_METER_STREAM, Stall(seconds)):
        for _ in range(12):
            await events(streaming, 1)
            assert streaming.coordinator.gateway.live.source == URL_METER_STREAM
            age = streaming.coordinator.gateway.live.report()["age"]
            assert isinstance(age, float)
            assert age <= seconds + 5
    assert requests(streaming, URL_METER_STREAM) == 1


async def test_stream_is_a_third_connection_beside_the_two_of_polls(streaming: Installation) -> None:
    await events(streaming)
    held = Held()
    streaming.gateway.clock.advance(601)
    with streaming.gateway.fault("*", held):
        poll = asyncio.create_task(streaming.coordinator.async_refresh())
        await held.waiting.wait()
        await asyncio.sleep(1)
        in_flight = streaming.gateway._in_flight
        assert URL_METER_STREAM in in_flight
        # It occupies no slot, so that polls keep theirs.
        assert len(in_flight) == 3
        held.release()
        await poll


@pytest.mark.parametrize("firmware", ["8.2.4382", None], ids=["new firmware", "outage"])
async def test_power_is_right_within_one_interval_of_the_gateways_return(live: Live, firmware: str | None) -> None:
    installation = await live()
    await frames(installation)
    await installation.gateway.go_away()
    for _ in range(5):
        await installation.pass_time(60)
    name = entity_id(installation.hass, "sensor", f"{installation.gateway.serial}_production")
    assert installation.states()[name] == "unavailable"
    installation.gateway.gateway.enable_live_data(enable=False)
    if firmware:
        await installation.gateway.upgrade(firmware)
    else:
        await installation.gateway.come_back()
    # No poll is due: these are 60 seconds apart.
    polled = requests(installation, "/production.json")
    await frames(installation, 1)
    assert requests(installation, "/production.json") == polled
    assert float(installation.states()[name]) == pytest.approx(flow(installation, "production") / 1000, abs=0.02)


@pytest.mark.usefixtures("cloud")
async def test_power_is_right_within_one_interval_of_a_new_token(live: Live) -> None:
    installation = await live()
    await frames(installation)
    installation.gateway.revoke(installation.entry.data["token"])
    # The next poll is due in half a minute.
    await frames(installation, 2)
    assert live_at(installation) == installation.gateway.clock.now


@pytest.mark.usefixtures("cloud")
async def test_one_poll_is_made_early_while_the_gateway_denies_access(live: Live) -> None:
    installation = await live()
    await frames(installation)
    installation.gateway.requests.clear()
    with installation.gateway.fault("*", Status(401)):
        await frames(installation, 5)
        assert requests(installation, "/info") == 1


@pytest.mark.parametrize("fault", [Status(503), Silent()], ids=repr)
@pytest.mark.usefixtures("read_by_the_test")
async def test_power_is_right_within_seconds_of_the_end_of_a_restart(live: Live, fault: Fault) -> None:
    installation = await live()
    await events(installation)
    with installation.gateway.fault("*", fault):
        await events(installation, 80)
    # No poll succeeded meanwhile. The last request that had no answer may still be under way.
    await events(installation, 3)
    age = installation.coordinator.gateway.live.report()["age"]
    assert isinstance(age, float)
    assert age <= 5


async def test_old_values_after_a_restart_are_not_fresh(live: Live) -> None:
    installation = await live()
    await frames(installation)
    document = json.loads((await installation.coordinator.gateway.envoy.get(URL_LIVE_DATA_STATUS)).text)
    # The values shortly before the restart, which differ from the last ones that were read.
    document["meters"]["last_update"] += 3
    with installation.gateway.fault("*", Status(503)):
        await frames(installation, 60)
    await installation.poll()
    with (
        installation.gateway.fault(URL_LIVE_DATA_STATUS, Body(json.dumps(document))),
        installation.gateway.fault(ENDPOINT_URL_METERS_READINGS, Status(503)),
        installation.gateway.fault(URL_METER_STREAM, Status(503)),
    ):
        for _ in range(8):
            await frames(installation, 1)
            assert installation.coordinator.gateway.live.source is None


async def test_source_that_fails_again_and_again_pauses_for_longer_and_is_logged_once(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    installation = await live()
    await frames(installation)
    caplog.clear()
    for _ in range(60):
        installation.gateway.faults.add(URL_LIVE_DATA_STATUS, Status(503), count=1)
        await frames(installation, 2)
    messages = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert [message for message in messages if message.startswith("live power")] == [
        "live power from /ivp/livedata/status fails (HTTP 503)",
        "live power is read from /ivp/meters/readings",
    ]
    assert installation.coordinator.gateway.live._attempts[URL_LIVE_DATA_STATUS].backoff.pause >= 160
    installation.gateway.faults.clear()
    caplog.clear()
    await frames(installation, 96)
    assert installation.coordinator.gateway.live.source == URL_LIVE_DATA_STATUS
    assert "live power is read from /ivp/livedata/status" in caplog.text


def stream_of(read: Callable[[], Awaitable[object]]) -> MeterStream:
    """Return a stream whose connection is read by a function."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        yield SimpleNamespace(readany=read)

    return MeterStream(connect, lambda: 0.0)


@pytest.mark.usefixtures("virtual_clock")
async def test_silent_and_endless_streams_are_closed() -> None:
    content = asyncio.StreamReader()
    stream = stream_of(lambda: content.read(1000))
    content.feed_data(b"data: 1\n\ndata: 2\n\ndata: ")
    assert await stream.latest() == (0.0, b" 2")
    await asyncio.sleep(SILENT_AFTER + 1)
    with pytest.raises(TimeoutError):
        await stream.latest()
    content.feed_data(b"x" * 100_000)
    with pytest.raises(OSError, match="too large"):
        await stream.latest()


async def test_a_stream_that_always_has_events_lets_others_run() -> None:
    async def read() -> bytes:
        return b"data: 1\n\n"

    stream = stream_of(read)
    assert await stream.latest() == (0.0, b" 1")
    stream.close()


@pytest.mark.parametrize("fault", [AllZeros(), Freeze()], ids=repr)
async def test_another_source_takes_over_from_zeros_and_frozen_values(live: Live, fault: Fault) -> None:
    installation = await live()
    await frames(installation)
    with installation.gateway.fault(URL_LIVE_DATA_STATUS, fault):
        await frames(installation, 8)
        assert installation.coordinator.gateway.live.source == ENDPOINT_URL_METERS_READINGS


@pytest.mark.parametrize("in_use", [URL_METER_STREAM, ENDPOINT_URL_METERS_READINGS])
@pytest.mark.usefixtures("read_by_the_test")
async def test_source_in_use_goes_on_while_a_better_one_is_probed(live: Live, in_use: str) -> None:
    installation = await live()
    gateway, loop = installation.coordinator.gateway, installation.hass.loop
    better = gateway.live.sources[: gateway.live.sources.index(in_use)]
    # The first one does not answer at all.
    faults = [Held() if path == URL_LIVE_DATA_STATUS else Status(404) for path in better]
    probes, slowest = 0, 0.0
    paths = [path for path in gateway.live.sources if path != URL_METER_STREAM]
    with ExitStack() as stack:
        for path, fault in zip(better, faults, strict=True):
            stack.enter_context(installation.gateway.fault(path, fault))
        await events(installation, 8)
        assert gateway.live.source == in_use
        for _ in range(100):
            installation.gateway.clock.advance(1)
            await asyncio.sleep(1)
            started, probing = loop.time(), gateway._scheduler.is_requested(URL_LIVE_DATA_STATUS)
            reading = asyncio.create_task(gateway.read_live())
            while not reading.done():
                # A stream occupies no slot, and live power never two.
                assert sum(gateway._scheduler.is_requested(path) for path in paths) <= 1
                await asyncio.sleep(0.1)
            if probing:
                probes, slowest = probes + 1, max(slowest, loop.time() - started)
            assert gateway.live.source == in_use
            age = gateway.live.report()["age"]
            assert isinstance(age, float)
            assert age <= 5
        for fault in faults:
            if isinstance(fault, Held):
                fault.release()
    assert probes
    assert slowest < (0.3 if in_use == URL_METER_STREAM else gateway.timeouts.live + 0.3)


async def test_nothing_is_opened_after_live_power_is_closed(streaming: Installation) -> None:
    gateway = streaming.coordinator.gateway
    # The readings pause, so that the stream is the next source after the status.
    gateway.live._attempts[ENDPOINT_URL_METERS_READINGS].resume_at = float("inf")
    held = Held()
    with streaming.gateway.fault(URL_LIVE_DATA_STATUS, held):
        reading = asyncio.create_task(gateway.read_live())
        await held.waiting.wait()
        streaming.gateway.requests.clear()
        gateway.close()
        held.release()
        await reading
    await asyncio.sleep(1)
    assert not requests(streaming, URL_METER_STREAM)
    assert gateway.live._stream._task is None


async def test_dialog_reads_the_sources_while_live_power_is_read(streaming: Installation) -> None:
    live = streaming.coordinator.gateway.live
    with streaming.gateway.fault(URL_METER_STREAM, Stall(2, burst=0)):
        reading = asyncio.create_task(streaming.coordinator.gateway.read_live())
        await asyncio.sleep(0)
        await asyncio.gather(live.find(), reading)
    await events(streaming, 12)
    assert live.source == URL_METER_STREAM


@pytest.mark.usefixtures("virtual_clock")
async def test_stream_that_is_closed_while_an_event_is_awaited() -> None:
    stream = stream_of(asyncio.Event().wait)
    waiting = asyncio.create_task(stream.latest())
    await asyncio.sleep(1)
    stream.close()
    with pytest.raises(OSError, match="the stream ended"):
        await waiting


async def test_events_with_other_lines() -> None:
    content = asyncio.StreamReader()
    stream = stream_of(lambda: content.read(1000))
    content.feed_data(b": comment\r\n\r\nid: 7\r\nevent: meter\r\ndata: 1\r\nretry: 5\r\n\r\n: comment\n\n")
    assert await stream.latest() == (0.0, b" 1")
    stream.close()


_IN_EVENTS = {CtType.PRODUCTION, CtType.NET_CONSUMPTION, CtType.TOTAL_CONSUMPTION}


@pytest.mark.parametrize(
    ("enabled", "shown"),
    [
        ({CtType.NET_CONSUMPTION}, {CtType.NET_CONSUMPTION}),
        ({CtType.PRODUCTION}, {CtType.PRODUCTION}),
        ({CtType.PRODUCTION, CtType.NET_CONSUMPTION}, _IN_EVENTS),
        ({CtType.PRODUCTION, CtType.TOTAL_CONSUMPTION}, _IN_EVENTS),
        (set(), _IN_EVENTS),
    ],
    ids=["import and export alone", "production alone", "net", "total", "no meter known"],
)
def test_power_that_no_meter_measures_is_not_used_from_an_event(enabled: set[CtType], shown: set[CtType]) -> None:
    part = {"ph-a": {"p": 100.0, "v": 230.0, "i": 1.0}}
    nothing = {"ph-a": {"p": 0.0, "v": 230.0, "i": 0.0}}
    document = {
        "production": part if CtType.PRODUCTION in enabled else nothing,
        "net-consumption": part,
        "total-consumption": part,
    }
    states = CtState.DISABLED, CtState.ENABLED
    meters: dict[Address, TimedValue] = {
        ("ctmeters", ct_type): TimedValue(_meter(ct_type, states[ct_type in enabled]), Freshness(0))
        for ct_type in CtType
    }
    values = event_frame(document, meters).values
    assert {address[1] for address in values if address[0] == "ctmeters"} == shown


def _meter(ct_type: CtType, state: CtState, eid: str = "1") -> EnvoyMeterData:
    """Return a meter without values."""
    return EnvoyMeterData(
        eid=eid,
        timestamp=0,
        energy_delivered=0,
        energy_received=0,
        active_power=0,
        power_factor=0,
        voltage=0,
        current=0,
        frequency=50,
        state=state,
        measurement_type=ct_type,
        metering_status=CtMeterStatus.NORMAL,
        status_flags=[],
    )
