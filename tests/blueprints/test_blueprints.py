"""Blueprints: when they change which setting, and that a simulated system follows."""

from collections.abc import AsyncGenerator, Callable
from datetime import datetime, timedelta
from pathlib import Path
import shutil
from typing import Any
from zoneinfo import ZoneInfo

from freezegun.api import FrozenDateTimeFactory
from homeassistant.core import CoreState, HomeAssistant
from homeassistant.setup import async_setup_component
from homeassistant.util.yaml import load_yaml_dict
import pytest
from pytest_homeassistant_custom_component.common import async_fire_time_changed, async_mock_service

from tests.helpers.integration import SetUp, entity_id

BLUEPRINTS = Path(__file__).parents[2] / "blueprints" / "automation"
README = Path(__file__).parents[2] / "README.md"
NAMES = sorted(path.stem for path in BLUEPRINTS.glob("*.yaml"))
CONTROLLER = "202226050419"

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 11, 23, tzinfo=BERLIN)


@pytest.fixture(autouse=True)
async def local_time(hass: HomeAssistant) -> AsyncGenerator[None]:
    """Use a time zone with a difference to UTC, and end the automation with its timers."""
    await hass.config.async_set_time_zone(BERLIN.key)
    yield
    if hass.states.get("automation.test"):
        await hass.services.async_call("automation", "turn_off", {"entity_id": "automation.test"}, blocking=True)


def local(day: int, hour: int, minute: int = 0) -> datetime:
    """Return a local time of the week that begins on Monday, 23 November 2026."""
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


@pytest.fixture
def hass_config_dir(tmp_path: Path) -> str:
    """Copy the blueprints to the configuration, as the README describes."""
    shutil.copytree(BLUEPRINTS, tmp_path / "blueprints" / "automation" / "enphase_envoy")
    return str(tmp_path)


async def automate(hass: HomeAssistant, name: str, **inputs: object) -> None:
    """Create an automation from a blueprint."""
    use = {"path": f"enphase_envoy/{name}.yaml", "input": inputs}
    assert await async_setup_component(hass, "automation", {"automation": [{"alias": "Test", "use_blueprint": use}]})
    await hass.async_block_till_done()
    assert hass.states.get("automation.test")


class Changes:
    """Changes of settings that an automation makes, in their order."""

    def __init__(self, hass: HomeAssistant, freezer: FrozenDateTimeFactory) -> None:
        """Replace the actions by recorders."""
        self.hass, self.freezer = hass, freezer
        self._calls = {
            name: async_mock_service(hass, *name.split("."))
            for name in ("number.set_value", "switch.turn_on", "switch.turn_off")
        }

    async def at(self, time: datetime) -> None:
        """Let time pass until then."""
        self.freezer.move_to(time)
        async_fire_time_changed(self.hass, time)
        await self.hass.async_block_till_done()

    def taken(self) -> dict[str, Any]:
        """Return and clear the changes: the level, and whether the battery is charged from the grid."""
        changes: dict[str, Any] = {}
        for call in self._calls["number.set_value"]:
            changes["level"] = call.data["value"]
        for name, charge in (("switch.turn_on", True), ("switch.turn_off", False)):
            if self._calls[name]:
                changes["charge"] = charge
        for calls in self._calls.values():
            calls.clear()
        return changes


@pytest.fixture
def changes(hass: HomeAssistant, freezer: FrozenDateTimeFactory) -> Changes:
    freezer.move_to(local(0, 0))
    return Changes(hass, freezer)


@pytest.mark.parametrize("name", NAMES)
def test_blueprint_can_be_imported_by_a_link_of_the_readme(name: str) -> None:
    blueprint = load_yaml_dict(str(BLUEPRINTS / f"{name}.yaml"))["blueprint"]
    assert blueprint["source_url"].endswith(f"/blueprints/automation/{name}.yaml")
    readme = README.read_text(encoding="utf-8")
    assert f"blueprint_url={blueprint['source_url'].replace(':', '%3A').replace('/', '%2F')}" in readme
    for field in blueprint["input"].values():
        assert {"name", "selector"} <= set(field)


FULL = {"level": 100, "charge": True}
USUAL = {"level": 20, "charge": False}
FILL = {"reserve": "number.reserve", "charging": "switch.charging"}


async def test_battery_is_filled_on_the_chosen_days(hass: HomeAssistant, changes: Changes) -> None:
    await automate(hass, "fill_battery", **FILL, weekdays=["mon", "wed"])
    for day, expected in ((0, True), (1, False), (2, True)):
        await changes.at(local(day, 13))
        assert changes.taken() == (FULL if expected else {})
        await changes.at(local(day, 16))
        assert changes.taken() == (USUAL if expected else {})


async def test_battery_is_filled_until_the_next_day(hass: HomeAssistant, changes: Changes) -> None:
    await automate(hass, "fill_battery", **FILL, weekdays=["mon"], start_time="23:00:00", end_time="05:00:00")
    await changes.at(local(0, 5))
    assert changes.taken() == {}
    await changes.at(local(0, 23))
    assert changes.taken() == FULL
    await changes.at(local(1, 5))
    assert changes.taken() == USUAL
    await changes.at(local(1, 23))
    await changes.at(local(2, 5))
    assert changes.taken() == {}


@pytest.mark.parametrize(
    ("hour", "level", "expected"),
    [(14, "20", FULL), (14, "100", {}), (17, "100", USUAL), (17, "20", {}), (17, "50", {}), (17, "unavailable", {})],
)
async def test_battery_is_filled_or_released_after_a_restart(
    hass: HomeAssistant, changes: Changes, hour: int, level: str, expected: dict[str, Any]
) -> None:
    """The start or the end was missed; a level that was set by hand remains."""
    changes.freezer.move_to(local(0, hour))
    hass.set_state(CoreState.not_running)
    await automate(hass, "fill_battery", **FILL, weekdays=["mon"])
    hass.states.async_set("number.reserve", level)
    await hass.async_start()
    await hass.async_block_till_done()
    assert changes.taken() == expected


async def test_battery_is_filled_while_a_warning_is_active(hass: HomeAssistant, changes: Changes) -> None:
    hass.states.async_set("binary_sensor.storm", "off")
    await automate(hass, "fill_battery", **FILL, warnings=["binary_sensor.storm"])
    await changes.at(local(0, 10))
    hass.states.async_set("binary_sensor.storm", "on")
    await hass.async_block_till_done()
    assert changes.taken() == FULL
    await changes.at(local(0, 16))
    assert changes.taken() == FULL, "the time ends, but not the warning"
    hass.states.async_set("binary_sensor.storm", "off")
    await hass.async_block_till_done()
    assert changes.taken() == USUAL
    hass.states.async_set("binary_sensor.storm", "unavailable")
    hass.states.async_set("binary_sensor.storm", "off")
    await hass.async_block_till_done()
    assert changes.taken() == {}


async def test_end_of_a_warning_keeps_the_level_of_the_time(hass: HomeAssistant, changes: Changes) -> None:
    hass.states.async_set("binary_sensor.storm", "on")
    await automate(hass, "fill_battery", **FILL, warnings=["binary_sensor.storm"])
    await changes.at(local(0, 14))
    hass.states.async_set("binary_sensor.storm", "off")
    await hass.async_block_till_done()
    assert changes.taken() == FULL


async def test_battery_is_filled_with_solar_power_only(hass: HomeAssistant, changes: Changes) -> None:
    await automate(hass, "fill_battery", reserve="number.reserve", full_level=80)
    await changes.at(local(0, 13))
    assert changes.taken() == {"level": 80}


@pytest.mark.parametrize(("charge", "level"), [(None, 50), ("81.4", 81), ("30", 50), ("unavailable", 50)])
async def test_reserve_is_held_at_night(hass: HomeAssistant, changes: Changes, charge: str | None, level: int) -> None:
    inputs = {"state_of_charge": ["sensor.battery"]} if charge else {}
    if charge:
        hass.states.async_set("sensor.battery", charge)
    await automate(hass, "hold_reserve_at_night", reserve="number.reserve", **inputs)
    await changes.at(local(0, 22))
    assert changes.taken() == {"level": level}
    await changes.at(local(1, 6))
    assert changes.taken() == {"level": 20}


def hourly(day: int, prices: list[float]) -> list[tuple[datetime, float]]:
    """Return the prices of the hours of a day."""
    return [(local(day, hour), price) for hour, price in enumerate(prices)]


#: Cheapest between 22:00 and 6:00: 1:00, 2:00 and 23:00.
TONIGHT = hourly(0, [30.0] * 22 + [25.0, 11.0]) + hourly(1, [20.0, 9.0, 10.0, 21.0, 22.0, 23.0] + [5.0] * 18)

type Attributes = Callable[[list[tuple[datetime, float]]], dict[str, object]]

#: How integrations list prices.
FORMATS: dict[str, Attributes] = {
    "Nord Pool": lambda prices: {
        "raw_today": [
            {"start": start, "end": start + timedelta(hours=1), "value": price} for start, price in prices[:24]
        ],
        "raw_tomorrow": [{"start": start, "value": price} for start, price in prices[24:]],
        "today": [price for _, price in prices[:24]],
    },
    "ENTSO-e": lambda prices: {
        "prices_today": [{"time": str(start), "price": price} for start, price in prices[:24]],
        "prices_tomorrow": [{"time": str(start), "price": price} for start, price in prices[24:]],
    },
    "Tibber": lambda prices: {
        "today": [{"startsAt": start.isoformat(), "total": price} for start, price in prices[:24]],
        "tomorrow": [{"startsAt": start.isoformat(), "total": price} for start, price in prices[24:]],
    },
    "EPEX Spot": lambda prices: {
        "data": [{"start_time": start.isoformat(), "price_per_kwh": price} for start, price in prices]
    },
    "Octopus": lambda prices: {
        "rates": [
            {"start": (start + timedelta(minutes=minutes)).isoformat(), "value_inc_vat": price}
            for start, price in prices
            for minutes in (0, 30)
        ]
    },
    "quarters": lambda prices: {
        "prices": [
            {"start": (start + timedelta(minutes=minutes)).isoformat(), "price": price}
            for start, price in prices
            for minutes in (0, 15, 30, 45)
        ]
    },
}
CHARGE = {"price": "sensor.price", "charging": "switch.charging", "reserve": ["number.reserve"]}


async def charged_quarters(changes: Changes, first: datetime, count: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the times of a period at which something is changed, and the changes."""
    found = []
    for index in range(count):
        time = first + timedelta(minutes=15 * index)
        await changes.at(time)
        if taken := changes.taken():
            found.append((f"{time:%H:%M}", taken))
    return found


@pytest.mark.parametrize("attributes", FORMATS.values(), ids=FORMATS)
async def test_battery_is_charged_in_the_cheapest_hours(
    hass: HomeAssistant, changes: Changes, attributes: Attributes
) -> None:
    hass.states.async_set("sensor.price", "30", attributes(TONIGHT))
    await automate(hass, "charge_in_cheapest_hours", **CHARGE)
    expected = [("23:00", FULL), ("00:00", USUAL), ("01:00", FULL), ("03:00", USUAL)]
    assert await charged_quarters(changes, local(0, 21, 45), 44) == expected


async def test_nothing_is_charged_above_the_highest_price(hass: HomeAssistant, changes: Changes) -> None:
    hass.states.async_set("sensor.price", "30", FORMATS["Nord Pool"](TONIGHT))
    await automate(hass, "charge_in_cheapest_hours", **CHARGE, limit=9.5)
    assert await charged_quarters(changes, local(0, 21, 45), 44) == [("01:00", FULL), ("02:00", USUAL)]


async def test_half_an_hour_is_charged_during_the_day(hass: HomeAssistant, changes: Changes) -> None:
    hass.states.async_set("sensor.price", "30", FORMATS["quarters"](TONIGHT))
    await automate(hass, "charge_in_cheapest_hours", **CHARGE, hours=0.5, start_time="20:00:00", end_time="23:00:00")
    assert await charged_quarters(changes, local(0, 19), 24) == [("22:00", FULL), ("22:30", USUAL)]


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"raw_today": None, "prices": "unknown"},
        {"data": [{"start": None, "value": 1}, {"start": "yesterday", "value": 2}, {"value": 3}, 4, None]},
        {"data": [{"start": str(local(0, 23)), "value": None}]},
    ],
)
async def test_nothing_is_charged_without_prices(
    hass: HomeAssistant, changes: Changes, caplog: pytest.LogCaptureFixture, attributes: dict[str, object]
) -> None:
    hass.states.async_set("sensor.price", "unknown", attributes)
    await automate(hass, "charge_in_cheapest_hours", **CHARGE)
    assert await charged_quarters(changes, local(0, 21, 45), 16) == []
    assert "Error" not in caplog.text


@pytest.mark.parametrize("late", ["sensor.price", "switch.charging"])
@pytest.mark.parametrize(("hour", "expected"), [(1, FULL), (4, USUAL)])
async def test_a_change_that_was_missed_is_made_after_a_restart(
    hass: HomeAssistant, changes: Changes, late: str, hour: int, expected: dict[str, Any]
) -> None:
    """Whichever of price and switch is available last."""
    changes.freezer.move_to(local(1, hour, 20))
    states: dict[str, tuple[str, dict[str, object]]] = {
        "sensor.price": ("30", FORMATS["Nord Pool"](TONIGHT)),
        "switch.charging": ("on", {}),
    }
    for name in states:
        hass.states.async_set(name, "unavailable")
    await automate(hass, "charge_in_cheapest_hours", **CHARGE)
    for name in sorted(states, key=lambda name: name == late):
        assert changes.taken() == {}
        hass.states.async_set(name, *states[name])
        await hass.async_block_till_done()
    assert changes.taken() == expected


async def test_missing_prices_do_not_end_charging_by_hand(hass: HomeAssistant, changes: Changes) -> None:
    changes.freezer.move_to(local(1, 1, 20))
    hass.states.async_set("switch.charging", "on")
    hass.states.async_set("sensor.price", "unavailable")
    await automate(hass, "charge_in_cheapest_hours", **CHARGE)
    hass.states.async_set("sensor.price", "30", FORMATS["Nord Pool"](TONIGHT[:24]))
    await hass.async_block_till_done()
    assert changes.taken() == {}


async def test_a_simulated_system_follows(hass: HomeAssistant, set_up: SetUp) -> None:
    """The entities that the blueprints offer are those of the component, and accept the changes."""
    await set_up("full_battery")
    reserve = entity_id(hass, "number", f"{CONTROLLER}_reserve_soc")
    charging = entity_id(hass, "switch", f"{CONTROLLER}_charge_from_grid")
    hass.states.async_set("binary_sensor.storm", "off")
    inputs = {"reserve": reserve, "charging": [charging], "warnings": ["binary_sensor.storm"], "weekdays": []}
    await automate(hass, "fill_battery", **inputs)
    for warning, level, charge in (("on", 100, "on"), ("off", 20, "off")):
        hass.states.async_set("binary_sensor.storm", warning)
        await hass.async_block_till_done(wait_background_tasks=True)
        found = hass.states.get(reserve), hass.states.get(charging)
        assert found[0]
        assert found[1]
        assert (float(found[0].state), found[1].state) == (level, charge)
