"""Numbers: battery levels that trigger relays and generator, and the generator's exercise."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, override

from homeassistant.components.number import NumberDeviceClass, NumberEntity, NumberEntityDescription, NumberMode
from homeassistant.const import PERCENTAGE, EntityCategory, UnitOfTime
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from pyenphase.models.dry_contacts import EnvoyDryContactSettings
from pyenphase.models.generator import EnvoyGeneratorSchedule
from pyenphase.models.tariff import EnvoyStorageSettings

from .availability import HoldTime
from .client.writing import Edit
from .cloud.models import CloudBattery, Setting
from .coordinator import EnvoyConfigEntry
from .descriptions import sources
from .descriptions.base import EntitySet, EnvoyEntityDescription, not_local
from .entity import EnvoyEntity, async_setup_entity_sets, gateway_action

PARALLEL_UPDATES = 1


@dataclass(frozen=True, kw_only=True)
class EnvoyNumberEntityDescription[T](EnvoyEntityDescription[T], NumberEntityDescription):
    """Description of one number of an object."""

    native_min_value: float = 0
    native_max_value: float = 100
    native_step: float = 1
    # A slider leaves no room for the name and the value.
    mode: NumberMode | None = NumberMode.BOX
    value_fn: Callable[[T], float | None]
    #: How the gateway is changed; None for a setting that only the cloud has.
    set_fn: Callable[[Edit, T, int], Awaitable[object]] = not_local
    #: Lowest and highest value, where they differ between systems.
    range_fn: Callable[[T], tuple[float | None, float | None]] = lambda _: (None, None)


_BATTERY_SETTINGS: Final = (
    EnvoyNumberEntityDescription[EnvoyStorageSettings](
        key="reserve_soc",
        # Where the controller uses another reserve than the stored one, its own report is shown.
        field="reserved_soc",
        device_class=NumberDeviceClass.BATTERY,
        native_unit_of_measurement=PERCENTAGE,
        value_fn=lambda settings: settings.reserved_soc,
        set_fn=lambda edit, _, value: edit.storage_settings(reserved_soc=value),
        cloud_setting=Setting.RESERVE,
    ),
)

_CLOUD_BATTERY: Final = (
    EnvoyNumberEntityDescription[CloudBattery](
        key="battery_shutdown_level",
        device_class=NumberDeviceClass.BATTERY,
        entity_category=EntityCategory.CONFIG,
        native_unit_of_measurement=PERCENTAGE,
        native_min_value=5,
        native_max_value=25,
        exists_fn=lambda battery: battery.settings.shutdown_level is not None,
        value_fn=lambda battery: battery.settings.shutdown_level,
        range_fn=lambda battery: (battery.settings.shutdown_level_min, battery.settings.shutdown_level_max),
        cloud_setting=Setting.SHUTDOWN_LEVEL,
    ),
)

#: Battery levels between which a relay connects its load.
_RELAY: Final = (
    EnvoyNumberEntityDescription[EnvoyDryContactSettings](
        key="soc_low",
        translation_key="cutoff_battery_level",
        device_class=NumberDeviceClass.BATTERY,
        native_unit_of_measurement=PERCENTAGE,
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda relay: relay.soc_low,
        set_fn=lambda edit, relay, value: edit.relay(relay.id, soc_low=value),
    ),
    EnvoyNumberEntityDescription[EnvoyDryContactSettings](
        key="soc_high",
        translation_key="restore_battery_level",
        device_class=NumberDeviceClass.BATTERY,
        native_unit_of_measurement=PERCENTAGE,
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda relay: relay.soc_high,
        set_fn=lambda edit, relay, value: edit.relay(relay.id, soc_high=value),
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
        set_fn=lambda edit, _, value: edit.generator_schedule("default_soc", start_soc=value),
    ),
    EnvoyNumberEntityDescription[EnvoyGeneratorSchedule](
        key="stop_soc",
        translation_key="generator_stop_soc",
        device_class=NumberDeviceClass.BATTERY,
        native_unit_of_measurement=PERCENTAGE,
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda schedule: schedule.default_stop_soc,
        set_fn=lambda edit, _, value: edit.generator_schedule("default_soc", stop_soc=value),
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
        set_fn=lambda edit, _, value: edit.generator_schedule("exercise_config", duration=value),
    ),
    EnvoyNumberEntityDescription[EnvoyGeneratorSchedule](
        key="exercise_interval",
        translation_key="generator_exercise_interval",
        # Of no device class: Home Assistant's durations are of days at most, and the state is in weeks.
        native_unit_of_measurement=UnitOfTime.WEEKS,
        native_min_value=1,
        native_max_value=4,
        entity_category=EntityCategory.CONFIG,
        value_fn=lambda schedule: schedule.exercise_freq_in_weeks,
        set_fn=lambda edit, _, value: edit.generator_schedule("exercise_config", freq_in_weeks=value),
    ),
)

NUMBERS: Final[tuple[EntitySet[Any, EnvoyNumberEntityDescription[Any]], ...]] = (
    EntitySet(sources.STORAGE_SETTINGS, _BATTERY_SETTINGS),
    EntitySet(sources.CLOUD_BATTERY, _CLOUD_BATTERY),
    EntitySet(sources.RELAY_SETTINGS, _RELAY),
    EntitySet(sources.GENERATOR_SCHEDULE, _GENERATOR),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Set up the numbers of a gateway."""
    async_setup_entity_sets(entry, async_add_entities, NUMBERS, EnvoyNumber)


class EnvoyNumber[T](EnvoyEntity[T], NumberEntity):
    """A number that reads and changes one object of the snapshot."""

    entity_description: EnvoyNumberEntityDescription[T]
    _hold = HoldTime.LONG

    @property
    @override
    def native_min_value(self) -> float:
        """Return the lowest value."""
        low, _ = self._range
        return self.entity_description.native_min_value if low is None else low

    @property
    @override
    def native_max_value(self) -> float:
        """Return the highest value."""
        _, high = self._range
        return self.entity_description.native_max_value if high is None else high

    @property
    def _range(self) -> tuple[float | None, float | None]:
        source = self.coordinator.data.get(self._kind, self._address)
        return (None, None) if source is None else self.entity_description.range_fn(source)

    @property
    @override
    def native_value(self) -> float | None:
        """Return the value in the unit of the description."""
        value: float | None = self._current[1]
        return value

    @override
    @gateway_action
    async def async_set_native_value(self, value: float) -> None:
        """Change the value. Raises HomeAssistantError."""
        description, new = self.entity_description, int(value)
        if (new - description.native_min_value) % description.native_step:
            raise ValueError(f"{new} is not a multiple of {description.native_step:g}")
        await self._async_change(new, lambda edit, source: description.set_fn(edit, source, new))
