"""Updaters for endpoints that pyenphase does not read, written as its own are."""

from typing import Final, override

from pyenphase.const import SupportedFeatures
from pyenphase.exceptions import ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired
from pyenphase.models.envoy import EnvoyData
from pyenphase.updaters.base import EnvoyUpdater

from .models import GatewayData, LiveDataStatus
from .paths import URL_LIVE_DATA_STATUS


class LiveDataStatusUpdater(EnvoyUpdater):
    """State of the live data stream, on systems with IQ batteries."""

    @override
    async def probe(self, discovered_features: SupportedFeatures) -> SupportedFeatures | None:
        """Return None where the gateway has no live data."""
        if SupportedFeatures.ENCHARGE not in discovered_features:
            return None
        try:
            document = await self._json_probe_request(URL_LIVE_DATA_STATUS)
        except (*ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired):
            return None
        return SupportedFeatures(0) if isinstance(document, dict) and "connection" in document else None

    @override
    async def update(self, envoy_data: EnvoyData) -> None:
        """Parse the state."""
        document = await self._json_request(URL_LIVE_DATA_STATUS)
        envoy_data.raw[URL_LIVE_DATA_STATUS] = document
        if isinstance(envoy_data, GatewayData):
            envoy_data.live_data_status = LiveDataStatus.from_api(document)


#: Probed after the library's own, which they may build on.
UPDATERS: Final[tuple[type[EnvoyUpdater], ...]] = (LiveDataStatusUpdater,)
