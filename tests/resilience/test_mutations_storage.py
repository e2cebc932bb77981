"""Odd files of memory: whatever is in them, the next set-up ends as one without them."""

from collections import Counter
from copy import deepcopy
import json
import logging
from typing import Any

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.util.json import json_loads
from hypothesis import given, strategies as st
import pytest

from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.storage import COUNTERS, DOCUMENTS, STORES
from tests.helpers.integration import Installation, SetUp
from tests.helpers.mutants import EDITED, PROFILES, absent, absurd, counters, share_clock, sources, tracebacks, trying
from tests.simulator.faults import Status
from tests.simulator.mutations import Mutation

type Saved = dict[str, Any]

pytestmark = pytest.mark.usefixtures("entity_registry_enabled_by_default", "all_in_every_poll")


class Forger:
    """Changes what a house remembers between an unload and the next set-up."""

    def __init__(self, installation: Installation, storage: Saved, caplog: pytest.LogCaptureFixture) -> None:
        """Note how it is."""
        self.hass, self.installation, self.storage, self.caplog = installation.hass, installation, storage, caplog
        self.keys = {subject: f"{DOMAIN}.{installation.entry.entry_id}.{subject}" for subject in STORES}
        self.states, self.absent, self.sources = installation.states(), absent(installation), sources(installation)
        self.counters = counters(installation).keys()
        self.noon = installation.gateway.clock.now, deepcopy(installation.gateway.gateway._house)
        self.saved: dict[str, Saved] = {}
        self.counted: Counter[str] = Counter()

    async def unload(self) -> None:
        """Have it remember."""
        await self.hass.config_entries.async_unload(self.installation.entry.entry_id)
        await self.hass.async_block_till_done()

    async def begin(self) -> None:
        """Have it remember for the first time."""
        await self.unload()
        self.saved = {subject: deepcopy(self.storage[key]) for subject, key in self.keys.items()}

    def forged(self, subject: str, body: int | None, mutation: Mutation) -> Saved | None:
        """Return a file with a mutation, in one of the documents if a `body` is wanted; None if it can't be read."""
        saved = deepcopy(self.saved[subject])
        documents: dict[str, Saved] = saved["data"].get("documents", {})
        gateway = self.installation.gateway.gateway
        if body is None or not documents:
            mutation.edit(subject, saved["data"], gateway)
        else:
            path = sorted(documents)[body % len(documents)]
            document = mutation.edit(path, json.loads(documents[path]["body"]), gateway)
            documents[path]["body"] = json.dumps(document)
        try:
            forged: Saved = json_loads(json.dumps(saved))  # type: ignore[assignment]
        except ValueError:
            return None
        return forged

    async def check(self, subject: str, body: int | None, mutation: Mutation, *, silent: bool) -> None:
        """Set up with a forged file, while the gateway answers or is `silent`."""
        if (forged := self.forged(subject, body, mutation)) is None:
            self.counted["no file"] += 1
            return
        clock, gateway = self.installation.gateway.clock, self.installation.gateway.gateway
        clock._base, gateway._house = self.noon[0], deepcopy(self.noon[1])
        for other, key in self.keys.items():
            self.storage[key] = forged if other == subject else deepcopy(self.saved[other])
        self.caplog.clear()
        try:
            if silent:
                with self.installation.gateway.fault("*", Status(503)):
                    await self.hass.config_entries.async_setup(self.installation.entry.entry_id)
                await self.come_back()
            else:
                await self.hass.config_entries.async_setup(self.installation.entry.entry_id)
            for _ in range(2):
                await self.hass.async_block_till_done()
                self.look(moved=silent)
                await self.installation.poll()
        finally:
            await self.unload()
        assert not tracebacks(self.caplog)
        self.counted["files"] += 1

    async def come_back(self) -> None:
        """Let the gateway answer again, to one that shows what is remembered or to one that could not be set up."""
        await self.hass.async_block_till_done()
        entry = self.installation.entry
        self.counted[entry.state.name] += 1
        assert entry.state in (ConfigEntryState.LOADED, ConfigEntryState.SETUP_RETRY)
        assert not absurd(self.installation.states())
        for _ in range(3):
            self.installation.gateway.clock.advance(60)
            if entry.state is ConfigEntryState.LOADED:
                await self.installation.poll()
            else:
                await self.hass.config_entries.async_reload(entry.entry_id)

    def look(self, *, moved: bool) -> None:
        """Look whether all is as it was, or as it is some minutes later."""
        assert self.installation.entry.state is ConfigEntryState.LOADED
        now = self.installation.states()
        assert not now.keys() ^ self.states.keys()
        assert absent(self.installation) <= self.absent
        assert not absurd(now)
        assert sources(self.installation) == self.sources
        if not moved:
            # A counter that was higher, as far as can be known, waits for the truth.
            differs = {name for name, state in now.items() if state != self.states[name]}
            assert differs <= self.counters
            self.counted["other counters"] += bool(differs)


@pytest.mark.parametrize("profile", PROFILES)
def test_whatever_is_remembered_the_next_set_up_ends_as_one_without_a_memory(
    hass: HomeAssistant,
    set_up: SetUp,
    hass_storage: Saved,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    profile: str,
) -> None:
    run = hass.loop.run_until_complete
    installation = run(set_up(profile))
    share_clock(monkeypatch, installation.gateway)
    caplog.set_level(logging.INFO)
    run(installation.poll())
    forger = Forger(installation, hass_storage, caplog)
    run(forger.begin())

    @trying(5)
    @given(st.sampled_from((DOCUMENTS, COUNTERS)), st.none() | st.integers(0, 30), EDITED, st.booleans())
    def every(subject: str, body: int | None, mutation: Mutation, silent: bool) -> None:
        run(forger.check(subject, body, mutation, silent=silent))

    every()
    print(f"{profile}: {dict(forger.counted)}")  # noqa: T201
