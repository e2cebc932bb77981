"""Mutated documents in the first set-up: entities that they feed appear later, nothing else is affected."""

from collections import Counter
import logging

from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import STATE_UNAVAILABLE, STATE_UNKNOWN
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from hypothesis import given, strategies as st
import pytest

from tests.helpers.integration import Installation, Simulate, entry_for, use_clock_of
from tests.helpers.log import tracebacks
from tests.helpers.mutants import (
    MUTANTS,
    PROFILES,
    Mutants,
    Reference,
    implausible,
    mutated,
    requested_paths,
    share_clock,
    with_examples,
)
from tests.simulator import Simulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("entity_registry_enabled_by_default", "all_in_every_poll"),
]

#: Minutes until all entities exist after failures that were logged, and until the next probe finds the others.
SOON, NEXT_PROBE = 4, 60


class FirstSetUp:
    """Sets a gateway up again and again, each time without stored data."""

    def __init__(self, hass: HomeAssistant, gateway: Simulator, caplog: pytest.LogCaptureFixture) -> None:
        """Prepare the entry."""
        self.hass = hass
        self.gateway = gateway
        self.caplog = caplog
        self.installation = Installation(hass, gateway, entry_for(gateway))
        self.reference = Reference(hass, gateway)
        self.counted: Counter[str] = Counter()

    async def start(self) -> None:
        """Set up without mutations, to learn the requested paths and the resulting states."""
        await self.set_up()
        self.paths, self.healthy = requested_paths(self.gateway), self.states()
        await self.remove()
        await self.reference.log_in()

    async def set_up(self) -> None:
        """Add the entry and set it up."""
        self.installation = Installation(self.hass, self.gateway, entry_for(self.gateway))
        self.installation.entry.add_to_hass(self.hass)
        await self.hass.config_entries.async_setup(self.installation.entry.entry_id)
        await self.hass.async_block_till_done()

    async def remove(self) -> None:
        """Remove the entry with its stored data."""
        await self.hass.config_entries.async_remove(self.installation.entry.entry_id)
        await self.hass.async_block_till_done()

    def states(self) -> dict[str, str]:
        """Return the states of all entities by unique id: entity ids depend on the order of creation."""
        registry = er.async_get(self.hass)
        return {
            entry.unique_id: state
            for name, state in self.installation.states().items()
            if (entry := registry.async_get(name))
        }

    async def minute(self) -> None:
        """Poll, or set up again, a minute later."""
        self.gateway.clock.advance(60)
        if self.installation.entry.state is ConfigEntryState.LOADED:
            await self.installation.poll()
        else:
            await self.hass.config_entries.async_reload(self.installation.entry.entry_id)
            await self.hass.async_block_till_done()

    async def check(self, mutants: Mutants) -> None:
        """Set up with the mutations, and continue without them until all entities exist."""
        self.caplog.clear()
        with mutated(self.gateway, mutants):
            await self.set_up()
        try:
            first = self.installation.entry.state
            assert first in (ConfigEntryState.LOADED, ConfigEntryState.SETUP_RETRY)
            assert first is ConfigEntryState.LOADED or self.installation.entry.error_reason_translation_key
            polls = await self.recover()
            assert not tracebacks(self.caplog)
            self.counted += Counter({"mutations": 1, first.name: 1, "soon" if polls <= SOON else "within an hour": 1})
        finally:
            await self.remove()

    async def recover(self) -> int:
        """Poll until all states are right, and return the number of minutes."""
        is_logged = any(" fails (" in record.getMessage() for record in self.caplog.records)
        for minutes in range(1, SOON + NEXT_PROBE + 1):
            await self.minute()
            if not (differences := await self.differences()):
                return minutes
            if minutes == SOON:
                assert not is_logged, differences
                assert self.installation.entry.state is ConfigEntryState.LOADED
        raise AssertionError("\n".join(differences))

    async def differences(self) -> list[str]:
        """Return the differences from a set-up without mutations."""
        if self.installation.entry.state is not ConfigEntryState.LOADED:
            return ["not set up"]
        assert not implausible(self.installation.states())
        now = self.states()
        missing = [
            name
            for name, state in self.healthy.items()
            if now.get(name, STATE_UNAVAILABLE) in (STATE_UNAVAILABLE, STATE_UNKNOWN) and now.get(name) != state
        ]
        return missing or await self.reference.differences(self.installation)


@pytest.mark.parametrize("profile", PROFILES)
def test_first_set_up_with_mutated_documents_recovers(
    hass: HomeAssistant,
    simulate: Simulate,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    profile: str,
) -> None:
    run = hass.loop.run_until_complete
    gateway = run(simulate(profile))
    use_clock_of(gateway, monkeypatch)
    share_clock(monkeypatch, gateway)
    caplog.set_level(logging.INFO)
    trial = FirstSetUp(hass, gateway, caplog)
    run(trial.start())

    @with_examples(3, profile)
    @given(st.dictionaries(st.sampled_from(trial.paths), MUTANTS, min_size=1, max_size=2))
    def check(mutants: Mutants) -> None:
        run(trial.check(mutants))

    check()
    print(f"{profile}: {len(trial.healthy)} entities, {dict(trial.counted)}")  # noqa: T201
