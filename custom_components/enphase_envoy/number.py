"""Numbers: levels of charge at which something happens."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, override

from homeassistant.components.number import NumberDeviceClass, NumberEntity, NumberEntityDescription
from homeassistant.const import PERCENTAGE, EntityCategory, UnitOfTime
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from pyenphase.models.dry_contacts import EnvoyDryContactSettings
from pyenphase.models.generator import EnvoyGeneratorSchedule
from pyenphase.models.tariff import EnvoyStorageSettings

from .client.gateway import Gateway
from .coordinator import EnvoyConfigEntry
from .descriptions.base import EntitySet, EnvoyEntityDescription
from .entity import EnvoyEntity, async_setup_entity_sets, gateway_action
from .model import identifiers

PARALLEL_UPDATES = 1


@dataclass(frozen=True, kw_only=True)
class EnvoyNumberEntityDescription[T](EnvoyEntityDescription[T], NumberEntityDescription):
    """One number of an object of the snapshot."""

    native_min_value: float = 0
    native_max_value: float = 100
    native_step: float = 1
    value_fn: Callable[[T], float | None]
    set_fn: Callable[[Gateway, T, int], Awaitable[object]]


_BATTERY_SETTINGS: Final = (
    EnvoyNumberEntityDescription[EnvoyStorageSettings](
        key="reserve_soc",
        device_class=NumberDeviceClass.BATTERY,
        native_unit_of_measurement=PERCENTAGE,
        value_fn=lambda settings: settings.reserved_soc,
        set_fn=lambda gateway, _, value: gateway.set_reserve_soc(value),
    ),
)

#: Levels between which a relay that follows the battery connects its load. Their unit is left out since ever.
_RELAY: Final = (
    EnvoyNumberEntityDescription[EnvoyDryContactSettings](
        key="soc_low",
        translation_key="cutoff_battery_level",
        device_class=NumberDeviceClass.BATTERY,
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda relay: relay.soc_low,
        set_fn=lambda gateway, relay, value: gateway.update_dry_contact({"id": relay.id, "soc_low": value}),
    ),
    EnvoyNumberEntityDescription[EnvoyDryContactSettings](
        key="soc_high",
        translation_key="restore_battery_level",
        device_class=NumberDeviceClass.BATTERY,
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda relay: relay.soc_high,
        set_fn=lambda gateway, relay, value: gateway.update_dry_contact({"id": relay.id, "soc_high": value}),
    ),
)

_GENERATOR: Final = (
    EnvoyNumberEntityDescription[EnvoyGeneratorSchedule](
        key="start_soc",
        translation_key="generator_start_soc",
        device_class=NumberDeviceClass.BATTERY,
        native_unit_of_measurement=PERCENTAGE,
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda schedule: schedule.default_start_soc,
        set_fn=lambda gateway, _, value: gateway.update_generator_schedule({"default_start_soc": value}),
    ),
    EnvoyNumberEntityDescription[EnvoyGeneratorSchedule](
        key="stop_soc",
        translation_key="generator_stop_soc",
        device_class=NumberDeviceClass.BATTERY,
        native_unit_of_measurement=PERCENTAGE,
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda schedule: schedule.default_stop_soc,
        set_fn=lambda gateway, _, value: gateway.update_generator_schedule({"default_stop_soc": value}),
    ),
    EnvoyNumberEntityDescription[EnvoyGeneratorSchedule](
        key="exercise_duration",
        translation_key="generator_exercise_duration",
        device_class=NumberDeviceClass.DURATION,
        native_unit_of_measurement=UnitOfTime.MINUTES,
        native_min_value=10,
        native_max_value=60,
        native_step=10,
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda schedule: schedule.exercise_duration,
        set_fn=lambda gateway, _, value: gateway.update_generator_schedule({"exercise_duration": value}),
    ),
    EnvoyNumberEntityDescription[EnvoyGeneratorSchedule](
        key="exercise_interval",
        translation_key="generator_exercise_interval",
        device_class=NumberDeviceClass.DURATION,
        native_unit_of_measurement=UnitOfTime.WEEKS,
        native_min_value=1,
        native_max_value=4,
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda schedule: schedule.exercise_freq_in_weeks,
        set_fn=lambda gateway, _, value: gateway.update_generator_schedule({"exercise_freq_in_weeks": value}),
    ),
)

NUMBERS: Final[tuple[EntitySet[Any, EnvoyNumberEntityDescription[Any]], ...]] = (
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
        kind=EnvoyGeneratorSchedule, at=("generator_schedule",), rows=_GENERATOR, device_fn=identifiers.generator
    ),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Set up the numbers of a gateway."""
    async_setup_entity_sets(entry, async_add_entities, NUMBERS, EnvoyNumber)


class EnvoyNumber[T](EnvoyEntity[T], NumberEntity):
    """A number that reads and changes one object of the snapshot."""

    entity_description: EnvoyNumberEntityDescription[T]
    _lasting = True

    @property
    @override
    def native_value(self) -> float | None:
        """Return the value in the unit of the description."""
        value: float | None = self._shown[1]
        return value

    @override
    @gateway_action
    async def async_set_native_value(self, value: float) -> None:
        """Change the value. Raises HomeAssistantError."""
        await self._write(lambda gateway, source: self.entity_description.set_fn(gateway, source, int(value)))
