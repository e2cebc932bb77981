"""Published objects: expiry by the age of each value, and changes found at some addresses alone."""

from dataclasses import replace

import pytest

from custom_components.enphase_envoy.availability import MISSING, HoldTime, PublishedObjects
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, Snapshot, TimedValue

POWER: Address = ("power",)
COUNTER: Address = ("counter",)


class Bench:
    """Published objects on a clock of its own."""

    def __init__(self, interval: float = 60) -> None:
        """Start at zero."""
        self.now = 0.0
        self.published = PublishedObjects(interval, lambda: self.now)
        self.snapshot = Snapshot("1", "8", None, "Envoy", {})

    def put(self, address: Address, value: object, at: float, **fields: float) -> None:
        """Put an object into the snapshot, with fields that were updated at another time."""
        timed = TimedValue(value, Freshness(at), {field: Freshness(then) for field, then in fields.items()})
        self.snapshot = replace(self.snapshot, objects={**self.snapshot.objects, address: timed})

    def remove(self, address: Address) -> None:
        """Remove an object from the snapshot."""
        objects = {where: timed for where, timed in self.snapshot.objects.items() if where != address}
        self.snapshot = replace(self.snapshot, objects=objects)

    def available(self, address: Address, hold: HoldTime = HoldTime.SHORT, field: str | None = None) -> bool:
        """Return whether an entity is available."""
        return self.published.get(address).is_available(hold, field)


@pytest.mark.parametrize(("interval", "short", "long"), [(30, 210, 900), (60, 210, 900), (300, 900, 900)])
def test_value_expires_after_its_hold_time(interval: float, short: float, long: float) -> None:
    bench = Bench(interval)
    bench.put(POWER, 1, 0)
    for now, expected in (
        (0, (True, True)),
        (short - 1, (True, True)),
        (short, (False, long > short)),
        (long, (False, False)),
    ):
        bench.now = now
        bench.published.update(bench.snapshot)
        assert (bench.available(POWER), bench.available(POWER, HoldTime.LONG)) == expected


def test_field_with_a_faster_source_expires_by_its_own_age() -> None:
    """Live power keeps no counter of the same object available, nor the other way round."""
    bench = Bench()
    bench.put(POWER, 1, 0, watts=200.0)
    bench.now = 300
    bench.published.update(bench.snapshot)
    assert bench.available(POWER, HoldTime.SHORT, "watts")
    assert not bench.available(POWER, HoldTime.SHORT, "lifetime")
    assert not bench.available(POWER)
    bench.put(POWER, 1, 290, watts=0.0)
    bench.published.update(bench.snapshot)
    assert not bench.available(POWER, HoldTime.SHORT, "watts")
    assert bench.available(POWER, HoldTime.SHORT, "lifetime")


def test_update_returns_where_something_changed() -> None:
    bench = Bench()
    bench.put(POWER, 1, 0)
    bench.put(COUNTER, 5, 0)
    assert bench.published.update(bench.snapshot) == {POWER, COUNTER}
    assert bench.published.update(bench.snapshot) == set()
    bench.put(POWER, 2, 60)
    assert bench.published.update(bench.snapshot) == {POWER}
    bench.now = 210
    assert bench.published.update(bench.snapshot) == {COUNTER}, "expired"
    bench.remove(COUNTER)
    assert bench.published.update(bench.snapshot) == {COUNTER}
    assert bench.published.get(COUNTER) is MISSING
    assert bench.published.addresses == {POWER}


def test_update_of_some_addresses_evaluates_these_alone() -> None:
    bench = Bench()
    bench.put(POWER, 1, 0)
    bench.put(COUNTER, 5, 0)
    bench.published.update(bench.snapshot)
    bench.put(POWER, 2, 1)
    bench.put(COUNTER, 6, 1)
    assert bench.published.update(bench.snapshot, {POWER}) == {POWER}
    assert bench.published.get(COUNTER).value == 5
    bench.remove(POWER)
    assert bench.published.update(bench.snapshot, {POWER}) == {POWER}
    assert bench.published.addresses == {COUNTER}


def test_nothing_expires_while_all_is_held() -> None:
    """The user polls by automations, and decides about the age of values."""
    bench = Bench()
    bench.put(POWER, 1, 0, watts=0.0)
    bench.now = 10_000
    bench.published.update(bench.snapshot, hold_all=True)
    assert bench.available(POWER)
    assert bench.available(POWER, HoldTime.SHORT, "watts")


def test_seconds_to_the_next_expiry() -> None:
    bench = Bench()
    assert bench.published.seconds_to_next_expiry() is None
    bench.put(COUNTER, 5, 0)
    bench.now = 300
    bench.published.update(bench.snapshot)
    assert bench.published.seconds_to_next_expiry() == 600
    bench.put(POWER, 1, 0, watts=200.0)
    bench.published.update(bench.snapshot)
    assert bench.published.seconds_to_next_expiry() == 110
    bench.published.update(bench.snapshot, [COUNTER])
    assert bench.published.seconds_to_next_expiry() == 600
    bench.now = 2000
    assert bench.published.seconds_to_next_expiry() is None
