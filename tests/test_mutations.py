"""Thousands of odd documents, each for one poll: nothing but what they feed is touched, and that comes back."""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
import logging
import os
import re
from typing import Final

from homeassistant.const import STATE_UNAVAILABLE, STATE_UNKNOWN
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import async_get_platforms
from homeassistant.util import dt as dt_util
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
import pytest

from custom_components.enphase_envoy import endpoints
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.entity import EnvoyEntity
from custom_components.enphase_envoy.gateway import Gateway

from .conftest import House
from .simulator.mutations import BODIES, SHAPES, VALUES, Mutation

type SetUp = Callable[..., Awaitable[House]]

#: Mutations of each profile; as many as this says, and another lot each time, where it is set.
WANTED: Final = os.environ.get("ENVOY_MUTATIONS")
MUTATIONS: Final = int(WANTED or 300)
PROFILES: Final = (
    *("full_battery", "collar", "three_phase", "ac_batteries", "metered_1phase", "total_consumption"),
    *("standard_7_6", "legacy_5", "legacy_3_9"),
)

_PLACES: Final = st.integers(0, 9) | st.integers(0, 4000)
_EDITS: Final = st.lists(st.tuples(_PLACES, st.sampled_from((*VALUES, *SHAPES))), min_size=1, max_size=3)
MUTANTS: Final = st.one_of(
    *[_EDITS.map(lambda edits: Mutation(tuple(edits)))] * 9,
    st.sampled_from(tuple(BODIES)).map(lambda body: Mutation(body=body)),
)


#: kWh by which a counter may be ahead of the truth, and wait for it, after a reading that was possible and still wrong.
BOOKED: Final = 10.0
#: What a part of an address is called.
NAME: Final = re.compile(r"[\w-]{1,40}", re.ASCII)
#: Larger than any state of these houses.
ABSURD: Final = 1e10


def fed_by_others(gateway: Gateway, path: str) -> set[str]:
    """Return the fields of the snapshot that an endpoint has no part in."""
    made = gateway._reader.makes
    fed = {field for updater, needs in gateway._reader.needs.items() if path in needs for field in made[updater]}
    return set().union(*made.values()) - fed


def sources(house: House) -> dict[str, str]:
    """Return the field of the snapshot that each entity shows."""
    return {
        name: entity._address[0]
        for platform in async_get_platforms(house.hass, DOMAIN)
        for name, entity in platform.entities.items()
        if isinstance(entity, EnvoyEntity)
    }


def counters(house: House) -> dict[str, float]:
    """Return what all energy counters show, in kWh."""
    units = {"Wh": 0.001, "kWh": 1.0, "MWh": 1000.0}
    return {
        state.entity_id: float(state.state) * units[state.attributes["unit_of_measurement"]]
        for state in house.hass.states.async_all()
        if state.attributes.get("state_class") == "total_increasing" and is_number(state.state)
    }


def is_number(state: str) -> bool:
    """Return whether a state is one."""
    try:
        float(state)
    except ValueError:
        return False
    return True


class Trial:
    """A house whose endpoints go mad one after another, for one poll each."""

    def __init__(self, house: House, caplog: pytest.LogCaptureFixture) -> None:
        """Begin with a healthy house."""
        self.house = house
        self.gateway = house.coordinator.gateway
        self.caplog = caplog
        self.paths = sorted(self.gateway._reader.in_use)
        self.entities = set(house.states())
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
        others, source, counted = fed_by_others(self.gateway, path), sources(self.house), counters(self.house)
        before = self.house.states()
        try:
            with self.house.gateway.fault(path, mutation):
                await self.house.poll()
            lost = not self.house.coordinator.last_update_success
            during = self.house.states()
        finally:
            await self.house.poll()
        told = [record for record in self.caplog.records if self.is_told(record)]
        lines = [record.getMessage() for record in told]
        assert not lost, lines
        assert not [line for record, line in zip(told, lines, strict=True) if record.exc_info or "Traceback" in line]
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
        unknown = {name for name in self.entities if during[name] == STATE_UNKNOWN != before[name]}
        assert len(unknown) <= 3
        absurd = {name: state for name, state in during.items() if is_number(state) and not abs(float(state)) < ABSURD}
        assert not absurd
        assert all(NAME.fullmatch(part) for address in self.house.coordinator.data.leaves for part in address)

    def look_back(self, before: dict[str, str], counted: dict[str, float]) -> None:
        """Look at what is shown after it."""
        after, still = self.house.states(), counters(self.house)
        counters_of_old = self.entities & counted.keys()
        assert not [name for name in counters_of_old if not -1e-6 <= still[name] - counted[name] <= BOOKED]
        rest = self.entities - counted.keys()
        assert {name: after[name] for name in rest} == {name: before[name] for name in rest}


@pytest.mark.parametrize("profile", PROFILES)
def test_what_one_document_says_hurts_nothing_but_what_it_feeds(
    hass: HomeAssistant,
    set_up: SetUp,
    entity_registry_enabled_by_default: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    profile: str,
) -> None:
    monkeypatch.setattr(endpoints, "PERIODS", {})
    run = hass.loop.run_until_complete
    house = run(set_up(profile))
    monkeypatch.setattr(dt_util, "utcnow", lambda: datetime.fromtimestamp(house.gateway.clock.now, UTC))
    caplog.set_level(logging.INFO)
    trial = Trial(house, caplog)

    @settings(
        max_examples=MUTATIONS,
        derandomize=WANTED is None,
        database=None,
        deadline=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(trial.paths), MUTANTS)
    def every(path: str, mutation: Mutation) -> None:
        run(trial.check(path, mutation))

    every()
    print(f"{profile}: {len(trial.entities)} entities, {len(trial.paths)} endpoints, {dict(trial.counted)}")  # noqa: T201
    # Neither was everything refused, nor everything believed.
    assert trial.counted["mutations"] > trial.counted["refused"] > 0.2 * MUTATIONS
    assert trial.counted["believed"] > 0
