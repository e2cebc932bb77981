"""What all entities share: a source in the snapshot, a description, a device.

Every platform is a loop over tables. A table says where the snapshot holds objects of one kind, on which device they
live, and which descriptions turn such an object into the states of entities. A total and its phases share a table's
descriptions: a phase adds its letters to the unique id and the name, and starts disabled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any, Concatenate, override

import aiohttp
from homeassistant.core import HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.entity import Entity
from homeassistant.helpers.entity_platform import (
    AddConfigEntryEntitiesCallback,
    EntityPlatform,
    async_get_current_platform,
)
from homeassistant.helpers.update_coordinator import CoordinatorEntity
from homeassistant.util import slugify
from pyenphase.exceptions import EnvoyError

from . import devices
from .client.errors import GatewayBusyError, GatewayError, Reason
from .client.gateway import Gateway
from .const import DOMAIN
from .coordinator import MISSING, EnvoyConfigEntry, EnvoyCoordinator
from .descriptions.base import EntitySet, EnvoyEntityDescription, phase_of
from .model.snapshot import Address


class EnvoyEntity[T](CoordinatorEntity[EnvoyCoordinator]):
    """An entity that shows one aspect of one object of the snapshot."""

    _attr_has_entity_name = True
    #: Whether the last value is held for as long as counters and settings are, when no new one comes.
    _lasting = False
    #: Whether there is a state, and the value that a description makes of the source: as of the last look.
    _shown: tuple[bool, Any] = (False, None)

    def __init__(
        self,
        coordinator: EnvoyCoordinator,
        table: EntitySet[T, EnvoyEntityDescription[T]],
        address: Address,
        row: EnvoyEntityDescription[T],
    ) -> None:
        """Show the object at `address`, and be woken only when that object changes."""
        super().__init__(coordinator, context=address)
        self.entity_description = row
        self._value_fn: Callable[[T], object] | None = getattr(row, "value_fn", None)
        self._kind = table.kind
        self._address = address
        device = table.device_fn(coordinator.data, address) or coordinator.data.serial
        self._attr_device_info = devices.identified(device)
        self._object_id = table.object_id_fn(coordinator.data, address)
        self._attr_unique_id = table.unique_id(coordinator.data, address, row)
        self._attr_translation_key = row.translation_key or row.key
        if phase := phase_of(address):
            self._attr_translation_key += "_phase"
            self._attr_translation_placeholders = {"phase": phase}
            self._attr_entity_registry_enabled_default = False

    @override
    @callback
    def add_to_platform_start(
        self, hass: HomeAssistant, platform: EntityPlatform, parallel_updates: asyncio.Semaphore | None
    ) -> None:
        super().add_to_platform_start(hass, platform, parallel_updates)
        if self._object_id:
            self.entity_id = f"{platform.domain}.{slugify(f'{self._object_id} {self.suggested_object_id or ""}')}"

    @override
    async def async_added_to_hass(self) -> None:
        await super().async_added_to_hass()
        self._shown = self._look()

    def _look(self) -> tuple[bool, Any]:
        """Return whether there is a state, and the value: None where a field of the source that it needs is null."""
        source, outlived = self.coordinator.published.get(self._address, MISSING)
        is_young = outlived <= self._lasting
        if self._value_fn is None or not isinstance(source, self._kind):
            return is_young, None
        try:
            return is_young, self._value_fn(source)
        except TypeError, ValueError, ArithmeticError, AttributeError, LookupError, OSError:
            return is_young, None

    @override
    @callback
    def _handle_coordinator_update(self) -> None:
        """Write the state if it is another one: most of an object's fields stay the same from poll to poll."""
        if (shown := self._look()) != self._shown:
            self._shown = shown
            self.async_write_ha_state()

    @property
    @override
    def available(self) -> bool:
        """Return whether the source is there and young enough."""
        return self._shown[0]

    async def _write(self, change: Callable[[Gateway, T], Awaitable[object]]) -> None:
        """Change the object on the gateway. Raises GatewayError when it is not there, or what the change raises."""

        async def with_what_is_there_now() -> object:
            if (source := self.coordinator.gateway.snapshot().get(self._kind, self._address)) is None:
                raise GatewayError(Reason.NO_DATA)
            return await change(self.coordinator.gateway, source)

        await self.coordinator.async_write(self.entity_id, self._address[0], with_what_is_there_now)


def gateway_action[E: EnvoyEntity[Any], **P](
    method: Callable[Concatenate[E, P], Awaitable[None]],
) -> Callable[Concatenate[E, P], Coroutine[Any, Any, None]]:
    """Turn whatever can go wrong in a method that changes a setting into an error that a person understands."""

    @wraps(method)
    async def run(self: E, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await method(self, *args, **kwargs)
        except GatewayBusyError as err:
            raise HomeAssistantError(
                translation_domain=DOMAIN,
                translation_key="gateway_busy",
                translation_placeholders={"host": self.coordinator.gateway.host, "entity": self.entity_id},
            ) from err
        except (GatewayError, EnvoyError, aiohttp.ClientError, OSError, ValueError, LookupError, RuntimeError) as err:
            raise HomeAssistantError(
                translation_domain=DOMAIN,
                translation_key="action_failed",
                translation_placeholders={
                    "host": self.coordinator.gateway.host,
                    "action": method.__name__.removeprefix("async_"),
                    "entity": self.entity_id,
                    "error": str(err) or type(err).__name__,
                },
            ) from err

    return run


@callback
def async_setup_entity_sets[R: EnvoyEntityDescription[Any]](
    entry: EnvoyConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
    tables: Sequence[EntitySet[Any, R]],
    make: Callable[[EnvoyCoordinator, EntitySet[Any, R], Address, R], Entity],
) -> None:
    """Add the entities of all objects in the snapshot, and of those that later snapshots bring."""
    coordinator = entry.runtime_data
    domain = async_get_current_platform().domain
    registry = er.async_get(coordinator.hass)
    present: frozenset[Address] = frozenset()
    served: set[Address] = set()

    def made(addresses: Iterable[Address]) -> Iterator[Entity]:
        for address in addresses:
            for table in tables:
                if table.covers(address):
                    for row in table.rows_for(coordinator.data, address):
                        served.add(address)
                        yield make(coordinator, table, address, row)

    def is_registered(entity: Entity) -> bool:
        return registry.async_get_entity_id(domain, DOMAIN, entity.unique_id or "") is not None

    @callback
    def add_new() -> None:
        nonlocal present
        addresses = coordinator.addresses
        if addresses is present:
            return
        # What went and came back has its entities, unless the owner deleted the device in between.
        back = (addresses & served) - present
        new = [address for address in coordinator.data.objects if address not in served]
        present = addresses
        async_add_entities((*made(new), *(entity for entity in made(back) if not is_registered(entity))))

    add_new()
    entry.async_on_unload(coordinator.async_add_listener(add_new))
