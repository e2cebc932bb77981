"""Thousands of odd documents, each for one poll: nothing but what they feed is touched, and that comes back."""

from collections import Counter
import logging
import re
from typing import Final

from homeassistant.const import STATE_UNAVAILABLE, STATE_UNKNOWN
from homeassistant.core import HomeAssistant
from hypothesis import given, strategies as st
import pytest

from custom_components.enphase_envoy.client.gateway import Gateway
from tests.helpers.integration import Installation, SetUp
from tests.helpers.mutants import (
    BOOKED,
    MUTANTS,
    NAME,
    PROFILES,
    absurd,
    counters,
    examples,
    fields,
    share_clock,
    spoiled,
    tracebacks,
    trying,
)
from tests.simulator.mutations import Mutation

pytestmark = pytest.mark.usefixtures("entity_registry_enabled_by_default", "all_in_every_poll")

#: How the name of what is of a phase ends.
PHASE: Final = re.compile(r"_l[123]$")


def fed_by_others(gateway: Gateway, path: str) -> set[str]:
    """Return the fields of the snapshot that an endpoint has no part in."""
    made = gateway._reader.makes
    fed = {field for updater, needs in gateway._reader.needs.items() if path in needs for field in made[updater]}
    return set().union(*made.values()) - fed


class Trial:
    """A house whose endpoints go mad one after another, for one poll each."""

    def __init__(self, installation: Installation, caplog: pytest.LogCaptureFixture) -> None:
        """Begin with a healthy installation."""
        self.installation = installation
        self.gateway = installation.coordinator.gateway
        self.caplog = caplog
        self.paths = sorted(self.gateway._reader.in_use)
        self.entities = set(installation.states())
        self.counted: Counter[str] = Counter()

    @staticmethod
    def is_told(record: logging.LogRecord) -> bool:
        """Return whether the owner reads this, and would not without us."""
        least = logging.INFO if record.name.startswith("custom_components") else logging.WARNING
        return record.levelno >= least and record.name != "asyncio"

    def due(self, path: str) -> None:
        """Let the next poll ask this endpoint and one that is well."""
        well = next(other for other in self.paths if other != path)
        for other in self.paths:
            self.gateway._asker.endpoint(other).period = 0.0 if other in (path, well) else float("inf")

    async def check(self, path: str, mutation: Mutation) -> None:
        """Poll with the mutation and without it, and look at everything."""
        self.due(path)
        self.caplog.clear()
        others, source, counted = (
            fed_by_others(self.gateway, path),
            fields(self.installation),
            counters(self.installation),
        )
        before = self.installation.states()
        try:
            with spoiled(self.installation.gateway, {path: mutation}):
                await self.installation.poll()
            lost = not self.installation.coordinator.last_update_success
            during = self.installation.states()
        finally:
            await self.installation.poll()
        told = [record for record in self.caplog.records if self.is_told(record)]
        lines = [record.getMessage() for record in told]
        assert not lost, lines
        assert not tracebacks(self.caplog)
        assert len([record for record in told if record.levelno >= logging.WARNING]) <= 1, lines
        assert len(told) <= 2, lines
        self.look(before, during, {name for name in self.entities if source.get(name) in others})
        self.look_back(before, counted)
        self.counted += Counter({"mutations": 1, "refused": bool(lines), "believed": during != before})

    def look(self, before: dict[str, str], during: dict[str, str], untouched: set[str]) -> None:
        """Look at what is shown while an endpoint says something odd."""
        assert {name: during[name] for name in untouched} == {name: before[name] for name in untouched}
        gone = {name for name in self.entities if during[name] == STATE_UNAVAILABLE != before[name]}
        assert not gone
        # A word that nobody knows, or an energy that can't be, is shown as unknown: one for each thing that is wrong.
        # A meter tells it of itself and of each phase.
        unknown = {name for name in self.entities if during[name] == STATE_UNKNOWN != before[name]}
        assert len({PHASE.sub("", name) for name in unknown}) <= 3
        assert not absurd(during)
        assert all(NAME.fullmatch(part) for address in self.installation.coordinator.data.objects for part in address)

    def look_back(self, before: dict[str, str], counted: dict[str, float]) -> None:
        """Look at what is shown after it."""
        after, still = self.installation.states(), counters(self.installation)
        counters_of_old = self.entities & counted.keys()
        assert not [name for name in counters_of_old if not -1e-6 <= still[name] - counted[name] <= BOOKED]
        rest = self.entities - counted.keys()
        assert {name: after[name] for name in rest} == {name: before[name] for name in rest}


@pytest.mark.parametrize("profile", PROFILES)
def test_what_one_document_says_hurts_nothing_but_what_it_feeds(
    hass: HomeAssistant,
    set_up: SetUp,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    profile: str,
) -> None:
    run = hass.loop.run_until_complete
    installation = run(set_up(profile))
    share_clock(monkeypatch, installation.gateway)
    caplog.set_level(logging.INFO)
    trial = Trial(installation, caplog)

    @trying(300)
    @given(st.sampled_from(trial.paths), MUTANTS)
    def every(path: str, mutation: Mutation) -> None:
        run(trial.check(path, mutation))

    every()
    print(f"{profile}: {len(trial.entities)} entities, {len(trial.paths)} endpoints, {dict(trial.counted)}")  # noqa: T201
    # Neither was everything refused, nor everything believed.
    assert trial.counted["mutations"] > trial.counted["refused"] > 0.2 * examples(300)
    assert trial.counted["believed"] > 0
