"""Buttons: AC batteries are sent to sleep and woken together."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, override

from homeassistant.components.button import ButtonEntity, ButtonEntityDescription
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .availability import HoldTime
from .client.writing import Edit
from .coordinator import EnvoyConfigEntry
from .descriptions import sources
from .descriptions.base import EntitySet, EnvoyEntityDescription
from .entity import EnvoyEntity, async_setup_entity_sets, gateway_action
from .model.ac_batteries import AcbFleet

PARALLEL_UPDATES = 1


@dataclass(frozen=True, kw_only=True)
class EnvoyButtonEntityDescription[T](EnvoyEntityDescription[T], ButtonEntityDescription):
    """Description of one button of an object."""

    press_fn: Callable[[Edit, T], Awaitable[object]]


_ACB_FLEET: Final = (
    EnvoyButtonEntityDescription[AcbFleet](key="acb_sleep", press_fn=lambda edit, fleet: edit.sleep(fleet)),
    EnvoyButtonEntityDescription[AcbFleet](
        key="acb_wake", press_fn=lambda edit, fleet: edit.envoy.clear_acb_sleep(list(fleet.serials))
    ),
)

BUTTONS: Final[tuple[EntitySet[Any, EnvoyButtonEntityDescription[Any]], ...]] = (
    EntitySet(sources.ACB_FLEET, _ACB_FLEET),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Set up the buttons of a gateway."""
    async_setup_entity_sets(entry, async_add_entities, BUTTONS, EnvoyButton)


class EnvoyButton[T](EnvoyEntity[T], ButtonEntity):
    """A button that sends a command about one object of the snapshot."""

    entity_description: EnvoyButtonEntityDescription[T]
    _hold = HoldTime.LONG

    @override
    @gateway_action
    async def async_press(self) -> None:
        """Send the command. Raises HomeAssistantError."""
        await self._async_write(self.entity_description.press_fn)
