"""The base of all entities: a source in the snapshot, a description, a device.

Every platform is a loop over entity sets. A set states where the snapshot holds objects of one kind, to which device
they belong, and the descriptions that turn such an object into the states of entities.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, Final, override
from weakref import ref

import aiohttp
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import entity_registry as er, translation
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
from .client.errors import GatewayBusyError, GatewayError, Reason, RelayTypeError, description as error_description
from .client.writing import Edit
from .cloud.errors import CloudError
from .const import DOMAIN, LOGGER
from .coordinator import EnvoyConfigEntry, EnvoyCoordinator
from .descriptions.base import EntitySet, EnvoyEntityDescription
from .model import identifiers
from .model.identifiers import phase_of
from .model.snapshot import Address

#: The value that was requested through the cloud and that the gateway did not confirm yet.
ATTR_PENDING: Final = "pending"


@dataclass(slots=True)
class _Listed:
    """The entry that has an entity, and the entity while there is one: those that are disabled are not kept."""

    coordinator: EnvoyCoordinator
    entity: ref[EnvoyEntity[Any]]


#: The entities of all entries, by platform and unique id.
_LISTED: HassKey[dict[tuple[str, str], _Listed]] = HassKey(f"{DOMAIN}_entities")


class EnvoyEntity[T](CoordinatorEntity[EnvoyCoordinator]):
    """An entity that shows one aspect of one object of the snapshot."""

    _attr_has_entity_name = True
    #: How long the last value is held.
    _hold = HoldTime.SHORT
    #: Whether the entity is available, and the value of its description, as of the last update.
    _current: tuple[bool, Any] = (False, None)
    #: The attributes of its description.
    _attributes: Mapping[str, Any] | None = None
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
        self._attributes_fn = description.attributes_fn
        self._field = description.field
        self._kind = entity_set.source.kind
        self._address = address
        self._cloud_setting = description.cloud_setting
        #: The coordinators of other gateways that list the same device, each with what ends listening to it.
        self._others: dict[EnvoyCoordinator, CALLBACK_TYPE] = {}
        #: Where the entity belongs to a controller, that it has the same serial number as this.
        self._is_current: Callable[[], bool] = lambda: True
        if entity_set.source.follows_controller:
            self._is_current = lambda: (
                entity_set.unique_id(coordinator.data, address, description) == self._attr_unique_id
            )
        snapshot = coordinator.data
        self._attr_device_info = devices.identified(entity_set.source.device(snapshot, address))
        self._object_id = entity_set.source.object_id_fn(snapshot, address)
        self._attr_unique_id = entity_set.unique_id(snapshot, address, description)
        self._attr_translation_key = description.translation_key or description.key
        if phase := phase_of(address):
            self._attr_translation_key += "_phase"
            self._attr_translation_placeholders = {"phase": phase}
            self._attr_entity_registry_enabled_default = False
        elif not description.enabled_fn(snapshot):
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
        self._current, self._attributes = self._read(), self._read_attributes()
        if self._cloud_setting:
            self.async_on_remove(self.coordinator.async_add_listener(self.async_write_ha_state, PENDING))

    @override
    async def async_will_remove_from_hass(self) -> None:
        self.async_unshare()
        await super().async_will_remove_from_hass()

    @callback
    def async_share(self, coordinator: EnvoyCoordinator) -> None:
        """Show the object of another gateway that lists the same device, while its report is newer."""

        @callback
        def update() -> None:
            if self._is_added:
                self._handle_coordinator_update()

        if coordinator not in self._others:
            self._others[coordinator] = coordinator.async_add_listener(update, self._address)
        update()

    @callback
    def async_unshare(self, coordinator: EnvoyCoordinator | None = None) -> None:
        """Refer no longer to another gateway, or to any, nor they to this entity."""
        for each in [coordinator] if coordinator else [*self._others]:
            if end_listening := self._others.pop(each, None):
                end_listening()

    @property
    def _published(self) -> Published:
        """The object as published by the gateway with the newest report."""
        published = self.coordinator.published.get(self._address)
        if not self._others:
            return published
        # An inverter or battery reports the time itself.
        return max(
            (each.published.get(self._address) for each in (self.coordinator, *self._others) if not each.is_closed),
            key=lambda each: (
                each.is_available(self._hold, self._field),
                getattr(each.value, "last_report_date", None) or 0,
            ),
            default=published,
        )

    def _read(self) -> tuple[bool, Any]:
        """Return whether the entity is available, and its value: None where a field that it needs is null."""
        published = self._published
        available = published.is_available(self._hold, self._field)
        if not self._is_current():
            return False, None
        if self._value_fn is None or not isinstance(published.value, self._kind):
            return available, None
        try:
            return available, self._value_fn(published.value)
        except TypeError, ValueError, ArithmeticError, AttributeError, LookupError, OSError:
            return available, None

    def _read_attributes(self) -> Mapping[str, Any] | None:
        """Return the attributes of the description."""
        value = self._published.value if self._attributes_fn else None
        return self._attributes_fn(value) if self._attributes_fn and isinstance(value, self._kind) else None

    @override
    @callback
    def _handle_coordinator_update(self) -> None:
        """Write the state if it changed: most fields of an object stay the same from poll to poll."""
        current, attributes = self._read(), self._read_attributes()
        if current != self._current or attributes != self._attributes:
            self._current, self._attributes = current, attributes
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
    def extra_state_attributes(self) -> Mapping[str, Any] | None:
        """Return those of the description, or the value requested through the cloud that the gateway has not yet."""
        if not self._cloud_setting or not (control := self._battery_control):
            return self._attributes
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


def _error(key: str, texts: Mapping[str, str]) -> HomeAssistantError:
    """Return a translated exception."""
    return HomeAssistantError(translation_domain=DOMAIN, translation_key=key, translation_placeholders={**texts})


def _reason_text(hass: HomeAssistant, err: Exception, texts: Mapping[str, str]) -> str:
    """Return the reason of a failure in the language of Home Assistant."""
    key = "change_refused"
    if isinstance(err, GatewayError):
        key = err.reason
    elif isinstance(err, (aiohttp.ClientError, OSError)):
        key = Reason.CANNOT_CONNECT
    elif isinstance(err, ValueError):
        key = "value_not_possible"
    messages = translation.async_get_cached_translations(hass, hass.config.language, "exceptions", DOMAIN)
    return messages.get(f"component.{DOMAIN}.exceptions.{key}.message", key).format_map(texts)


def gateway_action[E: EnvoyEntity[Any], **P](
    method: Callable[Concatenate[E, P], Awaitable[None]],
) -> Callable[Concatenate[E, P], Coroutine[Any, Any, None]]:
    """Turn the exceptions of a method that writes to the gateway into a translated HomeAssistantError."""

    @wraps(method)
    async def run(self: E, /, *args: P.args, **kwargs: P.kwargs) -> None:
        state = self.hass.states.get(self.entity_id)
        texts = {**self.coordinator.texts, "entity": state.name if state else self.entity_id}
        try:
            await method(self, *args, **kwargs)
        except CloudError as err:
            raise _error(err.reason, {**texts, "reason": err.detail}) from err
        except GatewayBusyError as err:
            raise _error("gateway_busy", texts) from err
        except RelayTypeError as err:
            raise _error("relay_action_ignored", texts) from err
        except (GatewayError, EnvoyError, aiohttp.ClientError, OSError, ValueError, LookupError, RuntimeError) as err:
            # Path and status are of no use in a message to the user. Errors of aiohttp may quote what was received.
            what = error_description(err) if isinstance(err, aiohttp.ClientError) else str(err) or type(err).__name__
            LOGGER.warning("%s: %s failed: %s", self.entity_id, method.__name__, what)
            raise _error("action_failed", {**texts, "reason": _reason_text(self.hass, err, texts)}) from err

    return run


def _shared(coordinator: EnvoyCoordinator, domain: str, entity: Entity) -> EnvoyCoordinator | None:
    """Return the coordinator of another entry with the same entity, which then shows both; None if there is none.

    Two gateways may list the same inverter or battery: it has one entity.
    """
    listed = coordinator.hass.data.setdefault(_LISTED, {})
    key = domain, entity.unique_id or ""
    known = listed.get(key)
    if known and known.coordinator is not coordinator and not known.coordinator.is_closed:
        if other := known.entity():
            other.async_share(coordinator)
        return known.coordinator
    if isinstance(entity, EnvoyEntity):
        listed[key] = _Listed(coordinator, ref(entity))
    return None


class _Entities[D: EnvoyEntityDescription[Any]]:
    """The entities of one platform of an entry: added with the objects of the snapshot."""

    def __init__(
        self,
        coordinator: EnvoyCoordinator,
        async_add_entities: AddConfigEntryEntitiesCallback,
        entity_sets: Sequence[EntitySet[Any, D]],
        create: Callable[[EnvoyCoordinator, EntitySet[Any, D], Address, D], Entity],
    ) -> None:
        """Prepare to add entities."""
        self._coordinator = coordinator
        self._async_add = async_add_entities
        self._entity_sets = entity_sets
        self._create = create
        self._domain = async_get_current_platform().domain
        self._registry = er.async_get(coordinator.hass)
        self._present: frozenset[Address] = frozenset()
        self._served: set[Address] = set()
        self._controllers: tuple[str | None, ...] = ()
        #: Addresses of objects whose entities another entry has, with its coordinator.
        self._elsewhere: dict[Address, EnvoyCoordinator] = {}
        #: Unique ids of the entities of controllers.
        self._of_controllers: set[str] = set()

    @callback
    def async_add_new(self) -> None:
        """Add the entities of new objects, of objects that are back, and of controllers that were exchanged."""
        data, addresses = self._coordinator.data, self._coordinator.published.addresses
        if (current := identifiers.controllers(data)) != self._controllers:
            self._controllers = current
            self._async_add([*self._exchanged()])
            self._coordinator.async_update_all()
        left = {address for address, other in self._elsewhere.items() if other.is_closed}
        if addresses is self._present and not left:
            return
        for address in left:
            del self._elsewhere[address]
        self._served -= left
        # Objects that were missing and are back have their entities, unless the user deleted the device meanwhile.
        back = (addresses & self._served) - self._present
        new = [address for address in data.objects if address not in self._served]
        self._present = addresses
        self._async_add((*self._created(new), *self._created(back, only_missing=True)))

    def _created(self, addresses: Iterable[Address], *, only_missing: bool = False) -> Iterator[Entity]:
        """Yield the entities of objects: all, or those that are not registered."""
        data = self._coordinator.data
        for address in addresses:
            for entity_set in self._entity_sets:
                for description in entity_set.descriptions_for(data, address):
                    self._served.add(address)
                    unique_id = entity_set.unique_id(data, address, description)
                    if entity_set.source.follows_controller:
                        self._of_controllers.add(unique_id)
                    if only_missing and self._registry.async_get_entity_id(self._domain, DOMAIN, unique_id):
                        continue
                    entity = self._create(self._coordinator, entity_set, address, description)
                    if other := _shared(self._coordinator, self._domain, entity):
                        self._elsewhere[address] = other
                    else:
                        yield entity

    def _exchanged(self) -> Iterator[Entity]:
        """Yield the entities of another controller at the address of the one before."""
        data = self._coordinator.data
        for entity_set in self._entity_sets:
            for address in self._served if entity_set.source.follows_controller else ():
                for description in entity_set.descriptions_for(data, address):
                    unique_id = entity_set.unique_id(data, address, description)
                    if unique_id not in self._of_controllers:
                        self._of_controllers.add(unique_id)
                        yield self._create(self._coordinator, entity_set, address, description)

    @callback
    def async_release(self) -> None:
        """Refer no longer to the coordinator, which is closed: entities that are disabled are never removed."""
        listed = self._coordinator.hass.data.get(_LISTED, {})
        for key, known in [item for item in listed.items() if item[0][0] == self._domain]:
            is_own = known.coordinator is self._coordinator
            if entity := known.entity():
                entity.async_unshare(None if is_own else self._coordinator)
            if is_own:
                del listed[key]


@callback
def async_setup_entity_sets[D: EnvoyEntityDescription[Any]](
    entry: EnvoyConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
    entity_sets: Sequence[EntitySet[Any, D]],
    create: Callable[[EnvoyCoordinator, EntitySet[Any, D], Address, D], Entity],
) -> None:
    """Add the entities of all objects in the snapshot, and of those that later snapshots bring."""
    entities = _Entities(entry.runtime_data, async_add_entities, entity_sets, create)
    entry.async_on_unload(entities.async_release)
    entities.async_add_new()
    entry.async_on_unload(entry.runtime_data.async_add_listener(entities.async_add_new))
