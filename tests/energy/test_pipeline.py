"""The pipeline: processors one after another, for all addresses or for some."""

from collections.abc import Collection, Mapping
from datetime import UTC
import random

from pyenphase.models.system_production import EnvoySystemProduction
import pytest

from custom_components.enphase_envoy.energy.counter_filter import CounterFilter
from custom_components.enphase_envoy.energy.daily import DailyEnergy
from custom_components.enphase_envoy.energy.pipeline import Pipeline, ProcessingContext
from custom_components.enphase_envoy.model.json_data import Json
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, Objects, Snapshot, TimedValue

CONTEXT = ProcessingContext(0.0, 0.0, UTC)


class Doubler:
    """A processor that doubles numbers, and counts how many it evaluated."""

    def __init__(self, name: str) -> None:
        """Start without results."""
        self.name = name
        self.evaluated = 0
        self.results: dict[Address, TimedValue] = {}

    def process(self, objects: Objects, addresses: Collection[Address], _context: ProcessingContext) -> Objects:
        """Double the numbers at these addresses."""
        for address in addresses:
            self.evaluated += 1
            timed = objects[address]
            assert isinstance(timed.value, int)
            self.results[address] = TimedValue(2 * timed.value, timed.freshness)
        return self.results

    def dump(self) -> dict[str, Json]:
        """Return the count."""
        return {"evaluated": self.evaluated}

    def load(self, data: Mapping[str, Json]) -> None:
        """Restore the count."""
        if isinstance(count := data.get("evaluated"), int):
            self.evaluated = count


def snapshot(**values: int) -> Snapshot:
    """Return a snapshot of numbers."""
    objects: dict[Address, TimedValue] = {(name,): TimedValue(value, Freshness(0.0)) for name, value in values.items()}
    return Snapshot("1", "8", None, "Envoy", objects)


def values(found: Snapshot) -> dict[str, object]:
    """Return the values of a snapshot."""
    return {address[0]: timed.value for address, timed in found.objects.items()}


def test_each_processor_gets_the_objects_of_the_one_before() -> None:
    pipeline = Pipeline((Doubler("first"), Doubler("second")))
    assert values(pipeline.process(snapshot(a=1, b=10), CONTEXT)) == {"a": 4, "b": 40}


def test_only_given_addresses_are_evaluated() -> None:
    first, second = Doubler("first"), Doubler("second")
    pipeline = Pipeline((first, second))
    pipeline.process(snapshot(a=1, b=10), CONTEXT)
    found = pipeline.process(snapshot(a=2, b=10), CONTEXT, {("a",)})
    assert values(found) == {"a": 8, "b": 40}
    assert (first.evaluated, second.evaluated) == (3, 3)


def test_snapshot_without_processors_stays_the_same() -> None:
    found = snapshot(a=1)
    assert Pipeline(()).process(found, CONTEXT) is found


def test_each_processor_stores_its_state_under_its_name() -> None:
    before = Pipeline((Doubler("first"), Doubler("second")))
    before.process(snapshot(a=1), CONTEXT)
    stored = before.dump()
    assert stored == {"first": {"evaluated": 1}, "second": {"evaluated": 1}}
    first, second = Doubler("first"), Doubler("second")
    Pipeline((first, second)).load({**stored, "second": None, "other": {}})
    assert (first.evaluated, second.evaluated) == (1, 0)


def counters() -> Pipeline:
    """Return a pipeline of the processors that have a state of each object."""
    counter_filter = CounterFilter()
    return Pipeline((counter_filter, DailyEnergy(counter_filter)))


@pytest.mark.parametrize("seed", range(20))
def test_a_poll_evaluates_all_that_may_differ(seed: int) -> None:
    """Objects that were not read again are left out: the same is published as when all are evaluated.

    Some readings are held back, two midnights pass, and once the clock is set back.
    """
    chance = random.Random(seed)
    few, all_ = counters(), counters()
    fresh, lifetimes = Freshness(0.0), dict.fromkeys("abcd", 5e6)
    objects: dict[Address, TimedValue] = {}
    now = 1_750_500_000.0
    for poll in range(2000):
        now += 60 if poll != 1200 else -7200
        for name in lifetimes:
            lifetimes[name] += 50
            if not objects or chance.random() < 0.3:
                reported = lifetimes[name] if chance.random() < 0.9 else chance.choice((0, 1e7, lifetimes[name] / 2))
                report = EnvoySystemProduction(round(reported), 0, 0, 3000)
                objects[name,] = TimedValue(report, chance.choice((fresh, Freshness(now))))
        fresh.updated_at = now
        context = ProcessingContext(now, 0.0, UTC)
        taken = Snapshot("1", "8", None, "Envoy", dict(objects))
        assert few.process(taken, context).objects == all_.process(taken, context, taken.objects).objects
    assert few.dump() == all_.dump()
