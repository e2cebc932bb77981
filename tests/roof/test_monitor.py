"""The objects of the panels in a snapshot, from reports and the inventory."""

from dataclasses import replace
from datetime import UTC, datetime
import json
from typing import Any, Final

from pyenphase.const import URL_INVENTORY
from pyenphase.models.inverter import EnvoyInverter
import pytest

from custom_components.enphase_envoy.client.lenient import read
from custom_components.enphase_envoy.client.models import GatewayData, panel_statuses
from custom_components.enphase_envoy.model.panels import (
    COUNTS,
    ROOF,
    STATUSES,
    PanelCounts,
    PanelHealth,
    PanelStatus,
    RoofState,
)
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, TimedValue, flatten
from custom_components.enphase_envoy.model.validation import validated
from custom_components.enphase_envoy.roof.health import Problem
from custom_components.enphase_envoy.roof.monitor import Moment, RoofMonitor

NOW: Final = datetime(2026, 6, 21, 12, tzinfo=UTC).timestamp()
NOON: Final = Moment(NOW, UTC, is_dark=False)
DAY: Final = 86400
OK: Final = PanelStatus(("envoy.global.ok",), producing=True, communicating=True)


def objects_of(
    ages: dict[str, float], statuses: dict[str, PanelStatus] | None = None, watts: int = 200
) -> dict[Address, TimedValue]:
    """Return a snapshot of panels that reported some seconds ago, and an inventory."""
    fresh, listed = Freshness(0.0), Freshness(0.0)
    panels: dict[Address, TimedValue] = {
        ("inverters", serial): TimedValue(EnvoyInverter(serial, int(NOW - age), watts, 300), fresh)
        for serial, age in ages.items()
    }
    return panels | {("panels", serial): TimedValue(value, listed) for serial, value in (statuses or {}).items()}


def serials(objects: dict[Address, TimedValue], field: str = "inverters") -> set[str]:
    """Return the panels of a field."""
    return {address[1] for address in objects if address[0] == field}


@pytest.mark.parametrize(
    ("listed", "age", "is_removed"),
    [
        ("1234", 40 * DAY, False),
        ("123", 2 * DAY, True),
        ("123", DAY / 2, False),
        ("", 2 * DAY, False),
        ("", 31 * DAY, True),
    ],
)
def test_removed_panel(listed: str, age: float, is_removed: bool) -> None:
    ages = {"1": 0.0, "2": 100.0, "3": 200.0, "4": age}
    monitor = RoofMonitor()
    shown = dict(monitor.process(objects_of(ages, dict.fromkeys(listed, OK)), NOON))
    assert serials(shown) == serials(shown, "panel_health") == set("123" if is_removed else "1234")
    assert dict(monitor.process(objects_of(ages, dict.fromkeys(listed, OK)), None)).keys() == shown.keys()


@pytest.mark.parametrize("behind", [3, 100, 20 * 365])
@pytest.mark.parametrize("listed", ["", "123"])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_removed_panel_stays_removed_while_the_clock_is_behind(listed: str, behind: int, *, is_restarted: bool) -> None:
    """Also if it is behind by less than the age of the removed panel's last report; and after a start."""
    monitor, statuses = RoofMonitor(), dict.fromkeys(listed, OK)
    if not is_restarted:
        objects = objects_of({"1": 0, "2": 0, "3": 0, "4": 120 * DAY}, statuses)
        assert serials(dict(monitor.process(objects, NOON))) == set("123")
    objects = objects_of({"1": -60, "2": 0, "3": 0, "4": 120 * DAY}, statuses)
    shown = dict(monitor.process(objects, NOON._replace(now=NOW - behind * DAY)))
    assert serials(shown) == set("123")
    # Nothing is concluded from reports of the future.
    assert serials(shown, "panel_health") == (set() if is_restarted else set("123"))


@pytest.mark.parametrize("listed", ["", "012345"])
def test_a_gateway_whose_clock_was_ahead_for_a_while_loses_no_panel(listed: str) -> None:
    """Most panels have reported since, the others not yet; also after a start."""
    before, panels = RoofMonitor(), "0123456789"
    statuses = dict.fromkeys(listed, OK)
    before.process(objects_of(dict.fromkeys(panels, 0.0), dict.fromkeys(panels, OK) if listed else None), NOON)
    started = RoofMonitor()
    started.load(json.loads(json.dumps(before.dump())))
    for monitor in (before, started):
        ages = {serial: -40.0 * DAY if int(serial) < 6 else 100.0 for serial in panels}
        shown = dict(monitor.process(objects_of(ages, statuses), NOON._replace(now=NOW + 100)))
        if monitor is before:
            assert serials(shown) == set(panels)
        ages = {serial: -40.0 * DAY - 900 if int(serial) < 6 else 100.0 for serial in panels}
        monitor.process(objects_of(ages, statuses), NOON._replace(now=NOW + 900))
        assert monitor.health.panels.keys() == set(panels)
        shown = dict(monitor.process(objects_of(dict.fromkeys(panels, 0.0)), NOON._replace(now=NOW + 1800)))
        assert serials(shown) == serials(shown, "panel_health") == set(panels)


def test_a_date_of_the_future_does_not_keep_a_panel_from_being_removed() -> None:
    """A microinverter may report a wrong date, and others that they never reported."""
    objects = objects_of({"1": -900 * DAY, "2": 0, "3": 0, "4": 40 * DAY, "5": NOW, "6": NOW, "7": NOW, "8": NOW})
    assert serials(dict(RoofMonitor().process(objects, NOON))) == set("1235678")


def restored_after(days: float) -> RoofMonitor:
    """Return what is restored with a right clock, with the state of one that was so many days ahead."""
    monitor = RoofMonitor()
    ages = dict.fromkeys("123", -days * DAY)
    monitor.process(objects_of(ages), NOON._replace(now=NOW + days * DAY))
    monitor.health.panels["2"].set(Problem.DEGRADED, monitor.health.day)
    stored = json.loads(json.dumps(monitor.dump()))
    restored = RoofMonitor()
    restored.load(stored)
    return restored


@pytest.mark.parametrize("behind", [0.6, 3, 20 * 365])
def test_a_clock_that_is_behind_at_the_start_leaves_the_day_and_the_problems(behind: float) -> None:
    """Also where it is behind by hours, so that the reports seem to be right."""
    today = datetime.fromtimestamp(NOW, UTC).toordinal()
    monitor = restored_after(0)
    monitor.health.panels["1"].today[0] = 500.0
    for now, age in ((NOW - behind * DAY, 0), (NOW, 0), (NOW + 900, -900)):
        monitor.process(objects_of(dict.fromkeys("123", age)), NOON._replace(now=now))
        assert monitor.health.day == today
        assert monitor.health.panels["2"].since == today
        assert monitor.health.panels["1"].today[0] == 500.0
        assert not any(panel.snow_days for panel in monitor.health.panels.values())
    # The reports of the quarter of an hour count, and none that did before.
    assert sum(monitor.health.panels["3"].today) == 50.0


def test_a_state_of_a_clock_that_was_ahead_holds_nothing_back() -> None:
    monitor = restored_after(365)
    for seconds in (0, 900, 1800):
        objects = objects_of(dict.fromkeys("123", -seconds))
        monitor.process(objects, NOON._replace(now=NOW + seconds))
    today = datetime.fromtimestamp(NOW, UTC).toordinal()
    assert (monitor.health.day, monitor.health.panels["2"].since) == (today, today)
    assert [sum(panel.today) for panel in monitor.health.panels.values()] == [100.0] * 3


def test_old_dates_of_most_panels_remove_none() -> None:
    shown = dict(RoofMonitor().process(objects_of({"1": 0, "2": 40 * DAY, "3": 40 * DAY}), NOON))
    assert serials(shown) == set("123")


def test_ac_battery_among_the_inverters_is_no_panel() -> None:
    objects = objects_of({"1": 0, "2": 0})
    monitor = RoofMonitor()
    shown = dict(monitor.process(objects | {("acb_inventory", "2"): TimedValue(None, Freshness(0.0))}, NOON))
    assert serials(shown) == set("12")
    assert serials(shown, "panel_health") == {"1"}
    # Also after a restart while the documents that list it fail.
    restored = RoofMonitor()
    restored.load(json.loads(json.dumps(monitor.dump())))
    assert serials(dict(restored.process(objects, NOON)), "panel_health") == {"1"}


def test_panels_of_a_system_with_ac_batteries_are_those_in_the_inventory() -> None:
    battery: dict[Address, TimedValue] = {("acb_power",): TimedValue(None, Freshness(0.0))}
    shown = dict(RoofMonitor().process(objects_of({"1": 0, "2": 0}) | battery, NOON))
    assert not serials(shown, "panel_health")
    shown = dict(RoofMonitor().process(objects_of({"1": 0, "2": 0}, {"1": OK}) | battery, NOON))
    assert serials(shown, "panel_health") == {"1"}


def test_status_counts_and_darkness() -> None:
    monitor = RoofMonitor()
    objects = objects_of({"1": 0, "2": 0}, {"1": OK, "2": replace(OK, producing=False)})
    shown = monitor.process(objects, NOON)
    assert shown[COUNTS].value == PanelCounts(2, 1, 2)
    assert shown["panels", "1"].value == OK
    assert shown["panels", "1"].freshness is objects["panels", "1"].freshness
    dark = monitor.process(objects, NOON._replace(is_dark=True))
    assert dark["panels", "1"].value == replace(OK, is_dark=True)
    assert monitor.process(objects, NOON)["panels", "1"].value == OK


def test_objects_stay_the_same_while_nothing_changes() -> None:
    monitor = RoofMonitor()
    first = monitor.process(objects_of({"1": 0, "2": 0, "3": 0}, dict.fromkeys("123", OK)), NOON)
    second = monitor.process(objects_of({"1": 0, "2": 0, "3": 0}, dict.fromkeys("123", OK)), NOON)
    added = [address for address in first if address[0] not in ("inverters", "panels")]
    assert len(added) == 5
    assert all(second[address].value is first[address].value for address in added)


def test_problem_of_a_panel_is_one_of_the_roof() -> None:
    monitor = RoofMonitor()
    monitor.process(objects_of({"1": 0, "2": 0, "3": 0}), NOON)
    monitor.health.panels["2"].set(Problem.DEGRADED, 1)
    shown = monitor.process(objects_of({"1": -60, "2": 0, "3": 0}), NOON._replace(now=NOW + 60))
    assert shown["panel_health", "2"].value == PanelHealth("degraded")
    assert shown["panel_health", "1"].value == PanelHealth(None)
    assert shown[ROOF].value == RoofState(3, {"2": "degraded"})
    restored = RoofMonitor()
    restored.load(monitor.dump())
    assert restored.process(objects_of({"1": 0, "2": 0, "3": 0}), NOON)[ROOF].value == shown[ROOF].value


def test_panels_are_evaluated_after_a_clock_that_was_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor, evaluated = RoofMonitor(), list[float]()
    monkeypatch.setattr(monitor.health, "evaluate", lambda now, **_kwargs: evaluated.append(now))
    objects = objects_of({"1": 0, "2": 0, "3": 0})
    times = [NOW, NOW + 365 * DAY, NOW + 60, NOW + 120]
    for now in times:
        monitor.process(objects, NOON._replace(now=now))
    assert evaluated == times[:3]


def test_invalid_records_of_an_inventory() -> None:
    devices: list[dict[str, object]] = [
        {"serial_num": "1", "admin_state": 0, "device_status": ["envoy.global.ok"]},
        {"serial_num": "2", "device_status": "envoy.global.ok", "producing": "yes"},
        {"serial_num": None},
        {"serial_num": "3", "device_status": ["x" * 9, 5], "producing": True, "communicating": False},
    ]
    inventory: list[dict[str, Any]] = [
        {"type": "PCU", "devices": devices},
        {"type": "ACB", "devices": [{"serial_num": "4"}]},
    ]
    found = flatten(GatewayData(panels=panel_statuses(read(URL_INVENTORY, inventory))))[STATUSES]
    assert {address: validated(status, None)[0] for address, status in found.items()} == {
        (STATUSES, "2"): PanelStatus(None, None, None),
        (STATUSES, "3"): PanelStatus(("x" * 9,), producing=True, communicating=False),
    }
