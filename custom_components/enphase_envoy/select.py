"""Selects: modes of batteries, relays and generator."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, override

from homeassistant.components.select import SelectEntity, SelectEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from pyenphase.const import GENERATOR_EXERCISE_DAYS
from pyenphase.models.dry_contacts import DryContactAction, DryContactMode, EnvoyDryContactSettings
from pyenphase.models.generator import EnvoyGeneratorMode, EnvoyGeneratorSchedule
from pyenphase.models.tariff import EnvoyStorageMode, EnvoyStorageSettings

from .client.gateway import Gateway
from .coordinator import EnvoyConfigEntry
from .descriptions.base import EntitySet, EnvoyEntityDescription
from .entity import EnvoyEntity, async_setup_entity_sets, gateway_action
from .model import identifiers
from .model.derived import AcbFleet

PARALLEL_UPDATES = 1


@dataclass(frozen=True, kw_only=True)
class EnvoySelectEntityDescription[T](EnvoyEntityDescription[T], SelectEntityDescription):
    """One select of an object of the snapshot."""

    #: What the gateway calls each option.
    choices: Mapping[str, Any]
    #: The gateway's name for what is chosen.
    value_fn: Callable[[T], Any]
    set_fn: Callable[[Gateway, T, Any], Awaitable[object]]


_BATTERY_SETTINGS: Final = (
    EnvoySelectEntityDescription[EnvoyStorageSettings](
        key="storage_mode",
        choices={
            "backup": EnvoyStorageMode.BACKUP,
            "self_consumption": EnvoyStorageMode.SELF_CONSUMPTION,
            "savings": EnvoyStorageMode.SAVINGS,
        },
        value_fn=lambda settings: settings.mode,
        # While the gateway optimises schedules itself it stores another mode and ignores it.
        set_fn=lambda gateway, _, mode: gateway.set_storage_mode(mode, disable_optimized_schedules=True),
    ),
)

_ACTIONS: Final = {
    "powered": DryContactAction.APPLY,
    "not_powered": DryContactAction.SHED,
    "schedule": DryContactAction.SCHEDULE,
    "none": DryContactAction.NONE,
}

_RELAY: Final = (
    EnvoySelectEntityDescription[EnvoyDryContactSettings](
        key="mode",
        translation_key="relay_mode",
        choices={"standard": DryContactMode.MANUAL, "battery": DryContactMode.STATE_OF_CHARGE},
        value_fn=lambda relay: relay.mode,
        set_fn=lambda gateway, relay, mode: gateway.update_dry_contact({"id": relay.id, "mode": mode}),
    ),
    EnvoySelectEntityDescription[EnvoyDryContactSettings](
        key="grid_action",
        translation_key="relay_grid_action",
        choices=_ACTIONS,
        value_fn=lambda relay: relay.grid_action,
        set_fn=lambda gateway, relay, act: gateway.update_dry_contact({"id": relay.id, "grid_action": act}),
    ),
    EnvoySelectEntityDescription[EnvoyDryContactSettings](
        key="microgrid_action",
        translation_key="relay_microgrid_action",
        choices=_ACTIONS,
        value_fn=lambda relay: relay.micro_grid_action,
        set_fn=lambda gateway, relay, act: gateway.update_dry_contact({"id": relay.id, "micro_grid_action": act}),
    ),
    EnvoySelectEntityDescription[EnvoyDryContactSettings](
        key="generator_action",
        translation_key="relay_generator_action",
        choices=_ACTIONS,
        value_fn=lambda relay: relay.generator_action,
        set_fn=lambda gateway, relay, act: gateway.update_dry_contact({"id": relay.id, "generator_action": act}),
    ),
)

#: AC batteries fall asleep within a band of five percent.
_ACB_FLEET: Final = (
    EnvoySelectEntityDescription[AcbFleet](
        key="acb_sleep_soc",
        entity_category=EntityCategory.CONFIG,
        choices={f"{low}-{low + 5}": (low, low + 5) for low in range(0, 100, 5)},
        value_fn=lambda fleet: fleet.sleep_band,
        set_fn=lambda gateway, fleet, band: gateway.choose_sleep_band(fleet, band),
    ),
)

_GENERATOR_MODE: Final = (
    EnvoySelectEntityDescription[EnvoyGeneratorMode](
        key="mode",
        translation_key="generator_mode",
        choices={"off": "off", "on": "on", "auto": "auto"},
        value_fn=lambda mode: mode.gen_cmd.lower(),
        set_fn=lambda gateway, _, mode: gateway.set_generator_mode(mode),
    ),
)

_GENERATOR_SCHEDULE: Final = (
    EnvoySelectEntityDescription[EnvoyGeneratorSchedule](
        key="exercise_day",
        translation_key="generator_exercise_day",
        entity_category=EntityCategory.CONFIG,
        choices={day.lower(): day for day in GENERATOR_EXERCISE_DAYS},
        value_fn=lambda schedule: schedule.exercise_day.capitalize(),
        set_fn=lambda gateway, _, day: gateway.update_generator_schedule({"exercise_day": day}),
    ),
)

SELECTS: Final[tuple[EntitySet[Any, EnvoySelectEntityDescription[Any]], ...]] = (
    EntitySet(
        kind=EnvoyStorageSettings,
        at=("storage_settings",),
        rows=_BATTERY_SETTINGS,
        device_fn=identifiers.battery_controller,
    ),
    EntitySet(
        kind=EnvoyDryContactSettings,
        at=("dry_contact_settings",),
        below=1,
        rows=_RELAY,
        device_fn=identifiers.own,
        prefix_fn=identifiers.relay_prefix,
    ),
    EntitySet(
        kind=AcbFleet,
        at=("acb_fleet",),
        rows=_ACB_FLEET,
        device_fn=identifiers.acb_fleet,
        prefix_fn=identifiers.gateway,
    ),
    EntitySet(kind=EnvoyGeneratorMode, at=("generator_mode",), rows=_GENERATOR_MODE, device_fn=identifiers.generator),
    EntitySet(
        kind=EnvoyGeneratorSchedule,
        at=("generator_schedule",),
        rows=_GENERATOR_SCHEDULE,
        device_fn=identifiers.generator,
    ),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Set up the selects of a gateway."""
    async_setup_entity_sets(entry, async_add_entities, SELECTS, EnvoySelect)


class EnvoySelect[T](EnvoyEntity[T], SelectEntity):
    """A select that reads and changes one object of the snapshot."""

    entity_description: EnvoySelectEntityDescription[T]
    _lasting = True

    @property
    @override
    def options(self) -> list[str]:
        """Return what can be chosen."""
        return list(self.entity_description.choices)

    @property
    @override
    def current_option(self) -> str | None:
        """Return what is chosen, None when the gateway says something that can't be chosen here."""
        choices = self.entity_description.choices.items()
        return next((option for option, name in choices if name == self._shown[1]), None)

    @override
    @gateway_action
    async def async_select_option(self, option: str) -> None:
        """Choose an option. Raises HomeAssistantError."""
        row = self.entity_description
        await self._write(lambda gateway, source: row.set_fn(gateway, source, row.choices[option]))
