"""The simulated roof: panels that fail, degrade, are in the shade, or do not report."""

from typing import Any, Final

import pytest

from custom_components.enphase_envoy.client.models import panel_statuses
from custom_components.enphase_envoy.roof.conditions import FLAGS, most_severe
from tests.simulator import Clock
from tests.simulator.documents.devices import inventory, inverters_v1
from tests.simulator.gateway import Gateway
from tests.simulator.house import House
from tests.simulator.profiles import PROFILES

NOON: Final = "2026-06-21T12:00:00+02:00"


@pytest.fixture
def gateway() -> Gateway:
    """Return a gateway with 24 panels."""
    clock, profile = Clock(start=NOON, running=False), PROFILES["full_battery"]
    return Gateway(profile, House.at(profile, clock.now), clock)


def reports(gateway: Gateway) -> dict[str, dict[str, Any]]:
    """Return the last report of each panel."""
    return {row["serialNumber"]: row for row in inverters_v1(gateway, {})}


def test_changes_of_panels(gateway: Gateway) -> None:
    house = gateway.house
    dirty, shaded, silent, good = (inverter.serial for inverter in house.inverters[:4])
    house.change_inverter(shaded, afternoon=0.2)
    gateway.clock.advance(1800)
    before = reports(gateway)
    gateway.house.change_inverter(dirty, factor=0.8)
    gateway.house.change_inverter(silent, silent_since=gateway.now)
    gateway.clock.advance(3 * 3600)
    after = reports(gateway)

    def change(serial: str) -> float:
        watts = "lastReportWatts"
        return float(after[serial][watts] / before[serial][watts] / (after[good][watts] / before[good][watts]))

    assert change(dirty) == pytest.approx(0.8, abs=0.05)
    assert change(shaded) == pytest.approx(0.2, abs=0.05)
    assert after[silent]["lastReportDate"] <= before[silent]["lastReportDate"] + 300
    statuses = panel_statuses(inventory(gateway, {}))
    assert {serial for serial, status in statuses.items() if not status.communicating} == {silent}


def test_snow_covers_all(gateway: Gateway) -> None:
    gateway.house.change_roof(0.0)
    gateway.clock.advance(900)
    assert {row["lastReportWatts"] for row in reports(gateway).values()} == {0}
    gateway.house.change_roof(1.0)
    gateway.clock.advance(900)
    assert all(row["lastReportWatts"] for row in reports(gateway).values())


@pytest.mark.parametrize("flag", FLAGS)
def test_inventory_with_every_condition(gateway: Gateway, flag: str) -> None:
    serial = gateway.house.inverters[0].serial
    gateway.house.change_inverter(serial, conditions=(f"envoy.cond_flags.pcu_ctrl.{flag}",))
    statuses = panel_statuses(inventory(gateway, {}))
    assert most_severe(statuses[serial].codes or ()) == FLAGS[flag]
