"""What tests share: a simulated gateway on loopback, a simulated cloud, and Home Assistant with the component."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
import logging
from typing import Any
from unittest.mock import patch

from aiohttp.resolver import ThreadedResolver
from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.recorder import Recorder
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.helpers import aiohttp_client
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pyenphase.auth import EnvoyTokenAuth
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_fire_time_changed
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done
from pytest_homeassistant_custom_component.syrupy import HomeAssistantSnapshotExtension
from syrupy.assertion import SnapshotAssertion

from custom_components.enphase_envoy.client import endpoints
from custom_components.enphase_envoy.client.gateway import Gateway
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.coordinator import EnvoyCoordinator
from tests.helpers.statistics import START, Statistics
from tests.simulator import Clock, Cloud, Simulator
from tests.simulator.access import make_certificate

# The test tools have it tell every statement, which takes longer than the statements.
logging.getLogger("sqlalchemy.engine").setLevel(logging.WARNING)

#: A sunny moment: everything produces, nothing is at its end.
NOON = "2026-06-21T12:00:00+02:00"
#: Days that a token made on that day is good for, whenever the tests run.
LONG = 36500

# cryptography takes the first class of moments that it meets for the only one: not that of a clock which a test froze.
make_certificate("")


class _Resolver(ThreadedResolver):
    """Home Assistant's resolver starts mDNS, which no test on loopback needs."""

    async def real_close(self) -> None:
        await self.close()


@pytest.fixture(autouse=True)
def _home_assistant(enable_custom_integrations: None, socket_enabled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Home Assistant find the component, and both of them loopback."""
    monkeypatch.setattr(aiohttp_client, "_async_make_resolver", lambda _hass: _Resolver())


@pytest.fixture
async def cloud(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    """Enlighten and its token service, on loopback."""
    async with Cloud() as cloud:
        monkeypatch.setattr(EnvoyTokenAuth, "JSON_LOGIN_URL", cloud.login_url)
        monkeypatch.setattr(EnvoyTokenAuth, "TOKEN_URL", cloud.token_url)
        yield cloud


@pytest.fixture
def mock_recorder_before_hass(request: pytest.FixtureRequest) -> None:
    """Let the recorder be there before Home Assistant, where a test wants one."""
    if "recorder_mock" in request.fixturenames:
        request.getfixturevalue("async_test_recorder")


@pytest.fixture
async def statistics(recorder_mock: Recorder, hass: HomeAssistant, freezer: FrozenDateTimeFactory) -> Statistics:
    """A real recorder, a minute before the first row."""
    freezer.move_to(START - timedelta(minutes=1))
    assert await async_setup_component(hass, "sensor", {})
    await async_wait_recording_done(hass)
    return Statistics(hass, freezer)


@pytest.fixture
def entity_registry_enabled_by_default() -> Iterator[None]:
    """Enable every entity from the start."""
    with patch("homeassistant.helpers.entity.Entity.entity_registry_enabled_default", new=True):
        yield


@pytest.fixture
def all_in_every_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every endpoint asked in every poll."""
    monkeypatch.setattr(endpoints, "PERIODS", {})


@pytest.fixture
def snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """Keep snapshots where Home Assistant's test tools do, whichever plugin comes first."""
    return snapshot.use_extension(HomeAssistantSnapshotExtension)


@dataclass
class House:
    """A simulated gateway and the entry that Home Assistant reads it with."""

    hass: HomeAssistant
    gateway: Simulator
    entry: MockConfigEntry
    #: Seconds that have passed; the event loop of a test knows nothing of them.
    elapsed: float = 0.0

    @property
    def coordinator(self) -> EnvoyCoordinator:
        """The coordinator of the entry."""
        coordinator: EnvoyCoordinator = self.entry.runtime_data
        return coordinator

    async def poll(self) -> None:
        """Poll, whether it is time or not."""
        await self.coordinator.async_refresh()
        await self.hass.async_block_till_done()

    async def poll_all(self) -> None:
        """Poll when every endpoint is due."""
        self.gateway.clock.advance(601)
        await self.poll()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass in the house and for Home Assistant's timers: the poll comes when 60 seconds have passed."""
        self.gateway.clock.advance(seconds)
        self.elapsed += seconds
        async_fire_time_changed(self.hass, dt_util.utcnow() + timedelta(seconds=self.elapsed))
        await self.hass.async_block_till_done(wait_background_tasks=True)

    def states(self) -> dict[str, str]:
        """Return the states of all entities of the entry."""
        return {state.entity_id: state.state for state in self.hass.states.async_all()}

    def unavailable(self) -> set[str]:
        """Return the entities that show nothing."""
        return {name for name, state in self.states().items() if state == STATE_UNAVAILABLE}


def entry_for(gateway: Simulator, **changes: Any) -> MockConfigEntry:
    """Return an entry as Home Assistant's own integration would have written it."""
    data = {
        "host": gateway.host,
        "name": f"Envoy {gateway.serial}",
        "username": gateway.username,
        "password": gateway.password,
    }
    if gateway.uses_tokens:
        data["token"] = gateway.token(days=LONG)
    return MockConfigEntry(
        domain=DOMAIN, title=f"Envoy {gateway.serial}", unique_id=gateway.serial, data=data | changes, options={}
    )


@pytest.fixture
async def simulate() -> AsyncIterator[Callable[..., Awaitable[Simulator]]]:
    """Start simulated gateways that stop with the test."""
    async with AsyncExitStack() as stack:

        async def start(profile: str = "full_battery", start: str = NOON, **options: Any) -> Simulator:
            clock = Clock(start=start, running=False)
            return await stack.enter_async_context(Simulator(profile, clock=clock, **options))

        yield start


def read_on_its_clock(gateway: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have entries that are set up from now on read gateways on the clock of this one."""
    on_its_clock = partial(Gateway, clock=lambda: gateway.clock.now, wall=lambda: gateway.clock.now)
    monkeypatch.setattr("custom_components.enphase_envoy.Gateway", on_its_clock)


@pytest.fixture
async def set_up(
    hass: HomeAssistant, simulate: Callable[..., Awaitable[Simulator]], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[House]]]:
    """Set Home Assistant up with a simulated gateway, on its clock, and unload it after the test."""
    houses: list[House] = []

    async def start(profile: str = "full_battery", **data: Any) -> House:
        gateway = await simulate(profile)
        read_on_its_clock(gateway, monkeypatch)
        entry = entry_for(gateway, **data)
        entry.add_to_hass(hass)
        houses.append(House(hass, gateway, entry))
        assert await hass.config_entries.async_setup(entry.entry_id)
        await hass.async_block_till_done()
        return houses[-1]

    yield start
    for house in houses:
        if hass.config_entries.async_get_entry(house.entry.entry_id):
            await hass.config_entries.async_unload(house.entry.entry_id)
    await hass.async_block_till_done()
