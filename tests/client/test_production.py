"""Production and consumption are found by what an entry is, not by its place."""

from typing import Any

from awesomeversion import AwesomeVersion
from pyenphase.const import SupportedFeatures
from pyenphase.models.common import CommonProperties
from pyenphase.models.envoy import EnvoyData
from pyenphase.updaters.production import EnvoyProductionJsonUpdater
import pytest

from custom_components.enphase_envoy.client import lenient
from custom_components.enphase_envoy.client.production import CountingMeters, ProductionReader

INVERTERS = {"type": "inverters", "activeCount": 12, "wNow": 23, "whLifetime": 651_729}


def meter(kind: str, watts: float, lifetime: float, *, active: int = 1, **more: Any) -> dict[str, Any]:
    """Return an entry of a meter."""
    return {
        "type": "eim",
        "activeCount": active,
        "measurementType": kind,
        "wNow": watts,
        "whLifetime": lifetime,
        "whToday": 1000.4,
        "whLastSevenDays": 7000.6,
        **more,
    }


PRODUCTION = meter("production", 3000, 9_000_000)
TOTAL = meter("total-consumption", 800, 5_000_000)
NET = meter("net-consumption", -2200, 2_000_000)


async def read(
    document: object,
    *,
    meters: tuple[str, ...] = ("production", "net-consumption"),
    phases: int = 1,
    lists_meters: bool = True,
    counting: CountingMeters | None = None,
) -> EnvoyData:
    """Read a report on a gateway with some meters."""

    async def request(_path: str) -> Any:
        raise AssertionError

    properties = CommonProperties(phase_count=phases, meter_types=list(meters))
    found = EnvoyProductionJsonUpdater(AwesomeVersion("8.2.4"), request, request, properties)
    found._supported_features = (
        SupportedFeatures.PRODUCTION
        | SupportedFeatures.METERING
        | SupportedFeatures.TOTAL_CONSUMPTION
        | SupportedFeatures.NET_CONSUMPTION
    )
    reader = ProductionReader(found, counting if counting is not None else CountingMeters(), lists_meters=lists_meters)

    async def given(_path: str) -> object:
        return lenient.read("/production", document)

    reader._json_request = given  # type: ignore[method-assign, assignment]
    data = EnvoyData()
    await reader.update(data)
    return data


@pytest.mark.parametrize("consumption", [[TOTAL, NET], [NET, TOTAL]])
async def test_consumption_in_any_order(consumption: list[Any]) -> None:
    data = await read({"production": [INVERTERS, PRODUCTION], "consumption": consumption})
    assert data.system_production
    assert data.system_consumption
    assert data.system_net_consumption
    assert data.system_production.watts_now == 3000
    assert (data.system_consumption.watts_now, data.system_net_consumption.watts_now) == (800, -2200)


async def test_one_consumption_entry_is_read() -> None:
    data = await read({"production": [PRODUCTION], "consumption": [NET]})
    assert data.system_consumption is None
    assert data.system_net_consumption


async def test_a_missing_figure_costs_itself() -> None:
    net = {key: value for key, value in NET.items() if key != "whLastSevenDays"}
    data = await read({"production": [PRODUCTION], "consumption": [TOTAL, net | {"whToday": "unknown"}]})
    assert data.system_net_consumption
    assert data.system_net_consumption.watt_hours_last_7_days is None
    assert data.system_net_consumption.watt_hours_today is None
    assert data.system_net_consumption.watts_now == -2200
    assert data.system_consumption
    assert data.system_consumption.watt_hours_last_7_days == 7001


async def test_consumption_without_a_type_may_be_total_or_net() -> None:
    old = {key: value for key, value in TOTAL.items() if key != "measurementType"}
    document = {"production": [INVERTERS, PRODUCTION], "consumption": [old]}
    data = await read(document)
    assert data.system_production
    assert data.system_consumption is None


async def test_a_meter_that_does_not_count_has_no_days() -> None:
    idle = meter("production", 0.7, 584_366.9, active=0, whToday=584_366.9, whLastSevenDays=584_366.9)
    for lists_meters in (True, False):
        data = await read({"production": [INVERTERS, idle]}, meters=(), lists_meters=lists_meters)
        assert data.system_production
        assert (data.system_production.watts_now, data.system_production.watt_hours_lifetime) == (23, 651_729)
        assert data.system_production.watt_hours_today is None
        assert data.system_production.watt_hours_last_7_days is None


async def test_the_lifetime_does_not_change_its_source_while_a_meter_pauses() -> None:
    counting = CountingMeters()
    idle = PRODUCTION | {"activeCount": 0}
    first = await read({"production": [INVERTERS, idle]}, counting=counting)
    assert first.system_production
    assert first.system_production.watt_hours_lifetime == 651_729
    await read({"production": [INVERTERS, PRODUCTION]}, counting=counting)
    assert (await read({"production": [INVERTERS, idle]}, counting=counting)).system_production is None


@pytest.mark.parametrize(("lines", "phases"), [(3, {"L1", "L2", "L3"}), (2, set()), (1, set()), (0, set())])
async def test_lines_without_names_are_phases_only_where_that_is_certain(lines: int, phases: set[str]) -> None:
    line = {"wNow": 1000, "whLifetime": 3_000_000, "whToday": 300, "whLastSevenDays": 2000}
    data = await read({"production": [INVERTERS, PRODUCTION | {"lines": [line] * lines}]}, phases=3)
    assert set(data.system_production_phases or {}) == phases


@pytest.mark.parametrize("invalid", [None, "n/a", []])
@pytest.mark.parametrize("key", [None, "whLifetime", "wNow"])
async def test_a_meter_of_one_phase_in_a_system_of_three_has_one_line(key: str | None, invalid: object) -> None:
    """An invalid value in it costs that value alone."""
    line = {"wNow": 3000.4, "whLifetime": 9_000_000.4} | ({key: invalid} if key else {})
    data = await read({"production": [INVERTERS, PRODUCTION | {"lines": [line]}]}, phases=3)
    assert set(data.system_production_phases or {}) == {"L1"}


async def test_a_meter_of_other_solar_is_no_production() -> None:
    other = meter("pv3p", 1, 2)
    data = await read({"production": [other, INVERTERS, PRODUCTION]})
    assert data.system_production
    assert data.system_production.watt_hours_lifetime == 9_000_000


async def test_a_meter_that_counts_is_read_before_another_of_its_type() -> None:
    production, total = PRODUCTION | {"activeCount": 0, "wNow": 1}, TOTAL | {"activeCount": 0, "wNow": 0}
    data = await read({"production": [production, INVERTERS, PRODUCTION], "consumption": [total, TOTAL, NET]})
    assert data.system_production
    assert data.system_production.watts_now == 3000
    assert data.system_consumption
    assert data.system_consumption.watts_now == 800


@pytest.mark.parametrize("count", [None, "1", [], "missing"])
async def test_a_meter_without_a_valid_number_of_devices_counts(count: object) -> None:
    """Only zero is none; the lifetime of the inverters is another one."""
    production, total = PRODUCTION | {"activeCount": count}, TOTAL | {"activeCount": count}
    if count == "missing":
        del production["activeCount"], total["activeCount"]
    data = await read({"production": [INVERTERS, production], "consumption": [total]})
    assert data.system_production
    assert data.system_production.watt_hours_lifetime == 9_000_000
    assert data.system_consumption
    assert data.system_consumption.watt_hours_today == 1000


@pytest.mark.parametrize("invalid", [None, 0, "n/a", []])
async def test_an_invalid_line_costs_its_own_phase(invalid: object) -> None:
    lines = [invalid, {"wNow": 200}, {"wNow": 300}]
    total = TOTAL | {"lines": lines}
    data = await read({"production": [PRODUCTION | {"lines": lines}], "consumption": [total, NET]}, phases=3)
    for phases in (data.system_production_phases, data.system_consumption_phases):
        assert {name: phase and phase.watts_now for name, phase in (phases or {}).items()} == {"L2": 200, "L3": 300}
