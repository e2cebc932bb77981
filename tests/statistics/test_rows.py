"""The rows that a system adds to the database of a real recorder; docs/benchmark.md has those of a day.

`ENVOY_ROWS_HOURS=24 scripts/test tests/statistics/test_rows.py --capture=no` measures a whole day.
"""

import os
from typing import Final

from homeassistant.components.recorder import Recorder, get_instance
from homeassistant.components.recorder.db_schema import States, StatesMeta
from homeassistant.components.recorder.util import session_scope
from homeassistant.core import HomeAssistant
import pytest
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from tests.helpers.integration import Installation, SetUp

#: Simulated hours.
HOURS: Final = float(os.environ.get("ENVOY_ROWS_HOURS", "0.25"))
DAY: Final = 24 * 3600


def recorded(hass: HomeAssistant) -> int:
    """Return the number of rows with a state of a sensor."""
    with session_scope(hass=hass, read_only=True) as session:
        states = session.query(States).join(StatesMeta, States.metadata_id == StatesMeta.metadata_id)
        return states.filter(StatesMeta.entity_id.startswith("sensor.")).count()


async def rows_a_day(installation: Installation, live: int, hours: float = HOURS) -> float:
    """Return the rows of a day, as of some hours, with so many seconds between readings of live power; 0 is off."""
    hass, entry = installation.hass, installation.entry
    hass.config_entries.async_update_entry(entry, options={"live_power": live} if live else {})
    await hass.config_entries.async_reload(entry.entry_id)
    step = live or 60
    for _ in range(180 // step):
        await installation.pass_time(step)
    await async_wait_recording_done(hass)
    before = await get_instance(hass).async_add_executor_job(recorded, hass)
    for _ in range(round(3600 * hours / step)):
        await installation.pass_time(step)
    await async_wait_recording_done(hass)
    return (await get_instance(hass).async_add_executor_job(recorded, hass) - before) * 24 / hours


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["full_battery", "three_phase"])
async def test_live_power_adds_no_rows_but_for_changes_that_are_worth_one(
    recorder_mock: Recorder, set_up: SetUp, profile: str
) -> None:
    installation = await set_up(profile)
    polled = await rows_a_day(installation, 0)
    live = await rows_a_day(installation, 5)
    installation.gateway.house.enliven()
    lively = await rows_a_day(installation, 5, min(HOURS, 1))
    print(f"{profile}: rows a day polled {polled:.0f}, live {live:.0f}, live with a changing load {lively:.0f}")  # noqa: T201  (for the docs)
    # The load changes once a minute: some sensors show it between two polls, and again at the end of their minute.
    assert live <= 1.5 * polled
    # The load changes by hundreds of watts in every frame, which four sensors of the power show.
    assert lively <= 2 * polled + 6 * DAY / 5
