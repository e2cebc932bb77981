"""What a gateway said, as one immutable picture a poll.

pyenphase's `EnvoyData` is a tree: fields, dictionaries of devices, dictionaries of phases. A snapshot is the same tree
cut into its leaves, each a dataclass of pyenphase at an address such as `("inverters", "482243033093")`,
`("ctmeters_phases", "storage", "L1")` or `("enpower",)`. One shape for everything is what lets availability, change
detection and hardware that comes and goes be written once. No Home Assistant here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from pyenphase import EnvoyData

from .validation import is_name

type Address = tuple[str, ...]

#: Fields of EnvoyData that are no leaves: the documents as received, the tariff, of which only the settings of the
#: batteries are shown, and what `ctmeters` holds a second time.
_NOT_LEAVES = frozenset(
    {"raw", "tariff"}
    | {f"ctmeter_{kind}{phases}" for kind in ("production", "consumption", "storage") for phases in ("", "_phases")}
)
_FIELDS = tuple(field.name for field in fields(EnvoyData) if field.name not in _NOT_LEAVES)


@dataclass(slots=True)
class Freshness:
    """When a document was last true, in seconds of the clock of the polls; shared by all that was made of it.

    It moves on by itself: what need not be asked at every poll is true for as long as the gateway answers.
    """

    seen: float


@dataclass(frozen=True, slots=True)
class Leaf:
    """One object of the snapshot."""

    value: object
    freshness: Freshness

    @property
    def seen(self) -> float:
        """When the gateway last gave it, in seconds of the clock of the polls."""
        return self.freshness.seen


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All a gateway offers, each part as of its last good answer."""

    #: Serial number of the gateway.
    serial: str
    #: Firmware of the gateway, e.g. `8.2.4345`.
    firmware: str
    #: Part number of the gateway, e.g. `800-00654-r08`.
    part_number: str | None
    #: Model and what is connected, e.g. `Envoy, phases: 2, phase mode: split, production CT`.
    model: str
    leaves: Mapping[Address, Leaf]
    #: Addresses of CT meters that the gateway has, and that could not be read yet.
    awaited: frozenset[Address] = frozenset()

    def get[T](self, kind: type[T], address: Address) -> T | None:
        """Return the object at an address, or None when there is none of that kind."""
        leaf = self.leaves.get(address)
        return leaf.value if leaf and isinstance(leaf.value, kind) else None

    def all[T](self, kind: type[T]) -> Iterator[T]:
        """Yield every object of a kind."""
        return (leaf.value for leaf in self.leaves.values() if isinstance(leaf.value, kind))

    def members(self, field: str) -> Iterator[str]:
        """Yield the keys of a dictionary of EnvoyData, such as the serial numbers of the inverters."""
        return (address[1] for address in self.leaves if address[0] == field and len(address) > 1)


def to_key(address: Address) -> str:
    """Return an address as one string to keep something under: no name in it holds a slash."""
    return "/".join(address)


def from_key(key: str) -> Address:
    """Return the address that a string stands for."""
    return tuple(key.split("/"))


def leaves(data: EnvoyData) -> dict[str, dict[Address, object]]:
    """Return everything that is there: for each field the objects at their addresses."""
    found = {name: dict(_leaves((name,), value)) for name in _FIELDS if (value := getattr(data, name))}
    if data.tariff and (settings := data.tariff.storage_settings):
        found["storage_settings"] = {("storage_settings",): settings}
    return {name: objects for name, objects in found.items() if objects}


def _leaves(address: Address, value: object) -> Iterator[tuple[Address, object]]:
    if not isinstance(value, dict):
        yield address, value
        return
    for key, item in value.items():
        # A record without a name of its own is nobody's.
        if item is not None and is_name(key):
            yield from _leaves((*address, str(key)), item)
