"""The base of all entities: a source in the snapshot, a description, a device.

Every platform is a loop over entity sets. A set states where the snapshot holds objects of one kind, to which device
they belong, and the descriptions that turn such an object into the states of entities.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any, Concatenate, Final, override

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
from homeassistant.util.hass_dict import HassKey
from pyenphase.exceptions import EnvoyError

from . import devices
from .availability import HoldTime, Published
from .battery_control import PENDING, BatteryControl
from .client.errors import GatewayBusyError, GatewayError, Reason, RelayTypeError
from .client.writing import Edit
from .cloud.errors import CloudError
from .const import DOMAIN
from .coordinator import EnvoyConfigEntry, EnvoyCoordinator
from .descriptions.base import EntitySet, EnvoyEntityDescription
from .model.identifiers import phase_of
from .model.snapshot import Address

#: The value that was requested through the cloud and that the gateway did not confirm yet.
ATTR_PENDING: Final = "pending"

#: The entities of all entries, by platform and unique id.
_ENTITIES: HassKey[dict[tuple[str, str], EnvoyEntity[Any]]] = HassKey(f"{DOMAIN}_entities")


class EnvoyEntity[T](CoordinatorEntity[EnvoyCoordinator]):
    """An entity that shows one aspect of one object of the snapshot."""

    _attr_has_entity_name = True
    #: How long the last value is held.
    _hold = HoldTime.SHORT
    #: Whether the entity is available, and the value of its description, as of the last update.
    _current: tuple[bool, Any] = (False, None)
    _is_added = False

    def __init__(
        self,
        coordinator: EnvoyCoordinator,
        entity_set: EntitySet[T, EnvoyEntityDescription[T]],
        address: Address,
        description: EnvoyEntityDescription[T],
    ) -> None:
        """Show the object at `address`, and update only when that object changes."""
        super().__init__(coordinator, context=address)
        self.entity_description = description
        self._value_fn: Callable[[T], object] | None = getattr(description, "value_fn", None)
        self._field = description.field
        self._kind = entity_set.source.kind
        self._address = address
        self._cloud_setting = description.cloud_setting
        #: The entry's coordinator, and those of other gateways that list the same device.
        self._coordinators = [coordinator]
        snapshot = coordinator.data
        self._attr_device_info = devices.identified(entity_set.source.device(snapshot, address))
        self._object_id = entity_set.source.object_id_fn(snapshot, address)
        self._attr_unique_id = entity_set.unique_id(snapshot, address, description)
        self._attr_translation_key = description.translation_key or description.key
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
        self._is_added = True
        self._current = self._read()
        if self._cloud_setting:
            self.async_on_remove(self.coordinator.async_add_listener(self.async_write_ha_state, PENDING))

    @callback
    def async_share(self, coordinator: EnvoyCoordinator) -> None:
        """Show the object of another gateway that lists the same device, while its report is newer."""

        @callback
        def update() -> None:
            if self._is_added:
                self._handle_coordinator_update()

        self._coordinators = [*(each for each in self._coordinators if not each.is_closed), coordinator]
        self.async_on_remove(coordinator.async_add_listener(update, self._address))
        update()

    @property
    def _published(self) -> Published:
        """The object as published by the gateway with the newest report."""
        published = [each.published.get(self._address) for each in self._coordinators if not each.is_closed]
        if len(published) > 1:
            # An inverter or battery reports the time itself.
            return max(
                published,
                key=lambda each: (
                    each.is_available(self._hold, self._field),
                    getattr(each.value, "last_report_date", None) or 0,
                ),
            )
        return published[0] if published else self.coordinator.published.get(self._address)

    def _read(self) -> tuple[bool, Any]:
        """Return whether the entity is available, and its value: None where a field that it needs is null."""
        published = self._published
        available = published.is_available(self._hold, self._field)
        if self._value_fn is None or not isinstance(published.value, self._kind):
            return available, None
        try:
            return available, self._value_fn(published.value)
        except TypeError, ValueError, ArithmeticError, AttributeError, LookupError, OSError:
            return available, None

    @override
    @callback
    def _handle_coordinator_update(self) -> None:
        """Write the state if it changed: most fields of an object stay the same from poll to poll."""
        if (current := self._read()) != self._current:
            self._current = current
            self.async_write_ha_state()

    @property
    @override
    def available(self) -> bool:
        """Return whether the value has not expired."""
        return self._current[0]

    @property
    def _battery_control(self) -> BatteryControl | None:
        """The control that changes this setting through the cloud; None where the gateway does."""
        control = self.coordinator.battery_control
        return control if control and control.carries_out(self._cloud_setting, self.coordinator.data) else None

    @property
    @override
    def extra_state_attributes(self) -> dict[str, Any] | None:
        """Return the value that was requested through the cloud and that the gateway does not have yet."""
        if not self._cloud_setting or not (control := self._battery_control):
            return None
        wanted = control.wanted(self._cloud_setting)
        return {} if wanted is None else {ATTR_PENDING: self._shown(wanted)}

    def _shown(self, wanted: object) -> object:
        """Return a value of the cloud as the state would show it."""
        return wanted

    async def _async_change(self, wanted: object, change: Callable[[Edit, T], Awaitable[object]]) -> None:
        """Change the object: through the cloud where the user chose that, else by writing to the gateway."""
        if self._cloud_setting and (control := self._battery_control):
            await self.coordinator.async_change_in_cloud(control, self._cloud_setting, wanted, self.entity_id)
            self.async_write_ha_state()
            return
        await self._async_write(change)

    async def _async_write(self, change: Callable[[Edit, T], Awaitable[object]]) -> None:
        """Write a change of the object. Raises GatewayError when it is missing, or what the change raises."""
        async with self.coordinator.editing(self.entity_id, self._address) as edit:
            if (source := self.coordinator.data.get(self._kind, self._address)) is None:
                raise GatewayError(Reason.NO_DATA)
            await change(edit, source)


def gateway_action[E: EnvoyEntity[Any], **P](
    method: Callable[Concatenate[E, P], Awaitable[None]],
) -> Callable[Concatenate[E, P], Coroutine[Any, Any, None]]:
    """Turn the exceptions of a method that writes to the gateway into a translated HomeAssistantError."""

    @wraps(method)
    async def run(self: E, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await method(self, *args, **kwargs)
        except CloudError as err:
            raise HomeAssistantError(
                translation_domain=DOMAIN,
                translation_key=err.reason,
                translation_placeholders={"entity": self.entity_id, "name": self.coordinator.name},
            ) from err
        except (GatewayBusyError, RelayTypeError) as err:
            raise HomeAssistantError(
                translation_domain=DOMAIN,
                translation_key="gateway_busy" if isinstance(err, GatewayBusyError) else "relay_action_ignored",
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


def _shared(coordinator: EnvoyCoordinator, domain: str, entity: Entity) -> EnvoyCoordinator | None:
    """Return the coordinator of another entry with the same entity, which then shows both; None if there is none.

    Two gateways may list the same inverter or battery: it has one entity.
    """
    entities = coordinator.hass.data.setdefault(_ENTITIES, {})
    key = domain, entity.unique_id or ""
    other = entities.get(key)
    if other and other.coordinator is not coordinator and not other.coordinator.is_closed:
        other.async_share(coordinator)
        return other.coordinator
    if isinstance(entity, EnvoyEntity):
        entities[key] = entity
    return None


@callback
def async_setup_entity_sets[D: EnvoyEntityDescription[Any]](
    entry: EnvoyConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
    entity_sets: Sequence[EntitySet[Any, D]],
    create: Callable[[EnvoyCoordinator, EntitySet[Any, D], Address, D], Entity],
) -> None:
    """Add the entities of all objects in the snapshot, and of those that later snapshots bring."""
    coordinator = entry.runtime_data
    domain = async_get_current_platform().domain
    registry = er.async_get(coordinator.hass)
    present: frozenset[Address] = frozenset()
    served: set[Address] = set()
    #: Addresses of objects whose entities another entry has, with its coordinator.
    elsewhere: dict[Address, EnvoyCoordinator] = {}

    def created(addresses: Iterable[Address]) -> Iterator[Entity]:
        for address in addresses:
            for entity_set in entity_sets:
                for description in entity_set.descriptions_for(coordinator.data, address):
                    served.add(address)
                    entity = create(coordinator, entity_set, address, description)
                    if other := _shared(coordinator, domain, entity):
                        elsewhere[address] = other
                    else:
                        yield entity

    def is_registered(entity: Entity) -> bool:
        return registry.async_get_entity_id(domain, DOMAIN, entity.unique_id or "") is not None

    @callback
    def add_new() -> None:
        nonlocal present
        addresses = coordinator.published.addresses
        left = {address for address, other in elsewhere.items() if other.is_closed}
        if addresses is present and not left:
            return
        for address in left:
            del elsewhere[address]
        served.difference_update(left)
        # Objects that were missing and are back have their entities, unless the user deleted the device meanwhile.
        back = (addresses & served) - present
        new = [address for address in coordinator.data.objects if address not in served]
        present = addresses
        async_add_entities((*created(new), *(entity for entity in created(back) if not is_registered(entity))))

    add_new()
    entry.async_on_unload(coordinator.async_add_listener(add_new))
