"""The past that a development instance is told: on a real recorder, beside what the recorder then books itself."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import pairwise
import logging
from typing import Any, Final, cast

from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.recorder import Recorder, get_instance
from homeassistant.components.recorder.statistics import statistics_during_period
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.components.recorder.common import (
    async_wait_recording_done,
    do_adhoc_statistics,
)

from custom_components.enphase_envoy.const import DOMAIN
from scripts import past_recorder
from scripts.instance import Instance, Json
from scripts.past import ENERGY, POWER, Past, Point, tell
from tests.helpers.integration import NOON, Installation, SetUp
from tests.simulator import faults, house as simulator_house
from tests.simulator.profiles import PROFILES

HOUR: Final = 3600.0
PERIOD: Final = timedelta(minutes=5)


@pytest.fixture
def _noon(freezer: FrozenDateTimeFactory) -> None:
    """Begin at noon, before anybody logs in."""
    freezer.move_to(NOON)


class Connection:
    """A connection like that of a development instance."""

    def __init__(self, client: Any) -> None:
        """Take what the test tools give."""
        self._client = client

    async def command(self, kind: str, **fields: object) -> object:
        """Send a command and return its result."""
        await self._client.send_json_auto_id({"type": kind, **fields})
        answer = await self._client.receive_json()
        assert answer["success"], answer
        return cast(object, answer["result"])

    async def rows(self, kind: str, **fields: object) -> list[Json]:
        """Return the result of a command that lists something."""
        return cast(list[Json], await self.command(kind, **fields))


class Told:
    """An instance beside the house that it is told of."""

    def __init__(
        self, installation: Installation, connect: Callable[[], Awaitable[Connection]], freezer: FrozenDateTimeFactory
    ) -> None:
        """Begin where the clock of the house stands."""
        self.installation = installation
        self.freezer = freezer
        self._connect = connect

    @property
    def now(self) -> float:
        """Epoch seconds."""
        return dt_util.utcnow().timestamp()

    async def tell(self, seen_until: float | None = None) -> int:
        """Do what a start does."""
        past = Past(self.installation.gateway.house, self.now, days=3, seen_until=seen_until)
        return await tell(cast(Instance, await self._connect()), self.installation.gateway.serial, past)

    def pass_time(self, seconds: float) -> None:
        """Let time pass for the house and for Home Assistant."""
        self.installation.gateway.clock.advance(seconds)
        self.freezer.tick(seconds)

    async def live(self, seconds: float, *, compiled: bool = True) -> None:
        """Let polls and the recorder do what they do."""
        for _ in range(int(seconds / 60)):
            # The recorder does not count what comes with the last stroke of a period.
            self.pass_time(59)
            await self.installation.poll()
            self.pass_time(1)
            now = dt_util.utcnow()
            if compiled and now.timestamp() % PERIOD.total_seconds() == 0:
                await async_wait_recording_done(self.installation.hass)
                do_adhoc_statistics(self.installation.hass, start=now - PERIOD)
                await async_wait_recording_done(self.installation.hass)

    async def be_off(self, seconds: float) -> None:
        """Let time pass without them, and the recorder make up for it as it does when it starts."""
        await async_wait_recording_done(self.installation.hass)
        # That moved the timers too: a poll would be answered while time passes.
        await self.installation.gateway.go_away()
        since = dt_util.utcnow()
        self.pass_time(seconds)
        for number in range(int(seconds / PERIOD.total_seconds())):
            do_adhoc_statistics(self.installation.hass, start=since + number * PERIOD)
        await get_instance(self.installation.hass).async_block_till_done()
        await self.installation.gateway.come_back()

    async def rows(self, key: str, field: str, period: Any = "hour") -> dict[float, float]:
        """Return a field of the rows of a sensor, in Wh or W, by the times at which they begin."""
        entity_id = er.async_get(self.installation.hass).async_get_entity_id(
            "sensor", DOMAIN, f"{self.installation.gateway.serial}_{key}"
        )
        assert entity_id
        rows = await get_instance(self.installation.hass).async_add_executor_job(
            statistics_during_period,
            *(self.installation.hass, dt_util.utc_from_timestamp(0), None, {entity_id}, period),
            *({"energy": "Wh", "power": "W"}, {field}),
        )
        return {row["start"]: cast(float, cast(Json, row)[field]) for row in rows.get(entity_id, [])}

    def truth(self, key: str, start: float, seconds: float = HOUR) -> float:
        """Return what a counter truly counted."""
        before, after = self.installation.gateway.house.history(start, start + seconds, seconds)
        return sum(weight * after.since(before, flow) for flow, weight in ENERGY[key].items())

    async def check(self, key: str, hours: int) -> None:
        """Compare every hour with the truth, wherever it comes from."""
        sums = await self.rows(key, "sum")
        assert len(sums) == hours
        for (start, before), (end, after) in pairwise(sums.items()):
            assert end - start == HOUR
            assert after - before == pytest.approx(self.truth(key, end), abs=3.0), (
                key,
                dt_util.utc_from_timestamp(end),
            )


@pytest.fixture
async def told(
    _noon: None,
    recorder_mock: Recorder,
    hass: HomeAssistant,
    hass_access_token: str,
    hass_ws_client: Callable[..., Awaitable[Any]],
    set_up: SetUp,
    freezer: FrozenDateTimeFactory,
) -> Told:
    """Give an instance that reads a house since noon, at twenty past; the recorder has compiled nothing yet."""
    # Without a time zone, which a frozen clock does not give, a line about each request can't be written.
    logging.getLogger("aiohttp.access").disabled = True
    assert await async_setup_component(hass, "websocket_api", {})
    assert await past_recorder.async_setup(hass, {})
    assert await async_setup_component(hass, "config", {})
    refresh_token = hass.auth.async_validate_access_token(hass_access_token)
    assert refresh_token

    async def connect() -> Connection:
        return Connection(await hass_ws_client(hass, hass.auth.async_create_access_token(refresh_token)))

    told = Told(await set_up("full_battery"), connect, freezer)
    await told.live(20 * 60, compiled=False)
    return told


COUNTERS: Final = (
    *("lifetime_production", "lifetime_consumption", "lifetime_net_consumption", "lifetime_net_production"),
    *("lifetime_battery_discharged", "lifetime_battery_charged"),
)


async def test_the_past_and_what_is_recorded_meet(told: Told) -> None:
    """Tell three days at 12:20, and go on until 15:00."""
    assert await told.tell() >= len(COUNTERS)
    await told.live(160 * 60)
    for key in COUNTERS:
        await told.check(key, hours=3 * 24 + 3)


async def test_the_past_and_what_was_recorded_first_meet(told: Told) -> None:
    """Tell it when the recorder has rows of its own."""
    await told.live(10 * 60)
    await told.tell()
    await told.live(150 * 60)
    for key in COUNTERS:
        await told.check(key, hours=3 * 24 + 3)


async def test_a_second_start_tells_the_time_in_between_alone(told: Told) -> None:
    """Look away from 14:00 to 16:30; what was recorded before stays as it is."""
    await told.tell()
    await told.live(100 * 60)
    until = told.now
    before = {key: await told.rows(key, "sum") for key in COUNTERS}
    await told.be_off(150 * 60)
    await told.installation.poll()
    await told.tell(seen_until=until)
    for key in COUNTERS:
        sums = await told.rows(key, "sum")
        assert {start: sums[start] for start in before[key]} == before[key]
        await told.check(key, hours=3 * 24 + 4)


@pytest.mark.parametrize("gained", [0.0, 50.0])
def test_what_a_counter_missed_is_not_made_up(gained: float) -> None:
    """Share out what it says it counted, as the house had it."""
    house = simulator_house.House.at(PROFILES["full_battery"], datetime.fromisoformat(NOON).timestamp())
    past = Past(house, now=house.now, days=1)
    times = [house.now - HOUR * hours for hours in range(5, -1, -1)]
    points = past.energy({"production": 1}, Point(times[0], 100.0), Point(times[-1], 100.0 + gained), times)
    sums = [point.sum for point in points]
    assert sums[0] == pytest.approx(100.0)
    assert sums[-1] == 100.0 + gained
    assert all(after > before if gained else after == before for before, after in pairwise(sums))


async def test_sensors_without_values_are_told_nothing(told: Told) -> None:
    """Start while the gateway is silent."""
    told.installation.gateway.fault("*", faults.Status(503))
    await told.live(20 * 60)
    assert not await told.tell()


async def test_power_and_charge_are_told_in_their_units(told: Told) -> None:
    """Look at hours and at five minutes."""
    await told.tell()
    end = told.now // HOUR * HOUR
    for period, seconds in (("hour", HOUR), ("5minute", 300.0)):
        means = await told.rows("production", "mean", period)
        assert means[end - seconds] == pytest.approx(
            told.truth("lifetime_production", end - seconds, seconds) * HOUR / seconds, abs=1.0
        )
        charge = await told.rows("battery_level", "mean", period)
        assert charge[end - seconds] == pytest.approx(told.installation.gateway.house.soc, abs=20)
        assert all(0 <= value <= 100 for value in charge.values())


def test_every_power_that_is_told_has_a_counter_of_the_same_flows() -> None:
    """Compare the tables where a power is one flow or the balance of two."""
    for weights in POWER.values():
        assert set(weights) <= {flow for counted in ENERGY.values() for flow in counted}
