"""Remove from a document the records that can't be parsed, so that one of them costs no more than itself. Pure."""

from collections import Counter
from typing import TypeIs

from ..model.json_data import is_deep
from .lenient import IDENTIFIERS

type Record = dict[str, object]


def salvaged(document: object, good: object) -> object | None:
    """Return a document without the invalid records, given the last good one or None; None if all are valid."""
    if is_deep(document):
        return None
    result = _salvaged(document, good)
    return None if result == document else result


def _salvaged(new: object, good: object) -> object:
    """Return a document without the devices that differ in form from themselves before, or from most others."""
    if isinstance(new, dict):
        return {key: _salvaged(value, good.get(key) if isinstance(good, dict) else None) for key, value in new.items()}
    if not isinstance(new, list):
        return new
    before = good if isinstance(good, list) else []
    if not _lists_devices(new):
        # Groups of devices, one of each type.
        groups = {_type(group): group for group in before}
        return [_salvaged(item, groups.get(_type(item))) for item in new]
    known = {_identifier(device): device for device in before if _is_device(device)}
    common = _most_common([device for device in (*new, *before) if _is_device(device)])
    return [device for device in new if _is_device(device) and _fits(device, known.get(_identifier(device), common))]


def _lists_devices(items: list[object]) -> bool:
    return 2 * sum(_is_device(item) for item in items) > len(items)


def _type(group: object) -> str | None:
    kind = group.get("type") if isinstance(group, dict) else None
    return kind if isinstance(kind, str) else None


def _is_key(value: object) -> TypeIs[str | int]:
    return isinstance(value, str | int)


def _is_device(item: object) -> TypeIs[Record]:
    return isinstance(item, dict) and any(_is_key(item.get(key)) for key in IDENTIFIERS)


def _identifier(device: Record) -> object:
    return next(device[key] for key in IDENTIFIERS if _is_key(device.get(key)))


def _most_common(devices: list[Record]) -> Record:
    """Return a device of the most common form."""
    forms = [frozenset((key, _kind(value)) for key, value in device.items()) for device in devices]
    (most, _), *_ = Counter(forms).most_common(1)
    return devices[forms.index(most)]


def _kind(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def _fits(new: object, like: object) -> bool:
    """Return whether a value has the type, and at least the keys, of another; null may become anything."""
    if like is None:
        return True
    if isinstance(new, dict) and isinstance(like, dict):
        return all(key in new and _fits(new[key], value) for key, value in like.items())
    return _kind(new) == _kind(like)
