"""Data that is stored as JSON and read back: types, and checks of what was read."""

from dataclasses import fields
from typing import Final

from .validation import is_number

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None


#: Levels that a document may have. Gateways use up to ten; serialising 250 of them crashes orjson, and Python with it.
_LEVELS: Final = 100


def is_deep(document: object) -> bool:
    """Return whether a document has too many levels to be processed recursively."""
    level = [document]
    for _ in range(_LEVELS):
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [value for values in inner for value in values]
    return bool(level)


def json_number(value: object) -> float:
    """Return a number that was read back. Raises ValueError for anything else, and for absurd magnitudes."""
    if not is_number(value):
        raise ValueError(value)
    return float(value)


def restored[T](kind: type[T], data: object) -> T | None:
    """Return a dataclass of numbers as `dataclasses.asdict` stored it, None where a field is missing or wrong."""
    if not isinstance(data, dict):
        return None
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    valid = all(is_number(data.get(name)) for name in names)
    return kind(**{name: data[name] for name in names}) if valid else None
