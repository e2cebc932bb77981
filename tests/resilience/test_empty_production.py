"""A gateway without CTs that is upgraded to firmware 8.3.5422: its old source of the production reads zero."""

from typing import Any

from freezegun.api import FrozenDateTimeFactory
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pyenphase.models.system_production import EnvoySystemProduction
import pytest

from tests.helpers.integration import NOON, SetUp
from tests.simulator.counter_faults import Zeros


async def test_the_next_poll_reads_the_other_source(
    hass: HomeAssistant, set_up: SetUp, freezer: FrozenDateTimeFactory
) -> None:
    freezer.move_to(dt_util.parse_datetime(NOON) or "")
    house = await set_up("standard_7_6")

    async def poll() -> Any:
        house.gateway.clock.advance(60)
        freezer.tick(60)
        await house.poll()
        production = house.coordinator.data.get(EnvoySystemProduction, ("system_production",))
        assert production
        return production

    before = await poll()
    assert before.watts_now > 0
    with house.gateway.fault("/api/v1/production", Zeros()):
        empty = await poll()
        assert (empty.watt_hours_lifetime, empty.watts_now) == (before.watt_hours_lifetime, None)
        after = await poll()
        assert after.watts_now > 0
        # The other source counts modulo 2^32 J.
        expected = house.gateway.house.total("production")
        assert after.watt_hours_lifetime == pytest.approx(expected, abs=200)
        probes = house.coordinator.gateway.probe_count
        await poll()
        assert house.coordinator.gateway.probe_count == probes
