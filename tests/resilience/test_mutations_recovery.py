"""Odd documents at bad moments: in a probe, of several endpoints, for several polls. All is right right after."""

from collections import Counter
from collections.abc import Callable, Sequence
import logging

from homeassistant.core import HomeAssistant
from hypothesis import given, strategies as st
import pytest

from tests.helpers.integration import Installation, SetUp
from tests.helpers.mutants import (
    BOOKED,
    MUTANTS,
    PROFILES,
    Mutants,
    Witness,
    absent,
    absurd,
    asked,
    counters,
    share_clock,
    sources,
    spoiled,
    tracebacks,
    trying,
)

pytestmark = pytest.mark.usefixtures("entity_registry_enabled_by_default", "all_in_every_poll")

#: Polls after which all is right: documents are asked for anew in the first, and what can't be read in the next ones.
SOON = 3


class Trial:
    """A house that is well known, and whose gateway goes mad for some polls."""

    def __init__(self, installation: Installation, caplog: pytest.LogCaptureFixture) -> None:
        """Begin with a healthy installation."""
        self.installation = installation
        self.gateway = installation.coordinator.gateway
        self.caplog = caplog
        self.paths = asked(installation.gateway)
        self.entities, self.absent = set(installation.states()), absent(installation)
        self.sources = sources(installation)
        self.witness = Witness(installation.hass, installation.gateway)
        self.counted: Counter[str] = Counter()

    async def poll(self) -> None:
        """Poll a minute later."""
        self.installation.gateway.clock.advance(60)
        await self.installation.poll()
        assert not tracebacks(self.caplog)
        assert not absurd(self.installation.states())

    async def check(self, rounds: Sequence[Mutants], *, probing: bool) -> None:
        """Poll with these mutations, and without, until all is right."""
        # What lasts for ten minutes is believed: nothing is left over of what was found in the trial before.
        self.gateway.forget_probe()
        await self.poll()
        self.caplog.clear()
        counted, during = counters(self.installation), set[str]()
        try:
            for mutants in rounds:
                if probing:
                    self.gateway.forget_probe()
                with spoiled(self.installation.gateway, mutants):
                    await self.poll()
                during |= absent(self.installation)
                assert self.entities <= self.installation.states().keys()
        finally:
            polls = await self.recover()
        assert absent(self.installation) & self.entities <= self.absent
        assert sources(self.installation) == self.sources
        self.look_at_counters(counted)
        self.counted += Counter({"mutations": 1, f"right after {polls}": 1, "lost for a while": during > self.absent})

    async def recover(self) -> int:
        """Poll until all is right, and return how often."""
        for polls in range(1, SOON + 1):
            await self.poll()
            if not (wrong := await self.witness.contradicts(self.installation)):
                return polls
        raise AssertionError("\n".join(wrong))

    def look_at_counters(self, before: dict[str, float]) -> None:
        """Look whether counters are where they were, or a little higher."""
        after = counters(self.installation)
        assert not [name for name in before if not -BOOKED <= after[name] - before[name] <= BOOKED * 2]


@pytest.fixture
def trial_of(
    hass: HomeAssistant,
    set_up: SetUp,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], Trial]:
    """Begin a trial of a kind of installation."""

    def begin(profile: str) -> Trial:
        installation = hass.loop.run_until_complete(set_up(profile))
        share_clock(monkeypatch, installation.gateway)
        caplog.set_level(logging.INFO)
        trial = Trial(installation, caplog)
        hass.loop.run_until_complete(trial.witness.begin())
        # What is offered is known for sure when it was found twice.
        trial.gateway.forget_probe()
        hass.loop.run_until_complete(trial.poll())
        return trial

    return begin


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_said_in_a_probe_takes_nothing(
    hass: HomeAssistant, trial_of: Callable[[str], Trial], profile: str
) -> None:
    trial = trial_of(profile)

    @trying(9)
    @given(st.dictionaries(st.sampled_from(trial.paths), MUTANTS, min_size=1, max_size=1))
    def every(mutants: Mutants) -> None:
        hass.loop.run_until_complete(trial.check([mutants], probing=True))

    every()
    print(f"{profile}: {dict(trial.counted)}")  # noqa: T201


@pytest.mark.parametrize("profile", PROFILES)
def test_whatever_is_said_for_some_polls_all_is_right_after_them(
    hass: HomeAssistant, trial_of: Callable[[str], Trial], profile: str
) -> None:
    trial = trial_of(profile)
    one = st.dictionaries(st.sampled_from(trial.paths), MUTANTS, min_size=1, max_size=4)

    @trying(5)
    @given(st.lists(one, min_size=2, max_size=5), st.booleans())
    def every(rounds: list[Mutants], probing: bool) -> None:
        hass.loop.run_until_complete(trial.check(rounds, probing=probing))

    every()
    print(f"{profile}: {dict(trial.counted)}")  # noqa: T201
