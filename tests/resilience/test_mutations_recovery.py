"""Mutated documents in a probe, of several endpoints and for several polls: all states recover soon after."""

from collections import Counter
from collections.abc import Sequence
import logging

from homeassistant.core import HomeAssistant
from hypothesis import given, strategies as st
import pytest

from tests.helpers.integration import Installation, SetUp
from tests.helpers.log import tracebacks
from tests.helpers.mutants import (
    MUTANTS,
    PROFILES,
    TOLERANCE,
    Mutants,
    Reference,
    counters,
    implausible,
    mutated,
    requested_paths,
    share_clock,
    sources,
    with_examples,
    without_value,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("entity_registry_enabled_by_default", "all_in_every_poll"),
]

#: Polls within which all states recover: the first requests all documents, the next ones those that were invalid.
SOON = 3


class Trial:
    """Mutates the documents of an installation for some polls, and checks that it recovers."""

    def __init__(self, installation: Installation, caplog: pytest.LogCaptureFixture) -> None:
        """Start with an installation without faults."""
        self.installation = installation
        self.gateway = installation.coordinator.gateway
        self.caplog = caplog
        self.paths = requested_paths(installation.gateway)
        self.entities, self.without_value = set(installation.states()), without_value(installation)
        self.sources = sources(installation)
        self.reference = Reference(installation.hass, installation.gateway)
        self.counted: Counter[str] = Counter()

    async def poll(self) -> None:
        """Poll a minute later."""
        self.installation.gateway.clock.advance(60)
        await self.installation.poll()
        assert not tracebacks(self.caplog)
        assert not implausible(self.installation.states())

    async def check(self, polls: Sequence[Mutants], *, probing: bool) -> None:
        """Poll with these mutations, and without them until all states have recovered."""
        # A probe result that lasts for ten minutes is accepted: discard that of the trial before.
        self.gateway.request_probe(keep_confirmed=True)
        await self.poll()
        self.caplog.clear()
        counted, during = counters(self.installation), set[str]()
        try:
            for mutants in polls:
                if probing:
                    self.gateway.request_probe(keep_confirmed=True)
                with mutated(self.installation.gateway, mutants):
                    await self.poll()
                during |= without_value(self.installation)
                assert self.entities <= self.installation.states().keys()
        finally:
            needed = await self.recover()
        assert without_value(self.installation) & self.entities <= self.without_value
        assert sources(self.installation) == self.sources
        self.check_counters(counted)
        self.counted += Counter(
            {"mutations": 1, f"recovered after {needed}": 1, "values lost meanwhile": during > self.without_value}
        )

    async def recover(self) -> int:
        """Poll until all states have recovered, and return the number of polls."""
        for polls in range(1, SOON + 1):
            await self.poll()
            if not (differences := await self.reference.differences(self.installation)):
                return polls
        raise AssertionError("\n".join(differences))

    def check_counters(self, before: dict[str, float]) -> None:
        """Check that counters are unchanged, or a little higher."""
        after = counters(self.installation)
        assert not [name for name in before if not -TOLERANCE <= after[name] - before[name] <= TOLERANCE * 2]


@pytest.mark.parametrize("profile", PROFILES)
def test_states_recover_after_mutated_documents(
    hass: HomeAssistant,
    set_up: SetUp,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    profile: str,
) -> None:
    """One document in a probe, which removes nothing, and then several of them for several polls."""
    run = hass.loop.run_until_complete
    installation = run(set_up(profile))
    share_clock(monkeypatch, installation.gateway)
    caplog.set_level(logging.INFO)
    trial = Trial(installation, caplog)
    run(trial.reference.log_in())
    # A probe result is confirmed when it was found twice.
    trial.gateway.request_probe(keep_confirmed=True)
    run(trial.poll())

    @with_examples(9, profile)
    @given(st.dictionaries(st.sampled_from(trial.paths), MUTANTS, min_size=1, max_size=1))
    def check_probe(mutants: Mutants) -> None:
        run(trial.check([mutants], probing=True))

    some = st.dictionaries(st.sampled_from(trial.paths), MUTANTS, min_size=1, max_size=4)

    @with_examples(5, profile)
    @given(st.lists(some, min_size=2, max_size=5), st.booleans())
    def check_polls(polls: list[Mutants], probing: bool) -> None:
        run(trial.check(polls, probing=probing))

    check_probe()
    check_polls()
    print(f"{profile}: {dict(trial.counted)}")  # noqa: T201
