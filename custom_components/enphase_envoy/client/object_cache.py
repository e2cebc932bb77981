"""The objects that were parsed last, each with the time of its last good answer."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Set as AbstractSet
from dataclasses import dataclass, replace
import logging
from math import isfinite
from typing import Final

from ..model.snapshot import Address, Freshness, TimedValue, oldest
from ..model.validation import is_identifier, validated
from . import limits
from .confirmation import Confirmation
from .endpoints import Endpoint, Failure, FailureKind
from .paths import FED_BY

_LOGGER: Final = logging.getLogger(__name__)

#: Fields of single objects with a serial number of their own.
_CONTROLLERS: Final = frozenset({"enpower", "collar", "c6cc"})
#: Good answers in a row without an object after which it is removed: lists are incomplete now and then.
_REMOVED_AFTER: Final = 5
#: The fields of batteries, from two documents.
_POWER: Final = "encharge_power"
_INVENTORY: Final = "encharge_inventory"
#: Good answers in a row that contain a new object after which it is accepted.
_ADDED_AFTER: Final = 2
#: Good answers in a row with another controller after which it has replaced the one before.
_EXCHANGED_AFTER: Final = 5
#: Seconds for which another controller has to last as well after the first exchange, and twice as long after each
#: other one: each of them stays as a device.
_LASTING: Final = 86400.0
#: A field that is invalid keeps its last value for that many answers in a row and seconds; not beyond the longest time.
_KEPT_ANSWERS: Final = 3
_KEPT_FOR: Final = 210.0
_LONGEST_KEPT: Final = 3600.0
#: Seconds of good answers without an object after which its identity is discarded: it is then accepted as a new one.
#: Limits apply to all identities, so wrong serial numbers would otherwise use them up for good.
_DISCARDED_AFTER: Final = 30 * 86400.0
#: Seconds between two good answers that count at most: a gateway that is off reports nothing about its devices.
_LONGEST_GAP: Final = 3600.0


@dataclass(slots=True)
class _Kept:
    """A field with its last valid value."""

    #: When it was valid, and the time of the last answer in which it was not, in seconds of the polls' clock.
    since: float
    at: float
    #: Such answers in a row.
    answers: int = 1

    def count(self, at: float) -> _Kept:
        """Count an answer, if it is a new one."""
        self.answers += at != self.at
        self.at = at
        return self

    def is_expired(self, at: float) -> bool:
        """Return whether an answer ends this."""
        age = at - self.since
        return age >= _LONGEST_KEPT or (age >= _KEPT_FOR and self.answers >= _KEPT_ANSWERS and at != self.at)


class ObjectCache:
    """The objects of the snapshots to come."""

    def __init__(self, host: str = "") -> None:
        """Start empty; `host` is for the log."""
        self._host = host
        self.objects: dict[Address, TimedValue] = {}
        #: The same addresses, field by field.
        self._addresses: defaultdict[str, dict[Address, None]] = defaultdict(dict)
        #: Good answers in a row that an object was missing from.
        self._missing: Confirmation[Address] = Confirmation(_REMOVED_AFTER)
        #: Identities of all objects so far, also of earlier sessions, field by field. At the first set-up there are
        #: none, and each object is accepted at once. Later a new one is accepted when several good answers contain it.
        self.known: defaultdict[str, set[Address]] = defaultdict(set)
        #: Seconds of good answers that lacked the object of an identity, since the last one that contained it. Of
        #: controllers, those that were exchanged have for how long the next one had to last, the one in use has none.
        self.absent: dict[Address, float] = {}
        #: Time of the last good answer, field by field.
        self._answered: dict[str, float] = {}
        #: Whether there was no earlier session, and the freshness of the first answer of each endpoint in this one.
        self._is_first = True
        self._first_answers: dict[str, Freshness] = {}
        self._new: Confirmation[Address] = Confirmation(_ADDED_AFTER)
        self._exchanged: Confirmation[Address] = Confirmation(_EXCHANGED_AFTER)
        #: When new objects were counted first, and the freshness of the answers in which they were counted last.
        self._counted: dict[Address, tuple[float, Freshness]] = {}
        #: Endpoints whose last answers contained new objects, by field.
        self._with_new: dict[str, AbstractSet[str]] = {}
        #: Fields of objects that are not valid at present, but were.
        self._kept: dict[Address, dict[str, _Kept]] = {}
        #: What was logged.
        self._logged: set[str] = set()

    def members(self, field: str) -> set[str]:
        """Return the keys of a dictionary of EnvoyData, such as the serial numbers of the batteries."""
        return {address[1] for address in self._addresses[field] if len(address) > 1}

    @property
    def with_new(self) -> set[str]:
        """Endpoints to request again soon, because their last answers contained new objects."""
        return set().union(*self._with_new.values())

    def restore(self, known: Mapping[Address, float]) -> None:
        """Set the identities of the objects of earlier sessions, each with the seconds for which it was absent."""
        for identity, absent in known.items():
            self.known[identity[0]].add(identity)
            if absent > 0:
                self.absent[identity] = absent
        self._is_first = not known

    def discard_identities(self, name: str) -> None:
        """Discard the identities with a serial number that have no object: the user deleted the device."""
        for field, known in self.known.items():
            for identity in [each for each in known - self._addresses[field].keys() if name in each[1:]]:
                self._discard(identity)

    def _discard(self, identity: Address) -> None:
        self.known[identity[0]].discard(identity)
        self.absent.pop(identity, None)

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
        if self._is_first:
            for path, endpoint in needs.items():
                if isfinite(endpoint.freshness.updated_at):
                    self._first_answers.setdefault(path, endpoint.freshness)
        fields.update(parsed)
        merged: set[Address] = set()
        for field in fields:
            self._with_new.pop(field, None)
        for field, reported in parsed.items():
            objects = self._accepted(field, reported, needs)
            if _feeding(field, needs) <= set(new):
                self._reset_others(field, reported)
                self._count_absent(field, reported, _freshness(field, needs).updated_at)
            freshness, addresses = _freshness(field, needs), self._addresses[field]
            for address, value in objects.items():
                self.objects[address] = TimedValue(self._validated(address, value, freshness.updated_at), freshness)
                addresses[address] = None
            self._missing.reset_all(reported.keys())
            merged.update(objects)
        for field in list(fields):
            if _feeding(field, needs) <= set(new):
                merged |= self._count_missing(field, parsed.get(field, {}), needs, fields)
        return merged

    def _accepted(
        self, field: str, objects: Mapping[Address, object], needs: Mapping[str, Endpoint]
    ) -> Mapping[Address, object]:
        """Return the objects that are known, or confirmed; all of a first answer at the first set-up.

        New ones are accepted few at a time: all their entities are added without a pause of the event loop.
        """
        if field in _CONTROLLERS:
            return self._accepted_controllers(field, objects, needs)
        known, is_first = self.known[field], not self.known[field] and self._is_set_up(field, needs)
        most = len(objects) if is_first else len(known) + limits.ADDED
        return {
            address: value
            for address, value in objects.items()
            if address in known or self._is_added(address, most, needs, is_first=is_first)
        }

    def _is_added(self, address: Address, most: int, needs: Mapping[str, Endpoint], *, is_first: bool) -> bool:
        """Return whether a new object is accepted now, and then add it to the known ones."""
        field, known = address[0], self.known[address[0]]
        if len(known) >= most:
            self._with_new[field] = _feeding(field, needs)
            return False
        if len(known) >= limits.DEVICES.get(field, limits.OTHER_DEVICES):
            return False
        if field == _POWER and not is_first:
            # The inventory registers a battery, under whose name its entities are added.
            if (_INVENTORY, *address[1:]) not in self.known[_INVENTORY]:
                return False
        elif not is_first and not self._is_confirmed(address, self._new, needs):
            return False
        known.add(address)
        return True

    def _accepted_controllers(
        self, field: str, objects: Mapping[Address, object], needs: Mapping[str, Endpoint]
    ) -> Mapping[Address, object]:
        """Return the controller of a field.

        One with another serial number is returned with that of the known one, to which its entities belong, until the
        other has lasted; also one whose serial number is invalid.
        """
        current, accepted = self._controller(field), dict[Address, object]()
        for address, value in objects.items():
            identity = _identity(address, value)
            if identity and (identity == current or self._is_exchanged(identity, current, needs)):
                accepted[address] = value
            elif current:
                accepted[address] = replace(value, serial_number=current[-1])  # type: ignore[type-var]
        return accepted

    def _is_exchanged(self, identity: Address, current: Address | None, needs: Mapping[str, Endpoint]) -> bool:
        """Return whether a controller replaces the one in use now, or is the first one, and then note that."""
        known = self.known[identity[0]]
        if current:
            # One that was in use before need not last.
            exchanges = 0 if identity in known else len(known) - 1
            lasting = _LASTING * 2.0 ** (exchanges - 1) if exchanges else 0.0
            if not self._is_confirmed(identity, self._exchanged, needs, lasting):
                return False
            self.absent.pop(identity, None)
            self.absent[current] = max(lasting, 1.0)
        elif not self._is_set_up(identity[0], needs) and not self._is_confirmed(identity, self._new, needs):
            return False
        known.add(identity)
        return True

    def _is_set_up(self, field: str, needs: Mapping[str, Endpoint]) -> bool:
        """Return whether this is the first session, and each document that may contain the field a first answer."""
        return self._is_first and all(
            needs[path].freshness is self._first_answers[path]
            for path in _feeding(field, needs) & self._first_answers.keys()
        )

    def _is_confirmed(
        self,
        identity: Address,
        confirmation: Confirmation[Address],
        needs: Mapping[str, Endpoint],
        lasting: float = 0.0,
    ) -> bool:
        """Count an answer with a new object, and return whether it has been there often, and for some seconds."""
        field = identity[0]
        freshness = _freshness(field, needs)
        since = self._count_new(identity, confirmation, freshness)
        if not confirmation.is_confirmed(identity):
            self._with_new[field] = _feeding(field, needs)
            return False
        if freshness.updated_at - since < lasting:
            return False
        self._reset_new({identity})
        return True

    def _controller(self, field: str) -> Address | None:
        """Return the identity of the controller of a field that is in use, None for others."""
        known = self.known[field] if field in _CONTROLLERS else ()
        return min(known, key=lambda identity: self.absent.get(identity, 0.0), default=None)

    def _count_new(self, identity: Address, confirmation: Confirmation[Address], freshness: Freshness) -> float:
        """Count a good answer with a new object, if it is a new one, and return the time of the first in a row."""
        since, counted = self._counted.get(identity, (freshness.updated_at, None))
        if counted is not freshness:
            self._counted[identity] = since, freshness
            confirmation.add(identity)
        return since

    def _reset_others(self, field: str, objects: Mapping[Address, object]) -> None:
        """Start over with new objects that a good answer lacks."""
        if counted := {identity for identity in self._counted if identity[0] == field}:
            self._reset_new(counted - {_identity(address, value) for address, value in objects.items()})

    def _count_absent(self, field: str, reported: Mapping[Address, object], now: float) -> None:
        """Count how long good answers have lacked members of a field, and discard the identities of absent ones."""
        elapsed = min(max(0.0, now - self._answered.get(field, now)), _LONGEST_GAP)
        self._answered[field] = now
        if field in _CONTROLLERS:
            # Only another one replaces it.
            return
        for identity in self.absent.keys() & reported.keys():
            del self.absent[identity]
        for identity in self.known[field] - reported.keys():
            self.absent[identity] = self.absent.get(identity, 0.0) + elapsed
            if self.absent[identity] > _DISCARDED_AFTER:
                self._discard(identity)

    def _reset_new(self, identities: AbstractSet[Address]) -> None:
        for identity in identities:
            del self._counted[identity]
            self._new.reset(identity)
            self._exchanged.reset(identity)

    def _validated(self, address: Address, value: object, at: float) -> object:
        """Return an object as far as it is valid, and for some time its last values where it is not."""
        timed, kept = self.objects.get(address), self._kept.pop(address, {})
        if timed is None:
            found = validated(value, None)
        elif timed.value == value:
            # The same object where nothing changed, so that a comparison by identity is enough.
            return timed.value
        else:
            expired = {name for name, field in kept.items() if field.is_expired(at)}
            old = timed.value if at - timed.updated_at < _LONGEST_KEPT else None
            found = validated(value, old, expired)
            if found.kept:
                self._kept[address] = {
                    name: kept[name].count(at) if name in kept else _Kept(timed.updated_at, at) for name in found.kept
                }
            if found.value is not value and timed.value == found.value:
                found = found._replace(value=timed.value)
        for name in found.invalid:
            self._log(address, f"invalid {type(value).__name__}.{name}", "which is not used")
        for name in found.unknown:
            self._log(address, f"unknown {type(value).__name__}.{name}", f"`{getattr(value, name)}`")
        return found.value

    def _log(self, address: Address, what: str, detail: str) -> None:
        """Log what is reported: one line for all objects of a kind, and their addresses for debugging."""
        _LOGGER.debug("%s: %s of %s, %s", self._host, what, "/".join(address), detail)
        if what not in self._logged:
            self._logged.add(what)
            _LOGGER.warning("%s: the gateway reports an %s, %s", self._host, what, detail)

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


def _identity(address: Address, value: object) -> Address | None:
    """Return what identifies an object: its address, and of a controller its serial number too; None if invalid."""
    if address[0] not in _CONTROLLERS:
        return address
    serial = getattr(value, "serial_number", None)
    return (*address, serial) if isinstance(serial, str) and is_identifier(serial) else None


def _feeding(field: str, needs: Mapping[str, Endpoint]) -> AbstractSet[str]:
    """Return the endpoint that feeds a field, or all that may."""
    return ({FED_BY[field]} & needs.keys() if field in FED_BY else None) or needs.keys()


def _freshness(field: str, needs: Mapping[str, Endpoint]) -> Freshness:
    """Return the freshness of a field: that of the endpoint that feeds it, or of the oldest that may."""
    if (path := FED_BY.get(field, "")) in needs:
        return needs[path].freshness
    return oldest(endpoint.freshness for endpoint in needs.values())
