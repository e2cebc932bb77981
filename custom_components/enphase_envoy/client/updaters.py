"""Updaters for endpoints that pyenphase does not read, or gives up on for another's sake, written as its own are."""

from collections.abc import Collection
from contextlib import suppress
import logging
from typing import Any, ClassVar, Final, override

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
    URL_PRODUCTION_JSON,
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
from pyenphase.updaters.inventory import EnvoyInventoryUpdater

from .inverters import InverterReader
from .lenient import AC_BATTERIES, Record
from .models import BatteryController, BatteryScheduler, GatewayData, LiveDataStatus, panel_statuses
from .paths import URL_BATTERY_SCHEDULER, URL_LIVE_DATA_STATUS

_LOGGER: Final = logging.getLogger(__name__)

#: By path: the field of the object, its class, and the feature that it is.
type ObjectsByPath = dict[str, tuple[str, Any, SupportedFeatures]]


class ObjectReader(EnvoyUpdater):
    """Reads endpoints with one object each; one that fails or is empty costs no other."""

    #: The feature that a gateway must have.
    REQUIRED: ClassVar[SupportedFeatures]
    OBJECTS: ClassVar[ObjectsByPath]

    @override
    async def probe(self, discovered_features: SupportedFeatures) -> SupportedFeatures | None:
        """Return the features whose endpoints have a document, None without any."""
        self._paths: list[str] = []
        if self.REQUIRED not in discovered_features:
            return None
        for path, (_, _, feature) in self.OBJECTS.items():
            with suppress(*ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired):
                if await self._json_probe_request(path):
                    self._paths.append(path)
                    self._supported_features |= feature
                elif path == URL_GEN_CONFIG:
                    # There is no generator.
                    break
        return self._supported_features if self._paths else None

    @override
    async def update(self, envoy_data: EnvoyData) -> None:
        """Parse the documents."""
        for path in self._paths:
            field, model, _ = self.OBJECTS[path]
            envoy_data.raw[path] = document = await self._json_request(path)
            setattr(envoy_data, field, model.from_api(document))


class BatteryReader(ObjectReader):
    """Endpoints of systems with IQ batteries that the library does not read, or not completely."""

    REQUIRED = SupportedFeatures.ENCHARGE
    OBJECTS: ClassVar[ObjectsByPath] = {
        URL_LIVE_DATA_STATUS: ("live_data_status", LiveDataStatus, SupportedFeatures(0)),
        URL_ENSEMBLE_SECCTRL: ("battery_controller", BatteryController, SupportedFeatures(0)),
        URL_BATTERY_SCHEDULER: ("battery_scheduler", BatteryScheduler, SupportedFeatures(0)),
    }


class GeneratorReader(ObjectReader):
    """The endpoints of a generator, in place of the library's updater, which gives up on all without one of them."""

    REQUIRED = SupportedFeatures.ENPOWER
    OBJECTS: ClassVar[ObjectsByPath] = {
        URL_GEN_CONFIG: ("generator_config", EnvoyGeneratorConfig, SupportedFeatures.GENERATOR),
        URL_GENERATOR: ("generator", EnvoyGenerator, SupportedFeatures.GENERATOR),
        URL_GEN_SCHEDULE: ("generator_schedule", EnvoyGeneratorSchedule, SupportedFeatures.GENERATOR_SCHEDULE),
        URL_GEN_MODE: ("generator_mode", EnvoyGeneratorMode, SupportedFeatures.GENERATOR),
    }


class EnsembleReader(EnvoyEnembleUpdater):
    """The library's updater of batteries and controllers, which finds them also without their inventory."""

    _GROUPS: Final = {
        "ENCHARGE": SupportedFeatures.ENCHARGE,
        "ENPOWER": SupportedFeatures.ENPOWER,
        "COLLAR": SupportedFeatures.COLLAR,
        "C6 COMBINER CONTROLLER": SupportedFeatures.C6CC,
    }

    @override
    async def probe(self, discovered_features: SupportedFeatures) -> SupportedFeatures | None:
        """Return the kinds of devices in the inventory, and in other lists where it lacks them."""
        if self._envoy_version < ENSEMBLE_MIN_VERSION:
            return None
        inventory: Collection[Record] | None = None
        with suppress(*ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired):
            inventory = await self._json_probe_request(URL_ENSEMBLE_INVENTORY)
        for group in inventory or ():
            if group["type"] not in self._GROUPS:
                _LOGGER.debug("devices of the type %r are not read", group["type"])
            self._supported_features |= self._GROUPS.get(group["type"], SupportedFeatures(0))
        # An empty inventory is that of a gateway without batteries. One without a group may have it by a new name.
        if inventory is None or inventory:
            await self._probe_other_lists()
        return self._supported_features

    async def _probe_other_lists(self) -> None:
        """Find batteries and relays that the inventory does not list."""
        if SupportedFeatures.ENCHARGE not in self._supported_features:
            with suppress(*ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired):
                if (await self._json_probe_request(URL_ENCHARGE_BATTERY))["devices:"]:
                    self._supported_features |= SupportedFeatures.ENCHARGE
        if SupportedFeatures.ENPOWER not in self._supported_features:
            with suppress(*ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired):
                relays = (await self._json_probe_request(URL_DRY_CONTACT_SETTINGS))["dry_contacts"]
                # Gateways without a controller list relays without a type.
                if any(relay["type"] not in (None, DryContactType.NONE) for relay in relays):
                    self._supported_features |= SupportedFeatures.ENPOWER


class AcBatteryReader(EnvoyInventoryUpdater):
    """The library's updater of AC batteries, which finds them also where the report does not mention any."""

    @override
    async def probe(self, discovered_features: SupportedFeatures) -> SupportedFeatures | None:
        """Return whether there are AC batteries. The inventory, which may take long, is requested where they may be."""
        if SupportedFeatures.ACB in discovered_features:
            return await super().probe(discovered_features)
        with suppress(*ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired):
            report: Record = await self._json_probe_request(URL_PRODUCTION_JSON)
            if not any(entry["type"] == AC_BATTERIES for entry in report["storage"]):
                return await super().probe(discovered_features | SupportedFeatures.ACB)
        return None


#: In place of the library's.
REPLACED: Final[dict[type[EnvoyUpdater], type[EnvoyUpdater]]] = {
    EnvoyEnembleUpdater: EnsembleReader,
    EnvoyGeneratorUpdater: GeneratorReader,
    EnvoyInventoryUpdater: AcBatteryReader,
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
UPDATERS: Final[tuple[type[EnvoyUpdater], ...]] = (BatteryReader, PanelStatusUpdater)
