"""All that is known of a gateway, each object as of the last good answer. No Home Assistant here."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Set as AbstractSet
from dataclasses import replace
from typing import Final

from ..model.snapshot import Address, Freshness, TimedValue, oldest
from ..model.validation import validated
from .endpoints import Endpoint
from .paths import FED_BY

#: Good answers that an object must be missing from before it is taken for gone: lists come back short now and then.
_GONE_AFTER: Final = 5
#: Answers in a row after which an object that lost a field for good, as new firmware has it, is shown without.
_BELIEVED_AFTER: Final = 20


class ObjectCache:
    """The leaves of the snapshots to come."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.objects: dict[Address, TimedValue] = {}
        #: The same addresses, field by field.
        self._addresses: defaultdict[str, dict[Address, None]] = defaultdict(dict)
        #: How many good answers in a row an object was missing from.
        self._missed: Counter[Address] = Counter()
        #: How many answers in a row an object made no sense in.
        self._doubted: Counter[Address] = Counter()

    def members(self, field: str) -> set[str]:
        """Return the keys of a dictionary of EnvoyData, such as the serial numbers of the batteries."""
        return {address[1] for address in self._addresses[field] if len(address) > 1}

    def take(
        self,
        made: Mapping[str, Mapping[Address, object]],
        needs: Mapping[str, Endpoint],
        makes: set[str],
        answered: Collection[str],
    ) -> None:
        """Merge what an updater made, field by field, of the endpoints it needs.

        `makes` is what it is known to make, field by field, and is kept up to date; `answered` are the endpoints that
        were asked just now.
        """
        makes.update(made)
        for field, objects in made.items():
            freshness, known = _freshness(field, needs), self._addresses[field]
            for address, value in objects.items():
                if (believed := self._believe(address, value)) is not None:
                    self.objects[address] = TimedValue(believed, freshness)
                    known[address] = None
            if self._missed:
                for address in objects.keys() & self._missed.keys():
                    del self._missed[address]
        for field in list(makes):
            if _feeding(field, needs) <= set(answered):
                self._miss(field, made.get(field, {}), needs, makes)

    def _believe(self, address: Address, value: object) -> object:
        """Return an object as far as it makes sense; None to keep the last good one, for a while."""
        timed = self.objects.get(address)
        if timed is not None and timed.value == value:
            # The same again: the object stays the same too, which whoever looks for changes sees at once.
            self._doubted.pop(address, None)
            return timed.value
        old = timed.value if timed and self._doubted.get(address, 0) < _BELIEVED_AFTER else None
        if (believed := validated(value, old)) is None:
            self._doubted[address] += 1
        else:
            self._doubted.pop(address, None)
        return believed

    def _miss(self, field: str, made: Mapping[Address, object], needs: Mapping[str, Endpoint], makes: set[str]) -> None:
        """Count what a good answer lacks, until it is gone. Where a whole kind is missing the answer may be bad."""
        known = self._addresses[field]
        for address in known.keys() - made.keys():
            self._missed[address] += 1
            if self._missed[address] == 1:
                # One short list says nothing: what it lacks is still as fresh as the others.
                self.objects[address] = replace(self.objects[address], freshness=_freshness(field, needs))
            elif self._missed[address] >= _GONE_AFTER and address[1:]:
                # What there is only one of is never gone, but for its age: it may come and go with the hour.
                del self.objects[address], known[address], self._missed[address]
        if not known:
            makes.discard(field)
        elif not made:
            for path in _feeding(field, needs):
                needs[path].failure = f"no {field}"


def _feeding(field: str, needs: Mapping[str, Endpoint]) -> AbstractSet[str]:
    """Return the endpoint that feeds a field, or all that may."""
    return {FED_BY[field]} & needs.keys() if field in FED_BY else needs.keys()


def _freshness(field: str, needs: Mapping[str, Endpoint]) -> Freshness:
    """Return how fresh a field is: as the endpoint that feeds it, or as the oldest that may."""
    if (path := FED_BY.get(field, "")) in needs:
        return needs[path].freshness
    return oldest(endpoint.freshness for endpoint in needs.values())
