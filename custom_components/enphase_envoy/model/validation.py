"""Whether an object is valid: a third of all invalid documents parse without an error. Pure functions.

The library puts into its objects whatever a document holds: a null, a string or 1e18 where a number belongs.
"""

from collections.abc import Collection
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from math import isnan
import re
import types
from typing import Final, TypeIs, Union, get_args, get_origin, get_type_hints

from pyenphase.models.meters import CtType

from .text import clean

#: Larger than any power in mW, energy in Wh or time in s of a household.
_ABSURD: Final = 1e13
#: Identifier of a meter: a number, although the library declares a string.
_UNCHECKED: Final = frozenset({"eid"})
#: Energy of days, which a report has only while a meter counts.
_OPTIONAL: Final = frozenset({"watt_hours_today", "watt_hours_last_7_days"})
#: Types without a range.
_NO_NUMBERS: Final = (bool, list, tuple)
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
    names = getattr(value, "__dataclass_fields__", {}).keys() - _CONSTANT
    values = (getattr(value, name) for name in names)
    return all(found is None or (isinstance(found, float) and isnan(found)) for found in values)


def is_number(value: object) -> TypeIs[int | float]:
    """Return whether this is a number of a plausible magnitude for a household."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_ABSURD < value < _ABSURD


@cache
def _expected(kind: type) -> dict[str, tuple[type, ...]]:
    """Return the types that each field of a dataclass may have, where they are simple."""
    hints = get_type_hints(kind)
    expected = {field.name: _simple(hints[field.name]) for field in fields(kind) if field.name not in _UNCHECKED}
    return {name: allowed for name, allowed in expected.items() if allowed}


def _simple(hint: object) -> tuple[type, ...]:
    """Return the types that a hint allows, none where it is more than a simple type."""
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(allowed for part in get_args(hint) if part is not types.NoneType for allowed in _simple(part))
    if (origin := get_origin(hint)) in (list, tuple):
        return (origin,)
    if not isinstance(hint, type) or not issubclass(hint, (bool, int, float, str)):
        return ()
    if hint in (int, float):
        return (int, float)
    return (str,) if issubclass(hint, str) else (bool,)


def _fits(value: object, allowed: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in allowed
    if isinstance(value, int | float):
        return float in allowed and is_number(value)
    return isinstance(value, allowed)


def validated[T](new: T, old: object, expired: Collection[str] = ()) -> tuple[T, set[str], set[str]]:
    """Return a new object as far as it is valid, the fields that were kept, and those with an invalid value.

    A field that is invalid, or null where the old object had a value, is kept as it was in the old one, unless its
    value there has expired; otherwise it is None. Texts are made fit to be shown.
    """
    kept, invalid = set[str](), set[str]()
    if not is_dataclass(new) or isinstance(new, type):
        return new, kept, invalid
    changed: dict[str, object] = {}
    for name, allowed in _expected(type(new)).items():
        value = getattr(new, name)
        # The quick path: nearly all fields are numbers in range. NaN is in no range.
        if type(value) is str and str in allowed:
            if (text := clean(value)) != value:
                changed[name] = text
            continue
        if type(value) in allowed and (type(value) in _NO_NUMBERS or -_ABSURD < value < _ABSURD):
            continue
        # Half of the library's fields of an inverter are not reported by older firmware.
        if value is None and (name in _OPTIONAL or getattr(old, name, None) is None):
            continue
        if _fits(value, allowed) and not (value == "" and isinstance(value, StrEnum)):
            continue
        if value is not None:
            invalid.add(name)
            changed[name] = None
        if type(old) is type(new) and name not in expired and _fits(before := getattr(old, name), allowed):
            kept.add(name)
            changed[name] = before
    return replace(new, **changed) if changed else new, kept, invalid
