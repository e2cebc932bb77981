"""Import of statistics into a development instance: they are continuous with those of the recorder."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import pairwise
import logging
from typing import Any, Final, cast

from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.recorder import Recorder, get_instance
from homeassistant.components.recorder.statistics import statistics_during_period
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.components.recorder.common import (
    async_wait_recording_done,
    do_adhoc_statistics,
)

from scripts import statistics_import
from scripts.history import ENERGY, POWER, History, Point, import_history
from scripts.instance import DOMAIN, Instance, Json
from tests.helpers.integration import NOON, Installation, SetUp, entity_id
from tests.simulator import faults, house as simulator_house
from tests.simulator.profiles import PROFILES

pytestmark = pytest.mark.slow

HOUR: Final = 3600.0
PERIOD: Final = timedelta(minutes=5)


@pytest.fixture
def _noon(freezer: FrozenDateTimeFactory) -> None:
    """Set the clock to noon before the login."""
    freezer.move_to(NOON)


class Connection:
    """A client like `Instance`."""

    def __init__(self, client: Any) -> None:
        """Use the websocket client of the test tools."""
        self._client = client

    async def command(self, kind: str, **fields: object) -> object:
        """Send a command and return its result."""
        await self._client.send_json_auto_id({"type": kind, **fields})
        answer = await self._client.receive_json()
        assert answer["success"], answer
        return cast(object, answer["result"])

    async def rows(self, kind: str, **fields: object) -> list[Json]:
        """Return the result of a command that returns a list."""
        return cast(list[Json], await self.command(kind, **fields))


class ImportedInstance:
    """An installation with a recorder, into which the history of its house is imported."""

    def __init__(
        self, installation: Installation, connect: Callable[[], Awaitable[Connection]], freezer: FrozenDateTimeFactory
    ) -> None:
        """Store installation and clock."""
        self.installation = installation
        self.freezer = freezer
        self._connect = connect

    @property
    def now(self) -> float:
        """Epoch seconds."""
        return dt_util.utcnow().timestamp()

    async def import_history(self, polled_until: float | None = None) -> int:
        """Import missing statistics, as at a start."""
        history = History(self.installation.gateway.house, self.now, days=3, polled_until=polled_until)
        return await import_history(cast(Instance, await self._connect()), self.installation.gateway.serial, history)

    def pass_time(self, seconds: float) -> None:
        """Advance the clocks of the house and of Home Assistant."""
        self.installation.gateway.clock.advance(seconds)
        self.freezer.tick(seconds)

    async def run(self, seconds: float, *, compiled: bool = True) -> None:
        """Poll every minute, and let the recorder compile statistics."""
        for _ in range(int(seconds / 60)):
            # The recorder ignores a state at the very end of a period.
            self.pass_time(59)
            await self.installation.poll()
            self.pass_time(1)
            now = dt_util.utcnow()
            if compiled and now.timestamp() % PERIOD.total_seconds() == 0:
                await async_wait_recording_done(self.installation.hass)
                do_adhoc_statistics(self.installation.hass, start=now - PERIOD)
                await async_wait_recording_done(self.installation.hass)

    async def stop_for(self, seconds: float) -> None:
        """Let time pass without polls, and the recorder compile the missed periods as at a start."""
        await async_wait_recording_done(self.installation.hass)
        # Advancing the clock fires timers: a poll must not be answered meanwhile.
        await self.installation.gateway.go_away()
        since = dt_util.utcnow()
        self.pass_time(seconds)
        for number in range(int(seconds / PERIOD.total_seconds())):
            do_adhoc_statistics(self.installation.hass, start=since + number * PERIOD)
        await get_instance(self.installation.hass).async_block_till_done()
        await self.installation.gateway.come_back()

    async def rows(self, key: str, field: str, period: Any = "hour") -> dict[float, float]:
        """Return a field of the rows of a sensor, in Wh or W, by the times at which they begin."""
        sensor = entity_id(self.installation.hass, "sensor", f"{self.installation.gateway.serial}_{key}")
        rows = await get_instance(self.installation.hass).async_add_executor_job(
            statistics_during_period,
            *(self.installation.hass, dt_util.utc_from_timestamp(0), None, {sensor}, period),
            *({"energy": "Wh", "power": "W"}, {field}),
        )
        return {row["start"]: cast(float, cast(Json, row)[field]) for row in rows.get(sensor, [])}

    def expected(self, key: str, start: float, seconds: float = HOUR) -> float:
        """Return the energy in Wh that a counter should have counted."""
        before, after = self.installation.gateway.house.history(start, start + seconds, seconds)
        return sum(weight * after.since(before, flow) for flow, weight in ENERGY[key].items())

    async def check_statistics(self) -> None:
        """Check that the action finds nothing to repair in the statistics of any counter."""
        hass, data = self.installation.hass, {"config_entry_id": self.installation.entry.entry_id}
        found = await hass.services.async_call(DOMAIN, "repair_statistics", data, blocking=True, return_response=True)
        assert found
        assert found["jumps"] == []

    async def check(self, key: str, hours: int) -> None:
        """Compare every hour, imported or recorded, with the simulation."""
        sums = await self.rows(key, "sum")
        assert len(sums) == hours
        for (start, before), (end, after) in pairwise(sums.items()):
            assert end - start == HOUR
            assert after - before == pytest.approx(self.expected(key, end), abs=3.0), (
                key,
                dt_util.utc_from_timestamp(end),
            )


@pytest.fixture
async def instance(
    _noon: None,
    recorder_mock: Recorder,
    hass: HomeAssistant,
    hass_access_token: str,
    hass_ws_client: Callable[..., Awaitable[Any]],
    set_up: SetUp,
    freezer: FrozenDateTimeFactory,
) -> ImportedInstance:
    """Return an instance that polls since noon, at 12:20; the recorder has compiled no statistics yet."""
    # The access log needs a time zone, which a frozen clock does not have.
    logging.getLogger("aiohttp.access").disabled = True
    assert await async_setup_component(hass, "websocket_api", {})
    assert await statistics_import.async_setup(hass, {})
    assert await async_setup_component(hass, "config", {})
    refresh_token = hass.auth.async_validate_access_token(hass_access_token)
    assert refresh_token

    async def connect() -> Connection:
        return Connection(await hass_ws_client(hass, hass.auth.async_create_access_token(refresh_token)))

    instance = ImportedInstance(await set_up("full_battery"), connect, freezer)
    await instance.run(20 * 60, compiled=False)
    return instance


COUNTERS: Final = (
    *("lifetime_production", "lifetime_consumption", "lifetime_net_consumption", "lifetime_net_production"),
    *("lifetime_battery_discharged", "lifetime_battery_charged"),
)


async def test_imported_statistics_are_continuous_with_later_recorded_ones(instance: ImportedInstance) -> None:
    """Three days are imported at 12:20, then statistics are recorded until 15:00."""
    assert await instance.import_history() >= len(COUNTERS)
    await instance.run(160 * 60)
    await instance.check_statistics()
    for key in COUNTERS:
        await instance.check(key, hours=3 * 24 + 3)


async def test_imported_statistics_are_continuous_with_already_recorded_ones(instance: ImportedInstance) -> None:
    """The recorder has rows before the import."""
    await instance.run(10 * 60)
    await instance.import_history()
    await instance.run(150 * 60)
    await instance.check_statistics()
    for key in COUNTERS:
        await instance.check(key, hours=3 * 24 + 3)


async def test_second_start_imports_only_the_time_in_between(instance: ImportedInstance) -> None:
    """The instance is stopped from 14:00 to 16:30; rows recorded before are unchanged."""
    await instance.import_history()
    await instance.run(100 * 60)
    until = instance.now
    before = {key: await instance.rows(key, "sum") for key in COUNTERS}
    await instance.stop_for(150 * 60)
    await instance.installation.poll()
    await instance.import_history(polled_until=until)
    await instance.check_statistics()
    for key in COUNTERS:
        sums = await instance.rows(key, "sum")
        assert {start: sums[start] for start in before[key]} == before[key]
        await instance.check(key, hours=3 * 24 + 4)


@pytest.mark.parametrize("gained", [0.0, 50.0])
def test_energy_that_a_counter_missed_is_not_imported(gained: float) -> None:
    """The increase of its state is distributed in proportion to the house's energy."""
    house = simulator_house.House.at(PROFILES["full_battery"], datetime.fromisoformat(NOON).timestamp())
    history = History(house, now=house.now, days=1)
    times = [house.now - HOUR * hours for hours in range(5, -1, -1)]
    points = history.energy({"production": 1}, Point(times[0], 100.0), Point(times[-1], 100.0 + gained), times)
    sums = [point.sum for point in points]
    assert sums[0] == pytest.approx(100.0)
    assert sums[-1] == 100.0 + gained
    assert all(after > before if gained else after == before for before, after in pairwise(sums))


async def test_nothing_is_imported_for_sensors_without_values(instance: ImportedInstance) -> None:
    """The gateway fails during the start."""
    instance.installation.gateway.fault("*", faults.Status(503))
    await instance.run(20 * 60)
    assert not await instance.import_history()


async def test_power_and_charge_are_imported_in_their_units(instance: ImportedInstance) -> None:
    """Rows of hours and of five minutes have mean values."""
    await instance.import_history()
    end = instance.now // HOUR * HOUR
    for period, seconds in (("hour", HOUR), ("5minute", 300.0)):
        means = await instance.rows("production", "mean", period)
        assert means[end - seconds] == pytest.approx(
            instance.expected("lifetime_production", end - seconds, seconds) * HOUR / seconds, abs=1.0
        )
        charge = await instance.rows("battery_level", "mean", period)
        assert charge[end - seconds] == pytest.approx(instance.installation.gateway.house.soc, abs=20)
        assert all(0 <= value <= 100 for value in charge.values())


def test_every_imported_power_has_a_counter_of_the_same_flows() -> None:
    """A power is one flow or the balance of two."""
    for weights in POWER.values():
        assert set(weights) <= {flow for counted in ENERGY.values() for flow in counted}
