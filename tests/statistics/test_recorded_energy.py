"""Energy in Home Assistant's statistics, on a real recorder, while the counters of a gateway are wrong."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, time
import random

from homeassistant.components.recorder.const import EVENT_RECORDER_5MIN_STATISTICS_GENERATED
from homeassistant.components.repairs import repairs_flow_manager
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er, issue_registry as ir
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pyenphase.models.system_production import EnvoySystemProduction
import pytest

from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.energy.counter_filter import CounterFilter
from custom_components.enphase_envoy.energy.daily import DailyEnergy
from custom_components.enphase_envoy.energy.pipeline import Pipeline, ProcessingContext
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, Snapshot, TimedValue
from custom_components.enphase_envoy.storage import COUNTERS, EntryStore
from tests.energy.test_counter_filter import WRONG, ZONE
from tests.helpers.integration import NOON, Installation, SetUp
from tests.helpers.statistics import ROW, Period, Statistics
from tests.simulator import counter_faults
from tests.simulator.faults import Fault
from tests.simulator.gateway import Gateway, Json

type StartRecording = Callable[[str], Awaitable[Recording]]

SYSTEMS = 30
MINUTES = 180
_COUNTERS = (*counter_faults.LIFETIME, "actEnergyDlvd", "actEnergyRcvd", "joulesProduced")


class Scaled(Fault):
    """Every counter reads a multiple of the actual energy."""

    def __init__(self, factor: float) -> None:
        """Multiply by this factor."""
        self.factor = factor

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Multiply the counters."""
        return counter_faults._each(document, _COUNTERS, lambda place, key: place[key] * self.factor)


FAULTS: dict[str, Fault] = {
    "zero": Scaled(0),
    "half": Scaled(0.5),
    "triple": Scaled(3),
    "today is lifetime": counter_faults.TodayIsLifetime(),
    "today + 2^32": counter_faults.TodayPlus32Bits(),
}


@dataclass
class Recording:
    """An installation whose statistics are compiled as time passes."""

    statistics: Statistics
    installation: Installation

    async def poll(self, polls: int = 1) -> None:
        """Poll once a minute, and compile a row of statistics every five minutes."""
        for _ in range(polls):
            self.installation.gateway.clock.advance(60)
            self.statistics.freezer.tick(60)
            await self.installation.poll()
            now = dt_util.utcnow()
            if now.timestamp() % ROW.total_seconds() == 0:
                await self.statistics.compile(now - ROW)

    def entity(self, key: str) -> str:
        """Return the id of an entity of the gateway."""
        unique_id = f"{self.installation.gateway.serial}_{key}"
        entity_id = er.async_get(self.installation.hass).async_get_entity_id("sensor", DOMAIN, unique_id)
        assert entity_id, key
        return entity_id

    async def changes(self, key: str, period: Period = "5minute") -> list[float]:
        """Return the recorded change of each row in Wh."""
        return await self.statistics.changes(self.entity(key), period)


class _FaultySystem:
    """A system with random production and random wrong readings of it, as the energy pipeline publishes them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        #: The actual lifetime counter in Wh, and its value at the first poll.
        self.actual = self.random.uniform(2e6, 9e7)
        self.first: float | None = None
        #: The actual value before the last poll. The energy of the last poll belongs to the next row.
        self.before_last = 0.0
        self.today = self.random.uniform(0, 3e4)
        #: The highest energy of a poll in Wh, and the highest number of polls that a fault lasts.
        self.most = self.random.uniform(1, 100)
        # Wrong readings that last longer are published, and corrections reverse them later: see tests/worlds.
        self.longest = self.random.choice([1, 3, 4])
        self.entities = (f"sensor.total_{seed}", f"sensor.today_{seed}")
        self.faulty_polls = 0
        self.faults: tuple[Callable[[float], float], ...] = ()
        counter_filter = CounterFilter()
        self.pipeline = Pipeline((counter_filter, DailyEnergy(counter_filter)))

    def read(self, now: float, *, faulty: bool) -> dict[str, float | None]:
        """Poll, and return the states. Faults begin only if `faulty` is set."""
        if datetime.fromtimestamp(now, ZONE).time() == time():
            self.today = 0.0
        energy = self.random.choice([0.0, self.most, self.random.uniform(0, self.most)])
        self.before_last = self.actual
        self.actual += energy
        self.today += energy
        if self.first is None:
            self.first = self.actual
        elif faulty:
            self._draw()
        lifetime, today = self.actual, self.today
        if self.faulty_polls:
            self.faulty_polls -= 1
            lifetime, today = (fault(value) for fault, value in zip(self.faults, (lifetime, today), strict=True))
        report = EnvoySystemProduction(lifetime, 0, today, 0)  # type: ignore[arg-type]
        objects: dict[Address, TimedValue] = {("system_production",): TimedValue(report, Freshness(now))}
        published = self.pipeline.process(Snapshot("1", "8", None, "", objects), ProcessingContext(now, 0.0, ZONE))
        value = published.objects["system_production",].value
        assert isinstance(value, EnvoySystemProduction)
        return dict(zip(self.entities, (value.watt_hours_lifetime, value.watt_hours_today), strict=True))

    def _draw(self) -> None:
        """Begin a fault in 8 % of the polls."""
        if not self.faulty_polls and self.random.random() < 0.08:
            self.faulty_polls = self.random.randint(1, self.longest)
            lifetime = [*WRONG.values()]
            self.faults = (self.random.choice(lifetime), self.random.choice([*lifetime, lambda _: self.actual]))


@pytest.fixture
async def start_recording(statistics: Statistics, set_up: SetUp) -> StartRecording:
    """Set up an installation at noon, with the recorder."""

    async def start(profile: str) -> Recording:
        statistics.freezer.move_to(NOON)
        return Recording(statistics, await set_up(profile))

    return start


@pytest.mark.usefixtures("entity_registry_enabled_by_default")
@pytest.mark.parametrize("profile", ["metered_1phase", "full_battery", "standard_7_6", "legacy_3_9"])
async def test_temporary_faults_add_no_energy(
    start_recording: StartRecording, profile: str, caplog: pytest.LogCaptureFixture
) -> None:
    recording = await start_recording(profile)
    gateway = recording.installation.gateway
    await recording.poll(5)
    first = gateway.house.total("production")
    for fault in FAULTS.values():
        await recording.poll(2)
        with gateway.fault("*", fault):
            await recording.poll(1)
        await recording.poll(2)
    actual = gateway.house.total("production") - first
    for key in ("lifetime_production", "daily_production"):
        rows = await recording.changes(key)
        assert sum(rows[1:]) == pytest.approx(actual, abs=2), key
        # The energy of a value that is held back at the end of a row is recorded in the next row.
        assert max(rows[1:]) <= 2 * actual / 5, rows
        assert min(rows) >= 0
    loggers = ("custom_components", "homeassistant.components.sensor", "homeassistant.components.recorder")
    assert not [
        record.message
        for record in caplog.records
        if record.name.startswith(loggers) and record.levelname in ("ERROR", "WARNING")
    ]


@pytest.mark.usefixtures("entity_registry_enabled_by_default")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_no_counter_of_a_full_system_records_false_energy(
    start_recording: StartRecording, hass: HomeAssistant, fault: Fault
) -> None:
    """All counters are wrong in one poll; every energy statistic is checked."""
    recording = await start_recording("full_battery")
    await recording.poll(7)
    with recording.installation.gateway.fault("*", fault):
        await recording.installation.poll_all()
        coordinator = recording.installation.coordinator
        reported, published = coordinator.gateway.snapshot().objects, coordinator.data.objects
        assert reported["system_production",].value != published["system_production",].value
    await recording.poll(8)
    found = await recording.statistics.rows(None, {"sum", "state"})
    meters = [
        state.entity_id
        for state in hass.states.async_all("sensor")
        if state.attributes.get("state_class") == "total_increasing" and state.entity_id in found
    ]
    assert len(meters) > 50
    false_energy = 0.0
    for entity_id in meters:
        rows = [(row["sum"] or 0.0, row["state"] or 0.0) for row in found[entity_id]]
        (first_sum, first_state), *_, (last_sum, last_state) = rows
        false_energy += abs((last_sum - first_sum) - (last_state - first_state))
    assert false_energy < 1


async def test_random_production_with_random_faults_is_recorded_correctly(
    statistics: Statistics, hass: HomeAssistant
) -> None:
    """Many systems at once, each with its own faults: the counter filter and daily energy with the real recorder."""
    begin = datetime.fromisoformat("2026-06-21T22:30:00+02:00")
    await hass.config.async_set_time_zone("Europe/Amsterdam")
    statistics.freezer.move_to(begin)
    systems = [_FaultySystem(seed) for seed in range(SYSTEMS)]
    statistics.units = {entity_id: "Wh" for system in systems for entity_id in system.entities}
    for minute in range(MINUTES):
        statistics.freezer.tick(60)
        for system in systems:
            for entity_id, value in system.read(dt_util.utcnow().timestamp(), faulty=minute < MINUTES - 30).items():
                statistics.write(entity_id, value)
        if minute % 5 == 4:
            await statistics.compile(dt_util.utcnow() - ROW)
    found = await statistics.rows(None, {"change"})
    for system in systems:
        assert system.first is not None
        total, today = ([row["change"] or 0.0 for row in found[entity_id]] for entity_id in system.entities)
        assert sum(total) == pytest.approx(system.before_last - system.first, abs=0.01), system.seed
        # A part of the energy of the poll that spans midnight is counted in neither day.
        assert sum(today) == pytest.approx(system.before_last - system.first, abs=2 * system.most), system.seed
        assert min(*total, *today) >= 0
        # The energy of a held-back value is recorded with the next accepted one, and is never more than was produced.
        assert max(*total, *today) <= system.most * (5 + system.longest + 1), system.seed


@pytest.mark.parametrize(
    ("profile", "step"), [("metered_1phase", 30_000_000), ("metered_1phase", -9_100_000), ("legacy_3_9", 800_000)]
)
async def test_a_permanent_step_records_the_actual_energy(
    start_recording: StartRecording, hass: HomeAssistant, profile: str, step: float
) -> None:
    recording = await start_recording(profile)
    gateway = recording.installation.gateway
    await recording.poll(11)
    first = gateway.house.total("production")
    with gateway.fault("*", counter_faults.Step(step)):
        await recording.poll(80)
        hass.bus.async_fire(EVENT_RECORDER_5MIN_STATISTICS_GENERATED)
        await hass.async_block_till_done()
        await recording.statistics.apply_corrections()
        await recording.poll(5)
        actual, per_poll = gateway.house.total("production") - first, gateway.house.power("production") / 60
        rows = await recording.changes("lifetime_production")
        # Two polls may be missing: the one before the step, which is partly unknown, and the one after the last row.
        assert sum(rows[2:]) == pytest.approx(actual, abs=2.5 * per_poll)
        assert 0 <= min(rows) <= max(rows) < 70 * per_poll
        assert min(await recording.changes("lifetime_production", "hour")) >= 0
    entity_id = recording.entity("lifetime_production")
    (issue,) = [issue for name, issue in ir.async_get(hass).issues.items() if entity_id in name[1]]
    assert issue.translation_key == "counter_step"
    assert issue.is_fixable


async def test_a_step_that_counts_as_energy_is_recorded_once(
    start_recording: StartRecording, hass: HomeAssistant
) -> None:
    assert await async_setup_component(hass, "repairs", {})
    recording, step = await start_recording("metered_1phase"), 30_000_000
    installation = recording.installation
    await recording.poll(11)
    first = installation.gateway.house.total("production")

    async def energy() -> float:
        await recording.statistics.apply_corrections()
        return sum((await recording.changes("lifetime_production"))[2:])

    with installation.gateway.fault("*", counter_faults.Step(step)):
        await recording.poll(80)
        hass.bus.async_fire(EVENT_RECORDER_5MIN_STATISTICS_GENERATED)
        await hass.async_block_till_done()
        slack = 2.5 * installation.gateway.house.power("production") / 60
        assert await energy() == pytest.approx(installation.gateway.house.total("production") - first, abs=slack)
        entity_id = recording.entity("lifetime_production")
        (issue_id,) = [issue for _, issue in ir.async_get(hass).issues if entity_id in issue]
        dialogs = repairs_flow_manager(hass)
        assert dialogs
        opened = await dialogs.async_init(DOMAIN, data={"issue_id": issue_id})
        await dialogs.async_configure(opened["flow_id"], {"next_step_id": "book"})
        # Neither a reload nor further rows correct it again, or create another issue.
        assert await hass.config_entries.async_reload(installation.entry.entry_id)
        await recording.poll(60)
        hass.bus.async_fire(EVENT_RECORDER_5MIN_STATISTICS_GENERATED)
        await hass.async_block_till_done()
        flowed = installation.gateway.house.total("production") - first
        assert await energy() == pytest.approx(flowed + step, abs=2 * slack)
    assert not [issue for _, issue in ir.async_get(hass).issues if entity_id in issue]


async def test_counters_resume_from_statistics_of_home_assistants_own_integration(
    start_recording: StartRecording, hass: HomeAssistant
) -> None:
    recording = await start_recording("metered_1phase")
    await recording.poll(15)
    entry = recording.installation.entry
    per_row = (await recording.changes("lifetime_production"))[-1]
    # As after a change from Home Assistant's own integration: no stored counters, and the first poll has a fault.
    assert await hass.config_entries.async_unload(entry.entry_id)
    await EntryStore(hass, entry, COUNTERS).async_remove()
    with recording.installation.gateway.fault("*", Scaled(0.5)):
        assert await hass.config_entries.async_setup(entry.entry_id)
        await hass.async_block_till_done()
        await recording.poll(3)
    await recording.poll(7)
    rows = await recording.changes("lifetime_production")
    assert sum(rows[-2:]) == pytest.approx(2 * per_row, abs=2 * per_row / 5)
    assert min(rows) >= 0
