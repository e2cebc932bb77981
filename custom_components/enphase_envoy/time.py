"""Times of day: the start of the generator's exercise."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import time
from typing import Any, Final, override

from homeassistant.components.time import TimeEntity, TimeEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from pyenphase.models.generator import EnvoyGeneratorSchedule

from .availability import HoldTime
from .client.writing import Edit
from .coordinator import EnvoyConfigEntry
from .descriptions import sources
from .descriptions.base import EntitySet, EnvoyEntityDescription
from .entity import EnvoyEntity, async_setup_entity_sets, gateway_action

PARALLEL_UPDATES = 1


@dataclass(frozen=True, kw_only=True)
class EnvoyTimeEntityDescription[T](EnvoyEntityDescription[T], TimeEntityDescription):
    """Description of one time of day of an object."""

    value_fn: Callable[[T], time | None]
    set_fn: Callable[[Edit, T, time], Awaitable[object]]


_GENERATOR: Final = (
    EnvoyTimeEntityDescription[EnvoyGeneratorSchedule](
        key="exercise_start",
        translation_key="generator_exercise_start",
        entity_category=EntityCategory.CONFIG,
        # The gateway counts in minutes after midnight.
        value_fn=lambda schedule: time(*divmod(schedule.exercise_start, 60)),
        set_fn=lambda edit, _, at: edit.generator_schedule("exercise_config", start=at.hour * 60 + at.minute),
    ),
)

TIMES: Final[tuple[EntitySet[Any, EnvoyTimeEntityDescription[Any]], ...]] = (
    EntitySet(sources.GENERATOR_SCHEDULE, _GENERATOR),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Set up the times of a gateway."""
    async_setup_entity_sets(entry, async_add_entities, TIMES, EnvoyTime)


class EnvoyTime[T](EnvoyEntity[T], TimeEntity):
    """A time of day that reads and changes one object of the snapshot."""

    entity_description: EnvoyTimeEntityDescription[T]
    _hold = HoldTime.LONG

    @property
    @override
    def native_value(self) -> time | None:
        """Return the time of day."""
        value: time | None = self._current[1]
        return value

    @override
    @gateway_action
    async def async_set_value(self, value: time) -> None:
        """Change the time of day. Raises HomeAssistantError."""
        await self._async_write(lambda edit, source: self.entity_description.set_fn(edit, source, value))
