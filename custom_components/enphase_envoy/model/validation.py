"""Whether an object can be believed: a third of all odd documents parse without an error. Pure functions.

The library puts into its objects whatever a document holds: a null, a string or 1e18 where a number belongs.
"""

from dataclasses import fields, is_dataclass, replace
from functools import cache
import re
import types
from typing import Final, TypeIs, Union, get_args, get_origin, get_type_hints

from pyenphase.models.meters import CtType

#: Larger than any power in mW, energy in Wh or time in s that a house will ever see.
_ABSURD: Final = 1e13
#: What meters are called by: a number, whatever the library says.
_UNCHECKED: Final = frozenset({"eid"})
#: Meters are called by what they measure; serial numbers have twelve digits, relays are called NC1, phases L1.
_NO_NUMBERS: Final = frozenset({bool, str})
_WORDS: Final = frozenset(CtType)
_NAME: Final = re.compile(r"(?=.*\d)[\w-]{1,16}", re.ASCII)


def is_identifier(key: object) -> bool:
    """Return whether a device or a phase can be called this; null, `n/a` or 1e18 name nobody."""
    return isinstance(key, str) and (key in _WORDS or _NAME.fullmatch(key) is not None)


def is_number(value: object) -> TypeIs[int | float]:
    """Return whether this is a number that a house may have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_ABSURD < value < _ABSURD


@cache
def _expected(kind: type) -> dict[str, tuple[type, ...]]:
    """Return the types that each field of a dataclass may have, where they are simple."""
    hints = get_type_hints(kind)
    expected = {field.name: _simple(hints[field.name]) for field in fields(kind) if field.name not in _UNCHECKED}
    return {name: allowed for name, allowed in expected.items() if allowed}


def _simple(hint: object) -> tuple[type, ...]:
    """Return the types that a hint allows, none where it says more than a type."""
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(allowed for part in get_args(hint) if part is not types.NoneType for allowed in _simple(part))
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


def validated[T](new: T, old: object) -> T | None:
    """Return an object as far as it can be believed, or None where the old one is better.

    A field that makes no sense, or is null where there was something, spoils the object while there is an old one that
    had it right. What never made sense is left out.
    """
    if not is_dataclass(new) or isinstance(new, type):
        return new
    empty: dict[str, None] = {}
    for name, allowed in _expected(type(new)).items():
        value = getattr(new, name)
        # Nearly all fields are numbers, and nearly all numbers are in order. What is no number is in no range.
        if type(value) in allowed and (type(value) in _NO_NUMBERS or -_ABSURD < value < _ABSURD):
            continue
        # Half of what the library knows of an inverter no older firmware says.
        if value is None and getattr(old, name, None) is None:
            continue
        if _fits(value, allowed):
            continue
        if type(old) is type(new) and _fits(getattr(old, name), allowed):
            return None
        if value is not None:
            empty[name] = None
    return replace(new, **empty) if empty else new
