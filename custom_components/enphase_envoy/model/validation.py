"""Whether an object is valid: a third of all invalid documents parse without an error. Pure functions.

The library puts into its objects whatever a document holds: a null, a string or 1e18 where a number belongs.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from itertools import repeat
from math import isnan
from operator import attrgetter
import re
from typing import Any, Final, NamedTuple, TypeIs, Union, get_args, get_origin, get_type_hints

from pyenphase.models.meters import CtType

from .text import clean

#: Larger than any power in mW, energy in Wh or time in s of a household.
_ABSURD: Final = 1e13
#: Identifier of a meter: a number, although the library declares a string.
_UNCHECKED: Final = frozenset({"eid"})
#: Energy of days, which a report has only while a meter counts.
_OPTIONAL: Final = frozenset({"watt_hours_today", "watt_hours_last_7_days"})
#: Types with a range.
_NUMBERS: Final[set[type]] = {int, float}
#: Fields that the library fills itself, also where the document has nothing.
_CONSTANT: Final = frozenset({"temperature_unit", "present"})
#: Meters are identified by their type; serial numbers have twelve digits, relays are named NC1, phases L1.
_WORDS: Final = frozenset(CtType)
_NAME: Final = re.compile(r"(?=.*\d)[\w-]{1,16}", re.ASCII)
_SERIAL: Final = re.compile(r"[\w-]{1,32}", re.ASCII)


def is_serial_number(text: object) -> bool:
    """Return whether this can identify a gateway; users replace it by a word in what they publish."""
    return isinstance(text, str) and _SERIAL.fullmatch(text) is not None


def is_identifier(key: object) -> bool:
    """Return whether this can identify a device or a phase; null, `n/a` or 1e18 can not."""
    return isinstance(key, str) and (key in _WORDS or _NAME.fullmatch(key) is not None)


def is_blank(value: object) -> bool:
    """Return whether an object has no value at all, as of an empty document; NaN is none."""
    kind: type = type(value)
    for name in _names(kind):
        found = getattr(value, name)
        if found is not None and not (isinstance(found, float) and isnan(found)):
            return False
    return True


@cache
def _names(kind: type) -> tuple[str, ...]:
    """Return the fields of a dataclass whose values come from a document."""
    return tuple(name for name in getattr(kind, "__dataclass_fields__", ()) if name not in _CONSTANT)


def is_number(value: object) -> TypeIs[int | float]:
    """Return whether this is a number of a plausible magnitude for a household."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_ABSURD < value < _ABSURD


@cache
def _expected(kind: type) -> tuple[list[str], list[set[type]], Callable[[object], Iterable[Any]]]:
    """Return the fields of a dataclass with simple types, these types, and a function that returns their values."""
    hints = get_type_hints(kind)
    expected = {field.name: _simple(hints[field.name]) for field in fields(kind) if field.name not in _UNCHECKED}
    simple = {name: allowed for name, allowed in expected.items() if allowed}
    # A second name makes the getter return a tuple also for a single field.
    values_of = attrgetter(*simple, *list(simple)[:1]) if simple else lambda _: ()
    return list(simple), list(simple.values()), values_of


def _simple(hint: object) -> set[type]:
    """Return the types that a hint allows, none where it is more than a simple type."""
    if (origin := get_origin(hint)) is Union:
        return set().union(*map(_simple, get_args(hint)))
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, str):
        return {str}
    return _NUMBERS if kind in _NUMBERS else {bool, list, tuple} & {kind}


def _differing(new: object, old: object) -> Iterator[tuple[str, set[type], Any, Any]]:
    """Yield the fields of an object with simple types, these types, and the values of the object and of an old one.

    What is the same is as valid as before: hundreds of inverters are validated every few minutes.
    """
    kind: type = type(new)
    names, types, values_of = _expected(kind)
    before = values_of(old) if type(old) is kind else repeat(None)
    return (field for field in zip(names, types, values_of(new), before, strict=False) if field[2] is not field[3])


def _is_valid(value: Any, allowed: set[type]) -> bool:  # noqa: ANN401  (what a document holds)
    """Return whether a value is of an allowed type: NaN is in no range, and no word is no text."""
    kind = type(value)
    if kind in allowed:
        return kind not in _NUMBERS or -_ABSURD < value < _ABSURD
    return isinstance(value, StrEnum) and str in allowed and value != ""


class Validated[T](NamedTuple):
    """An object as far as it is valid."""

    value: T
    #: The fields that were kept, those with an invalid value, and those with a word that the library does not contain.
    kept: set[str]
    invalid: set[str]
    unknown: set[str]


def validated[T](new: T, old: object, expired: Collection[str] = ()) -> Validated[T]:
    """Return a new object as far as it is valid.

    A field that is invalid, or null where the old object had a value, is kept as it was in the old one, unless its
    value there has expired; otherwise it is None. Texts are made fit to be shown.
    """
    kept, invalid, unknown = set[str](), set[str](), set[str]()
    if not is_dataclass(new) or isinstance(new, type):
        return Validated(new, kept, invalid, unknown)
    changed: dict[str, object] = {}
    for name, allowed, value, before in _differing(new, old):
        if (kind := type(value)) is str and kind in allowed:
            if (text := clean(value)) != value:
                changed[name] = text
            continue
        if _is_valid(value, allowed):
            if isinstance(value, StrEnum) and value.name not in kind.__members__:
                unknown.add(name)
            continue
        if value is None and (name in _OPTIONAL or before is None):
            # Half of the library's fields of an inverter are not reported by older firmware.
            continue
        if value is not None:
            invalid.add(name)
            changed[name] = None
        if before is not None and name not in expired:
            kept.add(name)
            changed[name] = before
    return Validated(replace(new, **changed) if changed else new, kept, invalid, unknown)
