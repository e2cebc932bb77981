"""What all entities share: a source in the snapshot, a description, a device.

Every platform is a loop over tables. A table says where the snapshot holds objects of one kind, on which device they
live, and which descriptions turn such an object into the states of entities. A total and its phases share a table's
descriptions: a phase adds its letters to the unique id and the name, and starts disabled.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, override

from homeassistant.core import callback
from homeassistant.helpers.entity import Entity, EntityDescription
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.update_coordinator import CoordinatorEntity

from . import devices
from .coordinator import HOLD_STATE, EnvoyConfigEntry, EnvoyCoordinator
from .snapshot import Address, Snapshot


@dataclass(frozen=True, kw_only=True)
class Row[T](EntityDescription):
    """Description of one entity of an object; each platform adds how it reads and writes."""

    #: Whether this object has such an entity at all.
    exists_fn: Callable[[T], bool] = lambda _: True


@dataclass(frozen=True, kw_only=True)
class Table[T, R: Row[Any]]:
    """Descriptions of one kind of object, where to find such objects, and on which device they live."""

    kind: type[T]
    #: Beginning of the addresses of these objects, e.g. `("inverters",)`.
    at: Address
    #: How many more parts the address of an object has: 0 for a single one, 1 for each of a dictionary.
    below: int = 0
    rows: Sequence[R]
    #: Identifier of the device, which begins the unique ids as well.
    device_fn: Callable[[Snapshot, Address], str] = lambda snapshot, _: snapshot.serial

    def rows_for(self, snapshot: Snapshot, address: Address) -> Iterator[R]:
        """Yield what describes the object at an address; nothing where the table speaks of other objects."""
        if len(address) != len(self.at) + self.below or address[: len(self.at)] != self.at:
            return
        if (source := snapshot.get(self.kind, address)) is not None:
            yield from (row for row in self.rows if row.exists_fn(source))


class EnvoyEntity[T](CoordinatorEntity[EnvoyCoordinator]):
    """An entity that shows one aspect of one object of the snapshot."""

    _attr_has_entity_name = True
    #: Seconds that the last value is shown when no new one comes.
    _hold: float = HOLD_STATE

    def __init__(self, coordinator: EnvoyCoordinator, table: Table[T, Row[T]], address: Address, row: Row[T]) -> None:
        """Show the object at `address`, and be woken only when that object changes."""
        super().__init__(coordinator, context=address)
        self.entity_description = row
        self._kind = table.kind
        self._address = address
        device = table.device_fn(coordinator.data, address)
        self._attr_device_info = devices.identified(device)
        phase = address[-1].lower() if address[0].endswith("_phases") else ""
        self._attr_unique_id = "_".join(filter(None, (device, row.key, phase)))
        self._attr_translation_key = row.translation_key or row.key
        if phase:
            self._attr_translation_key += "_phase"
            self._attr_translation_placeholders = {"phase": phase}
            self._attr_entity_registry_enabled_default = False

    @property
    def source(self) -> T | None:
        """The object, None when the gateway does not have it (any more)."""
        return self.coordinator.data.get(self._kind, self._address)

    @property
    @override
    def available(self) -> bool:
        """Return whether the source is there and young enough."""
        leaf = self.coordinator.data.leaves.get(self._address)
        return leaf is not None and not self.coordinator.expired(leaf.seen, self._hold)


@callback
def async_setup_tables[R: Row[Any]](
    entry: EnvoyConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
    tables: Sequence[Table[Any, R]],
    make: Callable[[EnvoyCoordinator, Table[Any, R], Address, R], Entity],
) -> None:
    """Add the entities of all objects in the snapshot, and of those that later snapshots bring."""
    coordinator = entry.runtime_data
    known: set[Address] = set()

    @callback
    def add_new() -> None:
        snapshot = coordinator.data
        new = [address for address in snapshot.leaves if address not in known]
        known.update(new)
        if new:
            async_add_entities(
                make(coordinator, table, address, row)
                for address in new
                for table in tables
                for row in table.rows_for(snapshot, address)
            )

    add_new()
    entry.async_on_unload(coordinator.async_add_listener(add_new))
