"""Fixtures: a simulated gateway and cloud on loopback, and Home Assistant with the component set up."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
import gc
import logging
from typing import Any
from unittest.mock import patch

from aiohttp.resolver import ThreadedResolver
from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.recorder import Recorder
from homeassistant.components.recorder.tasks import RecorderTask
from homeassistant.core import Event, HomeAssistant
from homeassistant.helpers import aiohttp_client
from homeassistant.helpers.entity import Entity
from homeassistant.helpers.entity_registry import EVENT_ENTITY_REGISTRY_UPDATED
from homeassistant.setup import async_setup_component
from homeassistant.util import executor
from hypothesis import HealthCheck, settings
from pyenphase.auth import EnvoyTokenAuth
import pytest
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done
from pytest_homeassistant_custom_component.syrupy import HomeAssistantSnapshotExtension
from syrupy.assertion import SnapshotAssertion

from custom_components.enphase_envoy.client import endpoints, gateway
from tests.helpers.integration import NOON, Installation, SetUp, Simulate, entry_for, use_clock_of
from tests.helpers.log import logged_deprecations
from tests.helpers.statistics import START, Statistics
from tests.helpers.texts import TextCheck, checked_texts
from tests.helpers.timers import held_timers
from tests.helpers.virtual_time import virtual_time
from tests.simulator import Clock, Cloud, Simulator
from tests.simulator.access import make_certificate

# Deadlines and the check for slow strategies depend on the speed of the machine.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

# The test tools enable logging of every SQL statement, which takes longer than the statements.
logging.getLogger("sqlalchemy.engine").setLevel(logging.WARNING)
# Home Assistant logs each entity that is registered, enabled or not.
logging.getLogger("homeassistant").setLevel(logging.WARNING)

# After a second, Home Assistant ends threads that still run, and with them the notice for others to end. On a busy
# machine a thread may take longer to wake up.
executor.EXECUTOR_SHUTDOWN_TIMEOUT = 600

# cryptography caches the first datetime class that it is called with: it must not be that of a frozen clock.
make_certificate("")


# The test tools collect garbage before each module. More collections find little, and take a twentieth of the time.
gc.set_threshold(100_000, 50, 1000)


class _Resolver(ThreadedResolver):
    """Home Assistant's resolver starts mDNS, which no test on loopback needs."""

    async def real_close(self) -> None:
        await self.close()


@pytest.fixture(autouse=True)
def _home_assistant(request: pytest.FixtureRequest, socket_enabled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Home Assistant load the component, in tests that use it, and allow connections to loopback."""
    if "hass" in request.fixturenames:
        request.getfixturevalue("enable_custom_integrations")
    monkeypatch.setattr(aiohttp_client, "_async_make_resolver", lambda _hass: _Resolver())
    # How long a state takes to be written depends on the machine: no warnings.
    monkeypatch.setattr(Entity, "_slow_reported", True)


@pytest.fixture(autouse=True)
async def enable_event_loop_debug(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Replace a fixture of the test tools: asyncio's debug mode, which doubles the time, is left to PYTHONASYNCIODEBUG.

    Home Assistant's timers do not run by themselves, unless time is virtual.

    freezegun's clock counts from 1970, where a float has steps of 240 ns. With asyncio's resolution of 1 ns, a timer
    that is due at exactly the frozen time would not run, and the loop would not sleep until the clock moves. In debug
    mode, asyncio warns about callbacks that take long, which depends on the speed of the machine.
    """
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = float("inf")
    loop._clock_resolution = 1e-6  # type: ignore[attr-defined]
    if "virtual_clock" in request.fixturenames:
        yield
        return
    with held_timers(loop):
        yield


@pytest.fixture(autouse=True)
def shown_texts() -> Iterator[TextCheck]:
    """Fail a test in which a text is shown that does not exist, or that lacks a placeholder."""
    with checked_texts() as check:
        yield check
    assert not check.findings


@pytest.fixture(autouse=True)
def _deprecations() -> Iterator[None]:
    """Fail a test in which the component uses what Home Assistant reports as deprecated."""
    with logged_deprecations() as found:
        yield
    assert not found


@pytest.fixture
async def cloud(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    """Serve the login of Enlighten and its token service on loopback."""
    async with Cloud() as cloud:
        monkeypatch.setattr(EnvoyTokenAuth, "JSON_LOGIN_URL", cloud.login_url)
        monkeypatch.setattr(EnvoyTokenAuth, "TOKEN_URL", cloud.token_url)
        yield cloud


@pytest.fixture
def virtual_clock(hass: HomeAssistant) -> Iterator[None]:
    """Let timeouts and delays pass without waiting."""
    with virtual_time(hass.loop):
        yield


@pytest.fixture
def recorder_config() -> dict[str, Any]:
    """Return the configuration of the recorder: only states of sensors, which `_commit_when_idle` commits."""
    return {
        "commit_interval": 3600,
        "include": {"domains": ["sensor"]},
        "exclude": {"event_types": [EVENT_ENTITY_REGISTRY_UPDATED]},
    }


@pytest.fixture(autouse=True)
def _commit_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the recorder commit whenever its queue is empty: a commit after each state takes longer than all else.

    A database in memory has one connection, which the recorder holds until it commits: others wait for all states.
    """
    process = Recorder._guarded_process_one_task_or_event_or_recover

    def process_and_commit(recorder: Recorder, task: RecorderTask | Event[Any]) -> None:
        process(recorder, task)
        if recorder._queue.empty():
            recorder._commit_event_session_or_retry()

    monkeypatch.setattr(Recorder, "_guarded_process_one_task_or_event_or_recover", process_and_commit)


@pytest.fixture
def mock_recorder_before_hass(request: pytest.FixtureRequest) -> None:
    """Prepare the recorder before Home Assistant starts, for tests that use one."""
    if "recorder_mock" in request.fixturenames:
        request.getfixturevalue("async_test_recorder")


@pytest.fixture
async def statistics(recorder_mock: Recorder, hass: HomeAssistant, freezer: FrozenDateTimeFactory) -> Statistics:
    """Return a real recorder, a minute before the first row of statistics."""
    freezer.move_to(START - timedelta(minutes=1))
    assert await async_setup_component(hass, "sensor", {})
    await async_wait_recording_done(hass)
    return Statistics(hass, freezer)


@pytest.fixture
def entity_registry_enabled_by_default() -> Iterator[None]:
    """Enable every entity by default."""
    with patch("homeassistant.helpers.entity.Entity.entity_registry_enabled_default", new=True):
        yield


@pytest.fixture
def all_in_every_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Request every endpoint in every poll."""
    monkeypatch.setattr(endpoints, "PERIODS", {})
    monkeypatch.setattr(gateway, "INVENTORY_PERIOD_WITH_BATTERIES", 0.0)


@pytest.fixture
def snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """Store snapshots in the format of Home Assistant's test tools, in whichever order plugins are loaded."""
    return snapshot.use_extension(HomeAssistantSnapshotExtension)


@pytest.fixture
async def simulate() -> AsyncIterator[Simulate]:
    """Start simulated gateways that stop after the test."""
    async with AsyncExitStack() as stack:

        async def start(profile: str = "full_battery", start: str = NOON, **options: Any) -> Simulator:
            clock = Clock(start=start, running=False)
            return await stack.enter_async_context(Simulator(profile, clock=clock, **options))

        yield start


@pytest.fixture
async def set_up(hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SetUp]:
    """Set up entries for simulated gateways, on the clock of the latest one, and unload them after the test."""
    installations: list[Installation] = []

    async def start(
        profile: str = "full_battery", *, options: Mapping[str, Any] | None = None, **data: Any
    ) -> Installation:
        gateway = await simulate(profile)
        use_clock_of(gateway, monkeypatch)
        entry = entry_for(gateway, **data)
        entry.add_to_hass(hass)
        hass.config_entries.async_update_entry(entry, options=options or {})
        installations.append(Installation(hass, gateway, entry))
        assert await hass.config_entries.async_setup(entry.entry_id)
        await hass.async_block_till_done()
        return installations[-1]

    yield start
    for installation in installations:
        if hass.config_entries.async_get_entry(installation.entry.entry_id):
            await hass.config_entries.async_unload(installation.entry.entry_id)
    await hass.async_block_till_done()
