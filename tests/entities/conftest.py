"""A system whose battery settings are changed through the simulated cloud."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from homeassistant.core import HomeAssistant, State
from homeassistant.helpers import issue_registry as ir
import pytest

from custom_components.enphase_envoy.cloud import client as cloud_client
from custom_components.enphase_envoy.const import DOMAIN, OPTION_CLOUD_CODE, OPTION_CLOUD_SITE
from tests.helpers.integration import Installation, SetUp, entity_id
from tests.simulator import Cloud
from tests.simulator.battery_service import SITE

ENPOWER = "202226050419"


@dataclass
class House:
    """A system whose battery settings are changed through the simulated cloud."""

    installation: Installation
    cloud: Cloud

    @property
    def hass(self) -> HomeAssistant:
        """Home Assistant."""
        return self.installation.hass

    def state(self, domain: str, key: str) -> State:
        """Return the state of an entity of the controller."""
        state = self.hass.states.get(entity_id(self.hass, domain, f"{ENPOWER}_{key}"))
        assert state
        return state

    async def call(self, domain: str, key: str, action: str, **data: object) -> None:
        """Perform an action on an entity of the controller."""
        data["entity_id"] = entity_id(self.hass, domain, f"{ENPOWER}_{key}")
        await self.hass.services.async_call(domain, action, data, blocking=True)

    def issues(self) -> set[str]:
        """Return the translation keys of the issues."""
        return {
            issue.translation_key or "" for issue in ir.async_get(self.hass).issues.values() if issue.domain == DOMAIN
        }


type StartHouse = Callable[..., Awaitable[House]]


@pytest.fixture
async def start(hass: HomeAssistant, set_up: SetUp, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> StartHouse:
    """Set up a system, by default one that uses the cloud."""
    monkeypatch.setattr(cloud_client, "BASE_URL", cloud.base_url)

    async def start(
        profile: str = "full_battery",
        *,
        enabled: bool = True,
        needs_code: bool = False,
        firmware: str | None = None,
        cloud_owns_tariff: bool = False,
    ) -> House:
        installation = await set_up(profile)
        gateway = installation.gateway
        gateway.gateway.cloud_owns_tariff |= cloud_owns_tariff
        cloud.batteries.gateway = gateway.gateway
        if firmware:
            gateway.gateway.firmware = firmware
        if enabled or firmware:
            options = {OPTION_CLOUD_SITE: SITE, OPTION_CLOUD_CODE: needs_code} if enabled else {}
            hass.config_entries.async_update_entry(installation.entry, options=options)
            assert await hass.config_entries.async_reload(installation.entry.entry_id)
            await installation.pass_time(1)
        return House(installation, cloud)

    return start
