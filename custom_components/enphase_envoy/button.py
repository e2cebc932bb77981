"""Buttons: AC batteries are sent to sleep and woken together."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, override

from homeassistant.components.button import ButtonEntity, ButtonEntityDescription
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .client.gateway import Gateway
from .coordinator import EnvoyConfigEntry
from .descriptions.base import EntitySet, EnvoyEntityDescription
from .entity import EnvoyEntity, async_setup_entity_sets, gateway_action
from .model import identifiers
from .model.derived import AcbFleet

PARALLEL_UPDATES = 1


@dataclass(frozen=True, kw_only=True)
class EnvoyButtonEntityDescription[T](EnvoyEntityDescription[T], ButtonEntityDescription):
    """One button of an object of the snapshot."""

    press_fn: Callable[[Gateway, T], Awaitable[object]]


_ACB_FLEET: Final = (
    EnvoyButtonEntityDescription[AcbFleet](
        key="acb_sleep", press_fn=lambda gateway, fleet: gateway.send_to_sleep(fleet)
    ),
    EnvoyButtonEntityDescription[AcbFleet](
        key="acb_wake", press_fn=lambda gateway, fleet: gateway.clear_acb_sleep(list(fleet.serials))
    ),
)

BUTTONS: Final[tuple[EntitySet[Any, EnvoyButtonEntityDescription[Any]], ...]] = (
    EntitySet(
        kind=AcbFleet,
        at=("acb_fleet",),
        rows=_ACB_FLEET,
        device_fn=identifiers.acb_fleet,
        prefix_fn=identifiers.gateway,
    ),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Set up the buttons of a gateway."""
    async_setup_entity_sets(entry, async_add_entities, BUTTONS, EnvoyButton)


class EnvoyButton[T](EnvoyEntity[T], ButtonEntity):
    """A button that acts on one object of the snapshot."""

    entity_description: EnvoyButtonEntityDescription[T]
    _lasting = True

    @override
    @gateway_action
    async def async_press(self) -> None:
        """Act. Raises HomeAssistantError."""
        await self._write(self.entity_description.press_fn)
