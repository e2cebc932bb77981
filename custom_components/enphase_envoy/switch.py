"""Switches: the grid, charging from it, relays of loads."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, override

from homeassistant.components.switch import SwitchEntity, SwitchEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from pyenphase.models.dry_contacts import DryContactStatus, EnvoyDryContactStatus
from pyenphase.models.enpower import EnvoyEnpower
from pyenphase.models.generator import EnvoyGeneratorConfig
from pyenphase.models.tariff import EnvoyStorageSettings

from .client.gateway import Gateway
from .coordinator import EnvoyConfigEntry, EnvoyCoordinator
from .descriptions.base import EntitySet, EnvoyEntityDescription
from .entity import EnvoyEntity, async_setup_entity_sets, gateway_action
from .model import identifiers
from .model.snapshot import Address

PARALLEL_UPDATES = 1


@dataclass(frozen=True, kw_only=True)
class EnvoySwitchEntityDescription[T](EnvoyEntityDescription[T], SwitchEntityDescription):
    """One switch of an object of the snapshot."""

    #: Whether it is a setting, rather than where a relay stands.
    lasting: bool = False
    value_fn: Callable[[T], bool | None]
    set_fn: Callable[[Gateway, T, bool], Awaitable[object]]


_ENPOWER: Final = (
    EnvoySwitchEntityDescription[EnvoyEnpower](
        key="mains_admin_state",
        translation_key="grid_enabled",
        value_fn=lambda enpower: enpower.mains_admin_state == "closed",
        set_fn=lambda gateway, _, on: gateway.go_on_grid() if on else gateway.go_off_grid(),
    ),
)

_BATTERY_SETTINGS: Final = (
    EnvoySwitchEntityDescription[EnvoyStorageSettings](
        key="charge_from_grid",
        lasting=True,
        value_fn=lambda settings: settings.charge_from_grid,
        set_fn=lambda gateway, _, on: gateway.enable_charge_from_grid() if on else gateway.disable_charge_from_grid(),
    ),
)

_RELAY: Final = (
    EnvoySwitchEntityDescription[EnvoyDryContactStatus](
        key="relay_status",
        name=None,
        value_fn=lambda relay: relay.status == DryContactStatus.CLOSED,
        set_fn=lambda gateway, relay, on: (
            gateway.close_dry_contact(relay.id) if on else gateway.open_dry_contact(relay.id)
        ),
    ),
)

_GENERATOR: Final = (
    EnvoySwitchEntityDescription[EnvoyGeneratorConfig](
        key="charge_from_generator",
        lasting=True,
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda config: config.charge_from_generator,
        set_fn=lambda gateway, _, on: gateway.set_generator_charge_from_generator(on),
    ),
)

SWITCHES: Final[tuple[EntitySet[Any, EnvoySwitchEntityDescription[Any]], ...]] = (
    EntitySet(kind=EnvoyEnpower, at=("enpower",), rows=_ENPOWER, device_fn=identifiers.enpower),
    EntitySet(
        kind=EnvoyStorageSettings,
        at=("storage_settings",),
        rows=_BATTERY_SETTINGS,
        device_fn=identifiers.battery_controller,
    ),
    EntitySet(
        kind=EnvoyDryContactStatus,
        at=("dry_contact_status",),
        below=1,
        rows=_RELAY,
        device_fn=identifiers.own,
        prefix_fn=identifiers.relay_prefix,
    ),
    EntitySet(kind=EnvoyGeneratorConfig, at=("generator_config",), rows=_GENERATOR, device_fn=identifiers.generator),
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
        table: EntitySet[T, EnvoySwitchEntityDescription[T]],
        address: Address,
        row: EnvoySwitchEntityDescription[T],
    ) -> None:
        """Hold settings for longer than what is switched right now."""
        super().__init__(coordinator, table, address, row)
        self._lasting = row.lasting

    @property
    @override
    def is_on(self) -> bool | None:
        """Return the state."""
        value: bool | None = self._shown[1]
        return value

    @override
    @gateway_action
    async def async_turn_on(self, /, **_kwargs: Any) -> None:
        """Switch on. Raises HomeAssistantError."""
        await self._write(lambda gateway, source: self.entity_description.set_fn(gateway, source, True))

    @override
    @gateway_action
    async def async_turn_off(self, /, **_kwargs: Any) -> None:
        """Switch off. Raises HomeAssistantError."""
        await self._write(lambda gateway, source: self.entity_description.set_fn(gateway, source, False))
