"""A config entry in Home Assistant paired with the simulated gateway that it polls."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

from homeassistant.config_entries import ConfigFlowResult
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr, entity_registry as er
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_fire_time_changed

from custom_components.enphase_envoy.client.gateway import Gateway
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.coordinator import EnvoyCoordinator
from tests.simulator import Simulator

#: A sunny time of day: inverters, grid and batteries all have power, and no battery is full or empty.
NOON: Final = "2026-06-21T12:00:00+02:00"
#: Days that a token issued at that time is valid, so that it does not depend on the date on which the tests run.
LONG: Final = 36500
#: Paths of identification, login and the MAC address, which are not polled.
LOGIN_PATHS: Final = frozenset({"/info", "/auth/check_jwt", "/home"})


@dataclass
class Installation:
    """A simulated gateway and the config entry that polls it."""

    hass: HomeAssistant
    gateway: Simulator
    entry: MockConfigEntry
    #: Simulated seconds that have passed; the event loop's own clock does not advance with them.
    elapsed: float = 0.0

    @property
    def coordinator(self) -> EnvoyCoordinator:
        """The coordinator of the entry."""
        coordinator: EnvoyCoordinator = self.entry.runtime_data
        return coordinator

    async def poll(self) -> None:
        """Poll now, without advancing the clock."""
        await self.coordinator.async_refresh()
        await self.hass.async_block_till_done()

    async def poll_all(self) -> None:
        """Poll when every endpoint is due."""
        self.gateway.clock.advance(601)
        await self.poll()

    async def pass_time(self, seconds: float) -> None:
        """Advance the clock of the gateway and Home Assistant's timers: a poll is due after 60 seconds."""
        self.gateway.clock.advance(seconds)
        self.elapsed += seconds
        async_fire_time_changed(self.hass, dt_util.utcnow() + timedelta(seconds=self.elapsed))
        await self.hass.async_block_till_done(wait_background_tasks=True)

    def polled_paths(self) -> set[str]:
        """Return the requested paths without those of the login."""
        return self.gateway.requested_paths - LOGIN_PATHS

    def device(self, identifier: str) -> dr.DeviceEntry | None:
        """Return the device of an identifier, None if there is none."""
        return dr.async_get(self.hass).async_get_device_by_identifier((DOMAIN, identifier), self.entry.entry_id)

    def states(self) -> dict[str, str]:
        """Return the states of all entities."""
        return {state.entity_id: state.state for state in self.hass.states.async_all()}

    def unavailable(self) -> set[str]:
        """Return the entities that are unavailable."""
        return {name for name, state in self.states().items() if state == STATE_UNAVAILABLE}


#: The fixture `set_up`: sets up an entry for a simulated gateway of a profile, with changes of the entry's data.
type SetUp = Callable[..., Awaitable[Installation]]
#: The fixture `simulate`: starts a simulated gateway of a profile.
type Simulate = Callable[..., Awaitable[Simulator]]


def entity_id(hass: HomeAssistant, domain: str, unique_id: str) -> str:
    """Return the entity id of a unique id of the component."""
    found = er.async_get(hass).async_get_entity_id(domain, DOMAIN, unique_id)
    assert found, f"{domain}.{unique_id} is missing"
    return found


async def choose_live_power(hass: HomeAssistant, result: ConfigFlowResult, *, on: bool = False) -> ConfigFlowResult:
    """Finish the config flow of a new entry: choose in the step that offers live power, if it is shown."""
    if result.get("step_id") != "live_power":
        return result
    return await hass.config_entries.flow.async_configure(result["flow_id"], {"live_power": on})


def entry_for(gateway: Simulator, **changes: Any) -> MockConfigEntry:
    """Return a config entry with the data that Home Assistant's own integration stores."""
    data = {
        "host": gateway.host,
        "name": f"Envoy {gateway.serial}",
        "username": gateway.username,
        "password": gateway.password,
    }
    if gateway.uses_tokens:
        data["token"] = gateway.token(days=LONG)
    return MockConfigEntry(
        domain=DOMAIN, title=f"Envoy {gateway.serial}", unique_id=gateway.serial, data=data | changes, options={}
    )


def use_clock_of(gateway: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let entries that are set up from now on use the clock of this gateway."""
    with_clock = partial(Gateway, clock=lambda: gateway.clock.now, wall=lambda: gateway.clock.now)
    monkeypatch.setattr("custom_components.enphase_envoy.Gateway", with_clock)
