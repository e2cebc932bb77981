"""What tests of odd documents share: which to try, how many, and what nobody may lose by them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
import logging
import os
import re
from typing import Final

from homeassistant.const import STATE_UNAVAILABLE, STATE_UNKNOWN
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.helpers.entity_platform import async_get_platforms
from homeassistant.util import dt as dt_util
from hypothesis import HealthCheck, Phase, settings, strategies as st
import pytest

from custom_components.enphase_envoy.client.auth import Credentials
from custom_components.enphase_envoy.client.gateway import Gateway
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.entity import EnvoyEntity
from tests.helpers.integration import LONG, Installation
from tests.simulator import Simulator
from tests.simulator.mutations import BODIES, SHAPES, VALUES, Mutation

#: Mutations of each profile; as many as this says, and another lot each time, where it is set.
WANTED: Final = os.environ.get("ENVOY_MUTATIONS")
PROFILES: Final = (
    *("full_battery", "collar", "three_phase", "ac_batteries", "metered_1phase", "total_consumption"),
    *("standard_7_6", "legacy_5", "legacy_3_9"),
)

_PLACES: Final = st.integers(0, 9) | st.integers(0, 4000)
_EDITS: Final = st.lists(st.tuples(_PLACES, st.sampled_from((*VALUES, *SHAPES))), min_size=1, max_size=3)
#: Documents with something wrong in them.
EDITED: Final = _EDITS.map(lambda edits: Mutation(tuple(edits)))
#: Those, and one in ten that is not even what it says it is.
MUTANTS: Final = st.one_of(*[EDITED] * 9, st.sampled_from(tuple(BODIES)).map(lambda body: Mutation(body=body)))

#: kWh by which a counter may be ahead of the truth, and wait for it, after a reading that was possible and still wrong.
BOOKED: Final = 10.0
#: Larger than any state of these houses.
ABSURD: Final = 1e10
#: What a part of an address is called.
NAME: Final = re.compile(r"[\w-]{1,40}", re.ASCII)


type Mutants = dict[str, Mutation]


def examples(usual: int) -> int:
    """Return how many to try: as many as are wanted, or as are usual."""
    return int(WANTED or usual)


def trying(usual: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return how hypothesis is to try that many, or as many as are wanted."""
    return settings(
        max_examples=examples(usual),
        derandomize=WANTED is None,
        database=None,
        deadline=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


def is_number(state: str) -> bool:
    """Return whether a state is one."""
    try:
        float(state)
    except ValueError:
        return False
    return True


def absurd(states: dict[str, str]) -> dict[str, str]:
    """Return the states that no house has."""
    return {name: state for name, state in states.items() if is_number(state) and not abs(float(state)) < ABSURD}


def counters(installation: Installation) -> dict[str, float]:
    """Return what all energy counters show, in kWh."""
    units = {"Wh": 0.001, "kWh": 1.0, "MWh": 1000.0}
    return {
        state.entity_id: float(state.state) * units[state.attributes["unit_of_measurement"]]
        for state in installation.hass.states.async_all()
        if state.attributes.get("state_class") == "total_increasing" and is_number(state.state)
    }


def fields(installation: Installation) -> dict[str, str]:
    """Return the field of the snapshot that each entity shows."""
    return {
        name: entity._address[0]
        for platform in async_get_platforms(installation.hass, DOMAIN)
        for name, entity in platform.entities.items()
        if isinstance(entity, EnvoyEntity)
    }


def absent(installation: Installation) -> set[str]:
    """Return the entities that show nothing, or not what it is."""
    return {name for name, state in installation.states().items() if state in (STATE_UNAVAILABLE, STATE_UNKNOWN)}


def sources(installation: Installation) -> dict[str, str]:
    """Return what feeds each field of counters."""
    return dict(installation.coordinator.gateway._reader.sources)


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged with a traceback that somebody sees."""
    shown = (record for record in caplog.records if record.levelno > logging.DEBUG)
    lines = ((record, record.getMessage()) for record in shown)
    return [line for record, line in lines if record.exc_info or "Traceback" in line]


@contextmanager
def spoiled(gateway: Simulator, mutants: Mutants) -> Iterator[None]:
    """Let a gateway say odd things for a while."""
    with ExitStack() as stack:
        for path, mutation in mutants.items():
            stack.enter_context(gateway.fault(path, mutation))
        yield


def asked(gateway: Simulator) -> list[str]:
    """Return the endpoints that were asked for data."""
    return sorted({request.path.partition("?")[0] for request in gateway.requests} - {"/auth/check_jwt"})


def share_clock(monkeypatch: pytest.MonkeyPatch, gateway: Simulator) -> None:
    """Let it be as late for Home Assistant as it is for a gateway."""
    monkeypatch.setattr(dt_util, "utcnow", lambda: datetime.fromtimestamp(gateway.clock.now, UTC))


class Witness:
    """Reads the same gateway beside us, and is never told anything odd."""

    def __init__(self, hass: HomeAssistant, simulator: Simulator) -> None:
        """Prepare to read."""
        self._simulator = simulator
        self._hass = hass

    async def begin(self) -> None:
        """Log in."""
        simulator = self._simulator
        session = async_get_clientsession(self._hass, verify_ssl=False)
        self._gateway = Gateway(simulator.host, session, lambda: simulator.clock.now)
        token = simulator.token(days=LONG) if simulator.uses_tokens else None
        await self._gateway.identify()
        await self._gateway.log_in(Credentials(simulator.username, simulator.password, token))

    async def contradicts(self, installation: Installation) -> list[str]:
        """Return what a house has otherwise than it is, and what is not as of now."""
        truth = (await self._gateway.poll()).objects
        shown, now = installation.coordinator.gateway.snapshot().objects, self._simulator.clock.now
        wrong = []
        for address, timed in truth.items():
            found, name = shown.get(address), " ".join(address)
            if not found:
                wrong.append(f"{name} is missing")
            elif found.value != timed.value:
                wrong.append(f"{name} is {found.value} and not {timed.value}")
            elif found.updated_at < now:
                wrong.append(f"{name} is of {now - found.updated_at} s ago")
        return wrong
