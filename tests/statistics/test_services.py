"""The action that repairs statistics, on a real recorder: shows what is wrong, corrects that, and nothing else."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from homeassistant.components.recorder import get_instance
from homeassistant.components.recorder.statistics import async_import_statistics
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import entity_registry as er
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done
from sqlalchemy.exc import OperationalError

from custom_components.enphase_envoy.const import DOMAIN
from tests.conftest import House, entry_for
from tests.helpers.statistics import START, Statistics
from tests.simulator import Simulator

type SetUp = Callable[..., Awaitable[House]]

LIFETIME = 65_000_000.0
#: What flows in a minute.
FLOW = 50.0
ROWS = 30
#: The minute of a lie in the middle of a row, and its last one.
MIDDLE, LAST = 13 * 5 + 2, 13 * 5 + 4


class Owner:
    """Somebody who recorded for some time, then installs this component and calls the action."""

    def __init__(self, hass: HomeAssistant, statistics: Statistics) -> None:
        """Be there from the beginning."""
        self.hass = hass
        self.statistics = statistics
        self.house: House
        self.solar = self.today = self.grid = ""

    async def moves_in(self, set_up: SetUp) -> None:
        """Learn which entities there are: they have the same ids with Home Assistant's own integration."""
        self.house = await set_up("full_battery")
        prefix = f"sensor.envoy_{self.house.gateway.serial}"
        self.solar = f"{prefix}_lifetime_energy_production"
        self.today = f"{prefix}_energy_production_today"
        self.grid = f"{prefix}_lifetime_net_energy_consumption"
        assert {self.solar, self.today, self.grid} <= set(self.hass.states.async_entity_ids())
        self.statistics.freezer.tick(1)
        # What they say from now on is not what is recorded here.
        assert await self.hass.config_entries.async_unload(self.house.entry.entry_id)
        await async_wait_recording_done(self.hass)

    async def records(self, told: dict[str, Sequence[float | None]]) -> None:
        """Have each minute's states recorded, as Home Assistant's own integration would have written them."""
        for row in range(len(next(iter(told.values()))) // 5):
            minutes = range(row * 5, row * 5 + 5)
            await self.statistics.row(
                *({entity: states[minute] for entity, states in told.items()} for minute in minutes)
            )

    async def repairs(self, **data: Any) -> dict[str, Any]:
        """Call the action."""
        if self.house.entry.state is not ConfigEntryState.LOADED:
            with patch("custom_components.enphase_envoy.PLATFORMS", []):
                assert await self.hass.config_entries.async_setup(self.house.entry.entry_id)
        answer = await call(self.hass, config_entry_id=self.house.entry.entry_id, **data)
        await async_wait_recording_done(self.hass)
        return answer


async def call(hass: HomeAssistant, **data: Any) -> dict[str, Any]:
    """Call the action and return what it answers."""
    answer = await hass.services.async_call(DOMAIN, "repair_statistics", data, blocking=True, return_response=True)
    assert answer
    return dict(answer)


@pytest.fixture
async def owner(statistics: Statistics, hass: HomeAssistant, set_up: SetUp) -> AsyncIterator[Owner]:
    """Somebody with entities and no history."""
    owner = Owner(hass, statistics)
    # Its timers are not for a clock that leaps.
    with patch("custom_components.enphase_envoy.maintenance.async_start"):
        await owner.moves_in(set_up)
        yield owner
        with patch("custom_components.enphase_envoy.PLATFORMS", []):
            await hass.config_entries.async_unload(owner.house.entry.entry_id)


def counter(start: float = LIFETIME) -> list[float]:
    """Return the true states of a counter, one a minute."""
    return [start + FLOW * minute for minute in range(ROWS * 5)]


def lie(true: Sequence[float], minutes: range, told: Callable[[float], float]) -> list[float]:
    """Return states with another value in some minutes."""
    return [told(state) if minute in minutes else state for minute, state in enumerate(true)]


FAULTS: dict[str, Callable[[float], float]] = {
    "zero": lambda _: 0.0,
    "half": lambda true: true / 2,
    "triple": lambda true: true * 3,
    "wrap": lambda true: true + 2**32,
    "more": lambda true: true * 1.12,
}
MINUTES = {
    "in a row": range(MIDDLE, MIDDLE + 1),
    "over rows": range(LAST, LAST + 1),
    "for rows": range(LAST, LAST + 22),
}


@pytest.mark.parametrize(
    ("fault", "when"),
    [
        ("zero", "in a row"),
        ("zero", "over rows"),
        ("zero", "for rows"),
        ("half", "in a row"),
        ("half", "over rows"),
        ("triple", "over rows"),
        ("triple", "for rows"),
        ("wrap", "over rows"),
        ("wrap", "for rows"),
        ("more", "in a row"),
    ],
)
async def test_a_lie_is_shown_then_corrected_then_gone(owner: Owner, fault: str, when: str) -> None:
    """To the watt-hour in each row where it passes within one, and in all otherwise."""
    minutes = MINUTES[when]
    unit = {"zero": "Wh", "half": "kWh"}.get(fault, "MWh")
    owner.statistics.units[owner.solar] = unit
    true = counter()
    await owner.records({owner.solar: lie(true, minutes, FAULTS[fault]), owner.grid: true})
    before = await owner.statistics.changes(owner.solar)
    shown = await owner.repairs()
    assert shown["applied"] is False
    assert {jump["entity_id"] for jump in shown["jumps"]} == {owner.solar}
    assert await owner.statistics.changes(owner.solar) == before
    applied = await owner.repairs(apply=True)
    assert applied == {**shown, "applied": True}
    after = await owner.statistics.changes(owner.solar)
    hours = await owner.statistics.changes(owner.solar, "hour")
    assert await owner.repairs() == {"applied": False, "jumps": []}
    assert await owner.repairs(apply=True) == {"applied": True, "jumps": []}
    assert await owner.statistics.changes(owner.solar) == after
    touched = range(minutes.start // 5, minutes.stop // 5 + 1)
    assert [change for row, change in enumerate(after) if row not in touched] == pytest.approx(
        [200, *[250] * (ROWS - len(touched) - 1)], abs=0.01
    )
    assert sum(after) == pytest.approx(200 + 250 * (ROWS - 1), abs=0.01)
    assert hours == pytest.approx([200 + 250 * 11, 250 * 12], abs=0.01)
    assert min(after) >= 0
    if len(minutes) == 1:
        assert after == pytest.approx([200, *[250] * (ROWS - 1)], abs=0.01)
    assert await owner.statistics.changes(owner.grid) == pytest.approx([200, *[250] * (ROWS - 1)], abs=0.01)


async def test_a_jump_is_described(owner: Owner, hass: HomeAssistant) -> None:
    await hass.config.async_set_time_zone("Europe/Amsterdam")
    await owner.records({owner.solar: lie(counter(), MINUTES["in a row"], FAULTS["zero"])})
    (jump,) = (await owner.repairs())["jumps"]
    # A production CT may measure more than the inverters of the system: 144 kW for an hour, with a margin.
    assert jump.pop("possible") == pytest.approx(312_000)
    assert jump == {
        "when": "2026-06-21T13:05:00+02:00",
        "entity_id": owner.solar,
        "statistic_id": owner.solar,
        "booked": pytest.approx(LIFETIME + FLOW * (MIDDLE + 3) - 50 + 100, abs=200),
        "correction": pytest.approx(250 - jump["booked"], abs=0.01),
    }


async def test_rows_that_cancel_out_are_corrected(owner: Owner) -> None:
    """Five per cent less for a row books as much below nothing, and as much too much in the next."""
    await owner.records({owner.solar: lie(counter(), MINUTES["over rows"], lambda true: true * 0.95)})
    changes = await owner.statistics.changes(owner.solar)
    assert min(changes) < -3_000_000
    assert max(changes) > 3_000_000
    assert len((await owner.repairs(apply=True))["jumps"]) == 2
    assert await owner.statistics.changes(owner.solar) == pytest.approx([200, *[250] * (ROWS - 1)], abs=0.01)


@pytest.mark.parametrize("minutes", MINUTES.values(), ids=MINUTES)
async def test_a_today_that_repeated_the_lifetime_is_corrected(owner: Owner, minutes: range) -> None:
    owner.statistics.units[owner.today] = "kWh"
    await owner.records({owner.today: lie(counter(9_000), minutes, lambda today: LIFETIME + today)})
    assert sum(await owner.statistics.changes(owner.today)) > LIFETIME
    assert (await owner.repairs(apply=True))["jumps"]
    assert sum(await owner.statistics.changes(owner.today)) == pytest.approx(200 + 250 * (ROWS - 1), abs=0.01)
    assert (await owner.repairs())["jumps"] == []


@pytest.mark.parametrize("step", [19e6, -53e6, -3e6])
async def test_a_lasting_step_becomes_what_flowed_beside_it(owner: Owner, step: float) -> None:
    await owner.records({owner.solar: lie(counter(), range(MIDDLE, ROWS * 5), lambda true: true + step)})
    assert len((await owner.repairs(apply=True))["jumps"]) == 1
    assert await owner.statistics.changes(owner.solar) == pytest.approx([200, *[250] * (ROWS - 1)], abs=0.01)
    assert (await owner.repairs())["jumps"] == []


async def test_history_of_hours_alone_is_corrected(owner: Owner, hass: HomeAssistant) -> None:
    """Short rows are kept for ten days; what lies further back is in hours."""
    sums = [3000.0 * hour + (LIFETIME if hour > 400 else 0) for hour in range(1000)]
    since = START - timedelta(hours=1000)
    rows = [
        {"start": since + timedelta(hours=hour), "state": (LIFETIME + 3000 * hour) / 1e6, "sum": total / 1e6}
        for hour, total in enumerate(sums)
    ]
    metadata = {
        "mean_type": 0,
        "has_sum": True,
        "name": None,
        "source": "recorder",
        "statistic_id": owner.solar,
        "unit_class": "energy",
        "unit_of_measurement": "MWh",
    }
    async_import_statistics(hass, metadata, rows)  # type: ignore[arg-type]
    await async_wait_recording_done(hass)
    when = (since + timedelta(hours=401)).isoformat()
    (jump,) = (await owner.repairs())["jumps"]
    assert dt_util.parse_datetime(jump["when"]) == dt_util.parse_datetime(when)
    assert jump["correction"] == pytest.approx(-LIFETIME, abs=0.01)
    later, earlier = since + timedelta(hours=402), since + timedelta(hours=401)
    assert (await owner.repairs(start=later.isoformat()))["jumps"] == []
    assert (await owner.repairs(end=earlier.isoformat()))["jumps"] == []
    assert (await owner.repairs(start=earlier.isoformat(), end=later.isoformat()))["jumps"] == [jump]
    await owner.repairs(apply=True)
    assert await owner.statistics.changes(owner.solar, "hour") == pytest.approx([0, *[3000] * 999], abs=0.01)


async def test_only_what_is_chosen_is_corrected(owner: Owner) -> None:
    told = lie(counter(), MINUTES["in a row"], FAULTS["zero"])
    await owner.records({owner.solar: told, owner.grid: told})
    assert len((await owner.repairs())["jumps"]) == 2
    (jump,) = (await owner.repairs(entity_id=owner.grid, apply=True))["jumps"]
    assert jump["entity_id"] == owner.grid
    assert max(await owner.statistics.changes(owner.grid)) == pytest.approx(250, abs=0.01)
    assert max(await owner.statistics.changes(owner.solar)) > LIFETIME


async def test_an_honest_history_has_nothing_to_repair(owner: Owner) -> None:
    true = counter()
    # Away for a while, then all at once what was counted meanwhile.
    away: list[float | None] = [None if 40 <= minute < 90 else state for minute, state in enumerate(true)]
    await owner.records({owner.solar: away, owner.grid: true, owner.today: [state - LIFETIME for state in true]})
    assert await owner.repairs(apply=True) == {"applied": True, "jumps": []}
    assert sum(await owner.statistics.changes(owner.solar)) == pytest.approx(FLOW * (ROWS * 5 - 1), abs=0.01)


async def test_what_is_asked_for_wrongly_is_explained(owner: Owner, hass: HomeAssistant) -> None:
    power = er.async_get(hass).async_get_entity_id("sensor", DOMAIN, f"{owner.house.gateway.serial}_production")
    assert (await owner.repairs())["jumps"] == []
    for data, key in (
        ({"entity_id": power}, "not_a_counter"),
        ({"entity_id": [owner.solar, "sensor.of_another"]}, "not_a_counter"),
        ({"start": "2026-06-21 12:00:00", "end": "2026-06-21 11:00:00"}, "end_before_start"),
    ):
        with pytest.raises(ServiceValidationError) as raised:
            await owner.repairs(**data)
        assert (raised.value.translation_domain, raised.value.translation_key) == (DOMAIN, key)


async def test_statistics_that_can_not_be_read_are_an_error(owner: Owner) -> None:
    await owner.records({owner.solar: [LIFETIME] * 5})
    broken = OperationalError("SELECT", {}, OSError("disk image is malformed"))
    with (
        patch("custom_components.enphase_envoy.statistics.recorder.statistics_during_period", side_effect=broken),
        pytest.raises(HomeAssistantError) as raised,
    ):
        await owner.repairs()
    assert raised.value.translation_key == "statistics_unreadable"


async def test_another_entry_or_one_that_is_not_read_is_an_error(
    hass: HomeAssistant, set_up: SetUp, simulate: Callable[..., Awaitable[Simulator]]
) -> None:
    house = await set_up("full_battery")
    for entry_id in ("nobody", entry_for(await simulate()).entry_id):
        with pytest.raises(ServiceValidationError) as raised:
            await call(hass, config_entry_id=entry_id)
        assert raised.value.translation_key == "service_config_entry_not_found"
    await hass.config_entries.async_unload(house.entry.entry_id)
    with pytest.raises(ServiceValidationError) as raised:
        await call(hass, config_entry_id=house.entry.entry_id)
    assert raised.value.translation_key == "service_config_entry_not_loaded"


async def test_without_a_recorder_there_is_nothing_to_repair(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("full_battery")
    with pytest.raises(HomeAssistantError) as raised:
        await call(hass, config_entry_id=house.entry.entry_id)
    assert raised.value.translation_key == "no_recorder"


async def test_what_is_recorded_of_another_kind_is_left_alone(owner: Owner) -> None:
    """Somebody may have told Home Assistant that it is something else altogether."""
    with patch("custom_components.enphase_envoy.statistics.recorder.is_energy", return_value=False):
        await owner.records({owner.solar: lie(counter(), MINUTES["in a row"], FAULTS["zero"])})
        assert (await owner.repairs())["jumps"] == []
    assert get_instance(owner.hass)
