"""The error of energy that is calculated from live power, beside that of polls alone; docs/energy.md contains it.

The power of the simulated house changes every ten seconds: a cooktop switches 3 kW on for 20 s and off for 50 s, all
day. A poll reads counters and power each minute.
"""

from dataclasses import replace
from datetime import UTC
from typing import Any

from pyenphase.models.meters import CtType, EnvoyMeterData
import pytest

from custom_components.enphase_envoy.energy.counter_filter import CounterFilter
from custom_components.enphase_envoy.energy.pipeline import ProcessingContext
from custom_components.enphase_envoy.energy.virtual_meters import VirtualMeters
from custom_components.enphase_envoy.energy.virtual_meters.battery import BATTERY
from custom_components.enphase_envoy.energy.virtual_meters.grid import BALANCED, GRID
from custom_components.enphase_envoy.model.live import LIVE_BATTERY, LiveBattery
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, TimedValue
from tests.energy.test_virtual_meters_error import Reader, without
from tests.simulator import PROFILES, Clock
from tests.simulator.documents import meters
from tests.simulator.gateway import Gateway
from tests.simulator.house import House
from tests.simulator.profiles import Profile
from tests.simulator.weather import load

NET: Address = ("ctmeters", CtType.NET_CONSUMPTION)
SYSTEMS = {
    "three_phase": PROFILES["three_phase"],
    "total_consumption": PROFILES["total_consumption"],
    "full_battery": without("full_battery", "storage"),
}
OFFSET = 1e6
HOURS = 24


@pytest.fixture(autouse=True)
def _cooktop(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_cooktop(seed: int, epoch: float, *args: float) -> float:
        return load(seed, epoch, *args) + (3000.0 if epoch % 70 < 20 else 0.0)

    monkeypatch.setattr("tests.simulator.house.load", with_cooktop)


def overlaid(gateway: Gateway, objects: dict[Address, TimedValue], at: float) -> dict[Address, TimedValue]:
    """Return the objects of the last poll with live power."""
    fresh = Freshness(at)
    for address, timed in objects.items():
        if isinstance(timed.value, EnvoyMeterData) and len(address) == 2:
            watts = round(sum(meters.ct_power(gateway, address[1], phase) for phase in range(gateway.house.phases)))
            value = replace(timed.value, active_power=watts)
            objects[address] = TimedValue(value, timed.freshness, {"active_power": fresh})
    if gateway.house.batteries:
        power = round(gateway.house.power("discharged") - gateway.house.power("charged"))
        objects[LIVE_BATTERY] = TimedValue(LiveBattery(power), fresh, {"power": fresh})
    return objects


def errors(profile: Profile, live: int) -> dict[str, tuple[float, float]]:
    """Return the calculated less the actual energy, and the actual energy, in Wh of a day, by figure."""
    clock = Clock("2026-04-02T00:00:00+02:00", running=False)
    gateway = Gateway(profile, House.at(profile, clock.now), clock)
    gateway.house.cell = 10.0
    reader, counter_filter = Reader(gateway), CounterFilter()
    virtual_meters = VirtualMeters(counter_filter)
    flows: dict[tuple[Address, str], Any] = {
        (GRID, "imported"): "imported",
        (GRID, "exported"): "exported",
        (BATTERY, "charged"): "charged",
        (BATTERY, "discharged"): "discharged",
    }
    actual = dict.fromkeys([*flows, (BALANCED, "imported"), (BALANCED, "exported")], 0.0)
    before = {flow: gateway.house.total(flow) for flow in flows.values()}
    polled: dict[Address, TimedValue] = {}
    shown: dict[Address, TimedValue] = {}
    for second in range(0, HOURS * 3600 + 1, 5):
        at = clock.now - OFFSET
        if second % 60 == 0:
            polled = reader.objects(at)
            polled["ctmeters_phases", CtType.NET_CONSUMPTION, "L3"] = polled[next(iter(polled))]
            if profile.phases < 3:
                del polled["ctmeters_phases", CtType.NET_CONSUMPTION, "L3"]
        if second % 60 == 0 or (live and second % live == 0):
            objects = overlaid(gateway, dict(polled), at + 0.6) if live else polled
            context = ProcessingContext(clock.now + 1, OFFSET, UTC)
            held = counter_filter.process(objects, objects, context)
            shown = dict(virtual_meters.process({**objects, **held}, objects, context))
        clock.advance(5)
        after = {flow: gateway.house.total(flow) for flow in flows.values()}
        moved = {flow: after[flow] - before[flow] for flow in after}
        before = after
        if second < HOURS * 3600:
            for key, flow in flows.items():
                actual[key] += moved[flow]
            # What a meter of all phases together counts.
            net = moved["imported"] - moved["exported"]
            actual[BALANCED, "imported"] += max(0.0, net)
            actual[BALANCED, "exported"] += max(0.0, -net)
    return {
        f"{key[0][0]} {key[1]}": (getattr(shown[key[0]].value, key[1]) - energy, energy)
        for key, energy in actual.items()
        if key[0] in shown
    }


#: The highest error in Wh of the day: polls each minute, and live power every five seconds beside them.
BOUNDS = {"three_phase": (2200, 50), "total_consumption": (2400, 55), "full_battery": (80, 2)}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.slow
def test_error_with_live_power_is_within_the_documented_bounds(system: str) -> None:
    found = (max(abs(error) for error, _ in errors(SYSTEMS[system], live).values()) for live in (0, 5))
    assert [error <= bound for error, bound in zip(found, BOUNDS[system], strict=True)] == [True, True]
