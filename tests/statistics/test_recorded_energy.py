"""What Home Assistant's own statistics book, on a real recorder, while the counters of a gateway lie."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, time
import random

from homeassistant.components.recorder.const import EVENT_RECORDER_5MIN_STATISTICS_GENERATED
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er, issue_registry as ir
from homeassistant.util import dt as dt_util
from pyenphase.models.system_production import EnvoySystemProduction
import pytest

from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.energy import pipeline as books
from custom_components.enphase_envoy.energy.counter_filter import CounterFilter
from custom_components.enphase_envoy.energy.daily import DailyEnergy
from custom_components.enphase_envoy.energy.pipeline import ProcessingContext
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, Snapshot, TimedValue
from custom_components.enphase_envoy.storage import COUNTERS, EntryStore
from tests.energy.test_counter_filter import WRONG, ZONE
from tests.helpers.integration import NOON, Installation, SetUp
from tests.helpers.statistics import ROW, Period, Statistics
from tests.simulator import counter_faults
from tests.simulator.faults import Fault
from tests.simulator.gateway import Gateway, Json

type KeepBooks = Callable[[str], Awaitable[Kept]]

HOUSES = 30
MINUTES = 180
_COUNTERS = (*counter_faults.LIFETIME, "actEnergyDlvd", "actEnergyRcvd", "joulesProduced")


class Scaled(Fault):
    """Every counter reads a multiple of the truth."""

    def __init__(self, factor: float) -> None:
        """Multiply by this."""
        self.factor = factor

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Multiply."""
        return counter_faults._each(document, _COUNTERS, lambda place, key: place[key] * self.factor)


FAULTS: dict[str, Fault] = {
    "zero": Scaled(0),
    "half": Scaled(0.5),
    "triple": Scaled(3),
    "today is lifetime": counter_faults.TodayIsLifetime(),
    "today + 2^32": counter_faults.TodayPlus32Bits(),
}


@dataclass
class Kept:
    """A house whose statistics are made as time passes."""

    statistics: Statistics
    house: Installation

    async def poll(self, polls: int = 1) -> None:
        """Let minutes pass."""
        for _ in range(polls):
            self.house.gateway.clock.advance(60)
            self.statistics.freezer.tick(60)
            await self.house.poll()
            now = dt_util.utcnow()
            if now.timestamp() % ROW.total_seconds() == 0:
                await self.statistics.compile(now - ROW)

    def entity(self, key: str) -> str:
        """Return the id of an entity of the gateway."""
        unique_id = f"{self.house.gateway.serial}_{key}"
        entity_id = er.async_get(self.house.hass).async_get_entity_id("sensor", DOMAIN, unique_id)
        assert entity_id, key
        return entity_id

    async def changes(self, key: str, period: Period = "5minute") -> list[float]:
        """Return the Wh that were booked in each row."""
        return await self.statistics.changes(self.entity(key), period)


class _Bad:
    """A house with a true history and lies upon it, as the books show it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        #: The lifetime counter in truth, and as it was first read.
        self.true = self.random.uniform(2e6, 9e7)
        self.begun: float | None = None
        #: As read before the last poll, which belongs to a row to come.
        self.ended = 0.0
        self.today = self.random.uniform(0, 3e4)
        #: The most Wh in a poll, and polls that a lie may last.
        self.most = self.random.uniform(1, 100)
        # Longer ones are published and then taken back by corrections: see tests/worlds.
        self.longest = self.random.choice([1, 3, 4])
        self.entities = (f"sensor.total_{seed}", f"sensor.today_{seed}")
        self.left = 0
        self.lies: tuple[Callable[[float], float], ...] = ()
        guard = CounterFilter()
        self.steps = books.Pipeline((guard, DailyEnergy(guard)))

    def read(self, now: float, *, lies: bool) -> dict[str, float | None]:
        """Poll, and return the states."""
        if datetime.fromtimestamp(now, ZONE).time() == time():
            self.today = 0.0
        flowed = self.random.choice([0.0, self.most, self.random.uniform(0, self.most)])
        self.ended = self.true
        self.true += flowed
        self.today += flowed
        if self.begun is None:
            self.begun = self.true
        elif lies:
            self._draw()
        lifetime, today = self.true, self.today
        if self.left:
            self.left -= 1
            lifetime, today = (lie(value) for lie, value in zip(self.lies, (lifetime, today), strict=True))
        report = EnvoySystemProduction(lifetime, 0, today, 0)  # type: ignore[arg-type]
        objects: dict[Address, TimedValue] = {("system_production",): TimedValue(report, Freshness(now))}
        shown = self.steps.process(Snapshot("1", "8", None, "", objects), ProcessingContext(now, 0.0, ZONE))
        value = shown.objects["system_production",].value
        assert isinstance(value, EnvoySystemProduction)
        return dict(zip(self.entities, (value.watt_hours_lifetime, value.watt_hours_today), strict=True))

    def _draw(self) -> None:
        """Begin to lie, now and then."""
        if not self.left and self.random.random() < 0.08:
            self.left = self.random.randint(1, self.longest)
            lifetime = [*WRONG.values()]
            self.lies = (self.random.choice(lifetime), self.random.choice([*lifetime, lambda _: self.true]))


@pytest.fixture
async def keep_books(statistics: Statistics, set_up: SetUp) -> KeepBooks:
    """Set up a house at noon, and the recorder with it."""

    async def start(profile: str) -> Kept:
        statistics.freezer.move_to(NOON)
        return Kept(statistics, await set_up(profile))

    return start


@pytest.mark.usefixtures("entity_registry_enabled_by_default")
@pytest.mark.parametrize("profile", ["metered_1phase", "full_battery", "standard_7_6", "legacy_3_9"])
async def test_passing_lies_book_nothing(keep_books: KeepBooks, profile: str, caplog: pytest.LogCaptureFixture) -> None:
    kept = await keep_books(profile)
    house = kept.house.gateway.house
    await kept.poll(5)
    begun = house.total("production")
    for fault in FAULTS.values():
        await kept.poll(2)
        with kept.house.gateway.fault("*", fault):
            await kept.poll(1)
        await kept.poll(2)
    true = house.total("production") - begun
    for key in ("lifetime_production", "daily_production"):
        rows = await kept.changes(key)
        assert sum(rows[1:]) == pytest.approx(true, abs=2), key
        # A value that is held over the end of a row is booked in the next.
        assert max(rows[1:]) <= 2 * true / 5, rows
        assert min(rows) >= 0
    spoken = ("custom_components", "homeassistant.components.sensor", "homeassistant.components.recorder")
    assert not [
        record.message
        for record in caplog.records
        if record.name.startswith(spoken) and record.levelname in ("ERROR", "WARNING")
    ]


@pytest.mark.usefixtures("entity_registry_enabled_by_default")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_no_counter_of_a_full_system_books_what_never_flowed(
    keep_books: KeepBooks, hass: HomeAssistant, fault: Fault
) -> None:
    """One poll of a lie of everything at once, and every energy statistic there is."""
    kept = await keep_books("full_battery")
    await kept.poll(7)
    with kept.house.gateway.fault("*", fault):
        await kept.house.poll_all()
        said, shown = kept.house.coordinator.gateway.snapshot().objects, kept.house.coordinator.data.objects
        assert said["system_production",].value != shown["system_production",].value
    await kept.poll(8)
    found = await kept.statistics.rows(None, {"sum", "state"})
    meters = [
        state.entity_id
        for state in hass.states.async_all("sensor")
        if state.attributes.get("state_class") == "total_increasing" and state.entity_id in found
    ]
    assert len(meters) > 50
    phantom = 0.0
    for entity_id in meters:
        (began, first), *_, (ended, last) = [(row["sum"] or 0.0, row["state"] or 0.0) for row in found[entity_id]]
        phantom += abs((ended - began) - (last - first))
    assert phantom < 1


async def test_random_histories_with_random_lies_are_booked_as_they_were(
    statistics: Statistics, hass: HomeAssistant
) -> None:
    """Many houses at once, each on its own bad day: the guard and the days, on the recorder's own arithmetic."""
    begin = datetime.fromisoformat("2026-06-21T22:30:00+02:00")
    await hass.config.async_set_time_zone("Europe/Amsterdam")
    statistics.freezer.move_to(begin)
    houses = [_Bad(seed) for seed in range(HOUSES)]
    statistics.units = {entity_id: "Wh" for house in houses for entity_id in house.entities}
    for minute in range(MINUTES):
        statistics.freezer.tick(60)
        for house in houses:
            for entity_id, value in house.read(dt_util.utcnow().timestamp(), lies=minute < MINUTES - 30).items():
                statistics.write(entity_id, value)
        if minute % 5 == 4:
            await statistics.compile(dt_util.utcnow() - ROW)
    found = await statistics.rows(None, {"change"})
    for house in houses:
        assert house.begun is not None
        total, today = ([row["change"] or 0.0 for row in found[entity_id]] for entity_id in house.entities)
        assert sum(total) == pytest.approx(house.ended - house.begun, abs=0.01), house.seed
        # What was counted in the poll that spans midnight is partly of neither day.
        assert sum(today) == pytest.approx(house.ended - house.begun, abs=2 * house.most), house.seed
        assert min(*total, *today) >= 0
        # A value that was held is booked when it comes, and never more than had flowed since.
        assert max(*total, *today) <= house.most * (5 + house.longest + 1), house.seed


@pytest.mark.parametrize(
    ("profile", "leap"), [("metered_1phase", 30_000_000), ("metered_1phase", -9_100_000), ("legacy_3_9", 800_000)]
)
async def test_a_lasting_step_books_what_flowed(
    keep_books: KeepBooks, hass: HomeAssistant, profile: str, leap: float
) -> None:
    kept = await keep_books(profile)
    house = kept.house.gateway.house
    await kept.poll(11)
    begun = house.total("production")
    with kept.house.gateway.fault("*", counter_faults.Step(leap)):
        await kept.poll(80)
        hass.bus.async_fire(EVENT_RECORDER_5MIN_STATISTICS_GENERATED)
        await hass.async_block_till_done()
        await kept.statistics.apply_corrections()
        await kept.poll(5)
        true, a_poll = house.total("production") - begun, house.power("production") / 60
        rows = await kept.changes("lifetime_production")
        # Short of what is not known of the poll before the step, and of the one that the last row does not have yet.
        assert sum(rows[2:]) == pytest.approx(true, abs=2.5 * a_poll)
        assert 0 <= min(rows) <= max(rows) < 70 * a_poll
        assert min(await kept.changes("lifetime_production", "hour")) >= 0
    entity_id = kept.entity("lifetime_production")
    (issue,) = [issue for name, issue in ir.async_get(hass).issues.items() if entity_id in name[1]]
    assert issue.translation_key == "counter_step"
    assert issue.is_fixable


async def test_who_comes_from_home_assistants_own_begins_with_what_was_recorded(
    keep_books: KeepBooks, hass: HomeAssistant
) -> None:
    kept = await keep_books("metered_1phase")
    await kept.poll(15)
    entry = kept.house.entry
    true = (await kept.changes("lifetime_production"))[-1]
    # As if there had never been any books, and with a gateway that lies at the first poll.
    assert await hass.config_entries.async_unload(entry.entry_id)
    await EntryStore(hass, entry, COUNTERS).async_remove()
    with kept.house.gateway.fault("*", Scaled(0.5)):
        assert await hass.config_entries.async_setup(entry.entry_id)
        await hass.async_block_till_done()
        await kept.poll(3)
    await kept.poll(7)
    rows = await kept.changes("lifetime_production")
    assert sum(rows[-2:]) == pytest.approx(2 * true, abs=2 * true / 5)
    assert min(rows) >= 0
