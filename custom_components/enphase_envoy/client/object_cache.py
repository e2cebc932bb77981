"""The objects that were parsed last, each with the time of its last good answer."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Set as AbstractSet
from dataclasses import replace
from typing import Final

from ..model.snapshot import Address, Freshness, TimedValue, oldest
from ..model.validation import validated
from .confirmation import Confirmation
from .endpoints import Endpoint, Failure, FailureKind
from .paths import FED_BY

#: Good answers in a row without an object after which it is removed: lists are incomplete now and then.
_REMOVED_AFTER: Final = 5
#: Answers in a row after which an object that lost a field for good, as with new firmware, is accepted without it.
_ACCEPTED_AFTER: Final = 20


class ObjectCache:
    """The objects of the snapshots to come."""

    def __init__(self) -> None:
        """Start empty."""
        self.objects: dict[Address, TimedValue] = {}
        #: The same addresses, field by field.
        self._addresses: defaultdict[str, dict[Address, None]] = defaultdict(dict)
        #: Good answers in a row that an object was missing from.
        self._missing: Confirmation[Address] = Confirmation(_REMOVED_AFTER)
        #: Answers in a row in which an object was not valid.
        self._invalid: Confirmation[Address] = Confirmation(_ACCEPTED_AFTER)

    def members(self, field: str) -> set[str]:
        """Return the keys of a dictionary of EnvoyData, such as the serial numbers of the batteries."""
        return {address[1] for address in self._addresses[field] if len(address) > 1}

    def put(self, address: Address, value: object, freshness: Freshness) -> None:
        """Store an object that is not parsed from a document."""
        self.objects[address] = TimedValue(value, freshness)

    def remove(self, address: Address) -> None:
        """Remove such an object."""
        self.objects.pop(address, None)

    def merge(
        self,
        parsed: Mapping[str, Mapping[Address, object]],
        needs: Mapping[str, Endpoint],
        fields: set[str],
        new: Collection[str],
    ) -> set[Address]:
        """Merge the objects that an updater parsed, field by field, and return the addresses concerned.

        `needs` are the endpoints that the updater reads, `new` those with a document that was not parsed before.
        `fields` are those that it is known to fill, and are kept up to date.
        """
        fields.update(parsed)
        merged: set[Address] = set()
        for field, objects in parsed.items():
            freshness, addresses = _freshness(field, needs), self._addresses[field]
            for address, value in objects.items():
                if (valid := self._validated(address, value)) is not None:
                    self.objects[address] = TimedValue(valid, freshness)
                    addresses[address] = None
            self._missing.reset_all(objects.keys())
            merged.update(objects)
        for field in list(fields):
            if _feeding(field, needs) <= set(new):
                merged |= self._count_missing(field, parsed.get(field, {}), needs, fields)
        return merged

    def _validated(self, address: Address, value: object) -> object:
        """Return an object as far as it is valid; None to keep the last valid one, for some time."""
        timed = self.objects.get(address)
        if timed is not None and timed.value == value:
            # The same object where nothing changed, so that a comparison by identity is enough.
            self._invalid.reset(address)
            return timed.value
        old = timed.value if timed and not self._invalid.is_confirmed(address) else None
        if (valid := validated(value, old)) is None:
            self._invalid.add(address)
            return None
        self._invalid.reset(address)
        return timed.value if timed is not None and timed.value == valid else valid

    def _count_missing(
        self, field: str, parsed: Mapping[Address, object], needs: Mapping[str, Endpoint], fields: set[str]
    ) -> set[Address]:
        """Count the objects that a good answer lacks, remove them in the end, and return their addresses.

        Where all objects of a field are missing, the answer itself may be wrong.
        """
        addresses = self._addresses[field]
        missing = addresses.keys() - parsed.keys()
        for address in missing:
            if self._missing.add(address) == 1:
                # One incomplete list proves nothing: the object is still as fresh as the others.
                self.objects[address] = replace(self.objects[address], freshness=_freshness(field, needs))
            elif self._missing.is_confirmed(address) and len(address) > 1:
                # A single object of its kind is never removed, it only expires: it may come and go with the hour.
                del self.objects[address], addresses[address]
                self._missing.reset(address)
        if not addresses:
            fields.discard(field)
        elif not parsed:
            for path in _feeding(field, needs):
                needs[path].failure = Failure(FailureKind.INCOMPLETE, f"no {field}")
        return missing


def _feeding(field: str, needs: Mapping[str, Endpoint]) -> AbstractSet[str]:
    """Return the endpoint that feeds a field, or all that may."""
    return {FED_BY[field]} & needs.keys() if field in FED_BY else needs.keys()


def _freshness(field: str, needs: Mapping[str, Endpoint]) -> Freshness:
    """Return the freshness of a field: that of the endpoint that feeds it, or of the oldest that may."""
    if (path := FED_BY.get(field, "")) in needs:
        return needs[path].freshness
    return oldest(endpoint.freshness for endpoint in needs.values())
