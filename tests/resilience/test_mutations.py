"""Thousands of mutated documents, each for one poll: only entities that it feeds may change, and they recover."""

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
from tests.helpers.log import tracebacks
from tests.helpers.mutants import (
    MUTANTS,
    NAME,
    PROFILES,
    TOLERANCE,
    counters,
    examples,
    fields,
    implausible,
    mutated,
    share_clock,
    with_examples,
)
from tests.simulator.mutations import Mutation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("entity_registry_enabled_by_default", "all_in_every_poll"),
]

#: The end of the name of an entity of a phase.
PHASE: Final = re.compile(r"_l[123]$")
#: What every line about a field with an invalid value contains.
INVALID: Final = "the gateway reports an invalid "


def fed_by_others(gateway: Gateway, path: str) -> set[str]:
    """Return the fields of the snapshot that do not depend on an endpoint."""
    produced = gateway._parser.fields
    own = {field for updater, needs in gateway._parser.needs.items() if path in needs for field in produced[updater]}
    return set().union(*produced.values()) - own


class Trial:
    """Mutates the documents of an installation one after another, for one poll each."""

    def __init__(self, installation: Installation, caplog: pytest.LogCaptureFixture) -> None:
        """Start with an installation without faults."""
        self.installation = installation
        self.gateway = installation.coordinator.gateway
        self.caplog = caplog
        self.paths = sorted(self.gateway._parser.paths)
        self.entities = set(installation.states())
        self.counted: Counter[str] = Counter()

    @staticmethod
    def is_visible(record: logging.LogRecord) -> bool:
        """Return whether a record is in the user's log because of the component."""
        level = logging.INFO if record.name.startswith("custom_components") else logging.WARNING
        return record.levelno >= level

    def make_due(self, path: str) -> None:
        """Let the next poll request this endpoint and one without a fault."""
        healthy = next(other for other in self.paths if other != path)
        for other in self.paths:
            self.gateway._scheduler.endpoints[other].period = 0.0 if other in (path, healthy) else float("inf")

    async def check(self, path: str, mutation: Mutation) -> None:
        """Poll with the mutation and without it, and check states and log."""
        self.make_due(path)
        self.caplog.clear()
        self.gateway._parser.cache._logged.clear()
        others, source, counted = (
            fed_by_others(self.gateway, path),
            fields(self.installation),
            counters(self.installation),
        )
        before = self.installation.states()
        try:
            with mutated(self.installation.gateway, {path: mutation}):
                await self.installation.poll()
            lost = not self.installation.coordinator.last_update_success
            during = self.installation.states()
        finally:
            await self.installation.poll()
        visible = [record for record in self.caplog.records if self.is_visible(record)]
        lines = [record.getMessage() for record in visible]
        assert not lost, lines
        assert not tracebacks(self.caplog)
        # One line for each field of a kind of objects.
        about_fields = [line for line in lines if INVALID in line]
        assert len(about_fields) == len(set(about_fields)), lines
        # The endpoint, and the counters: one line when they fail, and one when they have recovered.
        rest = [record for record in visible if INVALID not in record.getMessage()]
        assert len([record for record in rest if record.levelno >= logging.WARNING]) <= 1, lines
        assert all(number <= 2 for number in Counter(record.name for record in rest).values()), lines
        self.check_during(before, during, {name for name in self.entities if source.get(name) in others})
        self.check_after(before, counted)
        self.counted += Counter({"mutations": 1, "rejected": bool(lines), "accepted": during != before})

    def check_during(self, before: dict[str, str], during: dict[str, str], untouched: set[str]) -> None:
        """Check the states while a document is mutated."""
        assert {name: during[name] for name in untouched} == {name: before[name] for name in untouched}
        unavailable = {name for name in self.entities if during[name] == STATE_UNAVAILABLE != before[name]}
        assert not unavailable
        # An unknown constant or an implausible energy becomes an unknown state: one for each mutation.
        # A constant of a meter is a state of the meter and of each of its phases.
        unknown = {name for name in self.entities if during[name] == STATE_UNKNOWN != before[name]}
        assert len({PHASE.sub("", name) for name in unknown}) <= 3
        assert not implausible(during)
        assert all(NAME.fullmatch(part) for address in self.installation.coordinator.data.objects for part in address)

    def check_after(self, before: dict[str, str], counted: dict[str, float]) -> None:
        """Check the states after the mutation."""
        after, still = self.installation.states(), counters(self.installation)
        counters_of_old = self.entities & counted.keys()
        assert not [name for name in counters_of_old if not -1e-6 <= still[name] - counted[name] <= TOLERANCE]
        rest = self.entities - counted.keys()
        assert {name: after[name] for name in rest} == {name: before[name] for name in rest}


@pytest.mark.parametrize("profile", PROFILES)
def test_mutated_document_affects_only_entities_that_it_feeds(
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

    @with_examples(150, profile)
    @given(st.sampled_from(trial.paths), MUTANTS)
    def check(path: str, mutation: Mutation) -> None:
        run(trial.check(path, mutation))

    check()
    assert trial.counted["mutations"] > trial.counted["rejected"] > 0.2 * examples(150)
    # Which ones are drawn depends on the code, since Hypothesis draws constants of it: of these, some are accepted.
    for path in trial.paths:
        for position in range(0, 4000, 400):
            run(trial.check(path, Mutation(((position, "halved"),))))
    print(f"{profile}: {len(trial.entities)} entities, {len(trial.paths)} endpoints, {dict(trial.counted)}")  # noqa: T201
    assert trial.counted["accepted"] > 0
