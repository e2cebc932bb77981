"""Updaters for endpoints that pyenphase does not read, or gives up on for another's sake, written as its own are."""

from contextlib import suppress
from typing import Any, Final, override

from pyenphase.const import (
    ENSEMBLE_MIN_VERSION,
    URL_DRY_CONTACT_SETTINGS,
    URL_ENCHARGE_BATTERY,
    URL_ENSEMBLE_INVENTORY,
    URL_ENSEMBLE_SECCTRL,
    URL_GEN_CONFIG,
    URL_GEN_MODE,
    URL_GEN_SCHEDULE,
    URL_GENERATOR,
    URL_INVENTORY,
    SupportedFeatures,
)
from pyenphase.exceptions import ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired
from pyenphase.models.dry_contacts import DryContactType
from pyenphase.models.envoy import EnvoyData
from pyenphase.models.generator import (
    EnvoyGenerator,
    EnvoyGeneratorConfig,
    EnvoyGeneratorMode,
    EnvoyGeneratorSchedule,
)
from pyenphase.updaters.api_v1_production_inverters import EnvoyApiV1ProductionInvertersUpdater
from pyenphase.updaters.base import EnvoyUpdater
from pyenphase.updaters.ensemble import EnvoyEnembleUpdater
from pyenphase.updaters.generator import EnvoyGeneratorUpdater

from .inverters import InverterReader
from .models import BatteryController, BatteryScheduler, GatewayData, LiveDataStatus, panel_statuses
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
        return SupportedFeatures(0) if document["connection"] or document["meters"] else None

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
        return SupportedFeatures(0) if document else None

    @override
    async def update(self, envoy_data: EnvoyData) -> None:
        """Parse the state."""
        document = await self._json_request(URL_BATTERY_SCHEDULER)
        envoy_data.raw[URL_BATTERY_SCHEDULER] = document
        if isinstance(envoy_data, GatewayData):
            envoy_data.battery_scheduler = BatteryScheduler.from_api(document)


class EnsembleReader(EnvoyEnembleUpdater):
    """The library's updater of batteries and controllers, which finds them also while their inventory fails."""

    _GROUPS: Final = {
        "ENCHARGE": SupportedFeatures.ENCHARGE,
        "ENPOWER": SupportedFeatures.ENPOWER,
        "COLLAR": SupportedFeatures.COLLAR,
        "C6 COMBINER CONTROLLER": SupportedFeatures.C6CC,
    }

    @override
    async def probe(self, discovered_features: SupportedFeatures) -> SupportedFeatures | None:
        """Return the kinds of devices in the inventory or, where it can't be read, in other lists."""
        if self._envoy_version < ENSEMBLE_MIN_VERSION:
            return None
        try:
            inventory = await self._json_probe_request(URL_ENSEMBLE_INVENTORY)
        except (*ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired):
            with suppress(*ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired):
                if (await self._json_probe_request(URL_ENCHARGE_BATTERY))["devices:"]:
                    self._supported_features |= SupportedFeatures.ENCHARGE
            with suppress(*ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired):
                relays = (await self._json_probe_request(URL_DRY_CONTACT_SETTINGS))["dry_contacts"]
                # Gateways without a controller list relays without a type.
                if any(relay["type"] not in (None, DryContactType.NONE) for relay in relays):
                    self._supported_features |= SupportedFeatures.ENPOWER
        else:
            for group in inventory:
                self._supported_features |= self._GROUPS.get(group["type"], SupportedFeatures(0))
        return self._supported_features


class GeneratorReader(EnvoyUpdater):
    """The generator's endpoints, each read by itself, in place of the library's updater."""

    _OBJECTS: Final[dict[str, tuple[str, Any, SupportedFeatures]]] = {
        URL_GEN_CONFIG: ("generator_config", EnvoyGeneratorConfig, SupportedFeatures.GENERATOR),
        URL_GENERATOR: ("generator", EnvoyGenerator, SupportedFeatures.GENERATOR),
        URL_GEN_SCHEDULE: ("generator_schedule", EnvoyGeneratorSchedule, SupportedFeatures.GENERATOR_SCHEDULE),
        URL_GEN_MODE: ("generator_mode", EnvoyGeneratorMode, SupportedFeatures.GENERATOR),
    }

    @override
    async def probe(self, discovered_features: SupportedFeatures) -> SupportedFeatures | None:
        """Return what there is of a generator; none without a configuration, unless that fails."""
        self._paths: list[str] = []
        if SupportedFeatures.ENPOWER not in discovered_features:
            return None
        for path, (_, _, feature) in self._OBJECTS.items():
            with suppress(*ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired):
                if await self._json_probe_request(path):
                    self._paths.append(path)
                    self._supported_features |= feature
                elif path == URL_GEN_CONFIG:
                    break
        return self._supported_features

    @override
    async def update(self, envoy_data: EnvoyData) -> None:
        """Parse the documents."""
        for path in self._paths:
            field, model, _ = self._OBJECTS[path]
            envoy_data.raw[path] = document = await self._json_request(path)
            setattr(envoy_data, field, model.from_api(document))


#: In place of the library's.
REPLACED: Final[dict[type[EnvoyUpdater], type[EnvoyUpdater]]] = {
    EnvoyEnembleUpdater: EnsembleReader,
    EnvoyGeneratorUpdater: GeneratorReader,
    EnvoyApiV1ProductionInvertersUpdater: InverterReader,
}


class PanelStatusUpdater(EnvoyUpdater):
    """Status of the microinverters."""

    @override
    async def probe(self, discovered_features: SupportedFeatures) -> SupportedFeatures | None:
        """Find it in any gateway: a probe would wait for the inventory, and the list of inverters may fail."""
        return SupportedFeatures(0)

    @override
    async def update(self, envoy_data: EnvoyData) -> None:
        """Parse the statuses."""
        document = await self._json_request(URL_INVENTORY)
        if isinstance(envoy_data, GatewayData):
            envoy_data.panels = panel_statuses(document) or None


#: Probed after the library's own, which they may build on.
UPDATERS: Final[tuple[type[EnvoyUpdater], ...]] = (
    LiveDataStatusUpdater,
    BatteryControllerUpdater,
    BatterySchedulerUpdater,
    PanelStatusUpdater,
)
