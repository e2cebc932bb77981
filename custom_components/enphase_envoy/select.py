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

from .availability import HoldTime
from .client.writing import Edit
from .cloud.models import CloudBattery, Profile, Setting
from .coordinator import EnvoyConfigEntry
from .descriptions import sources
from .descriptions.base import EntitySet, EnvoyEntityDescription
from .entity import EnvoyEntity, async_setup_entity_sets, gateway_action
from .model.ac_batteries import AcbFleet, SleepBand

PARALLEL_UPDATES = 1


@dataclass(frozen=True, kw_only=True)
class EnvoySelectEntityDescription[T](EnvoyEntityDescription[T], SelectEntityDescription):
    """Description of one select of an object."""

    #: The gateway's value of each option.
    choices: Mapping[str, Any]
    #: The gateway's value of the current option.
    value_fn: Callable[[T], Any]
    set_fn: Callable[[Edit, T, Any], Awaitable[object]]
    #: The cloud's value of each option.
    cloud_choices: Mapping[str, Profile] | None = None


_BATTERY_SETTINGS: Final = (
    EnvoySelectEntityDescription[EnvoyStorageSettings](
        key="storage_mode",
        choices={
            "backup": EnvoyStorageMode.BACKUP,
            "self_consumption": EnvoyStorageMode.SELF_CONSUMPTION,
            "savings": EnvoyStorageMode.SAVINGS,
        },
        value_fn=lambda settings: settings.mode,
        set_fn=lambda edit, _, mode: edit.storage_mode(mode),
        cloud_setting=Setting.MODE,
        cloud_choices={
            "backup": Profile.BACKUP,
            "self_consumption": Profile.SELF_CONSUMPTION,
            "savings": Profile.SAVINGS,
            "ai_optimization": Profile.AI_OPTIMIZATION,
        },
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
        set_fn=lambda edit, relay, mode: edit.relay(relay.id, mode=mode),
    ),
    EnvoySelectEntityDescription[EnvoyDryContactSettings](
        key="grid_action",
        translation_key="relay_grid_action",
        choices=_ACTIONS,
        value_fn=lambda relay: relay.grid_action,
        set_fn=lambda edit, relay, action: edit.relay_action(relay.id, grid_action=action),
    ),
    EnvoySelectEntityDescription[EnvoyDryContactSettings](
        key="microgrid_action",
        translation_key="relay_microgrid_action",
        choices=_ACTIONS,
        value_fn=lambda relay: relay.micro_grid_action,
        set_fn=lambda edit, relay, action: edit.relay_action(relay.id, micro_grid_action=action),
    ),
    EnvoySelectEntityDescription[EnvoyDryContactSettings](
        key="generator_action",
        translation_key="relay_generator_action",
        choices=_ACTIONS,
        value_fn=lambda relay: relay.generator_action,
        set_fn=lambda edit, relay, action: edit.relay_action(relay.id, gen_action=action),
    ),
)

#: AC batteries sleep within a band of five percent.
_ACB_FLEET: Final = (
    EnvoySelectEntityDescription[AcbFleet](
        key="acb_sleep_soc",
        entity_category=EntityCategory.CONFIG,
        choices={f"{low}-{low + 5}": SleepBand(low, low + 5) for low in range(0, 100, 5)},
        value_fn=lambda fleet: fleet.sleep_band,
        set_fn=lambda edit, fleet, band: edit.sleep_band(fleet, band),
    ),
)

_GENERATOR_MODE: Final = (
    EnvoySelectEntityDescription[EnvoyGeneratorMode](
        key="mode",
        translation_key="generator_mode",
        choices={"off": "off", "on": "on", "auto": "auto"},
        value_fn=lambda mode: mode.gen_cmd.lower(),
        set_fn=lambda edit, _, mode: edit.generator_mode(mode),
    ),
)

_GENERATOR_SCHEDULE: Final = (
    EnvoySelectEntityDescription[EnvoyGeneratorSchedule](
        key="exercise_day",
        translation_key="generator_exercise_day",
        entity_category=EntityCategory.CONFIG,
        choices={day.lower(): day for day in GENERATOR_EXERCISE_DAYS},
        value_fn=lambda schedule: schedule.exercise_day.capitalize(),
        set_fn=lambda edit, _, day: edit.generator_schedule("exercise_config", day=day),
    ),
)

SELECTS: Final[tuple[EntitySet[Any, EnvoySelectEntityDescription[Any]], ...]] = (
    EntitySet(sources.STORAGE_SETTINGS, _BATTERY_SETTINGS),
    EntitySet(sources.RELAY_SETTINGS, _RELAY),
    EntitySet(sources.ACB_FLEET, _ACB_FLEET),
    EntitySet(sources.GENERATOR_MODE, _GENERATOR_MODE),
    EntitySet(sources.GENERATOR_SCHEDULE, _GENERATOR_SCHEDULE),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Set up the selects of a gateway."""
    async_setup_entity_sets(entry, async_add_entities, SELECTS, EnvoySelect)


class EnvoySelect[T](EnvoyEntity[T], SelectEntity):
    """A select that reads and changes one object of the snapshot."""

    entity_description: EnvoySelectEntityDescription[T]
    _hold = HoldTime.LONG

    @property
    @override
    def options(self) -> list[str]:
        """Return the options."""
        description = self.entity_description
        if not (battery := self._cloud_battery) or not description.cloud_choices:
            return list(description.choices)
        return [option for option, profile in description.cloud_choices.items() if profile in battery.site.profiles]

    @property
    def _cloud_battery(self) -> CloudBattery | None:
        """The settings in the cloud, where this one is changed there."""
        return control.cloud.latest if (control := self._battery_control) else None

    @override
    def _shown(self, wanted: object) -> object:
        choices = self.entity_description.cloud_choices or {}
        return next((option for option, profile in choices.items() if profile == wanted), wanted)

    @property
    @override
    def current_option(self) -> str | None:
        """Return the current option, None when the gateway reports a value that is none of the options."""
        choices = self.entity_description.choices.items()
        option = next((option for option, name in choices if name == self._current[1]), None)
        if option is None and (battery := self._cloud_battery) and self.available:
            # The gateway has no word for some modes of the cloud.
            option = str(self._shown(battery.settings.profile))
        return option if option in self.options else None

    @override
    @gateway_action
    async def async_select_option(self, option: str) -> None:
        """Select an option. Raises HomeAssistantError."""
        description = self.entity_description
        await self._async_change(
            (description.cloud_choices or {}).get(option),
            lambda edit, source: description.set_fn(edit, source, description.choices[option]),
        )
