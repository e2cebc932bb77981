"""Switches: the grid, charging from it, relays of loads."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, override

from homeassistant.components.switch import SwitchEntity, SwitchEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from pyenphase.models.dry_contacts import EnvoyDryContactStatus
from pyenphase.models.enpower import EnvoyEnpower
from pyenphase.models.generator import EnvoyGeneratorConfig
from pyenphase.models.tariff import EnvoyStorageSettings

from .availability import HoldTime
from .client.writing import Edit
from .cloud.models import CloudBattery, Setting, enabled, is_offered
from .coordinator import EnvoyConfigEntry, EnvoyCoordinator
from .descriptions import sources
from .descriptions.base import EntitySet, EnvoyEntityDescription, not_local
from .entity import EnvoyEntity, async_setup_entity_sets, gateway_action
from .model.relays import is_closed
from .model.snapshot import Address

PARALLEL_UPDATES = 1


@dataclass(frozen=True, kw_only=True)
class EnvoySwitchEntityDescription[T](EnvoyEntityDescription[T], SwitchEntityDescription):
    """Description of one switch of an object."""

    #: Settings are held longer than the state of a relay.
    hold: HoldTime = HoldTime.SHORT
    value_fn: Callable[[T], bool | None]
    #: How the gateway is changed; by default a setting that only the cloud has.
    set_fn: Callable[[Edit, T, bool], Awaitable[object]] = not_local


_ENPOWER: Final = (
    EnvoySwitchEntityDescription[EnvoyEnpower](
        key="mains_admin_state",
        translation_key="grid_enabled",
        # Dashboards that Home Assistant generates, actions on an area and voice assistants leave out configuration.
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda enpower: is_closed(enpower.mains_admin_state),
        set_fn=lambda edit, _, on: edit.envoy.go_on_grid() if on else edit.envoy.go_off_grid(),
    ),
)

_BATTERY_SETTINGS: Final = (
    EnvoySwitchEntityDescription[EnvoyStorageSettings](
        key="charge_from_grid",
        hold=HoldTime.LONG,
        value_fn=lambda settings: settings.charge_from_grid,
        set_fn=lambda edit, _, on: edit.storage_settings(charge_from_grid=on),
        cloud_setting=Setting.CHARGE_FROM_GRID,
    ),
)

_CLOUD_BATTERY: Final = (
    EnvoySwitchEntityDescription[CloudBattery](
        key="discharge_to_grid",
        hold=HoldTime.LONG,
        entity_category=EntityCategory.CONFIG,
        exists_fn=lambda battery: is_offered(battery.settings.discharge_to_grid),
        value_fn=lambda battery: enabled(battery.settings.discharge_to_grid),
        cloud_setting=Setting.DISCHARGE_TO_GRID,
    ),
    EnvoySwitchEntityDescription[CloudBattery](
        key="restrict_battery_discharge",
        hold=HoldTime.LONG,
        entity_category=EntityCategory.CONFIG,
        exists_fn=lambda battery: is_offered(battery.settings.restrict_discharge),
        value_fn=lambda battery: enabled(battery.settings.restrict_discharge),
        cloud_setting=Setting.RESTRICT_DISCHARGE,
    ),
)

_RELAY: Final = (
    EnvoySwitchEntityDescription[EnvoyDryContactStatus](
        key="relay_status",
        name=None,
        value_fn=lambda relay: is_closed(relay.status),
        set_fn=lambda edit, relay, on: edit.relay_status(relay.id, closed=on),
    ),
)

_GENERATOR: Final = (
    EnvoySwitchEntityDescription[EnvoyGeneratorConfig](
        key="charge_from_generator",
        hold=HoldTime.LONG,
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda config: config.charge_from_generator,
        set_fn=lambda edit, _, on: edit.generator_config(charge_from_generator=on),
    ),
)

SWITCHES: Final[tuple[EntitySet[Any, EnvoySwitchEntityDescription[Any]], ...]] = (
    EntitySet(sources.ENPOWER, _ENPOWER),
    EntitySet(sources.STORAGE_SETTINGS, _BATTERY_SETTINGS),
    EntitySet(sources.CLOUD_BATTERY, _CLOUD_BATTERY),
    EntitySet(sources.RELAY_STATUS, _RELAY),
    EntitySet(sources.GENERATOR_CONFIG, _GENERATOR),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Set up the switches of a gateway."""
    async_setup_entity_sets(entry, async_add_entities, SWITCHES, EnvoySwitch)


class EnvoySwitch[T](EnvoyEntity[T], SwitchEntity):
    """A switch that reads and changes one object of the snapshot."""

    entity_description: EnvoySwitchEntityDescription[T]

    def __init__(
        self,
        coordinator: EnvoyCoordinator,
        entity_set: EntitySet[T, EnvoySwitchEntityDescription[T]],
        address: Address,
        description: EnvoySwitchEntityDescription[T],
    ) -> None:
        """Hold the last value as long as the description requires."""
        super().__init__(coordinator, entity_set, address, description)
        self._hold = description.hold

    @property
    @override
    def is_on(self) -> bool | None:
        """Return the state."""
        value: bool | None = self._current[1]
        return value

    @override
    @gateway_action
    async def async_turn_on(self, /, **_kwargs: Any) -> None:
        """Switch on. Raises HomeAssistantError."""
        await self._async_change(True, lambda edit, source: self.entity_description.set_fn(edit, source, True))

    @override
    @gateway_action
    async def async_turn_off(self, /, **_kwargs: Any) -> None:
        """Switch off. Raises HomeAssistantError."""
        await self._async_change(False, lambda edit, source: self.entity_description.set_fn(edit, source, False))
