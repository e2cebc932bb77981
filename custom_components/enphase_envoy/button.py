"""Buttons: AC batteries are sent to sleep and woken together."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, override

from homeassistant.components.button import ButtonEntity, ButtonEntityDescription
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .client.gateway import Gateway
from .coordinator import EnvoyConfigEntry
from .descriptions.base import Row, Table
from .entity import EnvoyEntity, action, async_setup_tables
from .model import identifiers
from .model.derived import AcbFleet

PARALLEL_UPDATES = 1


@dataclass(frozen=True, kw_only=True)
class Button[T](Row[T], ButtonEntityDescription):
    """One button of an object of the snapshot."""

    press_fn: Callable[[Gateway, T], Awaitable[object]]


_ACB_FLEET: Final = (
    Button[AcbFleet](key="acb_sleep", press_fn=lambda gateway, fleet: gateway.send_to_sleep(fleet)),
    Button[AcbFleet](key="acb_wake", press_fn=lambda gateway, fleet: gateway.clear_acb_sleep(list(fleet.serials))),
)

BUTTONS: Final[tuple[Table[Any, Button[Any]], ...]] = (
    Table(
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
    async_setup_tables(entry, async_add_entities, BUTTONS, EnvoyButton)


class EnvoyButton[T](EnvoyEntity[T], ButtonEntity):
    """A button that acts on one object of the snapshot."""

    entity_description: Button[T]
    _lasting = True

    @override
    @action
    async def async_press(self) -> None:
        """Act. Raises HomeAssistantError."""
        await self._write(self.entity_description.press_fn)
