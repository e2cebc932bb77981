"""Helpers for tests with mutated documents: strategies, number of examples, and checks of the resulting states."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
import os
import re
from typing import Final
from zlib import crc32

from homeassistant.const import STATE_UNAVAILABLE, STATE_UNKNOWN
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.helpers.entity_platform import async_get_platforms
from homeassistant.util import dt as dt_util
from hypothesis import HealthCheck, Phase, seed, settings, strategies as st
import pytest

from custom_components.enphase_envoy.client.auth import Credentials
from custom_components.enphase_envoy.client.gateway import Gateway
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.entity import EnvoyEntity
from tests.helpers.integration import LONG, Installation
from tests.simulator import Simulator
from tests.simulator.mutations import BODIES, SHAPES, VALUES, Mutation

#: Number of mutations per profile, drawn at random in each run; unset, the usual number with a seed for each profile.
EXAMPLES: Final = os.environ.get("ENVOY_MUTATIONS")
PROFILES: Final = (
    *("full_battery", "collar", "three_phase", "ac_batteries", "metered_1phase", "total_consumption"),
    *("standard_7_6", "legacy_5", "legacy_3_9"),
)

_POSITIONS: Final = st.integers(0, 9) | st.integers(0, 4000)
_EDITS: Final = st.lists(st.tuples(_POSITIONS, st.sampled_from((*VALUES, *SHAPES))), min_size=1, max_size=3)
#: Documents with mutated values or structure.
EDITED: Final = _EDITS.map(lambda edits: Mutation(tuple(edits)))
#: Those, and one in ten with a mutated body.
MUTANTS: Final = st.one_of(*[EDITED] * 9, st.sampled_from(tuple(BODIES)).map(lambda body: Mutation(body=body)))

#: kWh by which a counter may be too high, and hold its value, after a reading that was plausible and still wrong.
TOLERANCE: Final = 10.0
#: Larger than any state of these systems.
IMPLAUSIBLE: Final = 1e10
#: A valid part of an address.
NAME: Final = re.compile(r"[\w-]{1,40}", re.ASCII)


type Mutants = dict[str, Mutation]


def examples(usual: int) -> int:
    """Return the number of examples: ENVOY_MUTATIONS, or the usual number."""
    return int(EXAMPLES or usual)


def with_examples(usual: int, profile: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator for the usual number of examples, which differ by profile, or for ENVOY_MUTATIONS."""
    chosen = settings(
        max_examples=examples(usual),
        database=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    if EXAMPLES is not None:
        return chosen
    return lambda test: seed(crc32(profile.encode()))(chosen(test))


def is_number(state: str) -> bool:
    """Return whether a state is a number."""
    try:
        float(state)
    except ValueError:
        return False
    return True


def implausible(states: dict[str, str]) -> dict[str, str]:
    """Return the states that no system can have."""
    return {name: state for name, state in states.items() if is_number(state) and not abs(float(state)) < IMPLAUSIBLE}


def counters(installation: Installation) -> dict[str, float]:
    """Return the states of all energy counters in kWh."""
    units = {"Wh": 0.001, "kWh": 1.0, "MWh": 1000.0}
    return {
        state.entity_id: float(state.state) * units[state.attributes["unit_of_measurement"]]
        for state in installation.hass.states.async_all()
        if state.attributes.get("state_class") == "total_increasing" and is_number(state.state)
    }


def fields(installation: Installation) -> dict[str, str]:
    """Return the field of the snapshot that each entity is read from."""
    return {
        name: entity._address[0]
        for platform in async_get_platforms(installation.hass, DOMAIN)
        for name, entity in platform.entities.items()
        if isinstance(entity, EnvoyEntity)
    }


def without_value(installation: Installation) -> set[str]:
    """Return the entities that are unavailable or unknown."""
    return {name for name, state in installation.states().items() if state in (STATE_UNAVAILABLE, STATE_UNKNOWN)}


def sources(installation: Installation) -> dict[str, str]:
    """Return the updater that is the source of each field of counters."""
    return dict(installation.coordinator.gateway._parser.sources)


@contextmanager
def mutated(gateway: Simulator, mutants: Mutants) -> Iterator[None]:
    """Mutate the documents of a gateway within the block."""
    with ExitStack() as stack:
        for path, mutation in mutants.items():
            stack.enter_context(gateway.fault(path, mutation))
        yield


def requested_paths(gateway: Simulator) -> list[str]:
    """Return the endpoints that were requested."""
    return sorted(gateway.requested_paths - {"/auth/check_jwt"})


def share_clock(monkeypatch: pytest.MonkeyPatch, gateway: Simulator) -> None:
    """Set Home Assistant's time to that of a gateway."""
    monkeypatch.setattr(dt_util, "utcnow", lambda: datetime.fromtimestamp(gateway.clock.now, UTC))


class Reference:
    """A second client of the same gateway, which is only used while the documents are not mutated."""

    def __init__(self, hass: HomeAssistant, simulator: Simulator) -> None:
        """Store the simulator; no request is sent yet."""
        self._simulator = simulator
        self._hass = hass

    async def log_in(self) -> None:
        """Log in."""
        simulator = self._simulator
        session = async_get_clientsession(self._hass, verify_ssl=False)
        self._gateway = Gateway(simulator.host, session, lambda: simulator.clock.now)
        token = simulator.token(days=LONG) if simulator.uses_tokens else None
        await self._gateway.identify()
        await self._gateway.log_in(Credentials(simulator.username, simulator.password, token))

    async def differences(self, installation: Installation) -> list[str]:
        """Poll, and return the objects of an installation that are missing, differ or are not up to date."""
        expected = (await self._gateway.poll()).objects
        shown, now = installation.coordinator.gateway.snapshot().objects, self._simulator.clock.now
        differences = []
        for address, timed in expected.items():
            found, name = shown.get(address), " ".join(address)
            if not found:
                differences.append(f"{name} is missing")
            elif found.value != timed.value:
                differences.append(f"{name} is {found.value} and not {timed.value}")
            elif found.updated_at < now:
                differences.append(f"{name} was updated {now - found.updated_at} s ago")
        return differences
