"""The probe schedule: when a gateway is probed, and when a result is accepted. Without requests."""

from itertools import pairwise

from custom_components.enphase_envoy.client.probe import ProbeSchedule


class Bench:
    """A probe schedule with a clock of its own."""

    def __init__(self) -> None:
        """Start the clock."""
        self.now = 1000.0
        self.probes = ProbeSchedule(lambda: self.now)

    def probe(self, found: str, *, failing: bool = False) -> bool:
        """Probe with a result, and return whether it is accepted."""
        accepted = self.probes.accept(found)
        self.probes.done(failing=failing)
        return accepted

    def wait(self) -> float:
        """Advance to the next probe, and return the seconds until then."""
        since = self.now
        while not self.probes.is_due:
            self.now += 60
        return self.now - since


def test_probe_is_due_within_an_hour_and_sooner_after_a_failure() -> None:
    bench = Bench()
    assert bench.probes.is_due
    bench.probe("all")
    assert 1800 < bench.wait() < 3600
    pauses = []
    for _ in range(8):
        bench.probe("all", failing=True)
        pauses.append(bench.wait())
    assert pauses[0] <= 120
    assert all(later >= earlier for earlier, later in pairwise(pauses))
    assert pauses[-1] < 3600


def test_second_result_replaces_one_that_was_found_once() -> None:
    bench = Bench()
    assert bench.probe("other")
    assert bench.probe("all")


def test_confirmed_result_is_replaced_only_by_a_lasting_one() -> None:
    bench = Bench()
    for _ in range(2):
        assert bench.probe("all")
        bench.wait()
    began = bench.now
    while not bench.probe("less"):
        bench.wait()
    assert 600 <= bench.now - began <= 1200


def test_single_different_result_is_discarded() -> None:
    bench = Bench()
    for found in ("all", "all"):
        bench.probe(found)
    for _ in range(20):
        assert not bench.probe("less")
        assert bench.wait() <= 120
        assert bench.probe("all")
        bench.now += 60


def test_first_result_after_an_upgrade_is_accepted() -> None:
    bench = Bench()
    for found in ("all", "all"):
        bench.probe(found)
    bench.probes.request()
    assert bench.probes.is_due
    assert bench.probe("more")


def test_probe_that_is_requested_during_a_probe_follows_it() -> None:
    """New firmware may be noticed while the old one is still being probed."""
    bench = Bench()
    bench.probes.begin()
    bench.probes.request()
    bench.probes.done(failing=False)
    assert bench.probes.is_due
    bench.probes.begin()
    bench.probes.done(failing=False)
    assert not bench.probes.is_due
