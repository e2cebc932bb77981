"""A session with the simulated cloud, on a clock that stands still."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from custom_components.enphase_envoy.cloud.battery import BatteryCloud
from custom_components.enphase_envoy.cloud.client import CloudClient
from tests.simulator import Cloud
from tests.simulator.access import CLOUD_PASSWORD, CLOUD_USER
from tests.simulator.battery_service import SITE


@dataclass
class Account:
    """A client of the simulated cloud, and its clock."""

    cloud: Cloud
    http: aiohttp.ClientSession
    now: float = 1000.0
    client: CloudClient = field(init=False)
    battery: BatteryCloud = field(init=False)

    def __post_init__(self) -> None:
        """Start without a session."""
        self.use(CLOUD_PASSWORD)

    def use(self, password: str) -> None:
        """Use a new client with a password."""
        self.client = CloudClient(self.http, CLOUD_USER, password, lambda: self.now, self.cloud.base_url)
        self.battery = BatteryCloud(self.client, SITE, lambda: self.now)


@pytest.fixture
async def account(cloud: Cloud) -> AsyncIterator[Account]:
    """Provide a client of the simulated cloud."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield Account(cloud, http)
