"""Mutated storage files: the next set-up gives the same entities as one without files."""

from collections import Counter
from copy import deepcopy
import json
import logging
from typing import Any, Final

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.util.json import json_loads
from hypothesis import given, strategies as st
import pytest

from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.storage import COUNTERS, DOCUMENTS, ROOF
from tests.helpers.integration import Installation, SetUp
from tests.helpers.log import tracebacks
from tests.helpers.mutants import (
    EDITED,
    PROFILES,
    counters,
    implausible,
    share_clock,
    sources,
    with_examples,
    without_value,
)
from tests.simulator.faults import Status
from tests.simulator.mutations import Mutation

type Saved = dict[str, Any]

#: The files that a set-up reads.
SUBJECTS: Final = (DOCUMENTS, COUNTERS, ROOF)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("entity_registry_enabled_by_default", "all_in_every_poll"),
]


class StorageTrial:
    """Mutates the stored data of an installation between an unload and the next set-up."""

    def __init__(self, installation: Installation, storage: Saved, caplog: pytest.LogCaptureFixture) -> None:
        """Store the states before."""
        self.hass, self.installation, self.storage, self.caplog = installation.hass, installation, storage, caplog
        self.keys = {subject: f"{DOMAIN}.{installation.entry.entry_id}.{subject}" for subject in SUBJECTS}
        self.states, self.without_value, self.sources = (
            installation.states(),
            without_value(installation),
            sources(installation),
        )
        self.counters = counters(installation).keys()
        self.noon = installation.gateway.clock.now, deepcopy(installation.gateway.gateway._house)
        self.saved: dict[str, Saved] = {}
        self.counted: Counter[str] = Counter()
        #: The mutated file has not the identities of all objects.
        self.lacks_objects = False

    async def unload(self) -> None:
        """Unload the entry, which saves its data."""
        await self.hass.config_entries.async_unload(self.installation.entry.entry_id)
        await self.hass.async_block_till_done()

    async def start(self) -> None:
        """Save the data for the first time."""
        await self.unload()
        self.saved = {subject: deepcopy(self.storage[key]) for subject, key in self.keys.items()}

    def mutated(self, subject: str, body: int | None, mutation: Mutation) -> Saved | None:
        """Return a file with a mutation, with `body` in one of its documents; None if it is not JSON."""
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
            mutated: Saved = json_loads(json.dumps(saved))  # type: ignore[assignment]
        except ValueError:
            return None
        return mutated

    async def check(self, subject: str, body: int | None, mutation: Mutation, *, silent: bool) -> None:
        """Set up with a mutated file, while the gateway answers or fails (`silent`)."""
        if (mutated := self.mutated(subject, body, mutation)) is None:
            self.counted["no file"] += 1
            return
        clock, gateway = self.installation.gateway.clock, self.installation.gateway.gateway
        clock._base, gateway._house = self.noon[0], deepcopy(self.noon[1])
        for other, key in self.keys.items():
            self.storage[key] = mutated if other == subject else deepcopy(self.saved[other])
        self.lacks_objects = subject == DOCUMENTS and not _objects(self.saved[subject]) <= _objects(mutated)
        self.caplog.clear()
        try:
            if silent:
                with self.installation.gateway.fault("*", Status(503)):
                    await self.hass.config_entries.async_setup(self.installation.entry.entry_id)
                await self.recover()
            else:
                await self.hass.config_entries.async_setup(self.installation.entry.entry_id)
            await self.hass.async_block_till_done()
            if self.lacks_objects:
                # Those are accepted as new ones are: when two good answers contain them.
                await self.installation.poll()
            self.check_states(advanced=silent)
            for _ in range(2):
                await self.installation.poll()
                self.check_states(advanced=silent)
        finally:
            await self.unload()
        assert not tracebacks(self.caplog)
        self.counted["files"] += 1

    async def recover(self) -> None:
        """Let the gateway answer again, whether the entry was set up from stored data or not at all."""
        await self.hass.async_block_till_done()
        entry = self.installation.entry
        self.counted[entry.state.name] += 1
        assert entry.state in (ConfigEntryState.LOADED, ConfigEntryState.SETUP_RETRY)
        assert not implausible(self.installation.states())
        for _ in range(3):
            self.installation.gateway.clock.advance(60)
            if entry.state is ConfigEntryState.LOADED:
                await self.installation.poll()
            else:
                await self.hass.config_entries.async_reload(entry.entry_id)

    def check_states(self, *, advanced: bool) -> None:
        """Check that states are those from before, or some minutes later plausible ones."""
        assert self.installation.entry.state is ConfigEntryState.LOADED
        now = self.installation.states()
        assert not now.keys() ^ self.states.keys()
        assert without_value(self.installation) <= self.without_value
        assert not implausible(now)
        assert sources(self.installation) == self.sources
        if not advanced:
            # A counter whose stored value is higher holds it until the gateway's exceeds it.
            differs = {name for name, state in now.items() if state != self.states[name]}
            assert differs <= self.counters
            self.counted["other counters"] += bool(differs)


def _objects(saved: Saved) -> set[str]:
    """Return the identities of objects in a file, as far as they are valid."""
    objects = saved["data"].get("objects")
    return {identity for identity in objects if isinstance(identity, str)} if isinstance(objects, list) else set()


@pytest.mark.parametrize("profile", PROFILES)
def test_set_up_with_mutated_storage_gives_the_same_entities(
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
    trial = StorageTrial(installation, hass_storage, caplog)
    run(trial.start())

    @with_examples(5, profile)
    @given(st.sampled_from(SUBJECTS), st.none() | st.integers(0, 30), EDITED, st.booleans())
    def check(subject: str, body: int | None, mutation: Mutation, silent: bool) -> None:
        run(trial.check(subject, body, mutation, silent=silent))

    check()
    print(f"{profile}: {dict(trial.counted)}")  # noqa: T201
