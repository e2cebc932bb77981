"""When a gateway is asked what it offers, and when it is believed. Pure, with offers made up."""

from itertools import pairwise

from custom_components.enphase_envoy.client.probe import ProbeSchedule


class Bench:
    """Probes on a clock of their own."""

    def __init__(self) -> None:
        """Begin at noon."""
        self.now = 1000.0
        self.probes = ProbeSchedule(lambda: self.now)

    def probe(self, found: str, *, failing: bool = False) -> bool:
        """Find something, and return whether it is believed."""
        believed = self.probes.believe(found)
        self.probes.done(failing=failing)
        return believed

    def wait(self) -> float:
        """Wait for the next probe, and return for how many seconds."""
        since = self.now
        while not self.probes.are_due:
            self.now += 60
        return self.now - since


def test_a_gateway_is_asked_anew_within_an_hour_and_sooner_where_something_failed() -> None:
    bench = Bench()
    assert bench.probes.are_due
    bench.probe("all")
    assert 1800 < bench.wait() < 3600
    pauses = []
    for _ in range(8):
        bench.probe("all", failing=True)
        pauses.append(bench.wait())
    assert pauses[0] <= 120
    assert all(later >= earlier for earlier, later in pairwise(pauses))
    assert pauses[-1] < 3600


def test_what_was_found_once_is_no_more_certain_than_what_is_found_next() -> None:
    bench = Bench()
    assert bench.probe("odd")
    assert bench.probe("all")


def test_what_was_found_twice_goes_only_when_that_lasts() -> None:
    bench = Bench()
    for _ in range(2):
        assert bench.probe("all")
        bench.wait()
    began = bench.now
    while not bench.probe("less"):
        bench.wait()
    assert 600 <= bench.now - began <= 1200


def test_what_is_odd_for_one_probe_is_forgotten() -> None:
    bench = Bench()
    for found in ("all", "all"):
        bench.probe(found)
    for _ in range(20):
        assert not bench.probe("less")
        assert bench.wait() <= 120
        assert bench.probe("all")
        bench.now += 60


def test_after_an_upgrade_nothing_is_certain() -> None:
    bench = Bench()
    for found in ("all", "all"):
        bench.probe(found)
    bench.probes.forget(sure=False)
    assert bench.probes.are_due
    assert bench.probe("more")
