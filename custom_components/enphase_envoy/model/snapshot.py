"""What a gateway reported: one immutable snapshot per poll.

pyenphase's `EnvoyData` is a tree: fields, dictionaries of devices, dictionaries of phases. A snapshot holds the same
objects in one flat mapping, each a dataclass of pyenphase at an address such as `("inverters", "482243033093")`,
`("ctmeters_phases", "storage", "L1")` or `("enpower",)`. With one shape for all objects, availability, change detection
and added or removed hardware are each implemented once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Final, cast

from pyenphase import EnvoyData

from .validation import is_blank, is_identifier

type Address = tuple[str, ...]
#: A field of the object at an address that counts energy, e.g. `(("inverters", "482243033093"), "lifetime_energy")`.
type CounterKey = tuple[Address, str]

#: Fields of EnvoyData that are not part of a snapshot: the documents as received, the tariff, of which only the storage
#: settings are used, and the second copy of what `ctmeters` holds.
_EXCLUDED: Final = frozenset(
    {"raw", "tariff"}
    | {f"ctmeter_{kind}{phases}" for kind in ("production", "consumption", "storage") for phases in ("", "_phases")}
)


@dataclass(slots=True, eq=False)
class Freshness:
    """When a document was last up to date, in seconds of the polls' clock; shared by all objects made of it.

    It is moved on for endpoints that need not be requested in every poll, for as long as the gateway answers.
    """

    updated_at: float


def oldest(freshness: Iterable[Freshness]) -> Freshness:
    """Return the oldest of several: an object made of several sources is as old as the oldest of them."""
    return min(freshness, key=lambda each: each.updated_at)


@dataclass(frozen=True, slots=True)
class TimedValue:
    """One object of the snapshot, and when it was last up to date."""

    value: object
    freshness: Freshness
    #: Fields of the value that come from a source of their own, faster than the one of the object.
    field_freshness: Mapping[str, Freshness] = field(default=MappingProxyType({}))

    @property
    def updated_at(self) -> float:
        """When the object was last up to date, in seconds of the polls' clock."""
        return self.freshness.updated_at

    def renewed(
        self, value: object, freshness: Freshness, field_freshness: Mapping[str, Freshness] = MappingProxyType({})
    ) -> TimedValue:
        """Return this with a newer value: the same object where it is equal, so that changes are found by identity."""
        same = self.value == value
        if same and self.freshness is freshness and self.field_freshness == field_freshness:
            return self
        return TimedValue(self.value if same else value, freshness, field_freshness)


#: Objects by address.
type Objects = Mapping[Address, TimedValue]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a gateway offers, each object as of its last good answer."""

    #: Serial number of the gateway.
    serial: str
    #: Firmware of the gateway, e.g. `8.2.4345`.
    firmware: str
    #: Part number of the gateway, e.g. `800-00654-r08`.
    part_number: str | None
    #: Model and what is connected, e.g. `Envoy, phases: 2, phase mode: split, production CT`.
    model: str
    objects: Mapping[Address, TimedValue]
    #: Addresses of CT meters that the gateway has but that could not be read yet.
    unread_meters: frozenset[Address] = frozenset()

    def get[T](self, kind: type[T], address: Address) -> T | None:
        """Return the object at an address, or None when there is none of that kind."""
        timed = self.objects.get(address)
        return timed.value if timed and isinstance(timed.value, kind) else None

    def all[T](self, kind: type[T]) -> Iterator[T]:
        """Yield every object of a kind."""
        return (timed.value for timed in self.objects.values() if isinstance(timed.value, kind))

    def members(self, field: str) -> Iterator[str]:
        """Yield the keys of a dictionary of EnvoyData, such as the serial numbers of the inverters."""
        return (address[1] for address in self.objects if address[0] == field and len(address) > 1)


def changed_addresses(objects: Mapping[Address, TimedValue], before: Mapping[Address, TimedValue]) -> set[Address]:
    """Return the addresses of objects that are new, or were read again, since another snapshot."""
    return {address for address, timed in objects.items() if before.get(address) is not timed}


def to_key(address: Address) -> str:
    """Return an address as one string, for storage: no part of an address holds a slash."""
    return "/".join(address)


def from_key(key: str) -> Address:
    """Return the address that a string stands for."""
    return tuple(key.split("/"))


def flatten(data: EnvoyData) -> dict[str, dict[Address, object]]:
    """Return the objects of an `EnvoyData`, or of a class derived from it, at their addresses, field by field."""
    names = (field.name for field in fields(data) if field.name not in _EXCLUDED)
    found = {name: dict(_flatten((name,), value)) for name in names if (value := getattr(data, name))}
    if data.tariff and (settings := data.tariff.storage_settings):
        found["storage_settings"] = {("storage_settings",): settings}
    return {name: objects for name, objects in found.items() if objects}


def _flatten(address: Address, value: object) -> Iterator[tuple[Address, object]]:
    if not isinstance(value, dict):
        if not is_blank(value):
            yield address, value
        return
    for key, item in cast("dict[object, object]", value).items():
        # A record without an identifier belongs to no device.
        if is_identifier(key):
            yield from _flatten((*address, str(key)), item)
