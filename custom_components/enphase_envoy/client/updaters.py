"""Updaters for endpoints that pyenphase does not read, written as its own are."""

from typing import Final, override

from pyenphase.const import URL_ENSEMBLE_SECCTRL, SupportedFeatures
from pyenphase.exceptions import ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired
from pyenphase.models.envoy import EnvoyData
from pyenphase.updaters.base import EnvoyUpdater

from .models import BatteryController, BatteryScheduler, GatewayData, LiveDataStatus
from .paths import URL_BATTERY_SCHEDULER, URL_LIVE_DATA_STATUS


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


class BatteryControllerUpdater(EnvoyUpdater):
    """Figures of the battery controller that the library leaves out, on systems with IQ batteries."""

    @override
    async def probe(self, discovered_features: SupportedFeatures) -> SupportedFeatures | None:
        """Return None where there are no IQ batteries."""
        return SupportedFeatures(0) if SupportedFeatures.ENCHARGE in discovered_features else None

    @override
    async def update(self, envoy_data: EnvoyData) -> None:
        """Parse the figures."""
        document = await self._json_request(URL_ENSEMBLE_SECCTRL)
        if isinstance(envoy_data, GatewayData):
            envoy_data.battery_controller = BatteryController.from_api(document)


class BatterySchedulerUpdater(EnvoyUpdater):
    """State of the battery scheduler, on systems with IQ batteries."""

    @override
    async def probe(self, discovered_features: SupportedFeatures) -> SupportedFeatures | None:
        """Return None where the gateway has no scheduler."""
        if SupportedFeatures.ENCHARGE not in discovered_features:
            return None
        try:
            document = await self._json_probe_request(URL_BATTERY_SCHEDULER)
        except (*ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired):
            return None
        return SupportedFeatures(0) if isinstance(document, dict) and document else None

    @override
    async def update(self, envoy_data: EnvoyData) -> None:
        """Parse the state."""
        document = await self._json_request(URL_BATTERY_SCHEDULER)
        envoy_data.raw[URL_BATTERY_SCHEDULER] = document
        if isinstance(envoy_data, GatewayData):
            envoy_data.battery_scheduler = BatteryScheduler.from_api(document)


#: Probed after the library's own, which they may build on.
UPDATERS: Final[tuple[type[EnvoyUpdater], ...]] = (
    LiveDataStatusUpdater,
    BatteryControllerUpdater,
    BatterySchedulerUpdater,
)
