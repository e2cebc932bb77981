"""Odd documents that are met when nothing is known yet: they put off what they feed, and break nothing."""

from collections import Counter
import logging

from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import STATE_UNAVAILABLE, STATE_UNKNOWN
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from hypothesis import given, strategies as st
import pytest

from tests.helpers.integration import Installation, Simulate, entry_for, use_clock_of
from tests.helpers.mutants import (
    MUTANTS,
    PROFILES,
    Mutants,
    Witness,
    absurd,
    asked,
    share_clock,
    spoiled,
    tracebacks,
    trying,
)
from tests.simulator import Simulator

pytestmark = pytest.mark.usefixtures("entity_registry_enabled_by_default", "all_in_every_poll")

#: Minutes until all is right after what was said to fail, and until it is looked for what was not.
SOON, LOOKS = 4, 60


class Newcomer:
    """A gateway that is set up again and again, as if it had never been there."""

    def __init__(self, hass: HomeAssistant, gateway: Simulator, caplog: pytest.LogCaptureFixture) -> None:
        """Prepare to set it up."""
        self.hass = hass
        self.gateway = gateway
        self.caplog = caplog
        self.installation = Installation(hass, gateway, entry_for(gateway))
        self.witness = Witness(hass, gateway)
        self.counted: Counter[str] = Counter()

    async def begin(self) -> None:
        """See what a healthy gateway is asked for, and what comes of it."""
        await self.set_up()
        self.paths, self.healthy = asked(self.gateway), self.states()
        await self.remove()
        await self.witness.begin()

    async def set_up(self) -> None:
        """Set it up."""
        self.installation = Installation(self.hass, self.gateway, entry_for(self.gateway))
        self.installation.entry.add_to_hass(self.hass)
        await self.hass.config_entries.async_setup(self.installation.entry.entry_id)
        await self.hass.async_block_till_done()

    async def remove(self) -> None:
        """Remove it, with all that was remembered."""
        await self.hass.config_entries.async_remove(self.installation.entry.entry_id)
        await self.hass.async_block_till_done()

    def states(self) -> dict[str, str]:
        """Return the states of all entities by their unique ids: the names of those that came first may be taken."""
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
        """Set up with the mutations, and go on without them until all is there."""
        self.caplog.clear()
        with spoiled(self.gateway, mutants):
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
        """Go on until all is right, and return after how many minutes that is."""
        is_told = any(" fails (" in record.getMessage() for record in self.caplog.records)
        for minutes in range(1, SOON + LOOKS + 1):
            await self.minute()
            if not (wrong := await self.wrong()):
                return minutes
            if minutes == SOON:
                assert not is_told, wrong
                assert self.installation.entry.state is ConfigEntryState.LOADED
        raise AssertionError("\n".join(wrong))

    async def wrong(self) -> list[str]:
        """Return what is not as if nothing had been."""
        if self.installation.entry.state is not ConfigEntryState.LOADED:
            return ["not set up"]
        assert not absurd(self.installation.states())
        now = self.states()
        lost = [
            name
            for name, state in self.healthy.items()
            if now.get(name, STATE_UNAVAILABLE) in (STATE_UNAVAILABLE, STATE_UNKNOWN) and now.get(name) != state
        ]
        return lost or await self.witness.contradicts(self.installation)


@pytest.mark.parametrize("profile", PROFILES)
def test_whatever_is_said_at_the_first_set_up_all_is_there_once_it_is_right(
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
    newcomer = Newcomer(hass, gateway, caplog)
    run(newcomer.begin())

    @trying(3)
    @given(st.dictionaries(st.sampled_from(newcomer.paths), MUTANTS, min_size=1, max_size=2))
    def every(mutants: Mutants) -> None:
        run(newcomer.check(mutants))

    every()
    print(f"{profile}: {len(newcomer.healthy)} entities, {dict(newcomer.counted)}")  # noqa: T201
