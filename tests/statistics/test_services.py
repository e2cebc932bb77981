"""The action that repairs statistics, with a real recorder: it finds and corrects wrong rows and no others."""

from asyncio import Event, gather
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
import re
from threading import Event as ThreadEvent
from typing import Any
from unittest.mock import patch

from homeassistant.components.recorder import Recorder, get_instance
from homeassistant.components.recorder.statistics import async_import_statistics
from homeassistant.components.recorder.tasks import RecorderTask
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError, Unauthorized
from homeassistant.helpers import entity_registry as er
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.common import MockUser
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done
from sqlalchemy.exc import OperationalError

from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.statistics.recorder import Correction, async_correct, async_spikes
from custom_components.enphase_envoy.statistics.spikes import Spike
from tests.helpers.integration import Installation, SetUp, Simulate, entry_for
from tests.helpers.statistics import START, Statistics

pytestmark = pytest.mark.slow

LIFETIME = 65_000_000.0
#: Watt-hours that flow in a minute.
FLOW = 50.0
ROWS = 30
#: The response where nothing was found.
NOTHING = {"applied": False, "found": 0, "correction": 0, "unit": "Wh", "jumps": []}
#: Minutes of a fault: in the middle of a row, and at its end.
MIDDLE, LAST = 13 * 5 + 2, 13 * 5 + 4


class RecordedSystem:
    """A system that was recorded for some time before this component was installed and the action called."""

    def __init__(self, hass: HomeAssistant, statistics: Statistics) -> None:
        """Initialize without a gateway."""
        self.hass = hass
        self.statistics = statistics
        self.house: Installation
        self.solar = self.today = self.grid = ""

    async def set_up(self, set_up: SetUp) -> None:
        """Register the entities, which have the same ids as those of Home Assistant's own integration."""
        self.house = await set_up("metered_1phase")
        prefix = f"sensor.envoy_{self.house.gateway.serial}"
        self.solar = f"{prefix}_lifetime_energy_production"
        self.today = f"{prefix}_energy_production_today"
        self.grid = f"{prefix}_lifetime_net_energy_consumption"
        assert {self.solar, self.today, self.grid} <= set(self.hass.states.async_entity_ids())
        self.statistics.freezer.tick(1)
        # From here on, the states are written by the tests.
        assert await self.hass.config_entries.async_unload(self.house.entry.entry_id)
        await async_wait_recording_done(self.hass)

    async def record(self, states: dict[str, Sequence[float | None]]) -> None:
        """Record a state a minute, as Home Assistant's own integration would have written it."""
        for row in range(len(next(iter(states.values()))) // 5):
            minutes = range(row * 5, row * 5 + 5)
            await self.statistics.row(
                *({entity: values[minute] for entity, values in states.items()} for minute in minutes)
            )

    async def repair(self, **data: Any) -> dict[str, Any]:
        """Call the action."""
        if self.house.entry.state is not ConfigEntryState.LOADED:
            with patch("custom_components.enphase_envoy.PLATFORMS", []):
                assert await self.hass.config_entries.async_setup(self.house.entry.entry_id)
        response = await call(self.hass, config_entry_id=self.house.entry.entry_id, **data)
        await async_wait_recording_done(self.hass)
        return response


async def call(hass: HomeAssistant, context: Context | None = None, **data: Any) -> dict[str, Any]:
    """Call the action and return its response."""
    response = await hass.services.async_call(
        DOMAIN, "repair_statistics", data, blocking=True, context=context, return_response=True
    )
    assert response
    return dict(response)


@pytest.fixture
async def installation(statistics: Statistics, hass: HomeAssistant, set_up: SetUp) -> AsyncIterator[RecordedSystem]:
    """An installation with entities and no history."""
    installation = RecordedSystem(hass, statistics)
    # Its timers do not work with a clock that leaps.
    with patch("custom_components.enphase_envoy.maintenance.async_start"):
        await installation.set_up(set_up)
        yield installation
        if installation.house.entry.state is ConfigEntryState.LOADED:
            with patch("custom_components.enphase_envoy.PLATFORMS", []):
                await hass.config_entries.async_unload(installation.house.entry.entry_id)


def counter(start: float = LIFETIME) -> list[float]:
    """Return the correct states of a counter, one a minute."""
    return [start + FLOW * minute for minute in range(ROWS * 5)]


def faulty(correct: Sequence[float], minutes: range, fault: Callable[[float], float]) -> list[float]:
    """Return states with another value in some minutes."""
    return [fault(state) if minute in minutes else state for minute, state in enumerate(correct)]


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
async def test_a_fault_is_shown_then_corrected(installation: RecordedSystem, fault: str, when: str) -> None:
    """Exact in each row if the fault is within one, otherwise in total."""
    minutes = MINUTES[when]
    unit = {"zero": "Wh", "half": "kWh"}.get(fault, "MWh")
    installation.statistics.units[installation.solar] = unit
    true = counter()
    await installation.record({installation.solar: faulty(true, minutes, FAULTS[fault]), installation.grid: true})
    before = await installation.statistics.changes(installation.solar)
    shown = await installation.repair()
    assert shown["applied"] is False
    assert (shown["found"], shown["unit"]) == (len(shown["jumps"]), "Wh")
    assert shown["correction"] == pytest.approx(sum(spike["correction"] for spike in shown["jumps"]), abs=0.01)
    assert {spike["entity_id"] for spike in shown["jumps"]} == {installation.solar}
    assert await installation.statistics.changes(installation.solar) == before
    applied = await installation.repair(apply=True)
    assert applied == {**shown, "applied": True}
    after = await installation.statistics.changes(installation.solar)
    hours = await installation.statistics.changes(installation.solar, "hour")
    assert await installation.repair() == NOTHING
    assert await installation.repair(apply=True) == {**NOTHING, "applied": True}
    assert await installation.statistics.changes(installation.solar) == after
    touched = range(minutes.start // 5, minutes.stop // 5 + 1)
    assert [change for row, change in enumerate(after) if row not in touched] == pytest.approx(
        [200, *[250] * (ROWS - len(touched) - 1)], abs=0.01
    )
    assert sum(after) == pytest.approx(200 + 250 * (ROWS - 1), abs=0.01)
    assert hours == pytest.approx([200 + 250 * 11, 250 * 12], abs=0.01)
    assert min(after) >= 0
    if len(minutes) == 1:
        assert after == pytest.approx([200, *[250] * (ROWS - 1)], abs=0.01)
    assert await installation.statistics.changes(installation.grid) == pytest.approx(
        [200, *[250] * (ROWS - 1)], abs=0.01
    )


async def test_the_response_describes_a_spike(installation: RecordedSystem, hass: HomeAssistant) -> None:
    await hass.config.async_set_time_zone("Europe/Amsterdam")
    await installation.record({installation.solar: faulty(counter(), MINUTES["in a row"], FAULTS["zero"])})
    (spike,) = (await installation.repair())["jumps"]
    # A production CT may measure more than the inverters of the system: 144 kW for an hour, with a margin.
    assert spike.pop("possible") == pytest.approx(312_000)
    assert spike == {
        "when": "2026-06-21T13:05:00+02:00",
        "entity_id": installation.solar,
        "statistic_id": installation.solar,
        "booked": pytest.approx(LIFETIME + FLOW * (MIDDLE + 3) - 50 + 100, abs=200),
        "correction": pytest.approx(250 - spike["booked"], abs=0.01),
    }


async def test_rows_that_cancel_each_other_are_corrected(installation: RecordedSystem) -> None:
    """A state that is five per cent too low records negative energy, and as much positive energy in the next row."""
    await installation.record({installation.solar: faulty(counter(), MINUTES["over rows"], lambda true: true * 0.95)})
    changes = await installation.statistics.changes(installation.solar)
    assert min(changes) < -3_000_000
    assert max(changes) > 3_000_000
    assert len((await installation.repair(apply=True))["jumps"]) == 2
    assert await installation.statistics.changes(installation.solar) == pytest.approx(
        [200, *[250] * (ROWS - 1)], abs=0.01
    )


@pytest.mark.parametrize("minutes", MINUTES.values(), ids=MINUTES)
async def test_a_daily_counter_with_the_lifetime_value_is_corrected(
    installation: RecordedSystem, minutes: range
) -> None:
    installation.statistics.units[installation.today] = "kWh"
    await installation.record({installation.today: faulty(counter(9_000), minutes, lambda today: LIFETIME + today)})
    assert sum(await installation.statistics.changes(installation.today)) > LIFETIME
    assert (await installation.repair(apply=True))["jumps"]
    assert sum(await installation.statistics.changes(installation.today)) == pytest.approx(
        200 + 250 * (ROWS - 1), abs=0.01
    )
    assert (await installation.repair())["jumps"] == []


@pytest.mark.parametrize("step", [19e6, -53e6, -3e6])
async def test_a_permanent_step_becomes_the_energy_of_the_rows_beside_it(
    installation: RecordedSystem, step: float
) -> None:
    await installation.record(
        {installation.solar: faulty(counter(), range(MIDDLE, ROWS * 5), lambda true: true + step)}
    )
    assert len((await installation.repair(apply=True))["jumps"]) == 1
    assert await installation.statistics.changes(installation.solar) == pytest.approx(
        [200, *[250] * (ROWS - 1)], abs=0.01
    )
    assert (await installation.repair())["jumps"] == []


async def test_history_of_hours_alone_is_corrected(installation: RecordedSystem, hass: HomeAssistant) -> None:
    """Short rows are kept for ten days; older statistics consist of hours."""
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
        "statistic_id": installation.solar,
        "unit_class": "energy",
        "unit_of_measurement": "MWh",
    }
    async_import_statistics(hass, metadata, rows)  # type: ignore[arg-type]
    await async_wait_recording_done(hass)
    when = (since + timedelta(hours=401)).isoformat()
    (spike,) = (await installation.repair())["jumps"]
    assert dt_util.parse_datetime(spike["when"]) == dt_util.parse_datetime(when)
    assert spike["correction"] == pytest.approx(-LIFETIME, abs=0.01)
    later, earlier = since + timedelta(hours=402), since + timedelta(hours=401)
    assert (await installation.repair(start=later.isoformat()))["jumps"] == []
    assert (await installation.repair(end=earlier.isoformat()))["jumps"] == []
    assert (await installation.repair(start=earlier.isoformat(), end=later.isoformat()))["jumps"] == [spike]
    await installation.repair(apply=True)
    assert await installation.statistics.changes(installation.solar, "hour") == pytest.approx(
        [0, *[3000] * 999], abs=0.01
    )


async def test_only_selected_entities_are_corrected(installation: RecordedSystem) -> None:
    states = faulty(counter(), MINUTES["in a row"], FAULTS["zero"])
    await installation.record({installation.solar: states, installation.grid: states})
    assert len((await installation.repair())["jumps"]) == 2
    (spike,) = (await installation.repair(entity_id=installation.grid, apply=True))["jumps"]
    assert spike["entity_id"] == installation.grid
    assert max(await installation.statistics.changes(installation.grid)) == pytest.approx(250, abs=0.01)
    assert max(await installation.statistics.changes(installation.solar)) > LIFETIME


async def test_correct_statistics_have_nothing_to_repair(installation: RecordedSystem) -> None:
    true = counter()
    # Unavailable for a while, then the energy counted meanwhile at once.
    away: list[float | None] = [None if 40 <= minute < 90 else state for minute, state in enumerate(true)]
    await installation.record(
        {installation.solar: away, installation.grid: true, installation.today: [state - LIFETIME for state in true]}
    )
    assert await installation.repair(apply=True) == {**NOTHING, "applied": True}
    assert sum(await installation.statistics.changes(installation.solar)) == pytest.approx(
        FLOW * (ROWS * 5 - 1), abs=0.01
    )


async def test_invalid_data_is_an_error(installation: RecordedSystem, hass: HomeAssistant) -> None:
    power = er.async_get(hass).async_get_entity_id("sensor", DOMAIN, f"{installation.house.gateway.serial}_production")
    assert (await installation.repair())["jumps"] == []
    for data, key in (
        ({"entity_id": power}, "not_a_counter"),
        ({"entity_id": [installation.solar, "sensor.of_another"]}, "not_a_counter"),
        ({"start": "2026-06-21 12:00:00", "end": "2026-06-21 11:00:00"}, "end_before_start"),
    ):
        with pytest.raises(ServiceValidationError) as raised:
            await installation.repair(**data)
        assert (raised.value.translation_domain, raised.value.translation_key) == (DOMAIN, key)


async def test_unreadable_statistics_are_an_error(installation: RecordedSystem) -> None:
    await installation.record({installation.solar: [LIFETIME] * 5})
    broken = OperationalError("SELECT", {}, OSError("disk image is malformed"))
    with (
        patch("custom_components.enphase_envoy.statistics.recorder.statistics_during_period", side_effect=broken),
        pytest.raises(HomeAssistantError) as raised,
    ):
        await installation.repair()
    assert raised.value.translation_key == "statistics_unreadable"


async def test_a_correction_in_the_queue_of_the_recorder_is_not_found_again(installation: RecordedSystem) -> None:
    hass, recorder, is_released = installation.hass, get_instance(installation.hass), ThreadEvent()
    await installation.record({installation.solar: faulty(counter(), MINUTES["for rows"], FAULTS["wrap"])})
    found = await installation.repair()
    assert found["found"] > 0

    @dataclass(slots=True)
    class Wait(RecorderTask):
        commit_before = False

        def run(self, instance: Recorder) -> None:  # noqa: ARG002
            is_released.wait(60)

    recorder.queue_task(Wait())
    for jump in found["jumps"]:
        at = dt_util.as_utc(datetime.fromisoformat(jump["when"])).timestamp()
        async_correct(recorder, Correction(installation.solar, at, jump["correction"]))
    repair = hass.async_create_task(installation.repair(apply=True))
    for _ in range(5):
        await hass.async_add_executor_job(int)
    is_released.set()
    assert (await repair)["found"] == 0


async def test_a_recorder_that_does_not_process_its_queue_is_an_error(installation: RecordedSystem) -> None:
    """As while its database is being migrated or backed up."""
    await installation.record({installation.solar: [LIFETIME] * 5})
    with (
        patch("custom_components.enphase_envoy.statistics.recorder._QUEUE_TIMEOUT", 0),
        patch.object(get_instance(installation.hass), "queue_task"),
        pytest.raises(HomeAssistantError) as raised,
    ):
        await installation.repair()
    assert raised.value.translation_key == "statistics_unreadable"


async def test_an_unknown_entry_or_one_that_is_not_loaded_is_an_error(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    house = await set_up("full_battery")
    for entry_id in ("unknown", entry_for(await simulate()).entry_id):
        with pytest.raises(ServiceValidationError) as raised:
            await call(hass, config_entry_id=entry_id)
        assert raised.value.translation_key == "service_config_entry_not_found"
    await hass.config_entries.async_unload(house.entry.entry_id)
    with pytest.raises(ServiceValidationError) as raised:
        await call(hass, config_entry_id=house.entry.entry_id)
    assert raised.value.translation_key == "service_config_entry_not_loaded"


async def test_the_action_is_for_administrators_only(
    hass: HomeAssistant, hass_admin_user: MockUser, hass_read_only_user: MockUser, set_up: SetUp
) -> None:
    house = await set_up("full_battery")
    with pytest.raises(Unauthorized):
        await call(hass, Context(user_id=hass_read_only_user.id), config_entry_id=house.entry.entry_id)
    with pytest.raises(HomeAssistantError) as raised:
        await call(hass, Context(user_id=hass_admin_user.id), config_entry_id=house.entry.entry_id)
    assert raised.value.translation_key == "no_recorder"


async def test_without_a_recorder_the_action_is_an_error(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("full_battery")
    with pytest.raises(HomeAssistantError) as raised:
        await call(hass, config_entry_id=house.entry.entry_id)
    assert raised.value.translation_key == "no_recorder"


async def test_statistics_that_are_no_energy_are_left_out(installation: RecordedSystem) -> None:
    """The user may have changed the unit or class of the entity."""
    with patch("custom_components.enphase_envoy.statistics.recorder.is_energy", return_value=False):
        await installation.record({installation.solar: faulty(counter(), MINUTES["in a row"], FAULTS["zero"])})
        assert (await installation.repair())["jumps"] == []
    assert get_instance(installation.hass)


@pytest.mark.parametrize("end", ["unload", "reload", "remove"])
async def test_nothing_is_corrected_after_the_entry_was_unloaded(installation: RecordedSystem, end: str) -> None:
    """The search takes long in a large database."""
    hass, entry_id = installation.hass, installation.house.entry.entry_id
    await installation.record({installation.solar: faulty(counter(), MINUTES["in a row"], FAULTS["zero"])})
    before = await installation.statistics.changes(installation.solar)
    assert (await installation.repair())["jumps"]
    searching, finish = Event(), Event()

    async def search(*args: Any) -> list[Spike]:
        searching.set()
        await finish.wait()
        return await async_spikes(*args)

    with (
        patch("custom_components.enphase_envoy.services.async_spikes", search),
        patch("custom_components.enphase_envoy.PLATFORMS", []),
    ):
        repair = hass.async_create_task(installation.repair(apply=True))
        await searching.wait()
        await getattr(hass.config_entries, f"async_{end}")(entry_id)
        finish.set()
        with pytest.raises(HomeAssistantError) as raised:
            await repair
    assert raised.value.translation_key == "unloaded"
    await async_wait_recording_done(hass)
    assert await installation.statistics.changes(installation.solar) == before


async def test_two_calls_at_the_same_time_correct_once(installation: RecordedSystem) -> None:
    await installation.record({installation.solar: faulty(counter(), MINUTES["in a row"], FAULTS["zero"])})
    assert (await installation.repair())["jumps"]
    calls = await gather(*(installation.repair(apply=True) for _ in range(3)))
    assert sorted(len(response["jumps"]) for response in calls) == [0, 0, 1]
    assert await installation.statistics.changes(installation.solar) == pytest.approx(
        [200, *[250] * (ROWS - 1)], abs=0.01
    )


async def test_the_dialog_corrects_what_is_selected(installation: RecordedSystem, hass: HomeAssistant) -> None:
    await hass.config.async_set_time_zone("Europe/Amsterdam")
    await installation.record(
        {
            installation.solar: faulty(counter(), MINUTES["in a row"], FAULTS["zero"]),
            installation.grid: faulty(counter(), MINUTES["in a row"], FAULTS["zero"]),
        }
    )
    shown = await installation.repair()
    assert shown["found"] == 2
    options = hass.config_entries.options

    async def opened() -> dict[str, Any]:
        menu = await options.async_init(installation.house.entry.entry_id)
        return dict(await options.async_configure(menu["flow_id"], {"next_step_id": "repair_statistics"}))

    form = await opened()
    assert form["description_placeholders"] == {"count": "2"}
    ((field, selector),) = form["data_schema"].schema.items()
    assert field.default() == [option["value"] for option in selector.config["options"]]
    (solar,) = [option for option in selector.config["options"] if installation.solar in option["value"]]
    assert re.fullmatch(
        r"2026-06-21 13:05 · .*lifetime energy production: 65\s0\d\d\.\d kWh → 0\.3 kWh", solar["label"]
    )
    done = await options.async_configure(form["flow_id"], {"jumps": [solar["value"]]})
    assert (done["reason"], done["description_placeholders"]) == ("repaired", {"count": "1"})
    await async_wait_recording_done(hass)
    assert sum(await installation.statistics.changes(installation.solar)) == pytest.approx(200 + 250 * (ROWS - 1))
    (spike,) = (await installation.repair())["jumps"]
    assert spike["entity_id"] == installation.grid
    await installation.repair(apply=True)
    assert (await opened())["reason"] == "no_jumps"
