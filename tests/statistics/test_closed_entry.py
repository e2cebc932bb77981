"""Nothing of an unloaded or removed entry goes on, whatever was under way."""

from datetime import timedelta
from typing import Any

from homeassistant.components.recorder.const import EVENT_RECORDER_5MIN_STATISTICS_GENERATED
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.common import async_fire_time_changed
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.statistics.recorder import Correction
from tests.helpers.integration import NOON, Installation, SetUp
from tests.helpers.statistics import Statistics
from tests.simulator import Held

PROFILE = "metered_1phase"
METERS = "/ivp/meters/readings"
STEP = 30_000_000.0


def entity_id(house: Installation) -> str:
    """Return the entity of the production counter."""
    found = er.async_get(house.hass).async_get_entity_id(
        "sensor", DOMAIN, f"{house.gateway.serial}_lifetime_production"
    )
    assert found
    return found


async def poll_held(house: Installation) -> tuple[Held, Any]:
    """Start a poll whose last answer is under way."""
    held = Held()
    house.gateway.fault(METERS, held)
    house.gateway.clock.advance(61)
    poll = house.hass.async_create_task(house.coordinator.async_refresh())
    await held.waiting.wait()
    # All other answers have arrived.
    gateway = house.coordinator.gateway
    while len(gateway._scheduler._tasks) > 1:
        await house.hass.async_add_executor_job(int)
    return held, poll


async def test_a_poll_that_outlasts_its_entry_corrects_nothing(
    statistics: Statistics, hass: HomeAssistant, set_up: SetUp
) -> None:
    """A pending correction is applied once, by the entry as it was loaded again."""
    statistics.freezer.move_to(NOON)
    house = await set_up(PROFILE)
    solar = entity_id(house)
    at = dt_util.utcnow()
    house.coordinator.energy_manager._corrections.async_add(Correction(solar, at.timestamp() + 310, -STEP))
    held, poll = await poll_held(house)
    reload = hass.async_create_task(hass.config_entries.async_reload(house.entry.entry_id))
    await hass.async_add_executor_job(int)
    held.release()
    await poll
    assert await reload
    house.gateway.faults.clear()
    statistics.now = at
    statistics.units[solar] = "MWh"
    await statistics.row({solar: 1_000_000})
    await statistics.row({solar: 1_000_050 + STEP}, announce=True)
    for _ in range(3):
        hass.bus.async_fire(EVENT_RECORDER_5MIN_STATISTICS_GENERATED)
        await hass.async_block_till_done()
        await statistics.apply_corrections()
    assert (await statistics.changes(solar))[-1] == pytest.approx(50, abs=0.1)


@pytest.mark.parametrize("how", ["unload", "remove"])
async def test_a_poll_that_outlasts_its_entry_saves_nothing(
    hass: HomeAssistant, set_up: SetUp, hass_storage: dict[str, Any], how: str
) -> None:
    house = await set_up(PROFILE)
    coordinator, entry = house.coordinator, house.entry
    held, poll = await poll_held(house)
    end = hass.config_entries.async_remove if how == "remove" else hass.config_entries.async_unload
    ending = hass.async_create_task(end(entry.entry_id))
    await hass.async_add_executor_job(int)
    held.release()
    await poll
    await ending
    files = {key: stored for key, stored in hass_storage.items() if entry.entry_id in key}
    assert bool(files) == (how == "unload")
    house.gateway.requests.clear()
    await coordinator.async_refresh()
    coordinator.publish()
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(hours=1))
    await hass.async_block_till_done(wait_background_tasks=True)
    assert not house.gateway.requests
    assert {key: stored for key, stored in hass_storage.items() if entry.entry_id in key} == files
    assert coordinator.energy_manager._stop is None
    assert not hass.config_entries.flow.async_progress()


async def test_the_recorder_is_not_listened_to_after_the_end(
    statistics: Statistics, hass: HomeAssistant, set_up: SetUp
) -> None:
    before = hass.bus.async_listeners()
    statistics.freezer.move_to(NOON)
    house = await set_up(PROFILE)
    held, poll = await poll_held(house)
    removal = hass.async_create_task(hass.config_entries.async_remove(house.entry.entry_id))
    await hass.async_add_executor_job(int)
    held.release()
    await poll
    await removal
    await async_wait_recording_done(hass)
    event = EVENT_RECORDER_5MIN_STATISTICS_GENERATED
    assert hass.bus.async_listeners().get(event, 0) == before.get(event, 0)
